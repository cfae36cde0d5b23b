/** Point reads of a turn: one batch each for locks, newest versions and long values. */
import { txnKey } from '../keys.js';
import { lockInfo } from './outcome.js';
import { isVersion } from './read-plan.js';
import type { MvccReader, ValuePlace, WriteQuery } from './reader.js';
import type { PointRead, PointResult } from './requests.js';
import type { CommittedWrite, Lock } from './types.js';
import { sightOf } from './visibility.js';

/** Waits for the newest version of its key at or below its timestamp. */
class Point implements WriteQuery {
  readonly stored: Uint8Array;
  version: CommittedWrite | undefined;

  constructor(readonly read: PointRead) {
    this.stored = txnKey(read.key);
  }

  get from(): bigint {
    return this.read.ts;
  }

  take(write: CommittedWrite): boolean {
    if (!isVersion(write)) return false;
    this.version = write;
    return true;
  }
}

/**
 * One result per read, in order.
 * @throws StorageError `invalid-key` for a key that cannot be; when a record is damaged.
 */
export async function readPoints(
  reads: readonly PointRead[],
  reader: MvccReader,
): Promise<readonly PointResult[]> {
  const points = reads.map((read) => new Point(read));
  // Most keys have no lock: looking for versions meanwhile saves the wait.
  const [locks] = await Promise.all([
    reader.locks(points.map(({ stored }) => stored)),
    reader.seekWrites(points),
  ]);
  const results = new Array<PointResult>(points.length);
  const long: { readonly index: number; readonly place: ValuePlace }[] = [];
  for (const [index, point] of points.entries()) {
    const found = look(point, locks[index]);
    if ('startTs' in found) long.push({ index, place: found });
    else results[index] = found;
  }
  const values = await reader.values(long.map(({ place }) => place));
  for (const [i, { index }] of long.entries()) results[index] = { value: values[i] };
  return results;
}

function look({ read, stored, version }: Point, lock: Lock | undefined): PointResult | ValuePlace {
  const sight = lock && sightOf(read.key, lock, read);
  if (lock && sight === 'blocked')
    return { error: { code: 'key-is-locked', lock: lockInfo(read.key, lock) } };
  const source = sight === 'committed' ? lock : version;
  if (source?.kind !== 'put') return { value: undefined };
  return source.shortValue ? { value: source.shortValue } : { stored, startTs: source.startTs };
}

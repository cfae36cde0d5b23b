/** Everything about one key, for people. */
import { timestampOf, txnKey, withTimestamp } from '../keys.js';
import type { MvccReader } from './reader.js';
import type { KeyDescription } from './requests.js';
import type { Timestamp } from './types.js';
import { afterVersions, committedWrite } from './versions.js';

/**
 * The lock, the versions and the values of a key, the newest first: what `troupe mvcc` prints.
 * @param limit write records, and values, at most: the newest
 * @param before only records with a smaller timestamp; 0 for all
 */
export async function describeKey(
  key: Uint8Array,
  reader: MvccReader,
  limit: number,
  before: Timestamp = 0n,
): Promise<KeyDescription> {
  const stored = txnKey(key);
  // What is committed before a timestamp has begun before it, too.
  const start = before === 0n ? stored : withTimestamp(stored, before - 1n);
  const range = { start, end: afterVersions(stored), limit, snapshot: reader.snapshot };
  const [[lock], writes, values] = await Promise.all([
    reader.locks([stored]),
    reader.engine.scan('write', range),
    reader.engine.scan('default', range),
  ]);
  return {
    lock: lock && { ...lock, key },
    writes: writes.keys.map((version, i) => committedWrite(version, writes.values[i] as Uint8Array)),
    values: values.keys.map((version, i) => ({
      startTs: timestampOf(version),
      value: values.values[i] as Uint8Array,
    })),
    more: writes.more || values.more,
  };
}

/** Everything about one key, for people. */
import { timestampOf, txnKey } from '../keys.js';
import type { MvccReader } from './reader.js';
import type { KeyDescription } from './requests.js';
import { afterVersions, committedWrite } from './versions.js';

/** @param limit write records, and values, at most: the newest. */
export async function describeKey(
  key: Uint8Array,
  reader: MvccReader,
  limit: number,
): Promise<KeyDescription> {
  const stored = txnKey(key);
  const range = { start: stored, end: afterVersions(stored), limit, snapshot: reader.snapshot };
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

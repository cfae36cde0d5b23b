/**
 * Removes what no read at or above a safe point sees (TiKV's `mvcc/gc`, of before its compaction filter).
 *
 * Of each key stays what is newer than the safe point, and the newest put at or below it. A delete that is the newest at
 * or below it goes too, but only together with everything below it: otherwise that would come back. Locks and rollbacks,
 * protected ones among them, go once they lie at or below the safe point: no transaction that began before it is alive.
 */
import { compareBytes, keyAfter, txnRange, userKey, withTimestamp } from '../keys.js';
import type { MvccReader } from './reader.js';
import type { GarbageTask } from './requests.js';
import type { CommittedWrite, MvccChange, Timestamp } from './types.js';
import { committedWrite, keyOfVersion } from './versions.js';

const PAGE_RECORDS = 256;
const PAGE_BYTES = 64 * 1024;

/** What a round of a `GarbageTask` comes to. */
export interface GarbageResult {
  readonly changes: readonly MvccChange[];
  /** It stopped at its limit: continue from this user key. `undefined` when the range is done. */
  readonly nextKey: Uint8Array | undefined;
  /** The smallest timestamp above the safe point that was met: a later safe point may have to do with it. */
  readonly oldestLeft: Timestamp | undefined;
}

/** Finds the versions of a range that nobody can read any more. */
export async function collectGarbage(task: GarbageTask, reader: MvccReader): Promise<GarbageResult> {
  const range = txnRange(task.start, task.end);
  const sweep = new Sweep(task);
  let start: Uint8Array = range.start;
  for (;;) {
    const page = await reader.engine.scan('write', {
      start,
      end: range.end,
      limit: PAGE_RECORDS,
      maxBytes: PAGE_BYTES,
      snapshot: reader.snapshot,
    });
    for (const [i, version] of page.keys.entries()) {
      if (!sweep.pass(version, page.values[i] as Uint8Array)) return sweep.result(keyOfVersion(version));
    }
    if (!page.more) return sweep.result(undefined);
    start = keyAfter(page.keys[page.keys.length - 1] as Uint8Array);
  }
}

/** Walks over records, those of a key from the newest to the oldest. */
class Sweep {
  readonly #task: GarbageTask;
  readonly #changes: MvccChange[] = [];
  #oldestLeft: Timestamp | undefined;
  #bytes = 0;
  #keys = 0;
  #key: Uint8Array | undefined;
  /** The newest version of the key at or below the safe point has been met. */
  #isCovered = false;
  /** It was a delete, which goes when everything below it is gone. */
  #lastDelete: CommittedWrite | undefined;

  constructor(task: GarbageTask) {
    // Something has to come of every call.
    this.#task = { ...task, maxKeys: Math.max(1, task.maxKeys), maxBytes: Math.max(1, task.maxBytes) };
  }

  /** Whether the record was taken; if not, a limit is reached before it. */
  pass(version: Uint8Array, record: Uint8Array): boolean {
    const key = keyOfVersion(version);
    if (!this.#key || compareBytes(this.#key, key) !== 0) {
      this.#endKey();
      if (this.#keys >= this.#task.maxKeys || this.#bytes >= this.#task.maxBytes) return false;
      this.#keys++;
      this.#key = key;
      this.#isCovered = false;
    } else if (this.#bytes >= this.#task.maxBytes) {
      this.#lastDelete = undefined;
      return false;
    }
    this.#judge(key, committedWrite(version, record));
    return true;
  }

  /** @param next where a limit stopped it. */
  result(next: Uint8Array | undefined): GarbageResult {
    if (next === undefined) this.#endKey();
    return { changes: this.#changes, nextKey: next && userKey(next).key, oldestLeft: this.#oldestLeft };
  }

  #judge(key: Uint8Array, write: CommittedWrite): void {
    if (write.commitTs > this.#task.safePoint) {
      if (this.#oldestLeft === undefined || write.commitTs < this.#oldestLeft)
        this.#oldestLeft = write.commitTs;
      return;
    }
    if (!this.#isCovered && write.kind === 'put') this.#isCovered = true;
    else if (!this.#isCovered && write.kind === 'delete') {
      this.#isCovered = true;
      this.#lastDelete = write;
    } else this.#drop(key, write);
  }

  #endKey(): void {
    if (this.#key && this.#lastDelete) this.#drop(this.#key, this.#lastDelete);
    this.#lastDelete = undefined;
  }

  #drop(key: Uint8Array, write: CommittedWrite): void {
    this.#remove('write', key, write.commitTs);
    if (write.kind === 'put' && !write.shortValue) this.#remove('default', key, write.startTs);
  }

  #remove(cf: 'write' | 'default', key: Uint8Array, ts: Timestamp): void {
    const change = { cf, key: withTimestamp(key, ts), value: undefined };
    this.#changes.push(change);
    this.#bytes += change.key.length;
  }
}

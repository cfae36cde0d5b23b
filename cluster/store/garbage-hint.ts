import { isTxnKey, MAX_TIMESTAMP, type Timestamp, timestampOf } from '../../storage/index.js';
import type { raft_cmdpb } from '../../storage/proto/index.js';

const UNKNOWN: Timestamp = 0n;

/**
 * What a replica knows of old versions in its region: the smallest timestamp of a write record that no pass has judged. A
 * record is garbage, or makes older ones garbage, once the safe point reaches its timestamp: below this one there is nothing
 * to collect, and a region that is not written is not looked at again.
 */
export class GarbageHint {
  #oldest: Timestamp = UNKNOWN;
  /** Of the region that was judged: another one holds other records. */
  #version = 0;

  /** @param version the region's */
  mayHold(safePoint: Timestamp, version: number): boolean {
    return this.#version !== version || this.#oldest <= safePoint;
  }

  /** A pass begins: what is written from now on is not judged by it. */
  begin(version: number): void {
    this.#version = version;
    this.#oldest = MAX_TIMESTAMP;
  }

  /** A pass has judged everything. @param oldest the smallest timestamp above its safe point; `undefined` for none */
  judged(oldest: Timestamp | undefined): void {
    if (oldest !== undefined && oldest < this.#oldest) this.#oldest = oldest;
  }

  /** A pass was not brought to its end, or the region's data was replaced. */
  forget(): void {
    this.#oldest = UNKNOWN;
  }

  /** Something was applied. No command is for both spaces. */
  noteApplied(requests: readonly raft_cmdpb.Request[]): void {
    const [first] = requests;
    const key = first?.put?.key ?? first?.delete?.key;
    if (key === undefined || !isTxnKey(key)) return;
    for (const { put } of requests) {
      if (put === undefined || put.cf !== 'write') continue;
      const timestamp = timestampOf(put.key);
      if (timestamp < this.#oldest) this.#oldest = timestamp;
    }
  }
}

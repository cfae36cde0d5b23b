import { nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import type { Deadline } from '../deadline.js';
import { type Bytes, bytesOf, checkedKey, listOf, type RangeOptions, scanBounds } from '../raw.js';
import type { ScanEntry } from '../scan.js';
import type { Committer } from './committer.js';
import { mergedScan } from './merged-scan.js';
import type { SnapshotReads } from './snapshot-reads.js';
import type { WriteBuffer } from './write-buffer.js';

export interface TransactionParts {
  readonly reads: SnapshotReads;
  readonly buffer: WriteBuffer;
  readonly committer: Committer;
  readonly deadline: Deadline;
  /** Bytes of one key and its value at most, as the cluster's entry limit allows. */
  readonly maxPairBytes: number;
}

/**
 * Reads and writes that happen as one (snapshot isolation): it sees what was committed when it began, and its own writes;
 * it commits unless somebody else has committed one of its keys since.
 *
 * Keys that it only reads are not looked at again when it commits; `lock` those that have to stay as they were read.
 * Reads reject, and writes throw, a `TroupeError`: `invalid-argument` for what cannot be or above the size limits, `timeout`
 * past its time, `closed` after its end, `unavailable`, and `failed` with the reason `below-safe-point` when what it reads is older than
 * old versions are kept (`gc-life-time`).
 */
export class Transaction {
  /** What is committed at or below it is seen. */
  readonly startTimestamp: bigint;
  readonly #parts: TransactionParts;

  constructor(parts: TransactionParts) {
    this.#parts = parts;
    this.startTimestamp = parts.reads.timestamp;
  }

  /** Of its writes; `undefined` before it is committed, and where it wrote nothing. */
  get commitTimestamp(): bigint | undefined {
    const { isActive, commitTs } = this.#parts.committer;
    return isActive || commitTs === 0n ? undefined : commitTs;
  }

  /** It may still be read, written and committed. */
  get isActive(): boolean {
    return this.#parts.committer.isActive;
  }

  /** The value of `key`, `undefined` when it has none. */
  async get(key: Bytes): Promise<Uint8Array | undefined> {
    this.#check();
    const bytes = checkedKey(key);
    const { buffer, reads, deadline } = this.#parts;
    const own = buffer.read(bytes);
    if (own !== undefined) return own.value === undefined ? undefined : new Uint8Array(own.value);
    const value = await reads.get(bytes, deadline);
    this.#check();
    return value;
  }

  /** The values of `keys`, in their order. */
  async batchGet(keys: Iterable<Bytes>): Promise<(Uint8Array | undefined)[]> {
    this.#check();
    const { buffer, reads, deadline } = this.#parts;
    const asked = [...listOf(keys)].map(checkedKey);
    const own = asked.map((key) => buffer.read(key));
    const missing = new Map<string, Uint8Array>();
    asked.forEach((key, i) => {
      if (own[i] === undefined) missing.set(nameOfKey(key), key);
    });
    const found = await reads.batchGet([...missing.values()], deadline);
    this.#check();
    return asked.map((key, i) => {
      const write = own[i];
      const value = write === undefined ? found.get(nameOfKey(key)) : write.value;
      return value === undefined ? undefined : new Uint8Array(value);
    });
  }

  /** The pairs of a range in the order of their keys, with the writes so far over them; later ones do not show. */
  scan(options: RangeOptions = {}): AsyncIterableIterator<ScanEntry> {
    this.#check();
    const { buffer, reads, deadline } = this.#parts;
    const bounds = scanBounds(options);
    const own = buffer.range(bounds.start, bounds.end, bounds.reverse);
    // Each own write may hide one stored pair.
    const stored = reads.scan({ ...bounds, limit: bounds.limit + own.length }, () => deadline);
    return this.#whileActive(mergedScan(stored, own, bounds));
  }

  /** Sets the value of `key` when the transaction commits. */
  put(key: Bytes, value: Bytes): void {
    this.#check();
    const [k, v] = this.#pair(key, value);
    this.#parts.buffer.put(k, v);
  }

  /** Sets the value of `key`, which must have none: otherwise the commit rejects with `conflict` (reason `already-exists`). */
  insert(key: Bytes, value: Bytes): void {
    this.#check();
    const [k, v] = this.#pair(key, value);
    this.#parts.buffer.insert(k, v);
  }

  /** Removes `key` when the transaction commits; no matter whether it is there. */
  delete(key: Bytes): void {
    this.#check();
    this.#parts.buffer.delete(kept(checkedKey(key)));
  }

  /** The commit fails when somebody else has written one of `keys` since the transaction began, though it does not write them. */
  lock(...keys: readonly Bytes[]): void {
    this.#check();
    for (const key of keys) this.#parts.buffer.lock(kept(checkedKey(key)));
  }

  /**
   * Writes everything, or nothing. Done when it is durable and everybody who begins later sees it.
   * @returns the commit timestamp; `undefined` where nothing was written
   * @throws TroupeError `conflict` with the reason `write-conflict` (begin anew) or `already-exists`; `undetermined` when
   * nobody can tell in time whether it is committed; `failed` with the reason `below-safe-point` when it is older than old versions
   * are kept; that, and `timeout`, `unavailable`, `closed`: nothing was written
   */
  async commit(): Promise<bigint | undefined> {
    this.#check();
    const { buffer, committer, deadline } = this.#parts;
    const commitTs = await deadline.explaining(() => committer.commit(buffer.mutations()));
    return commitTs === 0n ? undefined : commitTs;
  }

  /** Gives it up; nothing was written. Idempotent, and nothing where it has ended. */
  rollback(): void {
    if (this.isActive) this.#parts.committer.rollBack();
  }

  async *#whileActive(entries: AsyncGenerator<ScanEntry, void, undefined>): AsyncGenerator<ScanEntry> {
    for await (const entry of entries) {
      this.#check();
      yield entry;
    }
  }

  #check(): void {
    const { committer, deadline } = this.#parts;
    if (!committer.isActive) {
      throw new TroupeError('closed', 'The transaction has ended: begin another one.');
    }
    if (deadline.signal?.aborted) throw deadline.signal.reason;
    if (deadline.passed) {
      throw new TroupeError(
        'timeout',
        `The transaction has taken the ${deadline.timeout} ms that it may: do less in it, or give it more (timeout).`,
      );
    }
  }

  #pair(key: Bytes, value: Bytes): [Uint8Array, Uint8Array] {
    const pair: [Uint8Array, Uint8Array] = [kept(checkedKey(key)), kept(bytesOf(value))];
    const bytes = pair[0].length + pair[1].length;
    const { maxPairBytes } = this.#parts;
    if (bytes <= maxPairBytes) return pair;
    throw new TroupeError(
      'invalid-argument',
      `The key and its value have ${bytes} bytes; the cluster's entry limit leaves ${maxPairBytes} for them: store the value in parts.`,
    );
  }
}

/** Written later: the caller may use its array for something else until then. */
function kept(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

import type { Timestamp } from '../../../storage/index.js';
import { nameOfKey } from '../../../storage/keys.js';

/** The keys of one prewrite whose commit timestamp is chosen and whose changes nobody sees yet. */
export class MemoryLock {
  /** User keys, a character for each byte. */
  readonly keys: readonly string[];
  /** The smallest timestamp that it may commit at. */
  readonly commitFloor: Timestamp;
  readonly startTs: Timestamp;
  readonly waiting: (() => void)[] = [];

  constructor(keys: readonly string[], startTs: Timestamp, commitFloor: Timestamp) {
    this.keys = keys;
    this.startTs = startTs;
    this.commitFloor = commitFloor;
  }
}

/**
 * Locks of prewrites with async commit or in one phase, from the choice of their commit timestamp until their changes are
 * visible (TiKV's concurrency manager). A read at or above the timestamp would else go past what commits below it.
 *
 * Latches keep the keys of two prewrites apart, and bound the table.
 */
export class MemoryLocks {
  readonly #locks = new Map<string, MemoryLock>();

  get size(): number {
    return this.#locks.size;
  }

  add(lock: MemoryLock): void {
    for (const key of lock.keys) this.#locks.set(key, lock);
  }

  /** Whoever waits goes on. */
  remove(lock: MemoryLock): void {
    for (const key of lock.keys) if (this.#locks.get(key) === lock) this.#locks.delete(key);
    for (const go of lock.waiting.splice(0)) go();
  }

  /** The lock that a read of the key at `ts` has to wait for. */
  onKey(key: Uint8Array, ts: Timestamp): MemoryLock | undefined {
    if (this.#locks.size === 0) return undefined;
    const lock = this.#locks.get(nameOfKey(key));
    return lock !== undefined && lock.commitFloor <= ts ? lock : undefined;
  }

  /** The same of a range of user keys; an empty end is open. */
  inRange(start: Uint8Array, end: Uint8Array, blocks: (lock: MemoryLock) => boolean): MemoryLock | undefined {
    if (this.#locks.size === 0) return undefined;
    const from = nameOfKey(start);
    const to = nameOfKey(end);
    for (const [key, lock] of this.#locks) {
      if (key >= from && (to === '' || key < to) && blocks(lock)) return lock;
    }
    return undefined;
  }
}

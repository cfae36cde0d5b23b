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

/** So many keys come and go one by one; with more of them the order is made anew. */
const MANY_KEYS = 8;

/**
 * Locks of prewrites with async commit or in one phase, from the choice of their commit timestamp until their changes are
 * visible (TiKV's concurrency manager). A read at or above the timestamp would else go past what commits below it.
 *
 * Latches keep the keys of two prewrites apart, and bound the table.
 */
export class MemoryLocks {
  readonly #locks = new Map<string, MemoryLock>();
  /** The locked keys in their order, for ranges; a character for each byte orders as the bytes do. */
  #sorted: string[] = [];

  get size(): number {
    return this.#locks.size;
  }

  add(lock: MemoryLock): void {
    const added = lock.keys.filter((key) => !this.#locks.has(key));
    for (const key of lock.keys) this.#locks.set(key, lock);
    if (added.length > MANY_KEYS) this.#sorted = this.#sorted.concat(added).sort();
    else for (const key of added) this.#sorted.splice(firstNotBelow(this.#sorted, key), 0, key);
  }

  /** Whoever waits goes on. */
  remove(lock: MemoryLock): void {
    const removed = lock.keys.filter((key) => this.#locks.get(key) === lock);
    for (const key of removed) this.#locks.delete(key);
    if (removed.length > MANY_KEYS) this.#sorted = this.#sorted.filter((key) => this.#locks.has(key));
    else for (const key of removed) this.#sorted.splice(firstNotBelow(this.#sorted, key), 1);
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
    for (let i = firstNotBelow(this.#sorted, from); i < this.#sorted.length; i++) {
      const key = this.#sorted[i] ?? '';
      if (to !== '' && key >= to) return undefined;
      const lock = this.#locks.get(key);
      if (lock !== undefined && blocks(lock)) return lock;
    }
    return undefined;
  }
}

function firstNotBelow(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

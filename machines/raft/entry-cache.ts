import { invariant } from './errors.js';
import type { Entry } from './types.js';

export const NO_ENTRIES: readonly Entry[] = [];

/** Bytes that an entry takes as eraftpb.Entry; what limits on messages and on Readys count. */
export function entrySize(entry: Entry): number {
  const length = entry.data.length;
  const data = length === 0 ? 0 : 1 + varintSize(length) + length;
  return 4 + varintSize(entry.term) + varintSize(entry.index) + data;
}

/** Bytes of the entries as the limits of the configuration count them. */
export function entriesSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entrySize(entry);
  return size;
}

/** Bytes that callers proposed; entries of the protocol's own count nothing. */
export function payloadSize(entries: readonly Entry[]): number {
  let size = 0;
  for (const entry of entries) size += entry.data.length;
  return size;
}

/** How many of `entries` fit into `maxBytes`: at least one. */
export function countWithin(entries: readonly Entry[], maxBytes: number): number {
  let size = 0;
  for (let i = 0; i < entries.length; i++) {
    size += entrySize(entries[i] as Entry);
    if (size > maxBytes && i > 0) return i;
  }
  return entries.length;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}

/**
 * The bodies of the newest entries of a log: one unbroken run that ends at its last index. Bodies leave at the old end
 * only, and only when the owner says that they can be read again from disk.
 */
export class EntryCache {
  private readonly entries: Entry[] = [];
  /** Slots before it are empty: dropping old bodies moves no memory until many have gone. */
  private head = 0;
  /** Index of the oldest body held; one behind the log's last index when none is. */
  start: number;
  bytes = 0;
  /** Every range asked of the same state is the same array: appends to all followers and the disk write share it. */
  private memo: readonly Entry[] = NO_ENTRIES;
  private memoLow = 0;
  private memoHigh = 0;
  private memoLimit = 0;

  constructor(start: number) {
    this.start = start;
  }

  private get end(): number {
    return this.start + this.entries.length - this.head;
  }

  push(entry: Entry): void {
    invariant(entry.index === this.end, () => `entry ${entry.index} where ${this.end} belongs`);
    this.entries.push(entry);
    this.bytes += entrySize(entry);
  }

  /** The bodies of [low, high), as many as fit into `maxBytes` but at least one. All must be held. */
  slice(low: number, high: number, maxBytes: number): readonly Entry[] {
    if (low >= high) return NO_ENTRIES;
    const limit = maxBytes >= this.bytes ? Number.POSITIVE_INFINITY : maxBytes;
    if (low === this.memoLow && high === this.memoHigh && limit === this.memoLimit) return this.memo;
    invariant(
      low >= this.start && high <= this.end,
      () => `entries [${low}, ${high}) are asked of memory, which holds [${this.start}, ${this.end})`,
    );
    const from = this.head + low - this.start;
    let to = this.head + high - this.start;
    if (limit < this.bytes) {
      let size = entrySize(this.entries[from] as Entry);
      let fits = from + 1;
      for (; fits < to; fits++) {
        size += entrySize(this.entries[fits] as Entry);
        if (size > limit) break;
      }
      to = fits;
    }
    this.memo = this.entries.slice(from, to);
    this.memoLow = low;
    this.memoHigh = high;
    this.memoLimit = limit;
    return this.memo;
  }

  at(index: number): Entry | undefined {
    return this.entries[this.head + index - this.start];
  }

  /** Forgets bodies from `index` on. The next one pushed stands at `index`. */
  truncateFrom(index: number): void {
    this.forgetMemo();
    if (index <= this.start) {
      this.clear(index);
      return;
    }
    const keep = this.head + index - this.start;
    while (this.entries.length > keep) this.bytes -= entrySize(this.entries.pop() as Entry);
  }

  /** Drops the oldest bodies below `index` until at most `maxBytes` are held. */
  evict(index: number, maxBytes: number): void {
    const limit = Math.min(index, this.end);
    if (this.start >= limit || this.bytes <= maxBytes) return;
    this.forgetMemo();
    while (this.start < limit && this.bytes > maxBytes) {
      this.bytes -= entrySize(this.entries[this.head] as Entry);
      this.head++;
      this.start++;
    }
    if (this.head === this.entries.length) {
      this.entries.length = 0;
      this.head = 0;
    } else if (this.head >= 256 && this.head * 2 >= this.entries.length) {
      this.entries.splice(0, this.head);
      this.head = 0;
    }
  }

  /** Forgets everything; the next body pushed stands at `start`. */
  clear(start: number): void {
    this.forgetMemo();
    this.entries.length = 0;
    this.head = 0;
    this.bytes = 0;
    this.start = start;
  }

  private forgetMemo(): void {
    this.memo = NO_ENTRIES;
    this.memoHigh = 0;
    this.memoLow = 0;
  }
}

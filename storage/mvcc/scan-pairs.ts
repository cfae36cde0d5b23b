/** The pairs of a scan: values that stand elsewhere are fetched a few at a time, within the scan's limits. */
import { userKey } from '../keys.js';
import { isVersion } from './read-plan.js';
import type { MvccReader } from './reader.js';
import type { SnapshotPair, SnapshotScan } from './requests.js';
import type { CommittedWrite, LockInfo, Timestamp } from './types.js';

/** What the scan has seen of a key. */
export type Seen =
  | { readonly state: 'absent' }
  | { readonly state: 'value'; readonly value: Uint8Array }
  /** The value stands in the family `default`. */
  | { readonly state: 'long'; readonly startTs: Timestamp }
  | { readonly state: 'locked'; readonly lock: LockInfo }
  /** Not enough of its versions: it takes a point read. */
  | { readonly state: 'unknown' };

interface Item {
  readonly stored: Uint8Array;
  seen: Seen;
}

const NONE = new Uint8Array(0);
/** Long values of the first fetch, whose size nobody knows yet, and of any. */
const FIRST_FETCH = 8;
const LARGEST_FETCH = 256;

export class ScanPairs {
  readonly pairs: SnapshotPair[] = [];
  readonly #scan: SnapshotScan;
  readonly #reader: MvccReader;
  #items: Item[] = [];
  #bytes = 0;
  #longBytes = 0;
  #longValues = 0;

  constructor(scan: SnapshotScan, reader: MvccReader) {
    this.#scan = scan;
    this.#reader = reader;
  }

  /** Pairs until the limit. */
  get room(): number {
    return this.#scan.limit - this.pairs.length - this.#items.length;
  }

  get mayTakeMore(): boolean {
    return this.room > 0;
  }

  add(stored: Uint8Array, seen: Seen): void {
    if (seen.state !== 'absent') this.#items.push({ stored, seen });
  }

  /** Turns what was added into pairs. Returns where a limit cut it off, and whether something was left over. */
  async resolve(): Promise<{ readonly more: boolean; readonly last: Uint8Array } | undefined> {
    const items = this.#items;
    this.#items = [];
    await this.#search(items);
    for (const [i, item] of items.entries()) {
      if (item.seen.state === 'long') await this.#fetch(items, i);
      this.#push(item);
      if (this.pairs.length >= this.#scan.limit || this.#bytes >= this.#scan.maxBytes) {
        return { more: i + 1 < items.length, last: item.stored };
      }
    }
    return undefined;
  }

  async #search(items: readonly Item[]): Promise<void> {
    const unknown = items.filter(({ seen }) => seen.state === 'unknown');
    if (unknown.length === 0) return;
    for (const item of unknown) item.seen = { state: 'absent' };
    await this.#reader.seekWrites(
      unknown.map((item) => ({
        stored: item.stored,
        from: this.#scan.ts,
        take: (write: CommittedWrite) => {
          if (!isVersion(write)) return false;
          const { kind, shortValue: value, startTs } = write;
          if (kind === 'put') item.seen = value ? { state: 'value', value } : { state: 'long', startTs };
          return true;
        },
      })),
    );
  }

  /** Fetches the value of item `from`, and of as many behind it as will be needed. */
  async #fetch(items: readonly Item[], from: number): Promise<void> {
    const wanted: { readonly item: Item; readonly stored: Uint8Array; readonly startTs: Timestamp }[] = [];
    const count = this.#scan.keysOnly ? LARGEST_FETCH : this.#fetchSize();
    for (let i = from; i < items.length && wanted.length < count; i++) {
      const item = items[i] as Item;
      const { stored, seen } = item;
      if (seen.state === 'long') wanted.push({ item, stored, startTs: seen.startTs });
    }
    const values = this.#scan.keysOnly ? [] : await this.#reader.values(wanted);
    for (const [i, { item }] of wanted.entries()) {
      const value = values[i] ?? NONE;
      item.seen = { state: 'value', value };
      this.#longBytes += value.length;
    }
    this.#longValues += wanted.length;
  }

  #fetchSize(): number {
    if (this.#longValues === 0) return FIRST_FETCH;
    const average = this.#longBytes / this.#longValues;
    return Math.max(1, Math.min(LARGEST_FETCH, Math.ceil((this.#scan.maxBytes - this.#bytes) / average)));
  }

  #push({ stored, seen }: Item): void {
    if (seen.state !== 'value' && seen.state !== 'locked') return;
    const { key } = userKey(stored);
    this.#bytes += key.length;
    if (seen.state === 'value') {
      // A copy: memory of the engine that lives as long as the scan costs more than its reading.
      const value = this.#scan.keysOnly ? NONE : seen.value.slice();
      this.#bytes += value.length;
      this.pairs.push({ key, value });
      return;
    }
    const { lock } = seen;
    this.#bytes += lock.primary.length;
    for (const secondary of lock.secondaries) this.#bytes += secondary.length;
    this.pairs.push({ key, error: { code: 'key-is-locked', lock } });
  }
}

/** Walks over a range of one family in pages, forward or backward. */
import type { ColumnFamily, KeyRange } from '../engine.js';
import { keyAfter } from '../keys.js';
import type { MvccReader } from './reader.js';

export class FamilyCursor {
  readonly #reader: MvccReader;
  readonly #cf: ColumnFamily;
  readonly #reverse: boolean;
  /** What lies beyond the page. */
  #rest: KeyRange;
  #keys: readonly Uint8Array[] = [];
  #values: readonly Uint8Array[] = [];
  #at = 0;
  #more = true;

  constructor(reader: MvccReader, cf: ColumnFamily, range: KeyRange, reverse: boolean) {
    this.#reader = reader;
    this.#cf = cf;
    this.#rest = range;
    this.#reverse = reverse;
  }

  /** The next key of the page; `undefined` at its end. */
  get key(): Uint8Array | undefined {
    return this.#keys[this.#at];
  }

  get value(): Uint8Array {
    return this.#values[this.#at] as Uint8Array;
  }

  /** The page is used up, and the range is not. */
  get isEmpty(): boolean {
    return this.#at >= this.#keys.length && this.#more;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#keys.length && !this.#more;
  }

  next(): void {
    this.#at++;
  }

  /** The next page, of so many records and about so many bytes at most. Returns how many records it has. */
  async fill(limit: number, maxBytes?: number): Promise<number> {
    const page = await this.#reader.engine.scan(this.#cf, {
      ...this.#rest,
      limit,
      ...(maxBytes === undefined ? {} : { maxBytes }),
      reverse: this.#reverse,
      snapshot: this.#reader.snapshot,
    });
    this.#keys = page.keys;
    this.#values = page.values;
    this.#at = 0;
    this.#more = page.more;
    const last = page.keys[page.keys.length - 1];
    if (last) this.resumeFrom(this.#reverse ? last : keyAfter(last));
    return page.keys.length;
  }

  /** Where the next page begins: at this key forward, below it backward. */
  resumeFrom(key: Uint8Array): void {
    this.#rest = this.#reverse ? { ...this.#rest, end: key } : { ...this.#rest, start: key };
  }
}

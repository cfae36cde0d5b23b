import { keyAfter } from '../../storage/keys.js';
import type { ClientTrace } from '../tracing/client-tracing.js';
import type { CallTerms } from './call.js';
import type { Dispatcher } from './dispatcher.js';
import { PageCall } from './raw-calls.js';
import type { Page, PageQuery } from './scan-page.js';
import { keyJustBelow, RAW_SPACE } from './space.js';

/** A key with its value. */
export interface ScanEntry {
  readonly key: Uint8Array;
  /** Empty when only keys were asked for. */
  readonly value: Uint8Array;
}

/** User keys; `end` of `undefined` is the end of the space. */
export interface ScanBounds {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  readonly limit: number;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
}

/** Where the pages of a scan come from. */
export interface PageSource {
  ask(query: PageQuery): AskedPage;
}

/** A page on its way. */
export interface AskedPage {
  readonly promise: Promise<Page>;
  /** Resolves when it has left, or waits for its region. */
  readonly sent: Promise<void>;
  /** Nobody wants it any more: its promise is rejected. */
  drop(): void;
}

/** Pairs of the first page at most: who takes a few and leaves has not had many read for nothing. */
const FIRST_PAGE_KEYS = 256;
/** Of any page; each of the first ones may have twice as many as the one before. While a page travels no other is read. */
const LARGEST_PAGE_KEYS = 2048;

const DONE: IteratorResult<ScanEntry> = { done: true, value: undefined };

/**
 * A scan under way: pages of bounded size, stitched over regions, the next one asked for while one is taken.
 *
 * An error rejects the `next()` that meets it and ends the scan, after everything that came before it.
 */
export class Scan implements AsyncIterableIterator<ScanEntry> {
  readonly #pages: PageSource;
  readonly #query: ScanBounds;
  /** What is left of the range; `undefined` once its last page has been asked for. */
  #rest: { start: Uint8Array; end: Uint8Array | undefined } | undefined;
  /** Pairs still wanted beyond the pages asked for. */
  #left: number;
  #page: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
  #taken = 0;
  #pageKeys = FIRST_PAGE_KEYS;
  #asked: AskedPage | undefined;
  /** `next()` calls that wait for a page are answered one after the other. */
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #over = false;

  constructor(pages: PageSource, query: ScanBounds) {
    this.#pages = pages;
    this.#query = query;
    this.#left = query.limit;
    this.#rest = { start: query.start, end: query.end };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<ScanEntry>> {
    const ready = this.#waiting === 0 ? this.#take() : undefined;
    if (ready !== undefined) return Promise.resolve(ready);
    this.#waiting++;
    const result = this.#tail.then(() => this.#fetch()).finally(() => this.#waiting--);
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** Ends the scan early; what was asked for is dropped. */
  return(): Promise<IteratorResult<ScanEntry>> {
    this.#end();
    return Promise.resolve(DONE);
  }

  /** The next pair of the page at hand. */
  #take(): IteratorResult<ScanEntry> | undefined {
    if (this.#over) return DONE;
    const pair = this.#page[this.#taken];
    if (pair === undefined) return undefined;
    this.#taken++;
    return { done: false, value: { key: new Uint8Array(pair.key), value: new Uint8Array(pair.value) } };
  }

  async #fetch(): Promise<IteratorResult<ScanEntry>> {
    try {
      for (;;) {
        const pair = this.#take();
        if (pair !== undefined) return pair;
        this.#asked ??= this.#ask();
        if (this.#asked === undefined) break;
        const page = await this.#asked.promise;
        this.#page = page.pairs;
        this.#taken = 0;
        this.#moveOn(page);
        this.#asked = this.#ask();
        // Whoever takes a page without a pause holds the loop: the next one is read meanwhile only if it was asked for before.
        await this.#asked?.sent;
      }
    } catch (error) {
      if (this.#over) return DONE;
      this.#end();
      throw error;
    }
    this.#end();
    return DONE;
  }

  #moveOn({ pairs, last, border }: Page): void {
    this.#left -= pairs.length;
    const { reverse } = this.#query;
    const reached = last === undefined ? border : reverse ? last : keyAfter(last);
    if (this.#rest === undefined || this.#left <= 0 || reached === undefined) this.#rest = undefined;
    else if (reverse) this.#rest = { start: this.#rest.start, end: reached };
    else this.#rest = { start: reached, end: this.#rest.end };
  }

  /** Asks for the next page; `undefined` when there is none. */
  #ask(): AskedPage | undefined {
    if (this.#over || this.#rest === undefined || this.#left <= 0) return undefined;
    const { start, end } = this.#rest;
    if (end !== undefined && Buffer.compare(start, end) >= 0) return undefined;
    const { reverse, keysOnly } = this.#query;
    const limit = Math.min(this.#pageKeys, this.#left);
    this.#pageKeys = Math.min(LARGEST_PAGE_KEYS, 2 * this.#pageKeys);
    const asked = this.#pages.ask({ start, end, reverse, limit, keysOnly });
    // A page nobody comes to take must not count as an unhandled rejection.
    asked.promise.catch(() => undefined);
    return asked;
  }

  #end(): void {
    this.#over = true;
    this.#asked?.drop();
    this.#asked = undefined;
    this.#page = [];
  }
}

/** Pages of raw keys, each as new as the moment it is read. */
export class RawPages implements PageSource {
  readonly #dispatcher: Dispatcher;
  readonly #terms: () => CallTerms;
  readonly #cf: string;
  /** Of who began the scan: what takes a page is not where the next one is asked for. */
  readonly #trace: ClientTrace | undefined;

  /** @param terms makes the terms of each page, its deadline in particular */
  constructor(dispatcher: Dispatcher, terms: () => CallTerms, cf: string) {
    this.#dispatcher = dispatcher;
    this.#terms = terms;
    this.#cf = cf;
    this.#trace = dispatcher.tracing.on ? dispatcher.tracing.ambient() : undefined;
  }

  ask(query: PageQuery): AskedPage {
    const key = query.reverse ? keyJustBelow(query.end) : query.start;
    const call = new PageCall(this.#terms(), RAW_SPACE, key, query, this.#cf);
    this.#trace?.follow(call, 'scan');
    this.#dispatcher.submit(call);
    return {
      promise: call.promise as Promise<Page>,
      sent: this.#dispatcher.flushed(),
      drop: () => {
        if (call.settled) return;
        this.#dispatcher.calls.drop(call);
        call.fail(DONE);
      },
    };
  }
}

import type { Clock } from '../../actors/index.js';
import { MAX_USER_KEY_BYTES, nameOfKey, prefixEnd } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import { CallGroup, type CallTerms, partlyDone } from './call.js';
import { checkedTimeout } from './deadline.js';
import { type Dispatcher, ENTRY_OVERHEAD_BYTES } from './dispatcher.js';
import {
  CompareAndSwapCall,
  DeleteCall,
  DeleteRangeCall,
  GetCall,
  PutCall,
  type SwapResult,
} from './raw-calls.js';
import { RawPages, Scan, type ScanBounds, type ScanEntry } from './scan.js';
import { RAW_SPACE } from './space.js';

/** Keys and values as callers give them; strings stand for their UTF-8 bytes. Arrays must not change until the call ends. */
export type Bytes = string | Uint8Array;

/** Where raw data may live; `default` where nothing is said. */
export type DataFamily = 'default' | 'lock' | 'write';

/** What every raw call takes last. */
export interface CallOptions {
  /** The family of the key; `default` when absent. */
  readonly cf?: DataFamily;
  /** Milliseconds until the call fails; the database's where nothing is said. */
  readonly timeout?: number;
  /** Aborting rejects with the signal's reason, or with `undetermined` when a write has already left. */
  readonly signal?: AbortSignal;
}

/** What part of a space a scan goes over, and how. */
export interface RangeOptions {
  /** Only keys that begin with this; not together with `start` and `end`. */
  readonly prefix?: Bytes;
  /** Inclusive; the beginning where nothing is said. */
  readonly start?: Bytes;
  /** Exclusive; the end where nothing is said. */
  readonly end?: Bytes;
  /** At most this many pairs. */
  readonly limit?: number;
  /** Descending. */
  readonly reverse?: boolean;
  /** Leaves the values empty. */
  readonly keysOnly?: boolean;
}

export interface ScanOptions extends RangeOptions, CallOptions {}

export interface RawSpaceOptions {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  /** Milliseconds of a call that says nothing else. */
  readonly timeout: number;
  readonly maxEntryBytes: number;
}

/**
 * Raw keys and values: each operation on one key is atomic and linearizable; those on many keys are not one transaction.
 *
 * All of them reject with a `TroupeError`: `invalid-argument`, `unavailable`, `timeout`, `closed`, and for writes
 * `undetermined`, which is never repeated behind the caller's back. What is asked in one turn of the event loop of one
 * region travels in one message.
 */
export class RawSpace {
  readonly #dispatcher: Dispatcher;
  readonly #clock: Clock;
  readonly #timeout: number;
  readonly #maxPayload: number;
  readonly #maxEntryBytes: number;

  constructor({ dispatcher, clock, timeout, maxEntryBytes }: RawSpaceOptions) {
    this.#dispatcher = dispatcher;
    this.#clock = clock;
    this.#timeout = timeout;
    this.#maxEntryBytes = maxEntryBytes;
    this.#maxPayload = maxEntryBytes - 2 * ENTRY_OVERHEAD_BYTES;
  }

  /** The value of `key`, `undefined` when it has none. */
  get(key: Bytes, options?: CallOptions): Promise<Uint8Array | undefined> {
    try {
      return this.#submit('get', new GetCall(this.#terms(options), checkedKey(key), familyOf(options)));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The values of `keys`, in their order. */
  batchGet(keys: Iterable<Bytes>, options?: CallOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#together(
      'batchGet',
      keys,
      options,
      (terms, key, cf) => new GetCall(terms, checkedKey(key), cf),
    );
  }

  /** Sets the value of a key. @throws TroupeError `undetermined` when it may have happened */
  put(key: Bytes, value: Bytes, options?: CallOptions): Promise<void> {
    try {
      const [k, v] = this.#checkedPair(key, value);
      return this.#submit('put', new PutCall(this.#terms(options), k, v, familyOf(options)));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Puts every pair; where a key comes twice, the last one counts. Other callers may see some of them before others. */
  async batchPut(pairs: Iterable<readonly [Bytes, Bytes]>, options?: CallOptions): Promise<void> {
    const last = new Map<string, [Uint8Array, Uint8Array]>();
    for (const [key, value] of listOf(pairs)) {
      const pair = this.#checkedPair(key, value);
      last.set(nameOfKey(pair[0]), pair);
    }
    await this.#together(
      'batchPut',
      last.values(),
      options,
      (terms, [key, value], cf) => new PutCall(terms, key, value, cf),
    );
  }

  /** Removes `key`; no matter whether it was there. */
  delete(key: Bytes, options?: CallOptions): Promise<void> {
    try {
      return this.#submit('delete', new DeleteCall(this.#terms(options), checkedKey(key), familyOf(options)));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Removes keys, of any number of regions: not all at one moment. */
  async batchDelete(keys: Iterable<Bytes>, options?: CallOptions): Promise<void> {
    await this.#together(
      'batchDelete',
      keys,
      options,
      (terms, key, cf) => new DeleteCall(terms, checkedKey(key), cf),
    );
  }

  /** Removes every key in [start, end), region by region. */
  async deleteRange(start: Bytes, end: Bytes, options?: CallOptions): Promise<void> {
    const terms = this.#terms(options);
    const upTo = checkedKey(end);
    let from: Uint8Array | undefined = checkedKey(start);
    let partly = false;
    while (from !== undefined && Buffer.compare(from, upTo) < 0) {
      const call: DeleteRangeCall = new DeleteRangeCall(terms, RAW_SPACE, from, upTo, familyOf(options));
      try {
        from = await this.#submit<Uint8Array | undefined>('deleteRange', call);
      } catch (error) {
        throw partly ? partlyDone(error) : error;
      }
      partly = true;
    }
  }

  /**
   * Puts `value` when `key` has the value `expected`, or none where `expected` is `undefined`.
   * @returns whether it did, and what the key had before
   */
  compareAndSwap(
    key: Bytes,
    expected: Bytes | undefined,
    value: Bytes,
    options?: CallOptions,
  ): Promise<SwapResult> {
    try {
      const [k, v] = this.#checkedPair(key, value);
      const previous = expected === undefined ? undefined : bytesOf(expected);
      this.#checkSize(k.length + v.length + (previous?.length ?? 0));
      const call = new CompareAndSwapCall(this.#terms(options), k, previous, v, familyOf(options));
      return this.#submit('compareAndSwap', call);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The pairs of a range in the order of their keys, fetched page by page while they are taken.
   *
   * Each page is as new as the moment it is read; the scan as a whole is not one snapshot. `timeout` is that of a page.
   */
  scan(options: ScanOptions = {}): AsyncIterableIterator<ScanEntry> {
    const bounds = scanBounds(options, RAW_SCAN_OPTIONS);
    const pages = new RawPages(this.#dispatcher, () => this.#terms(options), familyOf(options));
    return new Scan(pages, bounds);
  }

  #submit<T>(
    operation: string,
    call: GetCall | PutCall | DeleteCall | CompareAndSwapCall | DeleteRangeCall,
  ): Promise<T> {
    const { tracing } = this.#dispatcher;
    if (tracing.on) tracing.follow(call, operation);
    this.#dispatcher.submit(call);
    return call.promise as Promise<T>;
  }

  async #together<I, T>(
    operation: string,
    items: Iterable<I>,
    options: CallOptions | undefined,
    make: (terms: CallTerms, item: I, cf: string) => GetCall | PutCall | DeleteCall,
  ): Promise<T[]> {
    const group = new CallGroup((call) => this.#dispatcher.calls.drop(call));
    const terms = { ...this.#terms(options), group };
    const cf = familyOf(options);
    for (const item of listOf(items)) make(terms, item, cf);
    if (group.calls.length === 0) return [];
    this.#dispatcher.calls.checkRoom(group.calls.length);
    const { tracing } = this.#dispatcher;
    if (tracing.on) {
      const one = tracing.begin(operation, { size: group.calls.length });
      for (const call of group.calls) call.trace = one;
      void one.until(group.promise);
    }
    for (const call of group.calls) if (!call.settled) this.#dispatcher.submit(call);
    return (await group.promise) as T[];
  }

  #terms(options: CallOptions | undefined): CallTerms {
    const timeout = checkedTimeout(options?.timeout ?? this.#timeout);
    return {
      owner: this.#dispatcher.calls,
      deadline: this.#clock.now() + timeout,
      signal: options?.signal,
      group: undefined,
    };
  }

  #checkedPair(key: Bytes, value: Bytes): [Uint8Array, Uint8Array] {
    const pair: [Uint8Array, Uint8Array] = [checkedKey(key), bytesOf(value)];
    this.#checkSize(pair[0].length + pair[1].length);
    return pair;
  }

  #checkSize(bytes: number): void {
    if (bytes <= this.#maxPayload) return;
    throw new TroupeError(
      'invalid-argument',
      `The key and its values have ${bytes} bytes; the cluster's entry limit of ${this.#maxEntryBytes} bytes leaves ${this.#maxPayload} for them: store the value in parts.`,
    );
  }
}

/** @throws TroupeError `invalid-argument` for what is neither bytes nor text */
export function bytesOf(bytes: Bytes): Uint8Array {
  if (typeof bytes === 'string') {
    if (bytes.isWellFormed()) return Buffer.from(bytes, 'utf8');
    throw new TroupeError(
      'invalid-argument',
      'A key or value holds half a surrogate pair, which UTF-8 cannot say: give its bytes as a Uint8Array.',
    );
  }
  if (bytes instanceof Uint8Array) return bytes;
  throw new TroupeError(
    'invalid-argument',
    `Keys and values are strings or Uint8Arrays, not ${typeof bytes}.`,
  );
}

/** @throws TroupeError `invalid-argument` for a single key, whose characters or bytes would be taken for keys */
export function listOf<T>(items: Iterable<T>): Iterable<T> {
  const given: unknown = items;
  const isList =
    typeof given === 'object' && given !== null && !(given instanceof Uint8Array) && Symbol.iterator in given;
  if (isList) return items;
  throw new TroupeError(
    'invalid-argument',
    'Give a list of keys (an array, for example), also where it is only one.',
  );
}

/** @throws TroupeError `invalid-argument` for what is no key */
export function checkedKey(key: Bytes): Uint8Array {
  const bytes = bytesOf(key);
  if (bytes.length === 0) {
    throw new TroupeError(
      'invalid-argument',
      `The key is empty; keys have 1 to ${MAX_USER_KEY_BYTES} bytes.`,
    );
  }
  checkKeyLength(bytes);
  return bytes;
}

function checkKeyLength(key: Uint8Array): void {
  if (key.length <= MAX_USER_KEY_BYTES) return;
  throw new TroupeError(
    'invalid-argument',
    `The key has ${key.length} bytes; keys have 1 to ${MAX_USER_KEY_BYTES} bytes.`,
  );
}

function familyOf(options: CallOptions | undefined): string {
  const cf = options?.cf;
  if (cf === undefined || cf === 'default') return '';
  if (cf === 'lock' || cf === 'write') return cf;
  throw new TroupeError(
    'invalid-argument',
    `There is no column family "${String(cf)}": use default, lock or write.`,
  );
}

function bound(key: Bytes | undefined): Uint8Array | undefined {
  if (key === undefined) return undefined;
  const bytes = bytesOf(key);
  checkKeyLength(bytes);
  return bytes.length === 0 ? undefined : bytes;
}

const RANGE_OPTIONS = ['prefix', 'start', 'end', 'limit', 'reverse', 'keysOnly'];
const RAW_SCAN_OPTIONS = ['cf', 'timeout', 'signal'];

/**
 * @param others options that the scan takes beside those of its range
 * @throws TroupeError `invalid-argument` for a range or limit that cannot be, or an option that there is not
 */
export function scanBounds(options: RangeOptions, others: readonly string[] = []): ScanBounds {
  const known = [...RANGE_OPTIONS, ...others];
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new TroupeError(
      'invalid-argument',
      `A scan takes no option "${unknown}", but ${known.join(', ')}.`,
    );
  const { limit = Number.POSITIVE_INFINITY, reverse = false, keysOnly = false } = options;
  if (!(limit >= 0 && (Number.isSafeInteger(limit) || limit === Number.POSITIVE_INFINITY)))
    throw new TroupeError('invalid-argument', `limit is ${limit}: give a number of pairs, 0 or more.`);
  const prefix = bound(options.prefix);
  if (prefix !== undefined && (options.start !== undefined || options.end !== undefined)) {
    throw new TroupeError('invalid-argument', 'A scan takes a prefix, or start and end, not both.');
  }
  const start = prefix ?? bound(options.start) ?? new Uint8Array(0);
  const end = prefix === undefined ? bound(options.end) : prefixEnd(prefix);
  return { start, end, limit, reverse, keysOnly };
}

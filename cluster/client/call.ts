import { TROUPE_ERROR_CODES, TroupeError, type TroupeErrorCode } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import type { ClientTrace } from '../tracing/client-tracing.js';
import type { CachedRegion } from './region-cache.js';
import { userRangeOf } from './space.js';

/** Who is told when a caller's signal aborts one of its calls. */
export interface CallOwner {
  abort(call: Call): void;
}

/** What every call carries. */
export interface CallTerms {
  readonly owner: CallOwner;
  /** Milliseconds on the client's clock. */
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** Set when the call is one of several behind one promise. */
  readonly group: CallGroup | undefined;
}

type Resolve = (value: unknown) => void;
type Reject = (reason: unknown) => void;

// A promise's two ends, taken out of it without a closure per call.
let lastResolve: Resolve;
let lastReject: Reject;
function capture(resolve: Resolve, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

/**
 * One request on its way: it is queued at a region, sent in a batch, and settled exactly once.
 *
 * Calls under way form a doubly linked list, so that a sweep finds the late ones without a timer each.
 */
export abstract class Call {
  previous: Call | undefined = undefined;
  next: Call | undefined = undefined;
  /** It stands in the list. */
  pending = false;
  settled = false;
  /** It left, and no reply has said that it was not proposed. */
  sent = false;
  /** Tries that failed; sets the next wait. */
  tries = 0;
  /** Why it has not succeeded yet. */
  trouble: TroupeError | undefined = undefined;
  /** Index in `group`. */
  slot = 0;
  /** The span that it belongs to, where somebody takes spans. */
  trace: ClientTrace | undefined = undefined;
  readonly owner: CallOwner;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  readonly group: CallGroup | undefined;
  readonly promise: Promise<unknown> | undefined;
  readonly #resolve: Resolve | undefined;
  readonly #reject: Reject | undefined;
  /** Where it is routed: a user key. */
  readonly key: Uint8Array;
  /** Roughly its share of a frame, and of a log entry. */
  readonly bytes: number;
  abstract readonly write: boolean;

  constructor(terms: CallTerms, key: Uint8Array, bytes: number) {
    this.owner = terms.owner;
    this.deadline = terms.deadline;
    this.signal = terms.signal;
    this.group = terms.group;
    this.key = key;
    this.bytes = bytes;
    if (terms.group === undefined) {
      this.promise = new Promise<unknown>(capture);
      this.#resolve = lastResolve;
      this.#reject = lastReject;
    } else {
      this.slot = terms.group.add(this);
      this.promise = undefined;
      this.#resolve = undefined;
      this.#reject = undefined;
    }
  }

  /** What to ask of `region`, which holds `key`. */
  abstract request(region: CachedRegion): troupepb.RegionRequest;

  /** Told of its region before it is queued there. `true`: that was all it wanted, and it is over. */
  located(_region: CachedRegion): boolean {
    return false;
  }

  /** The value of a reply. @throws TroupeError when the reply carries an error, or is not one to this call */
  protected abstract result(response: troupepb.RegionResponse): unknown;

  /** Only for the owner, which has settled it. */
  succeed(response: troupepb.RegionResponse): void {
    let value: unknown;
    try {
      value = this.result(response);
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.group === undefined) this.#resolve?.(value);
    else this.group.succeeded(this, value);
  }

  /** Only for the owner, which has settled it. */
  fail(reason: unknown): void {
    if (this.group === undefined) this.#reject?.(reason);
    else this.group.failed(reason);
  }

  /** As an EventListener of `signal`. */
  handleEvent(): void {
    this.owner.abort(this);
  }
}

/** Several calls behind one promise: it resolves with all results in order, or rejects with the first failure. */
export class CallGroup {
  readonly calls: Call[] = [];
  readonly promise: Promise<unknown>;
  readonly #results: unknown[] = [];
  readonly #resolve: Resolve;
  readonly #reject: Reject;
  readonly #drop: (call: Call) => void;
  #done = 0;
  #over = false;

  /** @param drop takes a call that is no longer wanted out of the queues */
  constructor(drop: (call: Call) => void) {
    this.promise = new Promise<unknown>(capture);
    this.#resolve = lastResolve;
    this.#reject = lastReject;
    this.#drop = drop;
  }

  add(call: Call): number {
    return this.calls.push(call) - 1;
  }

  succeeded(call: Call, value: unknown): void {
    if (this.#over) return;
    this.#results[call.slot] = value;
    if (++this.#done < this.calls.length) return;
    this.#over = true;
    this.#resolve(this.#results);
  }

  /** Part of a group of writes may have happened when another part has failed for good: that is not "no change". */
  failed(reason: unknown): void {
    if (this.#over) return;
    this.#over = true;
    const partly = this.calls.some((call) => call.write && call.sent);
    for (const call of this.calls) if (!call.settled) this.#drop(call);
    this.#reject(partly ? partlyDone(reason) : reason);
  }
}

/** The error of an operation on many keys or regions that failed after some of it may have happened. */
export function partlyDone(reason: unknown): TroupeError {
  if (reason instanceof TroupeError && reason.code === 'undetermined') return reason;
  const why = reason instanceof Error ? reason.message : String(reason);
  return new TroupeError(
    'undetermined',
    `Some of the writes asked for together may have happened, others have not: ${why}`,
    { cause: reason },
  );
}

/** A caller keeps a value for as long as it likes: it must not keep a whole received frame alive with it. */
export function owned(bytes: Uint8Array): Uint8Array {
  if (bytes.length * 2 > bytes.buffer.byteLength && bytes.constructor === Uint8Array) return bytes;
  return new Uint8Array(bytes);
}

/** Requests refused by themselves name a code before the sentence: `code: sentence`. */
function checkError(error: string): void {
  if (error === '') return;
  const colon = error.indexOf(': ');
  const code = TROUPE_ERROR_CODES.find((one) => one === error.slice(0, colon));
  throw new TroupeError(code ?? ('failed' satisfies TroupeErrorCode), code ? error.slice(colon + 2) : error);
}

export function unexpected(): TroupeError {
  return new TroupeError(
    'failed',
    'The store answered another request than the one it was asked; check its version.',
  );
}

export class GetCall extends Call {
  readonly write = false;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, cf: string) {
    super(terms, key, key.length + 16);
    this.#request = { rawGet: { key, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawGet }: troupepb.RegionResponse): Uint8Array | undefined {
    if (rawGet === undefined) throw unexpected();
    checkError(rawGet.error);
    return rawGet.notFound ? undefined : owned(rawGet.value);
  }
}

export class PutCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, value: Uint8Array, cf: string) {
    super(terms, key, writeBytes(key.length + value.length));
    this.#request = { rawPut: { key, value, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawPut }: troupepb.RegionResponse): void {
    if (rawPut === undefined) throw unexpected();
    checkError(rawPut.error);
  }
}

export class DeleteCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(terms: CallTerms, key: Uint8Array, cf: string) {
    super(terms, key, writeBytes(key.length));
    this.#request = { rawDelete: { key, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawDelete }: troupepb.RegionResponse): void {
    if (rawDelete === undefined) throw unexpected();
    checkError(rawDelete.error);
  }
}

/** What a compare-and-swap found, and whether it wrote. */
export interface SwapResult {
  /** The key had the expected value, and has the new one now. */
  readonly swapped: boolean;
  /** What it had before. */
  readonly previous: Uint8Array | undefined;
}

export class CompareAndSwapCall extends Call {
  readonly write = true;
  readonly #request: troupepb.RegionRequest;

  constructor(
    terms: CallTerms,
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    cf: string,
  ) {
    super(terms, key, writeBytes(key.length + value.length + (expected?.length ?? 0)));
    const previousNotExist = expected === undefined;
    const previousValue = expected ?? new Uint8Array(0);
    this.#request = { rawCompareAndSwap: { key, value, previousNotExist, previousValue, cf } };
  }

  request(): troupepb.RegionRequest {
    return this.#request;
  }

  protected result({ rawCompareAndSwap: swap }: troupepb.RegionResponse): SwapResult {
    if (swap === undefined) throw unexpected();
    checkError(swap.error);
    return {
      swapped: swap.succeed,
      previous: swap.previousNotExist ? undefined : owned(swap.previousValue),
    };
  }
}

/** Deletes [key, end) as far as its region reaches. Resolves with where to go on, `undefined` when all is done. */
export class DeleteRangeCall extends Call {
  readonly write = true;
  readonly #space: number;
  readonly #end: Uint8Array;
  readonly #cf: string;
  #reached: Uint8Array | undefined;

  constructor(terms: CallTerms, space: number, start: Uint8Array, end: Uint8Array, cf: string) {
    super(terms, start, writeBytes(start.length + end.length));
    this.#space = space;
    this.#end = end;
    this.#cf = cf;
  }

  request(region: CachedRegion): troupepb.RegionRequest {
    const limit = userRangeOf(this.#space, region.start, region.end)?.end;
    this.#reached = limit !== undefined && Buffer.compare(limit, this.#end) < 0 ? limit : undefined;
    return { rawDeleteRange: { startKey: this.key, endKey: this.#reached ?? this.#end, cf: this.#cf } };
  }

  protected result({ rawDeleteRange }: troupepb.RegionResponse): Uint8Array | undefined {
    if (rawDeleteRange === undefined) throw unexpected();
    checkError(rawDeleteRange.error);
    return this.#reached;
  }
}

/** What one page of a scan wants; bounds are user keys, `undefined` for open. */
export interface PageQuery {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  readonly reverse: boolean;
  readonly limit: number;
  readonly keysOnly: boolean;
}

export interface Page {
  readonly pairs: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
  /** The page stopped at a limit: go on after this key. */
  readonly last: Uint8Array | undefined;
  /** The side of the region that the scan ran into; `undefined` when the scan's own bound came first. */
  readonly border: Uint8Array | undefined;
}

/** One page of a scan, as far as its region reaches. */
export class PageCall extends Call {
  readonly write = false;
  readonly #space: number;
  readonly #query: PageQuery;
  readonly #cf: string;
  #border: Uint8Array | undefined;

  /** @param key a key in the region where the page begins */
  constructor(terms: CallTerms, space: number, key: Uint8Array, query: PageQuery, cf: string) {
    super(terms, key, query.start.length + (query.end?.length ?? 0) + 32);
    this.#space = space;
    this.#query = query;
    this.#cf = cf;
  }

  request(region: CachedRegion): troupepb.RegionRequest {
    const { start, end, reverse, limit, keysOnly: keyOnly } = this.#query;
    const range = userRangeOf(this.#space, region.start, region.end);
    const low = range !== undefined && Buffer.compare(range.start, start) > 0 ? range.start : undefined;
    const cut = range?.end !== undefined && (end === undefined || Buffer.compare(range.end, end) < 0);
    const high = cut ? range?.end : undefined;
    this.#border = reverse ? low : high;
    const bottom = low ?? start;
    const top = high ?? end ?? new Uint8Array(0);
    return {
      rawScan: {
        startKey: reverse ? top : bottom,
        endKey: reverse ? bottom : top,
        limit,
        keyOnly,
        cf: this.#cf,
        reverse,
      },
    };
  }

  protected result({ rawScan }: troupepb.RegionResponse): Page {
    if (rawScan === undefined) throw unexpected();
    checkError(rawScan.error);
    const last = rawScan.kvs.at(-1)?.key;
    if (rawScan.more && last === undefined) {
      throw new TroupeError(
        'failed',
        'A store sent an empty page in the middle of a scan; check its version.',
      );
    }
    return { pairs: rawScan.kvs, last: rawScan.more ? last : undefined, border: this.#border };
  }
}

/** Bytes around keys and values in a write's encoding, generously. */
const WRITE_OVERHEAD_BYTES = 48;

function writeBytes(payload: number): number {
  return payload + WRITE_OVERHEAD_BYTES;
}

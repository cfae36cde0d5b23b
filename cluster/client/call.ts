import { TroupeError } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import type { ClientTrace } from '../tracing/client-tracing.js';

/** A region as far as calls to it need to know it. */
export interface AskedRegion {
  /** Stored keys. */
  readonly start: Uint8Array;
  /** Exclusive; empty for no end. */
  readonly end: Uint8Array;
  /** It has been replaced or forgotten. */
  readonly stale: boolean;
  /** Whether the stored key (`space`, `key`) is in it. */
  contains(space: number, key: Uint8Array): boolean;
}

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
  abstract request(region: AskedRegion): troupepb.RegionRequest;

  /** Told of its region before it is queued there. `true`: that was all it wanted, and it is over. */
  located(_region: AskedRegion): boolean {
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

export function unexpected(): TroupeError {
  return new TroupeError(
    'failed',
    'The store answered another request than the one it was asked; check its version.',
  );
}

import type { ActorSystem, Clock, TimerHandle } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { RequestOptions } from '../pd-client.js';
import { MAX_TIMESTAMPS_AT_ONCE } from '../timestamp.js';
import { checkedTimeout } from './deadline.js';

export interface TimestampOptions {
  /** Milliseconds until the call fails; the database's where nothing is said. */
  readonly timeout?: number;
  /** Aborting rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TimestampSource {
  /** The first of `count` consecutive timestamps. */
  timestamps(count: number, options: RequestOptions): Promise<bigint>;
}

export interface TimestampClientOptions {
  readonly system: Pick<ActorSystem, 'onTurnEnd' | 'requestTurn'>;
  readonly source: TimestampSource;
  readonly clock: Clock;
  /** Milliseconds of a call that says nothing else. */
  readonly timeout: number;
}

/** Callers who may wait at once; more are refused. */
const MAX_CALLERS = 1 << 18;
/** Longest time between two looks for callers whose time has run out, in milliseconds. */
const SWEEP_MS = 100;

type Resolve = (timestamp: bigint) => void;
type Reject = (reason: unknown) => void;

// A promise's two ends, taken out of it without a closure per caller.
let lastResolve: Resolve;
let lastReject: Reject;
function capture(resolve: Resolve, reject: Reject): void {
  lastResolve = resolve;
  lastReject = reject;
}

/** One who waits for a timestamp. */
class Caller {
  settled = false;
  readonly promise = new Promise<bigint>(capture);
  readonly #resolve = lastResolve;
  readonly #reject = lastReject;

  constructor(
    /** Milliseconds on the client's clock. */
    readonly deadline: number,
    readonly signal: AbortSignal | undefined,
  ) {
    signal?.addEventListener('abort', this);
  }

  succeed(timestamp: bigint): void {
    this.#settle();
    this.#resolve(timestamp);
  }

  fail(reason: unknown): void {
    this.#settle();
    this.#reject(reason);
  }

  /** As an EventListener of `signal`. */
  handleEvent(): void {
    this.fail(this.signal?.reason);
  }

  #settle(): void {
    this.settled = true;
    this.signal?.removeEventListener('abort', this);
  }
}

/**
 * Timestamps for the callers of one client.
 *
 * One request is under way at a time. Who asks meanwhile, or in the same turn, shares the next one, and each gets a
 * timestamp of its own, in the order of the calls. What comes for a caller who is gone is dropped: it would be older
 * than a later caller may expect.
 */
export class TimestampClient {
  readonly #options: TimestampClientOptions;
  readonly #removeHook: () => void;
  /** In the order of their calls; those who are gone stand there until the next look. */
  #queue: Caller[] = [];
  /** Who shares the request under way. */
  #asking: Caller[] = [];
  /** Until when that goes on: the last of their deadlines. */
  #askingUntil = 0;
  #underWay = false;
  #sweeper: TimerHandle | undefined;
  #sweepAt = 0;
  #closed = false;

  constructor(options: TimestampClientOptions) {
    this.#options = options;
    this.#removeHook = options.system.onTurnEnd(0, () => this.#send());
  }

  /**
   * A timestamp that is larger than every one that anybody was given before the call.
   * @throws TroupeError `unavailable` when no scheduler gave one in time, `closed`, `invalid-argument`; the signal's reason
   */
  timestamp({ timeout = this.#options.timeout, signal }: TimestampOptions = {}): Promise<bigint> {
    const refusal = this.#refusal(signal);
    if (refusal !== undefined) return Promise.reject(refusal.reason);
    const now = this.#options.clock.now();
    let caller: Caller;
    try {
      caller = new Caller(now + checkedTimeout(timeout), signal);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#queue.push(caller);
    if (this.#queue.length === 1 && !this.#underWay) this.#options.system.requestTurn();
    if (this.#sweeper === undefined || caller.deadline < this.#sweepAt) this.#sweepSoon(now, caller.deadline);
    return caller.promise;
  }

  /** Rejects who waits with `closed`. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#removeHook();
    if (this.#sweeper !== undefined) this.#options.clock.clearTimeout(this.#sweeper);
    this.#failAll([...this.#asking, ...this.#queue], closedError());
    this.#asking = [];
    this.#queue = [];
  }

  #refusal(signal: AbortSignal | undefined): { readonly reason: unknown } | undefined {
    if (this.#closed) return { reason: closedError() };
    if (signal?.aborted) return { reason: signal.reason };
    return this.#queue.length + this.#asking.length >= MAX_CALLERS ? { reason: crowdedError() } : undefined;
  }

  /** At the end of a turn: asks for everybody who waits. */
  #send(): void {
    if (this.#underWay || this.#queue.length === 0) return;
    const callers = this.#queue.filter(({ settled }) => !settled);
    this.#asking = callers.slice(0, MAX_TIMESTAMPS_AT_ONCE);
    this.#queue = callers.slice(MAX_TIMESTAMPS_AT_ONCE);
    const { length: count } = this.#asking;
    if (count === 0) return;
    this.#askingUntil = 0;
    for (const { deadline } of this.#asking) this.#askingUntil = Math.max(this.#askingUntil, deadline);
    this.#underWay = true;
    const timeout = Math.max(0, this.#askingUntil - this.#options.clock.now());
    this.#options.source.timestamps(count, { timeout }).then(
      (first) => this.#answered(first),
      (reason: unknown) => this.#failed(reason),
    );
  }

  #answered(first: bigint): void {
    let timestamp = first;
    for (const caller of this.#asking) {
      if (!caller.settled) caller.succeed(timestamp);
      timestamp++;
    }
    this.#next();
  }

  #failed(reason: unknown): void {
    this.#failAll(this.#asking, reason);
    this.#next();
  }

  #next(): void {
    this.#asking = [];
    this.#underWay = false;
    // After those who were just answered have had their chance to ask again.
    if (this.#queue.length > 0) this.#options.system.requestTurn();
  }

  #failAll(callers: readonly Caller[], reason: unknown): void {
    for (const caller of callers) if (!caller.settled) caller.fail(reason);
  }

  #sweepSoon(now: number, deadline: number): void {
    const { clock } = this.#options;
    if (this.#sweeper !== undefined) clock.clearTimeout(this.#sweeper);
    this.#sweepAt = Math.min(now + SWEEP_MS, Math.max(deadline, now));
    this.#sweeper = clock.setTimeout(() => this.#sweep(), this.#sweepAt - now);
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const now = this.#options.clock.now();
    let soonest = Number.POSITIVE_INFINITY;
    const late: Caller[] = [];
    for (const callers of [this.#asking, this.#queue]) {
      for (const caller of callers) {
        // The request itself fails at that time, and knows more about the reason.
        if (caller.settled || (callers === this.#asking && caller.deadline === this.#askingUntil)) continue;
        if (caller.deadline <= now) late.push(caller);
        else soonest = Math.min(soonest, caller.deadline);
      }
    }
    if (late.length > 0) this.#failAll(late, lateError());
    this.#queue = this.#queue.filter(({ settled }) => !settled);
    if (soonest < Number.POSITIVE_INFINITY) this.#sweepSoon(now, soonest);
  }
}

function closedError(): TroupeError {
  return new TroupeError('closed', 'The database was closed by this program.');
}

function crowdedError(): TroupeError {
  return new TroupeError(
    'unavailable',
    `A client may wait for ${MAX_CALLERS} timestamps at once: wait for some of them before you ask for more.`,
  );
}

function lateError(): TroupeError {
  return new TroupeError(
    'unavailable',
    'The time for the request ran out: no scheduler gave a timestamp. Check that one runs and leads (`troupe status`).',
  );
}

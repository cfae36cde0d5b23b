import type { Clock, TimerHandle } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { Call, CallOwner } from './call.js';
import { undetermined } from './region-errors.js';

/** Calls under way of one client; more are refused, so that a caller who never waits meets a bound. */
const MAX_CALLS = 1 << 18;
/** Longest time between two looks for calls that are late, in milliseconds. */
const SWEEP_MS = 100;

/**
 * Every call under way, until it is settled. One timer looks for late ones: none is kept per call.
 */
export class PendingCalls implements CallOwner {
  readonly #clock: Clock;
  readonly #swept: (now: number) => void;
  #first: Call | undefined;
  #count = 0;
  #sweeper: TimerHandle | undefined;
  #sweepAt = 0;
  #closed = false;

  /** @param swept told of every look, at most 100 ms apart while calls are under way */
  constructor(clock: Clock, swept: (now: number) => void) {
    this.#clock = clock;
    this.#swept = swept;
  }

  /** Takes a call in; `false` when it has failed at once. */
  add(call: Call): boolean {
    const refusal = this.#refusal(call);
    if (refusal !== undefined) {
      call.settled = true;
      call.fail(refusal.reason);
      return false;
    }
    call.signal?.addEventListener('abort', call);
    call.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = call;
    this.#first = call;
    call.pending = true;
    this.#count++;
    if (this.#sweeper === undefined || call.deadline < this.#sweepAt) this.#sweepSoon(call.deadline);
    return true;
  }

  /** @throws TroupeError `unavailable` when so many more calls may not be under way */
  checkRoom(calls: number): void {
    if (this.#count + calls > MAX_CALLS) throw crowdedError();
  }

  /** Takes a call out, to be settled by the caller of this. */
  settle(call: Call): void {
    call.settled = true;
    if (!call.pending) return;
    call.pending = false;
    if (call.previous === undefined) this.#first = call.next;
    else call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
    call.previous = undefined;
    call.next = undefined;
    this.#count--;
    call.signal?.removeEventListener('abort', call);
  }

  fail(call: Call, reason: unknown): void {
    this.settle(call);
    call.fail(reason);
  }

  /** Takes a call out whose result nobody wants any more; its promise stays as it is. */
  drop(call: Call): void {
    if (!call.settled) this.settle(call);
  }

  abort(call: Call): void {
    if (call.settled) return;
    const reason: unknown = call.signal?.reason;
    const left = call.write && call.sent;
    this.fail(call, left ? undetermined('its signal was aborted before the reply', reason) : reason);
  }

  /** Fails everything that is under way, and whatever comes later, as `closed`. */
  close(): void {
    this.#closed = true;
    if (this.#sweeper !== undefined) this.#clock.clearTimeout(this.#sweeper);
    for (let call = this.#first; call !== undefined; call = this.#first) {
      this.fail(call, closedError(call.write && call.sent));
    }
  }

  /** Why a call cannot begin. */
  #refusal({ signal }: Call): { readonly reason: unknown } | undefined {
    if (this.#closed) return { reason: closedError(false) };
    if (this.#count >= MAX_CALLS) return { reason: crowdedError() };
    return signal?.aborted ? { reason: signal.reason } : undefined;
  }

  #sweepSoon(deadline: number): void {
    if (this.#sweeper !== undefined) this.#clock.clearTimeout(this.#sweeper);
    const now = this.#clock.now();
    this.#sweepAt = Math.min(now + SWEEP_MS, Math.max(deadline, now));
    this.#sweeper = this.#clock.setTimeout(() => this.#sweep(), this.#sweepAt - now);
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const now = this.#clock.now();
    let soonest = Number.POSITIVE_INFINITY;
    const late: Call[] = [];
    for (let call = this.#first; call !== undefined; call = call.next) {
      if (call.deadline <= now) late.push(call);
      else if (call.deadline < soonest) soonest = call.deadline;
    }
    // One that fails may take others of its group with it.
    for (const call of late) if (!call.settled) this.fail(call, lateError(call));
    this.#swept(now);
    if (this.#first !== undefined) this.#sweepSoon(soonest);
  }
}

function closedError(sent: boolean): TroupeError {
  const fate = sent ? ' The write had been sent: it may or may not have happened.' : '';
  return new TroupeError('closed', `The database was closed by this program.${fate}`);
}

function crowdedError(): TroupeError {
  return new TroupeError(
    'unavailable',
    `A client may have ${MAX_CALLS} requests under way at once: wait for some of them before you send more.`,
  );
}

function lateError(call: Call): TroupeError {
  if (call.write && call.sent) return undetermined('no reply came in time');
  const { trouble } = call;
  const code = trouble?.code === 'unavailable' && !call.sent ? 'unavailable' : 'timeout';
  const why = trouble === undefined ? 'no store answered' : trouble.message;
  return new TroupeError(code, `The time for the request ran out: ${why}`, { cause: trouble });
}

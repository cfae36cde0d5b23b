import type { Clock, Random } from '../../actors/index.js';
import { TroupeError, type TroupeErrorCode } from '../errors.js';
import type { RequestOptions } from '../pd-client.js';
import type { ClientTrace } from '../tracing/client-tracing.js';
import { backoffMs } from './backoff.js';
import type { Pauses } from './pauses.js';

/** How a client waits. */
export interface WaitingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly pauses: Pauses;
}

/** The longest that a timer of JavaScript can wait, in milliseconds: about 24 days. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * A timeout as a caller gave it. What no timer could wait for, `Infinity` too, stands for the longest that one can.
 * @throws TroupeError with `code` unless it is a number of milliseconds above 0
 */
export function checkedTimeout(timeout: number, code: TroupeErrorCode = 'invalid-argument'): number {
  if (typeof timeout === 'number' && timeout > 0) return Math.min(timeout, LONGEST_MS);
  throw new TroupeError(code, `timeout is ${String(timeout)}: give milliseconds above 0.`);
}

/** What stands in the way of somebody, as its error when the time runs out. */
export type Hindrance = (cause: unknown) => TroupeError;

/** What one call may take, over all its requests and waits. */
export class Deadline {
  /** Milliseconds in all. */
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
  /** The span that its requests belong to; without one they have none. */
  trace: ClientTrace | undefined = undefined;
  readonly #parts: WaitingParts;
  readonly #at: number;
  #hindrance: Hindrance | undefined;

  /** @param timeout milliseconds from now on. @throws TroupeError `invalid-argument` unless there are some */
  constructor(parts: WaitingParts, timeout: number, signal?: AbortSignal | undefined) {
    this.timeout = checkedTimeout(timeout);
    this.signal = signal;
    this.#parts = parts;
    this.#at = parts.clock.now() + this.timeout;
  }

  /** Milliseconds; 0 when it has passed. */
  get left(): number {
    return Math.max(0, this.#at - this.#parts.clock.now());
  }

  get passed(): boolean {
    return this.left === 0;
  }

  /** Milliseconds on the client's clock. */
  now(): number {
    return this.#parts.clock.now();
  }

  /** For a request to the scheduler. */
  get terms(): RequestOptions {
    return { timeout: this.left, signal: this.signal };
  }

  /**
   * Says what is waited for, so that a timeout can tell. Where several wait, the last one counts.
   * @returns says that it is out of the way
   */
  hinderedBy(hindrance: Hindrance): () => void {
    this.#hindrance = hindrance;
    return () => {
      if (this.#hindrance === hindrance) this.#hindrance = undefined;
    };
  }

  /** The error to throw for one, around the end of the time (a timer may be early by a millisecond): where the time ran out because something stood in the way, that is named. */
  explained(error: unknown): unknown {
    const isLate = error instanceof TroupeError && error.code === 'timeout' && error.reason === undefined;
    return isLate && this.left < 2 && this.#hindrance !== undefined ? this.#hindrance(error) : error;
  }

  /** Does it; what it is rejected with is explained. */
  async explaining<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.explained(error);
    }
  }

  /**
   * Waits for what others go on with, not beyond the deadline.
   * @param what is waited for, as the error says it
   * @throws the signal's reason; TroupeError `timeout`, `closed`; what `work` is rejected with
   */
  async race<T>(work: Promise<T>, what: string): Promise<T> {
    const { pauses } = this.#parts;
    // What others go on with may fail when nobody waits for it any more.
    work.catch(() => undefined);
    pauses.check(this.signal);
    let stop: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      stop = pauses.begin(this.left, this.signal, () => {
        try {
          pauses.check(this.signal);
          reject(
            new TroupeError(
              'timeout',
              `${this.timeout} ms were not enough to wait for ${what}: try again, or give more time (timeout).`,
            ),
          );
        } catch (error) {
          reject(error);
        }
      });
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      stop();
    }
  }

  /**
   * Waits before try number `attempt` (1 for the first repetition), not beyond the deadline.
   * @throws the signal's reason; TroupeError `closed`
   */
  pause(attempt: number): Promise<void> {
    const { pauses, random } = this.#parts;
    return pauses.wait(Math.min(backoffMs(attempt, random), this.left), this.signal);
  }
}

import type { Clock, Random } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { RequestOptions } from '../pd-client.js';
import { backoffMs } from './backoff.js';
import type { Pauses } from './pauses.js';

/** How a client waits. */
export interface WaitingParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly pauses: Pauses;
}

/** What one call may take, over all its requests and waits. */
export class Deadline {
  readonly #parts: WaitingParts;
  readonly #at: number;

  /** @param timeout milliseconds from now on. @throws TroupeError `invalid-argument` unless there are some */
  constructor(
    parts: WaitingParts,
    readonly timeout: number,
    readonly signal?: AbortSignal | undefined,
  ) {
    if (!(timeout > 0))
      throw new TroupeError('invalid-argument', `timeout is ${timeout}: give milliseconds above 0.`);
    this.#parts = parts;
    this.#at = parts.clock.now() + timeout;
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
   * Waits for what others go on with, not beyond the deadline.
   * @throws the signal's reason; TroupeError `timeout`, `closed`; what `work` is rejected with
   */
  async race<T>(work: Promise<T>): Promise<T> {
    const { pauses } = this.#parts;
    // What others go on with may fail when nobody waits for it any more.
    work.catch(() => undefined);
    pauses.check(this.signal);
    let stop: () => void = () => undefined;
    const late = new Promise<never>((_, reject) => {
      stop = pauses.begin(this.left, this.signal, () => {
        try {
          pauses.check(this.signal);
          reject(new TroupeError('timeout', 'The time for the request ran out.'));
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

import type { Random } from './random.js';

/**
 * What to do with an actor that failed (an action, guard or effect threw, or a child did):
 *
 * - `restart`: go on from the last snapshot before the message that failed; that message is not handled again;
 * - `rebuild`: a new actor from the same logic, `input` evaluated anew; for actors whose truth lies on disk;
 * - `stop`: it stops, and its watchers are told;
 * - `escalate`: the actor that spawned it fails with the same error; without one, the system does.
 */
export type Directive = 'restart' | 'rebuild' | 'stop' | 'escalate';

/** What happens when an actor fails, and how often it is tried again. */
export interface Supervision {
  /** What is done first. */
  readonly onFailure: Directive;
  /** Milliseconds before the first restart; doubles with every failure within `window`. */
  readonly minBackoff: number;
  /** Milliseconds before a restart, at most. */
  readonly maxBackoff: number;
  /** Part of the delay that is drawn by chance, 0 to 1: 0.2 spreads it over 80 to 100 %. */
  readonly jitter: number;
  /** Restarts allowed within `window`; one more failure and `afterLimit` happens. */
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
  /** What is done when it was restarted too often. */
  readonly afterLimit: 'stop' | 'escalate';
}

export const DEFAULT_SUPERVISION: Supervision = {
  onFailure: 'restart',
  minBackoff: 100,
  maxBackoff: 10_000,
  jitter: 0.2,
  limit: 10,
  window: 60_000,
  afterLimit: 'stop',
};

export type Verdict =
  | { readonly directive: 'restart' | 'rebuild'; readonly delay: number }
  | { readonly directive: 'stop' | 'escalate' };

/** Remembers an actor's failures and decides about the next one. */
export class Supervisor {
  #failures: number[] = [];

  constructor(
    private readonly policy: Supervision,
    private readonly random: Random,
  ) {}

  /** @param now the clock's time of this failure */
  judge(now: number): Verdict {
    const { onFailure, limit, window, minBackoff, maxBackoff, jitter, afterLimit } = this.policy;
    if (onFailure === 'stop' || onFailure === 'escalate') return { directive: onFailure };
    this.#failures = this.#failures.filter((at) => now - at < window);
    if (this.#failures.length >= limit) return { directive: afterLimit };
    const full = Math.min(maxBackoff, minBackoff * 2 ** this.#failures.length);
    this.#failures.push(now);
    return { directive: onFailure, delay: full * (1 - jitter * this.random()) };
  }
}

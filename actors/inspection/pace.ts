/** How often a node looks at what it keeps for those who inspect it, and for how much of its time. */

/** Milliseconds between two looks that cost little. */
export const TICK_MS = 250;
/** Milliseconds between two looks at who still wants to see something, at most. */
const SLOW_TICK_MS = 1000;
/** Looks become rarer, down to one a second, before they take more than this part of the loop's time. */
const CHEAP = 0.001;
/** No look is worth more than this part. */
const MOST_OF_TIME = 0.02;
/** Timers may fire that much early. */
const EARLY_MS = 1;

/**
 * A look is short where there is little to see and its code is warm. On a loop that is busy with something else it is neither, and
 * nobody reads figures that change four times a second: it gives way.
 */
export class Pace {
  #dueAt = 0;

  isDue(now: number): boolean {
    return now >= this.#dueAt - EARLY_MS;
  }

  /** A look has taken place. Times are milliseconds of one clock. */
  looked(began: number, ended: number): void {
    const took = ended - began;
    const pause = Math.max(TICK_MS, Math.min(took / CHEAP, SLOW_TICK_MS), took / MOST_OF_TIME);
    this.#dueAt = ended + pause;
  }

  /** The next look is due at once. */
  reset(): void {
    this.#dueAt = 0;
  }

  /** Milliseconds until somebody should ask again. */
  tick(now: number): number {
    return Math.max(0, Math.min(this.#dueAt - now, SLOW_TICK_MS));
  }
}

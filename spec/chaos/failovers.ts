import { Histogram } from '../../cluster/bench/histogram.js';

/** Milliseconds from the kill of the leader's store to the end of the first write that began after it and was acknowledged. */
export interface FailoverFigures {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

interface Failover {
  readonly killedAt: number;
  disturbed: boolean;
}

/**
 * Measures failovers. One is disturbed when another fault was at work between the kill and the next acknowledged write:
 * then it tells how long the cluster was without a majority, not how fast it elects.
 */
export class Failovers {
  readonly #clock: { now(): number };
  readonly #measured: (ms: number, disturbed: boolean) => void;
  readonly #all = new Histogram();
  readonly #undisturbed = new Histogram();
  #open: Failover[] = [];
  #faults = 0;

  /** @param measured is told of each one, in milliseconds */
  constructor(clock: { now(): number }, measured: (ms: number, disturbed: boolean) => void = () => {}) {
    this.#clock = clock;
    this.#measured = measured;
  }

  /** Some fault begins. @returns what to call at its end */
  faultBegan(): () => void {
    this.#faults++;
    for (const one of this.#open) one.disturbed = true;
    return () => {
      this.#faults--;
    };
  }

  /** The leader's store is killed: the one fault that counts has begun already. */
  leaderKilled(): void {
    this.#open.push({ killedAt: this.#clock.now(), disturbed: this.#faults > 1 });
  }

  /** A write was acknowledged that began at `calledAt`. */
  written(calledAt: number): void {
    if (this.#open.length === 0) return;
    const waiting: Failover[] = [];
    for (const one of this.#open) {
      if (calledAt <= one.killedAt) {
        waiting.push(one);
        continue;
      }
      const ms = this.#clock.now() - one.killedAt;
      this.#all.record(ms * 1000);
      if (!one.disturbed) this.#undisturbed.record(ms * 1000);
      this.#measured(ms, one.disturbed);
    }
    this.#open = waiting;
  }

  figures(): { readonly all: FailoverFigures; readonly undisturbed: FailoverFigures } {
    return { all: figuresOf(this.#all), undisturbed: figuresOf(this.#undisturbed) };
  }
}

function figuresOf(histogram: Histogram): FailoverFigures {
  const ms = (micros: number): number => Math.round(micros / 1000);
  return {
    count: histogram.count,
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}

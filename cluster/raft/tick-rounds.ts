import type { Clock, TimerHandle } from '../../actors/index.js';

/** What is ticked. */
export interface Ticked {
  readonly stopped: boolean;
  tick(): void;
}

export interface TickRoundsOptions {
  readonly clock: Clock;
  /** Milliseconds from the end of a round to the next. */
  readonly interval: number;
  /** Before the first is ticked. `late` when this round should have come an interval ago, or earlier. */
  readonly begin: (late: boolean) => void;
  /** After the last is ticked. */
  readonly end: () => void;
}

/** Milliseconds of ticks at a time; then others have the event loop. */
const SLICE_MS = 5;
/** Ticks between two looks at the clock. */
const TICKS_PER_LOOK = 16;

/**
 * Ticks those of a host's groups that are awake, in rounds of slices. A round that comes or ends late counts once, and is
 * never made up; who joins during a round is ticked from the next one on.
 */
export class TickRounds<T extends Ticked> {
  readonly #options: TickRoundsOptions;
  readonly #members = new Set<T>();
  #round: readonly T[] = [];
  #next = 0;
  #count = 0;
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(options: TickRoundsOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Rounds begun so far. */
  get count(): number {
    return this.#count;
  }

  get members(): ReadonlySet<T> {
    return this.#members;
  }

  add(member: T): void {
    this.#members.add(member);
  }

  delete(member: T): void {
    this.#members.delete(member);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#members.clear();
    this.#round = [];
  }

  #schedule(): void {
    const { clock, interval } = this.#options;
    const due = clock.now() + interval;
    this.#timer = clock.setTimeout(() => {
      this.#count++;
      this.#options.begin(clock.now() >= due + interval);
      this.#round = [...this.#members];
      this.#next = 0;
      this.#slice();
    }, interval);
  }

  #slice(): void {
    if (this.#stopped) return;
    const { clock, end } = this.#options;
    const until = clock.now() + SLICE_MS;
    for (let member = this.#round[this.#next]; member !== undefined; member = this.#round[++this.#next]) {
      if (this.#next % TICKS_PER_LOOK === TICKS_PER_LOOK - 1 && clock.now() >= until) {
        clock.immediate(() => this.#slice());
        return;
      }
      if (member.stopped) this.#members.delete(member);
      else if (this.#members.has(member)) member.tick();
    }
    this.#round = [];
    end();
    this.#schedule();
  }
}

import type { Clock } from '../../../actors/index.js';
import type { Timestamp } from '../../../storage/index.js';
import { composeTimestamp, physicalOf } from '../../timestamp.js';

/** What of a region decides whether its leader knows the timestamps of all reads. */
export interface LedInTerm {
  readonly group: { readonly isLeader: boolean; readonly term: number };
}

export interface StoreTimestampsOptions {
  /** Asks the oracle for a timestamp that nobody has got before. */
  readonly ask: () => Promise<Timestamp>;
  readonly clock: Clock;
}

/** Milliseconds by which a timestamp may run ahead of what the oracle must have reached by this store's clock. */
const SKEW_MS = 100;
/** Milliseconds for which an answer of the oracle, and this store's clock from there on, tell the time. */
const KNOWN_FOR_MS = 60_000;

/**
 * What a store knows of timestamps: `max_ts`, the largest that a read has come with, and how far the oracle is.
 *
 * `max_ts` is the store's and not the region's, and lives in memory alone. A region that this store leads since a while ago,
 * or that has taken another one in, may have been read elsewhere at a later timestamp. So before it gives a commit timestamp
 * of its own, it waits for one question to the oracle that was asked after that: no earlier read is above the answer.
 * Regions are asked for only when a transaction comes to them, all that wait share a question.
 */
export class StoreTimestamps {
  readonly #options: StoreTimestampsOptions;
  #max: Timestamp = 0n;
  /** The latest answer of the oracle, and when it came. */
  #known: Timestamp = 0n;
  #knownAt = Number.NEGATIVE_INFINITY;
  /** The largest timestamp that was taken for given. */
  #accepted: Timestamp = 0n;
  #asking: Promise<void> | undefined;
  /** Starts when the question under way is answered. */
  #next: Promise<void> | undefined;
  /** Term in which `max_ts` covers a region's reads. */
  readonly #covered = new WeakMap<LedInTerm, number>();
  /** To be covered by the next question. */
  #wanted = new Map<LedInTerm, number>();
  /** To be covered by the question under way. */
  #asked = new Map<LedInTerm, number>();

  constructor(options: StoreTimestampsOptions) {
    this.#options = options;
  }

  /** No read of a region that `covers` is above it. */
  get max(): Timestamp {
    return this.#max;
  }

  /** A read, or a check of secondaries, comes with this timestamp: to be called before its snapshot is taken. */
  raise(ts: Timestamp): void {
    if (ts > this.#max) this.#max = ts;
  }

  /** Whether `max` is above every read of the region. If not, `askAnew` makes it so. */
  covers(region: LedInTerm): boolean {
    const { isLeader, term } = region.group;
    if (!isLeader) return false;
    if (this.#covered.get(region) === term) return true;
    this.#wanted.set(region, term);
    return false;
  }

  /** The region has taken another one in. */
  uncover(region: LedInTerm): void {
    this.#covered.delete(region);
    this.#wanted.delete(region);
    this.#asked.delete(region);
  }

  /** Whether the oracle has certainly, or within a small skew of clocks, reached this timestamp. */
  isPast(ts: Timestamp): boolean {
    if (ts <= this.#accepted) return true;
    const elapsed = this.#options.clock.now() - this.#knownAt;
    if (elapsed > KNOWN_FOR_MS) return false;
    const reached = Math.floor(physicalOf(this.#known) + elapsed + SKEW_MS);
    if (ts >= composeTimestamp(reached, 0)) return false;
    this.#accepted = ts;
    return true;
  }

  /**
   * Asks the oracle anew, so that `isPast` knows of every timestamp that was given before this call.
   * @throws what the scheduler's client throws
   */
  askAnew(): Promise<void> {
    if (this.#asking === undefined) return this.#ask();
    // The question under way may have been answered before the timestamp in doubt was given.
    this.#next ??= this.#asking.then(
      () => this.#askNext(),
      () => this.#askNext(),
    );
    return this.#next;
  }

  #askNext(): Promise<void> {
    this.#next = undefined;
    return this.#asking ?? this.#ask();
  }

  #ask(): Promise<void> {
    const asked = this.#wanted;
    this.#asked = asked;
    this.#wanted = new Map();
    const asking = this.#options
      .ask()
      .then((ts) => this.#answered(ts, asked))
      .finally(() => {
        if (this.#asking === asking) this.#asking = undefined;
      });
    this.#asking = asking;
    return asking;
  }

  #answered(ts: Timestamp, asked: ReadonlyMap<LedInTerm, number>): void {
    if (ts > this.#known) this.#known = ts;
    if (ts > this.#accepted) this.#accepted = ts;
    this.#knownAt = this.#options.clock.now();
    this.raise(ts);
    for (const [region, term] of asked) {
      if (region.group.isLeader && region.group.term === term) this.#covered.set(region, term);
    }
  }
}

import type { Clock, Logger } from '../../actors/index.js';
import type { pdpb } from '../proto/index.js';
import { PHYSICAL_END, TIMESTAMPS_PER_MS } from '../timestamp.js';

/** How far beyond the wall clock the limit is replicated, in milliseconds. */
export const WINDOW_MS = 3_000;
/** What is left of that when the next limit is asked for. */
const EXTEND_BELOW_MS = 2_000;
/** The same where time is ahead of the wall clock, and moves only when a millisecond is used up. */
const AHEAD_WINDOW_MS = 100;
const AHEAD_EXTEND_BELOW_MS = 50;
/** When nobody has asked for so long, the limit is left as it is: the next request waits for a new one. */
const IDLE_AFTER_MS = 60_000;
/** The wall clock may drift by so much between two looks before it is said to have jumped. */
const JUMP_MS = 150;
/** Requests that may wait for a new limit; more are refused. */
const MAX_WAITING = 65_536;

export interface TimestampOracleOptions {
  /** Unix milliseconds; may jump. */
  readonly wallClock: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of this member's group, now. */
  readonly term: () => number;
  /** Replicates that timestamps below so many Unix milliseconds are taken. Rejects when that is not known to be so. */
  readonly extend: (physicalLimit: number) => Promise<void>;
  /** The error for requests that another member has to answer, or this one later. */
  readonly refusal: () => Error;
}

interface Waiter {
  readonly count: number;
  readonly resolve: (first: pdpb.Timestamp) => void;
  readonly reject: (error: Error) => void;
}

/** What holds in one term of leadership. */
interface Office {
  readonly term: number;
  /** Replicated in this term or before: only timestamps below are handed out. */
  limit: number;
  physical: number;
  /** The first that is free at `physical`. */
  logical: number;
  extending: boolean;
  waiting: Waiter[];
}

/**
 * Hands out timestamps below a limit that was replicated before (Percolator's timestamp oracle, PD's TSO): whoever leads
 * next begins above it, so none is given twice and none is smaller than one before, whatever crashes.
 *
 * Time is the wall clock's as long as that goes forward. When it jumps back, time goes on from where it was: `logical`
 * counts, and each millisecond that is used up moves `physical` by one. When it jumps ahead, time follows. Nothing waits
 * for the wall clock to catch up: a clock that was set back by an hour would stop every transaction for an hour. So time
 * runs ahead of a clock that was set back, after a restart by what was left of the window, and while more than 2^18
 * timestamps are taken a millisecond, which takes 16 requests of the largest size in each.
 *
 * The caller has confirmed that this member leads, after the request arrived.
 */
export class TimestampOracle {
  readonly #options: TimestampOracleOptions;
  #office: Office | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #seenWall = 0;
  #seenAt = 0;

  constructor(options: TimestampOracleOptions) {
    this.#options = options;
  }

  /**
   * Begins to hand out, once a limit of its own is replicated.
   * @param replicatedLimit what the leaders before this one may have handed out: everything that they replicated is
   * applied, and the term has not changed since
   */
  takeOffice(replicatedLimit: number): void {
    this.resign();
    const { clock, term, wallClock } = this.#options;
    this.#seenWall = wallClock();
    this.#seenAt = clock.now();
    this.#office = {
      term: term(),
      limit: replicatedLimit,
      physical: Math.max(this.#wall(), replicatedLimit + 1),
      logical: 0,
      extending: false,
      waiting: [],
    };
    this.#extend(this.#office);
  }

  /** Hands out nothing any more, and refuses those that wait. */
  resign(): void {
    const office = this.#office;
    this.#office = undefined;
    if (office !== undefined) this.#refuse(office, this.#options.refusal());
  }

  /**
   * Takes `count` consecutive timestamps; the answers come in the order of the calls.
   * @param count from 1 to TIMESTAMPS_PER_MS; all are of one millisecond
   * @returns the first; a promise of it where the limit has to be moved before
   * @throws the refusal, at once or later
   */
  allocate(count: number): pdpb.Timestamp | Promise<pdpb.Timestamp> {
    const office = this.#office;
    // A term may have gone by whose leader handed out more, before word of it came here.
    if (office === undefined || office.term !== this.#options.term()) throw this.#options.refusal();
    this.#askedAt = this.#options.clock.now();
    if (office.waiting.length === 0) {
      const wall = this.#wall();
      const first = take(office, count, wall);
      if (first !== undefined) {
        this.#extendAhead(office, wall);
        return first;
      }
    }
    if (office.waiting.length >= MAX_WAITING) throw this.#options.refusal();
    return new Promise((resolve, reject) => {
      office.waiting.push({ count, resolve, reject });
      this.#extend(office);
    });
  }

  /** To be called about once a second: moves the limit ahead of use, and watches the wall clock. */
  tick(): void {
    const office = this.#office;
    if (office === undefined) return;
    this.#watchWall();
    if (this.#options.clock.now() - this.#askedAt < IDLE_AFTER_MS) this.#extendAhead(office, this.#wall());
  }

  /** Unix milliseconds; 0 where the clock shows none that a timestamp can hold. */
  #wall(): number {
    const wall = Math.floor(this.#options.wallClock());
    return wall > 0 && wall < PHYSICAL_END - WINDOW_MS ? wall : 0;
  }

  #extendAhead(office: Office, wall: number): void {
    const { limit, physical } = office;
    if (wall + EXTEND_BELOW_MS > limit || physical + AHEAD_EXTEND_BELOW_MS > limit) this.#extend(office);
  }

  #extend(office: Office): void {
    if (office.extending) return;
    office.extending = true;
    const limit = Math.max(this.#wall() + WINDOW_MS, office.physical + AHEAD_WINDOW_MS);
    this.#options.extend(limit).then(
      () => this.#extended(office, limit),
      (error: unknown) => this.#notExtended(office, error),
    );
  }

  #extended(office: Office, limit: number): void {
    if (office !== this.#office) return;
    office.extending = false;
    // In a later term this member's limit is no longer the newest.
    if (office.term !== this.#options.term()) return this.resign();
    office.limit = Math.max(office.limit, limit);
    const { waiting } = office;
    let served = 0;
    for (const { count, resolve } of waiting) {
      const first = take(office, count, this.#wall());
      if (first === undefined) break;
      resolve(first);
      served++;
    }
    office.waiting = waiting.slice(served);
    if (office.waiting.length > 0) this.#extend(office);
  }

  #notExtended(office: Office, cause: unknown): void {
    if (office !== this.#office) return;
    office.extending = false;
    this.#options.logger.debug({ err: cause }, 'the limit of timestamps could not be moved');
    this.#refuse(office, cause instanceof Error ? cause : this.#options.refusal());
  }

  #refuse(office: Office, error: Error): void {
    const { waiting } = office;
    office.waiting = [];
    for (const { reject } of waiting) reject(error);
  }

  #watchWall(): void {
    const { clock, logger, wallClock } = this.#options;
    const [wall, now] = [wallClock(), clock.now()];
    const ahead = wall - this.#seenWall - (now - this.#seenAt);
    this.#seenWall = wall;
    this.#seenAt = now;
    if (Math.abs(ahead) <= JUMP_MS) return;
    const fate = ahead > 0 ? 'timestamps follow it' : 'timestamps go on from where they were';
    logger.warn(
      { aheadMs: Math.round(ahead) },
      `the wall clock jumped by ${Math.round(ahead)} ms; ${fate}: check what sets the time of this machine`,
    );
  }
}

/** The first of `count` timestamps of one millisecond; `undefined`, and nothing is taken, when that is not below the limit. */
function take(office: Office, count: number, wall: number): pdpb.Timestamp | undefined {
  let { physical, logical } = office;
  if (wall > physical) {
    physical = wall;
    logical = 0;
  }
  if (logical + count > TIMESTAMPS_PER_MS) {
    physical++;
    logical = 0;
  }
  if (physical >= office.limit) return undefined;
  office.physical = physical;
  office.logical = logical + count;
  return { physical, logical };
}

import { type ActorRefFrom, createActor } from 'xstate';
import type { Clock, Logger } from '../../actors/index.js';
import { type GcDuties, type GcEvent, type GcState, gcMachine } from '../../machines/gc.machine.js';
import type { troupepb } from '../proto/index.js';
import { SAFE_POINT_WAIT_MS } from '../safe-point-lease.js';
import { composeTimestamp, physicalOf } from '../timestamp.js';
import { type KeyRange, type LockLink, sweepLocks } from './lock-sweep.js';

/** What somebody may set of the collector. */
export interface GcConfig {
  readonly gcEnabled: boolean;
  /** Milliseconds for which an old version is kept at least. */
  readonly gcLifeTime: number;
  /** Milliseconds between two rounds. */
  readonly gcInterval: number;
}

export interface CollectorOptions {
  readonly clock: Clock;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly logger: Logger;
  /** Before that there is nothing to collect. */
  readonly ready: () => boolean;
  readonly config: () => GcConfig;
  /** The safe points as they are replicated. */
  readonly safePoints: () => { readonly transaction: bigint; readonly gc: bigint };
  /** A new timestamp of the oracle. */
  readonly timestamp: () => Promise<bigint>;
  /** Raises the replicated safe points as far as may be. */
  readonly advance: (points: troupepb.AdvanceSafePoints) => Promise<void>;
  /** The transaction safe point that each store heeds which may lead regions; 0 where it has not said. */
  readonly heeded: () => Iterable<bigint>;
  /** Where transactional keys may be. */
  readonly ranges: () => readonly KeyRange[];
  readonly link: () => LockLink;
  /** Milliseconds after which a store that has said nothing trusts no earlier safe point any more (25,000). */
  readonly safePointWait?: number | undefined;
}

/** Milliseconds before a round that failed is tried again: the first time, and at most. */
const BACKOFF_MS = [5_000, 300_000] as const;
/** Ranges whose locks are resolved side by side. */
const RANGES_AT_ONCE = 4;

/** One round. */
class Round {
  readonly stop = new AbortController();
  safePoint = 0n;
  /** When the transaction safe point was raised, on the scheduler's clock. */
  raisedAt = Number.POSITIVE_INFINITY;
  endedAt: number | undefined;
  regions = 0;
  regionsDone = 0;
  locks = 0;
  failure = '';

  constructor(readonly beganAt: number) {}

  /** @param now of the clock that it began by */
  told(now: number): troupepb.GcRound {
    const { safePoint, beganAt, endedAt, regions, regionsDone, locks, failure } = this;
    const age = Math.round(now - beganAt);
    const endedAgo = endedAt === undefined ? 0 : Math.round(now - endedAt);
    return { safePoint, age, endedAgo, regions, regionsDone, locks, failure };
  }
}

/**
 * Raises the safe points of a cluster, round by round, while this scheduler leads: first the one below which transactions
 * are refused, then, when every store heeds it and no earlier lock is left, the one below which versions may go.
 *
 * What a round has reached is replicated, so another leader goes on from there; what it was about is done again.
 */
export class Collector implements GcDuties {
  readonly #options: CollectorOptions;
  #actor: ActorRefFrom<typeof gcMachine> | undefined;
  #round: Round | undefined;
  #last: Round | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** Leadership was won. */
  start(): void {
    this.stop();
    this.#actor = createActor(gcMachine, { input: { duties: this, backoff: BACKOFF_MS } }).start();
  }

  /** Leadership is lost: what is under way ends. Idempotent. */
  stop(): void {
    this.#actor?.stop();
    this.#actor = undefined;
    this.endRound();
    this.#last = undefined;
  }

  /** To be called about once a second, and when the configuration has changed. */
  tick(): void {
    const { clock, config, ready } = this.#options;
    if (!ready()) return;
    const { gcEnabled: enabled, gcInterval: interval } = config();
    const [overdue, storesKnow] = [this.#isOverdue(), this.#storesKnow()];
    this.#actor?.send({ type: 'clock', now: clock.now(), enabled, interval, overdue, storesKnow });
  }

  /** Begins a round now. @returns false when the collector is switched off */
  run(): boolean {
    // What was set since the last tick counts.
    this.tick();
    if (this.state === 'paused') return false;
    this.#actor?.send({ type: 'runNow' });
    return true;
  }

  get state(): GcState {
    const value = this.#actor?.getSnapshot().value ?? 'idle';
    return typeof value === 'string' ? value : value.collecting;
  }

  /** The round under way, and the last that ended in this leadership. */
  told(): Pick<troupepb.GcStatus, 'state' | 'round' | 'last'> {
    const now = this.#options.clock.now();
    return { state: this.state, round: this.#round?.told(now), last: this.#last?.told(now) };
  }

  // The machine's duties.

  beginRound(): void {
    this.#round = new Round(this.#options.clock.now());
  }

  raiseTransactionSafePoint(): void {
    this.#work(async (round) => {
      const { config, timestamp, advance, safePoints, clock } = this.#options;
      const now = physicalOf(await timestamp());
      const txnSafePoint = composeTimestamp(Math.max(0, now - config().gcLifeTime), 0);
      round.stop.signal.throwIfAborted();
      await advance({ txnSafePoint, gcSafePoint: 0n, now });
      const { transaction, gc } = safePoints();
      round.safePoint = transaction;
      round.raisedAt = clock.now();
      return { type: 'raised', ahead: transaction > gc };
    });
  }

  resolveLocks(): void {
    this.#work(async (round) => {
      const link = this.#options.link();
      const ranges = this.#options.ranges();
      round.regions = ranges.length;
      try {
        await sweepLocks({
          link,
          ranges,
          safePoint: round.safePoint,
          atOnce: RANGES_AT_ONCE,
          signal: round.stop.signal,
          progress: (locks, done) => {
            round.locks += locks;
            if (done) round.regionsDone++;
          },
        });
      } finally {
        link.close();
      }
      return { type: 'locksResolved' };
    });
  }

  raiseGcSafePoint(): void {
    this.#work(async (round) => {
      const { timestamp, advance } = this.#options;
      const now = physicalOf(await timestamp());
      round.stop.signal.throwIfAborted();
      await advance({ txnSafePoint: 0n, gcSafePoint: round.safePoint, now });
      return { type: 'collected' };
    });
  }

  endRound(): void {
    const round = this.#round;
    if (round === undefined) return;
    this.#round = undefined;
    round.endedAt = this.#options.clock.now();
    round.stop.abort(new Error('the round is over'));
    this.#last = round;
  }

  /** What it comes to is an event, as long as the round goes on. */
  #work(work: (round: Round) => Promise<GcEvent>): void {
    const round = this.#round;
    if (round === undefined) return;
    work(round).then(
      (event) => {
        if (round === this.#round) this.#actor?.send(event);
      },
      (error: unknown) => {
        if (round !== this.#round) return;
        round.failure = error instanceof Error ? error.message : String(error);
        this.#options.logger.warn(
          { err: error, safePoint: String(round.safePoint) },
          `old versions are not collected yet: ${round.failure}`,
        );
        this.#actor?.send({ type: 'failed' });
      },
    );
  }

  /** By as much as an interval, or a round was begun that nobody has finished. */
  #isOverdue(): boolean {
    const { wallClock, config, safePoints } = this.#options;
    const { gcLifeTime, gcInterval } = config();
    const { transaction, gc } = safePoints();
    return transaction > gc || wallClock() - gcLifeTime - physicalOf(transaction) >= gcInterval;
  }

  #storesKnow(): boolean {
    const { clock, heeded, safePointWait = SAFE_POINT_WAIT_MS } = this.#options;
    const round = this.#round;
    if (round === undefined) return false;
    if (clock.now() - round.raisedAt >= safePointWait) return true;
    for (const safePoint of heeded()) if (safePoint < round.safePoint) return false;
    return true;
  }
}

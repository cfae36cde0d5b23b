import { escapeKey } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { physicalOf } from '../timestamp.js';
import type { AdminCallOptions } from './call-options.js';
import { Deadline, type WaitingParts } from './deadline.js';
import { known } from './placement-info.js';

const GC_STATES = [
  'idle',
  'paused',
  'failed',
  'raisingTransactionSafePoint',
  'awaitingStores',
  'resolvingLocks',
  'raisingGcSafePoint',
] as const;

/** One pass of the collector over the cluster. */
export interface GcRoundInfo {
  /** The timestamp up to which it collects; `null` before it knows. */
  readonly safePoint: string | null;
  /** Milliseconds since it began. */
  readonly ageMs: number;
  /** Milliseconds since it ended; 0 while it has not. */
  readonly endedAgoMs: number;
  /** Ranges of regions whose locks it resolves, and those where it has. */
  readonly regions: number;
  readonly regionsDone: number;
  /** Locks that it has resolved. */
  readonly locks: number;
  /** Why it failed; `null` where it did not. */
  readonly failure: string | null;
}

/** What the collector of old versions does; timestamps are decimal. */
export interface GcInfo {
  /** `idle`, `paused`, `failed` (to be tried again), or what its round is at. */
  readonly state: (typeof GC_STATES)[number];
  /** Transactions and snapshots that began below it are refused. */
  readonly transactionSafePoint: string;
  /** Versions that no snapshot at or above it sees may be gone. */
  readonly gcSafePoint: string;
  /** The same in time, ISO 8601; `null` where nothing has been collected. */
  readonly gcSafeTime: string | null;
  /** The earliest of those that hold the safe points back. */
  readonly services: readonly {
    /** Its name, escaped where that is not text. */
    readonly name: string;
    /** The timestamp that it wants to go on reading at. */
    readonly safePoint: string;
    /** Milliseconds until it is forgotten, unless it says so again. */
    readonly expiresInMs: number;
  }[];
  /** How many there are. */
  readonly serviceCount: number;
  /** The one under way. */
  readonly round: GcRoundInfo | null;
  /** The last that ended under the scheduler that leads. */
  readonly last: GcRoundInfo | null;
}

export interface GcAdminOptions extends WaitingParts {
  readonly scheduler: SchedulerClient;
  /** Milliseconds of a call that says nothing else. */
  readonly timeout: number;
}

/** Begins with longer pauses: a round takes seconds. */
const FIRST_PAUSE = 4;
/** What one more look may take, in milliseconds. */
const LONGEST_PAUSE_MS = 300;

/** Sees and steers how old versions are collected. How long they live is a setting: `placement.set('gc-life-time', '1h')`. */
export class GcAdmin {
  readonly #options: GcAdminOptions;

  constructor(options: GcAdminOptions) {
    this.#options = options;
  }

  /** @throws TroupeError `unavailable` when no scheduler answers in time */
  async status(options: AdminCallOptions = {}): Promise<GcInfo> {
    return gcInfo(await this.#options.scheduler.gcStatus(this.#deadline(options).terms));
  }

  /**
   * Begins a round now, or joins the one that is under way, and waits for its end.
   * @returns what it came to
   * @throws TroupeError `conflict` while it is paused, `failed` when the round has, `timeout` when it goes on beyond the time
   */
  async run(options: AdminCallOptions = {}): Promise<GcInfo> {
    const deadline = this.#deadline(options);
    const { scheduler } = this.#options;
    await scheduler.runGc(deadline.terms);
    for (let look = FIRST_PAUSE; ; look++) {
      const now = gcInfo(await scheduler.gcStatus(deadline.terms));
      if (now.round === null) {
        const failure = now.last?.failure ?? null;
        if (failure !== null)
          throw new TroupeError('failed', `The round has failed and will be tried again: ${failure}`);
        return now;
      }
      if (deadline.left < LONGEST_PAUSE_MS)
        throw new TroupeError(
          'timeout',
          `The round goes on (${now.state}) and did not end within ${Math.round(deadline.timeout)} ms: \`troupe gc status\` shows how far it is.`,
        );
      await deadline.pause(look);
    }
  }

  /** Nothing is collected until `resume`; a round that is under way ends. */
  async pause(options: AdminCallOptions = {}): Promise<void> {
    await this.#enable('false', options);
  }

  /** Lets the collector begin rounds again. */
  async resume(options: AdminCallOptions = {}): Promise<void> {
    await this.#enable('true', options);
  }

  async #enable(value: string, options: AdminCallOptions): Promise<void> {
    const setting = { name: 'gc-enabled', value };
    await this.#options.scheduler.steerPlacement({ setting }, this.#deadline(options).terms);
  }

  #deadline({ timeout = this.#options.timeout, signal }: AdminCallOptions): Deadline {
    return new Deadline(this.#options, timeout, signal);
  }
}

/** @throws TroupeError `failed` for a state that this version does not know */
export function gcInfo(told: troupepb.GcStatus): GcInfo {
  return {
    state: known('state of the collector', told.state, GC_STATES),
    transactionSafePoint: String(told.txnSafePoint),
    gcSafePoint: String(told.gcSafePoint),
    gcSafeTime: told.gcSafePoint === 0n ? null : new Date(physicalOf(told.gcSafePoint)).toISOString(),
    services: told.services.map(({ serviceId, safePoint, expiresIn }) => ({
      name: escapeKey(serviceId),
      safePoint: String(safePoint),
      expiresInMs: expiresIn,
    })),
    serviceCount: told.serviceCount,
    round: roundInfo(told.round),
    last: roundInfo(told.last),
  };
}

function roundInfo(told: troupepb.GcRound | undefined): GcRoundInfo | null {
  if (told === undefined) return null;
  const { safePoint, age, endedAgo, regions, regionsDone, locks, failure } = told;
  return {
    safePoint: safePoint === 0n ? null : String(safePoint),
    ageMs: age,
    endedAgoMs: endedAgo,
    regions,
    regionsDone,
    locks,
    failure: failure === '' ? null : failure,
  };
}

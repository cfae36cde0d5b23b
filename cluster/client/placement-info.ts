import { TroupeError } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import { type RegionInfo, regionInfo } from './region-info.js';

/** How regions are placed. */
export interface PlacementInfo {
  /**
   * - `collecting`: the scheduler that leads has heard of too few regions to place any
   * - `scheduling`: it keeps replicas up and spreads them
   * - `halted`: `halt-scheduling` is set: nothing is placed, nothing is mended
   */
  readonly state: PlacementState;
  readonly schedulers: readonly SchedulerInfo[];
  /** Every setting by its name, as people write it: `{ "max-replicas": "3", … }`. */
  readonly settings: Readonly<Record<string, string>>;
  /** Peers a minute, of stores that have a limit of their own; by store id. */
  readonly storeLimits: ReadonlyMap<number, number>;
}

/** A scheduler of placement: what spreads regions, leaders or load. */
export interface SchedulerInfo {
  /** `balance-region`, `evict-leader-3`. */
  readonly name: string;
  /** Unix milliseconds until which it rests; `PAUSED_FOR_GOOD` until somebody resumes it. 0, or past: it does not rest. */
  readonly pausedUntil: number;
  /** Operators of its own at once; 0 for none but the limits of all. */
  readonly limit: number;
}

/** What is to be done with a region, in steps, and how far it is; what `troupe operator list --json` prints. */
export interface OperatorInfo {
  readonly region: number;
  /** `leader`, `region`, `replica`, `merge`, `hot`, `split`, or `admin`: somebody asked for it. */
  readonly kind: string;
  /** The checker or scheduler that wants it, or `admin`. */
  readonly by: string;
  readonly state: OperatorState;
  /** Sentences. */
  readonly steps: readonly string[];
  /** Which of them is under way, from 0; as many as there are when all are done. */
  readonly step: number;
  /** Milliseconds since it was made. */
  readonly ageMs: number;
  /** Milliseconds since it ended; 0 while it has not. */
  readonly endedAgoMs: number;
  /** Why it was cancelled or replaced; else empty. */
  readonly reason: string;
}

/** A region with what placement thinks of it; what `troupe region hot --json` prints. */
export interface PlacedRegionInfo extends RegionInfo {
  /** Each of these is a state of the region's chart. */
  readonly replication: string;
  readonly leadership: string;
  readonly size: string;
  readonly load: string;
  readonly operator: string;
  /** What its leader last told, a second. */
  readonly flow: {
    readonly bytesWritten: number;
    readonly keysWritten: number;
    readonly bytesRead: number;
    readonly keysRead: number;
  };
}

/** `pausedUntil` of a scheduler that rests until somebody resumes it: the last instant that a `Date` can tell. */
export const PAUSED_FOR_GOOD = 8_640_000_000_000_000;

/**
 * What a scheduler does about placement: it hears of regions first, then it schedules, unless somebody has halted it.
 */
export const PLACEMENT_STATES = ['collecting', 'scheduling', 'halted'] as const;
/** One of `PLACEMENT_STATES`. */
export type PlacementState = (typeof PLACEMENT_STATES)[number];

/** Where an operator stands; all but `waiting` and `running` are ends. */
export const OPERATOR_STATES = [
  'waiting',
  'running',
  'success',
  'cancelled',
  'replaced',
  'expired',
  'timedOut',
] as const;
/** One of `OPERATOR_STATES`. */
export type OperatorState = (typeof OPERATOR_STATES)[number];

/** @throws TroupeError `failed` for what this version does not know */
export function placementInfo(told: troupepb.GetPlacementResponse): PlacementInfo {
  return {
    state: known('state of placement', told.state, PLACEMENT_STATES),
    schedulers: told.schedulers.map(({ name, pausedUntil, limit }) => ({ name, pausedUntil, limit })),
    settings: Object.fromEntries(told.settings.map(({ name, value }) => [name, value])),
    storeLimits: new Map(told.storeLimits.map(({ storeId, limit }) => [storeId, limit])),
  };
}

/** @throws TroupeError `failed` for what this version does not know */
export function operatorInfo(told: troupepb.OperatorInfo): OperatorInfo {
  const { regionId, kind, by, state, steps, step, age, endedAgo, reason } = told;
  if (step > steps.length) throw unknown('step of an operator', String(step));
  return {
    region: regionId,
    kind,
    by,
    state: known('state of an operator', state, OPERATOR_STATES),
    steps,
    step,
    ageMs: age,
    endedAgoMs: endedAgo,
    reason,
  };
}

/** Without those that have gone meanwhile. */
export function placedRegions(found: readonly troupepb.FoundRegion[]): PlacedRegionInfo[] {
  return found.flatMap((one) => {
    const { region: told, replication, leadership, size, load, operator } = one;
    if (told?.region === undefined) return [];
    const { bytesWritten, keysWritten, bytesRead, keysRead } = one;
    return {
      ...regionInfo({ ...told, region: told.region }),
      ...{ replication, leadership, size, load, operator },
      flow: { bytesWritten, keysWritten, bytesRead, keysRead },
    };
  });
}

/** One of the words that there are. @throws TroupeError `failed` */
export function known<T extends string>(what: string, word: string, words: readonly T[]): T {
  const found = words.find((one) => one === word);
  if (found === undefined) throw unknown(what, word);
  return found;
}

function unknown(what: string, word: string): TroupeError {
  return new TroupeError(
    'failed',
    `The scheduler told a ${what} that this version does not know ("${word}"): use the version that the scheduler runs.`,
  );
}

import { TroupeError } from '../../../errors.js';
import type { Proposal } from '../operators.js';
import { balanceLeader } from './balance-leader.js';
import { balanceRegion } from './balance-region.js';
import { spreadHotRegions } from './hot-region.js';
import { evictLeaders, grantLeaders } from './leaders-of-store.js';
import type { Scheduling } from './scheduling.js';

/** A scheduler as it is added at run time. */
export interface SchedulerEntry {
  readonly kind: SchedulerKindName;
  /** Of those that are for one store; 0 of the others. */
  readonly store: number;
  /** Milliseconds of wall time until which it rests; 0 for not. */
  readonly pausedUntil: number;
  /** Operators of its own at once; 0 for no limit beside those of the configuration. */
  readonly limit: number;
}

const KINDS = {
  'balance-region': balanceRegion,
  'balance-leader': balanceLeader,
  'hot-region': spreadHotRegions,
  'evict-leader': evictLeaders,
  'grant-leader': grantLeaders,
} as const;

export type SchedulerKindName = keyof typeof KINDS;
const OF_A_STORE: ReadonlySet<string> = new Set<SchedulerKindName>(['evict-leader', 'grant-leader']);

/** What a cluster begins with. */
export const DEFAULT_SCHEDULERS: readonly SchedulerEntry[] = (
  ['balance-region', 'balance-leader', 'hot-region'] as const
).map((kind) => ({ kind, store: 0, pausedUntil: 0, limit: 0 }));

/** How people name a scheduler: by its kind, and the store where it is for one. */
export function schedulerName({ kind, store }: Pick<SchedulerEntry, 'kind' | 'store'>): string {
  return store === 0 ? kind : `${kind}-${store}`;
}

/**
 * A scheduler by its name: `balance-region`, `evict-leader-3`.
 * @throws TroupeError `invalid-argument` for a name of none
 */
export function namedScheduler(name: string): SchedulerEntry {
  const [, kind, store] = /^([a-z-]+?)(?:-([1-9]\d{0,14}))?$/.exec(name) ?? [];
  const known = (Object.keys(KINDS) as SchedulerKindName[]).find((one) => one === kind);
  if (known === undefined || OF_A_STORE.has(known) !== (store !== undefined)) {
    const names = Object.keys(KINDS).map((one) => (OF_A_STORE.has(one) ? `${one}-STORE` : one));
    throw new TroupeError(
      'invalid-argument',
      `There is no scheduler "${name}": they are ${names.join(', ')}.`,
    );
  }
  return { kind: known, store: Number(store ?? 0), pausedUntil: 0, limit: 0 };
}

/** What a scheduler wants to be done now. */
export function schedule({ kind, store }: SchedulerEntry, scheduling: Scheduling): readonly Proposal[] {
  return KINDS[kind](scheduling, store);
}

import type { ClusterAdmin, RegionInfo } from '../../cluster/index.js';
import { fateOf } from './region-outcomes.js';

/** Voters that each region is to have, where there are so many stores. */
export const VOTERS = 3;

/** Stores of a region's voters, also of those that membership is leaving or entering. */
export function voterStores({ peers }: RegionInfo): number[] {
  return peers.filter(({ role }) => role !== 'learner').map(({ store }) => store);
}

/** Stores without a peer of the region. */
export function freeStores({ peers }: RegionInfo, stores: readonly number[]): number[] {
  return stores.filter((id) => !peers.some(({ store }) => store === id));
}

/** Whether the regions, by key, hold each key once. @returns a sentence about the first place where they do not */
export function gapOf(regions: readonly RegionInfo[]): string | undefined {
  let end = '';
  for (const [i, region] of regions.entries()) {
    if (region.start !== end || (i > 0 && end === ''))
      return `region ${region.id} begins at "${region.start}" and the one before it ends at "${end}"`;
    end = region.end;
  }
  if (regions.length === 0) return 'there is no region';
  return end === '' ? undefined : `the last region ends at "${end}"`;
}

/** What keeps a region from being as it should when nothing is under way; `undefined` for nothing. */
export function ailmentOf({ id, peers, leader }: RegionInfo, voters = VOTERS): string | undefined {
  const strange = peers.find(({ role }) => role !== 'voter');
  if (strange !== undefined) return `the peer of region ${id} on store ${strange.store} is a ${strange.role}`;
  if (peers.length < voters) return `region ${id} has ${peers.length} voters`;
  if (leader === null) return `region ${id} has no leader`;
  const absent = peers.find(({ pending, downSeconds }) => pending || downSeconds > 0);
  if (absent !== undefined)
    return `the peer of region ${id} on store ${absent.store} ${absent.pending ? 'is behind' : 'is down'}`;
  return undefined;
}

/** What is asked of the cluster here. */
export type Mended = Pick<
  ClusterAdmin,
  'regions' | 'movePeer' | 'promote' | 'removePeer' | 'addPeer' | 'checkRegion'
>;

const CALL_MS = 10_000;
const PAUSE_MS = 200;

export interface MendOptions {
  readonly cluster: Mended;
  /** Ids of all stores. */
  readonly stores: readonly number[];
  /** When to give up, as `now` tells it. */
  readonly deadline: number;
  readonly now: () => number;
}

/**
 * Ends what acts have left half done (a change of members, a learner, fewer voters than there should be) and waits until
 * each region is led and whole, and every key has its region.
 * @returns the regions
 * @throws Error with what was still wrong at the deadline, or when a change ends as none may
 */
export async function mendRegions(options: MendOptions): Promise<RegionInfo[]> {
  const { cluster, stores, deadline, now } = options;
  const voters = Math.min(VOTERS, stores.length);
  let wrong = 'the scheduler is silent';
  while (now() < deadline) {
    try {
      const regions = await cluster.regions({ timeout: CALL_MS });
      const ailments = regions.flatMap((region) => ailmentOf(region, voters) ?? []);
      const gap = gapOf(regions);
      if (gap === undefined && ailments.length === 0) return regions;
      wrong = [...(gap === undefined ? [] : [gap]), ...ailments].join('; ');
      for (const region of regions) await mendOne(options, region, voters);
    } catch (error) {
      if (fateOf(error) === undefined) throw error;
      wrong = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(`the regions did not become whole: ${wrong}`);
}

async function mendOne({ cluster, stores }: MendOptions, region: RegionInfo, voters: number): Promise<void> {
  const { id, peers } = region;
  const on = (role: string): number | undefined => peers.find((peer) => peer.role === role)?.store;
  const [leaving, entering, learner] = [on('demotingVoter'), on('incomingVoter'), on('learner')];
  const timeout = CALL_MS;
  if (leaving !== undefined && entering !== undefined) {
    await cluster.movePeer(id, leaving, entering, { timeout });
  } else if (learner !== undefined) {
    if (peers.length <= voters) await cluster.promote(id, learner, { timeout });
    else await cluster.removePeer(id, learner, { timeout });
  } else if (peers.length < voters) {
    const [free] = freeStores(region, stores);
    if (free !== undefined) await cluster.addPeer(id, free, { timeout });
  }
}

/**
 * Compares all replicas of all regions while the cluster runs: each has to answer, and to hold the same.
 * @throws Error with what is wrong, or could not be compared until the deadline
 */
export async function checkRegions({ cluster, deadline, now }: MendOptions): Promise<void> {
  const checked = new Set<string>();
  let wrong = 'the scheduler is silent';
  while (now() < deadline) {
    try {
      const unchecked = (await cluster.regions({ timeout: CALL_MS })).filter(
        ({ id, epoch }) => !checked.has(`${id} ${epoch.version}`),
      );
      if (unchecked.length === 0) return;
      for (const { id, epoch } of unchecked) {
        const { replicas, index } = await cluster.checkRegion(id, { timeout: CALL_MS });
        const states = replicas.map(({ store, state }) => `store ${store} ${state}`).join(', ');
        wrong = `region ${id} at index ${index}: ${states}`;
        if (replicas.some(({ state }) => state === 'different')) throw new Error(wrong);
        if (replicas.every(({ state }) => state === 'equal')) checked.add(`${id} ${epoch.version}`);
      }
    } catch (error) {
      if (fateOf(error) === undefined) throw error;
      wrong = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(`not all replicas could be compared: ${wrong}`);
}

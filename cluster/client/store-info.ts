import { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { allRegions } from './cluster-status.js';
import type { Deadline } from './deadline.js';
import { known, type PlacementInfo, placementInfo } from './placement-info.js';
import type { RegionInfo } from './region-info.js';

/** A store as the scheduler sees it: heard of, silent for seconds, silent for too long, being drained, gone. */
export const STORE_STATES = ['Up', 'Disconnected', 'Down', 'Offline', 'Tombstone'] as const;
/** One of `STORE_STATES`. */
export type StoreState = (typeof STORE_STATES)[number];

/** A store as the scheduler sees it; what `troupe store list --json` prints. */
export interface StoreInfo {
  readonly id: number;
  /** Name of its node: `store-1`. */
  readonly node: string;
  /** Of its process, on its machine. */
  readonly pid: number;
  /**
   * - `Up`, `Disconnected` (silent for seconds), `Down` (silent for so long that its replicas are replaced)
   * - `Offline`: it is being drained
   * - `Tombstone`: it is gone for good
   */
  readonly state: StoreState;
  /** Where it stands, as placement sees it: `{ zone: "east" }`. */
  readonly labels: Readonly<Record<string, string>>;
  /** Peers that may be added to it, and removed from it, in a minute. */
  readonly limit: number;
  /** Whether that is its own, instead of the setting `store-limit`. */
  readonly ownLimit: boolean;
  /** Bytes, as it last told; 0 until it has. */
  readonly capacity: number;
  /** Bytes that are free on the file system of its data. */
  readonly available: number;
  /** Bytes that are not. */
  readonly used: number;
  /** Replicas that it has, those that it leads, and those that have to catch up, as the scheduler knows the regions. */
  readonly regions: number;
  /** Regions of which it has the leader. */
  readonly leaders: number;
  /** Peers that have still to catch up. */
  readonly pending: number;
}

/** Every store by id, those that are gone included. */
export async function allStores(scheduler: SchedulerClient, deadline: Deadline): Promise<StoreInfo[]> {
  const placement = placementInfo(await scheduler.placement(deadline.terms));
  const { stores } = await scheduler.status(deadline.terms);
  const regions = await allRegions(scheduler, deadline);
  return stores
    .flatMap((told) => (told.store === undefined ? [] : storeInfo(told, told.store, placement, regions)))
    .sort((a, b) => a.id - b.id);
}

/** Replicas on a store, as the scheduler knows the regions. */
export async function replicasOn(
  scheduler: SchedulerClient,
  storeId: number,
  deadline: Deadline,
): Promise<number> {
  const regions = await allRegions(scheduler, deadline);
  return regions.filter(({ peers }) => peers.some(({ store }) => store === storeId)).length;
}

/** For a store that never was. */
export function unknownStore(storeId: number): TroupeError {
  return new TroupeError(
    'not-found',
    `There is no store ${storeId}: \`troupe store list\` shows those that there are.`,
  );
}

/** A store's labels as a record. */
export function labelsOf(store: metapb.Store): Record<string, string> {
  return Object.fromEntries(store.labels.map(({ key, value }) => [key, value]));
}

export function isGone({ state }: metapb.Store): boolean {
  return state === metapb.StoreState.Tombstone;
}

function storeInfo(
  { stats, state }: troupepb.StoreStatus,
  store: metapb.Store,
  { settings, storeLimits }: PlacementInfo,
  regions: readonly RegionInfo[],
): StoreInfo {
  const own = storeLimits.get(store.id);
  const here = regions.flatMap(({ peers }) => peers.filter((peer) => peer.store === store.id));
  return {
    id: store.id,
    node: store.address,
    pid: store.pid,
    state: known('state of a store', state, STORE_STATES),
    labels: labelsOf(store),
    limit: own ?? Number(settings['store-limit'] ?? 0),
    ownLimit: own !== undefined,
    capacity: stats?.capacity ?? 0,
    available: stats?.available ?? 0,
    used: stats?.usedSize ?? 0,
    regions: here.length,
    leaders: regions.filter(({ leader }) => leader === store.id).length,
    pending: here.filter(({ pending }) => pending).length,
  };
}

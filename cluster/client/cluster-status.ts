import type { SchedulerClient } from '../pd-client.js';
import type { pdpb, troupepb } from '../proto/index.js';
import type { Deadline } from './deadline.js';
import { type GcInfo, gcInfo } from './gc.js';
import { type RegionInfo, regionInfo } from './region-info.js';

/** What `troupe status --json` prints. Region bounds are stored keys, escaped where they are not text. */
export interface ClusterStatus {
  readonly cluster: string;
  readonly schedulers: readonly {
    readonly node: string;
    /** 0 of one that does not answer. */
    readonly pid: number;
    /** `Up`, or `Disconnected`: it does not answer. */
    readonly state: string;
    readonly leader: boolean;
  }[];
  readonly stores: readonly {
    readonly id: number;
    readonly node: string;
    readonly pid: number;
    /** `Up`, `Disconnected`, `Down`, `Offline` or `Tombstone`. */
    readonly state: string;
    /** Peers on the store, and leaders among them, as it last reported. */
    readonly regions: number;
    readonly leaders: number;
  }[];
  readonly regions: readonly {
    readonly id: number;
    readonly start: string;
    readonly end: string;
    readonly epoch: { readonly confVer: number; readonly version: number };
    readonly peers: readonly { readonly id: number; readonly store: number; readonly role: string }[];
    /** Store id of the leader; `null` while none is known. */
    readonly leader: number | null;
  }[];
  /** How old versions are collected; `null` where the scheduler does not say. */
  readonly gc: GcInfo | null;
}

/** Nodes, stores and regions. @throws TroupeError `unavailable` when no scheduler answers */
export async function clusterStatus(scheduler: SchedulerClient, deadline: Deadline): Promise<ClusterStatus> {
  const { cluster, schedulers, leader, stores, regions, gc } = await scheduler.status(deadline.terms);
  return {
    cluster,
    schedulers: await Promise.all(
      schedulers.map(async ({ name }) => {
        const pid = await scheduler.pidOf(name, deadline.terms);
        const state = pid === undefined ? 'Disconnected' : 'Up';
        return { node: name, pid: pid ?? 0, state, leader: name === leader?.name };
      }),
    ),
    stores: stores.map(storeStatus).sort((a, b) => a.id - b.id),
    regions: (await restOf(scheduler, regions, deadline)).map(
      ({ id, start, end, epoch, peers, leader: led }) => ({
        id,
        start,
        end,
        epoch,
        peers: peers.map(({ id: peer, store, role }) => ({ id: peer, store, role })),
        leader: led,
      }),
    ),
    gc: gc === undefined ? null : gcInfo(gc),
  };
}

/** Every region, by key. @throws TroupeError `unavailable` when no scheduler answers */
export async function allRegions(scheduler: SchedulerClient, deadline: Deadline): Promise<RegionInfo[]> {
  return restOf(scheduler, await scheduler.scanRegions(NO_KEY, NO_KEY, 0, deadline.terms), deadline);
}

/** The first regions and those behind them: the scheduler tells as many at once as fit a message. */
async function restOf(
  scheduler: SchedulerClient,
  first: readonly pdpb.Region[],
  deadline: Deadline,
): Promise<RegionInfo[]> {
  const all: RegionInfo[] = [];
  for (let page = first; ; ) {
    for (const { region, ...told } of page)
      if (region !== undefined) all.push(regionInfo({ region, ...told }));
    const end = page.at(-1)?.region?.endKey ?? NO_KEY;
    if (end.length === 0) return all;
    page = await scheduler.scanRegions(end, NO_KEY, 0, deadline.terms);
  }
}

const NO_KEY = new Uint8Array(0);

function storeStatus({ store, stats, state }: troupepb.StoreStatus): ClusterStatus['stores'][number] {
  return {
    id: store?.id ?? 0,
    node: store?.address ?? '',
    pid: store?.pid ?? 0,
    state,
    regions: stats?.regionCount ?? 0,
    leaders: stats?.leaderCount ?? 0,
  };
}

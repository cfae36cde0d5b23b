import type { ActorSystem } from '../../actors/index.js';
import { escapeKey } from '../../storage/keys.js';
import { metapb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { pdpb, troupepb } from '../proto/index.js';
import type { Dispatcher } from './dispatcher.js';
import type { RawSpace } from './raw.js';
import { checkRegion, type RegionCheckReport } from './region-checks.js';
import type { AskStore } from './region-leader.js';

/** What `troupe status --json` prints. Region bounds are stored keys, escaped where they are not text. */
export interface ClusterStatus {
  readonly cluster: string;
  readonly schedulers: readonly { readonly node: string; readonly pid: number; readonly leader: boolean }[];
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
}

/** Sees the cluster as its scheduler does. */
export class ClusterAdmin {
  readonly #system: ActorSystem;
  readonly #scheduler: SchedulerClient;
  readonly #timeout: number;

  /** @param timeout milliseconds for each question */
  constructor(system: ActorSystem, scheduler: SchedulerClient, timeout: number) {
    this.#system = system;
    this.#scheduler = scheduler;
    this.#timeout = timeout;
  }

  /** Nodes, stores and regions. @throws TroupeError `unavailable` when no scheduler answers */
  async status(
    options: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<ClusterStatus> {
    const terms = { timeout: options.timeout ?? this.#timeout, signal: options.signal };
    const { cluster, schedulers, leader, stores, regions } = await this.#scheduler.status(terms);
    const all = [...regions];
    for (
      let last = all.at(-1)?.region;
      last !== undefined && last.endKey.length > 0;
      last = all.at(-1)?.region
    ) {
      const more = await this.#scheduler.scanRegions(last.endKey, new Uint8Array(0), 0, terms);
      if (more.length === 0) break;
      all.push(...more);
    }
    return {
      cluster,
      schedulers: schedulers.map(({ name, pid }) => ({ node: name, pid, leader: name === leader?.name })),
      stores: stores.map(storeStatus).sort((a, b) => a.id - b.id),
      regions: all.flatMap(regionStatus),
    };
  }

  /**
   * Compares the data of a region's replicas at one place of its log. A replica that differs from the majority stops.
   * @throws TroupeError `not-found` for an unknown region, `unavailable` when nobody leads it, `timeout`
   */
  checkRegion(
    region: number,
    options: { readonly timeout?: number; readonly signal?: AbortSignal } = {},
  ): Promise<RegionCheckReport> {
    const terms = { timeout: options.timeout ?? this.#timeout, signal: options.signal };
    const ask: AskStore<'store.checkRegion'> = async (node, event, patience) =>
      (await this.#system.ref(`${node}/store`).ask(event, patience)) as troupepb.CheckRegionResponse;
    return checkRegion(ask, this.#scheduler, region, terms);
  }
}

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

function regionStatus({ region, leader }: pdpb.Region): ClusterStatus['regions'] {
  if (region === undefined) return [];
  const { id, startKey, endKey, regionEpoch = { confVer: 0, version: 0 }, peers } = region;
  const { confVer, version } = regionEpoch;
  return [
    {
      id,
      start: escapeKey(startKey),
      end: escapeKey(endKey),
      epoch: { confVer, version },
      peers: peers.map((peer) => ({ id: peer.id, store: peer.storeId, role: roleName(peer.role) })),
      leader: leader?.storeId ?? null,
    },
  ];
}

function roleName(role: metapb.PeerRole): string {
  const name = Object.entries(metapb.PeerRole).find(([, value]) => value === role)?.[0] ?? 'Voter';
  return name.charAt(0).toLowerCase() + name.slice(1);
}

interface DatabaseParts {
  readonly system: ActorSystem;
  readonly dispatcher: Dispatcher;
  readonly raw: RawSpace;
  readonly cluster: ClusterAdmin;
  readonly scheduler: SchedulerClient;
}

/** A connection to a cluster. Made by `connect`. */
export class Database {
  readonly raw: RawSpace;
  readonly cluster: ClusterAdmin;
  readonly #system: ActorSystem;
  readonly #dispatcher: Dispatcher;
  readonly #scheduler: SchedulerClient;

  constructor({ system, dispatcher, raw, cluster, scheduler }: DatabaseParts) {
    this.#scheduler = scheduler;
    this.raw = raw;
    this.cluster = cluster;
    this.#system = system;
    this.#dispatcher = dispatcher;
  }

  /** Rejects what is under way with `closed`, and disconnects. Idempotent. */
  async close(): Promise<void> {
    this.#dispatcher.close();
    this.#scheduler.close();
    await this.#system.close();
  }
}

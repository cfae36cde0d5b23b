import { pdpb } from '../../cluster/proto/index.js';
import { FaultyRegionWorld, storeName } from './faulty-region-world.js';
import { QUICK } from './region-world.js';

/** Something that a store told the scheduler, and when. */
export type Told<M> = M & { readonly at: number; readonly from: string };

/** A cluster whose heartbeats are written down as they leave their stores. */
export class HeartbeatWorld extends FaultyRegionWorld {
  readonly regions: Told<pdpb.RegionHeartbeatRequest>[] = [];
  readonly storeStats: Told<pdpb.StoreStats>[] = [];
  /** Heartbeats that do not arrive. */
  lost: (kind: string) => boolean = () => false;

  static override async start(stores: number, first = stores, tuning = QUICK): Promise<HeartbeatWorld> {
    const world = new HeartbeatWorld();
    await world.begin(stores, first, tuning);
    return world;
  }

  async begin(stores: number, first: number, tuning = QUICK): Promise<void> {
    this.network.filterEnvelopes(({ from }, { kind, body }) => this.#note(from, kind, body));
    await this.scheduler(first);
    for (let i = 1; i <= stores; i++) await this.startStore(storeName(i), tuning);
    this.database = await this.client();
    await this.eventually('a leader', (status) => status.regions.every(({ leader }) => leader !== null));
  }

  #note(from: string, kind: string, body: Uint8Array): boolean {
    const told = { at: this.clock.now(), from };
    if (kind === 'pd.regionHeartbeat') {
      if (this.lost(kind)) return false;
      this.regions.push({ ...pdpb.RegionHeartbeatRequest.decode(body), ...told });
    } else if (kind === 'pd.storeHeartbeat') {
      if (this.lost(kind)) return false;
      const { stats } = pdpb.StoreHeartbeatRequest.decode(body);
      if (stats !== undefined) this.storeStats.push({ ...stats, ...told });
    }
    return true;
  }

  /** What was told of a region, the oldest first. @param since on the world's clock */
  of(region: number, since = 0): Told<pdpb.RegionHeartbeatRequest>[] {
    return this.regions.filter((told) => told.region?.id === region && told.at >= since);
  }

  last(region: number): Told<pdpb.RegionHeartbeatRequest> {
    const told = this.of(region).at(-1);
    if (told === undefined) throw new Error(`nothing was told of region ${region}`);
    return told;
  }

  /** Waits until nothing happens to a region, and all its peers sleep. */
  async asleep(region: number): Promise<void> {
    await this.when(`region ${region} asleep`, () => {
      const groups = [...this.stores.values()].map(({ replicas }) => replicas.get(region)?.raftGroup);
      return groups.every((group) => group === undefined || group.asleep);
    });
  }
}

/** Stores that the heartbeat calls down, and for how many seconds. */
export function downOf({ downPeers }: pdpb.RegionHeartbeatRequest): [number, number][] {
  return downPeers.map(({ peer, downSeconds }) => [peer?.storeId ?? 0, downSeconds]);
}

/** Stores whose peers the heartbeat calls pending. */
export function pendingOf({ pendingPeers }: pdpb.RegionHeartbeatRequest): number[] {
  return pendingPeers.map(({ storeId }) => storeId);
}

import type { ClusterStatus } from '../../cluster/client/cluster-status.js';
import type { Database } from '../../cluster/client/database.js';
import type { troupepb } from '../../cluster/proto/index.js';
import type { StoreNode } from '../../cluster/store/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { rawKey } from '../../storage/index.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { StoreWorld } from './store-world.js';

const { AdminCmdType } = raft_cmdpb;
const { ConfChangeType } = eraftpb;

/** Milliseconds of virtual time within which anything that is waited for must come. */
const PATIENCE_MS = 60_000;

export const QUICK: StoreTuning = {
  tickInterval: 50,
  mergeInterval: 200,
  stalePeerTimeout: 5_000,
  logGc: { interval: 200, threshold: 10, countLimit: 50 },
};

/** A cluster whose regions are changed, on virtual time. */
export class RegionWorld extends StoreWorld {
  readonly stores = new Map<string, StoreNode>();
  readonly errors: string[] = [];
  database: Database | undefined;

  static async start(stores: number, first = stores, tuning: StoreTuning = QUICK): Promise<RegionWorld> {
    const world = new RegionWorld();
    await world.scheduler(first);
    for (let i = 1; i <= stores; i++) await world.startStore(`store-${i}`, tuning);
    world.database = await world.client();
    await world.eventually('a leader', (status) => status.regions.every(({ leader }) => leader !== null));
    return world;
  }

  /** Starts of each store; what an earlier life of it still says counts for nothing. */
  readonly lives = new Map<string, number>();

  async startStore(name: string, tuning: StoreTuning = QUICK): Promise<StoreNode> {
    const life = (this.lives.get(name) ?? 0) + 1;
    this.lives.set(name, life);
    const store = await this.store(name, {
      tuning,
      logger: {
        debug() {},
        info() {},
        warn() {},
        error: (fields, message) => {
          if (this.lives.get(name) !== life) return;
          this.errors.push(`${name}: ${message} ${String((fields as { err?: Error }).err?.stack ?? '')}`);
        },
        child() {
          return this;
        },
      },
    });
    this.stores.set(name, store);
    return store;
  }

  storeWithId(id: number): StoreNode {
    const found = [...this.stores.values()].find(({ storeId }) => storeId === id);
    if (found === undefined) throw new Error(`no store ${id}`);
    return found;
  }

  get db(): Database {
    if (this.database === undefined) throw new Error('no client');
    return this.database;
  }

  status(): Promise<ClusterStatus> {
    return this.until(this.db.cluster.status());
  }

  /** Lets time pass. */
  async rest(ms: number): Promise<void> {
    await this.until(new Promise<void>((resolve) => void this.clock.setTimeout(resolve, ms)));
  }

  async eventually(
    what: string,
    holds: (status: ClusterStatus) => boolean | Promise<boolean>,
  ): Promise<ClusterStatus> {
    const deadline = this.clock.now() + PATIENCE_MS;
    for (;;) {
      const status = await this.status();
      if (await holds(status)) return status;
      if (this.errors.length > 0) throw new Error(this.errors.join('\n'));
      if (this.clock.now() > deadline)
        throw new Error(`${what} did not come: ${JSON.stringify(status.regions)}`);
      await this.rest(50);
    }
  }

  async region(id: number): Promise<ClusterStatus['regions'][number]> {
    const found = (await this.status()).regions.find((one) => one.id === id);
    if (found === undefined) throw new Error(`no region ${id}`);
    return found;
  }

  /** The region that a store holds now, as its leader has it. */
  leaderRegion(id: number): metapb.Region {
    for (const store of this.stores.values()) {
      const replica = store.replicas.get(id);
      if (replica?.attached && replica.group.isLeader) return replica.region;
    }
    throw new Error(`region ${id} has no leader`);
  }

  /** Asks the leader once. */
  async change(
    id: number,
    command: Partial<raft_cmdpb.AdminRequest> & { cmdType: raft_cmdpb.AdminCmdType },
    options: { halve?: boolean; epoch?: metapb.RegionEpoch } = {},
  ): Promise<troupepb.ChangeRegionResponse> {
    const region = this.leaderRegion(id);
    const leader = [...this.stores.values()].find((store) => store.replicas.get(id)?.raftGroup?.isLeader);
    return this.ask(`${leader?.name}/store`, {
      type: 'store.changeRegion',
      context: { regionId: id, regionEpoch: options.epoch ?? region.regionEpoch, peer: undefined, term: 0 },
      command: raft_cmdpb.AdminRequest.from(command),
      halve: options.halve ?? false,
    });
  }

  /** Asks until it is done. */
  async must(
    id: number,
    command: Partial<raft_cmdpb.AdminRequest> & { cmdType: raft_cmdpb.AdminCmdType },
    options: { halve?: boolean } = {},
  ): Promise<readonly metapb.Region[]> {
    const deadline = this.clock.now() + PATIENCE_MS;
    let last: unknown;
    while (this.clock.now() < deadline) {
      try {
        const reply = await this.change(id, command, options);
        if (reply.regionError === undefined && reply.refusal === undefined) return reply.regions;
        last = reply;
        if (reply.refusal?.retry === false) break;
      } catch (error) {
        last = error;
      }
      await this.rest(50);
    }
    throw new Error(
      `region ${id} was not changed: ${last instanceof Error ? last.stack : JSON.stringify(last)}`,
    );
  }

  split(id: number, ...keys: string[]): Promise<readonly metapb.Region[]> {
    return this.must(id, {
      cmdType: AdminCmdType.BatchSplit,
      splits: {
        requests: keys.map((key) => ({ splitKey: rawKey(Buffer.from(key)), newRegionId: 0, newPeerIds: [] })),
        rightDerive: false,
      },
    });
  }

  addPeer(id: number, storeId: number, type: eraftpb.ConfChangeType = ConfChangeType.AddNode) {
    return this.changePeers(id, [
      { changeType: type, peer: { id: 0, storeId, role: metapb.PeerRole.Voter } },
    ]);
  }

  removePeer(id: number, storeId: number) {
    const peer = this.leaderRegion(id).peers.find((one) => one.storeId === storeId);
    return this.changePeers(id, [{ changeType: ConfChangeType.RemoveNode, peer }]);
  }

  changePeers(id: number, changes: readonly raft_cmdpb.ChangePeerRequest[]) {
    return this.must(id, { cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes } });
  }

  transfer(id: number, storeId: number) {
    const peer = { id: 0, storeId, role: metapb.PeerRole.Voter };
    return this.must(id, { cmdType: AdminCmdType.TransferLeader, transferLeader: { peer } });
  }

  merge(source: number, target: number) {
    return this.must(source, {
      cmdType: AdminCmdType.PrepareMerge,
      prepareMerge: { minIndex: 0, target: this.leaderRegion(target) },
    });
  }

  put(key: string, value: string): Promise<void> {
    return this.until(this.db.raw.put(key, value));
  }

  async get(key: string): Promise<string | undefined> {
    const value = await this.until(this.db.raw.get(key));
    return value === undefined ? undefined : Buffer.from(value).toString();
  }

  async close(): Promise<void> {
    await this.until(this.db.close());
    for (const store of this.stores.values()) await this.until(store.close());
    if (this.errors.length > 0) throw new Error(this.errors.join('\n'));
  }
}

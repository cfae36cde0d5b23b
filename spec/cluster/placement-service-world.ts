import { seededRandom, VirtualClock } from '../../actors/index.js';
import { pdpb, type troupepb } from '../../cluster/proto/index.js';
import { SchedulerFault } from '../../cluster/scheduler/fault.js';
import { IdWindow } from '../../cluster/scheduler/id-window.js';
import { Placement } from '../../cluster/scheduler/placement/index.js';
import type { RegionReport } from '../../cluster/scheduler/placement/region-report.js';
import type { Order } from '../../cluster/scheduler/placement/steps.js';
import type { ClusterView } from '../../cluster/scheduler/placement/view.js';
import { SchedulerService } from '../../cluster/scheduler/service.js';
import {
  type Command,
  type CommandResult,
  encodeCommand,
  SchedulerState,
} from '../../cluster/scheduler/state.js';
import { StoreWatch } from '../../cluster/scheduler/store-watch.js';
import { EntryType } from '../../machines/raft/types.js';
import type { WriteBatch } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';

const { StoreState, NodeState, PeerRole } = metapb;
export const CLUSTER_ID = 7;

/** The scheduler's service, state and placement as they lead, without a log: what is proposed is applied at once. */
export class ServiceWorld {
  readonly clock = new VirtualClock();
  readonly state = new SchedulerState();
  readonly watch = new StoreWatch();
  readonly placement: Placement;
  readonly service: SchedulerService;
  readonly orders: { readonly report: RegionReport; readonly order: Order }[] = [];
  /** Every command that was applied. */
  readonly applied: Command[] = [];
  readonly halted: boolean[] = [];
  collected = false;
  #index = 0;

  constructor(seed = 1) {
    const { state, watch, clock } = this;
    this.placement = new Placement({
      state,
      watch,
      clock,
      random: seededRandom(seed),
      wallTime: () => clock.now(),
      haltedAtFirst: false,
      send: (report, order) => this.orders.push({ report, order }),
      collected: () => {
        this.collected = true;
      },
      halted: (halted) => this.halted.push(halted),
      drained: (storeId) => this.#bury(storeId),
    });
    this.service = new SchedulerService({
      cluster: 'spec',
      state,
      watch,
      clock,
      placement: this.placement,
      ids: new IdWindow(async (count) => this.apply({ allocateIds: { count } }).firstId ?? 0),
      propose: async (command) => this.#result(command),
      members: () => ({ members: [], leader: undefined }),
      timestamps: async () => ({ physical: 0, logical: 0 }),
      term: () => 6,
      storeJoined: () => {},
      wallClock: () => clock.now(),
      collector: {
        run: () => true,
        tick: () => {},
        told: () => ({ state: 'idle', round: undefined, last: undefined }),
      },
    });
    this.apply({
      initializeCluster: {
        clusterId: CLUSTER_ID,
        cluster: 'spec',
        expectedStores: 3,
        maxEntryBytes: 1_000_000,
      },
    });
    this.placement.listen();
  }

  /** @throws when the state refuses it */
  apply(command: Command): CommandResult & { readonly ok: true } {
    const result = this.#result(command);
    if (!result.ok) throw new Error(result.refusal.message);
    return result;
  }

  #result(command: Command): CommandResult {
    this.applied.push(command);
    const entry = { term: 6, index: ++this.#index, type: EntryType.normal, data: encodeCommand(command) };
    const [result] = this.state.apply([entry], NO_BATCH);
    if (result === undefined) throw new Error('a command without a result');
    return result;
  }

  /** A store that serves and was heard of just now. @returns its id */
  addStore(labels: Readonly<Record<string, string>> = {}): number {
    const store = metapb.Store.from({
      address: `store-${this.state.stores.size + 1}`,
      incarnation: 1,
      version: '0.1.0',
    });
    const { store: registered } = this.apply({ registerStore: { store } });
    if (registered === undefined) throw new Error('a store that was not registered');
    const named = Object.entries(labels).map(([key, value]) => ({ key, value }));
    const serving = {
      ...registered,
      labels: named,
      state: StoreState.Up,
      nodeState: NodeState.Serving,
    };
    this.state.stores.set(serving.id, serving);
    this.watch.follow(serving, this.clock.now());
    this.beat(serving.id);
    return serving.id;
  }

  addStores(count: number): number[] {
    return Array.from({ length: count }, () => this.addStore());
  }

  beat(storeId: number, stats: Partial<pdpb.StoreStats> = {}): void {
    this.watch.heartbeat(pdpb.StoreStats.from({ storeId, ...stats }), this.clock.now());
  }

  /** Lets time pass as the scheduler does: stores that are named send heartbeats every second. */
  async pass(milliseconds: number, alive: readonly number[] = []): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += 1_000) {
      await this.clock.advance(1_000);
      for (const id of alive) this.beat(id);
      this.tick();
    }
  }

  /** What the scheduler's node does every second. */
  tick(): void {
    this.watch.tick(this.clock.now(), this.placement.config.maxStoreDownTime);
    this.placement.tick();
  }

  async heartbeat(
    region: metapb.Region,
    change: Partial<pdpb.RegionHeartbeatRequest> = {},
  ): Promise<pdpb.RegionHeartbeatResponse> {
    const leader = region.peers[0];
    const request = pdpb.RegionHeartbeatRequest.from({ region, leader, term: 6, ...change });
    return this.service.answer({ type: 'pd.regionHeartbeat', ...request });
  }

  /** What a heartbeat is refused with. */
  async refused(
    region: metapb.Region,
    change: Partial<pdpb.RegionHeartbeatRequest> = {},
  ): Promise<SchedulerFault> {
    return faultOf(this.heartbeat(region, change));
  }

  async steer(request: Partial<troupepb.SteerPlacementRequest>): Promise<void> {
    await this.service.answer({ type: 'pd.steerPlacement', header: undefined, ...request });
  }

  set(name: string, value: string): Promise<void> {
    return this.steer({ setting: { name, value } });
  }

  #bury(storeId: number): void {
    const { store } = this.apply({ setStoreState: { storeId, state: StoreState.Tombstone } });
    if (store !== undefined) this.watch.decided(store, this.clock.now());
  }
}

/** The fault that this ends with. */
export async function faultOf(promise: Promise<unknown>): Promise<SchedulerFault> {
  const fault = await promise.then(() => undefined).catch((error: unknown) => error);
  if (fault instanceof SchedulerFault) return fault;
  throw new Error(`not refused: ${String(fault)}`);
}

export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** A region with a voter on each of these stores, under ids that follow from its own. */
export function regionOf(
  id: number,
  range: readonly [start: string, end: string],
  epoch: readonly [confVer: number, version: number],
  stores: readonly number[],
): metapb.Region {
  return {
    id,
    startKey: bytes(range[0]),
    endKey: bytes(range[1]),
    regionEpoch: { confVer: epoch[0], version: epoch[1] },
    peers: stores.map((storeId) => ({ id: id * 100 + storeId, storeId, role: PeerRole.Voter })),
  };
}

/** Where what the view has counted differs from a count of what the leaders told. */
export function miscounts(view: ClusterView, stores: Iterable<number>): string[] {
  const wrong: string[] = [];
  for (const id of stores) {
    const load = view.loadOf(id);
    const counted = { leaders: 0, followers: 0, learners: 0, pending: 0, size: 0, leaderSize: 0, written: 0 };
    for (const region of view.regions.all()) {
      const report = view.report(region.id);
      const peer = report?.region.peers.find(({ storeId }) => storeId === id);
      if (report === undefined || peer === undefined) continue;
      const size = Math.max(report.approximateSize, 1024 * 1024);
      const leads = report.leader.id === peer.id;
      if (leads) counted.leaders++;
      else if (peer.role === PeerRole.Learner) counted.learners++;
      else counted.followers++;
      if (report.pendingPeers.some((one) => one.id === peer.id)) counted.pending++;
      counted.size += size;
      if (leads) counted.leaderSize += size;
      counted.written += report.flow.bytesWritten;
    }
    const known = {
      leaders: load.leaders.size,
      followers: load.followers.size,
      learners: load.learners.size,
      pending: load.pending.size,
      size: load.regionSize,
      leaderSize: load.leaderSize,
      written: load.written,
    };
    if (JSON.stringify(known) !== JSON.stringify(counted))
      wrong.push(`store ${id}: ${JSON.stringify(known)} instead of ${JSON.stringify(counted)}`);
  }
  return wrong;
}

const NO_BATCH: WriteBatch = {
  put: () => {},
  delete: () => {},
  deleteRange: () => {},
  truncate: () => {},
  count: 0,
  bytes: 0,
};

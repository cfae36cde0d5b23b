import { realClock, seededRandom } from '../../actors/index.js';
import { EntryType } from '../../machines/raft/types.js';
import type { WriteBatch } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { pdpb } from '../proto/index.js';
import { IdWindow } from '../scheduler/id-window.js';
import { Placement } from '../scheduler/placement/index.js';
import { SchedulerService } from '../scheduler/service.js';
import { type Command, type CommandResult, encodeCommand, SchedulerState } from '../scheduler/state.js';
import { StoreWatch } from '../scheduler/store-watch.js';

const MIB = 1024 * 1024;
const REPLICAS = 3;
const FIRST_REGION = 1_000;
/** Regions that are put with one command. */
const PUT_AT_ONCE = 1_000;

/** The scheduler's service and placement as its leader runs them, without a log and a network. */
export class SchedulerAlone {
  readonly state = new SchedulerState();
  readonly placement: Placement;
  readonly service: SchedulerService;
  readonly #watch = new StoreWatch();
  readonly #stores: number[] = [];
  #index = 0;

  constructor(stores: number) {
    const { state } = this;
    const common = { state, watch: this.#watch, clock: realClock };
    this.placement = new Placement({
      ...common,
      random: seededRandom(1),
      wallTime: Date.now,
      haltedAtFirst: false,
      send: () => {},
      collected: () => {},
      halted: () => {},
      drained: () => {},
    });
    this.service = new SchedulerService({
      ...common,
      cluster: 'bench',
      placement: this.placement,
      ids: new IdWindow(async () => 1),
      propose: async (command) => this.#apply(command),
      members: () => ({ members: [], leader: undefined }),
      timestamps: async () => ({ physical: 0, logical: 0 }),
      term: () => 6,
      storeJoined: () => {},
      wallClock: Date.now,
      collector: {
        run: () => false,
        tick: () => {},
        told: () => ({ state: 'paused', round: undefined, last: undefined }),
      },
    });
    this.#apply({
      initializeCluster: { clusterId: 1, cluster: 'bench', expectedStores: 3, maxEntryBytes: MIB },
    });
    for (let i = 0; i < stores; i++) {
      const asked = metapb.Store.from({ address: `store-${i + 1}`, incarnation: 1 });
      const result = this.#apply({ registerStore: { store: asked } });
      if (!result.ok || result.store === undefined) throw new Error('a store was refused');
      this.#stores.push(result.store.id);
      this.#watch.follow(result.store, realClock.now());
    }
    this.beat();
    this.placement.listen();
  }

  /** Every store tells that it is there. */
  beat(): void {
    for (const storeId of this.#stores) {
      this.#watch.heartbeat(
        pdpb.StoreStats.from({ storeId, capacity: MIB ** 2, available: MIB ** 2 }),
        realClock.now(),
      );
    }
  }

  /** Makes regions with three voters each, spread evenly. */
  fill(count: number): void {
    for (let first = 0; first < count; first += PUT_AT_ONCE) {
      const size = Math.min(PUT_AT_ONCE, count - first);
      const regions = Array.from({ length: size }, (_, i) => this.#region(first + i, count));
      this.#apply({ putRegions: { regions } });
    }
  }

  /** Of region number `n` of so many, as it comes from the network. */
  heartbeat(n: number, count: number): Uint8Array {
    const region = this.#region(n, count);
    const leader = region.peers[n % REPLICAS];
    const told = { region, leader, term: 6, approximateSize: 96 * MIB, approximateKeys: 500_000 };
    return Uint8Array.from(pdpb.RegionHeartbeatRequest.encode(pdpb.RegionHeartbeatRequest.from(told)));
  }

  /** Takes in a heartbeat from the network. @returns the reply as it goes there */
  async answer(heartbeat: Uint8Array): Promise<Uint8Array> {
    const request = pdpb.RegionHeartbeatRequest.decode(heartbeat);
    return pdpb.RegionHeartbeatResponse.encode(
      await this.service.answer({ type: 'pd.regionHeartbeat', ...request }),
    );
  }

  #region(n: number, count: number): metapb.Region {
    const id = FIRST_REGION + n * (REPLICAS + 1);
    const stores = this.#stores.length;
    return {
      id,
      startKey: n === 0 ? NO_KEY : keyOf(n),
      endKey: n === count - 1 ? NO_KEY : keyOf(n + 1),
      regionEpoch: { confVer: 1, version: 1 },
      peers: Array.from({ length: REPLICAS }, (_, i) => ({
        id: id + i + 1,
        storeId: this.#stores[(n + i * Math.max(1, Math.floor(stores / REPLICAS))) % stores] ?? 0,
        role: metapb.PeerRole.Voter,
      })),
    };
  }

  #apply(command: Command): CommandResult {
    const entry = { term: 6, index: ++this.#index, type: EntryType.normal, data: encodeCommand(command) };
    const [result] = this.state.apply([entry], NO_BATCH);
    if (result === undefined) throw new Error('a command without a result');
    return result;
  }
}

/** 24 bytes, as those of a table's rows. */
function keyOf(n: number): Uint8Array {
  return Buffer.from(`table-0000000042-${String(n).padStart(7, '0')}`);
}

const NO_KEY = new Uint8Array(0);
const NO_BATCH: WriteBatch = {
  put: () => {},
  delete: () => {},
  deleteRange: () => {},
  truncate: () => {},
  count: 0,
  bytes: 0,
};

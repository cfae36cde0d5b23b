import { setup } from 'xstate';
import {
  ActorSystem,
  MemoryNetwork,
  type ProcessClock,
  type ReplyTo,
  seededRandom,
  VirtualClock,
} from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import { pdpb, type troupepb } from '../../cluster/proto/index.js';
import { codecs } from '../../cluster/protocol.js';
import { type SchedulerNode, type SchedulerOptions, startScheduler } from '../../cluster/scheduler/index.js';
import { SimulatedDisk } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';

/** What wall clocks show when virtual time begins. */
const WALL_START = 1_700_000_000_000;

type BootstrapEvent = troupepb.BootstrapRegionRequest & { readonly type: string; readonly replyTo: ReplyTo };

const storeActor = setup({
  types: { context: {} as { store: FakeStore }, input: {} as { store: FakeStore } },
}).createMachine({
  context: ({ input }) => input,
  on: {
    'store.bootstrapRegion': { actions: ({ context, event }) => context.store.bootstrap(event as never) },
  },
});

/** A store as far as the scheduler sees one: it registers, makes the first region durable, sends heartbeats. */
export class FakeStore {
  /** What its data directory says; 0 while it is empty. */
  storeId = 0;
  clusterId = 0;
  /** Every first region that it was asked to make. */
  readonly asked: metapb.Region[] = [];
  /** It makes regions durable; otherwise it stays silent. */
  willing = true;
  scheduler: SchedulerClient;

  constructor(
    readonly world: SchedulerWorld,
    readonly system: ActorSystem,
  ) {
    this.scheduler = this.#client();
    system.spawn(storeActor, { path: 'store', input: { store: this } });
  }

  bootstrap({ region, replyTo }: BootstrapEvent): void {
    if (region !== undefined) this.asked.push(region);
    if (this.willing) replyTo.send({ durable: true });
  }

  record(changes: Partial<metapb.Store> = {}): metapb.Store {
    const { node, incarnation } = this.system;
    return metapb.Store.from({
      id: this.storeId,
      address: node,
      incarnation,
      version: '0.1.0',
      pid: 1,
      ...changes,
    });
  }

  /** Registers, and keeps what it was told as a store's directory does. */
  async register(changes?: Partial<metapb.Store>): Promise<pdpb.PutStoreResponse> {
    const reply = await this.scheduler.putStore(this.record(changes), { timeout: 20_000 });
    this.storeId = reply.storeId;
    this.clusterId = this.scheduler.clusterId;
    return reply;
  }

  /** What a store does when it starts on an empty directory: registers, and again once its identity is durable. */
  async join(): Promise<void> {
    await this.register();
    await this.register();
  }

  heartbeat(changes: Partial<pdpb.StoreStats> = {}): Promise<pdpb.StoreHeartbeatResponse> {
    const { incarnation } = this.system;
    return this.scheduler.storeHeartbeat(
      pdpb.StoreStats.from({ storeId: this.storeId, incarnation, ...changes }),
    );
  }

  regionHeartbeat(region: metapb.Region, changes: Partial<pdpb.RegionHeartbeatRequest> = {}) {
    const leader = region.peers[0];
    return this.scheduler.regionHeartbeat(
      pdpb.RegionHeartbeatRequest.from({ region, leader, term: 6, ...changes }),
    );
  }

  /** A client that believes the directory. */
  #client(): SchedulerClient {
    const { clock, random } = this.world;
    const { system, clusterId } = this;
    return new SchedulerClient({
      system,
      clock,
      random,
      clusterId,
      cluster: 'spec',
      schedulers: this.world.names,
    });
  }

  renewClient(): void {
    this.scheduler = this.#client();
  }
}

/** Real schedulers on simulated disks and a memory network, in virtual time. */
export class SchedulerWorld {
  readonly clock = new VirtualClock();
  readonly random: () => number;
  readonly network: MemoryNetwork;
  readonly disks = new Map<string, SimulatedDisk>();
  readonly schedulers = new Map<string, SchedulerNode>();
  readonly stores: FakeStore[] = [];
  /** By how many milliseconds a scheduler's wall clock is ahead; may change at any time. */
  readonly wallSkew = new Map<string, number>();
  readonly #processes = new Map<string, ProcessClock>();
  #incarnation = 1;

  constructor(
    seed = 1,
    readonly names: readonly string[] = ['scheduler-1'],
  ) {
    this.random = seededRandom(seed);
    this.network = new MemoryNetwork(this.clock, this.random, { delay: [0.2, 0.5] });
  }

  /** Starts a scheduler on its disk, as it is after the last stop or crash. */
  async scheduler(options: Partial<SchedulerOptions> = {}, name = 'scheduler-1'): Promise<SchedulerNode> {
    const { random } = this;
    const clock = this.clock.process();
    const disk =
      this.disks.get(name) ?? new SimulatedDisk({ random, clock: this.clock, latency: () => 0.1 + random() });
    this.disks.set(name, disk);
    this.#processes.set(name, clock);
    const node = await startScheduler({
      cluster: 'spec',
      name,
      engine: await disk.open(),
      transport: this.network.transport(name),
      schedulers: this.names,
      haltScheduling: true,
      incarnation: this.#incarnation++,
      clock,
      wallClock: () => this.wall(name),
      random,
      // These stores have no data, and so no locks.
      lockLink: () => ({ resolve: async () => ({ locks: 0, next: undefined }), close: () => {} }),
      ...options,
    });
    this.schedulers.set(name, node);
    return node;
  }

  /** Unix milliseconds that a scheduler's machine shows. */
  wall(name = 'scheduler-1'): number {
    return WALL_START + this.clock.now() + (this.wallSkew.get(name) ?? 0);
  }

  /** The power goes: what was not synced is gone. */
  crash(name = 'scheduler-1'): void {
    this.#processes.get(name)?.kill();
    this.network.crash(name);
    this.disks.get(name)?.crash();
    this.schedulers.delete(name);
  }

  async store(node: string): Promise<FakeStore> {
    const { clock, random } = this;
    const system = await ActorSystem.start({
      cluster: 'spec',
      node,
      role: 'server',
      incarnation: this.#incarnation++,
      transport: this.network.transport(node),
      clock,
      random,
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    const store = new FakeStore(this, system);
    this.stores.push(store);
    return store;
  }

  /** Lets virtual time pass until the promise is settled. */
  async settle<T>(promise: Promise<T>, limit = 60_000): Promise<T> {
    let settled = false;
    const note = () => {
      settled = true;
    };
    promise.then(note, note);
    if (!(await this.clock.runUntil(() => settled, limit))) throw new Error(`not settled in ${limit} ms`);
    return promise;
  }

  /** The error that the promise ends with. */
  async failure(promise: Promise<unknown>): Promise<TroupeError> {
    const result = await this.settle(promise.then(() => undefined).catch((error: unknown) => error));
    if (!(result instanceof TroupeError)) throw new Error(`not refused: ${String(result)}`);
    return result;
  }

  async close(): Promise<void> {
    for (const node of this.schedulers.values()) await this.settle(node.close());
    for (const { system } of this.stores) await this.settle(system.close());
  }

  /** A scheduler with three stores and the first region. */
  static async serving(seed?: number, options: Partial<SchedulerOptions> = {}): Promise<SchedulerWorld> {
    const world = new SchedulerWorld(seed);
    await world.settle(world.scheduler(options));
    for (const name of ['store-1', 'store-2', 'store-3']) {
      const store = await world.settle(world.store(name));
      await world.settle(store.join());
    }
    await world.bootstrapped();
    return world;
  }

  /** Three schedulers that know each other, three stores, the first region. */
  static async three(seed?: number, options: Partial<SchedulerOptions> = {}): Promise<SchedulerWorld> {
    const world = new SchedulerWorld(seed, ['scheduler-1', 'scheduler-2', 'scheduler-3']);
    await world.settle(Promise.all(world.names.map((name) => world.scheduler(options, name))));
    for (const name of ['store-1', 'store-2', 'store-3']) {
      const store = await world.settle(world.store(name));
      await world.settle(store.join());
    }
    await world.bootstrapped();
    return world;
  }

  /** The node that leads in the highest term, among those that run. */
  get leader(): SchedulerNode | undefined {
    const term = (node: SchedulerNode) => node.raftGroup?.term ?? 0;
    const leading = [...this.schedulers.values()].filter((node) => node.raftGroup?.isLeader);
    return leading.sort((a, b) => term(b) - term(a))[0];
  }

  /** Lets time pass until one leads. @param but none of these */
  async elected(but: readonly string[] = []): Promise<SchedulerNode> {
    const found = () =>
      this.leader !== undefined && !but.includes(this.leader.name) ? this.leader : undefined;
    await this.clock.runUntil(() => found() !== undefined, 20_000);
    const leader = found();
    if (leader === undefined) throw new Error('no scheduler leads');
    return leader;
  }

  /** Its fellows do not hear it any more, and it not them; stores and clients hear everybody. */
  cutOff(name: string): void {
    this.network.partition(
      [name],
      this.names.filter((other) => other !== name),
    );
  }

  async bootstrapped(): Promise<void> {
    const [store] = this.stores;
    if (store === undefined) throw new Error('a world without stores');
    for (let tries = 0; tries < 200; tries++) {
      const info = await this.settle(store.scheduler.bootstrapInfo({ timeout: 20_000 }));
      if (info.bootstrapped) return;
      await this.clock.advance(50);
    }
    throw new Error('the cluster was not bootstrapped');
  }
}

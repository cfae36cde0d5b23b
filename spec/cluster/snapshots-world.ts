import {
  ActorSystem,
  type Clock,
  type LinkFaults,
  MemoryNetwork,
  type ProcessClock,
  type Random,
  seededRandom,
  silentLogger,
  type Transport,
  VirtualClock,
} from '../../actors/index.js';
import { codecs, type RaftEvent } from '../../cluster/protocol.js';
import {
  RegionSnapshots,
  type SnapshotGroup,
  type SnapshotLimits,
} from '../../cluster/store/snapshots/index.js';
import { TaskQueue } from '../../cluster/tasks.js';
import type { Message, Snapshot } from '../../machines/index.js';
import { EntryType, makeMessage } from '../../machines/index.js';
import {
  type Engine,
  hashRegion,
  loadRegionState,
  RaftLog,
  SimulatedDisk,
  saveRegionState,
} from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';

export const TERM = 6;

/** Epoch 2/2, one peer on each of the stores: peer 101 on store 1, and so on. */
export function regionOn(
  id: number,
  stores: readonly number[],
  fields: Partial<metapb.Region> = {},
): metapb.Region {
  return metapb.Region.from({
    id,
    startKey: Buffer.from(`r${id}/`),
    endKey: Buffer.from(`r${id}0`),
    regionEpoch: { confVer: 2, version: 2 },
    peers: stores.map((storeId) => ({ id: 100 + storeId, storeId, role: metapb.PeerRole.Voter })),
    ...fields,
  });
}

/** What became of one snapshot that a store was told to send. */
export interface Sending {
  readonly hash: string;
  readonly message: Message;
  /** As the group was told; once, and `undefined` before. */
  readonly reports: boolean[];
}

export interface SnapshotStoreParts {
  readonly id: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
  readonly incarnation: number;
  readonly engine: Engine;
  readonly limits?: Partial<SnapshotLimits>;
}

/**
 * One start of a store, as far as snapshots are concerned: regions and a Raft that takes in what it is given, in place
 * of the real ones.
 */
export class SnapshotStore {
  readonly regions = new Map<number, metapb.Region>();
  /** Messages that reached Raft. */
  readonly delivered: RaftEvent[] = [];
  /** Identities of installed snapshots, as `<region> <index>`. */
  readonly installed: string[] = [];
  /** Whether Raft takes in the snapshots that it is given. */
  takes = true;
  isLeader = true;
  term = TERM;
  failure: unknown;
  /** Regions whose data is being replaced. */
  readonly installing = new Set<number>();

  private constructor(
    readonly parts: SnapshotStoreParts,
    readonly system: ActorSystem,
    readonly snapshots: RegionSnapshots,
    readonly tasks: TaskQueue,
  ) {}

  static async start(parts: SnapshotStoreParts): Promise<SnapshotStore> {
    const { id, clock, random, transport, incarnation, engine, limits } = parts;
    const system = await ActorSystem.start({
      cluster: 'test',
      node: nodeName(id),
      role: 'server',
      incarnation,
      transport,
      clock,
      random,
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    const tasks = new TaskQueue({ clock, atOnce: 2, capacity: 8 });
    const snapshots: RegionSnapshots = new RegionSnapshots({
      system,
      engine,
      clock,
      random,
      logger: silentLogger,
      storeId: id,
      tasks,
      ...(limits === undefined ? {} : { limits }),
      regionOf: (region) => store.regions.get(region),
      overlapping: (region) => [...store.regions.values()].filter((one) => overlap(one, region)),
      nodeOf: nodeName,
      deliver: (event) => store.#take(event),
    });
    const store: SnapshotStore = new SnapshotStore(parts, system, snapshots, tasks);
    await snapshots.finishInstallations();
    await snapshots.start();
    await store.#loadRegions();
    return store;
  }

  get id(): number {
    return this.parts.id;
  }

  get engine(): Engine {
    return this.parts.engine;
  }

  /** Transfers' actors, files and what else a transfer holds; empty when nothing is under way. */
  async leftovers(): Promise<string[]> {
    const { views, transfers, verified } = this.snapshots.held;
    const found = (await this.engine.files.list()).map(({ name }) => name);
    if (views > 0) found.push(`${views} views`);
    if (transfers > 0) found.push(`${transfers} transfers`);
    if (verified > 0) found.push(`${verified} verified`);
    found.push(...this.actors());
    return found;
  }

  actors(): string[] {
    return this.system
      .actors()
      .map(({ path }) => path)
      .filter((path) => path.startsWith('snapshots/'));
  }

  /** Makes a region, with `values` in the family `default` and a few in the others, applied up to `index`. */
  async makeRegion(
    region: metapb.Region,
    index: number,
    values: ReadonlyMap<string, Uint8Array>,
  ): Promise<void> {
    const batch = this.engine.batch();
    const log = new RaftLog(this.engine);
    const ids = region.peers.map(({ id }) => id);
    const members = { voters: ids, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    log.create(batch, region.id, { index: index - 1, term: TERM - 1 }, members);
    log.append(
      batch,
      region.id,
      [{ term: TERM, index, type: EntryType.normal, data: new Uint8Array(0) }],
      index - 1,
    );
    const truncated = { index: index - 1, term: TERM - 1 };
    log.saveState(batch, region.id, { apply: { applied: index, truncated } });
    const { Normal: state } = raft_serverpb.PeerState;
    saveRegionState(batch, region.id, { state, region });
    for (const [key, value] of values) {
      batch.put('default', Buffer.concat([region.startKey, Buffer.from(key)]), value);
    }
    batch.put('lock', Buffer.concat([region.startKey, Buffer.from('lock')]), Buffer.from('a lock'));
    batch.put('write', Buffer.concat([region.startKey, Buffer.from('w')]), Buffer.from('a write'));
    await this.engine.write(batch);
    await this.engine.sync();
    this.regions.set(region.id, region);
  }

  /** One more applied entry, which writes a key. */
  async put(region: metapb.Region, index: number, key: string, value: Uint8Array): Promise<void> {
    const batch = this.engine.batch();
    const log = new RaftLog(this.engine);
    log.append(
      batch,
      region.id,
      [{ term: TERM, index, type: EntryType.normal, data: new Uint8Array(0) }],
      index - 1,
    );
    const truncated = { index: index - 1, term: TERM };
    log.saveState(batch, region.id, { apply: { applied: index, truncated } });
    batch.put('default', Buffer.concat([region.startKey, Buffer.from(key)]), value);
    await this.engine.write(batch);
  }

  group(region: number, reports: (peer: number, delivered: boolean) => void): SnapshotGroup {
    const store = this;
    return {
      id: region,
      peerId: 100 + this.id,
      get isLeader() {
        return store.isLeader;
      },
      get term() {
        return store.term;
      },
      reportSnapshot: reports,
    };
  }

  /** Takes a snapshot for the peer and sends it; `undefined` when none can be taken now. */
  async send(region: metapb.Region, peer: number): Promise<Sending | undefined> {
    const reports: boolean[] = [];
    const group = this.group(region.id, (_peer, delivered) => reports.push(delivered));
    const view = this.engine.snapshot();
    const [snapshot, hash] = await Promise.all([
      this.snapshots.prepare(group, peer),
      this.#hash(region, view).finally(() => view.release()),
    ]);
    if (snapshot === undefined) return undefined;
    const message = this.message(snapshot, peer);
    this.snapshots.send(group, message);
    return { hash, message, reports };
  }

  message(snapshot: Snapshot, to: number): Message {
    return makeMessage({ type: 'installSnapshot', from: 100 + this.id, to, term: this.term, snapshot });
  }

  async hashOf(region: metapb.Region): Promise<string> {
    const view = this.engine.snapshot();
    try {
      return await this.#hash(region, view);
    } finally {
      view.release();
    }
  }

  async appliedIndex(region: number): Promise<number> {
    return (await new RaftLog(this.engine).load(region))?.applied ?? 0;
  }

  async close(): Promise<void> {
    await this.tasks.close();
    await this.snapshots.close();
    await this.system.close();
    await this.engine.close();
  }

  async #hash(region: metapb.Region, view: ReturnType<Engine['snapshot']>): Promise<string> {
    const range = { start: region.startKey, end: region.endKey };
    return Buffer.from(await hashRegion(this.engine, view, range, async () => {})).toString('hex');
  }

  /** What the Raft host does with a restored snapshot. */
  #take(event: RaftEvent): void {
    this.delivered.push(event);
    const { snapshot } = event.message;
    if (snapshot === undefined || !this.takes) return;
    this.#install(event.regionId, snapshot).catch((error: unknown) => {
      this.failure ??= error;
    });
  }

  async #install(region: number, snapshot: Snapshot): Promise<void> {
    const log = new RaftLog(this.engine);
    const applied = (await log.load(region))?.applied ?? 0;
    // The core refuses it as etcd's does.
    if (snapshot.index <= applied) return;
    const group = this.group(region, () => {});
    const batch = this.engine.batch();
    this.snapshots.installing(group, snapshot, batch);
    const { index, term, confState } = snapshot;
    log.restart(batch, region, { index, term }, confState);
    log.saveState(batch, region, { hardState: { term: this.term, vote: 0, commit: index } });
    this.installing.add(region);
    await this.engine.write(batch);
    await this.engine.sync();
    await this.snapshots.install(group, snapshot);
    this.installing.delete(region);
    this.installed.push(`${region} ${index}`);
    const state = await loadRegionState(this.engine, region);
    if (state?.region !== undefined) this.regions.set(region, state.region);
  }

  async #loadRegions(): Promise<void> {
    for (let id = 1; id <= 9; id++) {
      const state = await loadRegionState(this.engine, id);
      if (state?.region !== undefined) this.regions.set(id, state.region);
    }
  }
}

interface Machine {
  readonly disk: SimulatedDisk;
  incarnation: number;
  clock: ProcessClock | undefined;
  store: SnapshotStore | undefined;
}

/** Stores on a memory network, virtual time and simulated disks. */
export class SnapshotsWorld {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly network: MemoryNetwork;
  readonly #machines = new Map<number, Machine>();

  constructor(
    seed: number,
    faults: Partial<LinkFaults> = { delay: [1, 3] },
    readonly limits: Partial<SnapshotLimits> = {},
  ) {
    this.random = seededRandom(seed);
    this.network = new MemoryNetwork(this.clock, this.random, faults);
  }

  async start(id: number): Promise<SnapshotStore> {
    let machine = this.#machines.get(id);
    if (machine === undefined) {
      const latency = () => 4 * this.random();
      const disk = new SimulatedDisk({ random: this.random, clock: this.clock, latency });
      machine = { disk, incarnation: 0, clock: undefined, store: undefined };
      this.#machines.set(id, machine);
    }
    machine.incarnation++;
    machine.clock = this.clock.process();
    const parts = {
      id,
      clock: machine.clock,
      random: this.random,
      transport: this.network.transport(nodeName(id)),
      incarnation: machine.incarnation,
      engine: await machine.disk.open(),
      limits: this.limits,
    };
    machine.store = await this.settle(SnapshotStore.start(parts));
    return machine.store;
  }

  /** The power of a store goes. */
  crash(id: number): void {
    const machine = this.#machines.get(id);
    machine?.clock?.kill();
    this.network.crash(nodeName(id));
    machine?.disk.crash();
    if (machine !== undefined) machine.store = undefined;
  }

  /** Lets virtual time pass until the promise is settled. */
  async settle<T>(promise: Promise<T>, limit = 600_000): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    done.catch(() => {});
    if (!(await this.clock.runUntil(() => settled, limit))) throw new Error('it never ends');
    return done;
  }

  async until(what: string, condition: () => boolean, limit = 600_000): Promise<void> {
    if (!(await this.clock.runUntil(condition, limit))) throw new Error(`never happened: ${what}`);
  }

  async close(): Promise<void> {
    for (const { store } of this.#machines.values())
      if (store !== undefined) await this.settle(store.close());
  }
}

export function nodeName(id: number): string {
  return `store-${id}`;
}

/** Values of some kilobytes, so that a few dozen of them make a few chunks. */
export function someValues(random: Random, count: number, bytes = 8 * 1024): Map<string, Uint8Array> {
  const values = new Map<string, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const value = Buffer.alloc(bytes);
    value.writeDoubleLE(random(), 0);
    values.set(`key ${String(i).padStart(6, '0')}`, value);
  }
  return values;
}

function overlap(a: metapb.Region, b: metapb.Region): boolean {
  const before = ({ startKey }: metapb.Region, { endKey }: metapb.Region) =>
    endKey.length === 0 || Buffer.compare(startKey, endKey) < 0;
  return before(a, b) && before(b, a);
}

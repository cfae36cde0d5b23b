import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ActorSystem,
  type Clock,
  type Logger,
  MemoryNetwork,
  natsTransport,
  ProcessClock,
  type Random,
  realClock,
  seededRandom,
  silentLogger,
  type Transport,
  VirtualClock,
} from '../../../actors/index.js';
import type { Database } from '../../../cluster/client/database.js';
import { connect } from '../../../cluster/client/index.js';
import { SchedulerClient } from '../../../cluster/pd-client.js';
import { codecs } from '../../../cluster/protocol.js';
import { type SchedulerNode, startScheduler } from '../../../cluster/scheduler/index.js';
import { type StoreNode, startStore } from '../../../cluster/store/index.js';
import type { StoreTuning } from '../../../cluster/store/tuning.js';
import {
  type ColumnFamily,
  type Engine,
  openRocksEngine,
  RaftLog,
  rawKey,
  SimulatedDisk,
} from '../../../storage/index.js';
import { TestNatsServer } from '../../nats-server.js';
import { FaultyLinks } from './faulty-links.js';
import { HeartbeatRules } from './heartbeat-rules.js';

/** TinyKV's test configuration: ticks of 50 ms, so that its election timeout is 500 ms. */
const TUNING = { tickInterval: 50, heartbeatTicks: 2, electionTicks: 10 };
const SPLIT_CHECK_MS = 100;
export const ELECTION_TIMEOUT_MS = 500;

const CLUSTER = 'tinykv';
const SCHEDULER = 'scheduler-1';
/** The first region of a cluster. */
const REGION = 1;
/** Milliseconds of a frame's way, and of a disk's call: those of a rack with good disks. */
const VIRTUAL_DELAY = [1, 5] as const;
const VIRTUAL_SYNC_MS = [2, 8] as const;
/** Virtual milliseconds that a whole test may take. */
const VIRTUAL_LIMIT_MS = 30 * 60_000;
const CLOSE_MS = 10_000;

/** What a cluster runs on: virtual time, memory and simulated disks, or this machine. */
interface Ground {
  readonly clock: Clock;
  readonly random: Random;
  transport(node: string): Transport;
  machine(node: string): Machine;
  run(body: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** A store's machine, on which one process after the other runs. */
interface Machine {
  /** Starts a process. */
  boot(): Promise<{ readonly engine: Engine; readonly clock: Clock; readonly transport: Transport }>;
  /** Ends the process: by a power loss where the ground can do that, else in good order. */
  stop(node: StoreNode): Promise<void>;
}

export interface TestStore {
  readonly name: string;
  /** As the scheduler gave it; 0 before the first start. */
  id: number;
  /** The engine of the process that runs: what TinyKV's tests look into. */
  engine: Engine | undefined;
  node: StoreNode | undefined;
}

export interface ClusterOptions {
  /** Number of stores (5). */
  readonly stores?: number;
  /** Entries of a log above which it is cut: TinyKV's RaftLogGcCountLimit. Without it, as stores do by default. */
  readonly logLimit?: number | undefined;
  /** Bytes that a region may have, and that a part has that is split off. */
  readonly split?: { readonly maxBytes: number; readonly splitBytes: number } | undefined;
}

/** Asks actors of the cluster, and its scheduler. */
export interface Inquirer {
  readonly system: ActorSystem;
  readonly scheduler: SchedulerClient;
}

/** Real stores (five if nothing else is said), a scheduler and clients in one process; only the stores' links to each other can be made bad. */
export class TestCluster {
  readonly stores: readonly TestStore[];
  readonly links: FaultyLinks;
  readonly heartbeats = new HeartbeatRules();
  /** Errors that stores logged, and heartbeats that broke a rule: none is expected. */
  readonly errors: string[] = [];
  readonly #ground: Ground;
  readonly #machines: ReadonlyMap<string, Machine>;
  readonly #clients: Database[] = [];
  #inquirer: Inquirer | undefined;
  readonly #tuning: StoreTuning;
  readonly #logger: Logger = {
    ...silentLogger,
    error: (fields, message) => this.errors.push(`${message} ${JSON.stringify(fields)}`),
  };
  #scheduler: SchedulerNode | undefined;
  #lives = 0;

  constructor(ground: Ground, { stores = 5, logLimit, split }: ClusterOptions) {
    this.#ground = ground;
    this.#tuning = {
      ...TUNING,
      ...(logLimit !== undefined && {
        logGc: { interval: 50, threshold: logLimit, countLimit: logLimit },
      }),
      ...(split !== undefined && { split: { ...split, interval: SPLIT_CHECK_MS } }),
    };
    this.stores = Array.from({ length: stores }, (_, i) => ({
      name: `store-${i + 1}`,
      id: 0,
      engine: undefined,
      node: undefined,
    }));
    this.#machines = new Map(this.stores.map(({ name }) => [name, ground.machine(name)]));
    this.links = new FaultyLinks(ground.random, (to, frame) => {
      if (to === SCHEDULER) this.errors.push(...this.heartbeats.judgeFrame(frame));
    });
  }

  get random(): Random {
    return this.#ground.random;
  }

  async start(): Promise<void> {
    const { clock, random } = this.#ground;
    const { engine, transport } = await this.#ground.machine(SCHEDULER).boot();
    this.#scheduler = await startScheduler({
      cluster: CLUSTER,
      name: SCHEDULER,
      haltScheduling: true,
      engine,
      transport,
      clock,
      wallClock: () => clock.now(),
      random,
      incarnation: ++this.#lives,
      expectedStores: this.stores.length,
    });
    await this.startStores();
  }

  async startStores(): Promise<void> {
    await Promise.all(this.stores.map((store) => this.#startStore(store)));
  }

  async stopStores(): Promise<void> {
    await Promise.all(
      this.stores.map(async (store) => {
        const { name, node } = store;
        store.node = undefined;
        store.engine = undefined;
        if (node !== undefined) await this.#machines.get(name)?.stop(node);
      }),
    );
  }

  /** Stops one store and starts it again. */
  async restart(store: TestStore): Promise<void> {
    const { name, node } = store;
    store.node = undefined;
    store.engine = undefined;
    if (node !== undefined) await this.#machines.get(name)?.stop(node);
    await this.#startStore(store);
  }

  /** Where a store's log of the region begins, and how far it is applied. */
  async log(store: TestStore): Promise<{ readonly truncated: number; readonly applied: number }> {
    const state = store.engine === undefined ? undefined : await new RaftLog(store.engine).load(REGION);
    return { truncated: state?.truncated.index ?? 0, applied: state?.applied ?? 0 };
  }

  async #startStore(store: TestStore): Promise<void> {
    const machine = this.#machines.get(store.name);
    if (machine === undefined) throw new Error(`${store.name} has no machine`);
    const { engine, clock, transport } = await machine.boot();
    store.engine = engine;
    store.node = await startStore({
      cluster: CLUSTER,
      name: store.name,
      engine,
      transport: this.links.wrap(store.name, transport),
      clock,
      random: this.#ground.random,
      schedulers: [SCHEDULER],
      incarnation: ++this.#lives,
      tuning: this.#tuning,
      logger: this.#logger,
    });
    store.id = store.node.storeId;
  }

  /** Who asks for what clients do not ask for; nothing cuts it off. */
  async inquire(): Promise<Inquirer> {
    this.#inquirer ??= await this.#startInquirer();
    return this.#inquirer;
  }

  async #startInquirer(): Promise<Inquirer> {
    const { clock, random } = this.#ground;
    const node = 'client-0';
    const transport = this.#ground.transport(node);
    const system = await ActorSystem.start({
      cluster: CLUSTER,
      node,
      role: 'client',
      transport,
      clock,
      random,
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    const schedulers = [SCHEDULER];
    return {
      system,
      scheduler: new SchedulerClient({ system, cluster: CLUSTER, schedulers, clock, random }),
    };
  }

  /** A client of its own connection, which nothing cuts off. */
  async connect(): Promise<Database> {
    const { clock, random } = this.#ground;
    const name = `client-${this.#clients.length + 1}`;
    const transport = this.#ground.transport(name);
    const database = await connect({
      cluster: CLUSTER,
      name,
      transport,
      clock,
      random,
      schedulers: [SCHEDULER],
    });
    this.#clients.push(database);
    return database;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#ground.clock.setTimeout(resolve, ms);
    });
  }

  now(): number {
    return this.#ground.clock.now();
  }

  /** All stores run, and hear each other. */
  get isWhole(): boolean {
    return this.links.areWhole && this.stores.every(({ node }) => node !== undefined);
  }

  /** The store that leads the region, as the scheduler knows it. TinyKV looks 500 times, 10 ms apart. */
  async leader({ cluster }: Database): Promise<TestStore> {
    for (let tries = 0; tries < 500; tries++) {
      const [region] = (await cluster.status()).regions;
      const leader = this.stores.find(({ node }) => node !== undefined && node.storeId === region?.leader);
      if (leader !== undefined) return leader;
      await this.sleep(10);
    }
    throw new Error('the region has no leader');
  }

  /** What a store's own engine holds, whether the cluster knows of it or not. */
  async stored(store: TestStore, key: string, cf: ColumnFamily = 'default'): Promise<string | undefined> {
    const value = await store.engine?.get(cf, rawKey(Buffer.from(key)));
    // The last byte of a stored value is its flags.
    return value && Buffer.from(value.subarray(0, -1)).toString();
  }

  /** Waits for a store's engine to hold `value`, as TinyKV does: 300 looks, 20 ms apart. */
  async mustHave(
    store: TestStore,
    key: string,
    value: string | undefined,
    cf: ColumnFamily = 'default',
  ): Promise<void> {
    for (let tries = 0; tries < 300; tries++) {
      if ((await this.stored(store, key, cf)) === value) return;
      await this.sleep(20);
    }
    throw new Error(`${store.name} holds ${await this.stored(store, key, cf)} at ${key}, not ${value}`);
  }

  async close(): Promise<void> {
    this.links.heal();
    await Promise.all(this.#clients.map((client) => client.close()));
    this.#inquirer?.scheduler.close();
    await this.#inquirer?.system.close();
    await Promise.all(this.stores.map(({ node }) => node?.close()));
    await this.#scheduler?.close();
  }
}

/** Whether the specs run over a real nats-server and RocksDB instead of virtual time. */
export const ON_REAL_GROUND = process.env.TROUPE_CONFORMANCE_REAL === '1';

/** Runs `body` on a new cluster. In virtual time all of it happens on the virtual clock, waiting included. */
export async function withCluster(
  seed: number,
  body: (cluster: TestCluster) => Promise<void>,
  options: ClusterOptions = {},
): Promise<void> {
  const ground = ON_REAL_GROUND ? await realGround() : virtualGround(seed);
  try {
    await ground.run(async () => {
      const cluster = new TestCluster(ground, options);
      try {
        await cluster.start();
        await body(cluster);
        if (cluster.errors.length > 0) throw new Error(cluster.errors.join('\n'));
      } finally {
        // What a failed test has broken may never close.
        await Promise.race([cluster.close(), cluster.sleep(CLOSE_MS)]);
      }
    });
  } finally {
    await ground.close();
  }
}

function virtualGround(seed: number): Ground {
  const random = seededRandom(seed);
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock, random, { delay: VIRTUAL_DELAY });
  return {
    clock,
    random,
    transport: (node) => network.transport(node),
    machine: (node) => {
      const [least, most] = VIRTUAL_SYNC_MS;
      const latency = (call: string): number => (call === 'sync' ? least + (most - least) * random() : 0);
      const disk = new SimulatedDisk({ random, clock, latency });
      let process = new ProcessClock(clock);
      return {
        boot: async () => {
          process = new ProcessClock(clock);
          return { engine: await disk.open(), clock: process, transport: network.transport(node) };
        },
        stop: async () => {
          process.kill();
          network.crash(node);
          disk.crash();
        },
      };
    },
    run: async (body) => {
      let outcome: { readonly error: unknown } | undefined;
      body().then(
        () => {
          outcome = { error: undefined };
        },
        (error: unknown) => {
          outcome = { error };
        },
      );
      const ended = await clock.runUntil(() => outcome !== undefined, VIRTUAL_LIMIT_MS);
      if (!ended) throw new Error(`the test did not end within ${VIRTUAL_LIMIT_MS} virtual ms`);
      if (outcome?.error !== undefined) throw outcome.error;
    },
    close: async () => {},
  };
}

/** A nats-server of its own, and RocksDB in temporary directories. All nodes are in this process. */
async function realGround(): Promise<Ground> {
  const server = await TestNatsServer.start();
  const folder = await mkdtemp(join(tmpdir(), 'troupe-tinykv-'));
  const transport = (): Transport => natsTransport({ servers: server.url });
  return {
    clock: realClock,
    random: Math.random,
    transport,
    machine: (node) => ({
      boot: async () => ({
        engine: await openRocksEngine({ path: join(folder, node) }),
        clock: realClock,
        transport: transport(),
      }),
      stop: (store) => store.close(),
    }),
    run: (body) => body(),
    close: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

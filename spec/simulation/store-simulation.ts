import { MemoryNetwork, type Random, seededRandom, VirtualClock } from '../../actors/index.js';
import { connect } from '../../cluster/client/index.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import type { SchedulerNode } from '../../cluster/scheduler/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { checkLinearizable } from '../linearizability/checker.js';
import { explain } from '../linearizability/explanation.js';
import { History } from '../linearizability/history.js';
import { type KeyInput, type KeyOutput, keyModel } from '../linearizability/models.js';
import { inClosedWorld } from './closed-world.js';
import { GcActs } from './gc-acts.js';
import { type GcTaste, gcTasteOf, SafePointsSeen } from './gc-taste.js';
import { MachineClock, pausable } from './machine-clock.js';
import { RegionActs } from './region-acts.js';
import { OPERATOR, RegionOperator } from './region-operator.js';
import { RegionPeace } from './region-peace.js';
import type { Server, SimulatedMachine } from './simulated-machine.js';
import { auditStore, ReplicaComparison } from './store-audit.js';
import { type StoreBug, storeBugs } from './store-bugs.js';
import { groupsOf, type StoreMachine } from './store-groups.js';
import { type StoreBooks, StoreInvariants, type StoreLife } from './store-invariants.js';
import { SimulatedClient } from './store-load.js';
import { makeScheduler, makeStore } from './store-machines.js';
import { StoreNemesis } from './store-nemesis.js';
import type { StoreSimulationOptions, StoreSimulationReport } from './store-report.js';
import { listen } from './store-wire.js';
import { Trace } from './trace.js';
import { TXN_CLIENTS, TxnLoad } from './txn-load.js';

export const STORE_TROUBLE_MS = 20_000;
const CLUSTER = 'simulation';
const SCHEDULER = 'scheduler-1';
/** An election timeout is 20 ticks of 100 ms where a target is meant. */
const ELECTION_TIMEOUT_MS = 2_000;
const RECOVERY_MS = 20 * ELECTION_TIMEOUT_MS;
/** What the cluster may take to be born, where nothing disturbs it. */
const BIRTH_MS = 30_000;
/** What processes may take to stop, and a client to read every key. */
const CALM_MS = 20_000;
/** What regions may take to come to rest when nobody changes or writes them any more. */
const REST_MS = 60_000;
/**
 * How long the locks of dead clients may keep readers from keys: the 20 s that a client's last heartbeat gives them, and what it
 * takes to remove them.
 */
const LOCKED_MS = 22_000;
const CLIENT_TIMEOUT_MS = 5_000;
/** Operations that a client may have under way at once. */
const MAX_SESSIONS = 4;
/** Share of seeds whose trouble begins before the cluster stands. */
const EARLY_TROUBLE = 0.15;
/** Clocks run so much too fast or too slow at most. */
const DRIFT = 0.03;
/** Stores that the first region has peers on, by chance; the others join empty. */
const FIRST_STORES = [1, 3, 3, 3, 3, 3, 5] as const;
/** Whether a seed collects old versions says nothing of its other habits. */
const GC_SEEDS = 1_000_000;
/** Half of the seeds keep so little of the log in memory that much of it is read back from disk. */
const CACHE_BYTES = [200, 1_000_000] as const;

/**
 * A whole cluster in one process, on virtual time: the product's stores, scheduler and clients, over a network and disks
 * that fail. Some seconds of trouble, then peace, in which everything must come back; then the books are checked.
 */
export async function simulateStores(options: StoreSimulationOptions): Promise<StoreSimulationReport> {
  const simulation = new StoreSimulation(options);
  return inClosedWorld(
    { now: () => simulation.world.now(), broken: (sentence) => simulation.broken(sentence) },
    () => simulation.run(),
  );
}

class StoreSimulation {
  readonly world = new VirtualClock();
  readonly #options: StoreSimulationOptions;
  readonly #bug: StoreBug;
  readonly #trace: Trace;
  readonly #network: MemoryNetwork;
  readonly #root: Random;
  readonly #stores: StoreMachine[] = [];
  readonly #books: StoreBooks[] = [];
  readonly #scheduler: SimulatedMachine<SchedulerNode>;
  readonly #invariants: StoreInvariants;
  readonly #nemesis: StoreNemesis;
  readonly #operator: RegionOperator;
  readonly #acts: RegionActs;
  readonly #peace: RegionPeace;
  readonly #history: History<KeyInput, KeyOutput>;
  readonly #clients: SimulatedClient[] = [];
  readonly #clientNames: readonly string[];
  /** Where there are transactions. */
  readonly #txnLoad: TxnLoad | undefined;
  /** Groups in which the planted bug is. */
  readonly #known = new WeakSet<RaftGroup>();
  readonly #counts = { snapshots: 0, truncations: 0, restarts: 0, versionsRemoved: 0 };
  readonly #gcActs: GcActs | undefined;
  readonly #safePoints = new SafePointsSeen();
  #lullUntil = 0;

  constructor(options: StoreSimulationOptions) {
    this.#options = options;
    this.#bug = options.bug === undefined ? {} : storeBugs[options.bug];
    this.#root = seededRandom(options.seed);
    const { world } = this;
    const chance = this.#random();
    const txn = options.txn === true || this.#bug.needsTransactions === true;
    this.#trace = new Trace(() => world.now(), options.print);
    this.#network = new MemoryNetwork(world, this.#random());
    this.#history = new History(world);
    const stores = 3 + Math.floor(4 * chance());
    const first = Math.min(stores, FIRST_STORES[Math.floor(FIRST_STORES.length * chance())] ?? 3);
    const gc = txn ? gcTasteOf(seededRandom(options.seed + GC_SEEDS), this.#bug.needsGc === true) : undefined;
    const tuning: StoreTuning = {
      ...(gc === undefined ? {} : { safePointLease: gc.safePointLease }),
      maxCachedBytes: CACHE_BYTES[chance() < 0.5 ? 0 : 1],
      leaseReads: chance() < 0.5 || this.#bug.needsLeases === true,
      // Regions fall asleep whenever there is a moment's peace, or as late as they do by default.
      quietTicks: chance() < 0.5 ? 1 + Math.floor(4 * chance()) : 10,
      logGc: {
        interval: 200 + 800 * chance(),
        threshold: 5 + Math.floor(20 * chance()),
        countLimit: 10 + Math.floor(50 * chance()),
      },
      mergeInterval: 100 + 900 * chance(),
      stalePeerTimeout: 2_000 + 6_000 * chance(),
      tombstoneLifetime: chance() < 0.3 ? 1_000 + 5_000 * chance() : 600_000,
    };
    const servers = {
      cluster: CLUSTER,
      scheduler: SCHEDULER,
      bug: this.#bug,
      invariants: () => this.#invariants,
      counts: this.#counts,
    };
    for (let i = 1; i <= stores; i++) {
      const name = `store-${i}`;
      const random = this.#random();
      const { store, record } = makeStore({ ...servers, name, random, tuning, machine: this.#machine() });
      this.#books.push({ name, record });
      this.#stores.push(store);
    }
    this.#invariants = new StoreInvariants(this.#books);
    const random = this.#random();
    this.#scheduler = makeScheduler({
      ...servers,
      random,
      expectedStores: first,
      machine: this.#machine(),
      gc,
      safePoints: this.#safePoints,
    });
    this.#clientNames = Array.from({ length: 3 + Math.floor(2 * chance()) }, (_, i) => `client-${i + 1}`);
    this.#nemesis = new StoreNemesis({
      stores: this.#stores,
      scheduler: this.#scheduler,
      clients: [...this.#clientNames, OPERATOR, ...(txn ? TXN_CLIENTS : [])],
      network: this.#network,
      world,
      random: this.#random(),
      trace: this.#trace,
      lull: (ms) => {
        this.#lullUntil = Math.max(this.#lullUntil, this.world.now() + ms);
      },
    });
    this.#operator = new RegionOperator({
      cluster: CLUSTER,
      scheduler: SCHEDULER,
      stores: this.#stores,
      network: this.#network,
      world,
      random: this.#random(),
      trace: this.#trace,
    });
    const names = this.#stores.map(({ name }) => name);
    this.#acts = new RegionActs({
      operator: this.#operator,
      stores: names,
      world,
      random: this.#random(),
      txn,
    });
    this.#peace = new RegionPeace({ operator: this.#operator, stores: this.#stores, world });
    this.#txnLoad = txn ? this.#makeTxnLoad(gc) : undefined;
    if (gc !== undefined) {
      const scheduler = () => this.#operator.scheduler;
      this.#gcActs = new GcActs({ scheduler, world, random: this.#random(), trace: this.#trace });
    }
    listen(this.#network, this.#trace, {
      raft: (from, to, { regionId, message }) => {
        const store = this.#stores.find(({ name }) => name === from);
        if (store === undefined) return;
        this.#invariants.sent(store.title, regionId, message);
        this.#nemesis.sends(store, to, message);
      },
      snapshot: (from, to) => {
        const store = this.#stores.find(({ name }) => name === from);
        if (store !== undefined) this.#nemesis.snapshotMoves(store, to);
      },
      report: (from, { region }) => {
        const store = this.#stores.find(({ name }) => name === from);
        const { confVer = 0, version = 0 } = region?.regionEpoch ?? {};
        if (region !== undefined && store !== undefined)
          this.#invariants.regions.reports(store.title, from, region.id, { confVer, version });
      },
    });
  }

  broken(sentence: string): void {
    this.#invariants.broken(sentence);
  }

  /** A source of its own for each part: what one draws does not move the others. */
  #random(): Random {
    return seededRandom(this.#root() * 2 ** 32);
  }

  #rate(): number {
    return 1 + DRIFT * (2 * this.#root() - 1);
  }

  #machine() {
    return {
      world: this.world,
      network: this.#network,
      random: this.#random(),
      trace: this.#trace,
      rate: this.#rate(),
      broken: (sentence: string) => this.broken(sentence),
      ended: (machine: SimulatedMachine<Server>) => this.#nemesis.ended(machine),
    };
  }

  #makeTxnLoad(gc: GcTaste | undefined): TxnLoad {
    return new TxnLoad({
      cluster: CLUSTER,
      scheduler: SCHEDULER,
      network: this.#network,
      world: this.world,
      random: this.#random(),
      trace: this.#trace,
      rate: () => this.#rate(),
      lull: () => this.#lullUntil - this.world.now(),
      broken: (sentence) => this.broken(sentence),
      safePoints: this.#safePoints,
      gc,
    });
  }

  async run(): Promise<StoreSimulationReport> {
    const early = this.#root() < EARLY_TROUBLE;
    this.#scheduler.start();
    for (const store of this.#stores) store.start();
    for (const name of this.#clientNames) void this.#connect(name);
    this.#txnLoad?.start();
    void this.#operator.start();
    if (!early) {
      const born = await this.#until(
        () => this.#clients.length === this.#clientNames.length && this.#txnLoad?.isComplete !== false,
        BIRTH_MS,
      );
      if (!born) this.broken(`the cluster was not born within ${BIRTH_MS} ms without trouble`);
    }
    this.#nemesis.start();
    this.#acts.start();
    this.#gcActs?.start();
    await this.#until(() => false, this.#options.trouble ?? STORE_TROUBLE_MS);
    this.#acts.stop();
    this.#gcActs?.stop();
    this.#nemesis.stop();
    this.#lullUntil = 0;
    this.#trace.event('peace');
    this.#txnLoad?.spare();
    const recovery = await this.#recover();
    await this.#settle();
    await this.#close();
    await this.#audit();
    const { violation } = this.#invariants;
    if (violation !== undefined) this.#trace.event(violation);
    const { seed, bug } = this.#options;
    const txn = this.#txnLoad !== undefined;
    return { seed, bug, txn, hash: this.#trace.digest(), violation, figures: this.#figures(recovery) };
  }

  /** Tries until it stands: the scheduler may be away, or the cluster not born. */
  async #connect(name: string): Promise<void> {
    const clock = new MachineClock(this.world, this.#rate());
    const random = this.#random();
    const pace = { pause: 20 + 200 * random(), sessions: 1 + Math.floor(MAX_SESSIONS * random()) };
    for (;;) {
      try {
        const transport = pausable(this.#network.transport(name), clock);
        const schedulers = [SCHEDULER];
        const timeout = CLIENT_TIMEOUT_MS;
        const database = await connect({
          cluster: CLUSTER,
          name,
          transport,
          schedulers,
          timeout,
          clock,
          random,
        });
        const client = new SimulatedClient({
          name,
          database,
          clock,
          random,
          ...pace,
          lull: () => this.#lullUntil - this.world.now(),
          history: this.#history,
          trace: this.#trace,
          broken: (sentence) => this.broken(sentence),
        });
        this.#clients.push(client);
        client.start();
        return;
      } catch (error) {
        this.#trace.event(`${name} cannot connect: ${String(error)}`);
      }
    }
  }

  /** Peace: every client must get a write and a read through, and every store must come up, within the limit. */
  async #recover(): Promise<number> {
    const healed = this.world.now();
    const progressed = new Set<SimulatedClient>();
    const begun = new Set<SimulatedClient>();
    let transacts = this.#txnLoad === undefined;
    const recovered = await this.#until(() => {
      for (const client of this.#clients) {
        if (begun.has(client)) continue;
        begun.add(client);
        void client
          .stop()
          .then(() => client.progress())
          .then(() => progressed.add(client));
      }
      if (!transacts && this.#txnLoad?.mayRecover === true)
        void this.#txnLoad.recover().then(() => {
          transacts = true;
        });
      return (
        transacts && progressed.size === this.#clientNames.length && this.#stores.every(({ isUp }) => isUp)
      );
    }, RECOVERY_MS);
    if (!recovered) {
      const stuck = this.#clientNames.filter(
        (name) => ![...progressed].some((client) => client.name === name),
      );
      const down = this.#stores.filter(({ isUp }) => !isUp).map(({ name }) => name);
      if (!transacts) down.push('the clients with transactions');
      this.broken(
        `no progress within ${RECOVERY_MS} ms of peace: ${[...stuck, ...down].join(', ')} did not come back`,
      );
    }
    return this.world.now() - healed;
  }

  /** Nobody writes any more: all regions must come to rest, and every key must be readable. */
  async #settle(): Promise<void> {
    await this.#readTransactions();
    let rested = false;
    void this.#peace.come().then(() => {
      rested = true;
    });
    if (!(await this.#until(() => rested, REST_MS)))
      this.broken(`the regions are not at rest ${REST_MS} ms after the last write: ${this.#peace.missing}`);
    let read = false;
    void this.#clients[0]?.readAll().then(() => {
      read = true;
    });
    if (!(await this.#until(() => read, CALM_MS))) this.broken('not every key could be read in peace');
  }

  /** Whatever was locked when its client died must be free again once its time is over. */
  async #readTransactions(): Promise<void> {
    if (this.#txnLoad === undefined) return;
    let read = false;
    const load = this.#txnLoad;
    void load
      .readEverything(LOCKED_MS)
      .then(() => load.close())
      .then(() => {
        read = true;
      });
    if (!(await this.#until(() => read, LOCKED_MS + CALM_MS)))
      this.broken('not every transactional key could be read in peace');
  }

  async #close(): Promise<void> {
    if (this.#invariants.violation !== undefined) return;
    for (const machine of [...this.#stores, this.#scheduler]) void machine.stop();
    const all = await this.#until(
      () => this.#scheduler.isDown && this.#stores.every(({ isDown }) => isDown),
      CALM_MS,
    );
    if (!all) this.broken('a process did not stop when it was asked to');
  }

  /** What the disks hold at the end, and what the clients were told. */
  async #audit(): Promise<void> {
    if (this.#invariants.violation !== undefined) return;
    const comparison = new ReplicaComparison();
    for (const { name, record } of this.#books) {
      const store = this.#stores.find((one) => one.name === name);
      await store?.inspect(async (engine) => {
        await record.reset(engine);
        await this.#invariants.compare(`${name} at the end`, engine, record.stored);
        const wrong = await auditStore(name, engine, record.stored, this.#peace.regions);
        if (wrong !== undefined) this.broken(wrong);
        const different = await comparison.add(name, engine, record.stored, this.#peace.regions);
        if (different !== undefined) this.broken(different);
      });
    }
    this.#invariants.checkDurability();
    const result = checkLinearizable(keyModel, this.#history.operations());
    if (result.verdict !== 'ok') this.broken(explain(keyModel, result));
    const [broken] = this.#txnLoad?.verdict().violations ?? [];
    if (broken !== undefined) this.broken(broken);
  }

  /** Runs until the condition holds, or something is broken; looks at everything after every event. */
  async #until(condition: () => boolean, limit: number): Promise<boolean> {
    let held = false;
    await this.world.runUntil(() => {
      this.#invariants.check(this.#lives());
      if (this.#invariants.violation !== undefined) return true;
      held = condition();
      return held;
    }, limit);
    return held;
  }

  #lives(): StoreLife[] {
    return this.#stores.map((store) => {
      const groups = groupsOf(store);
      for (const group of groups) {
        if (this.#known.has(group)) continue;
        this.#known.add(group);
        this.#bug.group?.(group, () => store.now());
      }
      return { title: store.title, groups, now: store.now() };
    });
  }

  #figures(recovery: number): Record<string, number> {
    const sum = (count: (client: SimulatedClient) => number): number =>
      this.#clients.reduce((total, client) => total + count(client), 0);
    const { sent, lost, duplicated, reordered } = this.#network.counts;
    return {
      stores: this.#stores.length,
      elections: this.#invariants.elections,
      rests: this.#invariants.rests,
      commits: this.#invariants.commits,
      reads: sum(({ counts }) => counts.reads),
      writes: sum(({ counts }) => counts.writes),
      refused: sum(({ counts }) => counts.refused),
      unknown: sum(({ counts }) => counts.unknown),
      ...this.#counts,
      regions: this.#peace.regions.length,
      ...this.#invariants.regions.counts,
      ...this.#operator.counts,
      ...this.#nemesis.counts,
      ...(this.#gcActs?.counts ?? { gcRuns: 0, gcPauses: 0 }),
      ...this.#txnLoad?.counts,
      frames: sent,
      framesLost: lost,
      framesDuplicated: duplicated,
      framesReordered: reordered,
      events: this.world.executed,
      recovery,
    };
  }
}

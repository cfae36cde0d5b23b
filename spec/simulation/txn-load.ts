import { type MemoryNetwork, type Random, seededRandom, type VirtualClock } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import type { TransactionalDatabase } from '../isolation/database.js';
import { type IsolationVerdict, IsolationWorkload, type WorkloadClient } from '../isolation/workload.js';
import { ELDERS, ElderLoad, NO_ELDERS } from './elder-load.js';
import type { GcTaste, SafePointsSeen } from './gc-taste.js';
import { counting, MachineClock, pausable } from './machine-clock.js';
import type { Trace } from './trace.js';

export interface TxnLoadParts {
  readonly cluster: string;
  readonly scheduler: string;
  readonly network: MemoryNetwork;
  readonly world: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
  /** Milliseconds of a client's clock in one of the world's. */
  readonly rate: () => number;
  /** Milliseconds for which nobody asks for anything. */
  readonly lull: () => number;
  readonly broken: (sentence: string) => void;
  readonly safePoints: SafePointsSeen;
  /** Where old versions are collected. */
  readonly gc: GcTaste | undefined;
}

/** Clients at a time, and how often each may be killed. */
const CLIENTS = 2;
const MAX_LIVES = 5;
/** Messages that a client sends before it is killed, at most. */
const MAX_FRAMES = 150;
/** Longest time until a client that was killed is there again, in milliseconds. */
const DOWNTIME_MS = 1_500;
/** Transactions that a client has under way at once. */
const SESSIONS = 3;
const TIMEOUT_MS = 3_000;
/** A client may look for two seconds more what became of a transaction that might be committed. */
const GRACE_MS = 3_000;
const LISTS = 4;
/** The snapshot of a dead client keeps old versions from being collected for so long. */
const SHORT_TTL_MS = 3_000;

/** Every name that a client of this load may have: each life is a node of its own. */
export const TXN_CLIENTS: readonly string[] = [
  ...Array.from({ length: CLIENTS }, (_, i) =>
    Array.from({ length: MAX_LIVES }, (_, life) => nameOf(i + 1, life + 1)),
  ).flat(),
  ...ELDERS,
];

/**
 * Clients of the real library with transactions on lists and at a bank. Each is killed now and then just when a message has
 * left it, in the middle of whatever it did, and another takes its place. Where old versions are collected, others live in the
 * past beside them.
 */
export class TxnLoad {
  readonly #counts = { txnCommits: 0, txnRefused: 0, txnUnknown: 0, txnKills: 0 };
  readonly #parts: TxnLoadParts;
  readonly #workload: IsolationWorkload;
  readonly #clients = new Map<number, readonly WorkloadClient[]>();
  readonly #databases = new Map<number, Database>();
  readonly #elders: ElderLoad | undefined;
  #phase: 'trouble' | 'spared' | 'recovering' = 'trouble';

  constructor(parts: TxnLoadParts) {
    this.#parts = parts;
    const random = seededRandom(parts.random() * 2 ** 32);
    this.#workload = new IsolationWorkload({ random, lists: LISTS });
    const { gc } = parts;
    this.#elders = gc && new ElderLoad({ ...parts, lifeTime: gc.gcLifeTime });
  }

  get counts(): Readonly<Record<string, number>> {
    const { raises } = this.#parts.safePoints;
    return {
      ...this.#counts,
      txnBanked: this.#workload.banked,
      gcRaises: raises,
      ...(this.#elders?.counts ?? NO_ELDERS),
    };
  }

  start(): void {
    for (let client = 1; client <= CLIENTS; client++) void this.#live(client, 1);
    this.#elders?.start();
  }

  /** Whether every client is there. */
  get isComplete(): boolean {
    return this.#clients.size === CLIENTS && this.#elders?.isComplete !== false;
  }

  /** Peace: nobody is killed any more, and whoever is dead comes back. */
  spare(): void {
    this.#phase = 'spared';
    this.#elders?.spare();
  }

  /** Peace has come, every client is there, and `recover` was not called yet. */
  get mayRecover(): boolean {
    return this.#phase === 'spared' && this.isComplete;
  }

  /** All stop, and each gets one more transaction through. */
  async recover(): Promise<void> {
    this.#phase = 'recovering';
    await Promise.all([
      this.#elders?.stop(),
      ...[...this.#clients.values()].flat().map(async (session) => {
        await session.stop();
        await session.progress();
      }),
    ]);
  }

  /** Reads everything: no lock that somebody has left behind may keep a reader from it. */
  async readEverything(limit: number): Promise<void> {
    await this.#clients.get(1)?.[0]?.readEverything(limit);
    const missing = await this.#elders?.readEverything(limit);
    if (missing !== undefined) this.#parts.broken(`all was whole again, and ${missing}`);
  }

  /** Nothing goes on behind anybody's back any more. */
  async close(): Promise<void> {
    await Promise.all([...this.#databases.values(), this.#elders].map((one) => one?.close()));
  }

  verdict(): IsolationVerdict {
    return this.#workload.verdict();
  }

  #ended(session: string, fate: 'returned' | 'failed' | 'unknown'): void {
    this.#parts.trace.event(`${session} transaction: ${fate}`);
    if (fate === 'returned') this.#counts.txnCommits++;
    else if (fate === 'failed') this.#counts.txnRefused++;
    else this.#counts.txnUnknown++;
  }

  async #live(client: number, life: number): Promise<void> {
    const { cluster, scheduler, network, world, trace, rate } = this.#parts;
    const name = nameOf(client, life);
    const random = seededRandom(this.#parts.random() * 2 ** 32);
    const clock = new MachineClock(world, rate());
    let frames = life < MAX_LIVES ? Math.floor(MAX_FRAMES * random()) : Number.POSITIVE_INFINITY;
    const die = (): void => {
      if (this.#phase !== 'trouble' || clock.killed || !this.#clients.has(client)) return;
      trace.event(`kill ${name}`);
      this.#counts.txnKills++;
      this.#clients.delete(client);
      clock.kill();
      network.crash(name);
      world.setTimeout(() => void this.#live(client, life + 1), DOWNTIME_MS * random());
    };
    const sent = (): void => {
      // Before anything else can happen, and not in the middle of its turn.
      if (--frames <= 0) world.setTimeout(die, 0);
    };
    for (;;) {
      try {
        const transport = counting(pausable(network.transport(name), clock), sent);
        const schedulers = [scheduler];
        const database = await connect({
          cluster,
          name,
          transport,
          schedulers,
          timeout: TIMEOUT_MS,
          clock,
          random,
        });
        const sessions = Array.from({ length: SESSIONS }, (_, i) => {
          const session = `${name}/${i + 1}`;
          return this.#workload.join({
            name: session,
            database: inEveryWay(database, random, this.#parts.gc !== undefined),
            clock,
            random,
            timeout: TIMEOUT_MS,
            grace: GRACE_MS,
            pause: 20 + 200 * random(),
            lull: this.#parts.lull,
            ended: (fate) => this.#ended(session, fate),
          });
        });
        this.#databases.set(client, database);
        this.#clients.set(client, sessions);
        return;
      } catch (error) {
        trace.event(`${name} cannot connect: ${String(error)}`);
      }
    }
  }
}

function nameOf(client: number, life: number): string {
  return `client-txn-${client}-${life}`;
}

/**
 * Transactions commit in whichever way they may: in one phase, when their keys are locked, or with their primary.
 * @param isShort snapshots do not outlive their client for long
 */
function inEveryWay(database: Database, random: Random, isShort: boolean): TransactionalDatabase {
  return {
    transaction: (fn, options) =>
      database.transaction(fn, { ...options, onePc: random() < 0.5, asyncCommit: random() < 0.5 }),
    snapshot: (options) => database.snapshot(isShort ? { ...options, ttl: SHORT_TTL_MS } : options),
  };
}

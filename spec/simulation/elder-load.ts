import { type MemoryNetwork, type Random, seededRandom, type VirtualClock } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { type ConnectOptions, connect } from '../../cluster/client/index.js';
import type { Transaction } from '../../cluster/client/txn/transaction.js';
import { TroupeError } from '../../cluster/errors.js';
import { ElderSession, type ElderWorld } from './elder-session.js';
import { KeyPairs } from './key-pairs.js';
import { counting, MachineClock, pausable } from './machine-clock.js';
import { VersionReference } from './version-reference.js';

export interface ElderLoadParts extends Omit<ElderWorld, 'reference' | 'pairs' | 'counts'> {
  readonly cluster: string;
  readonly scheduler: string;
  readonly network: MemoryNetwork;
  readonly world: VirtualClock;
  readonly random: Random;
  /** Milliseconds of a client's clock in one of the world's. */
  readonly rate: () => number;
}

const MAX_LIVES = 4;
/** Sessions of a life. */
const SESSIONS = 2;
/** What a session does when the trouble is over: dead clients have left their snapshots and locks, and the collector goes on. */
const ACTS_IN_PEACE = 5;
const MAX_LIFE_MS = 25_000;
const DOWNTIME_MS = 1_000;
/** Longest time between two pauses of an elder, and longest pause, in milliseconds. */
const PAUSE_EVERY_MS = 12_000;
const MAX_PAUSE_MS = 3_000;
const MAX_MORTALS = 6;
const MORTAL_EVERY_MS = 5_000;
/** Messages of a commit that a mortal sends before it dies, at most. */
const MAX_FRAMES = 9;
/** Share of mortals that die when the commit of their primary has left. */
const HALF_DONE = 0.5;
const TIMEOUT_MS = 3_000;
const RETRY_MS = 200;
const SPLIT_KEY = 'list/1';
const SPLIT_TRIES = 5;

/** Every name that a client of this load may have. */
export const ELDERS: readonly string[] = [
  ...Array.from({ length: MAX_LIVES }, (_, i) => `client-elder-${i + 1}`),
  ...Array.from({ length: MAX_MORTALS }, (_, i) => `client-mortal-${i + 1}`),
];

/** What elders and mortals came to, before there were any. */
export const NO_ELDERS = {
  elderReads: 0,
  elderCompared: 0,
  elderCollected: 0,
  elderRefused: 0,
  elderDeaths: 0,
  elderPauses: 0,
  pairsBegun: 0,
  pairsCommitted: 0,
  mortals: 0,
};

/**
 * Clients for whom old versions matter. The elder lives in the past; it is paused and killed with snapshots and
 * transactions open. Mortals begin one transaction each, and die somewhere in the middle of its commit.
 */
export class ElderLoad {
  readonly #counts = { ...NO_ELDERS };
  readonly #parts: ElderLoadParts;
  readonly #elders: ElderWorld;
  readonly #random: Random;
  #sessions: readonly ElderSession[] = [];
  #database: Database | undefined;
  #phase: 'trouble' | 'peace' = 'trouble';

  constructor(parts: ElderLoadParts) {
    this.#parts = parts;
    this.#random = seededRandom(parts.random() * 2 ** 32);
    const counts = this.#counts;
    this.#elders = { ...parts, reference: new VersionReference(), pairs: new KeyPairs(), counts };
  }

  get counts(): Readonly<typeof NO_ELDERS> {
    return { ...this.#counts, elderCompared: this.#elders.reference.compared };
  }

  start(): void {
    void this.#live(1);
    this.#nextMortal(1);
  }

  /** Whether the elder is there. */
  get isComplete(): boolean {
    return this.#sessions.length > 0;
  }

  /** Peace: nobody is paused or dies any more. */
  spare(): void {
    this.#phase = 'peace';
  }

  /** Resolves when the elder has done some more, in peace, and nothing is under way any more. */
  async stop(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.stop(ACTS_IN_PEACE)));
  }

  /**
   * Makes what decides about pairs an old version, waits until it is collected, and reads everything.
   * @param limit milliseconds of each
   * @returns what did not succeed
   */
  async readEverything(limit: number): Promise<string | undefined> {
    const [session] = this.#sessions;
    const { safePoints } = this.#parts;
    if (session === undefined) return 'the elder is dead';
    let old: bigint | undefined;
    const isOld = await this.#within(limit, async () => {
      old = await session.touch(1);
      return old !== undefined;
    });
    if (!isOld) return 'nothing could be written';
    const at = old ?? 0n;
    const isCollected = await this.#within(limit, async () => safePoints.gc >= at);
    if (!isCollected && !safePoints.areHeldBelow(at))
      return `the GC safe point stays at ${safePoints.gc}, and nobody holds it below ${at}`;
    return (await this.#within(limit, () => session.readEverything())) ? undefined : 'not all could be read';
  }

  async #within(limit: number, done: () => Promise<boolean>): Promise<boolean> {
    const { world } = this.#parts;
    const deadline = world.now() + limit;
    while (!(await done())) {
      if (world.now() >= deadline) return false;
      await this.#sleep(RETRY_MS);
    }
    return true;
  }

  async close(): Promise<void> {
    await this.#database?.close();
  }

  async #live(life: number): Promise<void> {
    const { network, rate, trace, world } = this.#parts;
    const name = `client-elder-${life}`;
    const clock = new MachineClock(world, rate());
    const random = seededRandom(this.#random() * 2 ** 32);
    const database = await this.#connect({ name, clock, random });
    const sessions = Array.from(
      { length: SESSIONS },
      (_, i) => new ElderSession({ ...this.#elders, name: `${name}/${i + 1}`, database, clock, random }),
    );
    this.#sessions = sessions;
    this.#database = database;
    if (life === 1) void this.#split(database);
    this.#pauseLater(clock, name);
    if (life === MAX_LIVES) return;
    world.setTimeout(() => {
      if (this.#phase !== 'trouble') return;
      trace.event(`kill ${name}`);
      this.#counts.elderDeaths++;
      this.#sessions = [];
      clock.kill();
      network.crash(name);
      world.setTimeout(() => void this.#live(life + 1), DOWNTIME_MS * random());
    }, MAX_LIFE_MS * this.#random());
  }

  /** Whoever wants both keys of a pair has to ask two regions, as far as nobody merges them. */
  async #split(database: Database): Promise<void> {
    for (let i = 0; i < SPLIT_TRIES && this.#phase === 'trouble'; i++) {
      try {
        await database.cluster.splitRegion(SPLIT_KEY, { space: 'txn', timeout: TIMEOUT_MS });
        return;
      } catch (error) {
        if (!(error instanceof TroupeError)) throw error;
        await this.#sleep(RETRY_MS);
      }
    }
  }

  /** It stands still, with what it holds, and goes on as if nothing had happened. */
  #pauseLater(clock: MachineClock, name: string): void {
    const { trace, world } = this.#parts;
    world.setTimeout(() => {
      if (this.#phase !== 'trouble' || clock.killed) return;
      trace.event(`pause ${name}`);
      this.#counts.elderPauses++;
      clock.pause();
      world.setTimeout(() => {
        if (clock.killed) return;
        trace.event(`resume ${name}`);
        clock.resume();
        this.#pauseLater(clock, name);
      }, MAX_PAUSE_MS * this.#random());
    }, PAUSE_EVERY_MS * this.#random());
  }

  #nextMortal(number: number): void {
    if (number > MAX_MORTALS) return;
    this.#parts.world.setTimeout(() => {
      if (this.#phase !== 'trouble') return;
      void this.#mortal(number);
      this.#nextMortal(number + 1);
    }, MORTAL_EVERY_MS * this.#random());
  }

  async #mortal(number: number): Promise<void> {
    const { network, rate, trace, world } = this.#parts;
    const { pairs, counts } = this.#elders;
    const name = `client-mortal-${number}`;
    const clock = new MachineClock(world, rate());
    const random = seededRandom(this.#random() * 2 ** 32);
    let frames = Number.POSITIVE_INFINITY;
    let transaction: Transaction | undefined;
    /** It dies when the commit of its primary has left, and nothing after that; or after some messages. */
    const isHalfDone = random() < HALF_DONE;
    const die = (): void => {
      if (clock.killed) return;
      trace.event(`kill ${name}`);
      clock.kill();
      network.crash(name);
    };
    const database = await this.#connect({ name, clock, random }, () => {
      const isOver = isHalfDone ? transaction?.commitTimestamp !== undefined : --frames <= 0;
      if (isOver) world.setTimeout(die, 0);
    });
    let pair: number | undefined;
    try {
      const onePc = !isHalfDone && random() < 0.2;
      const asyncCommit = !isHalfDone && random() < 0.3;
      transaction = await database.begin({ timeout: TIMEOUT_MS, onePc, asyncCommit });
      pair = pairs.begin();
      counts.pairsBegun++;
      this.#counts.mortals++;
      for (const key of pairs.keysOf(pair)) transaction.put(key, `by ${transaction.startTimestamp}`);
      frames = Math.ceil(MAX_FRAMES * random());
      await transaction.commit();
      counts.pairsCommitted++;
      pairs.ended(pair, 'committed');
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      trace.event(`${name}: ${error.code}`);
      if (pair !== undefined && error.code !== 'undetermined') pairs.ended(pair, 'failed');
    }
    die();
  }

  /** Tries until it stands. @param sent is told of each message */
  async #connect(
    who: Required<Pick<ConnectOptions, 'name' | 'random'>> & { readonly clock: MachineClock },
    sent: () => void = () => {},
  ): Promise<Database> {
    const { cluster, network, scheduler, trace } = this.#parts;
    for (;;) {
      try {
        const transport = counting(pausable(network.transport(who.name), who.clock), sent);
        return await connect({ ...who, cluster, transport, schedulers: [scheduler], timeout: TIMEOUT_MS });
      } catch (error) {
        trace.event(`${who.name} cannot connect: ${String(error)}`);
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#parts.world.setTimeout(resolve, ms));
  }
}

import { type Random, realClock, seededRandom } from '../../actors/index.js';
import { type Database, TroupeError } from '../../cluster/index.js';
import { type RegionAct, RegionActs } from '../chaos/region-acts.js';
import { eventually } from './command.js';

export interface TxnTroubleOptions {
  readonly db: Database;
  readonly seed: number;
  /** Some key of the workload. */
  readonly key: (random: Random) => string;
  readonly said: (line: string) => void;
}

/** Acts that must be done at least once, and how often one that was not is preferred to a random one. */
const WANTED: readonly RegionAct[] = ['merge', 'split', 'transfer'];
const INSISTENCE = 0.5;
const REGIONS = 12;
/**
 * Of so many kills one is that of a scheduler. Then a round of garbage collection is let through: it wants to hear from
 * every store under one scheduler, or half a minute.
 */
const SCHEDULER_TURN = 3;
/** Milliseconds that a round of garbage collection may take before another is asked for. */
const ROUND_MS = 15_000;
const PAUSE_MS = 500;
/** A round may end so while nodes are killed. */
const PASSING = ['failed', 'timeout', 'unavailable'];

/** Random acts on regions of transactional keys, nodes that are killed, and garbage that is collected, until it is stopped. */
export class TxnTrouble {
  readonly acts: RegionActs;
  readonly faults: string[] = [];
  readonly kills = { store: 0, scheduler: 0 };
  /** Rounds of garbage collection that were seen to end well. */
  rounds = 0;
  readonly #options: TxnTroubleOptions;
  readonly #random: Random;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: TxnTroubleOptions) {
    const { db, seed, key, said } = options;
    this.#options = options;
    this.#random = seededRandom(seed);
    this.acts = new RegionActs({
      cluster: db.cluster,
      space: 'txn',
      firstKey: (start, timeout) => firstTxnKey(db, start, timeout),
      clock: realClock,
      key,
      mostRegions: REGIONS,
      began: (_, sentence) => {
        said(sentence);
        return (fate, how) => said(`${sentence}: ${fate} ${how}`);
      },
    });
  }

  start(): void {
    this.#running = Promise.all([this.#act(), this.#act(), this.#kill(), this.#collect()]);
  }

  /** What was to be done at least once and was not yet. */
  get undone(): RegionAct[] {
    return WANTED.filter((act) => this.acts.counts[act].done === 0);
  }

  /** Resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #act(): Promise<void> {
    while (!this.#stopped) {
      const [undone] = this.#random() < INSISTENCE ? this.undone : [];
      await this.acts.one(this.#random, undone).catch((error: unknown) => this.faults.push(String(error)));
      await pause();
    }
  }

  async #kill(): Promise<void> {
    const { db, said } = this.#options;
    while (!this.#stopped) {
      // A second one at once would take a majority from regions that the first one has left without a leader.
      const status = await eventually('everything is up', async () => {
        const seen = await db.cluster.status().catch(() => undefined);
        const nodes = [...(seen?.stores ?? []), ...(seen?.schedulers ?? [])];
        const whole =
          nodes.every(({ state, pid }) => state === 'Up' && pid > 0) &&
          seen?.regions.every(({ leader }) => leader !== null);
        return whole ? seen : undefined;
      });
      const { store, scheduler } = this.kills;
      const kind = (store + scheduler) % SCHEDULER_TURN === 1 ? 'scheduler' : 'store';
      const nodes = kind === 'store' ? status.stores : status.schedulers;
      const victim = nodes[Math.floor(this.#random() * nodes.length)];
      if (victim === undefined) throw new Error('nobody can be killed');
      process.kill(victim.pid, 'SIGKILL');
      this.kills[kind]++;
      said(`${victim.node} is killed`);
      await eventually(`${victim.node} is back`, async () => {
        const now = await db.cluster.status().catch(() => undefined);
        const same = [...(now?.stores ?? []), ...(now?.schedulers ?? [])].find(
          ({ node }) => node === victim.node,
        );
        return same !== undefined && same.pid > 0 && same.pid !== victim.pid && same.state === 'Up'
          ? true
          : undefined;
      });
      const { rounds } = this;
      if (kind === 'scheduler')
        await eventually('garbage is collected', () => this.#stopped || this.rounds > rounds || undefined);
    }
  }

  async #collect(): Promise<void> {
    const { db, said } = this.#options;
    while (!this.#stopped) {
      try {
        const { gcSafeTime, last } = await db.cluster.gc.run({ timeout: ROUND_MS });
        this.rounds++;
        said(`collected up to ${gcSafeTime}, ${last?.locks ?? 0} locks`);
      } catch (error) {
        const passing = error instanceof TroupeError && PASSING.includes(error.code);
        if (passing) said(`not collected: ${error.message}`);
        else this.faults.push(`gc run: ${String(error)}`);
      }
      await pause();
    }
  }
}

async function firstTxnKey(db: Database, start: string, timeout: number): Promise<Uint8Array | undefined> {
  const snapshot = await db.snapshot({ timeout });
  try {
    for await (const { key } of snapshot.scan({ start, limit: 1 })) return key;
    return undefined;
  } finally {
    await snapshot.close();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    realClock.setTimeout(resolve, PAUSE_MS);
  });
}

import { type Random, realClock } from '../../actors/index.js';
import type { Database } from '../../cluster/index.js';
import type { TransactionalDatabase } from '../isolation/database.js';
import { type IsolationVerdict, IsolationWorkload, type WorkloadClient } from '../isolation/workload.js';
import { eventually } from './command.js';
import { MortalClient } from './mortal-client.js';

export interface TxnClientsOptions {
  readonly servers: string;
  readonly cluster: string;
  readonly random: Random;
  readonly said: (line: string) => void;
}

/** Clients at a time, each with transactions side by side. */
const CLIENTS = 3;
const SESSIONS = 2;
/** Messages of a mortal client's life, at least and at most. */
const SHORTEST_LIFE = 20;
const LONGEST_LIFE = 600;
const TIMEOUT_MS = 5_000;
/** A client may look for some seconds what became of it; the rest is for a machine that does other things, too. */
const GRACE_MS = 25_000;
const LISTS = 5;
const PAUSE_MS = 150;

/**
 * Clients with transactions on lists and at a bank, each with a connection of its own. While they are mortal each
 * dies after some message, in the middle of whatever it does, and another takes its place.
 */
export class TxnClients {
  readonly workload: IsolationWorkload;
  readonly counts = { returned: 0, failed: 0, unknown: 0, deaths: 0 };
  readonly #options: TxnClientsOptions;
  readonly #living = new Map<number, readonly WorkloadClient[]>();
  readonly #clients: MortalClient[] = [];
  #mortal = false;
  #lives = 0;
  #stopped = false;

  constructor(options: TxnClientsOptions) {
    this.#options = options;
    this.workload = new IsolationWorkload({ random: options.random, lists: LISTS });
  }

  async start(): Promise<void> {
    await Promise.all(Array.from({ length: CLIENTS }, (_, place) => this.#live(place)));
  }

  becomeMortal(): void {
    this.#mortal = true;
    for (const client of this.#clients) client.dieAfter(this.#lifetime());
  }

  /**
   * All stop, and each that lives gets one more transaction through, reads everything, and counts the money.
   * @param limit milliseconds for all that is read
   */
  async stop(limit: number): Promise<IsolationVerdict> {
    this.#mortal = false;
    for (const client of this.#clients) client.dieAfter(Number.POSITIVE_INFINITY);
    await eventually('every client is there', () => this.#living.size === CLIENTS || undefined);
    this.#stopped = true;
    const sessions = [...this.#living.values()].flat();
    await Promise.all(sessions.map((one) => one.stop()));
    await Promise.all(sessions.map((one) => one.progress()));
    await sessions[0]?.readEverything(limit);
    return this.workload.verdict();
  }

  async close(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#living.values()].flat().map((one) => one.stop()));
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #live(place: number): Promise<void> {
    const { random, servers, cluster, said } = this.#options;
    const life = ++this.#lives;
    const name = `client ${place + 1}, life ${life}`;
    while (!this.#stopped) {
      try {
        const client = await MortalClient.connect({
          servers,
          cluster,
          random,
          died: () => {
            this.counts.deaths++;
            this.#living.delete(place);
            said(`${name} dies`);
            void this.#live(place);
          },
        });
        this.#clients.push(client);
        if (this.#stopped) return await client.close();
        if (this.#mortal) client.dieAfter(this.#lifetime());
        this.#living.set(
          place,
          Array.from({ length: SESSIONS }, (_, i) =>
            this.workload.join({
              name: `${name}, session ${i + 1}`,
              database: inEveryWay(client.database, random),
              clock: client.clock,
              random,
              timeout: TIMEOUT_MS,
              grace: GRACE_MS,
              pause: PAUSE_MS,
              ended: (fate) => this.counts[fate]++,
            }),
          ),
        );
        return;
      } catch (error) {
        said(`${name} cannot connect: ${String(error)}`);
        await new Promise<void>((resolve) => {
          realClock.setTimeout(resolve, PAUSE_MS);
        });
      }
    }
  }

  #lifetime(): number {
    return SHORTEST_LIFE + Math.floor((LONGEST_LIFE - SHORTEST_LIFE) * this.#options.random());
  }
}

/** Transactions commit in whichever way they may: in one phase, when their keys are locked, or with their primary. */
function inEveryWay(database: Database, random: Random): TransactionalDatabase {
  return {
    transaction: (fn, options) =>
      database.transaction(fn, { ...options, onePc: random() < 0.5, asyncCommit: random() < 0.5 }),
    snapshot: (options) => database.snapshot(options),
  };
}

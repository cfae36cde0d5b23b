import { expect } from 'chai';
import type { Database } from '../../../cluster/client/database.js';
import { TroupeError } from '../../../cluster/errors.js';
import { ELECTION_TIMEOUT_MS, type TestCluster, withCluster } from './cluster.js';

export interface Trouble {
  readonly clients: number;
  /** Raft messages are lost, more in every round where there are no partitions. */
  readonly unreliable?: boolean;
  readonly partitions?: boolean;
  /** All stores stop and start again after each iteration. */
  readonly crash?: boolean;
  /** Entries of a log above which it is cut, so that who lags behind needs a snapshot. */
  readonly logLimit?: number;
}

const ITERATIONS = 3;
const RUN_MS = 5_000;
/** TinyKV's Request: at least ten rounds, and 5 s. */
const REQUEST_MS = 5_000;
const REQUEST_ROUNDS = 10;
const ROUND_MS = 1_000;
const RETRY_PAUSE_MS = 100;
const LOSS = 0.1;
/** Conditions under which a request is made again. A put that is made again is the same put. */
const RETRIED: readonly TroupeError['code'][] = ['unavailable', 'timeout', 'undetermined'];

/** One operation, made again as TinyKV's Request does it. */
export async function must<T>(cluster: TestCluster, operation: (timeout: number) => Promise<T>): Promise<T> {
  const deadline = cluster.now() + REQUEST_MS;
  for (let round = 1; ; round++) {
    try {
      return await operation(ROUND_MS);
    } catch (error) {
      if (!(error instanceof TroupeError && RETRIED.includes(error.code))) throw error;
      if (round >= REQUEST_ROUNDS && cluster.now() >= deadline) throw error;
      await cluster.sleep(RETRY_PAUSE_MS);
    }
  }
}

/**
 * TinyKV's GenericTest over clients of the real library: every client puts its next key or scans all its keys so far,
 * and a scan must show exactly its puts, in order. After each of three iterations, each with its trouble, every client
 * finds all of its puts once more and deletes them.
 * @returns how many puts and scans were checked
 */
export async function genericTest(seed: number, trouble: Trouble): Promise<{ puts: number; scans: number }> {
  const counts = { puts: 0, scans: 0 };
  await withCluster(
    seed,
    async (cluster) => {
      const clients: Client[] = [];
      for (let id = 0; id < trouble.clients; id++)
        clients.push(new Client(cluster, await cluster.connect(), id));
      await cluster.sleep(1_000);
      for (let i = 0; i < ITERATIONS; i++) {
        const end = cluster.now() + RUN_MS;
        const running = Promise.all(clients.map((client) => client.run(end)));
        const outcome = running.then(
          () => undefined,
          (error: unknown) => ({ error }),
        );
        await makeTrouble(cluster, trouble, end);
        cluster.links.heal();
        const failure = await outcome;
        if (failure !== undefined) throw failure.error;
        // TinyKV rests before it stops the stores; here they stop while what the last answer promised is still warm.
        if (trouble.crash) await cluster.stopStores();
        await cluster.sleep(ELECTION_TIMEOUT_MS);
        if (trouble.crash) await cluster.startStores();
        await Promise.all(clients.map((client) => client.scan()));
        await cluster.mustAgree();
        await Promise.all(clients.map((client) => client.clear()));
      }
      for (const client of clients) {
        counts.puts += client.puts;
        counts.scans += client.scans;
      }
      if (trouble.logLimit !== undefined) await cluster.mustHaveShortLogs(2 * trouble.logLimit);
    },
    trouble,
  );
  return counts;
}

async function makeTrouble(
  cluster: TestCluster,
  { unreliable, partitions }: Trouble,
  end: number,
): Promise<void> {
  if (unreliable || partitions) {
    await cluster.sleep(300);
    while (cluster.now() < end) {
      if (partitions) {
        cluster.links.heal();
        cluster.links.partition(cluster.stores.filter(() => cluster.random() < 0.5).map(({ name }) => name));
      }
      if (unreliable) cluster.links.drop(LOSS);
      await cluster.sleep(ELECTION_TIMEOUT_MS + Math.floor(200 * cluster.random()));
    }
  }
  await cluster.sleep(Math.max(0, end - cluster.now()));
}

class Client {
  puts = 0;
  scans = 0;
  readonly #cluster: TestCluster;
  readonly #database: Database;
  readonly #id: number;
  #values: string[] = [];

  constructor(cluster: TestCluster, database: Database, id: number) {
    this.#cluster = cluster;
    this.#database = database;
    this.#id = id;
  }

  async run(end: number): Promise<void> {
    while (this.#cluster.now() < end) {
      if (this.#cluster.random() < 0.5) await this.#put();
      else await this.scan();
    }
  }

  /** Deletes all its keys. */
  async clear(): Promise<void> {
    const keys = this.#values.map((_, j) => this.#key(j));
    await must(this.#cluster, (timeout) => this.#database.raw.batchDelete(keys, { timeout }));
    this.#values = [];
    await this.scan();
  }

  async #put(): Promise<void> {
    const j = this.#values.length;
    const value = `x ${this.#id} ${j} y`;
    await must(this.#cluster, (timeout) => this.#database.raw.put(this.#key(j), value, { timeout }));
    this.#values.push(value);
    this.puts++;
  }

  /** Everything that it has put is there, once and in order. */
  async scan(): Promise<void> {
    const end = this.#key(this.#values.length);
    const found = await must(this.#cluster, async (timeout) => {
      const values: string[] = [];
      for await (const { value } of this.#database.raw.scan({ start: this.#key(0), end, timeout })) {
        values.push(Buffer.from(value).toString());
      }
      return values;
    });
    expect(found.join('')).equals(this.#values.join(''));
    this.scans++;
  }

  #key(j: number): string {
    return `${this.#id} ${String(j).padStart(8, '0')}`;
  }
}

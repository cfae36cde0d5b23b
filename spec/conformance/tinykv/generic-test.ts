import { expect } from 'chai';
import type { Database } from '../../../cluster/client/database.js';
import { TroupeError } from '../../../cluster/errors.js';
import { ELECTION_TIMEOUT_MS, ON_REAL_GROUND, type TestCluster, withCluster } from './cluster.js';
import { Regions } from './regions.js';
import { mustAgree, mustHaveShortLogs } from './stored-regions.js';

export interface Trouble {
  readonly clients: number;
  /** Raft messages are lost, more in every round where there are no partitions. */
  readonly unreliable?: boolean;
  readonly partitions?: boolean;
  /** All stores stop and start again after each iteration. */
  readonly crash?: boolean;
  /** Entries of a log above which it is cut, so that who lags behind needs a snapshot. */
  readonly logLimit?: number;
  /** Peers of regions are added and removed at random, while the first iteration runs. */
  readonly confChange?: boolean;
  /** Bytes above which regions are split. */
  readonly split?: { readonly maxBytes: number; readonly splitBytes: number };
}

export interface GenericCounts {
  readonly puts: number;
  readonly scans: number;
  readonly changes: number;
  readonly regions: number;
}

const ITERATIONS = 3;
const RUN_MS = 5_000;
/** TinyKV's Request: at least ten rounds, and 5 s. */
const REQUEST_MS = 5_000;
const REQUEST_ROUNDS = 10;
const ROUND_MS = 1_000;
const RETRY_PAUSE_MS = 100;
/**
 * On virtual time an operation takes no processor, so that clients would do as many as no machine does. They pause for what
 * they would take of it, this long at most for each client that wants some.
 */
const PAUSE_MS_PER_CLIENT = 8;
const LOSS = 0.1;
/** What comes first of the trouble, and how much later members change. */
const TROUBLE_AFTER_MS = 300;
const CONF_CHANGE_AFTER_MS = 100;
const MAX_CONF_CHANGE_PAUSE_MS = 200;
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
 * @returns how many puts and scans were checked, how often members changed, and the regions at the end
 */
export async function genericTest(seed: number, trouble: Trouble): Promise<GenericCounts> {
  const counts = { puts: 0, scans: 0, changes: 0, regions: 0 };
  await withCluster(
    seed,
    async (cluster) => {
      const clients: Client[] = [];
      for (let id = 0; id < trouble.clients; id++)
        clients.push(new Client(cluster, await cluster.connect(), id, PAUSE_MS_PER_CLIENT * trouble.clients));
      await cluster.sleep(1_000);
      for (let i = 0; i < ITERATIONS; i++) {
        const end = cluster.now() + RUN_MS;
        const running = outcomeOf(Promise.all(clients.map((client) => client.run(end))));
        // TinyKV stops changing members for good after the first iteration.
        const changing = outcomeOf(
          trouble.confChange && i === 0
            ? changeMembers(cluster, trouble, end, () => counts.changes++)
            : Promise.resolve(),
        );
        await makeTrouble(cluster, trouble, end);
        cluster.links.heal();
        await succeed(running);
        // TinyKV rests before it stops the stores; here they stop while what the last answer promised is still warm.
        if (trouble.crash) await cluster.stopStores();
        await cluster.sleep(ELECTION_TIMEOUT_MS);
        if (trouble.crash) await cluster.startStores();
        await Promise.all(clients.map((client) => client.scan()));
        // The last change may have been under way all this time.
        await succeed(changing);
        await mustAgree(cluster);
        await Promise.all(clients.map((client) => client.clear()));
      }
      for (const client of clients) {
        counts.puts += client.puts;
        counts.scans += client.scans;
      }
      if (trouble.logLimit !== undefined) await mustHaveShortLogs(cluster, 2 * trouble.logLimit);
      const regions = await (await Regions.of(cluster)).all();
      counts.regions = regions.length;
      if (trouble.split !== undefined) expect(regions[0]?.endKey, 'the first region was split').not.empty;
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
    await cluster.sleep(TROUBLE_AFTER_MS);
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

/** Adds a peer on a store that has none of a region, or removes the one that is there, unless it is the last. */
async function changeMembers(
  cluster: TestCluster,
  { unreliable, partitions }: Trouble,
  end: number,
  changed: () => void,
): Promise<void> {
  const regions = await Regions.of(cluster);
  await cluster.sleep((unreliable || partitions ? TROUBLE_AFTER_MS : 0) + CONF_CHANGE_AFTER_MS);
  while (cluster.now() < end) {
    const region = await regions.random();
    const store = cluster.stores[Math.floor(cluster.stores.length * cluster.random())];
    if (store === undefined) throw new Error('there is no store');
    const peer = region.peers.find(({ storeId }) => storeId === store.id);
    if (peer === undefined || region.peers.length > 1) {
      if (peer === undefined) await regions.mustAddPeer(region.id, store);
      else await regions.mustRemovePeer(region.id, peer);
      changed();
    }
    await cluster.sleep(Math.floor(MAX_CONF_CHANGE_PAUSE_MS * cluster.random()));
  }
}

type Outcome = Promise<{ readonly error: unknown } | undefined>;

/** What became of something that is waited for later. */
function outcomeOf(promise: Promise<unknown>): Outcome {
  return promise.then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
}

async function succeed(outcome: Outcome): Promise<void> {
  const failure = await outcome;
  if (failure !== undefined) throw failure.error;
}

class Client {
  puts = 0;
  scans = 0;
  readonly #cluster: TestCluster;
  readonly #database: Database;
  readonly #id: number;
  readonly #pause: number;
  #values: string[] = [];

  constructor(cluster: TestCluster, database: Database, id: number, pause: number) {
    this.#pause = pause;
    this.#cluster = cluster;
    this.#database = database;
    this.#id = id;
  }

  async run(end: number): Promise<void> {
    while (this.#cluster.now() < end) {
      if (this.#cluster.random() < 0.5) await this.#put();
      else await this.scan();
      if (!ON_REAL_GROUND) await this.#cluster.sleep(this.#pause * this.#cluster.random());
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

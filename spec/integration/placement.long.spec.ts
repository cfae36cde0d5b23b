import { expect } from 'chai';
import { ActorSystem, natsTransport, realClock, seededRandom } from '../../actors/index.js';
import { type ClusterStatus, connect, type Database } from '../../cluster/index.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { codecs } from '../../cluster/protocol.js';
import { metapb } from '../../storage/proto/index.js';
import { checkRegions } from '../chaos/region-health.js';
import { Workload } from '../linearizability/workloads.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

const CLUSTER = 'placed';
const SCHEDULERS = ['scheduler-1', 'scheduler-2', 'scheduler-3'];
const SEED = 5;
const RECORDS = 3_000;
const RECORD_BYTES = 1_024;
/** What the records come to at least, at 128 KiB a region. */
const LEAST_REGIONS = 16;
const TIMESTAMP_CALLERS = 8;

describe('stores that come, go and die, under three schedulers', function () {
  this.timeout(400_000);
  let place: Workplace;
  let nats: TestNatsServer;
  let system: ActorSystem;
  let pd: SchedulerClient;
  let databases: Database[] = [];
  const schedulers = new Map<string, RunningCommand>();
  const stores = new Map<number, RunningCommand>();

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    for (const name of SCHEDULERS) startScheduler(name);
    for (const id of [1, 2, 3]) startStore(id);
    system = await ActorSystem.start({
      cluster: CLUSTER,
      node: 'probe',
      role: 'server',
      transport: natsTransport({ servers: [nats.url] }),
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    pd = new SchedulerClient({
      system,
      cluster: CLUSTER,
      schedulers: SCHEDULERS,
      clock: realClock,
      random: Math.random,
    });
    databases = await Promise.all([0, 1].map(() => connect(connection())));
    await eventually('the first put', () =>
      databases[0]?.raw.put('data/', '').then(
        () => true,
        () => undefined,
      ),
    );
  });
  after(async () => {
    await Promise.all(databases.map((db) => db.close()));
    pd?.close();
    await system?.close();
    await place?.close();
    await nats?.stop();
  });

  const connection = () => ({ servers: nats.url, cluster: CLUSTER, schedulers: SCHEDULERS });
  const common = (name: string) => [
    ...['--name', name, '--cluster', CLUSTER, '--nats', nats.url],
    ...['--schedulers', SCHEDULERS.join(), '--data', place.path(name)],
  ];

  function startScheduler(name: string): void {
    schedulers.set(name, place.start(['scheduler', ...common(name), '--expected-stores', '3']));
  }

  function startStore(id: number): void {
    const small = ['--region-split-size', '128KiB', '--split-check-interval', '1s'];
    stores.set(id, place.start(['store', ...common(`store-${id}`), ...small]));
  }

  const steer = (change: Partial<Omit<troupepb.SteerPlacementRequest, 'header'>>) =>
    pd.request('pd.steerPlacement', NOTHING_TO_STEER(change), { timeout: 20_000 });

  const status = (): Promise<ClusterStatus | undefined> =>
    databases[0]?.cluster.status().catch(() => undefined) ?? Promise.resolve(undefined);

  /** Every region has three voters on these stores, and no store has much more than another. */
  const placed = (ids: readonly number[]): Promise<ClusterStatus> =>
    eventually(`whole and even regions on the stores ${ids.join(', ')}`, async () => {
      const seen = await status();
      if (seen === undefined || seen.regions.length < LEAST_REGIONS) return undefined;
      const whole = seen.regions.every(
        ({ peers, leader }) =>
          leader !== null &&
          peers.length === 3 &&
          peers.every(({ store, role }) => role === 'voter' && ids.includes(store)),
      );
      return whole && isEven(seen.regions, ids) ? seen : undefined;
    });

  /** The leading scheduler dies once all are up, and is started again. */
  const killLeader = async (): Promise<void> => {
    const name = await eventually('all schedulers are up, and one leads', async () => {
      const seen = await status();
      const up = seen?.schedulers.every(({ state, pid }) => state === 'Up' && pid > 0) ?? false;
      return up ? seen?.schedulers.find(({ leader }) => leader)?.node : undefined;
    });
    const leader = schedulers.get(name);
    leader?.signal('SIGKILL');
    await leader?.ended;
    startScheduler(name);
  };

  it('every region ends whole and even, nothing acknowledged is lost, and timestamps grow', async () => {
    const workload = new Workload({ clock: realClock, random: seededRandom(SEED), databases });
    const [db] = databases;
    if (db === undefined) throw new Error('no database');
    await load(db);
    await steer({ setting: { name: 'store-limit', value: '6000' } });
    await steer({ setting: { name: 'max-store-down-time', value: '8s' } });
    await placed([1, 2, 3]);

    workload.start();
    const time = new Timestamps(databases);
    time.start();
    await killLeader();
    startStore(4);
    await killLeader();
    await placed([1, 2, 3, 4]);
    await steer({ storeState: { storeId: 1, state: metapb.StoreState.Offline } });
    await killLeader();
    await placed([2, 3, 4]);
    const gone = await stores.get(1)?.ended;
    expect(gone?.stderr).to.match(/removed from the cluster for good/);
    startStore(5);
    await killLeader();
    await placed([2, 3, 4, 5]);
    stores.get(2)?.signal('SIGKILL');
    await killLeader();
    await placed([3, 4, 5]);

    await time.stop();
    await workload.stop();
    expect(time.faults).to.deep.equal([]);
    expect(time.given).to.be.greaterThan(1_000);

    await workload.readEverything(60_000);
    const checkUntil = realClock.now() + 60_000;
    const verdict = workload.verdict(() => realClock.now() > checkUntil);
    expect(verdict.violations, verdict.evidence.slice(0, 2_000)).to.deep.equal([]);
    expect(await records(db)).to.equal(RECORDS);
    await placed([3, 4, 5]);
    const { now } = realClock;
    await checkRegions({ cluster: db.cluster, stores: [3, 4, 5], now, deadline: now() + 90_000 });
  });
});

const NOTHING_TO_STEER = (change: Partial<Omit<troupepb.SteerPlacementRequest, 'header'>>) => ({
  setting: undefined,
  scheduler: undefined,
  storeState: undefined,
  storeLabels: undefined,
  storeLimit: undefined,
  ...change,
});

function isEven(regions: ClusterStatus['regions'], ids: readonly number[]): boolean {
  const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts);
  const replicas = ids.map(
    (id) => regions.filter(({ peers }) => peers.some(({ store }) => store === id)).length,
  );
  const leaders = ids.map((id) => regions.filter(({ leader }) => leader === id).length);
  return spread(replicas) <= 2 && spread(leaders) <= 2;
}

const recordKey = (n: number) => `data/${String(n).padStart(6, '0')}`;

async function load(db: Database): Promise<void> {
  const value = 'v'.repeat(RECORD_BYTES);
  for (let from = 0; from < RECORDS; from += 100) {
    const batch = Array.from({ length: 100 }, (_, i): [string, string] => [recordKey(from + i), value]);
    await db.raw.batchPut(batch, { timeout: 60_000 });
  }
}

async function records(db: Database): Promise<number> {
  let found = 0;
  for await (const { value } of db.raw.scan({ prefix: 'data/' })) if (value.length === RECORD_BYTES) found++;
  return found;
}

/** Callers who ask for timestamps all the time: each must be new, and above all that were given before it was asked for. */
class Timestamps {
  readonly faults: string[] = [];
  given = 0;
  readonly #databases: readonly Database[];
  readonly #seen = new Set<bigint>();
  #highest = 0n;
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(databases: readonly Database[]) {
    this.#databases = databases;
  }

  start(): void {
    const callers = Array.from({ length: TIMESTAMP_CALLERS }, (_, i) =>
      this.#ask(this.#databases[i % this.#databases.length]),
    );
    this.#running = Promise.all(callers);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #ask(db: Database | undefined): Promise<void> {
    while (!this.#stopped && db !== undefined) {
      const before = this.#highest;
      const given = await db.cluster.timestamp({ timeout: 10_000 }).catch((error: unknown) => {
        this.faults.push(String(error));
        return undefined;
      });
      if (given === undefined) continue;
      this.given++;
      if (this.#seen.has(given)) this.faults.push(`${given} was given twice`);
      if (given <= before) this.faults.push(`${given} was given after ${before}`);
      this.#seen.add(given);
      if (given > this.#highest) this.#highest = given;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/**
 * What many idle regions cost: three stores, a scheduler and a nats-server on this machine, each a process of its own.
 *
 * `node --expose-gc dist/spec/bench/idle-regions.js --regions 10000` makes the regions, restarts all stores at once, and
 * prints how long it took until any of them served, then what the idle stores say to each other, how long their event loops were
 * held, and what a peer takes of the heap; then what it costs when one store dies. `--awake` runs without hibernation.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect as dial } from '@nats-io/transport-node';
import { readEnvelopes } from '../../actors/envelopes.js';
import { usageOf } from '../../cluster/bench/processes.js';
import { connect } from '../../cluster/client/index.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { startScheduler } from '../../cluster/scheduler/index.js';
import { startStore } from '../../cluster/store/index.js';
import { loadRegionState, openRocksEngine, RaftLog, saveRegionState } from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TestNatsServer } from '../nats-server.js';

const CLUSTER = 'idle';
const STORES = ['store-1', 'store-2', 'store-3'] as const;
/** Above every id that the scheduler has given out. */
const FIRST_ID = 1_000_000;
/** Regions written in one batch. */
const AT_ONCE = 500;
const NO_KEY = new Uint8Array(0);

interface Sample {
  readonly regions: number;
  readonly leaders: number;
  readonly leaderless: number;
  readonly awake: number;
  /** Bytes. */
  readonly heap: number;
  /** Milliseconds since the last sample. */
  readonly delayP50: number;
  readonly delayP99: number;
  readonly delayMax: number;
}

const { values } = parseArgs({
  options: {
    regions: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '20' },
    awake: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    role: { type: 'string' },
    name: { type: 'string', default: '' },
    directory: { type: 'string', default: '' },
    nats: { type: 'string', default: '' },
  },
});
// One node in its own process.

async function child(role: string): Promise<void> {
  const { name, directory, nats, awake } = values;
  const common = { cluster: CLUSTER, name, dataDir: directory, nats: { servers: nats } };
  process.on('disconnect', () => process.exit());
  if (role === 'scheduler') {
    const node = await startScheduler({ ...common, expectedStores: STORES.length });
    process.on('message', () => void node.close().then(() => process.exit()));
    process.send?.('started');
    return;
  }
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const node = await startStore({ ...common, tuning: { hibernate: !awake } });
  process.send?.('started');
  process.on('message', (message) => {
    if (message === 'close') void node.close().then(() => process.exit());
    else process.send?.(sampleOf(node, delay, message === 'measure'));
  });
}

function sampleOf(
  node: Awaited<ReturnType<typeof startStore>>,
  delay: ReturnType<typeof monitorEventLoopDelay>,
  collects: boolean,
): Sample {
  const milliseconds = (nanoseconds: number): number => Math.round(nanoseconds / 1e5) / 10 - 5;
  const delayP50 = milliseconds(delay.percentile(50));
  const delayP99 = milliseconds(delay.percentile(99));
  const delayMax = milliseconds(delay.max);
  if (collects) (globalThis as { gc?: () => void }).gc?.();
  let leaders = 0;
  let leaderless = 0;
  for (const { raftGroup } of node.replicas.values()) {
    if (raftGroup?.isLeader) leaders++;
    else if (raftGroup?.leader === 0) leaderless++;
  }
  const heap = process.memoryUsage().heapUsed;
  const { awake } = node.counters;
  // The collection and the count were ours.
  if (collects) setTimeout(() => delay.reset(), 100);
  return { regions: node.replicas.size, leaders, leaderless, awake, heap, delayP50, delayP99, delayMax };
}

// The parent.

class Node {
  #child: ChildProcess | undefined;

  constructor(
    readonly name: string,
    readonly directory: string,
    readonly nats: string,
  ) {}

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    const role = this.name.startsWith('store') ? 'store' : 'scheduler';
    const args = ['--role', role, '--name', this.name, '--directory', this.directory, '--nats', this.nats];
    if (values.awake) args.push('--awake');
    const child = fork(fileURLToPath(import.meta.url), args, {
      execArgv: ['--expose-gc', '--max-semi-space-size=2'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    });
    this.#child = child;
    await once(child, 'message');
  }

  async close(): Promise<void> {
    const ended = this.#child && once(this.#child, 'exit');
    this.#child?.send('close');
    await ended;
  }

  async kill(): Promise<void> {
    const ended = this.#child && once(this.#child, 'exit');
    this.#child?.kill('SIGKILL');
    await ended;
  }

  /** @param how `measure` collects garbage first, and begins a new measurement of the event loop */
  async sample(how: 'sample' | 'measure' = 'sample'): Promise<Sample> {
    const child = this.#child;
    if (child === undefined) throw new Error(`${this.name} is down`);
    child.send(how);
    const [sample] = (await once(child, 'message')) as [Sample];
    return sample;
  }
}

async function main(regions: number, seconds: number): Promise<void> {
  const nats = await TestNatsServer.start();
  const directory = await mkdtemp(join(tmpdir(), 'troupe-idle-'));
  const node = (name: string): Node => new Node(name, join(directory, name), nats.url);
  const scheduler = node('scheduler-1');
  const stores = STORES.map(node);
  const sampleAll = (): Promise<Sample[]> => Promise.all(stores.map((store) => store.sample()));
  try {
    await scheduler.start();
    await Promise.all(stores.map((store) => store.start()));
    await until(async () => (await sampleAll()).every((sample) => sample.regions === 1));
    await Promise.all(stores.map((store) => store.close()));
    for (const [i] of stores.entries()) await populate(stores[i] as Node, regions);
    console.log(`${regions} regions on three stores, ${values.awake ? 'all awake' : 'hibernating'}`);

    await Promise.all(stores.map((store) => store.start()));
    await report('first start: all regions led', () => ledEverywhere(sampleAll, regions));
    await report('known to the scheduler', () => knownToScheduler(nats.url, regions));
    await restart(stores, nats.url, regions, sampleAll);
    await idle(stores, nats, seconds, sampleAll);
    await loss(stores, nats.url, regions, sampleAll);
  } finally {
    await Promise.all([...stores, scheduler].map((one) => one.kill()));
    await nats.stop();
    await rm(directory, { recursive: true, force: true });
  }
  process.exit();
}

/** Writes the regions into the store's directory as if they had been split off the first one, which is buried. */
async function populate({ directory, name }: Node, count: number): Promise<void> {
  const engine = await openRocksEngine({ path: directory });
  const log = new RaftLog(engine);
  const first = (await loadRegionState(engine, 1))?.region;
  if (first === undefined) throw new Error(`${name} has no first region`);
  const tombstone = { state: raft_serverpb.PeerState.Tombstone, region: first, mergeState: undefined };
  for (let from = 0; from < count; from += AT_ONCE) {
    const batch = engine.batch();
    if (from === 0) saveRegionState(batch, 1, tombstone);
    for (let i = from; i < Math.min(count, from + AT_ONCE); i++) {
      const id = FIRST_ID + 10 * i;
      const peers = first.peers.map(({ storeId }, at) => ({
        id: id + 1 + at,
        storeId,
        role: metapb.PeerRole.Voter,
      }));
      const region: metapb.Region = {
        id,
        startKey: i === 0 ? NO_KEY : boundary(i),
        endKey: i === count - 1 ? NO_KEY : boundary(i + 1),
        regionEpoch: { confVer: 1, version: 2 },
        peers,
      };
      saveRegionState(batch, id, { state: raft_serverpb.PeerState.Normal, region, mergeState: undefined });
      log.create(batch, id, INITIAL_LOG, {
        voters: peers.map((peer) => peer.id),
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      });
    }
    await engine.write(batch);
  }
  await engine.sync();
  await engine.close();
}

function userKey(i: number): string {
  return String(i).padStart(8, '0');
}

function boundary(i: number): Uint8Array {
  return Buffer.from(`r${userKey(i)}`);
}

async function ledEverywhere(sampleAll: () => Promise<Sample[]>, regions: number): Promise<void> {
  let last = performance.now();
  await until(async () => {
    const samples = await sampleAll();
    if (values.verbose && performance.now() - last > 1_000) {
      last = performance.now();
      const line = ({ leaders, leaderless, awake, delayMax }: Sample): string =>
        `${leaders} leaders ${leaderless} leaderless ${awake} awake, held for ${delayMax.toFixed(0)} ms`;
      console.log(`    ${samples.map(line).join('; ')}`);
    }
    return samples.reduce((sum, { leaders }) => sum + leaders, 0) === regions;
  });
}

async function knownToScheduler(servers: string, regions: number): Promise<void> {
  const db = await connect({ servers, cluster: CLUSTER });
  await until(async () => (await db.cluster.status({ timeout: 60_000 })).regions.length >= regions);
  await db.close();
}

/** All stores at once, as after a power failure. */
async function restart(
  stores: readonly Node[],
  servers: string,
  regions: number,
  sampleAll: () => Promise<Sample[]>,
): Promise<void> {
  await Promise.all(stores.map((store) => store.kill()));
  const began = performance.now();
  const starting = Promise.all(
    stores.map(async (store) => {
      await store.start();
      console.log(`  ${store.name} has started after ${seconds(began)}`);
    }),
  );
  const db = await connect({ servers, cluster: CLUSTER });
  const served = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      await db.raw.get(userKey(Math.floor((i * regions) / 40)), { timeout: 120_000 });
      return performance.now() - began;
    }),
  );
  const after = (waited: number): string => `${(waited / 1_000).toFixed(1)} s`;
  console.log(
    `  of forty regions that were asked at once the first served after ${after(Math.min(...served))}, ` +
      `half after ${after(median(served))}, all after ${after(Math.max(...served))}`,
  );
  await starting;
  await ledEverywhere(sampleAll, regions);
  const cpu = usageOf(stores.map(({ pid }) => pid)).cpuSeconds;
  console.log(
    `  all regions were led after ${seconds(began)}, for ${cpu.toFixed(1)} s of CPU time of the stores`,
  );
  const more: number[] = [];
  for (let i = 0; i < 100; i++) {
    const asked = performance.now();
    await db.raw.put(userKey(Math.floor((i * regions) / 100)), 'v', { timeout: 60_000 });
    more.push(performance.now() - asked);
  }
  console.log(
    `  then a put into each of 100 regions: median ${ms(median(more))}, slowest ${ms(Math.max(...more))}`,
  );
  await db.close();
}

async function idle(
  stores: readonly Node[],
  nats: TestNatsServer,
  duration: number,
  sampleAll: () => Promise<Sample[]>,
): Promise<void> {
  if (values.awake) await pause(5_000);
  else
    await report('everybody asleep', () =>
      until(async () => (await sampleAll()).every(({ awake }) => awake === 0)),
    );
  const measure = (): Promise<Sample[]> => Promise.all(stores.map((store) => store.sample('measure')));
  await measure();
  await pause(1_000);
  const before = stores.map(({ pid }) => usageOf([pid]).cpuSeconds);
  await pause(duration * 1_000);
  const cpu = stores.map(({ pid }, i) => (usageOf([pid]).cpuSeconds - (before[i] ?? 0)) / duration);
  for (const [i, sample] of (await measure()).entries()) {
    const { leaders, awake, heap, delayP50, delayP99, delayMax } = sample;
    console.log(
      `  ${STORES[i]}: ${leaders} leaders, ${awake} awake, ${((cpu[i] ?? 0) * 100).toFixed(1)} % of a core, ` +
        `event loop p50 ${delayP50.toFixed(1)} p99 ${delayP99.toFixed(1)} max ${delayMax.toFixed(1)} ms, ` +
        `heap ${(heap / 2 ** 20).toFixed(0)} MiB, ${(heap / 1024 / sample.regions).toFixed(1)} KiB a peer`,
    );
  }
  console.log('  messages between servers in 10 s:', await overheard(nats.url, 10_000));
}

async function overheard(servers: string, duration: number): Promise<Record<string, number>> {
  const connection = await dial({ servers });
  const kinds: Record<string, number> = {};
  connection.subscribe(`troupe.${CLUSTER}.peer.*`, {
    callback: (_error, message) => {
      for (const { kind, tag } of readEnvelopes(message.data)) {
        const what = kind === '' ? String(tag) : kind;
        kinds[what] = (kinds[what] ?? 0) + 1;
      }
    },
  });
  await pause(duration);
  await connection.close();
  return kinds;
}

/** One store dies, and comes back. */
async function loss(
  stores: readonly Node[],
  servers: string,
  regions: number,
  sampleAll: () => Promise<Sample[]>,
): Promise<void> {
  const [first, ...others] = stores;
  if (first === undefined) return;
  const samples = (): Promise<Sample[]> => Promise.all(others.map((store) => store.sample()));
  await first.kill();
  const began = performance.now();
  await ledEverywhere(samples, regions);
  console.log(`  ${first.name} died: all regions were led after ${seconds(began)}`);
  const db = await connect({ servers, cluster: CLUSTER });
  const asked = performance.now();
  await db.raw.get(userKey(0), { timeout: 60_000 });
  console.log(`  a read then took ${ms(performance.now() - asked)}`);
  await db.close();
  if (!values.awake) {
    await until(async () => (await samples()).every(({ awake }) => awake === 0));
    console.log(`  everybody slept after ${seconds(began)}`);
  }
  const back = performance.now();
  await first.start();
  console.log(`  ${first.name} was back after ${seconds(back)}`);
  await until(async () => (await first.sample()).leaderless === 0);
  console.log(`  it knew all leaders after ${seconds(back)}`);
  if (values.awake) return;
  await until(async () => (await sampleAll()).every(({ awake }) => awake === 0));
  console.log(`  everybody slept after ${seconds(back)}`);
}

async function report(what: string, act: () => Promise<void>): Promise<void> {
  const began = performance.now();
  await act();
  console.log(`${what}: ${seconds(began)}`);
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(200);
}

function pause(duration: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration));
}

function median(numbers: readonly number[]): number {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`;
}

function ms(duration: number): string {
  return `${duration.toFixed(0)} ms`;
}

if (values.role === undefined) await main(Number(values.regions), Number(values.seconds));
else await child(values.role);

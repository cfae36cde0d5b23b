/** What many regions cost that all take puts, and for how long a split or a transfer keeps a region from taking them. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from './histogram.js';
import { keyIn, type RegionsCluster } from './regions-cluster.js';
import { benchValue, VALUE_BYTES } from './workload.js';

const WARMUP_MS = 3_000;
const PUT_TIMEOUT_MS = 60_000;
/** Keys of each region. */
const KEYS = 100;

export interface PutFigures {
  readonly regions: number;
  readonly clients: number;
  readonly putsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** Microseconds of CPU a put. */
  readonly stores: number;
  readonly nats: number;
  readonly scheduler: number;
  readonly client: number;
  readonly fsyncs: number;
  /** Worst of the stores, ms. */
  readonly delayP99: number;
}

/** Puts by so many clients, each with one request in flight, on keys drawn from so many regions. */
export async function measurePuts(
  cluster: RegionsCluster,
  options: {
    readonly regions: number;
    readonly spread: number;
    readonly clients: number;
    readonly seconds: number;
    readonly profiles: string | undefined;
  },
): Promise<PutFigures> {
  const { regions, spread, clients, seconds, profiles } = options;
  const load = new Load(cluster, spread, clients);
  await sleep(WARMUP_MS);
  return cluster.profiled(profiles, `puts-${regions}`, async () => {
    await cluster.observeStores('observe');
    load.histogram = new Histogram();
    const [before, syncs, from] = [cluster.cpu(), await cluster.counted('syncs'), performance.now()];
    await sleep(seconds * 1000);
    const { histogram } = load;
    load.histogram = new Histogram();
    const [after, took] = [cluster.cpu(), (performance.now() - from) / 1000];
    const fsyncs = (await cluster.counted('syncs')) - syncs;
    const delays = await cluster.observeStores('observe');
    await load.end();
    const puts = Math.max(1, histogram.count);
    const used = (names: readonly string[]) =>
      (names.reduce((sum, name) => sum + (after.get(name) ?? 0) - (before.get(name) ?? 0), 0) * 1e6) / puts;
    return {
      regions,
      clients,
      putsPerSecond: puts / took,
      p50: histogram.percentile(50) / 1000,
      p99: histogram.percentile(99) / 1000,
      stores: used(cluster.stores),
      nats: used(['nats-server']),
      scheduler: used(['scheduler-1']),
      client: used(['client']),
      fsyncs: fsyncs / puts,
      delayP99: Math.max(...[...delays.values()].map(({ delayP99 }) => delayP99)),
    };
  });
}

/** Clients that put until they are told to end. */
class Load {
  histogram = new Histogram();
  #over = false;
  readonly #running: Promise<unknown>;

  constructor(cluster: RegionsCluster, regions: number, clients: number) {
    const values = Array.from({ length: 64 }, (_, i) => benchValue(i, VALUE_BYTES));
    const client = async (): Promise<void> => {
      while (!this.#over) {
        const key = keyIn(Math.floor(Math.random() * regions), Math.floor(Math.random() * KEYS));
        const value = values[Math.floor(Math.random() * values.length)] ?? '';
        const from = performance.now();
        await cluster.db.raw.put(key, value, { timeout: PUT_TIMEOUT_MS });
        this.histogram.record((performance.now() - from) * 1000);
      }
    };
    this.#running = Promise.all(Array.from({ length: clients }, client));
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#running;
  }
}

/** Longest times between two acknowledged puts of a region around a change of it, ms. */
export interface PauseFigures {
  readonly change: 'none' | 'split' | 'transfer';
  readonly times: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Puts into each half of the region that changes. */
const WRITERS_A_HALF = 2;
const BEFORE_MS = 300;
const AFTER_MS = 700;

/** Changes regions one after the other, while they and others take puts. */
export async function measurePauses(
  cluster: RegionsCluster,
  options: { readonly regions: number; readonly times: number; readonly clients: number },
): Promise<PauseFigures[]> {
  const { regions, times, clients } = options;
  const load = new Load(cluster, regions, clients);
  await sleep(WARMUP_MS);
  const figures: PauseFigures[] = [];
  for (const change of ['none', 'split', 'transfer'] as const) {
    const gaps: number[] = [];
    for (let i = 0; i < times; i++) {
      // Another one each time.
      const region = Math.floor(((i + 0.5) * regions) / times) + (change === 'transfer' ? 1 : 0);
      gaps.push(await longestGap(cluster, region, await preparedChange(cluster, change, region)));
    }
    gaps.sort((a, b) => a - b);
    const at = (share: number) => gaps[Math.min(gaps.length - 1, Math.ceil(share * gaps.length) - 1)] ?? 0;
    figures.push({ change, times, p50: at(0.5), p99: at(0.99), max: gaps.at(-1) ?? 0 });
  }
  await load.end();
  return figures;
}

/** Looked up before, so that nothing but the change itself falls into the time that is watched. */
async function preparedChange(
  { db }: RegionsCluster,
  change: PauseFigures['change'],
  region: number,
): Promise<() => Promise<unknown>> {
  const terms = { timeout: PUT_TIMEOUT_MS, wait: false };
  if (change === 'split') return () => db.cluster.splitRegion(keyIn(region, KEYS / 2), terms);
  if (change === 'none') return async () => {};
  const { id, leader, peers } = await db.cluster.regionOf(keyIn(region, 0));
  const target = peers.find(({ store }) => store !== leader)?.store ?? 0;
  return () => db.cluster.transferLeader(id, target, terms);
}

async function longestGap(
  { db }: RegionsCluster,
  region: number,
  change: () => Promise<unknown>,
): Promise<number> {
  let over = false;
  /** Of both halves, each with the time of its last acknowledgement. */
  const halves = [0, 1].map(() => ({ last: 0, longest: 0 }));
  let watching = false;
  const acknowledged = (half: { last: number; longest: number }): void => {
    const now = performance.now();
    if (watching && half.last > 0) half.longest = Math.max(half.longest, now - half.last);
    half.last = now;
  };
  const writer = async (half: (typeof halves)[number], key: string): Promise<void> => {
    while (!over) {
      await db.raw.put(key, benchValue(1, VALUE_BYTES), { timeout: PUT_TIMEOUT_MS });
      acknowledged(half);
    }
  };
  const running = Promise.all(
    halves.flatMap((half, h) =>
      Array.from({ length: WRITERS_A_HALF }, (_, i) => writer(half, keyIn(region, (h * KEYS) / 2 + i))),
    ),
  );
  await sleep(BEFORE_MS);
  watching = true;
  await change();
  await sleep(AFTER_MS);
  over = true;
  await running;
  return Math.max(...halves.map(({ longest }) => longest));
}

import type { Random } from '../../actors/index.js';
import { type ChaosCluster, type ChaosStore, START_LIMIT_MS } from './cluster.js';
import type { RegionAct, RegionActs } from './region-acts.js';

export const FAULT_KINDS = ['kill', 'stop', 'nats', 'cut', 'scheduler', 'region'] as const;
/**
 * - `kill`: SIGKILL of a store, in half of the cases the leader's, now and then of all of them
 * - `stop`: SIGSTOP of a store, for less than an election timeout, for more, and for longer than NATS waits
 * - `nats`: SIGKILL or SIGSTOP of the nats-server
 * - `cut`: a store's cable to the nats-server delays, swallows one or both directions, or breaks
 * - `scheduler`: SIGKILL of the scheduler
 * - `region`: a region is split, merged or moved, its peers or its leader change
 */
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface FaultContext {
  readonly cluster: ChaosCluster;
  readonly random: Random;
  readonly regions: RegionActs;
  /** The act on a region, when it is not to be drawn. */
  readonly act?: RegionAct | undefined;
  readonly sleep: (ms: number) => Promise<void>;
  /** A fault begins; @returns what to call when it has been undone */
  readonly began: (sentence: string) => () => void;
  /** A store was killed; `leader`: it led, as far as the scheduler knew. */
  readonly killed: (leader: boolean) => void;
}

/** How often all stores are killed at once. */
const KILL_ALL = 0.04;
const KILL_LEADER = 0.5;
const LONGEST_DOWN_MS = 1_500;

type Range = readonly [least: number, most: number];

/** SIGSTOPs in milliseconds: below the election timeout of 1 to 2 s, above it, beyond what NATS waits for a pong. */
const PAUSES: readonly Range[] = [
  [100, 800],
  [2_000, 5_000],
  [8_000, 11_000],
];
const CUTS: readonly { readonly name: string; readonly ms: Range; cut(store: ChaosStore): void }[] = [
  { name: 'stalls', ms: [200, 4_000], cut: ({ cable }) => cable.stall() },
  { name: 'swallows what the store sends', ms: [1_000, 8_000], cut: ({ cable }) => cable.blackHole('up') },
  {
    name: 'swallows what the store is sent',
    ms: [1_000, 8_000],
    cut: ({ cable }) => cable.blackHole('down'),
  },
  { name: 'swallows everything', ms: [1_000, 8_000], cut: ({ cable }) => cable.blackHole('both') },
  { name: 'breaks once', ms: [0, 0], cut: ({ cable }) => cable.reset() },
  { name: 'breaks and is refused', ms: [500, 3_000], cut: ({ cable }) => cable.refuse() },
];

/** Makes one fault of a kind, waits, and undoes it. @throws Error when a node does not come back */
export function makeFault(kind: FaultKind, context: FaultContext): Promise<void> {
  switch (kind) {
    case 'kill':
      return context.random() < KILL_ALL ? killAll(context) : killOne(context);
    case 'stop':
      return stopStore(context);
    case 'nats':
      return stopNats(context);
    case 'cut':
      return cutCable(context);
    case 'scheduler':
      return killScheduler(context);
    case 'region':
      return context.regions.one(context.random, context.act);
  }
}

async function killOne(context: FaultContext): Promise<void> {
  const { cluster, random, sleep, began, killed } = context;
  const leader = await cluster.leader();
  const aimed = random() < KILL_LEADER && leader?.busy === false ? leader : idleStore(context);
  if (aimed === undefined) return sleep(100);
  const down = random() * LONGEST_DOWN_MS;
  await using(aimed, async () => {
    const title = `kill ${aimed.node.name}${aimed === leader ? ' (leader)' : ''}, down ${down.toFixed(0)} ms`;
    const over = began(title);
    killed(aimed === leader);
    await aimed.node.kill();
    await sleep(down);
    await aimed.node.start(START_LIMIT_MS);
    over();
  });
}

async function killAll({ cluster, random, sleep, began, killed }: FaultContext): Promise<void> {
  const stores = cluster.stores.filter(({ busy }) => !busy);
  const down = random() * LONGEST_DOWN_MS;
  const over = began(`kill ${stores.map(({ node }) => node.name).join(' ')}, down ${down.toFixed(0)} ms`);
  await Promise.all(
    stores.map((store) =>
      using(store, async () => {
        killed(false);
        await store.node.kill();
        await sleep(down);
        await store.node.start(START_LIMIT_MS);
      }),
    ),
  );
  over();
}

async function stopStore(context: FaultContext): Promise<void> {
  const { random, sleep, began, cluster } = context;
  const leader = random() < 0.4 ? await cluster.leader() : undefined;
  const store = leader?.busy === false ? leader : idleStore(context);
  if (store === undefined) return sleep(100);
  const ms = draw(random, pick(random, PAUSES));
  await using(store, async () => {
    const over = began(`stop ${store.node.name} for ${ms.toFixed(0)} ms`);
    const resume = store.node.pause();
    await sleep(ms);
    resume();
    over();
  });
}

async function stopNats({ cluster, random, sleep, began }: FaultContext): Promise<void> {
  const { nats } = cluster;
  const down = random() * 2_000;
  if (random() < 0.6) {
    const over = began(`kill nats-server, down ${down.toFixed(0)} ms`);
    await nats.kill();
    await sleep(down);
    await nats.restart();
    over();
  } else {
    const over = began(`stop nats-server for ${(2 * down).toFixed(0)} ms`);
    nats.pause();
    await sleep(2 * down);
    nats.resume();
    over();
  }
}

async function cutCable(context: FaultContext): Promise<void> {
  const { random, sleep, began } = context;
  const store = idleStore(context);
  if (store === undefined) return sleep(100);
  const { name, ms: range, cut } = pick(random, CUTS);
  const ms = draw(random, range);
  await using(store, async () => {
    const over = began(`cable of ${store.node.name} ${name}, ${ms.toFixed(0)} ms`);
    cut(store);
    await sleep(ms);
    store.cable.heal();
    over();
  });
}

async function killScheduler({ cluster, random, sleep, began }: FaultContext): Promise<void> {
  const down = random() * 2_000;
  const over = began(`kill scheduler-1, down ${down.toFixed(0)} ms`);
  await cluster.scheduler.kill();
  await sleep(down);
  await cluster.scheduler.start(START_LIMIT_MS);
  over();
}

function idleStore({ cluster, random }: FaultContext): ChaosStore | undefined {
  const idle = cluster.stores.filter(({ busy }) => !busy);
  return idle[Math.floor(random() * idle.length)];
}

async function using(store: ChaosStore, work: () => Promise<void>): Promise<void> {
  store.busy = true;
  try {
    await work();
  } finally {
    store.busy = false;
  }
}

function draw(random: Random, [least, most]: Range): number {
  return least + random() * (most - least);
}

function pick<T>(random: Random, all: readonly T[]): T {
  const one = all[Math.floor(random() * all.length)];
  if (one === undefined) throw new Error('there is nothing to choose from');
  return one;
}

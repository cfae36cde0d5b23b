/** What many regions cost that nobody uses, and how long they take to be back after all stores died. */

import { setTimeout as sleep } from 'node:timers/promises';
import { connect as dial } from '@nats-io/transport-node';
import { readEnvelopes } from '../../actors/index.js';
import { keyIn, type RegionsCluster } from './regions-cluster.js';
import { benchValue, VALUE_BYTES } from './workload.js';

/** After the regions were made: elections, reports and the sleep of regions that rest. */
const SETTLE_MS = 15_000;
const OVERHEAR_MS = 5_000;
const DIED_LOOK_MS = 50;
const GET_TIMEOUT_MS = 120_000;
const WRITERS = 64;

export interface IdleFigures {
  readonly regions: number;
  readonly makingSeconds: number;
  /** Longest time for which a store's event loop was held while the regions were made, ms. */
  readonly makingDelayMax: number;
  readonly framesPerSecond: number;
  /** Envelopes a second between servers, by what they are. */
  readonly envelopesPerSecond: Readonly<Record<string, number>>;
  readonly stores: readonly {
    readonly name: string;
    readonly peers: number;
    /** More than the empty store had, after a collection, bytes. */
    readonly heapPerPeer: number;
    readonly residentBytes: number;
    readonly delayP50: number;
    readonly delayP99: number;
    readonly delayMax: number;
  }[];
  /** Share of one core, by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

export async function measureIdle(
  cluster: RegionsCluster,
  options: { readonly regions: number; readonly seconds: number; readonly profiles: string | undefined },
): Promise<IdleFigures> {
  const { regions, seconds, profiles } = options;
  const empty = await cluster.observeStores('collect');
  await cluster.observeStores('observe');
  const from = performance.now();
  await cluster.profiled(profiles, 'making', () => cluster.makeRegions(regions));
  const makingSeconds = (performance.now() - from) / 1000;
  const making = await cluster.observeStores('observe');
  await sleep(SETTLE_MS);
  const full = await cluster.observeStores('collect');
  const overheard = await overhear(cluster);
  await cluster.observeStores('observe');
  const before = cluster.cpu();
  const began = performance.now();
  await sleep(seconds * 1000);
  const took = (performance.now() - began) / 1000;
  const cpu = [...cluster.cpu()].map(([name, used]) => [name, (used - (before.get(name) ?? 0)) / took]);
  const quiet = await cluster.observeStores('observe');
  await cluster.profiled(profiles, 'idle', () => (profiles === undefined ? sleep(0) : sleep(5_000)));
  const peers = (await cluster.counted('peers')) / cluster.stores.length;
  return {
    regions,
    makingSeconds,
    makingDelayMax: Math.max(...[...making.values()].map(({ delayMax }) => delayMax)),
    ...overheard,
    stores: cluster.stores.map((name) => {
      const { delayP50 = 0, delayP99 = 0, delayMax = 0 } = quiet.get(name) ?? {};
      const more = (full.get(name)?.heapUsed ?? 0) - (empty.get(name)?.heapUsed ?? 0);
      const heapPerPeer = more / Math.max(1, peers - 1);
      return {
        name,
        peers,
        heapPerPeer,
        residentBytes: cluster.residentBytes(name),
        delayP50,
        delayP99,
        delayMax,
      };
    }),
    cpu: Object.fromEntries(cpu),
  };
}

/** What servers send each other, listened to on the NATS server. */
async function overhear({
  natsUrl,
  name,
}: RegionsCluster): Promise<Pick<IdleFigures, 'framesPerSecond' | 'envelopesPerSecond'>> {
  const connection = await dial({ servers: natsUrl });
  let frames = 0;
  const kinds: Record<string, number> = {};
  connection.subscribe(`troupe.${name}.peer.>`, {
    callback: (error, message) => {
      if (error !== null) return;
      frames++;
      for (const { kind, tag } of readEnvelopes(message.data)) {
        const what = kind === '' ? tag : kind;
        kinds[what] = (kinds[what] ?? 0) + 1;
      }
    },
  });
  const from = performance.now();
  await sleep(OVERHEAR_MS);
  const seconds = (performance.now() - from) / 1000;
  await connection.close();
  return {
    framesPerSecond: frames / seconds,
    envelopesPerSecond: Object.fromEntries(
      Object.entries(kinds).map(([kind, count]) => [kind, count / seconds]),
    ),
  };
}

/** Seconds since the processes were killed. */
export interface RestartFigures {
  readonly killed: readonly string[];
  readonly sample: number;
  readonly firstGet: number;
  readonly p50Get: number;
  readonly lastGet: number;
  readonly allLed: number;
  /** Until the processes that were killed serve again. */
  readonly serving: number;
}

/**
 * @param killed names of stores, which die at once, by SIGKILL, and come back by themselves
 * @param wanted regions of which a key is read
 */
export async function measureRestart(
  cluster: RegionsCluster,
  regions: number,
  killed: readonly string[],
  wanted: number,
): Promise<RestartFigures> {
  const sample = Math.min(wanted, regions);
  const keys = Array.from({ length: sample }, (_, i) => keyIn(Math.floor((i * regions) / sample), 0));
  await putAll(cluster, keys);
  const pids = killed.map((name) => cluster.pidOf(name));
  const from = performance.now();
  const since = () => (performance.now() - from) / 1000;
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  const answered: number[] = [];
  const gets = keys.map(async (key) => {
    if ((await cluster.db.raw.get(key, { timeout: GET_TIMEOUT_MS })) === undefined)
      throw new Error(`${key} was acknowledged and is lost`);
    answered.push(since());
  });
  const led = (async () => {
    // What the dead led is not counted, and what they lead when they are back is.
    while ((await cluster.leaders()) < regions) await sleep(DIED_LOOK_MS);
    return since();
  })();
  const back = (async () => {
    while ((await cluster.counted('peers')) < regions * cluster.stores.length) await sleep(DIED_LOOK_MS);
    return since();
  })();
  const [allLed, serving] = await Promise.all([led, back, Promise.all(gets)]);
  return {
    killed,
    sample,
    firstGet: answered[0] ?? 0,
    p50Get: answered[Math.floor(answered.length / 2)] ?? 0,
    lastGet: answered.at(-1) ?? 0,
    allLed,
    serving,
  };
}

async function putAll(cluster: RegionsCluster, keys: readonly string[]): Promise<void> {
  let next = 0;
  const writer = async (): Promise<void> => {
    for (let i = next++; i < keys.length; i = next++) {
      await cluster.db.raw.put(keys[i] ?? '', benchValue(i, VALUE_BYTES), { timeout: GET_TIMEOUT_MS });
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

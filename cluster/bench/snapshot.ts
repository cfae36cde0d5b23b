/**
 * `npm run bench:snapshot`: a store that was away gets its whole region back by snapshot, while puts go on. What that
 * costs the puts, and the memory of the two stores.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { connectTo } from '../cli/connection.js';
import type { LocalCluster } from '../cli/local-cluster.js';
import { parseCount } from '../cli/settings.js';
import { print, say } from '../cli/terminal.js';
import type { Database } from '../index.js';
import { runBench } from './command.js';
import { Histogram } from './histogram.js';
import { startLocalCluster } from './target-troupe.js';
import { benchValue } from './workload.js';

const MIB = 2 ** 20;
/** Bytes of a value that makes up the region; of one that is put while it moves. */
const LOADED_VALUE_BYTES = 4096;
const PUT_VALUE_BYTES = 256;
const BATCH_KEYS = 100;
const LOADERS = 8;
const HOT_KEYS = 10_000;
const SAMPLE_MS = 50;
/** A log is cut when it is looked at; the store that is away must be behind that before it comes back. */
const CUT_WAIT_MS = 60_000;
const MOVE_LIMIT_MS = 600_000;

interface Figures {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly putsPerSecond: number;
  /** Largest heap and external memory of any store meanwhile, by store, MiB. */
  readonly memory: ReadonlyMap<string, number>;
}

async function main(words: readonly string[]): Promise<void> {
  const options = new Command('npm run bench:snapshot --')
    .description('Measures what it costs to bring a region of some size back to a store that was away.')
    .option('--mib <size>', 'size of the region', '1024')
    .option('--seconds <count>', 'of puts before and after', '15')
    .option('--clients <count>', 'clients that put meanwhile, each with one request in flight', '64')
    .option('--directory <dir>', 'where the servers keep their data: a real disk', tmpdir())
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<{ mib: string; seconds: string; clients: string; directory: string }>();
  const mib = parseCount('--mib', options.mib, 1, 1_048_576);
  const seconds = parseCount('--seconds', options.seconds, 1, 3_600);
  const clients = parseCount('--clients', options.clients, 1, 10_000);
  const directory = mkdtempSync(join(options.directory, 'troupe-bench-snapshot-'));
  const cluster = await startLocalCluster(directory);
  try {
    const db = await connectTo(cluster.settings);
    try {
      await measure(cluster, db, { mib, seconds, clients });
    } finally {
      await db.close();
    }
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  cluster: LocalCluster,
  db: Database,
  { mib, seconds, clients }: { mib: number; seconds: number; clients: number },
): Promise<void> {
  const { leader, away } = await roles(db);
  const pid = cluster.nodes().find(({ name }) => name === away)?.pid;
  if (pid === undefined) throw new Error(`${away} is not running`);
  say(`${leader} leads, ${away} is paused`);
  process.kill(pid, 'SIGSTOP');
  await load(db, mib);
  await logIsCut(cluster, leader);
  say('puts without it');
  const before = await putWhile(cluster, db, clients, () => sleep(seconds * 1000));
  const counted = () => cluster.counters().then((all) => all.get(away)?.snapshotsInstalled ?? 0);
  say(`${away} goes on`);
  const from = performance.now();
  process.kill(pid, 'SIGCONT');
  const during = await putWhile(cluster, db, clients, async () => {
    while ((await counted()) === 0) {
      if (performance.now() - from > MOVE_LIMIT_MS) throw new Error('the region did not arrive');
      await sleep(SAMPLE_MS);
    }
  });
  const took = (performance.now() - from) / 1000;
  // What was put meanwhile follows in the log.
  await sleep(5_000);
  say('puts with all three');
  const quiet = await putWhile(cluster, db, clients, () => sleep(seconds * 1000));
  const extra = (name: string) =>
    (during.memory.get(name) ?? 0) - Math.max(quiet.memory.get(name) ?? 0, before.memory.get(name) ?? 0);
  print(`region of ${mib} MiB installed after ${took.toFixed(1)} s, ${(mib / took).toFixed(0)} MiB/s`);
  print('');
  print(`| puts, ${clients} clients | puts/s | p50 ms | p99 ms | max ms |`);
  print('| --- | ---: | ---: | ---: | ---: |');
  for (const [title, { putsPerSecond, p50, p99, max }] of [
    ['two stores, before', before],
    ['while the region moves', during],
    ['three stores, quiet', quiet],
  ] as const) {
    print(
      `| ${title} | ${putsPerSecond.toFixed(0)} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${max.toFixed(1)} |`,
    );
  }
  print('');
  print(`p99 while it moves ÷ quiet: ${(during.p99 / quiet.p99).toFixed(2)}`);
  for (const [role, name] of [
    ['sender', leader],
    ['receiver', away],
  ] as const) {
    print(
      `${role}: heap and external at most ${during.memory.get(name)?.toFixed(0)} MiB while it moves, ${quiet.memory.get(name)?.toFixed(0)} quiet: ${extra(name).toFixed(0)} MiB more`,
    );
  }
}

/** The store that leads the region, and another. */
async function roles(db: Database): Promise<{ leader: string; away: string }> {
  for (;;) {
    const { stores, regions } = await db.cluster.status();
    const leader = stores.find(({ id }) => id === regions[0]?.leader);
    const away = stores.find(({ id }) => id !== leader?.id);
    if (leader !== undefined && away !== undefined) return { leader: leader.node, away: away.node };
    await sleep(100);
  }
}

async function load(db: Database, mib: number): Promise<void> {
  const count = Math.ceil((mib * MIB) / LOADED_VALUE_BYTES);
  let next = 0;
  let told = 0;
  const loader = async (): Promise<void> => {
    while (next < count) {
      const first = next;
      next += BATCH_KEYS;
      const pairs = Array.from({ length: Math.min(BATCH_KEYS, count - first) }, (_, i) => {
        const key = `row-${String(first + i).padStart(12, '0')}`;
        return [key, benchValue(first + i, LOADED_VALUE_BYTES)] as const;
      });
      await db.raw.batchPut(pairs, { timeout: 60_000 });
      const done = Math.floor((10 * first) / count);
      if (done <= told) continue;
      told = done;
      say(`loaded ${10 * done} %`);
    }
  };
  await Promise.all(Array.from({ length: LOADERS }, loader));
}

async function logIsCut(cluster: LocalCluster, leader: string): Promise<void> {
  const until = performance.now() + CUT_WAIT_MS;
  while (((await cluster.counters()).get(leader)?.logsCut ?? 0) === 0) {
    if (performance.now() > until) throw new Error('the log was not cut: load more');
    await sleep(SAMPLE_MS);
  }
}

/** Puts from `clients` loops until `end` resolves; samples the stores' memory meanwhile. */
async function putWhile(
  cluster: LocalCluster,
  db: Database,
  clients: number,
  end: () => Promise<void>,
): Promise<Figures> {
  const histogram = new Histogram();
  const memory = new Map<string, number>();
  const values = Array.from({ length: 64 }, (_, i) => benchValue(i, PUT_VALUE_BYTES));
  let over = false;
  let number = 0;
  const client = async (): Promise<void> => {
    while (!over) {
      const key = `hot-${number++ % HOT_KEYS}`;
      const from = performance.now();
      await db.raw.put(key, values[number % values.length] ?? '', { timeout: 60_000 });
      histogram.record((performance.now() - from) * 1000);
    }
  };
  const sampler = async (): Promise<void> => {
    while (!over) {
      for (const [name, { heapUsed = 0, external = 0 }] of await cluster.counters()) {
        memory.set(name, Math.max(memory.get(name) ?? 0, (heapUsed + external) / MIB));
      }
      await sleep(SAMPLE_MS);
    }
  };
  const from = performance.now();
  const running = Promise.all([sampler(), ...Array.from({ length: clients }, client)]);
  try {
    await Promise.race([end(), running]);
  } finally {
    over = true;
  }
  const seconds = (performance.now() - from) / 1000;
  await running;
  return {
    p50: histogram.percentile(50) / 1000,
    p99: histogram.percentile(99) / 1000,
    max: histogram.max / 1000,
    putsPerSecond: histogram.count / seconds,
    memory,
  };
}

await runBench(main);

/**
 * `npm run bench:timestamps`: how many timestamps a second the scheduler gives to the callers of one client, how long they
 * wait, and what it costs. Each caller checks that its timestamps grow.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { connectTo } from '../cli/connection.js';
import type { LocalCluster } from '../cli/local-cluster.js';
import { parseCount } from '../cli/settings.js';
import { grouped, paletteFor, print, say, table } from '../cli/terminal.js';
import type { Database } from '../index.js';
import { runBench } from './command.js';
import { Histogram } from './histogram.js';
import { usageOf } from './processes.js';
import { markdownTable } from './report.js';
import { startLocalCluster } from './target-troupe.js';

const WARMUP_MS = 1_000;
const MAX_CALLERS = 100_000;
/** Callers that note how long they waited; all would cost more than what is measured. */
const TIMED_CALLERS = 16;

interface Figures {
  readonly callers: number;
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** CPU of each process, in cores. */
  readonly client: number;
  readonly scheduler: number;
  readonly nats: number;
}

interface Options {
  readonly callers: string;
  readonly seconds: string;
  readonly directory: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

async function main(words: readonly string[]): Promise<void> {
  const options = new Command('npm run bench:timestamps --')
    .description('Measures how many timestamps a second the callers of one client are given.')
    .option('--callers <list>', 'callers, each with one request in flight', '1,64,1024,8192')
    .option('--seconds <count>', 'of each measurement', '5')
    .option('--directory <dir>', 'where the servers keep their data: a real disk', tmpdir())
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the table in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<Options>();
  const seconds = parseCount('--seconds', options.seconds, 1, 3_600);
  const counts = options.callers
    .split(',')
    .map((word) => parseCount('--callers', word.trim(), 1, MAX_CALLERS));
  const directory = mkdtempSync(join(options.directory, 'troupe-bench-timestamps-'));
  const cluster = await startLocalCluster(directory);
  const before = loadavg()[0] ?? 0;
  const figures: Figures[] = [];
  try {
    const db = await connectTo(cluster.settings);
    try {
      for (const callers of counts) {
        say(`${grouped(callers)} callers`);
        figures.push(await measure(cluster, db, callers, seconds));
      }
    } finally {
      await db.close();
    }
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  const load = [before, loadavg()[0] ?? 0];
  if (options.json) print(JSON.stringify({ load, figures }));
  else tell(figures, load, options.markdown === true);
}

async function measure(
  cluster: LocalCluster,
  db: Database,
  callers: number,
  seconds: number,
): Promise<Figures> {
  let histogram = new Histogram();
  let count = 0;
  let over = false;
  const caller = async (timed: boolean): Promise<void> => {
    let last = 0n;
    while (!over) {
      const from = timed ? performance.now() : 0;
      const timestamp = await db.cluster.timestamp();
      if (timed) histogram.record((performance.now() - from) * 1000);
      if (timestamp <= last) throw new Error(`timestamp ${timestamp} came after ${last}`);
      last = timestamp;
      count++;
    }
  };
  const running = Promise.all(Array.from({ length: callers }, (_, i) => caller(i < TIMED_CALLERS)));
  const observe = async (): Promise<Figures> => {
    await sleep(WARMUP_MS);
    histogram = new Histogram();
    const [first, cpu, from] = [count, cpuSeconds(cluster), performance.now()];
    await sleep(seconds * 1000);
    const took = (performance.now() - from) / 1000;
    const after = cpuSeconds(cluster);
    const cores = (name: string) => ((after.get(name) ?? 0) - (cpu.get(name) ?? 0)) / took;
    return {
      callers,
      perSecond: (count - first) / took,
      p50: histogram.percentile(50) / 1000,
      p99: histogram.percentile(99) / 1000,
      max: histogram.max / 1000,
      client: cores('client'),
      scheduler: cores('scheduler-1'),
      nats: cores('nats-server'),
    };
  };
  const early = running.then((): never => {
    throw new Error('the callers ended early');
  });
  let figures: Figures;
  try {
    figures = await Promise.race([observe(), early]);
  } finally {
    over = true;
    early.catch(() => undefined);
  }
  await running;
  return figures;
}

/** CPU seconds of each process so far, by its name; this one, with the callers, is `client`. */
function cpuSeconds(cluster: LocalCluster): ReadonlyMap<string, number> {
  const own = process.cpuUsage();
  return new Map([
    ...cluster.nodes().map(({ name, pid }) => [name, usageOf(pid ? [pid] : []).cpuSeconds] as const),
    ['client', (own.user + own.system) / 1e6] as const,
  ]);
}

function tell(figures: readonly Figures[], load: readonly number[], markdown: boolean): void {
  const rows = [
    ['callers', 'timestamps/s', 'p50 ms', 'p99 ms', 'max ms', 'client CPU, cores', 'scheduler', 'nats'],
    ...figures.map((one) => [
      grouped(one.callers),
      grouped(one.perSecond),
      ...[one.p50, one.p99, one.max, one.client, one.scheduler, one.nats].map((value) => value.toFixed(2)),
    ]),
  ];
  print(markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
  print('');
  print(`load average ${load.map((one) => one.toFixed(1)).join(' to ')}`);
}

await runBench(main);

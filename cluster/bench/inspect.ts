/**
 * `npm run bench:inspect`: what an attached inspector costs. Slices of the same puts take turns, without an inspector and with
 * one that looks as the page does when it is opened; each pair of neighbours gives a ratio, so that a machine whose speed drifts
 * says little about either.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import {
  connectNats,
  DEFAULT_WANTED,
  InspectionObserver,
  natsObserver,
  realClock,
  silentLogger,
} from '../../actors/index.js';
import { parseCount } from '../cli/settings.js';
import { grouped, paletteFor, print, say, table } from '../cli/terminal.js';
import { connect } from '../index.js';
import { ClusterModel } from '../inspector/model.js';
import { runBench } from './command.js';
import { NO_MARKS, runLoad } from './load-loop.js';
import { usageOf } from './processes.js';
import { machine, markdownTable } from './report.js';
import { startLocalCluster } from './target-troupe.js';

interface Slice {
  readonly attached: boolean;
  readonly putsPerSecond: number;
  /** CPU of stores, scheduler and nats-server for a put, µs. */
  readonly serverMicroseconds: number;
  readonly p99: number;
  /** Records that nodes told, a second. */
  readonly records: number;
}

interface Flags {
  readonly clients: string;
  readonly seconds: string;
  readonly pairs: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

const VALUE = new Uint8Array(256).fill(0x78);
const KEYS = 100_000;
/** Prime to it: every key comes before any comes again. */
const KEY_STEP = 7919;
const WARMUP_SECONDS = 5;
/** Between two slices: whoever was told to stop looking has. */
const SETTLE_SECONDS = 0.5;

async function main(words: readonly string[]): Promise<void> {
  const flags = new Command('npm run bench:inspect --')
    .description('Measures puts with an inspector attached, against the same puts without.')
    .option('--clients <count>', 'puts under way at once', '256')
    .option('--seconds <count>', 'of a slice', '5')
    .option('--pairs <count>', 'of slices', '8')
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the table in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<Flags>();
  const slices = await measure(
    parseCount('--clients', flags.clients, 1, 10_000),
    parseCount('--seconds', flags.seconds, 1, 3_600),
    parseCount('--pairs', flags.pairs, 1, 1_000),
  );
  const result = summary(slices);
  if (flags.json) return print(JSON.stringify({ machine: machine(), ...result, slices }));
  const rows = [
    ['', 'puts/s', 'server CPU, µs a put', 'p99 ms', 'records/s'],
    row('detached', slices, false),
    row('attached', slices, true),
  ];
  print(flags.markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
  print(
    `attached / detached, median of pairs (quartiles): ${spread(result.throughput)} of the puts, ${spread(result.cpu)} of the CPU`,
  );
}

async function measure(clients: number, seconds: number, pairs: number): Promise<Slice[]> {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  const cluster = await startLocalCluster(directory);
  try {
    const { natsUrl, settings } = cluster;
    const db = await connect({ servers: natsUrl, cluster: settings.cluster });
    const connection = await connectNats({ servers: natsUrl }, 'bench', silentLogger, () => false);
    const model = new ClusterModel(Date.now);
    const observer = await InspectionObserver.open({
      watcher: 'bench',
      clock: realClock,
      open: natsObserver(connection, settings.cluster),
      onBatch: (batch) => model.take(batch),
    });
    let next = 0;
    const requests = {
      choose: () => 'put' as const,
      make: () => {
        next = (next + KEY_STEP) % KEYS;
        return db.raw.put(`key-${next}`, VALUE);
      },
    };
    const pids = (): number[] => cluster.nodes().flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    const slice = async (attached: boolean): Promise<Slice> => {
      if (attached) observer.want('all', DEFAULT_WANTED);
      const before = { ...usageOf(pids()), records: model.records };
      let [from, to] = [before, before];
      const load = await runLoad({ clients, warmupSeconds: SETTLE_SECONDS, seconds }, requests, {
        began: () => {
          from = { ...usageOf(pids()), records: model.records };
        },
        ended: () => {
          to = { ...usageOf(pids()), records: model.records };
        },
      });
      if (attached) observer.forgo('all');
      return {
        attached,
        putsPerSecond: load.operations / load.seconds,
        serverMicroseconds: ((to.cpuSeconds - from.cpuSeconds) * 1e6) / load.operations,
        p99: load.p99,
        records: (to.records - from.records) / load.seconds,
      };
    };
    await runLoad({ clients, warmupSeconds: 0, seconds: WARMUP_SECONDS }, requests, NO_MARKS);
    const slices: Slice[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      // A speed that only falls, or only rises, favours neither.
      for (const attached of pair % 2 === 0 ? [false, true] : [true, false])
        slices.push(await slice(attached));
      say(`pair ${pair + 1} of ${pairs}`);
    }
    await observer.close();
    await connection.close();
    await db.close();
    return slices;
  } finally {
    await cluster.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

interface Spread {
  readonly median: number;
  readonly quartiles: readonly [number, number];
}

function spread({ median: middle, quartiles: [low, high] }: Spread): string {
  return `${middle.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
}

function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? 0;
  return { median: median(sorted), quartiles: [at(0.25), at(0.75)] };
}

function summary(slices: readonly Slice[]): { readonly throughput: Spread; readonly cpu: Spread } {
  const ratios = (of: (slice: Slice) => number): number[] => {
    const found: number[] = [];
    for (let i = 0; i + 1 < slices.length; i += 2) {
      const pair = slices.slice(i, i + 2);
      const [on, off] = [pair.find(({ attached }) => attached), pair.find(({ attached }) => !attached)];
      if (on !== undefined && off !== undefined) found.push(of(on) / of(off));
    }
    return found;
  };
  return {
    throughput: spreadOf(ratios(({ putsPerSecond }) => putsPerSecond)),
    cpu: spreadOf(ratios(({ serverMicroseconds }) => serverMicroseconds)),
  };
}

function row(name: string, slices: readonly Slice[], attached: boolean): string[] {
  const own = slices.filter((slice) => slice.attached === attached);
  const of = (value: (slice: Slice) => number): number => median(own.map(value));
  return [
    name,
    grouped(Math.round(of(({ putsPerSecond }) => putsPerSecond))),
    of(({ serverMicroseconds }) => serverMicroseconds).toFixed(1),
    of(({ p99 }) => p99).toFixed(1),
    grouped(Math.round(of(({ records }) => records))),
  ];
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = 0, high = 0] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return (low + high) / 2;
}

await runBench(main);

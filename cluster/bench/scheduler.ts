/**
 * `npm run bench:scheduler`: what a scheduler needs for very many regions, and how many of their heartbeats it takes in a
 * second on one core, decoding and answering included, while its checkers and schedulers go round.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Command } from 'commander';
import { parseCount } from '../cli/settings.js';
import { bytes, grouped, paletteFor, print, table } from '../cli/terminal.js';
import { runBench } from './command.js';
import { markdownTable } from './report.js';
import { SchedulerAlone } from './scheduler-alone.js';

/** Heartbeats that come with one turn of the event loop. */
const AT_ONCE = 64;
const BEAT_MS = 1_000;

interface Figures {
  readonly regions: number;
  readonly stores: number;
  /** Heap and external memory of the replicated descriptors, and with what leaders tell, bytes a region. */
  readonly descriptorBytes: number;
  readonly regionBytes: number;
  /** Of the whole process's heap and external memory, with all regions. */
  readonly heapBytes: number;
  readonly heartbeatsPerSecond: number;
  /** CPU for a heartbeat, µs. */
  readonly cpuMicroseconds: number;
  /** Milliseconds, the longest turn of the event loop. */
  readonly longestTurn: number;
}

async function main(words: readonly string[]): Promise<void> {
  const options = new Command('npm run bench:scheduler --')
    .description("Measures a scheduler's memory for many regions, and the heartbeats that it takes.")
    .option('--regions <count>', 'with three voters each', '100000')
    .option('--stores <count>', 'that they are spread over', '100')
    .option('--seconds <count>', 'of heartbeats', '10')
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the table in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<{ regions: string; stores: string; seconds: string; json?: boolean; markdown?: boolean }>();
  const figures = await measure(
    parseCount('--regions', options.regions, 1, 1_000_000),
    parseCount('--stores', options.stores, 3, 10_000),
    parseCount('--seconds', options.seconds, 1, 3_600),
  );
  if (options.json) return print(JSON.stringify(figures));
  const rows = cells(figures);
  print(options.markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
}

async function measure(regions: number, stores: number, seconds: number): Promise<Figures> {
  const empty = collected();
  const scheduler = new SchedulerAlone(stores);
  scheduler.fill(regions);
  const described = collected();
  for (let n = 0; n < regions; n++) await scheduler.answer(scheduler.heartbeat(n, regions));
  const told = collected();
  const heartbeats = Array.from({ length: regions }, (_, n) => scheduler.heartbeat(n, regions));
  scheduler.placement.start();
  const from = performance.now();
  const cpu = process.cpuUsage();
  let [count, longestTurn, turnAt, beatAt] = [0, 0, from, from];
  while (performance.now() - from < seconds * 1_000) {
    for (let i = 0; i < AT_ONCE; i++) {
      const heartbeat = heartbeats[count++ % regions];
      if (heartbeat !== undefined) await scheduler.answer(heartbeat);
    }
    await nextTurn();
    const now = performance.now();
    longestTurn = Math.max(longestTurn, now - turnAt);
    turnAt = now;
    if (now - beatAt < BEAT_MS) continue;
    beatAt = now;
    scheduler.beat();
  }
  const took = (performance.now() - from) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  scheduler.placement.stop();
  return {
    regions,
    stores,
    descriptorBytes: (described - empty) / regions,
    regionBytes: (told - empty) / regions,
    heapBytes: told,
    heartbeatsPerSecond: count / took,
    cpuMicroseconds: (user + system) / count,
    longestTurn,
  };
}

/** Bytes of the heap and of external memory after a collection. */
function collected(): number {
  setFlagsFromString('--expose_gc');
  const collect: () => void = runInNewContext('gc');
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function cells(figures: Figures): string[][] {
  return [
    ['regions', 'stores', 'B/region', 'told, B/region', 'all', 'heartbeats/s', 'CPU µs', 'longest turn ms'],
    [
      grouped(figures.regions),
      grouped(figures.stores),
      grouped(Math.round(figures.descriptorBytes)),
      grouped(Math.round(figures.regionBytes)),
      bytes(figures.heapBytes),
      grouped(Math.round(figures.heartbeatsPerSecond)),
      figures.cpuMicroseconds.toFixed(1),
      figures.longestTurn.toFixed(1),
    ],
  ];
}

await runBench(main);

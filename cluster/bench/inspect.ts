/**
 * `npm run bench:inspect`: what an attached inspector costs, and what it costs that one could attach. Slices of the same puts take
 * turns: on a cluster whose nodes let nobody look, on one where nobody does, and on that one with a page open. Neighbours give
 * ratios, so that a machine whose speed drifts says little about any; fresh clusters every few blocks, so that no pair of them does.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import type { LocalCluster } from '../cli/local-cluster.js';
import { parseCount } from '../cli/settings.js';
import { grouped, paletteFor, print, say, table } from '../cli/terminal.js';
import { connect, type Database } from '../index.js';
import { runBench } from './command.js';
import {
  type Block,
  CONDITIONS,
  type Comparison,
  type Condition,
  comparisonsOf,
  medianOf,
  type Slice,
  type Spread,
  shuffled,
} from './inspect-slices.js';
import type { WatcherAnswer, WatcherOrder } from './inspect-watcher.js';
import { NO_MARKS, runLoad } from './load-loop.js';
import { machineTime, usageOf } from './processes.js';
import { seededRandom } from './random.js';
import { machine, markdownTable } from './report.js';
import { startLocalCluster } from './target-troupe.js';

interface Flags {
  readonly clients: string;
  readonly seconds: string;
  readonly pairs: string;
  readonly rounds: string;
  readonly seed: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

interface Terms {
  readonly clients: number;
  readonly seconds: number;
  /** Blocks in all, and fresh clusters for them. */
  readonly pairs: number;
  readonly rounds: number;
  readonly seed: number;
}

const VALUE = new Uint8Array(256).fill(0x78);
const KEYS = 100_000;
/** Prime to it: every key comes before any comes again. */
const KEY_STEP = 7919;
const WARMUP_SECONDS = 5;
/** Between two slices: whoever was told to stop looking has, and whoever begins is in the swing of it. */
const SETTLE_SECONDS = 0.8;
const WATCHER = fileURLToPath(new URL('./inspect-watcher.js', import.meta.url));

async function main(words: readonly string[]): Promise<void> {
  const flags = new Command('npm run bench:inspect --')
    .description('Measures puts with an inspector attached, with none, and where none may attach.')
    .option('--clients <count>', 'puts under way at once', '256')
    .option('--seconds <count>', 'of a slice', '3')
    .option('--pairs <count>', 'of slices, for each comparison', '24')
    .option('--rounds <count>', 'fresh clusters, over which the pairs are spread', '3')
    .option('--seed <number>', 'of the order of slices', '1')
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the table in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<Flags>();
  const pairs = parseCount('--pairs', flags.pairs, 1, 1_000);
  const [loadBefore = 0] = loadavg();
  const blocks = await measure({
    clients: parseCount('--clients', flags.clients, 1, 10_000),
    seconds: parseCount('--seconds', flags.seconds, 1, 3_600),
    pairs,
    rounds: parseCount('--rounds', flags.rounds, 1, pairs),
    seed: parseCount('--seed', flags.seed, 0),
  });
  const comparisons = comparisonsOf(blocks);
  if (flags.json) return print(JSON.stringify({ machine: machine(), loadBefore, comparisons, blocks }));
  const header = [
    '',
    'puts/s',
    'servers, µs a put',
    'inspector, µs a put',
    'clients, µs a put',
    'p99 ms',
    'records/s',
    'others, % of CPU',
  ];
  const rows = [header, ...CONDITIONS.map((condition) => row(condition, blocks))];
  print(flags.markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
  print(`Load when it began: ${loadBefore.toFixed(1)}. Ratios of neighbours, median (quartiles):`);
  for (const comparison of comparisons) print(sentenceOf(comparison));
}

async function measure({ clients, seconds, pairs, rounds, seed }: Terms): Promise<Block[]> {
  const random = seededRandom(seed);
  const blocks: Block[] = [];
  for (let round = 0; round < rounds; round++) {
    const left = Math.round((pairs * (round + 1)) / rounds) - blocks.length;
    const world = await BenchWorld.start(clients);
    try {
      for (let i = 0; i < left; i++) {
        const block: Slice[] = [];
        for (const condition of shuffled(random)) block.push(await world.slice(condition, seconds));
        blocks.push(block);
        say(`block ${blocks.length} of ${pairs}`);
      }
    } finally {
      await world.stop();
    }
  }
  return blocks;
}

/** One of the clusters, with clients. */
interface Side {
  readonly cluster: LocalCluster;
  readonly db: Database;
}

/** Two clusters at the same time, of which one is loaded and the other rests. */
class BenchWorld {
  readonly #clients: number;
  readonly #directories: string[] = [];
  readonly #sides = new Map<'off' | 'on', Side>();
  #watcher: ChildProcess | undefined;
  #next = 0;

  private constructor(clients: number) {
    this.#clients = clients;
  }

  static async start(clients: number): Promise<BenchWorld> {
    const world = new BenchWorld(clients);
    try {
      await world.#start();
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    for (const [name, nodeArguments] of [
      ['off', ['--no-inspection']],
      ['on', []],
    ] as const) {
      const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
      this.#directories.push(directory);
      const cluster = await startLocalCluster(directory, nodeArguments);
      const db = await connect({ servers: cluster.natsUrl, cluster: cluster.settings.cluster });
      this.#sides.set(name, { cluster, db });
    }
    const { natsUrl, settings } = this.#side('attached').cluster;
    this.#watcher = fork(WATCHER, [natsUrl, settings.cluster], { execArgv: [...process.execArgv] });
    await this.#answer(this.#watcher);
    // With the page open for the first time: its charts are drawn once.
    await this.#order('open');
    for (const condition of ['off', 'attached'] as const) {
      const terms = { clients: this.#clients, warmupSeconds: 0, seconds: WARMUP_SECONDS };
      await runLoad(terms, this.#puts(this.#side(condition)), NO_MARKS);
    }
    await this.#order('close');
    await sleep(SETTLE_SECONDS * 1000);
  }

  async slice(condition: Condition, seconds: number): Promise<Slice> {
    const side = this.#side(condition);
    if (condition === 'attached') await this.#order('open');
    const before = this.#reading(side);
    let [from, to] = [before, before];
    const terms = { clients: this.#clients, warmupSeconds: SETTLE_SECONDS, seconds };
    const load = await runLoad(terms, this.#puts(side), {
      began: () => {
        from = this.#reading(side);
      },
      ended: () => {
        to = this.#reading(side);
      },
    });
    let records = 0;
    if (condition === 'attached') {
      ({ records } = await this.#order('rate'));
      await this.#order('close');
      await sleep(SETTLE_SECONDS * 1000);
    }
    const spent = (of: (reading: Reading) => number): number => of(to) - of(from);
    const micros = (of: (reading: Reading) => number): number => (spent(of) * 1e6) / load.operations;
    const own = spent(({ servers, inspector, clients }) => servers + inspector + clients);
    return {
      condition,
      putsPerSecond: load.operations / load.seconds,
      servers: micros((reading) => reading.servers),
      inspector: micros((reading) => reading.inspector),
      clients: micros((reading) => reading.clients),
      p99: load.p99,
      records,
      others: Math.max(0, (spent(({ busy }) => busy) - own) / (load.seconds * availableParallelism())),
    };
  }

  async stop(): Promise<void> {
    const watcher = this.#watcher;
    if (watcher?.connected) {
      const ended = once(watcher, 'exit');
      // It ends by itself then.
      watcher.disconnect();
      await ended;
    }
    for (const { db, cluster } of this.#sides.values()) {
      await db.close();
      await cluster.stop();
    }
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }

  #side(condition: Condition): Side {
    const side = this.#sides.get(condition === 'off' ? 'off' : 'on');
    if (side === undefined) throw new Error('the cluster has not started');
    return side;
  }

  #puts({ db }: Side) {
    return {
      choose: () => 'put' as const,
      make: () => {
        this.#next = (this.#next + KEY_STEP) % KEYS;
        return db.raw.put(`key-${this.#next}`, VALUE);
      },
    };
  }

  #reading({ cluster }: Side): Reading {
    const cpu = (pids: readonly (number | undefined)[]): number =>
      usageOf(pids.flatMap((pid) => pid ?? [])).cpuSeconds;
    return {
      servers: cpu(cluster.nodes().map(({ pid }) => pid)),
      inspector: cpu([this.#watcher?.pid]),
      clients: cpu([process.pid]),
      busy: machineTime().busySeconds,
    };
  }

  #order(order: WatcherOrder): Promise<WatcherAnswer> {
    const watcher = this.#watcher;
    if (watcher === undefined) throw new Error('the inspector has not started');
    const answer = this.#answer(watcher);
    watcher.send(order);
    return answer;
  }

  async #answer(watcher: ChildProcess): Promise<WatcherAnswer> {
    const over = new AbortController();
    const { signal } = over;
    const ended = once(watcher, 'exit', { signal }).then(() => {
      throw new Error('the inspector has ended');
    });
    const answered = once(watcher, 'message', { signal }).then(([answer]): WatcherAnswer => answer);
    for (const either of [ended, answered]) either.catch(() => {});
    return Promise.race([answered, ended]).finally(() => over.abort());
  }
}

/** CPU seconds since processes and machine started. */
interface Reading {
  readonly servers: number;
  readonly inspector: number;
  readonly clients: number;
  readonly busy: number;
}

function row(condition: Condition, blocks: readonly Block[]): string[] {
  const of = (figure: (slice: Slice) => number): number => medianOf(blocks, condition, figure);
  return [
    condition,
    grouped(Math.round(of(({ putsPerSecond }) => putsPerSecond))),
    of(({ servers }) => servers).toFixed(1),
    of(({ inspector }) => inspector).toFixed(1),
    of(({ clients }) => clients).toFixed(1),
    of(({ p99 }) => p99).toFixed(1),
    grouped(Math.round(of(({ records }) => records))),
    (of(({ others }) => others) * 100).toFixed(0),
  ];
}

function sentenceOf({ of, to, puts, servers, all }: Comparison): string {
  const inspector = of === 'attached' ? `, ${spread(all)} with the inspector's own` : '';
  return `${of} / ${to}: ${spread(puts)} of the puts, ${spread(servers)} of the servers' CPU a put${inspector}`;
}

function spread({ median, quartiles: [low, high] }: Spread): string {
  return `${median.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
}

await runBench(main);

/** `troupe bench`: load on a cluster that runs. */

import { type Command, Option } from 'commander';
import { NO_MARKS } from '../bench/load-loop.js';
import { DISTRIBUTIONS } from '../bench/record-choosers.js';
import { MODES } from '../bench/record-targets.js';
import {
  benchKeys,
  OPERATIONS,
  type Operation,
  type PhaseResult,
  preload,
  runPhase,
  VALUE_BYTES,
} from '../bench/workload.js';
import { RECORD_BYTES, WORKLOADS } from '../bench/ycsb.js';
import { TroupeError } from '../errors.js';
import { parseWorkloads, runWorkloads, workloadCells, workloadJson } from './bench-workloads.js';
import { withDatabase } from './connection.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { grouped, LiveLine, paletteFor, print, say, table } from './terminal.js';

/** Keys of the load; they are removed at the end. */
const PREFIX = 'troupe-bench/';
const PREFIX_END = 'troupe-bench0';
const WARMUP_SECONDS = 0.5;

/** Options that mean something only with `--workload`. */
const OF_WORKLOADS = ['mode', 'operations', 'distribution', 'seed'] as const;

export function addBenchCommand(program: Command): void {
  withConnection(
    program
      .command('bench')
      .summary('load on a running cluster, with latencies')
      .description(
        `Puts load on a running cluster and prints what it does and how long it takes. Its keys begin with ${PREFIX} and are removed at the end.\n\nExamples:\n  troupe bench\n  troupe bench --ops put --clients 1,256 --seconds 10 --json\n  troupe bench --workload A --mode txn --clients 64`,
      )
      .option('--clients <counts>', 'clients, each with one request in flight', '1,64,256')
      .option('--ops <list>', `of ${OPERATIONS.join(', ')} (mix: 95 % get, 5 % put)`, OPERATIONS.join(','))
      .option('--seconds <count>', 'for each combination', '5')
      .option('--keys <count>', 'distinct keys, or records that a workload finds', '10000')
      .option('--value-size <bytes>', `bytes of a value (${VALUE_BYTES}; of a record ${RECORD_BYTES})`)
      .option('--json', 'print the result as JSON')
      .addOption(
        new Option('--workload <list>', `instead of --ops, YCSB's: of ${WORKLOADS.join(', ')}`)
          .conflicts('ops')
          .helpGroup('YCSB:'),
      )
      .addOption(
        new Option('--mode <mode>', 'raw calls, or a transaction for each request (default: raw)')
          .choices(MODES)
          .helpGroup('YCSB:'),
      )
      .addOption(
        new Option('--operations <count>', 'requests of each combination, if --seconds last').helpGroup(
          'YCSB:',
        ),
      )
      .addOption(
        new Option('--distribution <name>', "how records are chosen, instead of the workload's own way")
          .choices(DISTRIBUTIONS)
          .helpGroup('YCSB:'),
      )
      .addOption(
        new Option('--seed <number>', 'another one makes other requests (default: 1)').helpGroup('YCSB:'),
      ),
  ).action(bench);
}

type Options = Readonly<Record<string, string>>;

interface Row extends PhaseResult {
  readonly operation: Operation;
  readonly clients: number;
}

function bench(options: Options): Promise<void> {
  if (options.workload !== undefined) return benchWorkloads(options, options.workload);
  const stray = OF_WORKLOADS.find((name) => options[name] !== undefined);
  if (stray !== undefined)
    throw new TroupeError('usage', `--${stray} goes with --workload, such as --workload A`);
  return benchOperations(options);
}

async function benchWorkloads(options: Options, workloads: string): Promise<void> {
  const settings = connectionSettings(options);
  const optional = <T>(text: string | undefined, parse: (text: string) => T): T | undefined =>
    text === undefined ? undefined : parse(text);
  const mode = MODES.find((known) => known === options.mode) ?? 'raw';
  const run = {
    workloads: parseWorkloads(workloads),
    mode,
    distribution: DISTRIBUTIONS.find((known) => known === options.distribution),
    clients: parseCounts('--clients', options.clients ?? ''),
    seconds: parseCount('--seconds', options.seconds ?? '', 1, 86_400),
    warmupSeconds: WARMUP_SECONDS,
    operations: optional(options.operations, (text) => parseCount('--operations', text)),
    records: parseCount('--keys', options.keys ?? '', 1, 10_000_000),
    valueBytes: optional(options.valueSize, parseValueSize) ?? RECORD_BYTES,
    seed: optional(options.seed, (text) => parseCount('--seed', text, 0, 0xffff_ffff)) ?? 1,
    prefix: PREFIX,
  };
  let doing = 'connecting';
  const live = new LiveLine(() => doing);
  try {
    const rows = await withDatabase(settings, (db) =>
      runWorkloads(db, run, (what) => {
        doing = what;
      }),
    );
    live.done();
    if (options.json) print(JSON.stringify({ mode, results: rows.map(workloadJson) }));
    else print(table(workloadCells(rows, mode), paletteFor(process.stdout)));
    const failed = rows.find(({ result }) => result.errors > 0);
    if (failed) say(`some requests failed: ${failed.result.firstError ?? ''}`);
  } finally {
    live.done();
  }
}

async function benchOperations(options: Options): Promise<void> {
  const settings = connectionSettings(options);
  const clients = parseCounts('--clients', options.clients ?? '');
  const operations = parseOperations(options.ops ?? '');
  const seconds = parseCount('--seconds', options.seconds ?? '', 1, 86_400);
  const keys = benchKeys(parseCount('--keys', options.keys ?? '', 1, 10_000_000), PREFIX);
  const valueBytes = options.valueSize === undefined ? VALUE_BYTES : parseValueSize(options.valueSize);
  const rows: Row[] = [];
  let doing = `loading ${grouped(keys.length)} keys`;
  const live = new LiveLine(() => doing);
  try {
    await withDatabase(settings, async (db) => {
      const driver = {
        put: (key: { bytes: Uint8Array }, value: Uint8Array) => db.raw.put(key.bytes, value),
        get: (key: { bytes: Uint8Array }) => db.raw.get(key.bytes),
        close: async () => {},
      };
      try {
        await preload(driver, keys, valueBytes);
        for (const operation of operations) {
          for (const count of clients) {
            doing = `${operation}, ${count} clients`;
            const phase = { operation, clients: count, warmupSeconds: WARMUP_SECONDS, seconds, valueBytes };
            const result = await runPhase(driver, keys, phase, NO_MARKS);
            rows.push({ operation, clients: count, ...result });
          }
        }
      } finally {
        doing = 'removing the keys';
        await db.raw.deleteRange(PREFIX, PREFIX_END);
      }
    });
  } finally {
    live.done();
  }
  if (options.json) print(JSON.stringify({ results: rows.map(jsonOf) }));
  else print(table([HEADING, ...rows.map(cellsOf)], paletteFor(process.stdout)));
  const failed = rows.find(({ errors }) => errors > 0);
  if (failed) say(`some requests failed: ${failed.firstError ?? ''}`);
}

function parseValueSize(text: string): number {
  return parseCount('--value-size', text, 1, 1_000_000);
}

const HEADING = ['operation', 'clients', 'ops/s', 'p50 ms', 'p99 ms', 'max ms', 'errors'];

function cellsOf(row: Row): string[] {
  return [
    row.operation,
    String(row.clients),
    grouped(row.operations / row.seconds),
    row.p50.toFixed(2),
    row.p99.toFixed(2),
    row.max.toFixed(2),
    String(row.errors),
  ];
}

function jsonOf({ operation, clients, operations, seconds, p50, p99, max, errors }: Row): object {
  return { operation, clients, opsPerSecond: operations / seconds, p50, p99, max, errors };
}

/** @throws TroupeError `usage` */
export function parseCounts(option: string, text: string): number[] {
  return text.split(',').map((part) => parseCount(option, part.trim(), 1, 100_000));
}

/** @throws TroupeError `usage` */
export function parseOperations(text: string): Operation[] {
  return text.split(',').map((part) => {
    const operation = OPERATIONS.find((known) => known === part.trim());
    if (operation === undefined)
      throw new TroupeError('usage', `--ops: "${part}" is not one of ${OPERATIONS.join(', ')}`);
    return operation;
  });
}

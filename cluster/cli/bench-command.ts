/** `troupe bench`: load on a cluster that runs. */

import type { Command } from 'commander';
import {
  benchKeys,
  OPERATIONS,
  type Operation,
  type PhaseResult,
  preload,
  runPhase,
} from '../bench/workload.js';
import { TroupeError } from '../errors.js';
import { withDatabase } from './connection.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { grouped, LiveLine, paletteFor, print, say, table } from './terminal.js';

/** Keys of the load; they are removed at the end. */
const PREFIX = 'troupe-bench/';
const PREFIX_END = 'troupe-bench0';
const WARMUP_SECONDS = 0.5;

export function addBenchCommand(program: Command): void {
  withConnection(
    program
      .command('bench')
      .summary('load on a running cluster, with latencies')
      .description(
        `Puts load on a running cluster and prints what it does and how long it takes. Its keys begin with ${PREFIX} and are removed at the end.\n\nExamples:\n  troupe bench\n  troupe bench --ops put --clients 1,256 --seconds 10 --json`,
      )
      .option('--clients <counts>', 'clients, each with one request in flight', '1,64,256')
      .option('--ops <list>', `of ${OPERATIONS.join(', ')} (mix: 95 % get, 5 % put)`, OPERATIONS.join(','))
      .option('--seconds <count>', 'for each combination', '5')
      .option('--keys <count>', 'distinct keys', '10000')
      .option('--value-size <bytes>', 'bytes of a value', '256')
      .option('--json', 'print the result as JSON'),
  ).action(bench);
}

interface Row extends PhaseResult {
  readonly operation: Operation;
  readonly clients: number;
}

async function bench(options: Readonly<Record<string, string>>): Promise<void> {
  const settings = connectionSettings(options);
  const clients = parseCounts('--clients', options.clients ?? '');
  const operations = parseOperations(options.ops ?? '');
  const seconds = parseCount('--seconds', options.seconds ?? '', 1, 86_400);
  const keys = benchKeys(parseCount('--keys', options.keys ?? '', 1, 10_000_000), PREFIX);
  const valueBytes = parseCount('--value-size', options.valueSize ?? '', 1, 1_000_000);
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
            const result = await runPhase(driver, keys, phase, { began() {}, ended() {} });
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

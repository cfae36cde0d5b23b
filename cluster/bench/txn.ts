/**
 * `npm run bench:txn`: read-modify-write of two keys a transaction, in one region and in two, beside etcd's `Txn`; and scans of
 * a snapshot.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { parseCounts } from '../cli/bench-command.js';
import { connectTo } from '../cli/connection.js';
import { parseCount } from '../cli/settings.js';
import { elapsed, grouped, paletteFor, print, say, table } from '../cli/terminal.js';
import { ExitCode, TroupeError } from '../errors.js';
import { runBench } from './command.js';
import { Pairs } from './pairs.js';
import { machine, markdownTable, type SystemResult, systemNotes } from './report.js';
import { runTarget } from './run.js';
import { loadRows, type ScanFigures, scanRows } from './snapshot-scan.js';
import { type StartTarget, TargetMissing } from './target.js';
import { startEtcd } from './target-etcd.js';
import { startLocalCluster } from './target-troupe.js';
import { REGIONS, type Regions, startTroupeIn } from './target-troupe-regions.js';
import { pairRatios, pairRows, scanRowsOf, type TxnReport } from './txn-report.js';
import { benchKeys, KEYS, VALUE_BYTES } from './workload.js';

const PARTS = ['rmw2', 'snapshot-scan'] as const;
const PEERS = ['etcd', 'none'] as const;
const WARMUP_SECONDS = 1;

interface Options {
  readonly parts: string;
  readonly regions: string;
  readonly clients: string;
  readonly seconds: string;
  readonly keys: string;
  readonly peers: string;
  readonly scanKeys: string;
  readonly scanValueSizes: string;
  readonly scans: string;
  readonly directory: string;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

async function main(words: readonly string[]): Promise<void> {
  const options = new Command('npm run bench:txn --')
    .description(
      'Measures transactions: two keys read and written, beside etcd, and scans of a snapshot.\n\nExamples:\n  npm run bench:txn\n  npm run -s bench:txn -- --parts rmw2 --regions one --seconds 10 --json\n  npm run -s bench:txn -- --parts snapshot-scan --scan-keys 1000000',
    )
    .option('--parts <list>', `of ${PARTS.join(', ')}`, PARTS.join(','))
    .option('--regions <list>', 'where the two keys lie: of one, two', REGIONS.join(','))
    .option('--clients <counts>', 'clients, each with one transaction in flight', '64')
    .option('--seconds <count>', 'for each system and number of clients', '10')
    .option('--keys <count>', 'keys of which two are drawn, one of each half', String(KEYS))
    .option('--peers <name>', 'etcd, or none', 'etcd')
    .option('--scan-keys <count>', 'keys of a scan', '60000')
    .option('--scan-value-sizes <list>', 'bytes of a value, for a run each', `64,${VALUE_BYTES}`)
    .option('--scans <count>', 'scans of each size', '7')
    .option('--directory <dir>', 'where the servers keep their data meanwhile: a real disk', tmpdir())
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the tables in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' })
    .opts<Options>();
  const parts = parseList('--parts', options.parts, PARTS);
  const pairs = pairSettings(options);
  const scans = scanSettings(options);
  const where = machine();
  const rmw2 = parts.includes('rmw2') ? await measurePairs(pairs) : undefined;
  const snapshotScan = parts.includes('snapshot-scan') ? await measureScans(scans) : undefined;
  const report: TxnReport = {
    machine: where,
    ...(rmw2 === undefined ? {} : { rmw2 }),
    ...(snapshotScan === undefined ? {} : { snapshotScan }),
  };
  if (options.json) print(JSON.stringify(report));
  else tell(report, options.markdown === true);
  if (hasFailed(report)) process.exitCode = ExitCode.failed;
}

type PairSettings = ReturnType<typeof pairSettings>;

function pairSettings(options: Options) {
  return {
    regions: parseList('--regions', options.regions, REGIONS),
    clients: parseCounts('--clients', options.clients),
    seconds: parseCount('--seconds', options.seconds, 1, 3_600),
    keys: parseCount('--keys', options.keys, 2, 1_000_000),
    etcd: parseList('--peers', options.peers, PEERS).includes('etcd'),
    directory: options.directory,
  };
}

/** etcd between Troupe's two, since the speed of a machine drifts. */
async function measurePairs(settings: PairSettings): Promise<NonNullable<TxnReport['rmw2']>> {
  const { regions, clients, seconds, keys, directory } = settings;
  const border = benchKeys(keys)[Pairs.middle(keys)];
  if (border === undefined) throw new TroupeError('usage', '--keys: give 2 or more');
  const measure = (name: string, start: StartTarget): Promise<SystemResult> =>
    resultOf(name, () =>
      runTarget(name, start, {
        ...{ clients, seconds, keys, directory },
        load: 'pairs',
        operations: ['rmw2'],
        warmupSeconds: WARMUP_SECONDS,
        valueBytes: VALUE_BYTES,
        onProgress: (system, text) => say(`${system}: ${text}`),
      }),
    );
  const systems = regions.length + (settings.etcd ? 1 : 0);
  say(`two keys: about ${elapsed(systems * (clients.length * (seconds + WARMUP_SECONDS) + 6) * 1000)}`);
  const troupe: Partial<Record<Regions, SystemResult>> = {};
  const inRegions = async (which: Regions): Promise<void> => {
    if (regions.includes(which))
      troupe[which] = await measure(`troupe-${which}`, startTroupeIn(which, border));
  };
  await inRegions('one');
  const etcd = settings.etcd ? await measure('etcd', startEtcd) : undefined;
  await inRegions('two');
  return { troupe, ...(etcd === undefined ? {} : { etcd }), ratios: pairRatios(troupe, etcd) };
}

async function resultOf(name: string, run: () => Promise<SystemResult>): Promise<SystemResult> {
  try {
    return await run();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    say(`${name}: ${message}`);
    return error instanceof TargetMissing ? { missing: message } : { failed: message };
  }
}

function scanSettings(options: Options) {
  return {
    keys: parseCount('--scan-keys', options.scanKeys, 1, 10_000_000),
    valueSizes: options.scanValueSizes
      .split(',')
      .map((part) => parseCount('--scan-value-sizes', part.trim(), 1, 100_000)),
    times: parseCount('--scans', options.scans, 1, 1_000),
    directory: options.directory,
  };
}

async function measureScans(
  settings: ReturnType<typeof scanSettings>,
): Promise<NonNullable<TxnReport['snapshotScan']>> {
  const { keys, valueSizes, times } = settings;
  const directory = mkdtempSync(join(settings.directory, 'troupe-bench-txn-'));
  try {
    const cluster = await startLocalCluster(directory);
    try {
      const db = await connectTo(cluster.settings);
      try {
        const figures: ScanFigures[] = [];
        for (const [index, valueBytes] of valueSizes.entries()) {
          const prefix = `scan-${index}/`;
          say(`snapshot scan: loading ${grouped(keys)} values of ${valueBytes} bytes`);
          await loadRows(db, prefix, { keys, valueBytes });
          say(`snapshot scan: ${times} scans`);
          figures.push(await scanRows(db, prefix, { keys, valueBytes, times }));
        }
        return figures;
      } finally {
        await db.close();
      }
    } finally {
      await cluster.stop();
    }
  } catch (error) {
    const failed = error instanceof Error ? error.message : String(error);
    say(`snapshot scan: ${failed}`);
    return { failed };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function tell({ machine: where, rmw2, snapshotScan }: TxnReport, markdown: boolean): void {
  const show = (rows: readonly (readonly string[])[]): void => {
    print(markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
    print('');
  };
  const notes = [`Machine: ${where}`];
  if (rmw2 !== undefined) {
    show(pairRows(rmw2));
    for (const [regions, result] of Object.entries(rmw2.troupe)) {
      notes.push(...systemNotes(`troupe, ${regions}`, result));
    }
    if (rmw2.etcd !== undefined) notes.push(...systemNotes('etcd', rmw2.etcd));
  }
  if (snapshotScan !== undefined && !('failed' in snapshotScan)) show(scanRowsOf(snapshotScan));
  if (snapshotScan !== undefined && 'failed' in snapshotScan)
    notes.push(`snapshot scan: failed, ${snapshotScan.failed}`);
  for (const note of notes) print(markdown ? `- ${note}` : note);
}

function hasFailed({ rmw2, snapshotScan }: TxnReport): boolean {
  const systems =
    rmw2 === undefined ? [] : [...Object.values(rmw2.troupe), ...(rmw2.etcd ? [rmw2.etcd] : [])];
  return systems.some((one) => 'failed' in one) || (snapshotScan !== undefined && 'failed' in snapshotScan);
}

function parseList<T extends string>(option: string, text: string, known: readonly T[]): T[] {
  return text.split(',').map((part) => {
    const found = known.find((one) => one === part.trim());
    if (found === undefined)
      throw new TroupeError('usage', `${option}: "${part}" is not one of ${known.join(', ')}`);
    return found;
  });
}

await runBench(main);

/** `npm run bench`: Troupe beside the peers that are installed, in one run, on one machine. */

import { tmpdir } from 'node:os';
import { Command } from 'commander';
import { parseCounts, parseOperations } from '../cli/bench-command.js';
import { parseCount } from '../cli/settings.js';
import { elapsed, paletteFor, print, say, table } from '../cli/terminal.js';
import { ExitCode, TroupeError } from '../errors.js';
import { runBench } from './command.js';
import { makeReport, markdownTable, reportNotes, reportRows, type SystemResult } from './report.js';
import { runTarget } from './run.js';
import { TargetMissing } from './target.js';
import { PEERS, START, type TargetName } from './targets.js';
import { KEYS, OPERATIONS, VALUE_BYTES } from './workload.js';

interface BenchOptions {
  readonly clients: string;
  readonly ops: string;
  readonly seconds: string;
  readonly peers: string;
  readonly directory: string;
  readonly troupe: boolean;
  readonly json?: boolean;
  readonly markdown?: boolean;
}

const WARMUP_SECONDS = 1;

async function main(words: readonly string[]): Promise<void> {
  const program = new Command('npm run bench --')
    .description(
      'Measures Troupe beside the peers found on PATH: same clients, keys and values, servers and load generator in processes of their own.\n\nExamples:\n  npm run bench\n  npm run -s bench -- --clients 256 --ops put,get --seconds 10 --json\n  npm run bench -- --peers etcd',
    )
    .option('--clients <counts>', 'clients, each with one request in flight', '1,64,256')
    .option('--ops <list>', `of ${OPERATIONS.join(', ')} (mix: 95 % get, 5 % put)`, OPERATIONS.join(','))
    .option('--seconds <count>', 'for each combination', '5')
    .option('--peers <list>', `of ${PEERS.join(', ')}, or none`, PEERS.join(','))
    .option('--no-troupe', 'measure the peers alone')
    .option('--directory <dir>', 'where the servers keep their data meanwhile: a real disk', tmpdir())
    .option('--json', 'print the result as JSON')
    .option('--markdown', 'print the tables in Markdown')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .parse(words, { from: 'user' });
  const options = program.opts<BenchOptions>();
  const names: TargetName[] = [
    ...(options.troupe ? (['troupe'] as const) : []),
    ...parsePeers(options.peers),
  ];
  const run = {
    clients: parseCounts('--clients', options.clients),
    load: 'values' as const,
    operations: parseOperations(options.ops),
    seconds: parseCount('--seconds', options.seconds, 1, 3600),
    warmupSeconds: WARMUP_SECONDS,
    keys: KEYS,
    valueBytes: VALUE_BYTES,
    directory: options.directory,
    onProgress: (target: TargetName, text: string) => say(`${target}: ${text}`),
  };
  const about =
    names.length * (run.clients.length * run.operations.length * (run.seconds + WARMUP_SECONDS) + 4);
  say(`measuring ${names.join(', ')}: about ${elapsed(about * 1000)}`);
  const results = new Map<TargetName, SystemResult>();
  for (const name of names) results.set(name, await resultOf(name));
  const report = makeReport(results);
  if (options.json) {
    print(JSON.stringify(report));
  } else {
    const rows = reportRows(report);
    print(options.markdown ? markdownTable(rows) : table(rows, paletteFor(process.stdout)));
    print('');
    for (const note of reportNotes(report)) print(options.markdown ? `- ${note}` : note);
  }
  if ([...results.values()].some((result) => 'failed' in result)) process.exitCode = ExitCode.failed;

  async function resultOf(name: TargetName): Promise<SystemResult> {
    try {
      return await runTarget(name, START[name], run);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      say(`${name}: ${message}`);
      return error instanceof TargetMissing ? { missing: message } : { failed: message };
    }
  }
}

function parsePeers(text: string): TargetName[] {
  if (text === 'none') return [];
  return text.split(',').map((part) => {
    const peer = PEERS.find((known) => known === part.trim());
    if (peer === undefined)
      throw new TroupeError('usage', `--peers: "${part}" is not one of ${PEERS.join(', ')}, none`);
    return peer;
  });
}

await runBench(main);

/** `troupe scheduler` and `troupe store`: one node in this process, until a signal or its launcher ends it. */

import { mkdirSync } from 'node:fs';
import type { Command } from 'commander';
import { exitCodeOf, TroupeError } from '../errors.js';
import { natsOptions } from './connection.js';
import { nodeLogger } from './log-lines.js';
import { checkToken, connectionSettings, parseCount, withConnection } from './settings.js';
import { say } from './terminal.js';

/** What a node tells the process that launched it, over IPC. */
export type NodeReport =
  | { readonly kind: 'serving' }
  | { readonly kind: 'counters'; readonly counters: Readonly<Record<string, number>> }
  | { readonly kind: 'failed'; readonly message: string; readonly exitCode: number };

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];
/** After this long a node that was told to stop is ended; Kubernetes kills after 30 s. */
const STOP_DEADLINE_MS = 25_000;

/** What the launcher may ask. */
export type NodeQuestion = { readonly kind: 'counters' };

type NodeFlags = Readonly<Record<string, string>> & { readonly standalone?: boolean };

interface RunningNode {
  close(): Promise<void>;
  readonly failed: Promise<Error>;
  readonly counters?: Readonly<Record<string, number>>;
}

export function addNodeCommands(program: Command): void {
  withConnection(
    program
      .command('scheduler')
      .summary('run a scheduler node')
      .description(
        'Runs a scheduler node: bootstrap, ids, the registry of stores and regions.\n\nExamples:\n  troupe scheduler --name scheduler-1 --data /var/lib/troupe/scheduler-1 --cluster prod',
      )
      .option(
        '--expected-stores <count>',
        'stores that make the first region, at the first start of a cluster',
        '3',
      ),
  );
  withConnection(
    program
      .command('store')
      .summary('run a store node')
      .description(
        'Runs a store node: it keeps replicas of regions on its disk and serves them.\n\nExamples:\n  troupe store --name store-1 --data /var/lib/troupe/store-1 --cluster prod',
      ),
  );
  program.commands
    .find((command) => command.name() === 'store')
    ?.option('--standalone', 'raw operations on this store alone, without replication');
  for (const role of ['scheduler', 'store'] as const) {
    program.commands
      .find((command) => command.name() === role)
      ?.requiredOption('--name <name>', 'name of this node, unique in the cluster')
      .requiredOption('--data <dir>', 'directory for its data, made if absent')
      .option('--log-level <level>', LEVELS.join(', '), process.env.TROUPE_LOG_LEVEL ?? 'info')
      .action((options: NodeFlags) => runNode(role, options));
  }
}

async function runNode(
  role: 'scheduler' | 'store',
  options: NodeFlags,
): Promise<void> {
  const { name = '', data = '', logLevel = 'info' } = options;
  checkToken('node', name);
  if (!LEVELS.includes(logLevel)) {
    throw new TroupeError('usage', `--log-level: "${logLevel}" is not one of ${LEVELS.join(', ')}`);
  }
  const settings = connectionSettings(options);
  const expectedStores = parseCount('--expected-stores', options.expectedStores ?? '3', 1, 7);
  const logger = nodeLogger(name, logLevel);
  try {
    mkdirSync(data, { recursive: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `--data: ${data} cannot be made: ${reason}`, { cause });
  }
  if (role === 'store' && process.env.UV_THREADPOOL_SIZE === undefined) {
    logger.warn({}, 'UV_THREADPOOL_SIZE is not set: set it to 16 so that compactions do not delay syncs');
  }
  const shared = {
    cluster: settings.cluster,
    name,
    dataDir: data,
    nats: natsOptions(settings),
    schedulers: settings.schedulers,
    logger,
  };
  let node: RunningNode;
  try {
    // Loaded here, so that the commands of clients do not load RocksDB.
    if (role === 'store') {
      const { startStore } = await import('../store/index.js');
      node = await startStore({ ...shared, standalone: options.standalone === true });
    } else {
      const { startScheduler } = await import('../scheduler/index.js');
      node = await startScheduler({ ...shared, expectedStores });
    }
  } catch (error) {
    report({ kind: 'failed', message: messageOf(error), exitCode: exitCodeOf(error) });
    throw error;
  }
  process.on('message', (question: NodeQuestion) => {
    if (question.kind === 'counters') report({ kind: 'counters', counters: node.counters ?? {} });
  });
  report({ kind: 'serving' });
  await untilStopped(node, name);
}

/** Waits for a signal, the launcher's end or the node's own failure, then closes the node. */
async function untilStopped(node: RunningNode, name: string): Promise<void> {
  const reason = await new Promise<'asked' | Error>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => resolve('asked'));
    }
    process.once('disconnect', () => resolve('asked'));
    void node.failed.then(resolve);
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
  }
  setTimeout(() => {
    say(`troupe: ${name} did not stop within ${STOP_DEADLINE_MS / 1000} s and is ended`);
    process.exit(1);
  }, STOP_DEADLINE_MS).unref();
  if (reason === 'asked') {
    await node.close();
  } else {
    report({ kind: 'failed', message: reason.message, exitCode: exitCodeOf(reason) });
    await node.close().catch(() => {});
  }
  if (process.connected) process.disconnect();
  if (reason !== 'asked') throw reason;
}

function report(message: NodeReport): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

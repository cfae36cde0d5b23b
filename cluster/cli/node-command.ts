/** `troupe scheduler` and `troupe store`: one node in this process, until a signal or its launcher ends it. */

import type { Command } from 'commander';
import type { Logger } from '../../actors/index.js';
import { exitCodeOf, TroupeError } from '../errors.js';
import type { MeasuredNode } from '../operations/metrics.js';
import { STORE_GONE } from '../store-gone.js';
import type { SpanExport } from '../tracing/exporter.js';
import { natsOptions } from './connection.js';
import { makeDirectory } from './directory.js';
import { nodeLogger } from './log-lines.js';
import { checkNodeOptions, nodeGroup, withNodeOptions } from './node-group.js';
import { HTTP_OPTION, type NodePages, pagesAddress, servePages } from './node-pages.js';
import { type Serving, serve, stopRequest } from './serving.js';
import {
  type ConnectionSettings,
  checkToken,
  connectionSettings,
  inspectionAllowed,
  parseCount,
  withConnection,
  withInspection,
} from './settings.js';
import { exportNodeSpans } from './span-export.js';
import { type SplitFlags, splitLimits, withSplitOptions } from './split-options.js';
import { endSoon } from './terminal.js';

/** What a node tells the process that launched it, over IPC. */
export type NodeReport =
  | { readonly kind: 'serving' }
  | { readonly kind: 'counters'; readonly counters: Readonly<Record<string, number>> }
  | {
      readonly kind: 'failed';
      readonly message: string;
      readonly exitCode: number;
      /** The data is damaged: starting again is of no use before this command has repaired it. */
      readonly repair?: string;
      /** The store was taken offline and is gone: there is nothing to start again. */
      readonly gone?: boolean;
    };

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];

/** How long a node that was told to stop may take to give its leaderships away. */
const HAND_OVER_MS = 10_000;

/** What the launcher may ask. */
export type NodeQuestion = { readonly kind: 'counters' };

interface NodeFlags extends SplitFlags, Readonly<Record<string, unknown>> {
  readonly name: string;
  readonly data: string;
  readonly logLevel: string;
  readonly expectedStores?: string;
  readonly standalone?: boolean;
  readonly rejoin?: boolean;
  readonly haltScheduling?: boolean;
  readonly http?: string;
}

interface RunningNode extends MeasuredNode, Serving {
  handOver(patience: number): Promise<number>;
  readonly counters: Readonly<Record<string, number>>;
  readonly unready: string | undefined;
}

export function addNodeCommands(program: Command): void {
  withConnection(
    program
      .command('scheduler')
      .summary('run a scheduler node; steer placement')
      .description(
        'Runs a scheduler node: bootstrap, ids, the registry of stores and regions, and where these are placed. The commands below it see and steer placement.\n\nExamples:\n  troupe scheduler --name scheduler-1 --data /var/lib/troupe/scheduler-1 --cluster prod\n  troupe scheduler --name scheduler-2 --schedulers scheduler-1,scheduler-2,scheduler-3 --data /var/lib/troupe/scheduler-2',
      )
      .option('--halt-scheduling', 'place no regions until `scheduler config halt-scheduling false` is said')
      .option(
        '--rejoin',
        'its data directory is lost: an empty one takes its place while the others run (env: TROUPE_REJOIN, the name of this node)',
      )
      .option(
        '--expected-stores <count>',
        'stores that make the first region, at the first start of a cluster',
        '3',
      ),
  );
  const store = withConnection(
    program
      .command('store')
      .summary('run a store node; see and steer stores')
      .description(
        'Runs a store node: it keeps replicas of regions on its disk and serves them. The commands below it see and steer the stores of a cluster.\n\nExamples:\n  troupe store --name store-1 --data /var/lib/troupe/store-1 --cluster prod',
      )
      .option('--standalone', 'raw operations on this store alone, without replication'),
  );
  withSplitOptions(store);
  for (const role of ['scheduler', 'store'] as const) {
    withInspection(withNodeOptions(nodeGroup(program, role)))
      .option('--log-level <level>', LEVELS.join(', '), process.env.TROUPE_LOG_LEVEL ?? 'info')
      .option(...HTTP_OPTION)
      .enablePositionalOptions()
      // A word that is none may be a mistyped command: `checkNodeOptions` says so.
      .allowExcessArguments()
      .allowUnknownOption()
      .action((options: Partial<NodeFlags>, command: Command) =>
        runNode(role, checkNodeOptions(options, command) as NodeFlags),
      );
  }
}

async function runNode(role: 'scheduler' | 'store', options: NodeFlags): Promise<void> {
  const { name, data, logLevel } = options;
  checkToken('node', name);
  if (!LEVELS.includes(logLevel)) {
    throw new TroupeError('usage', `--log-level: "${logLevel}" is not one of ${LEVELS.join(', ')}`);
  }
  const settings = connectionSettings(options);
  const address = pagesAddress(options.http);
  const expectedStores = parseCount('--expected-stores', options.expectedStores ?? '3', 1, 7);
  const split = splitLimits(options);
  const inspection = inspectionAllowed(options);
  const logger = nodeLogger(name, logLevel);
  makeDirectory('--data', data);
  if (role === 'store' && process.env.UV_THREADPOOL_SIZE === undefined) {
    logger.warn({}, 'UV_THREADPOOL_SIZE is not set: set it to 16 so that compactions do not delay syncs');
  }
  const { cluster } = settings;
  const shared = {
    cluster,
    name,
    dataDir: data,
    nats: natsOptions(settings),
    schedulers: settings.schedulers,
    inspection,
    logger,
  };
  const stopWanted = stopRequest();
  let spans: SpanExport | undefined;
  let running: RunningNode | undefined;
  let pages: NodePages | undefined;
  try {
    if (role === 'store') spans = await exportNodeSpans('troupe-store', name, cluster, logger);
    const unready = () => (running === undefined ? `the ${role} is starting` : running.unready);
    pages = await servePages(address, { cluster, node: name, role }, unready, logger);
    const measured = pages === undefined ? shared : { ...shared, disk: pages.disk };
    const start = async (): Promise<RunningNode> => {
      // Loaded here, so that the commands of clients do not load RocksDB.
      if (role === 'store') {
        const { startStore } = await import('../store/index.js');
        const traced = spans === undefined ? {} : { tracerProvider: spans.provider };
        const standalone = options.standalone === true;
        return startStore({ ...measured, ...traced, standalone, tuning: { split } });
      }
      const { startScheduler } = await import('../scheduler/index.js');
      const { haltScheduling = false } = options;
      // By name, so that it can be said where all schedulers share their settings.
      const rejoin = options.rejoin === true || process.env.TROUPE_REJOIN === name;
      return startScheduler({ ...measured, expectedStores, rejoin, haltScheduling });
    };
    const node = await Promise.race([start(), stopWanted]);
    // A node that has not begun to serve owes nobody anything.
    if (node === undefined) process.exit();
    running = node;
    pages?.attach(node);
    process.on('message', (question: NodeQuestion) => {
      if (question.kind !== 'counters') return;
      const { heapUsed, external } = process.memoryUsage();
      report({ kind: 'counters', counters: { ...node.counters, heapUsed, external } });
    });
    logger.info({ cluster, nats: settings.nats }, `the ${role} serves`);
    report({ kind: 'serving' });
    const leave = async (): Promise<void> => {
      logger.info({}, 'asked to stop');
      // A launcher stops all of its nodes: there is nobody to hand over to.
      if (process.send === undefined) await handOver(node, logger);
    };
    await serve(node, name, stopWanted, leave);
    logger.info({}, `the ${role} is closed: everything that it acknowledged is on its disk`);
  } catch (failure) {
    const error = role === 'store' ? await explained(failure, name, data, settings) : failure;
    const message = error instanceof Error ? error.message : String(error);
    const repair = error instanceof TroupeError && 'repair' in error ? { repair: String(error.repair) } : {};
    const gone = error instanceof TroupeError && error.reason === STORE_GONE;
    report({ kind: 'failed', message, exitCode: exitCodeOf(error), ...repair, ...(gone ? { gone } : {}) });
    throw error;
  } finally {
    await spans?.close();
    pages?.serveToTheEnd();
    if (process.connected) process.disconnect();
    endSoon();
  }
}

/** The node is not ready from then on, and leads nothing that another can lead. */
async function handOver(node: RunningNode, logger: Logger): Promise<void> {
  const { leaders, leads } = node.measures;
  const led = leaders ?? leads ?? 0;
  const since = performance.now();
  const left = await node.handOver(HAND_OVER_MS);
  const ms = Math.round(performance.now() - since);
  const handedOver = Math.max(0, led - left);
  logger.info({ led, handedOver, ms }, `not ready any more; ${handedOver} of ${led} leaderships handed over`);
}

/** Where damage is behind the failure: what it means, and the command that repairs it. */
async function explained(
  failure: unknown,
  name: string,
  dataDir: string,
  { cluster, nats, natsGiven }: ConnectionSettings,
): Promise<unknown> {
  const { explainDamage } = await import('../store/damage.js');
  return explainDamage(failure, { name, dataDir, cluster, nats: natsGiven ? nats : undefined });
}

function report(message: NodeReport): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

import { realClock, silentLogger } from '../../actors/index.js';
import { type Engine, loadIdentity, RaftLog, saveIdentity } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import { type NodeOptions, openEngine, startSystem } from '../node-options.js';
import { INITIAL_LOG } from '../raft/initial-log.js';
import { SCHEDULER_GROUP, SchedulerNode } from './node.js';
import { SchedulerState } from './state.js';

export { SchedulerNode };

export interface SchedulerOptions extends NodeOptions {
  /** Stores that the first region waits for (3); counts until they are chosen. */
  readonly expectedStores?: number;
  /** The largest replicated command, in bytes, fixed when the cluster is born (1 MiB less 64 KiB). */
  readonly maxEntryBytes?: number;
  /** Unix milliseconds, which timestamps follow; `Date.now` when absent. */
  readonly wallClock?: () => number;
}

const DEFAULT_EXPECTED_STORES = 3;
/** The first region's peers take the ids from 2 up to where windows begin. */
const MAX_EXPECTED_STORES = 99;
export const DEFAULT_MAX_ENTRY_BYTES = 1024 * 1024 - 64 * 1024;
/** What a message needs beside the one entry that it may carry. */
const MESSAGE_OVERHEAD_BYTES = 4 * 1024;
const MIN_MAX_ENTRY_BYTES = 16 * 1024;

/**
 * Starts a scheduler: opens its data directory, which makes it a member of its group, and serves when it leads.
 *
 * @throws TroupeError `identity` or `conflict` when name, directory and cluster do not belong together or are in use,
 * `unavailable` when NATS is away, `failed` when the disk refuses or its data is damaged, `usage` for wrong options.
 */
export async function startScheduler(options: SchedulerOptions): Promise<SchedulerNode> {
  const { cluster, name, clock = realClock, random = Math.random, logger = silentLogger } = options;
  const { wallClock = Date.now } = options;
  const schedulers = options.schedulers ?? [name];
  const expectedStores = options.expectedStores ?? DEFAULT_EXPECTED_STORES;
  const maxEntryBytes = options.maxEntryBytes ?? DEFAULT_MAX_ENTRY_BYTES;
  if (!schedulers.includes(name)) {
    throw new TroupeError(
      'usage',
      `"${name}" is none of the schedulers ${schedulers.join(', ')}: add it to all of them.`,
    );
  }
  if (!Number.isInteger(expectedStores) || expectedStores < 1 || expectedStores > MAX_EXPECTED_STORES) {
    throw new TroupeError(
      'usage',
      `A cluster begins with 1 to ${MAX_EXPECTED_STORES} stores, not ${expectedStores}.`,
    );
  }
  if (!Number.isInteger(maxEntryBytes) || maxEntryBytes < MIN_MAX_ENTRY_BYTES) {
    throw new TroupeError(
      'usage',
      `The entry limit is at least ${MIN_MAX_ENTRY_BYTES} bytes, not ${maxEntryBytes}.`,
    );
  }
  const engine = await openEngine(options);
  try {
    const incarnation = await claimDirectory(engine, options, schedulers);
    const state = await SchedulerState.load(engine);
    const system = await startSystem(options, incarnation);
    try {
      if (maxEntryBytes > system.maxBody - MESSAGE_OVERHEAD_BYTES) {
        throw new TroupeError(
          'usage',
          `An entry limit of ${maxEntryBytes} bytes does not fit messages of ${system.maxBody} bytes.`,
        );
      }
      const node = new SchedulerNode({
        cluster,
        system,
        engine,
        state,
        schedulers,
        expectedStores,
        maxEntryBytes,
        clock,
        wallClock,
        random,
        logger,
        pid: process.pid,
        tuning: options.tuning,
      });
      await node.start();
      return node;
    } catch (error) {
      await system.close();
      throw error;
    }
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/**
 * Makes an empty directory this member's, with the group's first state, or checks that it already is.
 * @returns this start's incarnation
 */
async function claimDirectory(
  engine: Engine,
  options: SchedulerOptions,
  schedulers: readonly string[],
): Promise<number> {
  const { cluster, name } = options;
  const known = await loadIdentity(engine);
  if (known !== undefined && (known.cluster !== cluster || known.node !== name || known.storeId !== 0)) {
    const what = known.storeId === 0 ? 'scheduler' : 'store';
    throw new TroupeError(
      'identity',
      `The data directory belongs to the ${what} "${known.node}" of the cluster "${known.cluster}", not to the scheduler "${name}" of "${cluster}": give this node a directory of its own.`,
    );
  }
  const incarnation = Math.max((known?.incarnation ?? 0) + 1, options.incarnation ?? Date.now());
  const batch = engine.batch();
  saveIdentity(batch, { cluster, node: name, clusterId: 0, storeId: 0, incarnation });
  if (known === undefined) {
    new RaftLog(engine).create(batch, SCHEDULER_GROUP, INITIAL_LOG, {
      voters: schedulers.map((_, i) => i + 1),
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    });
  }
  await engine.write(batch);
  await engine.sync();
  return incarnation;
}

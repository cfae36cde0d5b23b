import { realClock, silentLogger } from '../../actors/index.js';
import { type Engine, loadIdentity, loadRegionState, saveIdentity } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import { ClientLockLink, type LockLink } from '../gc/index.js';
import { type NodeOptions, openEngine, startSystem } from '../node-options.js';
import { type MemberRecord, memberRecord, saveMember } from './member-record.js';
import { createGroup, Membership } from './membership.js';
import { SchedulerNode } from './node.js';
import { SCHEDULER_GROUP, saveSchedulerRegion } from './snapshots.js';
import { SchedulerState } from './state.js';
import type { SchedulerTuning } from './tuning.js';

export { SchedulerNode };

export interface SchedulerOptions extends Omit<NodeOptions, 'tuning'> {
  /** Stores that the first region waits for (3); counts until they are chosen. */
  readonly expectedStores?: number;
  /** Places nothing until somebody sets `halt-scheduling` to false (false). */
  readonly haltScheduling?: boolean;
  /** The largest replicated command, in bytes, fixed when the cluster is born (1 MiB less 64 KiB). */
  readonly maxEntryBytes?: number;
  /** Its data directory is lost: an empty one takes its place (false). The other schedulers must run. */
  readonly rejoin?: boolean;
  /** Unix milliseconds, which timestamps follow; `Date.now` when absent. */
  readonly wallClock?: () => number;
  /** Instead of a client of the cluster: how the collector of old versions reaches locks. */
  readonly lockLink?: () => LockLink;
  readonly tuning?: SchedulerTuning;
}

const DEFAULT_EXPECTED_STORES = 3;
/** The first region's peers take the ids from 2 up to where windows begin. */
const MAX_EXPECTED_STORES = 99;
export const DEFAULT_MAX_ENTRY_BYTES = 1024 * 1024 - 64 * 1024;
const MAX_SCHEDULERS = 7;
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
  if (new Set(schedulers).size < schedulers.length || schedulers.length > MAX_SCHEDULERS) {
    throw new TroupeError(
      'usage',
      `--schedulers says ${schedulers.join(',')}: give each name once, and ${MAX_SCHEDULERS} at most.`,
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
    const { incarnation, record } = await claimDirectory(engine, options, schedulers);
    const system = await startSystem(options, incarnation);
    try {
      if (maxEntryBytes > system.maxBody - MESSAGE_OVERHEAD_BYTES) {
        throw new TroupeError(
          'usage',
          `An entry limit of ${maxEntryBytes} bytes does not fit messages of ${system.maxBody} bytes.`,
        );
      }
      const { rejoin = false } = options;
      const membership = new Membership({ system, engine, clock, random, logger, record, rejoin });
      await membership.join();
      const node = new SchedulerNode({
        cluster,
        membership,
        system,
        engine,
        state: new SchedulerState(),
        schedulers,
        expectedStores,
        maxEntryBytes,
        clock,
        haltScheduling: options.haltScheduling ?? false,
        wallClock,
        random,
        logger,
        pid: process.pid,
        lockLink:
          options.lockLink ??
          ((on) => new ClientLockLink({ system: on, cluster, schedulers, clock, random, maxEntryBytes })),
        tuning: options.tuning,
        disk: options.disk,
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
 * Makes an empty directory this member's, or checks that it already is.
 * @returns this start's incarnation, and what the directory knows of the group
 */
async function claimDirectory(
  engine: Engine,
  options: SchedulerOptions,
  schedulers: readonly string[],
): Promise<{ readonly incarnation: number; readonly record: MemberRecord }> {
  const { cluster, name, random = Math.random } = options;
  const known = await loadIdentity(engine);
  if (known !== undefined && (known.cluster !== cluster || known.node !== name || known.storeId !== 0)) {
    const what = known.storeId === 0 ? 'scheduler' : 'store';
    throw new TroupeError(
      'identity',
      `The data directory belongs to the ${what} "${known.node}" of the cluster "${known.cluster}", not to the scheduler "${name}" of "${cluster}": give this node a directory of its own.`,
    );
  }
  const fresh = known === undefined;
  const record = await memberRecord(engine, name, schedulers, fresh, random);
  const incarnation = Math.max((known?.incarnation ?? 0) + 1, options.incarnation ?? Date.now());
  const batch = engine.batch();
  saveIdentity(batch, { cluster, node: name, clusterId: 0, storeId: 0, incarnation });
  saveMember(batch, record);
  const id = schedulers.indexOf(name) + 1;
  if (fresh && record.admitted) createGroup(engine, batch, schedulers.length, id);
  // From before the group's snapshots.
  else if (record.admitted && (await loadRegionState(engine, SCHEDULER_GROUP)) === undefined)
    saveSchedulerRegion(batch, schedulers.length, id);
  await engine.write(batch);
  await engine.sync();
  return { incarnation, record };
}

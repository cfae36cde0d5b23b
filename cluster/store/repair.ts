/**
 * Repairs a store whose disk is damaged: moves its data directory aside, and makes a fresh one that has the store's
 * identity and the knowledge that everything else was forgotten. The peers come back by snapshot when the store is
 * started (docs/decisions/store-repair.md).
 */
import { readdir, rename } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Logger, realClock, silentLogger } from '../../actors/index.js';
import { syncDirectory } from '../../storage/durability.js';
import {
  DirectoryLockedError,
  loadIdentity,
  openRocksEngine,
  StorageCorruptionError,
  type StoreIdentity,
  saveIdentity,
} from '../../storage/index.js';
import { DecodeError, metapb } from '../../storage/proto/index.js';
import { saveRepair } from '../../storage/repair-record.js';
import { TroupeError } from '../errors.js';
import { type NodeOptions, startSystem } from '../node-options.js';
import { SchedulerClient } from '../pd-client.js';

export interface RepairOptions extends Omit<NodeOptions, 'engine' | 'dataDir' | 'tuning'> {
  readonly dataDir: string;
  /** For the name of the directory that is moved aside; now when absent. */
  readonly at?: Date;
  /** Asked once everything is known and nothing has been changed; `false` leaves everything as it is. */
  readonly confirm: (plan: RepairPlan) => Promise<boolean>;
}

export interface RepairPlan {
  readonly storeId: number;
  /** What is known of the directory. */
  readonly condition: DirectoryCondition;
  /** Where the directory goes; `undefined` when there is nothing to keep. */
  readonly aside: string | undefined;
}

/** `sound`: it opens; a block of it may be damaged all the same. `gone`: it is empty, or not there. */
export type DirectoryCondition = 'damaged' | 'sound' | 'gone';

export interface Repaired extends RepairPlan {
  /** Peers with ids below it have forgotten their votes. */
  readonly watermark: number;
}

/** Milliseconds for each question to the scheduler. */
const PATIENCE = { timeout: 10_000 };

/**
 * Repairs the store of this name. It must not run: its name is taken meanwhile. When it returns, the fresh directory is
 * durable. A repair that was interrupted is repeated in the same way.
 * @returns `undefined` when `confirm` said no
 * @throws TroupeError `conflict` when the store or its directory is in use, `identity` when the directory is another
 * store's or the store was removed, `not-found` when the cluster has no such store, `unavailable` without a scheduler
 */
export async function repairStore(options: RepairOptions): Promise<Repaired | undefined> {
  const { cluster, name, clock = realClock, random = Math.random, schedulers = ['scheduler-1'] } = options;
  const dataDir = resolve(options.dataDir);
  const { condition, identity } = await examine(dataDir, options.logger ?? silentLogger);
  checkIdentity(identity, cluster, name, dataDir);

  const incarnation = Math.max((identity?.incarnation ?? 0) + 1, options.incarnation ?? Date.now());
  // In the store's own name: nobody else can run under it meanwhile, and only servers are given ids.
  const system = await startSystem({ ...options, dataDir }, incarnation);
  try {
    const clusterId = identity?.clusterId ?? 0;
    const scheduler = new SchedulerClient({ system, cluster, schedulers, clock, random, clusterId });
    const store = await knownStore(scheduler, options, identity);
    const aside =
      condition === 'gone' ? undefined : `${dataDir}.damaged-${timestamp(options.at ?? new Date())}`;
    const plan: RepairPlan = { storeId: store.id, condition, aside };
    if (!(await options.confirm(plan))) return undefined;
    const watermark = await scheduler.allocIds(1, PATIENCE);
    if (aside !== undefined) await moveAside(dataDir, aside);
    await makeFresh(dataDir, watermark, {
      cluster,
      node: name,
      clusterId: scheduler.clusterId,
      storeId: store.id,
      incarnation,
    });
    return { ...plan, watermark };
  } finally {
    await system.close();
  }
}

/** Opens the directory as its store would. @throws TroupeError when it is in use, or holds something else */
async function examine(
  dataDir: string,
  logger: Logger,
): Promise<{ readonly condition: DirectoryCondition; readonly identity?: StoreIdentity }> {
  const names = await readdir(dataDir).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw new TroupeError('usage', `--data: ${dataDir} cannot be read: ${cause.message}`, { cause });
  });
  if (names.length === 0) return { condition: 'gone' };
  if (!names.some((name) => DATABASE_FILE.test(name))) {
    throw new TroupeError(
      'usage',
      `--data: ${dataDir} holds no data of a store: name the directory that the store was started with`,
    );
  }
  try {
    const engine = await openRocksEngine({ path: dataDir, logger });
    try {
      const identity = await loadIdentity(engine);
      return { condition: 'sound', ...(identity === undefined ? {} : { identity }) };
    } finally {
      await engine.close();
    }
  } catch (error) {
    if (error instanceof DirectoryLockedError)
      throw new TroupeError('conflict', error.message, { cause: error });
    if (error instanceof StorageCorruptionError || error instanceof DecodeError)
      return { condition: 'damaged' };
    throw new TroupeError('failed', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

const DATABASE_FILE = /^(CURRENT|IDENTITY|WAL-SYNCED|MANIFEST-\d+|\d+\.(sst|log))$/;

function checkIdentity(
  identity: StoreIdentity | undefined,
  cluster: string,
  name: string,
  dataDir: string,
): void {
  if (identity === undefined || (identity.cluster === cluster && identity.node === name)) return;
  throw new TroupeError(
    'identity',
    `${dataDir} belongs to "${identity.node}" of the cluster "${identity.cluster}", not to "${name}" of "${cluster}": nothing was changed; name the directory, the store and the cluster that belong together`,
  );
}

async function knownStore(
  scheduler: SchedulerClient,
  { cluster, name }: RepairOptions,
  identity: StoreIdentity | undefined,
): Promise<metapb.Store> {
  const store = (await scheduler.getAllStores(PATIENCE)).find(({ address }) => address === name);
  if (store === undefined) {
    throw new TroupeError(
      'not-found',
      `The cluster "${cluster}" has no store "${name}": start it with an empty directory, and it joins as a new one.`,
    );
  }
  if (store.state === metapb.StoreState.Tombstone) {
    throw new TroupeError(
      'identity',
      `Store ${store.id} ("${name}") was removed from the cluster for good: use an empty directory and a new name.`,
    );
  }
  if (identity !== undefined && identity.storeId !== store.id) {
    throw new TroupeError(
      'identity',
      `The directory says store ${identity.storeId}, but "${name}" is store ${store.id} of this cluster: nothing was changed.`,
    );
  }
  return store;
}

async function moveAside(dataDir: string, aside: string): Promise<void> {
  try {
    await rename(dataDir, aside);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError(
      'failed',
      `${dataDir} cannot be moved aside (${reason}): if it is a mount point, move what is in it elsewhere and run this again.`,
      { cause },
    );
  }
  await syncDirectory(dirname(dataDir));
}

/** One batch, synced: a directory with half of it would be taken for an empty one, which the scheduler refuses. */
async function makeFresh(
  dataDir: string,
  watermark: number,
  identity: Omit<StoreIdentity, 'format'>,
): Promise<void> {
  const engine = await openRocksEngine({ path: dataDir });
  try {
    const batch = engine.batch();
    saveIdentity(batch, identity);
    saveRepair(batch, { watermark });
    await engine.write(batch);
    await engine.sync();
  } finally {
    await engine.close();
  }
}

/** `20261123T191530Z`. */
function timestamp(at: Date): string {
  return at.toISOString().replace(/[-:]|\.\d+/g, '');
}

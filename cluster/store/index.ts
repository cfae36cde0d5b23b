import { statfs } from 'node:fs/promises';
import { realClock, silentLogger } from '../../actors/index.js';
import { MvccEngine } from '../../storage/index.js';
import { COMMAND_VERSION, metapb } from '../../storage/proto/index.js';
import { type NodeOptions, openEngine, startSystem } from '../node-options.js';
import { SchedulerClient } from '../pd-client.js';
import { StoreTracing } from '../tracing/store-tracing.js';
import { Tracing } from '../tracing/tracing.js';
import { noteDamage } from './damage.js';
import { bindIdentity, checkedIdentity } from './identity.js';
import { StoreNode } from './node.js';
import type { DiskUsage } from './reporter.js';

export type { StoreNode };

export interface StoreOptions extends NodeOptions {
  /** Raw operations on this node alone, without Raft; its cluster has one store. */
  readonly standalone?: boolean;
}

/** Milliseconds that a store waits for a scheduler when it starts. */
const REGISTER_TIMEOUT_MS = 30_000;

/**
 * Starts a store: opens its data directory, registers with the scheduler, and serves the regions that it holds.
 *
 * @throws TroupeError `identity` or `conflict` when name, directory and cluster do not belong together or are in use,
 * `unavailable` when NATS or every scheduler is away, `failed` when the disk refuses or its data is damaged.
 */
export async function startStore(options: StoreOptions): Promise<StoreNode> {
  const { cluster, name, clock = realClock, random = Math.random, logger = silentLogger } = options;
  const engine = new MvccEngine(await openEngine(options));
  try {
    const known = await checkedIdentity(engine, options);
    const incarnation = Math.max((known?.incarnation ?? 0) + 1, options.incarnation ?? Date.now());
    const system = await startSystem(options, incarnation);
    try {
      const scheduler = new SchedulerClient({
        system,
        cluster,
        schedulers: options.schedulers ?? ['scheduler-1'],
        clock,
        random,
        clusterId: known?.clusterId ?? 0,
      });
      const pid = process.pid;
      const startTime = Math.floor(incarnation / 1000);
      const describe = (storeId: number): metapb.Store =>
        metapb.Store.from({
          id: storeId,
          address: name,
          pid,
          incarnation,
          startTimestamp: startTime,
          commandVersion: COMMAND_VERSION,
        });
      const patience = { timeout: REGISTER_TIMEOUT_MS };
      let registered = await scheduler.putStore(describe(known?.storeId ?? 0), patience);
      const identity = await bindIdentity(engine, {
        cluster,
        node: name,
        clusterId: scheduler.clusterId,
        storeId: known?.storeId ?? registered.storeId,
        incarnation,
      });
      if (known === undefined) registered = await scheduler.putStore(describe(identity.storeId), patience);
      const tracing = new Tracing(options.tracerProvider);
      const { storeId } = identity;
      const node = new StoreNode({
        cluster,
        system,
        engine,
        scheduler,
        clock,
        random,
        logger,
        identity,
        maxEntryBytes: registered.maxEntryBytes,
        standalone: options.standalone ?? false,
        tuning: options.tuning,
        disk: options.disk,
        tracing: tracing.on ? new StoreTracing({ tracing, clock, cluster, node: name, storeId }) : undefined,
        pid,
        startTime,
        diskUsage: () => diskUsage(options.dataDir),
      });
      const { dataDir } = options;
      if (dataDir !== undefined) void node.failed.then((error) => noteDamage(error, dataDir));
      try {
        await node.start();
      } catch (error) {
        await node.close();
        throw error;
      }
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

async function diskUsage(directory: string | undefined): Promise<DiskUsage> {
  if (directory === undefined) return { capacity: 0, available: 0, used: 0 };
  const { bsize, blocks, bavail, bfree } = await statfs(directory);
  return { capacity: blocks * bsize, available: bavail * bsize, used: (blocks - bfree) * bsize };
}

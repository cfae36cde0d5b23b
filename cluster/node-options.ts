import type { TracerProvider } from '@opentelemetry/api';
import {
  ActorSystem,
  ActorSystemError,
  type Clock,
  type Logger,
  type NatsTransportOptions,
  natsTransport,
  type Random,
  type Transport,
} from '../actors/index.js';
import {
  DirectoryLockedError,
  type Engine,
  EngineFailedError,
  openRocksEngine,
  StorageCorruptionError,
} from '../storage/index.js';
import { clusterError, TroupeError } from './errors.js';
import { nodeInspection } from './inspection/node-inspection.js';
import { codecs } from './protocol.js';
import type { DiskObserver } from './raft/host.js';
import type { StoreTuning } from './store/tuning.js';

/** What every node of a cluster is started with. */
export interface NodeOptions {
  /** The cluster's name: a token of its NATS subjects. */
  readonly cluster: string;
  /** The node's name, unique in its cluster, for example `store-1`. */
  readonly name: string;
  /** Where its data lives; made when absent. */
  readonly dataDir?: string;
  /** Instead of `dataDir`: an engine that is open already. The node closes it. */
  readonly engine?: Engine;
  readonly nats?: NatsTransportOptions;
  /** Instead of `nats`. */
  readonly transport?: Transport;
  /** Names of the scheduler nodes (`scheduler-1`). */
  readonly schedulers?: readonly string[];
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
  /** Grows at each start of the node: the wall clock's milliseconds when absent. */
  readonly incarnation?: number;
  readonly tuning?: StoreTuning;
  /** Whether inspectors may attach (true). */
  readonly inspection?: boolean;
  readonly disk?: DiskObserver;
  /**
   * Who takes the spans of what clients trace; where nothing is said, the provider that is registered with
   * `@opentelemetry/api` when the node starts.
   */
  readonly tracerProvider?: TracerProvider;
}

/** Opens the node's data directory. @throws TroupeError `conflict` when it is in use, `failed` when it is damaged */
export async function openEngine({ dataDir, engine, logger }: NodeOptions): Promise<Engine> {
  if (engine !== undefined) return engine;
  if (dataDir === undefined) throw new TroupeError('usage', 'A node needs a directory for its data.');
  try {
    return await openRocksEngine({ path: dataDir, ...(logger === undefined ? {} : { logger }) });
  } catch (error) {
    if (error instanceof DirectoryLockedError)
      throw new TroupeError('conflict', error.message, { cause: error });
    if (error instanceof StorageCorruptionError || error instanceof EngineFailedError) {
      throw new TroupeError('failed', error.message, { cause: error });
    }
    throw error;
  }
}

/** Joins the cluster's messaging under the node's name. @throws TroupeError `unavailable`, `conflict`, … */
export async function startSystem(options: NodeOptions, incarnation: number): Promise<ActorSystem> {
  const { cluster, name: node, nats, transport, clock, random, logger } = options;
  if (transport === undefined && nats === undefined)
    throw new TroupeError('usage', 'A node needs a NATS server.');
  try {
    const system = await ActorSystem.start({
      cluster,
      node,
      role: 'server',
      incarnation,
      transport: transport ?? natsTransport(nats ?? {}),
      codecs: 'registered-only',
      inspection: (options.inspection ?? true) && nodeInspection(),
      ...(clock === undefined ? {} : { clock }),
      ...(random === undefined ? {} : { random }),
      ...(logger === undefined ? {} : { logger }),
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    return system;
  } catch (error) {
    throw error instanceof ActorSystemError ? clusterError(error) : error;
  }
}

import { randomBytes } from 'node:crypto';
import type { TracerProvider } from '@opentelemetry/api';
import {
  ActorSystem,
  ActorSystemError,
  type Clock,
  type Logger,
  NATS_OPTIONS,
  type NatsTransportOptions,
  natsTransport,
  type Random,
  realClock,
  type Transport,
  unknownOption,
} from '../../actors/index.js';
import { clusterError, TroupeError } from '../errors.js';
import { SchedulerClient } from '../pd-client.js';
import { codecs } from '../protocol.js';
import { ClientTracing } from '../tracing/client-tracing.js';
import { Tracing } from '../tracing/tracing.js';
import { ClusterAdmin } from './cluster-admin.js';
import { Database } from './database.js';
import { checkedTimeout } from './deadline.js';
import { Dispatcher } from './dispatcher.js';
import { Pauses } from './pauses.js';
import { RawSpace } from './raw.js';
import { RAW_SPACE, TXN_SPACE } from './space.js';
import { TimestampClient } from './timestamps.js';
import { ServiceSafePoints } from './txn/service-safe-points.js';
import { Transactions } from './txn/transactions.js';

/** NATS options (`servers` or your own `connection`, credentials), and which cluster to talk to. */
export interface ConnectOptions extends NatsTransportOptions {
  /** The cluster's name. */
  readonly cluster: string;
  /** Instead of NATS. */
  readonly transport?: Transport;
  /** Node names of the schedulers (`scheduler-1`). */
  readonly schedulers?: readonly string[];
  /** Milliseconds that a call may take where it says nothing itself, and that connecting may take (10 s). */
  readonly timeout?: number;
  /** This client's name on the network, beginning with `client-`; a random one where nothing is said. */
  readonly name?: string;
  /** Time for deadlines and pauses; the real one when absent. */
  readonly clock?: Clock;
  /** Chance for pauses; the real one when absent. */
  readonly random?: Random;
  /** Where it says what goes wrong behind the calls; nowhere when absent. */
  readonly logger?: Logger;
  /** Who takes spans; where nothing is said, the provider that is registered with `@opentelemetry/api`. */
  readonly tracerProvider?: TracerProvider;
}

/** Beside those of NATS. */
const OWN_OPTIONS = {
  transport: true,
  schedulers: true,
  timeout: true,
  name: true,
  clock: true,
  random: true,
  logger: true,
  tracerProvider: true,
} satisfies Record<Exclude<keyof ConnectOptions, keyof NatsTransportOptions>, true>;

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Connects to a cluster.
 *
 * @throws TroupeError `unavailable` when NATS does not answer or refuses, or no scheduler of that cluster serves in
 * time; `usage` for options that cannot be
 */
export async function connect(options: ConnectOptions): Promise<Database> {
  const {
    cluster,
    transport,
    schedulers = ['scheduler-1'],
    timeout: givenTimeout = DEFAULT_TIMEOUT_MS,
    name,
    tracerProvider,
    clock = realClock,
    random = Math.random,
    logger,
    ...nats
  } = options;
  const unknown = unknownOption(options, [...NATS_OPTIONS, ...Object.keys(OWN_OPTIONS)], 'connect');
  if (unknown !== undefined) throw new TroupeError('usage', unknown);
  const timeout = checkedTimeout(givenTimeout, 'usage');
  const system = await startClient(
    cluster,
    name ?? `client-${randomBytes(9).toString('hex')}`,
    transport ?? natsTransport(nats),
    { clock, random, ...(logger === undefined ? {} : { logger }) },
  );
  try {
    const scheduler = new SchedulerClient({ system, cluster, schedulers, clock, random });
    const { maxEntryBytes } = await scheduler.bootstrapInfo({ timeout });
    const source = {
      scanRegions: (start: Uint8Array, limit: number, time: number) =>
        scheduler.scanRegions(start, new Uint8Array(0), limit, { timeout: time }),
      getAllStores: (time: number) => scheduler.getAllStores({ timeout: time }),
    };
    const routing = { system, clock, random, maxEntryBytes, source };
    const tracing = new Tracing(tracerProvider);
    const spans = (space: string) => new ClientTracing(tracing, cluster, space);
    const rawKeys = new Dispatcher({ ...routing, space: RAW_SPACE, tracing: spans('raw') });
    const txnKeys = new Dispatcher({ ...routing, space: TXN_SPACE, tracing: spans('txn') });
    const raw = new RawSpace({ dispatcher: rawKeys, clock, timeout, maxEntryBytes });
    const pauses = new Pauses(clock);
    const timestamps = new TimestampClient({ system, source: scheduler, clock, timeout });
    const transactions = new Transactions({
      dispatcher: txnKeys,
      timestamps,
      waiting: { clock, random, pauses },
      timeout,
      maxEntryBytes,
      holder: new ServiceSafePoints(scheduler),
      client: system.node,
    });
    const admin = new ClusterAdmin({ system, scheduler, timestamps, clock, random, pauses, timeout });
    const dispatchers = [rawKeys, txnKeys];
    const parts = { system, dispatchers, raw, transactions, scheduler, cluster: admin, timestamps, pauses };
    return new Database(parts);
  } catch (error) {
    await system.close();
    throw error;
  }
}

async function startClient(
  cluster: string,
  node: string,
  transport: Transport,
  options: { readonly clock: Clock; readonly random: Random; readonly logger?: Logger },
): Promise<ActorSystem> {
  try {
    const system = await ActorSystem.start({
      ...options,
      cluster,
      node,
      transport,
      role: 'client',
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    return system;
  } catch (error) {
    throw error instanceof ActorSystemError ? clusterError(error) : error;
  }
}

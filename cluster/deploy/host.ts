/** A host: one process, one directory, any number of deployed actors. */

import { randomBytes } from 'node:crypto';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import type { TracerProvider } from '@opentelemetry/api';
import {
  ActorSystem,
  ActorSystemError,
  connectNats,
  type Logger,
  type NatsTransportOptions,
  natsTransport,
  realClock,
} from '../../actors/index.js';
import { type Engine, loadIdentity, StorageError } from '../../storage/index.js';
import { clusterError, TroupeError } from '../errors.js';
import { nodeInspection } from '../inspection/node-inspection.js';
import { openEngine } from '../node-options.js';
import type { DiskObserver } from '../raft/host.js';
import { HandlingSpans } from '../tracing/actor-tracing.js';
import { Tracing } from '../tracing/tracing.js';
import type { SharedParts } from './actor-family.js';
import { Backlog } from './backlog.js';
import { Claims, namesOfCluster } from './claim.js';
import { NatsCourier } from './courier.js';
import { type Deployable, Deployment, hasState, purge } from './deployment.js';
import { HandedFiles, type HandOver, readHandOver } from './handed-files.js';
import type { HostInfo } from './host-info.js';
import { Journal } from './journal.js';
import { deploySubject, hostsSubject, NAME, purgeSubject, readObject } from './protocol.js';
import { HOST_KEY } from './records.js';

export interface HostOptions {
  readonly cluster: string;
  /** The host's name; that of the directory, or one drawn by chance, where nothing is said. */
  readonly name: string | undefined;
  readonly dataDir: string;
  /** Instead of the database in `dataDir`: an engine that is open already. The host closes it. */
  readonly engine?: Engine;
  readonly nats: NatsTransportOptions;
  readonly schedulers: readonly string[];
  readonly logger: Logger;
  /** Told how long the disk takes. */
  readonly disk?: DiskObserver;
  /** Whether files may be handed to it: whoever may publish there runs code here. */
  readonly takesFiles: boolean;
  /** Who takes spans; where nothing is said, the provider that is registered when the host starts. */
  readonly tracerProvider?: TracerProvider | undefined;
  /** Whether inspectors may attach (true). */
  readonly inspection?: boolean;
}

const FORMAT = 1;
/** More names than a process should serve: every one has subscriptions of its own. */
const MAX_DEPLOYMENTS = 1000;

interface Identity {
  readonly node: string;
  readonly id: string;
}

export class DeployHost {
  /** Resolves when the host cannot go on, with a sentence that says why. */
  readonly failed: Promise<Error>;
  readonly #options: HostOptions;
  readonly #connection: NatsConnection;
  readonly #system: ActorSystem;
  readonly #engine: Engine;
  readonly #journal: Journal;
  readonly #claims: Claims;
  readonly #files: HandedFiles;
  readonly #shared: SharedParts;
  /** Absent where nobody takes spans. */
  readonly #spans: HandlingSpans | undefined;
  readonly #deployments = new Map<string, Deployment>();
  /** Names that are being deployed or undeployed. */
  readonly #busy = new Set<string>();
  readonly #ended = new Map<string, (error: TroupeError | undefined) => void>();
  readonly #subscriptions: Subscription[] = [];
  #connected = true;
  #closing = false;

  private constructor(
    options: HostOptions,
    connection: NatsConnection,
    system: ActorSystem,
    engine: Engine,
    identity: Identity,
  ) {
    this.#options = options;
    this.#connection = connection;
    this.#system = system;
    this.#engine = engine;
    const { cluster, schedulers, dataDir, logger } = options;
    this.#journal = new Journal(engine, system, options.disk);
    this.failed = Promise.race([this.#journal.broken, engine.failed, system.failed]).then(forPeople);
    this.#claims = new Claims({
      connection,
      cluster,
      openNames: () => namesOfCluster(connection, cluster, schedulers),
      node: identity.node,
      hostId: identity.id,
      incarnation: system.incarnation,
      logger,
    });
    this.#files = new HandedFiles(engine, dataDir);
    this.#shared = {
      system,
      engine,
      journal: this.#journal,
      courier: new NatsCourier(connection, cluster, logger),
      backlog: new Backlog(system.clock, logger),
      counts: { eventsApplied: 0, eventsRepeated: 0, effectsLeft: 0 },
      wall: Date.now,
      newLife: () => randomBytes(8).toString('hex'),
    };
    const tracing = new Tracing(options.tracerProvider);
    this.#spans = tracing.on ? new HandlingSpans(tracing, realClock, identity.node) : undefined;
    system.onStatus((status) => {
      if (status.type === 'disconnected') this.#connected = false;
      if (status.type !== 'reconnected') return;
      this.#connected = true;
      for (const deployment of this.#deployments.values()) deployment.announce();
    });
  }

  /** @throws TroupeError `unavailable`, `conflict` or `identity` */
  static async start(options: HostOptions): Promise<DeployHost> {
    const { cluster, name, dataDir, nats, logger } = options;
    const engine = options.engine ?? (await openEngine({ cluster, name: name ?? '', dataDir, logger }));
    let connection: NatsConnection | undefined;
    let system: ActorSystem | undefined;
    try {
      const identity = await identify(engine, options);
      const { node } = identity;
      connection = await connectNats(nats, `troupe ${cluster} ${node}`, logger, () => false);
      system = await ActorSystem.start({
        cluster,
        node,
        role: 'server',
        inspection: (options.inspection ?? true) && nodeInspection(),
        transport: natsTransport({
          connection,
          service: { name: 'troupe-host', description: `hosts of deployed actors of the cluster ${cluster}` },
        }),
        logger,
      });
      const host = new DeployHost(options, connection, system, engine, identity);
      await host.#open();
      return host;
    } catch (error) {
      await system?.close();
      await connection?.close();
      await engine.close();
      throw error instanceof ActorSystemError ? clusterError(error) : error;
    }
  }

  get node(): string {
    return this.#system.node;
  }

  /** The actor system that the deployed machines live in. */
  get system(): ActorSystem {
    return this.#system;
  }

  get engine(): Engine {
    return this.#engine;
  }

  /** For metrics, by the names in `operations/measures.ts`. */
  get measures(): Readonly<Record<string, number>> {
    const deployments = [...this.#deployments.values()];
    return {
      deployments: deployments.length,
      actorsInMemory: deployments.reduce((sum, { inMemory }) => sum + inMemory, 0),
      ...this.#shared.counts,
      effectsPending: this.#shared.backlog.pending,
      batches: this.#journal.batches,
      openSpans: this.#spans?.open ?? 0,
      droppedSpans: this.#spans?.dropped ?? 0,
    };
  }

  /** Why nobody reaches its actors now; `undefined` while they are served. */
  get unready(): string | undefined {
    if (this.#closing) return 'the host is stopping';
    return this.#connected ? undefined : 'the host has lost the NATS server';
  }

  /**
   * Serves a machine from now on.
   * @returns a promise for its end: of `undefined` when it was undeployed, of an error when another host took the name
   * @throws TroupeError `conflict` when the name is taken
   */
  async deploy(what: Deployable): Promise<{ readonly ended: Promise<TroupeError | undefined> }> {
    const { name } = what;
    if (this.#deployments.has(name) || this.#busy.has(name)) {
      throw deployedAlready(name);
    }
    if (this.#deployments.size >= MAX_DEPLOYMENTS) {
      throw new TroupeError('conflict', `${this.node} serves ${MAX_DEPLOYMENTS} actors: start another host`);
    }
    this.#busy.add(name);
    try {
      const deployment = await Deployment.open(what, {
        ...this.#shared,
        connection: this.#connection,
        cluster: this.#options.cluster,
        node: this.node,
        claims: this.#claims,
        spans: this.#spans,
        undeploy: (andPurge) => this.undeploy(name, andPurge),
        lost: (error) => {
          this.#options.logger.error({ actor: name }, error.message);
          this.#gone(name)(error);
        },
      });
      this.#deployments.set(name, deployment);
    } finally {
      this.#busy.delete(name);
    }
    const ended = new Promise<TroupeError | undefined>((resolve) => this.#ended.set(name, resolve));
    return { ended };
  }

  /** Ends a deployment. @param andPurge its state goes too. @throws TroupeError `conflict` while something else is done with it */
  undeploy(name: string, andPurge: boolean): Promise<void> {
    return this.#end(name, async () => {
      await this.#files.forget(name);
      if (andPurge) await purge(this.#engine, name);
      this.#options.logger.info({ actor: name, purged: andPurge }, 'an actor was undeployed');
    });
  }

  /** @param then what is done about its file and its state before another deployment may take the name */
  async #end(name: string, then: () => Promise<void>): Promise<void> {
    const deployment = this.#deployments.get(name);
    if (deployment === undefined) return;
    if (this.#busy.has(name)) {
      throw new TroupeError('conflict', `${name} is being deployed or undeployed: try again in a moment`);
    }
    this.#busy.add(name);
    try {
      await deployment.close();
      await then();
    } finally {
      this.#busy.delete(name);
    }
    const tell = this.#gone(name);
    // Whoever asked gets its answer before the command ends.
    setImmediate(() => tell(undefined));
  }

  async info(): Promise<HostInfo> {
    const actors = await Promise.all([...this.#deployments.values()].map((deployment) => deployment.info()));
    return { node: this.node, pid: process.pid, actors };
  }

  /** Stops everything; what has been acknowledged stays. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    const closing = Promise.all([...this.#deployments.values()].map((deployment) => deployment.close()));
    await Promise.race([closing, this.#journal.broken]);
    await this.#journal.idle();
    await this.#claims.close();
    this.#journal.close();
    await this.#system.close();
    this.#spans?.close();
    await this.#connection.drain().catch(() => {});
    await this.#engine.close();
  }

  async #open(): Promise<void> {
    const { cluster, takesFiles, logger } = this.#options;
    this.#answer(hostsSubject(cluster), () => this.info());
    this.#answer(purgeSubject(cluster), ({ data }) => this.#purgeLeft(readObject(data)?.name));
    if (takesFiles) {
      for (const handed of await this.#files.all()) {
        try {
          await this.deploy(await this.#files.load(handed));
          logger.info({ actor: handed.name }, 'an actor is served again');
        } catch (error) {
          logger.error({ err: error, actor: handed.name }, 'an actor that was handed over cannot be served');
        }
      }
      this.#answer(deploySubject(cluster, this.node), async (message) => {
        await this.#takeOver(readHandOver(message.data));
        return { ok: true };
      });
    }
    await this.#connection.flush();
  }

  async #takeOver(handed: HandOver): Promise<void> {
    const { name } = handed;
    const present = this.#deployments.has(name);
    if (present && handed.replace !== true) throw deployedAlready(name);
    const loaded = { ...(await this.#files.load(handed)), fresh: handed.fresh };
    const before = present ? (await this.#files.all()).find((one) => one.name === name) : undefined;
    // Its row stays until the new one is written over it: whenever the power fails, one of the two serves again.
    if (present) await this.#end(name, async () => {});
    try {
      await this.deploy(loaded);
    } catch (error) {
      if (before !== undefined) await this.#putBack(before);
      throw error;
    }
    await this.#files.keep(handed);
    this.#options.logger.info({ actor: name, file: handed.file }, 'an actor was deployed');
  }

  /** What was to be replaced serves again. */
  async #putBack(before: HandOver): Promise<void> {
    try {
      await this.deploy(await this.#files.load(before));
    } catch (error) {
      this.#options.logger.error(
        { err: error, actor: before.name },
        'the machine of before serves no longer',
      );
    }
  }

  /** Removes the state that an actor has left behind. @returns whether there was one */
  async #purgeLeft(name: unknown): Promise<{ readonly node: string; readonly purged: boolean }> {
    if (typeof name !== 'string' || !NAME.test(name)) {
      throw new TroupeError('invalid-argument', 'a state is purged by the name of its actor');
    }
    if (this.#deployments.has(name) || this.#busy.has(name)) throw deployedAlready(name);
    this.#busy.add(name);
    try {
      const purged = await hasState(this.#engine, name);
      if (purged) {
        await purge(this.#engine, name);
        this.#options.logger.info({ actor: name }, 'the state of an actor was purged');
      }
      return { node: this.node, purged };
    } finally {
      this.#busy.delete(name);
    }
  }

  /** Answers requests in JSON; what goes wrong is a code and a sentence. */
  #answer(subject: string, work: (message: Msg) => Promise<unknown>): void {
    const respond = async (message: Msg): Promise<void> => {
      let body: unknown;
      try {
        body = await work(message);
      } catch (error) {
        const code = error instanceof TroupeError ? error.code : 'failed';
        body = { error: { code, message: error instanceof Error ? error.message : String(error) } };
      }
      try {
        message.respond(JSON.stringify(body));
      } catch {
        // The connection is gone, and with it whoever asked.
      }
    };
    this.#subscriptions.push(
      this.#connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) void respond(message);
        },
      }),
    );
  }

  /** It is no longer served. @returns how to tell whoever waits for its end */
  #gone(name: string): (error: TroupeError | undefined) => void {
    const tell = this.#ended.get(name);
    this.#deployments.delete(name);
    this.#ended.delete(name);
    return (error) => tell?.(error);
  }
}

function deployedAlready(name: string): TroupeError {
  return new TroupeError(
    'conflict',
    `an actor named ${name} is deployed already: put this machine in its place with --replace, which keeps its state, or choose another --name`,
  );
}

/** What ends a host, as a sentence with a code. */
function forPeople(error: Error): Error {
  if (error instanceof ActorSystemError) return clusterError(error);
  return error instanceof StorageError ? new TroupeError('failed', error.message, { cause: error }) : error;
}

/** Whose directory it is: a new one is marked. @throws TroupeError `identity` when it is another's */
async function identify(engine: Engine, { cluster, name, dataDir }: HostOptions): Promise<Identity> {
  if ((await loadIdentity(engine)) !== undefined) {
    throw new TroupeError('identity', `${dataDir} belongs to a store: give another --data`);
  }
  const bytes = await engine.get('default', HOST_KEY);
  if (bytes === undefined) {
    const fresh = {
      node: name ?? `host-${randomBytes(4).toString('hex')}`,
      id: randomBytes(8).toString('hex'),
    };
    const batch = engine.batch();
    batch.put('default', HOST_KEY, Buffer.from(JSON.stringify({ format: FORMAT, cluster, ...fresh })));
    await engine.write(batch);
    await engine.sync();
    return fresh;
  }
  const known = JSON.parse(Buffer.from(bytes).toString()) as Identity & { format: number; cluster: string };
  if (known.format !== FORMAT) {
    throw new TroupeError('identity', `${dataDir} has format ${known.format}: start a newer version on it`);
  }
  if (known.cluster !== cluster || (name !== undefined && known.node !== name)) {
    throw new TroupeError(
      'identity',
      `${dataDir} belongs to ${known.node} of the cluster "${known.cluster}": give that name and cluster, or another --data`,
    );
  }
  return known;
}

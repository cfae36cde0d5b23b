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
import { type Engine, StorageError } from '../../storage/index.js';
import { clusterError, TroupeError } from '../errors.js';
import { nodeInspection } from '../inspection/node-inspection.js';
import { openEngine } from '../node-options.js';
import type { DiskObserver } from '../raft/host.js';
import { HandlingSpans } from '../tracing/actor-tracing.js';
import { Tracing } from '../tracing/tracing.js';
import type { SharedParts } from './actor-family.js';
import { Backlog } from './backlog.js';
import { type Change, Changes } from './changes.js';
import { Claims, namesOfCluster } from './claim.js';
import { NatsCourier } from './courier.js';
import { type Deployable, Deployment, hasState, purge } from './deployment.js';
import { HandedFiles, type HandOver, readHandOver } from './handed-files.js';
import { type HostIdentity, identify } from './host-identity.js';
import type { HostInfo } from './host-info.js';
import { Journal } from './journal.js';
import { deploySubject, hostsSubject, NAME, purgeSubject, readObject } from './protocol.js';

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

/** More names than a process should serve: every one has subscriptions of its own. */
const MAX_DEPLOYMENTS = 1000;

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
  readonly #changes = new Changes();
  readonly #ended = new Map<string, (error: TroupeError | undefined) => void>();
  readonly #subscriptions: Subscription[] = [];
  #connected = true;
  #closing: Promise<void> | undefined;

  private constructor(
    options: HostOptions,
    connection: NatsConnection,
    system: ActorSystem,
    engine: Engine,
    identity: HostIdentity,
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
    if (this.#closing !== undefined) return 'the host is stopping';
    return this.#connected ? undefined : 'the host has lost the NATS server';
  }

  /**
   * Serves a machine from now on.
   * @returns a promise for its end: of `undefined` when it was undeployed, of an error when another host took the name
   * @throws TroupeError `conflict` when the name is taken, or something else is done with it
   */
  deploy(what: Deployable): Promise<{ readonly ended: Promise<TroupeError | undefined> }> {
    return this.#changes.alone(what.name, 'deployed', () => this.#serve(what));
  }

  /** Ends a deployment. @param andPurge its state goes too. @throws TroupeError `conflict` while something else is done with it */
  undeploy(name: string, andPurge: boolean): Promise<void> {
    return this.#changes.alone(name, 'undeployed', async () => {
      const deployment = this.#deployments.get(name);
      if (deployment === undefined) return;
      await deployment.close();
      await this.#files.forget(name);
      if (andPurge) await purge(this.#engine, name);
      this.#options.logger.info({ actor: name, purged: andPurge }, 'an actor was undeployed');
      this.#ends(name);
    });
  }

  async info(): Promise<HostInfo> {
    const actors = await Promise.all([...this.#deployments.values()].map((deployment) => deployment.info()));
    return { node: this.node, pid: process.pid, actors };
  }

  /** Stops everything; what has been acknowledged stays. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { logger } = this.#options;
    logger.info({ actors: this.#deployments.size }, 'the host stops');
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    const closing = Promise.all([...this.#deployments.values()].map((deployment) => deployment.close()));
    const settled = closing.then(() => this.#journal.idle());
    if (await Promise.race([settled, this.#journal.broken.then(() => false)]))
      logger.info({}, 'its actors have stopped: all that they did is on its disk');
    await this.#claims.close();
    this.#journal.close();
    await this.#system.close();
    this.#spans?.close();
    await this.#connection.drain().catch(() => {});
    await this.#engine.close();
    logger.info({}, 'the host is closed');
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

  async #serve(what: Deployable): Promise<{ readonly ended: Promise<TroupeError | undefined> }> {
    const { name } = what;
    if (this.#deployments.has(name)) throw deployedAlready(name);
    if (this.#deployments.size >= MAX_DEPLOYMENTS) {
      throw new TroupeError('conflict', `${this.node} serves ${MAX_DEPLOYMENTS} actors: start another host`);
    }
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
    const ended = new Promise<TroupeError | undefined>((resolve) => this.#ended.set(name, resolve));
    return { ended };
  }

  async #takeOver(handed: HandOver): Promise<void> {
    const { name, fresh, replace = false } = handed;
    if (this.#deployments.has(name) && !replace) throw deployedAlready(name);
    // Not within the change: nobody knows how long a user's file takes, and what is deployed can be undeployed meanwhile.
    const loaded = { ...(await this.#files.load(handed)), fresh };
    const present = replace ? this.#deployments.get(name) : undefined;
    const change: Change = present === undefined ? 'deployed' : 'replaced';
    await this.#changes.alone(name, change, async () => {
      if (present === undefined) await this.#serve(loaded);
      else await this.#replace(present, loaded);
      await this.#files.keep(handed);
    });
    this.#options.logger.info({ actor: name, file: handed.file }, `an actor was ${change}`);
  }

  /** The row of what was handed over before stays: whenever the power fails, one of the two serves again. */
  async #replace(present: Deployment, loaded: Deployable): Promise<void> {
    const { name } = loaded;
    const before = (await this.#files.all()).find((one) => one.name === name);
    await present.close();
    this.#ends(name);
    try {
      await this.#serve(loaded);
    } catch (error) {
      if (before !== undefined) await this.#putBack(before);
      throw error;
    }
  }

  /** What was to be replaced serves again. */
  async #putBack(before: HandOver): Promise<void> {
    try {
      await this.#serve(await this.#files.load(before));
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
    return this.#changes.alone(name, 'purged', async () => {
      if (this.#deployments.has(name)) {
        throw new TroupeError('conflict', `${name} is deployed: undeploy it with --purge`);
      }
      const purged = await hasState(this.#engine, name);
      if (purged) {
        await purge(this.#engine, name);
        this.#options.logger.info({ actor: name }, 'the state of an actor was purged');
      }
      return { node: this.node, purged };
    });
  }

  /** Answers requests in JSON; what goes wrong is a code and a sentence. */
  #answer(subject: string, work: (message: Msg) => Promise<unknown>): void {
    const respond = async (request: Msg): Promise<void> => {
      let body: unknown;
      try {
        body = await work(request);
      } catch (error) {
        const code = error instanceof TroupeError ? error.code : 'failed';
        const message = error instanceof Error ? error.message : String(error);
        body = { node: this.node, error: { code, message } };
      }
      try {
        request.respond(JSON.stringify(body));
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

  /** It is no longer served, as somebody wanted; whoever that was gets the answer before the command ends. */
  #ends(name: string): void {
    const tell = this.#gone(name);
    setImmediate(() => tell(undefined));
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

/** A whole cluster on this machine: nats-server, schedulers and stores, each a process of its own. */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { TroupeError } from '../errors.js';
import { freePort, type NatsServer, probePort, startNatsServer } from '../nats-server.js';
import { FIRST_REPLICAS } from './cluster-file.js';
import { connectTo, natsOptions } from './connection.js';
import { makeDirectory } from './directory.js';
import { PASSING } from './importer.js';
import { NodeDamagedError, NodeProcess, StoreGoneError } from './node-process.js';
import type { ConnectionSettings } from './settings.js';

/** What happens while it runs. */
export interface LocalClusterEvents {
  /** A part serves; `detail` says where or how. */
  up(part: string, detail: string, milliseconds: number): void;
  /** A part begins to start. */
  starting(what: string): void;
  died(part: string, how: string, pauseMs: number): void;
  returned(part: string, pid: number | undefined): void;
  line(part: string, line: string): void;
  /**
   * A store's data is damaged, so it does not run; the others go on.
   * @returns whether it is to be repaired now; while the cluster serves nobody is asked
   */
  damaged(part: string, damage: NodeDamagedError, mayRepair: boolean): Promise<boolean>;
  repaired(part: string, aside: string | undefined): void;
  /** A store was taken offline and is gone for good: it does not run any more. */
  gone(part: string): void;
}

export interface LocalClusterOptions {
  readonly settings: ConnectionSettings;
  /** Node names of the stores. */
  readonly stores: readonly string[];
  /** How many schedulers (1). */
  readonly schedulers?: number;
  /** The scheduler whose lost directory an empty one takes the place of. */
  readonly rejoin?: string;
  /** All data and logs go below it; it must exist. */
  readonly directory: string;
  /** Start an own nats-server on a free port, whatever else runs. */
  readonly ownNats?: boolean;
  readonly standalone?: boolean;
  /** The schedulers place no regions until somebody says so. */
  readonly haltScheduling?: boolean;
  /** Further arguments of each scheduler and store. */
  readonly nodeArguments?: readonly string[];
  /** Further arguments of each store. */
  readonly storeArguments?: readonly string[];
  readonly events: LocalClusterEvents;
  /** Gives up starting. */
  readonly signal: AbortSignal;
}

export interface LocalNode {
  readonly name: string;
  readonly pid: number | undefined;
  /** Where it is reached, or where its data is. */
  readonly place: string;
}

const USUAL_PORT = 4222;
/** A node refuses a smaller one: see the entry limit. */
const LEAST_MAX_PAYLOAD = 1024 * 1024;
const PROBE_DEADLINE_MS = 30_000;
const PROBE_KEY = 'troupe-up-probe';

export class LocalCluster {
  readonly #options: LocalClusterOptions;
  readonly #nodes: NodeProcess[] = [];
  #nats: NatsServer | undefined;
  #natsUrl: string;
  #stopping = false;

  private constructor(options: LocalClusterOptions) {
    this.#options = options;
    this.#natsUrl = options.settings.nats;
  }

  /**
   * Starts everything and waits until a put and a get succeed. What was started is stopped again when that fails.
   * @throws TroupeError with the sentence of the part that failed
   */
  static async start(options: LocalClusterOptions): Promise<LocalCluster> {
    const cluster = new LocalCluster(options);
    const { signal } = options;
    let abort = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        cluster.kill();
        reject(new TroupeError('closed', 'stopped while starting'));
      };
    });
    signal.addEventListener('abort', abort);
    try {
      await Promise.race([cluster.#start(), aborted]);
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw cluster.#explained(error);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  get natsUrl(): string {
    return this.#natsUrl;
  }

  /** Connection settings that lead to it. */
  get settings(): ConnectionSettings {
    const { settings, schedulers = 1 } = this.#options;
    return { ...settings, nats: this.#natsUrl, schedulers: schedulerNames(schedulers) };
  }

  /** Every process, the nats-server first when it was started here. */
  nodes(): LocalNode[] {
    return [
      ...(this.#nats ? [{ name: 'nats-server', pid: this.#nats.pid, place: this.#natsUrl }] : []),
      ...this.#nodes.map(({ name, pid }) => ({ name, pid, place: join(this.#options.directory, name) })),
    ];
  }

  /** What every store counts about itself since it started, by its name; nothing for one that is dead. */
  async counters(): Promise<ReadonlyMap<string, Readonly<Record<string, number>>>> {
    const stores = this.#nodes.filter(({ role }) => role === 'store');
    return new Map(
      await Promise.all(stores.map(async (store) => [store.name, await store.counters()] as const)),
    );
  }

  /** The sum of one counter over all stores since they started. */
  async counted(name: string): Promise<number> {
    const all = await this.counters();
    return [...all.values()].reduce((sum, counters) => sum + (counters[name] ?? 0), 0);
  }

  /** The stores that belong to it. */
  stores(): { readonly node: string; readonly pid: number }[] {
    const stores = this.#nodes.filter(({ role }) => role === 'store');
    return stores.map(({ name, pid }) => ({ node: name, pid: pid ?? 0 }));
  }

  /**
   * Starts one store more, and waits until it serves; when it does not, all is as before.
   * @throws TroupeError with the store's own sentence and code
   */
  async addStore(name: string): Promise<{ readonly node: string; readonly pid: number }> {
    this.#checkStopping();
    const from = Date.now();
    const node = this.#addStoreNode(name);
    try {
      await node.start();
      this.#checkStopping();
    } catch (error) {
      await node.stop();
      this.#nodes.splice(this.#nodes.indexOf(node), 1);
      throw error;
    }
    this.#options.events.up(name, `pid ${node.pid}`, Date.now() - from);
    return { node: name, pid: node.pid ?? 0 };
  }

  /** Ends a store's process as a fault would; it is started again. @throws TroupeError `not-found`, `conflict` */
  crashStore(name: string): void {
    this.#checkStopping();
    const store = this.#nodes.find((node) => node.role === 'store' && node.name === name);
    if (store === undefined) throw new TroupeError('not-found', `There is no store ${name} here.`);
    if (!store.crash()) throw new TroupeError('conflict', `${name} does not run at the moment.`);
  }

  /** Stops stores, schedulers and nats-server, in this order, cleanly. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#nodes.filter(({ role }) => role === 'store').map((node) => node.stop()));
    await Promise.all(this.#nodes.map((node) => node.stop()));
    await this.#nats?.stop();
  }

  /** Ends every process at once. */
  kill(): void {
    this.#stopping = true;
    for (const node of this.#nodes) node.kill();
    void this.#nats?.stop('SIGKILL');
  }

  async #start(): Promise<void> {
    const { stores, events, directory, settings } = this.#options;
    const { rejoin, haltScheduling = false } = this.#options;
    const { schedulers } = this.settings;
    makeDirectory('--data', join(directory, 'logs'));
    await this.#findNats();
    this.#checkStopping();
    events.starting(`${numbered(schedulers.length, 'scheduler')} and ${numbered(stores.length, 'store')}`);
    const expected = Math.min(stores.length, FIRST_REPLICAS);
    for (const name of schedulers) {
      this.#addNode('scheduler', name, [
        '--expected-stores',
        String(expected),
        ...(haltScheduling ? ['--halt-scheduling'] : []),
        ...(name === rejoin ? ['--rejoin'] : []),
      ]);
    }
    for (const name of stores) this.#addStoreNode(name);
    const from = Date.now();
    const damaged = await Promise.all(
      this.#nodes.map(async (node) => {
        try {
          await node.start();
        } catch (error) {
          if (error instanceof NodeDamagedError) return { node, damage: error };
          if (error instanceof StoreGoneError) return this.#gone(node);
          throw error;
        }
        events.up(node.name, `pid ${node.pid}`, Date.now() - from);
        return undefined;
      }),
    );
    this.#checkStopping();
    // One after the other: each is asked about, and a repair needs the scheduler.
    for (const one of damaged) if (one !== undefined) await this.#offerRepair(one.node, one.damage);
    this.#checkStopping();
    events.starting('first put and get');
    await this.#probe();
    events.up(`cluster ${settings.cluster}`, 'takes puts and gets', Date.now() - from);
  }

  /** The store stays away unless somebody wants it repaired; its peers come back by snapshot then. */
  async #offerRepair(node: NodeProcess, damage: NodeDamagedError): Promise<void> {
    const { events, directory } = this.#options;
    if (!(await events.damaged(node.name, damage, true))) return;
    this.#checkStopping();
    const { repairStore } = await import('../store/repair.js');
    const { cluster, schedulers } = this.settings;
    const from = Date.now();
    const repaired = await repairStore({
      cluster,
      name: node.name,
      dataDir: join(directory, node.name),
      nats: natsOptions(this.settings),
      schedulers,
      confirm: async () => true,
    });
    events.repaired(node.name, repaired?.aside);
    await node.start();
    events.up(node.name, `pid ${node.pid}`, Date.now() - from);
  }

  /** A name that is taken mostly means that the whole cluster runs already. */
  #explained(error: unknown): unknown {
    if (this.#nats !== undefined || !(error instanceof TroupeError) || error.code !== 'conflict')
      return error;
    const { cluster, nats } = this.#options.settings;
    const hint = `if a cluster "${cluster}" runs on ${nats} already, give --cluster another name`;
    return new TroupeError('conflict', `${error.message.replace(/\.$/, '')}; ${hint}`, { cause: error });
  }

  #addStoreNode(name: string): NodeProcess {
    const { standalone, storeArguments = [] } = this.#options;
    return this.#addNode('store', name, [...(standalone ? ['--standalone'] : []), ...storeArguments]);
  }

  #gone(node: NodeProcess): undefined {
    const place = this.#nodes.indexOf(node);
    if (place < 0) return;
    this.#nodes.splice(place, 1);
    void node.stop();
    this.#options.events.gone(node.name);
  }

  #addNode(role: 'scheduler' | 'store', name: string, args: readonly string[]): NodeProcess {
    const { directory, events, nodeArguments = [] } = this.#options;
    const data = join(directory, name);
    makeDirectory('--data', data);
    const node: NodeProcess = new NodeProcess({
      role,
      name,
      args: ['--name', name, '--data', data, ...nodeArguments, ...args],
      env: environmentOf(this.settings),
      logFile: join(directory, 'logs', `${name}.log`),
      onLine: (line) => events.line(name, line),
      onDeath: (how, pauseMs) => events.died(name, how, pauseMs),
      onReturn: () => events.returned(name, node.pid),
      onDamage: (damage) => void events.damaged(name, damage, false),
      onGone: () => this.#gone(node),
    });
    this.#nodes.push(node);
    return node;
  }

  /** Says so at once when none of the servers that were named answers; what else may be wrong with one, the nodes find. */
  async #checkNats(servers: string): Promise<void> {
    for (const server of servers.split(',')) {
      const { hostname, port } = new URL(server.includes('://') ? server : `nats://${server}`);
      const probe = await probePort(hostname.replace(/^\[|\]$/g, ''), Number(port || USUAL_PORT));
      if (probe.kind !== 'nobody') return;
    }
    throw new TroupeError(
      'unavailable',
      `no NATS server answers at ${servers}: start one there, name another with --nats, or leave --nats out`,
    );
  }

  /** Uses the NATS server that was named, or a usable one on the usual port, or starts one. */
  async #findNats(): Promise<void> {
    const { settings, ownNats, events } = this.#options;
    const from = Date.now();
    if (settings.natsGiven) {
      await this.#checkNats(settings.nats);
      events.up('nats-server', `used on ${settings.nats}`, Date.now() - from);
      return;
    }
    const probe = ownNats ? undefined : await probePort('127.0.0.1', USUAL_PORT);
    if (
      probe?.kind === 'nats' &&
      (!probe.greeting.authRequired || Object.keys(settings.credentials).length > 0) &&
      probe.greeting.maxPayload >= LEAST_MAX_PAYLOAD
    ) {
      events.up(
        'nats-server',
        `${probe.greeting.version}, already running on ${settings.nats}`,
        Date.now() - from,
      );
      return;
    }
    events.starting('nats-server');
    const port = probe?.kind === 'nobody' ? USUAL_PORT : await freePort();
    await this.#startNats(port);
    const why =
      probe === undefined || probe.kind === 'nobody'
        ? ''
        : ` (port ${USUAL_PORT} is taken by something else)`;
    events.up('nats-server', `on ${this.#natsUrl}${why}`, Date.now() - from);
  }

  /** It shares the machine with the stores, who keep its cores busy: more threads of its own cost more than they bring. */
  async #startNats(port: number): Promise<void> {
    const { events } = this.#options;
    const server = await startNatsServer({
      port,
      env: { GOMAXPROCS: String(Math.max(1, Math.floor(availableParallelism() / 4))) },
      onLine: (line) => events.line('nats-server', line),
    });
    this.#nats = server;
    if (this.#stopping) return server.stop('SIGKILL');
    this.#natsUrl = server.url;
    void server.ended.then((how) => this.#restartNats(how, port));
  }

  async #restartNats(how: string, port: number): Promise<void> {
    for (let pauseMs = 250; !this.#stopping; pauseMs = Math.min(pauseMs * 2, 10_000)) {
      this.#options.events.died('nats-server', how.replace(/^nats-server ended with /, ''), pauseMs);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      if (this.#stopping) return;
      try {
        await this.#startNats(port);
        if (!this.#stopping) this.#options.events.returned('nats-server', this.#nats?.pid);
        return;
      } catch (error) {
        how = error instanceof Error ? error.message : String(error);
      }
    }
  }

  async #probe(): Promise<void> {
    const db = await connectTo(this.settings);
    try {
      const deadline = Date.now() + PROBE_DEADLINE_MS;
      for (;;) {
        this.#checkStopping();
        try {
          const timeout = Math.max(1, deadline - Date.now());
          await db.raw.put(PROBE_KEY, 'ready', { timeout });
          await db.raw.get(PROBE_KEY, { timeout });
          await db.raw.delete(PROBE_KEY, { timeout });
          return;
        } catch (error) {
          if (Date.now() < deadline && error instanceof TroupeError && PASSING.has(error.code)) continue;
          throw error;
        }
      }
    } finally {
      await db.close();
    }
  }

  #checkStopping(): void {
    if (this.#stopping) throw new TroupeError('closed', 'stopped while starting');
  }
}

/** Names of a local cluster's schedulers. */
export function schedulerNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `scheduler-${i + 1}`);
}

function numbered(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count} ${what}s`;
}

/** The environment that gives a child process the same connection; no password stands on its command line. */
function environmentOf({ nats, cluster, schedulers, credentials }: ConnectionSettings): NodeJS.ProcessEnv {
  const { token, ...others } = credentials;
  const env: NodeJS.ProcessEnv = {
    TROUPE_NATS: nats,
    TROUPE_CLUSTER: cluster,
    TROUPE_SCHEDULERS: schedulers.join(','),
  };
  for (const [name, value] of Object.entries({
    ...others,
    ...(token === undefined ? {} : { user: token }),
  })) {
    if (value !== undefined) env[`TROUPE_${name.toUpperCase()}`] = value;
  }
  return env;
}

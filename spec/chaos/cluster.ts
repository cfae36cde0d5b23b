import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterStatus } from '../../cluster/client/cluster-status.js';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import { TestNatsServer } from '../nats-server.js';
import { ChaosNode } from './node.js';
import { PROBED_KEY } from './prober.js';
import { TcpProxy } from './tcp-proxy.js';

export interface ChaosClusterOptions {
  readonly stores: number;
  /** Further arguments of each store. */
  readonly storeArguments?: readonly string[] | undefined;
  /** Data and logs go below it. */
  readonly directory: string;
  /** A node ended, and nobody here had ended it. */
  readonly died: (sentence: string) => void;
}

/** A store and the cable between it and the NATS server. */
export interface ChaosStore {
  readonly node: ChaosNode;
  readonly cable: TcpProxy;
  /** A fault is at work on it: another one waits. */
  busy: boolean;
}

const CLUSTER = 'chaos';
/** The server gives up on a client as soon as a node gives up on the server, so that both sides are tried. */
const NATS_CONFIG = 'ping_interval: "2s"\nping_max: 2\nwrite_deadline: "5s"\n';
/** Milliseconds in which a node must serve after its start, whatever else happens. */
export const START_LIMIT_MS = 60_000;
const STATUS_LIMIT_MS = 500;

/** nats-server, a scheduler and stores, each a process of its own, with the product's default tuning. */
export class ChaosCluster {
  readonly stores: readonly ChaosStore[];
  readonly scheduler: ChaosNode;
  readonly nats: TestNatsServer;
  readonly #databases: Database[] = [];
  #admin: Database | undefined;

  private constructor(nats: TestNatsServer, scheduler: ChaosNode, stores: readonly ChaosStore[]) {
    this.nats = nats;
    this.scheduler = scheduler;
    this.stores = stores;
  }

  /** Starts everything and waits until it serves. */
  static async start(options: ChaosClusterOptions): Promise<ChaosCluster> {
    const { stores: count, storeArguments = [], directory, died } = options;
    const nats = await TestNatsServer.start({ config: NATS_CONFIG });
    mkdirSync(join(directory, 'logs'), { recursive: true });
    const node = (
      role: 'scheduler' | 'store',
      name: string,
      url: string,
      args: readonly string[],
    ): ChaosNode =>
      new ChaosNode({
        role,
        name,
        logFile: join(directory, 'logs', `${name}.log`),
        args: ['--data', join(directory, name), '--nats', url, '--cluster', CLUSTER, ...args],
        died,
      });
    // The acts of a run move regions, and nobody undoes them.
    const expected = ['--expected-stores', String(Math.min(3, count)), '--halt-scheduling'];
    const scheduler = node('scheduler', 'scheduler-1', nats.url, expected);
    const stores: ChaosStore[] = [];
    for (let number = 1; number <= count; number++) {
      const cable = await TcpProxy.start({ host: '127.0.0.1', port: nats.port });
      const url = `nats://127.0.0.1:${cable.port}`;
      stores.push({ node: node('store', `store-${number}`, url, storeArguments), cable, busy: false });
    }
    const cluster = new ChaosCluster(nats, scheduler, stores);
    try {
      await Promise.all(
        [scheduler, ...stores.map(({ node }) => node)].map((one) => one.start(START_LIMIT_MS)),
      );
      cluster.#admin = await cluster.connect();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** A client with a connection of its own, straight to the NATS server. */
  async connect(): Promise<Database> {
    const database = await connect({ servers: this.nats.url, cluster: CLUSTER });
    this.#databases.push(database);
    return database;
  }

  /** A client for whoever administers it. */
  get admin(): Database {
    if (this.#admin === undefined) throw new Error('the cluster has not started');
    return this.#admin;
  }

  /** What the scheduler knows; `undefined` when it does not say so soon. */
  async status(timeout = STATUS_LIMIT_MS): Promise<ClusterStatus | undefined> {
    try {
      return await this.#admin?.cluster.status({ timeout });
    } catch {
      return undefined;
    }
  }

  /** The store that leads the region of the prober's key, as far as the scheduler knows. */
  async leader(): Promise<ChaosStore | undefined> {
    const status = await this.status();
    const region = await this.#admin?.cluster
      .regionOf(PROBED_KEY, { timeout: STATUS_LIMIT_MS })
      .catch(() => undefined);
    const id = region?.leader;
    const name = status?.stores.find((store) => store.id === id)?.node;
    return this.stores.find(({ node }) => node.name === name);
  }

  /** Ends every process, in good order. */
  async stop(): Promise<void> {
    for (const { cable } of this.stores) cable.heal();
    await Promise.all(this.#databases.map((database) => database.close()));
    await Promise.all(this.stores.map(({ node }) => node.stop()));
    await this.scheduler.stop();
    await Promise.all(this.stores.map(({ cable }) => cable.close()));
    await this.nats.stop();
  }
}

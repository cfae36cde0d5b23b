import type { TracerProvider } from '@opentelemetry/api';
import type { AnyEventObject } from 'xstate';
import { ActorSystem, type Logger, MemoryNetwork, seededRandom, VirtualClock } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { type ConnectOptions, connect } from '../../cluster/client/index.js';
import { codecs } from '../../cluster/protocol.js';
import { startScheduler } from '../../cluster/scheduler/index.js';
import { type StoreNode, startStore } from '../../cluster/store/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { type Engine, SimulatedDisk } from '../../storage/index.js';

export interface StoreStart {
  readonly standalone?: boolean;
  /** Another disk than the one of this name. */
  readonly disk?: string;
  readonly tuning?: StoreTuning;
  readonly logger?: Logger;
  readonly tracerProvider?: TracerProvider;
  readonly inspection?: boolean;
}

export const CLUSTER = 'spec';

/** A cluster in one process, on virtual time. */
export class StoreWorld {
  readonly clock = new VirtualClock();
  readonly random = seededRandom(3);
  readonly network = new MemoryNetwork(this.clock, this.random);
  /** Names that stores take for the schedulers'; the first one is a scheduler. */
  schedulers: readonly string[] = ['scheduler-1'];
  readonly disks = new Map<string, SimulatedDisk>();
  /** Milliseconds of each call of a disk, where it is not one. */
  readonly latencies = new Map<string, number>();
  #lives = 0;
  #asking: Promise<ActorSystem> | undefined;

  /** Lets time pass until the promise is settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.clock.runUntil(() => settled, 120_000);
    return promise;
  }

  disk(name: string): SimulatedDisk {
    const known = this.disks.get(name);
    if (known !== undefined) return known;
    const latency = () => this.latencies.get(name) ?? 1;
    const disk = new SimulatedDisk({ random: this.random, clock: this.clock, latency });
    this.disks.set(name, disk);
    return disk;
  }

  async scheduler(expectedStores: number) {
    const { clock, random } = this;
    const engine = await this.disk('scheduler-1').open();
    return this.until(
      startScheduler({
        cluster: CLUSTER,
        name: 'scheduler-1',
        engine,
        expectedStores,
        haltScheduling: true,
        transport: this.network.transport('scheduler-1'),
        clock,
        wallClock: () => clock.now(),
        random,
        incarnation: ++this.#lives,
      }),
    );
  }

  /** The engine of a node's latest start. */
  readonly engines = new Map<string, Engine>();

  async store(name: string, options: StoreStart = {}): Promise<StoreNode> {
    const { clock, random } = this;
    const engine = await this.disk(options.disk ?? name).open();
    this.engines.set(name, engine);
    return this.until(
      startStore({
        cluster: CLUSTER,
        name,
        engine,
        standalone: options.standalone ?? false,
        schedulers: this.schedulers,
        transport: this.network.transport(name),
        clock,
        random,
        incarnation: ++this.#lives,
        ...(options.tuning === undefined ? {} : { tuning: options.tuning }),
        ...(options.logger === undefined ? {} : { logger: options.logger }),
        ...(options.tracerProvider === undefined ? {} : { tracerProvider: options.tracerProvider }),
        ...(options.inspection === undefined ? {} : { inspection: options.inspection }),
      }),
    );
  }

  /** The power of a node fails. */
  crash(name: string): void {
    this.network.crash(name);
    this.disk(name).crash();
  }

  /** Asks an actor of a server, as a client's system does. */
  async ask<R>(address: string, event: AnyEventObject, timeout = 30_000): Promise<R> {
    this.#asking ??= this.#startAsking();
    const system = await this.#asking;
    return this.until(system.ref(address).ask(event, { timeout })) as Promise<R>;
  }

  #startAsking(): Promise<ActorSystem> {
    return this.bareSystem('client-9');
  }

  /** A node that does nothing but send. */
  async bareSystem(node: string): Promise<ActorSystem> {
    const { clock, random, network } = this;
    const transport = network.transport(node);
    const role = node.startsWith('client-') ? 'client' : 'server';
    const system = await this.until(
      ActorSystem.start({ cluster: CLUSTER, node, role, transport, clock, random }),
    );
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    return system;
  }

  client(options: Pick<ConnectOptions, 'tracerProvider'> = {}): Promise<Database> {
    const { clock, random } = this;
    const transport = this.network.transport('client-1');
    return this.until(connect({ cluster: CLUSTER, transport, clock, random, name: 'client-1', ...options }));
  }
}

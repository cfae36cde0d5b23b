import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnyStateMachine } from 'xstate';
import { type NatsTransportOptions, seededRandom, silentLogger } from '../../actors/index.js';
import { ActorClient } from '../../cluster/deploy/client.js';
import type { Deployable } from '../../cluster/deploy/deployment.js';
import { DeployHost, type HostOptions } from '../../cluster/deploy/host.js';
import type { TroupeError } from '../../cluster/errors.js';
import { type Engine, SimulatedDisk } from '../../storage/index.js';
import { TestNatsServer } from '../nats-server.js';

export interface StagedHost
  extends Partial<Pick<HostOptions, 'name' | 'takesFiles' | 'tracerProvider' | 'logger' | 'nats'>> {
  /** An empty one where nothing is said. */
  readonly disk?: SimulatedDisk;
  /** Stands between the host and its disk. */
  readonly through?: (engine: Engine) => Engine;
}

/** Hosts in this process, on simulated disks, with a real server between them and their clients. */
export class HostStage {
  readonly #directory = mkdtempSync(join(tmpdir(), 'troupe-host-'));
  readonly #hosts = new Set<DeployHost>();

  private constructor(
    readonly nats: TestNatsServer,
    readonly actors: ActorClient,
  ) {}

  static async open(): Promise<HostStage> {
    const nats = await TestNatsServer.start();
    const server = { servers: nats.url };
    return new HostStage(nats, await ActorClient.connect({ nats: server, cluster: 'c', timeoutMs: 5000 }));
  }

  /** Where a client or a host finds the server. */
  get server(): NatsTransportOptions {
    return { servers: this.nats.url };
  }

  async start({ disk = emptyDisk(), through, ...options }: StagedHost = {}): Promise<DeployHost> {
    const engine = await disk.open();
    const host = await DeployHost.start({
      cluster: 'c',
      name: undefined,
      dataDir: this.#directory,
      engine: through?.(engine) ?? engine,
      nats: this.server,
      schedulers: ['scheduler-1'],
      logger: silentLogger,
      takesFiles: false,
      ...options,
    });
    this.#hosts.add(host);
    return host;
  }

  async stop(host: DeployHost): Promise<void> {
    this.#hosts.delete(host);
    await host.close();
  }

  /** Stops the hosts, one whose disk has refused too. */
  async clear(): Promise<void> {
    await Promise.all([...this.#hosts].map((host) => this.stop(host).catch(() => {})));
  }

  async close(): Promise<void> {
    await this.clear();
    await this.actors.close();
    await this.nats.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export const emptyDisk = (): SimulatedDisk => new SimulatedDisk({ random: seededRandom(1) });

export function deployable(
  name: string,
  machine: AnyStateMachine,
  more: Partial<Deployable> = {},
): Deployable {
  return { name, machine, file: 'file.ts', input: undefined, instances: undefined, fresh: false, ...more };
}

/** How it is refused. */
export function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'not at all',
    (error: TroupeError) => error.code,
  );
}

/** How it is refused, and with which sentence. */
export function refusalOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'not at all',
    (error: TroupeError) => `${error.code}: ${error.message}`,
  );
}

/**
 * How a second terminal reaches the `troupe up` of a cluster: requests on the cluster's NATS server, below
 * `troupe.<cluster>.api.up`, in JSON. Only the `up` that runs the cluster answers.
 */

import { errors, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { ActorSystemError, connectNats, silentLogger } from '../../actors/index.js';
import { clusterError, TROUPE_ERROR_CODES, TroupeError } from '../errors.js';
import { natsOptions } from './connection.js';
import type { ConnectionSettings } from './settings.js';

/** A store that `troupe up` runs. */
export interface LocalStore {
  readonly node: string;
  /** 0 while its process is dead. */
  readonly pid: number;
}

/** What `troupe up` does when it is asked. */
export interface ScaleService {
  stores(): readonly LocalStore[];
  /** Starts another store, and returns when it serves. */
  addStore(): Promise<LocalStore>;
}

const subjectOf = (cluster: string, endpoint: 'stores' | 'scale-out'): string =>
  `troupe.${cluster}.api.up.${endpoint}`;

/** Answers until the connection is closed. @throws ActorSystemError when the server does not let it */
export async function serveScaling(
  settings: ConnectionSettings,
  service: ScaleService,
): Promise<{ close(): Promise<void> }> {
  const connection = await connect(settings, 'up');
  const answer = (endpoint: 'stores' | 'scale-out', work: () => unknown): void => {
    connection.subscribe(subjectOf(settings.cluster, endpoint), {
      callback: (error, message) => {
        if (error === null) void respond(message, work);
      },
    });
  };
  let starting = false;
  answer('stores', () => ({ stores: service.stores() }));
  answer('scale-out', async () => {
    if (starting)
      throw new TroupeError('conflict', 'another store is being started: try again when it serves');
    starting = true;
    try {
      return { stores: [await service.addStore()] };
    } finally {
      starting = false;
    }
  });
  // From here on the server knows of both.
  await connection.flush();
  return { close: () => connection.close() };
}

/** The other side: asks the `troupe up` of a cluster. */
export class ScaleClient {
  readonly #settings: ConnectionSettings;
  readonly #connection: NatsConnection;

  private constructor(settings: ConnectionSettings, connection: NatsConnection) {
    this.#settings = settings;
    this.#connection = connection;
  }

  /** @throws TroupeError `unavailable` when no NATS server answers or takes the credentials */
  static async connect(settings: ConnectionSettings): Promise<ScaleClient> {
    return new ScaleClient(settings, await connect(settings, 'scale'));
  }

  /** The stores that it runs. @throws TroupeError `unavailable` when no `troupe up` runs this cluster */
  stores(): Promise<readonly LocalStore[]> {
    return this.#ask('stores');
  }

  /** Has another store started. @throws TroupeError `unavailable`, or with the sentence of what went wrong */
  async addStore(): Promise<LocalStore> {
    const [store] = await this.#ask('scale-out');
    if (store === undefined) throw this.#nonsense();
    return store;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #ask(endpoint: 'stores' | 'scale-out'): Promise<readonly LocalStore[]> {
    const { cluster, timeoutMs } = this.#settings;
    let reply: Msg;
    try {
      reply = await this.#connection.request(subjectOf(cluster, endpoint), '', { timeout: timeoutMs });
    } catch (cause) {
      throw this.#unanswered(cause);
    }
    return this.#read(reply);
  }

  #unanswered(cause: unknown): TroupeError {
    const { cluster, timeoutMs, nats } = this.#settings;
    if (cause instanceof errors.TimeoutError) {
      return new TroupeError(
        'timeout',
        `\`troupe up\` did not answer within ${timeoutMs} ms: look at its terminal, or give it longer with --timeout`,
        { cause },
      );
    }
    if (cause instanceof errors.RequestError && cause.isNoResponders()) {
      return new TroupeError(
        'unavailable',
        `no \`troupe up\` runs the cluster "${cluster}" on ${nats}: start it with \`troupe up\`, or start a store by itself with \`troupe store --name NAME --data DIR\``,
        { cause },
      );
    }
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new TroupeError(
      'unavailable',
      `\`troupe up\` of the cluster "${cluster}" cannot be asked (${reason}): use the credentials that it was started with`,
      { cause },
    );
  }

  #read(reply: Msg): readonly LocalStore[] {
    let content: unknown;
    try {
      content = reply.json();
    } catch {
      throw this.#nonsense();
    }
    if (typeof content !== 'object' || content === null) throw this.#nonsense();
    if ('code' in content && 'message' in content) {
      const code = TROUPE_ERROR_CODES.find((one) => one === content.code) ?? 'failed';
      throw new TroupeError(code, String(content.message));
    }
    if (!('stores' in content) || !Array.isArray(content.stores)) throw this.#nonsense();
    const stores: readonly unknown[] = content.stores;
    return stores.map((one) => {
      if (typeof one !== 'object' || one === null || !('node' in one) || !('pid' in one))
        throw this.#nonsense();
      if (typeof one.node !== 'string' || typeof one.pid !== 'number') throw this.#nonsense();
      return { node: one.node, pid: one.pid };
    });
  }

  #nonsense(): TroupeError {
    return new TroupeError(
      'failed',
      '`troupe up` gave an answer that is none: run the same version as it does',
    );
  }
}

async function respond(message: Msg, work: () => unknown): Promise<void> {
  let reply: unknown;
  try {
    reply = await work();
  } catch (error) {
    const code = error instanceof TroupeError ? error.code : 'failed';
    reply = { code, message: error instanceof Error ? error.message : String(error) };
  }
  message.respond(JSON.stringify(reply));
}

async function connect(settings: ConnectionSettings, role: string): Promise<NatsConnection> {
  try {
    return await connectNats(natsOptions(settings), `troupe-${role}`, silentLogger, () => false);
  } catch (error) {
    throw error instanceof ActorSystemError ? clusterError(error) : error;
  }
}

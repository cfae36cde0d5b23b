/** The other side: events for deployed actors, and questions to their hosts, from any process. */

import { errors, headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import type { TracerProvider } from '@opentelemetry/api';
import {
  ActorSystemError,
  connectNats,
  type NatsTransportOptions,
  silentLogger,
} from '../../actors/index.js';
import { clusterError, TROUPE_ERROR_CODES, TroupeError, type TroupeErrorCode } from '../errors.js';
import { notPermitted } from '../nats-permissions.js';
import { SendingSpan } from '../tracing/actor-tracing.js';
import { Tracing } from '../tracing/tracing.js';
import type { HandOver } from './handed-files.js';
import { type HostInfo, readHostInfo } from './host-info.js';
import {
  type ActorEndpoint,
  actorSubject,
  deploySubject,
  hostsSubject,
  ID_HEADER,
  purgeSubject,
  readObject,
} from './protocol.js';

export interface ActorClientOptions {
  readonly nats: NatsTransportOptions;
  readonly cluster: string;
  /** Milliseconds until a call fails. */
  readonly timeoutMs: number;
  /** Who takes spans; where nothing is said, the provider that is registered with `@opentelemetry/api`. */
  readonly tracerProvider?: TracerProvider;
}

/** Milliseconds for one try, between two, and without anybody of the name before it counts as not there. */
const TRY_MS = 2000;
const PAUSE_MS = 100;
const NOBODY_MS = 1000;
/** Milliseconds that hosts have to answer, and that must pass after the last one. */
const HOSTS_MS = 2000;
const HOSTS_QUIET_MS = 500;

/** What each refusal is for a command line. */
const CODES: Readonly<Record<string, TroupeErrorCode>> = {
  'bad-event': 'usage',
  'no-key': 'usage',
  'not-found': 'not-found',
  conflict: 'conflict',
  'too-large': 'usage',
  done: 'conflict',
  refused: 'failed',
  failed: 'failed',
  overloaded: 'unavailable',
  unavailable: 'unavailable',
};

export class ActorClient {
  readonly #tracing: Tracing;

  private constructor(
    private readonly options: ActorClientOptions,
    private readonly connection: NatsConnection,
  ) {
    this.#tracing = new Tracing(options.tracerProvider);
  }

  /** @throws TroupeError `unavailable` when no NATS server answers or takes the credentials */
  static async connect(options: ActorClientOptions): Promise<ActorClient> {
    try {
      const connection = await connectNats(options.nats, 'troupe actors', silentLogger, () => false);
      return new ActorClient(options, connection);
    } catch (error) {
      throw error instanceof ActorSystemError ? clusterError(error) : error;
    }
  }

  /**
   * Sends an event again and again, with its id, until the actor has acknowledged it: it is applied once.
   * @returns the acknowledgement
   * @throws TroupeError `not-found` when nobody of the name answers; `failed`, `conflict` or `usage` when the actor refuses;
   * `undetermined` when the time is over
   */
  deliver(name: string, endpoint: 'send' | 'ask', event: object, id: string): Promise<Answered> {
    const body = JSON.stringify(event);
    this.#tracing.look();
    if (!this.#tracing.on) return this.#insist(name, endpoint, body, id);
    const subject = actorSubject(this.options.cluster, name, endpoint);
    const span = new SendingSpan(this.#tracing, { actor: name, subject, operation: endpoint, id });
    const answer = this.#insist(name, endpoint, body, id, span);
    void span.until(answer);
    return answer;
  }

  /** Where an actor is, without an event. @throws TroupeError */
  state(name: string, key: string | undefined): Promise<Answered> {
    return this.#insist(name, 'state', key === undefined ? '' : JSON.stringify({ key }), undefined);
  }

  /** @param purge its state goes too */
  undeploy(name: string, purge: boolean): Promise<Answered> {
    return this.#insist(name, 'undeploy', JSON.stringify({ purge }), undefined);
  }

  /** Hands a file to a host. @throws TroupeError with what the host says */
  async deploy(node: string, handed: HandOver): Promise<void> {
    const subject = deploySubject(this.options.cluster, node);
    const { timeoutMs } = this.options;
    let reply: Msg;
    try {
      reply = await this.connection.request(subject, JSON.stringify(handed), { timeout: timeoutMs });
    } catch (cause) {
      const forbidden = notPermitted(cause);
      if (forbidden !== undefined) throw forbidden;
      if (isNobody(cause)) {
        throw new TroupeError(
          'not-found',
          `no host named ${node} answers: start it with troupe host --name ${node}, or see troupe actors`,
          { cause },
        );
      }
      throw new TroupeError('undetermined', `${node} did not answer in time: see troupe actors`, { cause });
    }
    const refused = refusedBy(node, readObject(reply.data) ?? {});
    if (refused !== undefined) throw refused;
  }

  /**
   * Removes the state that an actor which is deployed no longer has left on hosts that answer.
   * @throws TroupeError `unavailable` when this user may not ask them
   */
  async purge(name: string): Promise<Purged> {
    const replies = await this.#askHosts(purgeSubject(this.options.cluster), JSON.stringify({ name }));
    const removed: string[] = [];
    const refused: TroupeError[] = [];
    for (const reply of replies) {
      const node = typeof reply.node === 'string' ? reply.node : 'a host';
      const refusal = refusedBy(node, reply);
      if (refusal !== undefined) refused.push(refusal);
      else if (reply.purged === true) removed.push(node);
    }
    const byMessage = (a: TroupeError, b: TroupeError): number => (a.message < b.message ? -1 : 1);
    return { removed: removed.sort(), refused: refused.sort(byMessage) };
  }

  /** Every host that answers, in the order of their names. */
  async hosts(): Promise<readonly HostInfo[]> {
    const replies = await this.#askHosts(hostsSubject(this.options.cluster), '');
    const hosts = replies.flatMap((reply) => readHostInfo(reply) ?? []);
    return hosts.sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  close(): Promise<void> {
    return this.connection.close();
  }

  /** What all hosts answer. */
  async #askHosts(subject: string, body: string): Promise<readonly Answered[]> {
    const answered: Answered[] = [];
    try {
      const replies = await this.connection.requestMany(subject, body, {
        strategy: 'stall',
        maxWait: Math.min(HOSTS_MS, this.options.timeoutMs),
        stall: HOSTS_QUIET_MS,
      });
      for await (const reply of replies) {
        const object = readObject(reply.data);
        if (object !== undefined) answered.push(object);
      }
    } catch (cause) {
      const forbidden = notPermitted(cause);
      if (forbidden !== undefined) throw forbidden;
      if (!isNobody(cause)) throw cause;
    }
    return answered;
  }

  async #insist(
    name: string,
    endpoint: ActorEndpoint,
    body: string,
    id: string | undefined,
    span?: SendingSpan,
  ): Promise<Answered> {
    const { timeoutMs, cluster } = this.options;
    const subject = actorSubject(cluster, name, endpoint);
    const began = Date.now();
    const deadline = began + timeoutMs;
    let heard = false;
    let last: unknown;
    for (let left = timeoutMs; left > 0; left = deadline - Date.now()) {
      const header = headers();
      if (id !== undefined) header.set(ID_HEADER, id);
      span?.carry(header);
      try {
        // What has no id is asked once: a second undeploy would find nobody.
        const options = { timeout: id === undefined ? left : Math.min(TRY_MS, left), headers: header };
        const answered = readAnswered(name, await this.connection.request(subject, body, options));
        if (!(answered instanceof TroupeError)) return answered;
        if (answered.code !== 'unavailable') throw answered;
        heard = true;
        last = answered;
      } catch (cause) {
        if (cause instanceof TroupeError) throw cause;
        const forbidden = notPermitted(cause);
        if (forbidden !== undefined) throw forbidden;
        if (!isNobody(cause)) heard = true;
        else if (!heard && Date.now() - began >= Math.min(NOBODY_MS, timeoutMs)) throw notThere(name, cause);
        last = cause;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    if (last instanceof TroupeError) throw last;
    if (!heard) throw notThere(name, last);
    throw new TroupeError(
      'undetermined',
      id === undefined
        ? `${name} did not answer within ${timeoutMs} ms: see troupe actors, or give it longer with --timeout`
        : `${name} did not acknowledge within ${timeoutMs} ms: send it again with --id ${id}, which applies it once`,
      { cause: last },
    );
  }
}

/** What became of the states that an actor had left. */
export interface Purged {
  /** The hosts that had one, in the order of their names. */
  readonly removed: readonly string[];
  /** Of each host that did not do it why not, beginning with its name. */
  readonly refused: readonly TroupeError[];
}

/** The members of an answer. */
export type Answered = Readonly<Record<string, unknown>>;

function readAnswered(name: string, reply: Msg): Answered | TroupeError {
  const body = readObject(reply.data);
  if (body === undefined)
    return new TroupeError('failed', `${name} gave an answer that is none: what answers there?`);
  const { error } = body;
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error)) return body;
  const { code, message } = error;
  return new TroupeError(CODES[String(code)] ?? 'failed', String(message), { reason: String(code) });
}

/** What a host says instead of doing what it was asked, if it does. */
function refusedBy(node: string, { error }: Answered): TroupeError | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error) || !('message' in error)) return;
  const code = TROUPE_ERROR_CODES.find((one) => one === error.code) ?? 'failed';
  return new TroupeError(code, `${node}: ${error.message}`);
}

function isNobody(error: unknown): boolean {
  if (error instanceof errors.NoRespondersError) return true;
  return error instanceof errors.RequestError && error.isNoResponders();
}

function notThere(name: string, cause: unknown): TroupeError {
  return new TroupeError(
    'not-found',
    `no actor named ${name} is deployed: troupe actors lists those that are, troupe deploy FILE --name ${name} hosts one`,
    { cause },
  );
}

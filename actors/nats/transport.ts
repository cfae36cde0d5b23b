import type { Service } from '@nats-io/services';
import { createInbox, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { type Lane, lanesOf, roleOf, subjectOf } from '../addresses.js';
import { ActorSystemError } from '../errors.js';
import type {
  BulkChannel,
  InspectionChannel,
  OutgoingFrame,
  Transport,
  TransportHost,
} from '../transport.js';
import { NameClaim } from './claim.js';
import { connectNats, urlsOf } from './connect.js';
import { openInspectionChannel } from './inspection.js';
import { NATS_OPTIONS, type NatsTransportOptions, unknownOption } from './options.js';
import { registerService } from './service.js';

const DEFAULT_MAX_PAYLOAD = 1024 * 1024;
/** Milliseconds that the server has to take what is left when a node closes. */
const DRAIN_TIMEOUT = 2000;

/**
 * Messages over NATS: one connection, one subscription per lane of the node, frames as they are.
 * @throws ActorSystemError `invalid-argument` for an option that there is not
 */
export function natsTransport(options: NatsTransportOptions = {}): Transport {
  const unknown = unknownOption(options, NATS_OPTIONS, 'natsTransport');
  if (unknown !== undefined) throw new ActorSystemError('invalid-argument', unknown);
  return new NatsTransport(options);
}

class NatsTransport implements Transport {
  readonly #options: NatsTransportOptions;
  readonly #maxFrame: number;
  #host: TransportHost | undefined;
  #connection: NatsConnection | undefined;
  #connected = false;
  #closed = false;
  /** It neither hears nor sends any more. */
  #failed = false;
  #claim: NameClaim | undefined;
  #service: Service | undefined;
  /** A connection of its own for chunks, so that messages do not wait behind them. */
  #bulk: NatsConnection | undefined;
  #bulkConnected = false;
  #bulkSubscription: Subscription | undefined;
  readonly #subscriptions: Subscription[] = [];
  /** Subjects by node, made once. */
  readonly #subjects = new Map<string, string>();
  #inbox = '';

  constructor(options: NatsTransportOptions) {
    this.#options = options;
    this.#maxFrame = options.maxPayload ?? DEFAULT_MAX_PAYLOAD;
  }

  async start(host: TransportHost): Promise<{ maxFrame: number }> {
    const { cluster, connection } = this.#options;
    if (cluster !== undefined && cluster !== host.cluster) {
      throw new ActorSystemError(
        'invalid-argument',
        `the transport is for the cluster ${cluster}, the node for ${host.cluster}`,
      );
    }
    this.#host = host;
    this.#connection = connection ?? (await this.#connect(''));
    try {
      await this.#join(host, this.#connection);
    } catch (error) {
      await this.close();
      throw error;
    }
    return { maxFrame: this.#maxFrame };
  }

  send({ lane, node, bytes, firstAsk, lastAsk }: OutgoingFrame): boolean {
    const connection = this.#connection;
    if (connection === undefined || !this.#connected) return false;
    try {
      if (firstAsk === 0) {
        connection.publish(this.#subject(lane, node), bytes);
      } else {
        // Where nobody listens the server answers at once, to a subject that says which asks are lost.
        const reply = `${this.#inbox}.${node}.${firstAsk}.${lastAsk}`;
        connection.publish(this.#subject(lane, node), bytes, { reply });
      }
      return true;
    } catch {
      return false;
    }
  }

  async openBulk(onChunk: (chunk: Uint8Array) => void): Promise<BulkChannel> {
    const { host, connection: main } = this.#started();
    if (host.role !== 'server') {
      throw new ActorSystemError('invalid-argument', 'only servers have a bulk channel');
    }
    const connection = this.#options.connection ?? this.#bulk ?? (await this.#connect(' bulk'));
    if (connection !== main && connection !== this.#bulk) {
      this.#bulk = connection;
      this.#bulkConnected = true;
      this.#followBulk(host, connection).catch((error: unknown) =>
        host.logger.error({ err: error }, 'lost sight of the connection for chunks'),
      );
    }
    this.#bulkSubscription?.unsubscribe();
    const subscription = connection.subscribe(bulkSubject(host.cluster, host.node), {
      callback: (error, message) => {
        if (error === null) onChunk(message.data);
      },
    });
    this.#bulkSubscription = subscription;
    await connection.flush();
    return {
      send: (node, chunk) => {
        // The client keeps chunks while it is disconnected, and then drops them: that is no way to send.
        if (!(connection === main ? this.#connected : this.#bulkConnected)) return false;
        try {
          connection.publish(bulkSubject(host.cluster, node), chunk);
          return true;
        } catch {
          return false;
        }
      },
      close: async () => {
        if (!subscription.isClosed()) subscription.unsubscribe();
      },
    };
  }

  async openInspection(onLease: (lease: Uint8Array) => void): Promise<InspectionChannel> {
    const { host, connection } = this.#started();
    if (connection === undefined) throw new ActorSystemError('closed', 'the transport has not been started');
    return openInspectionChannel(
      connection,
      host.cluster,
      host.node,
      () => this.#connected,
      onLease,
      // Whose permissions keep it from being inspected goes on without.
      (error) => host.logger.info({ err: error }, 'this node may not be inspected'),
    );
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const connection = this.#connection;
    if (connection !== undefined && !connection.isClosed()) {
      this.#leave();
      const own = this.#options.connection === undefined;
      if (this.#connected) await withinLimit(own ? connection.drain() : connection.flush());
      if (own) await connection.close();
    }
    if (this.#bulk !== undefined) {
      if (this.#bulkConnected) await withinLimit(this.#bulk.drain());
      await this.#bulk.close();
    }
    this.#connected = false;
    this.#bulkConnected = false;
  }

  #connect(suffix: string): Promise<NatsConnection> {
    const { cluster, node, logger } = this.#started().host;
    return connectNats(this.#options, `troupe ${cluster} ${node}${suffix}`, logger, () => this.#closed);
  }

  async #join(host: TransportHost, connection: NatsConnection): Promise<void> {
    this.#checkPayload(connection);
    this.#connected = true;
    this.#follow(host, connection).catch((error: unknown) =>
      host.logger.error({ err: error }, 'lost sight of the connection'),
    );
    if (host.role === 'server') {
      const subject = `${subjectOf(host.cluster, 'peer', host.node)}.claim`;
      const { node, incarnation } = host;
      this.#claim = new NameClaim(connection, subject, node, incarnation, crypto.randomUUID(), (error) =>
        this.#fail(error),
      );
      await this.#claim.probe();
      this.#claim.hold();
    }
    let refused: Error | undefined;
    for (const lane of lanesOf(host.role)) {
      this.#subscribe(
        connection,
        subjectOf(host.cluster, lane, host.node),
        (bytes) => host.receive(lane, bytes),
        (error) => {
          refused = error;
        },
      );
    }
    this.#inbox = createInbox(this.#options.inboxPrefix);
    this.#subscriptions.push(
      connection.subscribe(`${this.#inbox}.>`, {
        callback: (error, message) => {
          if (error === null && message.headers?.code === 503) this.#undeliverable(message.subject);
        },
      }),
    );
    // The server reports refused subjects before it answers the flush.
    await connection.flush();
    if (refused !== undefined) {
      throw new ActorSystemError(
        'unauthorized',
        `the credentials do not fit ${host.node}: ${String(refused)}`,
        {
          cause: refused,
        },
      );
    }
    this.#claim?.announce();
    const { service } = this.#options;
    if (service !== false && (host.role === 'server' || service !== undefined)) {
      this.#service = await registerService(connection, host, service ?? {});
    }
  }

  #subscribe(
    connection: NatsConnection,
    subject: string,
    receive: (bytes: Uint8Array) => void,
    refused: (error: Error) => void,
  ): void {
    this.#subscriptions.push(
      connection.subscribe(subject, {
        // Called by the client's reader, which a throw would end for good; `receive` does not throw.
        callback: (error, message) => {
          if (error === null) receive(message.data);
          else refused(error);
        },
      }),
    );
  }

  #undeliverable(subject: string): void {
    const [node, first, last] = subject.slice(this.#inbox.length + 1).split('.');
    if (node === undefined) return;
    this.#host?.undeliverable(node, Number(first), Number(last));
  }

  /** Follows what happens to the connection until it is closed. */
  async #follow(host: TransportHost, connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') {
        if (!this.#connected) continue;
        this.#connected = false;
        host.logger.warn({ server: status.server }, 'the connection to the NATS server is lost; trying on');
        host.status({ type: 'disconnected', server: status.server });
      } else if (status.type === 'reconnect') {
        this.#reconnected(host, connection, status.server);
      } else if (status.type === 'ldm') {
        host.status({ type: 'lameDuck', server: status.server });
        if (connection.getServers().length > 1) await connection.reconnect().catch(() => {});
      } else if (status.type === 'error') {
        host.logger.warn({ err: status.error }, 'the NATS server reports an error');
        host.status({ type: 'error', error: status.error });
      }
    }
    if (this.#closed) return;
    this.#fail(
      new ActorSystemError('closed', `the connection of ${host.node} to the NATS server was closed`),
    );
  }

  /** Whether chunks can be sent, until the connection is closed. Lost ones are the sender's business. */
  async #followBulk(host: TransportHost, connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') {
        this.#bulkConnected = false;
        host.logger.warn({ server: status.server }, 'the connection for chunks is lost; trying on');
      } else if (status.type === 'reconnect') {
        this.#bulkConnected = !this.#failed;
      } else if (status.type === 'ldm' && connection.getServers().length > 1) {
        await connection.reconnect().catch(() => {});
      }
    }
    this.#bulkConnected = false;
  }

  #reconnected(host: TransportHost, connection: NatsConnection, server: string): void {
    if (this.#failed) return;
    try {
      this.#checkPayload(connection);
    } catch (error) {
      this.#fail(error as ActorSystemError);
      return;
    }
    this.#connected = true;
    this.#claim?.announce();
    host.logger.info({ server }, 'connected to a NATS server again');
    host.status({ type: 'reconnected', server });
  }

  /** @throws ActorSystemError `payload-too-small` */
  #checkPayload(connection: NatsConnection): void {
    const offered = connection.info?.max_payload ?? 0;
    if (offered >= this.#maxFrame) return;
    throw new ActorSystemError(
      'payload-too-small',
      `the NATS server at ${urlsOf(this.#options)} carries messages of ${offered} bytes, this node needs ${this.#maxFrame}: set max_payload in its configuration`,
    );
  }

  /** The node cannot go on: it neither hears nor sends from now on. */
  #fail(error: ActorSystemError): void {
    this.#failed = true;
    this.#connected = false;
    this.#bulkConnected = false;
    this.#leave();
    this.#host?.logger.error({ err: error }, error.message);
    this.#host?.status({ type: 'failed', error });
  }

  /** Answers to nothing any more. */
  #leave(): void {
    this.#service?.stop().catch(() => {});
    this.#claim?.release();
    for (const subscription of this.#subscriptions) if (!subscription.isClosed()) subscription.unsubscribe();
    if (this.#bulkSubscription?.isClosed() === false) this.#bulkSubscription.unsubscribe();
  }

  #subject(lane: Lane, node: string): string {
    let subject = this.#subjects.get(node);
    if (subject === undefined) {
      subject = subjectOf(this.#started().host.cluster, lane, node);
      if (roleOf(node) === 'server') this.#subjects.set(node, subject);
    }
    return subject;
  }

  #started(): { host: TransportHost; connection: NatsConnection | undefined } {
    if (this.#host === undefined) throw new ActorSystemError('closed', 'the transport has not been started');
    return { host: this.#host, connection: this.#connection };
  }
}

function bulkSubject(cluster: string, node: string): string {
  return `${subjectOf(cluster, 'peer', node)}.bulk`;
}

/** A server that hangs must not keep a node from closing. */
async function withinLimit(handover: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, DRAIN_TIMEOUT);
  });
  await Promise.race([handover.catch(() => {}), limit]);
  clearTimeout(timer);
}

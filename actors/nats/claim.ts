import { errors, type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { ActorSystemError } from '../errors.js';

/** Milliseconds that a live node has to answer a question about its name, and how often it is asked. */
const PROBE_TIMEOUT = 1000;
const PROBES = 2;

interface Claim {
  /** `probe`: is the name free? `started`: this instance has it now. */
  readonly type: 'probe' | 'started';
  readonly incarnation: number;
  /** Distinguishes two processes that start with the same incarnation. */
  readonly instance: string;
}

/**
 * One live node per name.
 *
 * Before a node takes its name it asks whether somebody answers to it. Afterwards every holder says so, at its start
 * and at every reconnect; of two holders (both started in the same moment, or the network kept them apart) the one
 * with the lower incarnation gives way, because the other nodes drop its frames already.
 */
export class NameClaim {
  #subscription: Subscription | undefined;

  constructor(
    private readonly connection: NatsConnection,
    private readonly subject: string,
    private readonly node: string,
    private readonly incarnation: number,
    private readonly instance: string,
    /** A later instance has the name. */
    private readonly lost: (error: ActorSystemError) => void,
  ) {}

  /** @throws ActorSystemError `name-taken` or `unauthorized` */
  async probe(): Promise<void> {
    for (let i = 0; i < PROBES; i++) {
      try {
        await this.connection.request(this.subject, this.#message('probe'), { timeout: PROBE_TIMEOUT });
      } catch (error) {
        if (isNoResponders(error)) return;
        if (error instanceof errors.TimeoutError) continue;
        throw probeError(error, this.node, this.subject);
      }
      throw this.#taken(`a live node named ${this.node} already answers: stop it, or choose another name`);
    }
    // Somebody listens and says nothing: the rest of a dead process. Its incarnation is lower than ours.
  }

  /** Answers for the name from now on. */
  hold(): void {
    this.#subscription = this.connection.subscribe(this.subject, {
      callback: (error, message) => {
        if (error === null) this.#heard(message);
      },
    });
  }

  /** Tells everybody who holds the name: a lower incarnation hears that it has lost it. */
  announce(): void {
    this.connection.publish(this.subject, this.#message('started'));
  }

  /** Answers no more. */
  release(): void {
    this.#subscription?.unsubscribe();
  }

  #heard(message: Msg): void {
    const claim = parseClaim(message);
    if (claim === undefined || claim.instance === this.instance) return;
    if (claim.type === 'probe') {
      message.respond(this.#message('started'));
      return;
    }
    const later =
      claim.incarnation > this.incarnation ||
      (claim.incarnation === this.incarnation && claim.instance > this.instance);
    if (later) this.lost(this.#taken(`another node took the name ${this.node}: this one must stop`));
    else this.announce();
  }

  #message(type: Claim['type']): string {
    return JSON.stringify({ type, incarnation: this.incarnation, instance: this.instance } satisfies Claim);
  }

  #taken(sentence: string): ActorSystemError {
    return new ActorSystemError('name-taken', sentence);
  }
}

function isNoResponders(error: unknown): boolean {
  return (
    error instanceof errors.NoRespondersError ||
    (error instanceof errors.RequestError && error.isNoResponders())
  );
}

function probeError(error: unknown, node: string, subject: string): ActorSystemError {
  const refused = [error, (error as Error).cause].some(
    (one) => one instanceof errors.PermissionViolationError,
  );
  return refused
    ? new ActorSystemError('unauthorized', `the credentials do not allow ${node} to use ${subject}`, {
        cause: error,
      })
    : new ActorSystemError('unavailable', `the NATS server does not answer ${node}: ${String(error)}`, {
        cause: error,
      });
}

function parseClaim(message: Msg): Claim | undefined {
  try {
    const claim: unknown = message.json();
    if (typeof claim !== 'object' || claim === null) return undefined;
    const { type, incarnation, instance } = claim as Partial<Record<keyof Claim, unknown>>;
    if (type !== 'probe' && type !== 'started') return undefined;
    if (typeof incarnation !== 'number' || typeof instance !== 'string') return undefined;
    return { type, incarnation, instance };
  } catch {
    return undefined;
  }
}

/** Where anybody with a NATS client reaches a deployed actor: a service of the NATS services API, in JSON. */

import { type Service, type ServiceMsg, Svcm } from '@nats-io/services';
import type { NatsConnection } from '@nats-io/transport-node';
import { TroupeError } from '../errors.js';
import type { HandlingSpans } from '../tracing/actor-tracing.js';
import { type ActorFamily, keyOf } from './actor-family.js';
import { HOW_TO_GO_ON } from './deployed-actor.js';
import {
  type Answer,
  actorSubject,
  answerBody,
  type Delivery,
  ID_HEADER,
  idFlaw,
  isRefusal,
  MAX_KEY_BYTES,
  REFUSAL_NUMBERS,
  readEvent,
  readObject,
  refusal,
} from './protocol.js';
import { decodeState } from './records.js';
import { actorState } from './stored-actor.js';

export interface FrontDoorParts {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly node: string;
  readonly name: string;
  readonly family: ActorFamily;
  /** The member of an event that names the instance; `undefined` where there is one actor. */
  readonly member: string | undefined;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly undeploy: (purge: boolean) => Promise<void>;
  /** Absent where nobody takes spans. */
  readonly spans?: HandlingSpans | undefined;
}

const NO_KEY = `a key is a text of at most ${MAX_KEY_BYTES} bytes, or a whole number`;

export class FrontDoor {
  readonly #parts: FrontDoorParts;
  #service: Service | undefined;

  constructor(parts: FrontDoorParts) {
    this.#parts = parts;
  }

  /** The server knows of it when this resolves. */
  async open(): Promise<void> {
    const { connection, name, description, metadata } = this.#parts;
    this.#service = await new Svcm(connection).add({
      name,
      version: '1.0.0',
      description,
      metadata: { ...metadata },
      queue: '',
    });
    this.#endpoint('send', (message) => this.#deliver(message, 'send'));
    this.#endpoint('ask', (message) => this.#deliver(message, 'ask'));
    this.#endpoint('state', (message) => void this.#tellState(message));
    this.#endpoint('undeploy', (message) => void this.#undeploy(message));
    await connection.flush();
  }

  /** Hears nothing any more; what was heard is still answered. */
  async close(): Promise<void> {
    await this.#service?.stop().catch(() => {});
  }

  #endpoint(name: 'send' | 'ask' | 'state' | 'undeploy', handle: (message: ServiceMsg) => void): void {
    const subject = actorSubject(this.#parts.cluster, this.#parts.name, name);
    this.#service?.addEndpoint(name, {
      subject,
      handler: (error, message) => {
        if (error === null) handle(message);
      },
    });
  }

  #deliver(message: ServiceMsg, operation: 'send' | 'ask'): void {
    const id = message.headers?.get(ID_HEADER);
    const ended = this.#span(message, operation, id || undefined);
    const answer = (given: Answer): void => {
      ended?.(given.ok ? undefined : given.code);
      respond(message, given);
    };
    const flaw = id === undefined || !message.headers?.has(ID_HEADER) ? undefined : idFlaw(id);
    if (flaw !== undefined) return answer(refusal('bad-event', flaw));
    const event = readEvent(message.data);
    if (isRefusal(event)) return answer(event);
    const wants: Delivery['wants'] = operation === 'send' ? 'acknowledgement' : 'reply';
    this.#parts.family.deliver({ event, id: id || undefined, wants, answer });
  }

  #span(message: ServiceMsg, operation: 'send' | 'ask', id: string | undefined) {
    const { spans, name, cluster } = this.#parts;
    if (spans === undefined || message.headers === undefined) return undefined;
    const subject = actorSubject(cluster, name, operation);
    return spans.begin(message.headers, { actor: name, subject, operation, id });
  }

  async #tellState(message: ServiceMsg): Promise<void> {
    const { family, member, name, node } = this.#parts;
    const given = readObject(message.data)?.key;
    const key = member === undefined ? '' : keyOf(given);
    if (key === undefined) {
      const which = given === undefined ? 'say which, as in {"key":"42"}' : NO_KEY;
      return respond(message, refusal('no-key', `${name} has an actor for each "${member}": ${which}`));
    }
    try {
      const { text, actor } = await family.stateOf(key);
      if (text === undefined) {
        const sentence =
          actor === undefined
            ? `${name} has no actor for ${key}`
            : actor.state === 'failed'
              ? `${name} has not taken its first step (${actor.failures.last})`
              : `${name} is starting`;
        return respond(message, refusal(actor === undefined ? 'not-found' : 'unavailable', sentence));
      }
      const stored = decodeState(text);
      const failures = actor?.failures;
      const body = {
        ok: true,
        name,
        ...(member === undefined ? {} : { key }),
        host: node,
        ...actorState(stored),
        seq: stored.seq,
        timers: stored.timers.map(({ event, at }) => ({ event: event.type, at: new Date(at).toISOString() })),
        life: actor?.state ?? 'passive',
        failures: failures?.count ?? 0,
        ...(failures?.last ? { lastFailure: failures.last } : {}),
        ...(actor?.state === 'failed' ? { goesOn: HOW_TO_GO_ON } : {}),
        effectsPending: actor?.effects ?? 0,
        waiting: actor?.waitingEffects ?? [],
      };
      message.respond(JSON.stringify(body));
    } catch (error) {
      respond(message, refusal('unavailable', error instanceof Error ? error.message : String(error)));
    }
  }

  async #undeploy(message: ServiceMsg): Promise<void> {
    try {
      await this.#parts.undeploy(readObject(message.data)?.purge === true);
      message.respond(JSON.stringify({ ok: true, host: this.#parts.node }));
    } catch (error) {
      const code = error instanceof TroupeError && error.code === 'conflict' ? 'conflict' : 'unavailable';
      respond(message, refusal(code, error instanceof Error ? error.message : String(error)));
    }
  }
}

/** Says it to whoever asked, if somebody did. Never throws: a closed connection has nobody to tell. */
function respond(message: ServiceMsg, answer: Answer): void {
  try {
    if (answer.ok) message.respond(answerBody(answer));
    else message.respondError(REFUSAL_NUMBERS[answer.code], answer.message, answerBody(answer));
  } catch {
    // The sender finds out at its deadline, and sends it again.
  }
}

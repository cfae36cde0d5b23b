/**
 * What is said to a deployed actor, and by it: JSON over NATS, so that any client of NATS can. The page of the protocol is
 * docs/decisions/deployed-actors.md.
 */

import type { AnyEventObject } from 'xstate';

/** The endpoints of a deployed actor. */
export type ActorEndpoint = 'send' | 'ask' | 'state' | 'undeploy';

export const actorSubject = (cluster: string, name: string, endpoint: ActorEndpoint): string =>
  `troupe.${cluster}.api.actor.${name}.${endpoint}`;
/** Hands a file to a host. */
export const deploySubject = (cluster: string, node: string): string =>
  `troupe.${cluster}.api.host.${node}.deploy`;
/** Every host that keeps a state of the name removes it. */
export const purgeSubject = (cluster: string): string => `troupe.${cluster}.api.host.purge`;
/** Every host answers. */
export const hostsSubject = (cluster: string): string => `troupe.${cluster}.api.host.list`;
/** Between hosts: who has the name. */
export const claimSubject = (cluster: string, name: string): string =>
  `troupe.${cluster}.peer.actor.${name}.claim`;

/** Where an effect is published; what cannot stand in a subject becomes `_`. */
export function emitSubject(cluster: string, name: string, type: string): string {
  const tokens = type.split('.').map((token) => token.replace(/[^A-Za-z0-9_-]/g, '_') || '_');
  return `troupe.${cluster}.emit.${name}.${tokens.join('.')}`.slice(0, MAX_SUBJECT_LENGTH);
}

const MAX_SUBJECT_LENGTH = 255;

/** What a deployed actor or a host may be called. */
export const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** The header that carries an event's id, as in JetStream. */
export const ID_HEADER = 'Nats-Msg-Id';
export const MAX_ID_LENGTH = 128;
/** Bytes of an event, of a reply and of a state: each has to fit a message of NATS (1 MiB) with what stands around it. */
export const MAX_BYTES = 512 * 1024;
/** Ids that an actor knows; one more and it forgets the first. */
export const KNOWN_IDS = 4096;
/** Events that wait for one actor. */
export const MAX_WAITING = 4096;
/** Effects of one actor that have not left. */
export const MAX_EFFECTS = 1000;
/** At these a step fails that no event could have been refused for: one of a timer or of a child. */
export const MOST_EFFECTS = 2 * MAX_EFFECTS;
/** Bytes of an instance's key. */
export const MAX_KEY_BYTES = 256;

export type RefusalCode =
  | 'bad-event'
  | 'no-key'
  | 'not-found'
  | 'conflict'
  | 'too-large'
  | 'done'
  | 'refused'
  | 'failed'
  | 'overloaded'
  | 'unavailable';

/** As HTTP numbers them: the services API of NATS wants a number. */
export const REFUSAL_NUMBERS: Readonly<Record<RefusalCode, number>> = {
  'bad-event': 400,
  'no-key': 400,
  'not-found': 404,
  conflict: 409,
  done: 410,
  'too-large': 413,
  refused: 422,
  overloaded: 429,
  failed: 500,
  unavailable: 503,
};

export interface Refusal {
  readonly ok: false;
  readonly code: RefusalCode;
  /** One sentence for a person. */
  readonly message: string;
}

/** Effects of an actor that were tried in vain, and are tried again. */
export interface WaitingEffects {
  /** The deployed actor that they are for; absent: they wait for the NATS server. */
  readonly to?: string;
  readonly effects: number;
  /** When the oldest of them was emitted. */
  readonly since: string;
}

/** What an actor is at, for people and programs. */
export interface ActorState {
  /** XState's state value. */
  readonly value: unknown;
  readonly context: unknown;
  readonly status: string;
  /** Of a machine that has reached its end and has something to show for it. */
  readonly output?: unknown;
}

export interface Acknowledgement {
  readonly ok: true;
  readonly id?: string;
  /** The step of the actor's life that took the event. */
  readonly seq: number;
  /** It had been applied before. */
  readonly duplicate: boolean;
  /** Whether a transition of the machine took it in the state that it was in. */
  readonly taken: boolean;
  /** Only for `ask`: what the machine said, else its state. */
  readonly reply?: unknown;
  readonly state?: ActorState;
}

export type Answer = Acknowledgement | Refusal;

/** An event on its way to an actor, and the way back. */
export interface Delivery {
  readonly event: AnyEventObject;
  readonly id: string | undefined;
  /** `reply`: the answer is to carry what the machine said. */
  readonly wants: 'acknowledgement' | 'reply';
  /** Called once. */
  answer(answer: Answer): void;
}

export function refusal(code: RefusalCode, message: string): Refusal {
  return { ok: false, code, message };
}

/** The event that the bytes say, or what is wrong with them. */
export function readEvent(bytes: Uint8Array): AnyEventObject | Refusal {
  if (bytes.length > MAX_BYTES) {
    return refusal('too-large', `an event has at most ${MAX_BYTES} bytes, this one has ${bytes.length}`);
  }
  const event = readObject(bytes);
  if (event === undefined) return refusal('bad-event', `an event is a JSON object such as ${EXAMPLE}`);
  const { type } = event;
  if (typeof type !== 'string' || type === '') {
    return refusal('bad-event', `an event has a type, as in ${EXAMPLE}`);
  }
  if (type.startsWith('xstate.')) {
    return refusal('bad-event', `an event of type ${type} is for the machine alone: choose another type`);
  }
  return { ...event, type };
}

export function isRefusal(value: AnyEventObject | Refusal): value is Refusal {
  return value.ok === false && !('type' in value);
}

const EXAMPLE = '{"type":"pay","amount":5}';

/** What is wrong with an event's id; `undefined`: nothing. */
export function idFlaw(id: string): string | undefined {
  if (id === '') return 'an id is not empty';
  return id.length > MAX_ID_LENGTH ? `an id has at most ${MAX_ID_LENGTH} characters` : undefined;
}

/** A JSON object from outside; `undefined` for everything else. */
export function readObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return value as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}

/** The body of an answer. */
export function answerBody(answer: Answer): string {
  if (answer.ok) return JSON.stringify(answer);
  return JSON.stringify({ error: { code: answer.code, message: answer.message } });
}

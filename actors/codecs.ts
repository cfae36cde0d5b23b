import type { AnyEventObject } from 'xstate';
import type { Lane } from './addresses.js';
import { ActorSystemError } from './errors.js';

/** An event as it is sent: without what the framework adds on the way (`replyTo`, `sender`, `address`). */
export type WireEvent = AnyEventObject;

/**
 * How events of one kind (`event.type`) become bytes.
 *
 * `decode` and `decodeReply` get a view of the received buffer and may keep views of it. They throw on bytes that are
 * not theirs; such a message is counted and never reaches an actor.
 */
export interface Codec<E extends WireEvent = WireEvent, R = unknown> {
  /** What it returns is copied before anything else is encoded: it may be memory that the next call uses again. */
  encode(event: E): Uint8Array;
  /** Returns the whole event, `type` included. */
  decode(body: Uint8Array): E;
  /** Absent: replies travel as JSON. */
  encodeReply?(reply: R): Uint8Array;
  /** The reply that `encodeReply` made; without both, replies travel as JSON. */
  decodeReply?(body: Uint8Array): R;
  /** The lanes on which the kind may travel; absent: all. On any other it is a dead letter. */
  readonly lanes?: readonly Lane[];
}

/** `any`: kinds without a codec travel as JSON; `registered-only`: they are refused. */
export type CodecPolicy = 'any' | 'registered-only';

interface ResolvedCodec {
  encode(event: WireEvent): Uint8Array;
  decode(body: Uint8Array): WireEvent;
  encodeReply(reply: unknown): Uint8Array;
  decodeReply(body: Uint8Array): unknown;
  readonly lanes: readonly Lane[] | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const EMPTY = new Uint8Array(0);

/** The codecs of one system, by kind. */
export class CodecRegistry {
  readonly #codecs = new Map<string, ResolvedCodec>();

  constructor(private readonly policy: CodecPolicy) {}

  /** @throws ActorSystemError `invalid-argument` when the kind has a codec already, or is too long */
  register<E extends WireEvent, R>(kind: string, codec: Codec<E, R>): void {
    if (kind.length > MAX_KIND_LENGTH) {
      throw new ActorSystemError('invalid-argument', `a kind has at most ${MAX_KIND_LENGTH} characters`);
    }
    if (this.#codecs.has(kind)) {
      throw new ActorSystemError('invalid-argument', `the kind ${JSON.stringify(kind)} already has a codec`);
    }
    const { encodeReply, decodeReply } = codec;
    this.#codecs.set(kind, {
      encode: (event) => codec.encode(event as E),
      decode: (body) => codec.decode(body),
      encodeReply: encodeReply === undefined ? encodeJson : (reply) => encodeReply.call(codec, reply as R),
      decodeReply: decodeReply === undefined ? decodeJson : (body) => decodeReply.call(codec, body),
      lanes: codec.lanes,
    });
  }

  /** `undefined` when the kind is not known and only registered kinds may travel. */
  find(kind: string): ResolvedCodec | undefined {
    const known = this.#codecs.get(kind);
    if (known !== undefined || this.policy === 'registered-only' || kind.length > MAX_KIND_LENGTH)
      return known;
    const fallback = jsonCodec(kind);
    if (this.#codecs.size < MAX_KINDS) this.#codecs.set(kind, fallback);
    return fallback;
  }
}

export type { ResolvedCodec };

/** Longest kind, in UTF-16 units: kinds travel in every frame. */
const MAX_KIND_LENGTH = 256;
/** Kinds come from the network too: beyond this many, JSON codecs are not remembered. */
const MAX_KINDS = 4096;

function jsonCodec(kind: string): ResolvedCodec {
  return {
    encode: (event) => {
      const { type, replyTo, sender, address, ...body } = event;
      return encodeJson(body);
    },
    decode: (body) => {
      const event = decodeJson(body);
      if (typeof event !== 'object' || event === null || Array.isArray(event))
        throw new Error('not an event');
      return { ...event, type: kind };
    },
    encodeReply: encodeJson,
    decodeReply: decodeJson,
    lanes: undefined,
  };
}

/** `undefined` is no bytes at all; bigints are refused by `JSON.stringify` itself. */
function encodeJson(value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  return text === undefined ? EMPTY : encoder.encode(text);
}

function decodeJson(body: Uint8Array): unknown {
  return body.length === 0 ? undefined : JSON.parse(decoder.decode(body));
}

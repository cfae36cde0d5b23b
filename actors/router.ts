import type { AnyEventObject } from 'xstate';
import type { Asks, PendingAsk } from './asks.js';
import type { Clock } from './clock.js';
import type { CodecRegistry, ResolvedCodec } from './codecs.js';
import type { DeadLetterReason } from './dead-letters.js';
import { AskError, type AskErrorCode, answeredFailure } from './errors.js';
import type { FrameWriter } from './frame-writer.js';
import type { Metrics } from './metrics.js';
import type { Peer, Peers } from './peers.js';
import type { ActorRef, AskOptions, Down, RefHost } from './ref.js';
import type { Registry } from './registry.js';
import { Reply, type ReplyRouter } from './reply.js';
import type { OutgoingFrame } from './transport.js';
import type { DeathWatch } from './watch.js';

export interface RouterParts {
  readonly node: string;
  readonly incarnation: number;
  readonly clock: Clock;
  readonly codecs: CodecRegistry;
  readonly peers: Peers;
  readonly asks: Asks;
  readonly deathWatch: DeathWatch;
  readonly registry: Registry;
  readonly metrics: Metrics;
  readonly development: boolean;
  readonly isOpen: () => boolean;
  readonly deadLetter: (
    reason: DeadLetterReason,
    from: string,
    to: string,
    kind: string,
    detail: string,
    count?: number,
  ) => void;
}

const DEFAULT_ASK_TIMEOUT = 5000;
/** Milliseconds; timers reach no further. */
const MAX_ASK_TIMEOUT = 2 ** 31 - 1;
/** Characters of a failure's reason and message that travel. */
const MAX_FAILURE_TEXT = 512;

/** Sends what refs and replies say: into a local mailbox, or into the frame for another node. */
export class Router implements RefHost, ReplyRouter {
  constructor(private readonly parts: RouterParts) {}

  now(): number {
    return this.parts.clock.now();
  }

  tell(ref: ActorRef, event: AnyEventObject): boolean {
    const { node, metrics } = this.parts;
    metrics.tells++;
    if (ref.node === node) return this.#deliver(ref, event, undefined);
    const codec = this.#codec(ref, event.type);
    const body = codec && this.#encode(ref, codec, event);
    const peer = body && this.#peer(ref, event.type);
    if (body === undefined || peer === undefined) return false;
    const writer = this.#writer(peer, ref, event.type, body.length);
    writer?.tell(ref.path, event.type, body);
    return writer !== undefined;
  }

  ask(ref: ActorRef, event: AnyEventObject, options: AskOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { metrics, isOpen, node, asks } = this.parts;
      metrics.asks++;
      const fail = (error: AskError): void => {
        metrics.askFailures++;
        reject(error);
      };
      const { timeout = DEFAULT_ASK_TIMEOUT, signal } = options;
      const kind = event.type;
      if (timeout <= 0) return fail(new AskError('timeout', `no time is left to ask for ${kind}`, 'no'));
      if (!(timeout <= MAX_ASK_TIMEOUT)) {
        return fail(
          new AskError('refused', `an ask waits at most ${MAX_ASK_TIMEOUT} ms, not ${timeout}`, 'no'),
        );
      }
      if (!isOpen()) return fail(new AskError('stopped', `${node} is closed`, 'no'));
      if (signal?.aborted) return fail(abortError(ref, kind, signal, 'no'));
      const codec = ref.node === node ? undefined : this.#codec(ref, kind);
      const ask: PendingAsk = {
        id: asks.nextId(),
        node: ref.node,
        path: ref.path,
        kind,
        codec,
        deadline: this.now() + timeout,
        resolve,
        reject: fail,
        signal,
        onAbort: signal && (() => asks.fail(ask.id, abortError(ref, kind, signal, 'maybe'))),
      };
      asks.add(ask);
      if (ref.node === node) this.#askLocal(ref, event, ask);
      else this.#askRemote(ref, event, ask, timeout);
    });
  }

  watch(ref: ActorRef, listener: (down: Down) => void): () => void {
    return this.parts.deathWatch.watch(ref.node, ref.path, listener);
  }

  stop(ref: ActorRef): void {
    const { node, registry } = this.parts;
    if (ref.node !== node) {
      const peer = this.#peer(ref, 'stop');
      if (peer !== undefined) this.#writer(peer, ref, 'stop', 0)?.stop(ref.path);
      return;
    }
    const cell = registry.find(ref.path);
    if (cell === undefined) this.#deadLetter('no-such-actor', ref, 'stop', 'a stop for nobody');
    else cell.requestStop();
  }

  reply(reply: Reply, value: unknown): void {
    const { node, codecs, peers } = this.parts;
    const local = reply.node === node;
    if (local && !this.parts.development) {
      this.#take(reply)?.resolve(value);
      return;
    }
    let body: Uint8Array;
    try {
      const codec = codecs.find(reply.kind);
      if (codec === undefined) throw new Error('its kind has no codec');
      body = codec.encodeReply(value);
      if (local) {
        const decoded = codec.decodeReply(body.slice());
        this.#take(reply)?.resolve(decoded);
        return;
      }
    } catch (error) {
      const text = `the reply to ${reply.kind} cannot be encoded: ${String(error)}`;
      this.failure(reply, 'refused', 'not-encodable', text);
      return;
    }
    const peer = this.#asker(reply);
    if (peer === undefined) return;
    const writer = peers.writer(peer, body.length);
    if (writer !== undefined) {
      writer.reply(reply.id, body);
      return;
    }
    const text = `the reply to ${reply.kind} has ${body.length} bytes, more than the ${peers.maxBody} of a message`;
    this.failure(reply, 'refused', 'too-large', text);
  }

  failure(reply: Reply, code: AskErrorCode, reason: string, message: string): void {
    if (reply.node === this.parts.node) {
      this.#take(reply)?.reject(answeredFailure(code, reason === '' ? undefined : reason, message));
      return;
    }
    const peer = this.#asker(reply);
    if (peer === undefined) return;
    this.parts.peers.write(peer, (writer) =>
      writer.fail(reply.id, code, reason.slice(0, MAX_FAILURE_TEXT), message.slice(0, MAX_FAILURE_TEXT)),
    );
  }

  secondReply(reply: Reply): void {
    this.parts.deadLetter('second-reply', this.parts.node, reply.node, reply.kind, 'an ask is answered once');
  }

  /** Asks whose frame found nobody at its node. */
  undeliverable(node: string, first: number, last: number): void {
    this.#failUnsent(node, first, last, `no node named ${node} is connected`);
  }

  /** A frame that could not be handed over: there is no connection. */
  dropped({ node, firstAsk, lastAsk }: OutgoingFrame, envelopes: number): void {
    this.parts.deadLetter(
      'unreachable',
      this.parts.node,
      node,
      '',
      'no connection to the NATS server',
      envelopes,
    );
    if (firstAsk > 0) this.#failUnsent(node, firstAsk, lastAsk, 'there is no connection to the NATS server');
  }

  #askLocal(ref: ActorRef, event: AnyEventObject, { id, kind, deadline }: PendingAsk): void {
    const { node, incarnation } = this.parts;
    const reply = new Reply(this, node, incarnation, id, kind, deadline);
    if (!this.#deliver(ref, event, reply)) reply.abandon('refused', `${ref.address} did not accept ${kind}`);
  }

  #askRemote(ref: ActorRef, event: AnyEventObject, { id, kind, codec }: PendingAsk, timeout: number): void {
    const { asks, peers } = this.parts;
    const body = codec && this.#encode(ref, codec, event);
    const peer = body && this.#peer(ref, kind);
    const writer = body && peer && this.#writer(peer, ref, kind, body.length);
    if (body === undefined || peer === undefined || writer === undefined) {
      asks.fail(
        id,
        new AskError('refused', `${kind} for ${ref.address} cannot be sent: see the dead letters`, 'no'),
      );
      return;
    }
    writer.ask(id, Math.ceil(timeout), ref.path, kind, body);
    peers.noteAsk(peer, id);
  }

  /** The event reaches the actor as a copy, because the sender may go on to use its own. */
  #deliver(ref: ActorRef, event: AnyEventObject, reply: Reply | undefined): boolean {
    const { node, registry, development } = this.parts;
    const cell = registry.resolve(ref.path);
    if (cell === undefined) {
      this.#deadLetter('no-such-actor', ref, event.type, 'nobody lives there');
      reply?.abandon('no-such-actor', `${ref.address}: nobody lives there`);
      return false;
    }
    const copy = development ? this.#throughTheWire(ref, event) : { ...event };
    if (copy === undefined) return false;
    copy.sender = node;
    // A received event that is passed on carries these from its first journey.
    if (reply !== undefined || copy.replyTo !== undefined) copy.replyTo = reply;
    if (cell.options.path !== ref.path) copy.address = ref.address;
    else if (copy.address !== undefined) copy.address = undefined;
    return cell.deliver(copy);
  }

  #throughTheWire(ref: ActorRef, event: AnyEventObject): AnyEventObject | undefined {
    const codec = this.#codec(ref, event.type);
    const body = codec && this.#encode(ref, codec, event);
    if (codec === undefined || body === undefined) return undefined;
    try {
      return codec.decode(body.slice());
    } catch (error) {
      this.#deadLetter('malformed', ref, event.type, `its own codec cannot decode it: ${String(error)}`);
      return undefined;
    }
  }

  #codec(ref: ActorRef, kind: string): ResolvedCodec | undefined {
    const codec = this.parts.codecs.find(kind);
    if (codec === undefined) this.#deadLetter('unknown-kind', ref, kind, 'this kind has no codec');
    return codec;
  }

  #encode(ref: ActorRef, codec: ResolvedCodec, event: AnyEventObject): Uint8Array | undefined {
    try {
      return codec.encode(event);
    } catch (error) {
      this.#deadLetter('not-encodable', ref, event.type, String(error));
      return undefined;
    }
  }

  /** The record of the ref's node. */
  #peer(ref: ActorRef, kind: string): Peer | undefined {
    const peer = this.parts.peers.get(ref.node, this.now());
    if (peer === undefined) {
      const why = this.parts.isOpen() ? 'clients do not talk to each other' : 'this node is closed';
      this.#deadLetter('unreachable', ref, kind, why);
    }
    return peer;
  }

  /** The frame for a peer, with room for one more body. */
  #writer(peer: Peer, ref: ActorRef, kind: string, body: number): FrameWriter | undefined {
    const { peers } = this.parts;
    const writer = peers.writer(peer, body);
    if (writer === undefined) {
      this.#deadLetter('too-large', ref, kind, `${body} bytes, more than the ${peers.maxBody} of a message`);
    }
    return writer;
  }

  /** Where a reply goes; nowhere when the asker's node is another incarnation by now. */
  #asker(reply: Reply): Peer | undefined {
    const peer = this.parts.peers.get(reply.node, this.now());
    if (peer?.incarnation === reply.incarnation) return peer;
    this.parts.deadLetter(
      'stale',
      this.parts.node,
      reply.node,
      reply.kind,
      'a reply to an incarnation that is gone',
    );
    return undefined;
  }

  #take(reply: Reply): PendingAsk | undefined {
    const ask = this.parts.asks.take(reply.id);
    if (ask === undefined) {
      this.parts.deadLetter(
        'late-reply',
        this.parts.node,
        reply.node,
        reply.kind,
        'nobody waits for it any more',
      );
    }
    return ask;
  }

  #failUnsent(node: string, first: number, last: number, why: string): void {
    this.parts.asks.failRange(
      node,
      first,
      last,
      ({ path, kind }) => new AskError('unreachable', `${kind} did not reach ${node}/${path}: ${why}`, 'no'),
    );
  }

  #deadLetter(reason: DeadLetterReason, ref: ActorRef, kind: string, detail: string): void {
    this.parts.deadLetter(reason, this.parts.node, ref.address, kind, detail);
  }
}

function abortError(ref: ActorRef, kind: string, signal: AbortSignal, handled: 'no' | 'maybe'): AskError {
  return new AskError('aborted', `${kind} for ${ref.address} was aborted by its caller`, handled, {
    cause: signal.reason,
  });
}

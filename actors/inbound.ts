import { isName, type Lane, laneBetween, type Role, roleOf } from './addresses.js';
import type { Asks } from './asks.js';
import type { Clock } from './clock.js';
import type { CodecRegistry, WireEvent } from './codecs.js';
import type { DeadLetterReason } from './dead-letters.js';
import { AskError, type AskErrorCode, answeredFailure } from './errors.js';
import { FrameReader } from './frame-reader.js';
import { Tag } from './frames.js';
import type { Metrics } from './metrics.js';
import type { Peer, Peers } from './peers.js';
import type { Registry } from './registry.js';
import { Reply, type ReplyRouter } from './reply.js';
import type { DeathWatch } from './watch.js';

export interface InboundHost {
  readonly node: string;
  readonly role: Role;
  readonly incarnation: number;
  readonly clock: Clock;
  readonly codecs: CodecRegistry;
  readonly peers: Peers;
  readonly asks: Asks;
  readonly deathWatch: DeathWatch;
  readonly metrics: Metrics;
  readonly replies: ReplyRouter;
  readonly registry: Registry;
  /** Counts and keeps a message for `path` of this node that ends here. */
  deadLetter(reason: DeadLetterReason, from: string, path: string, kind: string, detail: string): void;
}

/**
 * Takes frames apart. Nothing of a frame is used before all of it has been checked, nothing of a body before its codec
 * has decoded it; whatever fails is counted and ends here.
 */
export class Inbound {
  readonly #reader = new FrameReader();

  constructor(private readonly host: InboundHost) {}

  receive(lane: Lane, frame: Uint8Array): void {
    const { host } = this;
    const { metrics } = host;
    metrics.framesReceived++;
    metrics.bytesReceived += frame.length;
    const reader = this.#reader;
    const flaw = reader.read(frame) ?? this.#senderFlaw(lane);
    if (flaw !== undefined) {
      metrics.framesRefused++;
      host.deadLetter(
        'malformed',
        reader.sender,
        '',
        '',
        `a frame of ${frame.length} bytes on ${lane}: ${flaw}`,
      );
      return;
    }
    const now = host.clock.now();
    const peer = host.peers.get(reader.sender, now);
    if (peer === undefined || !this.#admit(peer)) return;
    peer.lastSeen = now;
    metrics.envelopesReceived += reader.count;
    for (let i = 0; i < reader.count; i++) this.#envelope(peer, lane, i, now);
  }

  /** Who may speak on a lane is told by the name: permissions of the NATS server keep the lanes apart. */
  #senderFlaw(lane: Lane): string | undefined {
    const { sender } = this.#reader;
    if (!isName(sender)) return 'the sender has no valid name';
    if (sender === this.host.node) return 'the sender has the name of this node';
    if (laneBetween(roleOf(sender), this.host.role) !== lane) return `${sender} may not speak on this lane`;
    return undefined;
  }

  #admit(peer: Peer): boolean {
    const { fromIncarnation } = this.#reader;
    if (fromIncarnation < peer.incarnation) {
      this.host.metrics.framesStale++;
      this.host.deadLetter(
        'stale',
        peer.node,
        '',
        '',
        `incarnation ${fromIncarnation}, now ${peer.incarnation}`,
      );
      return false;
    }
    if (fromIncarnation > peer.incarnation) {
      const known = peer.incarnation > 0;
      peer.incarnation = fromIncarnation;
      this.host.peers.seal(peer);
      if (known) this.host.deathWatch.onIncarnation(peer.node);
    }
    return true;
  }

  #envelope(peer: Peer, lane: Lane, i: number, now: number): void {
    const { host } = this;
    const reader = this.#reader;
    const path = reader.paths[i] as string;
    const kind = reader.kinds[i] as string;
    const id = reader.ids[i] as number;
    const amount = reader.amounts[i] as number;
    switch (reader.tags[i]) {
      case Tag.tell:
        return this.#deliver(peer.node, lane, path, kind, reader.body(i), undefined);
      case Tag.ask: {
        const reply = new Reply(host.replies, peer.node, reader.fromIncarnation, id, kind, now + amount);
        return this.#deliver(peer.node, lane, path, kind, reader.body(i), reply);
      }
      case Tag.reply:
        return this.#settle(peer, i, id, undefined);
      case Tag.fail:
        return this.#settle(peer, i, id, kind);
      case Tag.stop:
        return this.#stop(peer, lane, path);
      case Tag.watch:
        return host.deathWatch.onWatch(peer.node, path, amount);
      case Tag.unwatch:
        return host.deathWatch.onUnwatch(peer.node, path);
      case Tag.watching:
        if (this.#meant(peer, path)) host.deathWatch.onWatching(peer.node, path, amount);
        return;
      case Tag.down:
        if (this.#meant(peer, path)) host.deathWatch.onDown(peer.node, path, kind);
        return;
      case Tag.ping:
        return host.peers.write(peer, (writer) => writer.pong());
      default:
        return;
    }
  }

  #deliver(
    node: string,
    lane: Lane,
    path: string,
    kind: string,
    body: Uint8Array,
    reply: Reply | undefined,
  ): void {
    const { host } = this;
    const codec = host.codecs.find(kind);
    const cell = host.registry.resolve(path);
    let problem: Problem | undefined;
    if (codec === undefined) problem = UNKNOWN_KIND;
    else if (codec.lanes !== undefined && !codec.lanes.includes(lane)) problem = WRONG_LANE;
    else if (cell === undefined) problem = NO_SUCH_ACTOR;
    if (codec === undefined || cell === undefined || problem !== undefined) {
      const { reason, code, detail } = problem ?? NO_SUCH_ACTOR;
      host.deadLetter(reason, node, path, kind, detail);
      reply?.abandon(code, `${host.node}/${path}, ${kind}: ${detail}`);
      return;
    }
    let event: WireEvent;
    try {
      event = codec.decode(body);
    } catch (error) {
      const detail = `its ${body.length} bytes cannot be decoded: ${String(error)}`;
      host.deadLetter('malformed', node, path, kind, detail);
      reply?.abandon('refused', `${host.node}/${path}, ${kind}: ${detail}`);
      return;
    }
    event.sender = node;
    if (reply !== undefined) event.replyTo = reply;
    if (cell.options.path !== path) event.address = `${host.node}/${path}`;
    cell.deliver(event);
  }

  #settle(peer: Peer, i: number, id: number, code: string | undefined): void {
    const { host } = this;
    const reader = this.#reader;
    if (!this.#meant(peer, '')) return;
    const ask = host.asks.peek(id);
    if (ask === undefined || ask.node !== peer.node) {
      host.deadLetter('late-reply', peer.node, '', '', `the answer to ask ${id}, for which nobody waits`);
      return;
    }
    host.asks.take(id);
    if (code !== undefined) {
      const reason = reader.paths[i];
      ask.reject(answeredFailure(codeOf(code), reason === '' ? undefined : reason, reader.bodyText(i)));
      return;
    }
    try {
      const body = reader.body(i);
      ask.resolve(ask.codec?.decodeReply(body));
    } catch (error) {
      host.deadLetter(
        'malformed',
        peer.node,
        ask.path,
        ask.kind,
        `a reply that cannot be decoded: ${String(error)}`,
      );
      const message = `the reply of ${ask.node}/${ask.path} to ${ask.kind} cannot be decoded`;
      ask.reject(new AskError('refused', message, 'maybe', { cause: error }));
    }
  }

  #stop(peer: Peer, lane: Lane, path: string): void {
    const cell = this.host.registry.resolve(path);
    if (cell === undefined || cell.options.path !== path) {
      this.host.deadLetter('no-such-actor', peer.node, path, '', 'a stop for nobody');
    } else if (lane !== 'peer' && !cell.options.stoppableByClients) {
      this.host.deadLetter('lane', peer.node, path, '', 'a client may not stop this actor');
    } else {
      cell.requestStop();
    }
  }

  /** Whether an answer is for this incarnation of this node. */
  #meant(peer: Peer, path: string): boolean {
    if (this.#reader.toIncarnation === this.host.incarnation) return true;
    this.host.deadLetter('stale', peer.node, path, '', 'an answer to an earlier incarnation of this node');
    return false;
  }
}

interface Problem {
  readonly reason: DeadLetterReason;
  readonly code: AskErrorCode;
  readonly detail: string;
}

const UNKNOWN_KIND: Problem = {
  reason: 'unknown-kind',
  code: 'refused',
  detail: 'this node knows no such kind of message',
};
const WRONG_LANE: Problem = {
  reason: 'lane',
  code: 'refused',
  detail: 'this kind may not travel on this lane',
};
const NO_SUCH_ACTOR: Problem = {
  reason: 'no-such-actor',
  code: 'no-such-actor',
  detail: 'nobody lives there',
};

/** The codes that a node may answer with; whatever else stands there counts as a refusal. */
function codeOf(text: string): AskErrorCode {
  return text === 'no-such-actor' || text === 'overloaded' || text === 'stopped' ? text : 'refused';
}

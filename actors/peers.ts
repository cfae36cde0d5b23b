import { type Lane, laneBetween, type Role, roleOf } from './addresses.js';
import { FrameWriter } from './frame-writer.js';
import { ENVELOPE_OVERHEAD, MAX_ENVELOPES } from './frames.js';
import type { Metrics } from './metrics.js';
import type { OutgoingFrame, Transport } from './transport.js';

/** A frame is closed before it grows beyond this, unless one envelope needs more: frames share, and do not block. */
const FRAME_TARGET = 256 * 1024;
/** Writers kept for reuse, and the largest buffers that are. */
const SPARE_WRITERS = 64;
const SPARE_BUFFER = 2 * FRAME_TARGET;

/** Another node, as far as this one knows it. */
export class Peer {
  /** The highest that it has shown; 0 before its first frame. */
  incarnation = 0;
  /** The clock's time of its last frame, or of our first message to it. */
  lastSeen: number;
  /** The frame that this turn builds for it. */
  writer: FrameWriter | undefined;
  firstAsk = 0;
  lastAsk = 0;

  constructor(
    readonly node: string,
    readonly lane: Lane,
    now: number,
  ) {
    this.lastSeen = now;
  }
}

export interface PeersHost {
  readonly node: string;
  readonly role: Role;
  readonly incarnation: number;
  readonly transport: Transport;
  readonly metrics: Metrics;
  /**
   * Something waits for `flush`.
   * @param next the flush under way will not take it
   */
  waiting(next: boolean): void;
  /** The transport did not take a frame. */
  dropped(frame: OutgoingFrame, envelopes: number): void;
}

/** The other nodes, and the frames on their way to them. */
export class Peers {
  readonly #peers = new Map<string, Peer>();
  #dirty: Peer[] = [];
  #flushing = false;
  readonly #spare: FrameWriter[] = [];
  /** Set when the transport has started. */
  maxFrame = FRAME_TARGET;

  #closed = false;

  constructor(private readonly host: PeersHost) {}

  /** Nothing is written any more. */
  close(): void {
    this.#closed = true;
  }

  /** Bytes that the encoded event or reply of one message may have. */
  get maxBody(): number {
    return this.maxFrame - 2 * ENVELOPE_OVERHEAD;
  }

  /** The node's record; `undefined` when there is no way to it: clients do not talk to each other. */
  get(node: string, now: number): Peer | undefined {
    if (this.#closed) return undefined;
    const known = this.#peers.get(node);
    if (known !== undefined) return known;
    const lane = laneBetween(this.host.role, roleOf(node));
    if (lane === undefined) return undefined;
    const peer = new Peer(node, lane, now);
    this.#peers.set(node, peer);
    return peer;
  }

  known(node: string): Peer | undefined {
    return this.#peers.get(node);
  }

  /**
   * The writer for one more envelope to the peer.
   * @param body bytes of the envelope's body
   * @returns `undefined` when no frame can hold it
   */
  writer(peer: Peer, body: number): FrameWriter | undefined {
    if (body > this.maxBody) return undefined;
    const { writer } = peer;
    if (writer === undefined) return this.#begin(peer);
    const limit = Math.min(FRAME_TARGET, this.maxFrame);
    const full = writer.length + body + ENVELOPE_OVERHEAD > limit || writer.count === MAX_ENVELOPES;
    if (full && writer.count > 0) this.#send(peer, writer);
    return writer;
  }

  /** Adds one small envelope. */
  write(peer: Peer, write: (writer: FrameWriter) => void): void {
    const writer = this.writer(peer, 0);
    if (writer !== undefined) write(writer);
  }

  /** Notes that the frame under way to the peer holds this ask. */
  noteAsk(peer: Peer, id: number): void {
    if (peer.firstAsk === 0) peer.firstAsk = id;
    peer.lastAsk = id;
  }

  /** Closes the frame that is under way, because the peer's incarnation has changed. */
  seal(peer: Peer): void {
    if (peer.writer === undefined) return;
    if (peer.writer.count > 0) this.#send(peer, peer.writer);
    else peer.writer.begin(this.host.node, this.host.incarnation, peer.incarnation);
  }

  /** Hands every frame of the turn to the transport. */
  flush(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    this.#flushing = true;
    for (const peer of dirty) {
      const { writer } = peer;
      if (writer === undefined) continue;
      if (writer.count > 0) this.#send(peer, writer);
      peer.writer = undefined;
      if (this.#spare.length < SPARE_WRITERS && writer.capacity <= SPARE_BUFFER) this.#spare.push(writer);
    }
    this.#flushing = false;
  }

  /** Forgets clients of which nothing was heard for `idle` milliseconds, unless `keep` says otherwise. */
  forget(now: number, idle: number, keep: (node: string) => boolean): void {
    for (const [node, peer] of this.#peers) {
      if (peer.lane === 'res' && now - peer.lastSeen > idle && peer.writer === undefined && !keep(node)) {
        this.#peers.delete(node);
      }
    }
  }

  #begin(peer: Peer): FrameWriter {
    const writer = this.#spare.pop() ?? new FrameWriter();
    writer.begin(this.host.node, this.host.incarnation, peer.incarnation);
    peer.writer = writer;
    if (this.#dirty.push(peer) === 1) this.host.waiting(this.#flushing);
    return writer;
  }

  #send(peer: Peer, writer: FrameWriter): void {
    const envelopes = writer.count;
    const frame: OutgoingFrame = {
      lane: peer.lane,
      node: peer.node,
      bytes: writer.take(),
      firstAsk: peer.firstAsk,
      lastAsk: peer.lastAsk,
    };
    peer.firstAsk = 0;
    peer.lastAsk = 0;
    writer.begin(this.host.node, this.host.incarnation, peer.incarnation);
    const { metrics, transport } = this.host;
    if (transport.send(frame)) {
      metrics.framesSent++;
      metrics.envelopesSent += envelopes;
      metrics.bytesSent += frame.bytes.length;
    } else {
      metrics.framesDropped++;
      this.host.dropped(frame, envelopes);
    }
  }
}

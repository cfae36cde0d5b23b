import type { Lane, Role } from './addresses.js';
import type { Clock } from './clock.js';
import type { ActorSystemError } from './errors.js';
import type { Logger } from './logger.js';
import type { Random } from './random.js';

/** What happens to a node's connection. */
export type TransportStatus =
  | { readonly type: 'disconnected' | 'reconnected'; readonly server: string }
  /** The server asks its clients to go elsewhere; the transport does so by itself. */
  | { readonly type: 'lameDuck'; readonly server: string }
  /** Something that the transport survives, for example a subject that permissions refuse. */
  | { readonly type: 'error'; readonly error: Error }
  /** The end: the name belongs to another live node, or the connection was closed for good. */
  | { readonly type: 'failed'; readonly error: ActorSystemError };

/** What a transport needs of the system that it serves. None of these methods throws. */
export interface TransportHost {
  readonly cluster: string;
  readonly node: string;
  readonly role: Role;
  readonly incarnation: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** A frame that arrived on one of this node's lanes. The system keeps views of it. */
  receive(lane: Lane, frame: Uint8Array): void;
  /** The frame with these asks (correlation ids, inclusive) found nobody at `node`. */
  undeliverable(node: string, firstAsk: number, lastAsk: number): void;
  /** The connection came or went. */
  status(status: TransportStatus): void;
  /** Counters, for tools that ask over the network. */
  describe(): object;
  /** The process of this node is gone; nothing may run any more (simulation only). */
  crash(): void;
}

/** A frame on its way out. */
export interface OutgoingFrame {
  readonly lane: Lane;
  readonly node: string;
  readonly bytes: Uint8Array;
  /** Lowest and highest correlation id of the asks in it; 0 when it holds none. */
  readonly firstAsk: number;
  readonly lastAsk: number;
}

/**
 * Chunks of large things (snapshots) between two servers, beside the messages and never in their way: at most once, in
 * order among the chunks of a pair of nodes, in no order with their messages. How much is under way is the sender's
 * business, who has to let the receiver set the pace.
 */
export interface BulkChannel {
  /** False when there is no connection: the chunk is not sent, now or later. True does not mean that it arrives. */
  send(node: string, chunk: Uint8Array): boolean;
  /** Ends the channel. */
  close(): Promise<void>;
}

/** What a node tells those who inspect it, beside the messages: at most once, to whoever may listen. */
export interface InspectionChannel {
  /** False when there is no connection. @param topic a token of a NATS subject */
  publish(topic: string, bytes: Uint8Array): boolean;
  /** Ends the channel. */
  close(): Promise<void>;
}

/** Carries frames between nodes: at most once, and in order per pair of nodes. */
export interface Transport {
  /**
   * Connects, makes sure that nobody else has the node's name, and begins to receive.
   * @throws ActorSystemError `unavailable`, `unauthorized`, `payload-too-small` or `name-taken`
   */
  start(host: TransportHost): Promise<{
    /** Bytes of the largest frame that every node of the cluster can carry. */
    readonly maxFrame: number;
  }>;
  /** Hands over a frame; the transport keeps the bytes. False when it was dropped because there is no connection. */
  send(frame: OutgoingFrame): boolean;
  /**
   * Opens this node's way for large things; repeated calls replace the listener.
   * @throws ActorSystemError `unavailable`
   */
  openBulk(onChunk: (chunk: Uint8Array) => void): Promise<BulkChannel>;
  /** Lets this node be inspected; `onLease` gets what inspectors announce. Absent where that is not carried. */
  openInspection?(onLease: (lease: Uint8Array) => void): Promise<InspectionChannel>;
  /** Stops receiving, hands over what was sent, and disconnects. Idempotent. */
  close(): Promise<void>;
}

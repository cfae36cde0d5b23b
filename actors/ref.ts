import type { AnyEventObject, EventObject } from 'xstate';
import type { ReplyTo } from './reply.js';

/** What the framework adds to an event on its way to the actor. */
export interface Received {
  /** Present when the event was asked rather than told. */
  replyTo?: ReplyTo;
  /** Name of the node that sent it. */
  sender?: string;
  /** The address that was meant, for an actor that stands in for others (`ActorSystem.fallback`). */
  address?: string;
}

/** An actor's event as others send it: without what the framework adds. */
export type Outgoing<E extends EventObject> = E extends unknown
  ? Omit<E, keyof Received> & { type: E['type'] }
  : never;

/** The reply that an actor's event of type `T` declares with `replyTo: ReplyTo<R>`. */
export type ReplyOf<E extends EventObject, T> =
  Extract<E, { type: T }> extends { replyTo?: infer P }
    ? P extends ReplyTo<infer R>
      ? R
      : unknown
    : unknown;

/** How long an ask waits. */
export interface AskOptions {
  /** Milliseconds, more than 0; 5000 when absent. */
  readonly timeout?: number;
  /** Aborting rejects with an `AskError` `aborted`. */
  readonly signal?: AbortSignal;
}

/** Why a watched actor is gone, or counts as gone. */
export type DownReason =
  /** It was stopped. */
  | 'stopped'
  /** Its machine reached its end. */
  | 'done'
  /** It failed, and its supervision gave up. */
  | 'failed'
  /** There was none when the watch began. */
  | 'no-such-actor'
  /** Nothing has been heard of its node for the node timeout; it may live on. */
  | 'unreachable'
  /** Its node is another incarnation now. */
  | 'node-restarted';

/** That a watched actor is gone, and why. */
export interface Down {
  readonly address: string;
  readonly reason: DownReason;
}

/** What a ref needs of its system. */
export interface RefHost {
  tell(ref: ActorRef, event: AnyEventObject): boolean;
  ask(ref: ActorRef, event: AnyEventObject, options: AskOptions): Promise<unknown>;
  watch(ref: ActorRef, listener: (down: Down) => void): () => void;
  stop(ref: ActorRef): void;
}

/**
 * Names an actor, here or on another node; nothing tells the two apart. A ref outlives the actor and finds the next
 * one at its address.
 */
export class ActorRef<E extends EventObject = AnyEventObject> {
  readonly address: string;

  constructor(
    private readonly host: RefHost,
    readonly node: string,
    readonly path: string,
  ) {
    this.address = `${node}/${path}`;
  }

  /**
   * Sends an event: at most once, in order with the others from this node to that one.
   * @returns false when it certainly reached nobody: refused by a local mailbox, no connection, or not encodable
   */
  tell(event: Outgoing<E>): boolean {
    return this.host.tell(this as ActorRef, event);
  }

  /**
   * Sends an event and waits for the answer that the actor gives to the event's `replyTo`.
   * @throws AskError
   */
  ask<T extends E['type']>(
    event: Outgoing<E> & { type: T },
    options: AskOptions = {},
  ): Promise<ReplyOf<E, T>> {
    return this.host.ask(this as ActorRef, event, options) as Promise<ReplyOf<E, T>>;
  }

  /**
   * Tells the listener, once and in a turn of its own, when the actor is gone; restarts do not count.
   * @returns how to stop watching
   */
  watch(listener: (down: Down) => void): () => void {
    return this.host.watch(this as ActorRef, listener);
  }

  /** Stops the actor after the messages that it already has. Clients may stop what was spawned to allow it. */
  stop(): void {
    this.host.stop(this as ActorRef);
  }

  /** Its address. */
  toString(): string {
    return this.address;
  }

  /** Its address. */
  toJSON(): string {
    return this.address;
  }
}

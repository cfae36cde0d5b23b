/** Why an ask has no reply. */
export type AskErrorCode =
  /** The deadline passed. Whether the message was handled is unknown. */
  | 'timeout'
  /** Nobody lives at that address. */
  | 'no-such-actor'
  /** The mailbox was full. */
  | 'overloaded'
  /** The actor stopped or failed before it answered. */
  | 'stopped'
  /** The message could not be handed to the destination's node. */
  | 'unreachable'
  /** The message was not accepted: malformed, too large, on the wrong lane, or the actor answered `fail`. */
  | 'refused'
  /** The caller's `AbortSignal` fired. */
  | 'aborted';

/** The typed failure of `ActorRef.ask`. */
export class AskError extends Error {
  override readonly name = 'AskError';

  constructor(
    readonly code: AskErrorCode,
    message: string,
    /**
     * `'no'` when the actor has certainly not handled the message, so that it may be sent again; `'maybe'` when that is
     * unknown.
     */
    readonly handled: 'no' | 'maybe',
    options?: {
      cause?: unknown;
      /** What the actor gave to `ReplyTo.fail`; absent for failures of the framework. */
      reason?: string;
    },
  ) {
    super(message, options);
    this.reason = options?.reason;
  }

  /** The code that the actor gave to `ReplyTo.fail`, absent when the framework itself failed the ask. */
  readonly reason: string | undefined;
}

/**
 * The error of an ask that was answered with a failure.
 * @param reason what the actor gave to `ReplyTo.fail`; `undefined` when the framework failed the ask
 */
export function answeredFailure(code: AskErrorCode, reason: string | undefined, message: string): AskError {
  // What was turned away before the machine saw it is not handled; what an actor refuses, it alone can explain.
  const turnedAway =
    code === 'no-such-actor' || code === 'overloaded' || (code === 'refused' && reason === undefined);
  return new AskError(code, message, turnedAway ? 'no' : 'maybe', reason === undefined ? {} : { reason });
}

/** What can be wrong with a system or its way to the others. */
export type ActorSystemErrorCode =
  /** A name, address or option that cannot be used. */
  | 'invalid-argument'
  /** No NATS server answers there. */
  | 'unavailable'
  /** The NATS server refuses the credentials. */
  | 'unauthorized'
  /** The NATS server carries smaller messages than the nodes need. */
  | 'payload-too-small'
  /** A live node already has this name. */
  | 'name-taken'
  /** An actor already lives at this path. */
  | 'path-taken'
  /** The system, or its connection, has been closed. */
  | 'closed'
  /** An actor failed and nobody above it was left to decide. */
  | 'actor-failed';

/** Why a system could not start, or had to end; `code` says which. */
export class ActorSystemError extends Error {
  override readonly name = 'ActorSystemError';

  constructor(
    readonly code: ActorSystemErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

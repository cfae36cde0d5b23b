/** Why bytes are not the message that they should be. */
export type DecodeErrorCode =
  /** Not protobuf, cut short, or not what the message's own rules allow. */
  | 'malformed'
  /** A 64-bit number at or above 2^53 where the house counts in numbers. */
  | 'out-of-range'
  /** An enum value that the schema does not name. */
  | 'unknown-enum'
  /** A replicated command of a newer version: the peer must stop, it may not skip it. */
  | 'unknown-version';

/** Bytes from outside are not the expected message. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';

  constructor(
    readonly code: DecodeErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A value does not fit its field: a mistake of the caller. */
export class EncodeError extends Error {
  override readonly name = 'EncodeError';
  readonly code = 'out-of-range';
}

/** Why the core refused something. All of these are expected in normal operation. */
export type RaftErrorCode =
  /** No leader is known, this peer may not forward, a transfer is under way, or a limit is reached: try again later. */
  | 'proposal-dropped'
  /** The leader refused a membership change and appended an empty entry in its place. */
  | 'conf-change-refused'
  /** A membership change that cannot follow from the configuration in force. */
  | 'conf-change-invalid'
  /** No leader is known to confirm the read: ask again later. */
  | 'read-dropped'
  /** This peer is not a voter, has a snapshot to install, or has membership changes to apply first. */
  | 'campaign-refused'
  /** A response from a peer that is not a member. */
  | 'peer-not-found'
  /** An acknowledgement that only the peer's own host may give. */
  | 'local-message'
  /** The entries of a message are not a run of log entries. */
  | 'malformed-message';

/** An expected refusal: a value that is returned, never thrown. */
export class RaftError extends Error {
  override readonly name = 'RaftError';

  constructor(
    readonly code: RaftErrorCode,
    message: string,
  ) {
    super(message);
  }
}

/**
 * An invariant of the protocol or of the host's contract is broken: the peer's memory can no longer be trusted. Thrown
 * out of `RawNode`; the host must stop this peer, loudly, and no other.
 */
export class RaftInvariantError extends Error {
  override readonly name = 'RaftInvariantError';
}

/** @throws RaftInvariantError unless `holds`; the sentence is made only when it is needed. */
export function invariant(holds: boolean, sentence: () => string): asserts holds {
  if (!holds) throw new RaftInvariantError(sentence());
}

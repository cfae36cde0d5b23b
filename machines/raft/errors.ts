/** Why the core refused something. All of these are expected in normal operation. */
export type RaftErrorCode =
  /** No leader is known, this peer may not forward, a transfer is under way, or a limit is reached: try again later. */
  | 'proposal-dropped'
  // Of a membership change that the leader refused: an empty entry is appended in its place.
  /** An earlier change may not be applied yet: propose again when it is. */
  | 'conf-change-pending'
  /** The joint configuration in force must be left first. */
  | 'conf-change-joint'
  /** Leaves a joint configuration, and there is none. */
  | 'conf-change-not-joint'
  /** Removes or updates somebody who is no member. */
  | 'conf-change-unknown-peer'
  /** Says two things of the same peer. */
  | 'conf-change-duplicate-peer'
  /** Would leave nobody who votes. */
  | 'conf-change-no-voter'
  /** Cannot follow from the configuration in force for another reason. */
  | 'conf-change-invalid'
  /** Its bytes do not decode. */
  | 'conf-change-malformed'
  /** A learner, a stranger or the leader itself cannot be made the leader: name another voter. */
  | 'transfer-refused'
  /** No leader is known that could hand its office on: ask again later. */
  | 'transfer-dropped'
  /** A follower whose reads trust a lease cannot forget who holds it. */
  | 'forget-refused'
  /** No leader is known to confirm the read, or too many wait for that already: ask again later. */
  | 'read-dropped'
  /** This peer is not a voter, has a snapshot to install, or has membership changes to apply first. */
  | 'campaign-refused'
  /** A response from a peer that is not a member. */
  | 'peer-not-found'
  /** An acknowledgement that only the peer's own host may give. */
  | 'local-message'
  /** What a message carries cannot be: entries that are no run of a log, a snapshot with an impossible membership. */
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

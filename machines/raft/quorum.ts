/**
 * Majorities. Each rule stands here once, and the convention for the empty set (it commits everything and wins every
 * election) makes a joint quorum a composition of two majorities (Raft thesis 4.3).
 */

/** What a voter is known to have acknowledged; `undefined` where nothing is known. */
export interface AckedIndexes {
  /** The last index that the member has acknowledged; `undefined` for a stranger. */
  ackedIndex(id: number): number | undefined;
}

/** Where an election stands: a majority is still to come, cannot come any more, or has come. */
export type VoteResult = 'pending' | 'lost' | 'won';

/** Voters of a configuration; `outgoing` is empty unless it is joint. */
export interface JointVoters {
  readonly voters: readonly number[];
  readonly outgoing: readonly number[];
}

// One buffer for all: calls never nest, and a group of more than a few voters is rare.
const sorted: number[] = [];

/** The highest index that a majority has acknowledged; infinity when there are no voters. */
export function majorityCommitted(voters: readonly number[], acked: AckedIndexes): number {
  const count = voters.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  sorted.length = 0;
  for (let i = 0; i < count; i++) {
    const index = acked.ackedIndex(voters[i] as number) ?? 0;
    let at = i;
    for (; at > 0 && (sorted[at - 1] as number) < index; at--) sorted[at] = sorted[at - 1] as number;
    sorted[at] = index;
  }
  return sorted[count >> 1] as number;
}

/** The highest index that both halves have acknowledged. */
export function jointCommitted(voters: JointVoters, acked: AckedIndexes): number {
  const incoming = majorityCommitted(voters.voters, acked);
  return voters.outgoing.length === 0
    ? incoming
    : Math.min(incoming, majorityCommitted(voters.outgoing, acked));
}

/** Lost as soon as the missing votes can no longer make a majority. */
export function majorityVote(voters: readonly number[], votes: ReadonlyMap<number, boolean>): VoteResult {
  if (voters.length === 0) return 'won';
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const quorum = (voters.length >> 1) + 1;
  if (granted >= quorum) return 'won';
  return granted + missing >= quorum ? 'pending' : 'lost';
}

/** Lost when either half loses, won when both win. */
export function jointVote(voters: JointVoters, votes: ReadonlyMap<number, boolean>): VoteResult {
  const incoming = majorityVote(voters.voters, votes);
  const outgoing = majorityVote(voters.outgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending';
}

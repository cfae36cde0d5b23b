import type { RaftCore } from './core.js';
import { isTransferMarker, transferMarker } from './message.js';
import { jointVote, type VoteResult } from './quorum.js';
import type { Message } from './types.js';

/** Elections (Raft 5.2 and 5.4.1; thesis 9.6 for PreVote, 3.10 for transfers). */

/** A member may not campaign over membership changes that it knows to be committed and has not applied. */
export function mayCampaign(core: RaftCore): boolean {
  return core.promotable && !core.log.hasUnappliedConfChange;
}

export function refuseCampaign(core: RaftCore): void {
  core.refuse(
    'campaign-refused',
    core.promotable
      ? `peer ${core.id} has membership changes to apply before it may campaign`
      : `peer ${core.id} is no voter, or has a snapshot to install first`,
  );
}

/** Nothing is risked yet: term and vote stay, only the known leader is forgotten. */
export function becomePreCandidate(core: RaftCore): void {
  core.votes.clear();
  core.lead = 0;
  core.role = 'preCandidate';
  core.info(() => `${core.id} became pre-candidate at term ${core.term}`);
}

export function becomeCandidate(core: RaftCore): void {
  core.reset(core.term + 1);
  core.vote = core.id;
  core.role = 'candidate';
  core.info(() => `${core.id} became candidate at term ${core.term}`);
}

/**
 * Asks every voter, in order of ids. The own vote is an answer like any other: it counts once it is on disk.
 * `transferred` tells voters that their leader asked for this election.
 */
export function requestVotes(core: RaftCore, transferred: boolean): void {
  const pre = core.role === 'preCandidate';
  const term = pre ? core.term + 1 : core.term;
  for (const to of core.progress.keys()) {
    if (!core.isVoter(to)) continue;
    if (to === core.id) {
      const own = core.draft(pre ? 'requestPreVoteResponse' : 'requestVoteResponse', to);
      own.term = term;
      core.send(own);
      continue;
    }
    const request = core.draft(pre ? 'requestPreVote' : 'requestVote', to);
    request.term = term;
    request.index = core.log.lastIndex;
    request.logTerm = core.log.lastTerm;
    if (transferred) request.context = transferMarker();
    core.send(request);
  }
}

/** How the campaign stands. */
export function result(core: RaftCore): VoteResult {
  return jointVote(core.configuration, core.votes);
}

/** A voter's first answer is the one that counts. */
export function recordVote(core: RaftCore, response: Message): void {
  if (!core.votes.has(response.from)) core.votes.set(response.from, !response.reject);
}

/**
 * A voter that hears from a leader ignores candidates (thesis 4.2.3), and so does one that has just restarted where
 * leases are trusted; unless the leader asked for the election.
 */
export function leaseProtectsLeader(core: RaftCore, request: Message): boolean {
  if (request.type !== 'requestVote' && request.type !== 'requestPreVote') return false;
  const { checkQuorum, electionTick } = core.config;
  const hearsLeader = checkQuorum && core.lead !== 0 && core.electionElapsed < electionTick;
  return (hearsLeader || core.voteEmbargo > 0) && !isTransferMarker(request.context);
}

/**
 * One vote a term, repeated if asked again, to a candidate whose log is up to date. A vote for a future term that is
 * only asked about binds nobody. Learners answer too: they may be voters and not know it yet.
 */
export function grantsVote(core: RaftCore, request: Message): boolean {
  const free =
    core.vote === request.from ||
    (core.vote === 0 && core.lead === 0) ||
    (request.type === 'requestPreVote' && request.term > core.term);
  const held = core.voteEmbargo > 0 && !isTransferMarker(request.context);
  return free && !held && core.log.isUpToDate(request.index, request.logTerm);
}

/** The answer carries the request's term: a candidate that is behind must not take it for an old one. */
export function grantVote(core: RaftCore, request: Message): void {
  const pre = request.type === 'requestPreVote';
  const response = core.draft(pre ? 'requestPreVoteResponse' : 'requestVoteResponse', request.from);
  response.term = request.term;
  core.send(response);
  if (pre) return;
  core.electionElapsed = 0;
  core.vote = request.from;
}

export function rejectVote(core: RaftCore, request: Message): void {
  const pre = request.type === 'requestPreVote';
  const response = core.draft(pre ? 'requestPreVoteResponse' : 'requestVoteResponse', request.from);
  response.reject = true;
  if (core.config.followersTellCommit) {
    response.commit = core.log.committed;
    response.logTerm = core.log.term(core.log.committed);
  }
  core.send(response);
}

/**
 * Takes from a refusal how far the log is committed. What it could not know may be the removal of the one who refuses, which
 * has the longer log and can no longer lead: of two, nobody else would ever tell.
 */
export function learnCommit(core: RaftCore, { reject, commit, logTerm }: Message): void {
  if (reject && logTerm > 0) core.log.maybeCommit(commit, logTerm);
}

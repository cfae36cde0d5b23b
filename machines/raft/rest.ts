import type { RaftCore } from './core.js';
import { sendHeartbeat } from './heartbeats.js';
import type { Progress } from './progress.js';
import { jointVote } from './quorum.js';

/**
 * What the core must know for its host to let a group rest: when nothing is left to do, and how its clocks go on when
 * the host ticks it again (docs/decisions/hibernation.md; TiKV's hibernating regions). While a peer rests its clocks stand
 * still: somebody else minds that its leader is alive.
 */

/**
 * A leader has nothing to do: every member holds the whole log, all of it is committed, applied here and known to be
 * committed there, no read is to be confirmed, and leadership and membership stay as they are.
 * @param isAbsent members that need not be waited for, because their stores are gone; the others must be a quorum
 */
export function isAtRest(core: RaftCore, isAbsent: (member: number) => boolean): boolean {
  const { log, configuration, progress } = core;
  const { lastIndex } = log;
  if (core.role !== 'leader' || log.applied !== lastIndex || log.committed !== lastIndex) return false;
  if (core.transferee !== 0 || configuration.outgoing.length > 0) return false;
  if (core.reads.pending > 0 || core.postponedReads.length > 0) return false;
  let absent = 0;
  for (const [id, member] of progress) {
    if (id !== core.id && isAbsent(id)) absent++;
    else if (id === core.id ? member.match !== lastIndex : !knowsAll(core, member)) return false;
  }
  return absent === 0 || isQuorum(core, (id) => !isAbsent(id));
}

/** The member has the log, and knows that all of it is committed; where members do not tell, it was told so. */
function knowsAll({ config, log }: RaftCore, { match, sentCommit, knownCommit, state }: Progress): boolean {
  const committed = config.followersTellCommit ? knownCommit : sentCommit;
  return match === log.lastIndex && committed === log.lastIndex && state === 'replicate';
}

/** These members can commit and elect. */
export function isQuorum(core: RaftCore, includes: (member: number) => boolean): boolean {
  const votes = new Map<number, boolean>();
  for (const id of core.progress.keys()) votes.set(id, includes(id));
  return jointVote(core.configuration, votes) === 'won';
}

/** A follower has nothing to do as long as this leader of its term has nothing behind `index`. */
export function isAtRestBehind(core: RaftCore, leader: number, term: number, index: number): boolean {
  const { log } = core;
  if (core.role !== 'follower' || core.lead !== leader || core.term !== term) return false;
  if (log.snapshot !== undefined || log.lastIndex !== index) return false;
  return log.committed === index && log.applied === index;
}

/**
 * A follower or candidate is ticked again: it has waited for a leader for `silence` ticks. Less than that, and it
 * would take a leader for dead that was not to speak; more than the base election timeout tells nothing more, and
 * followers of a dead leader shall not all campaign at once.
 */
export function resumeWaiting(core: RaftCore, silence: number): void {
  core.electionElapsed = Math.min(silence, core.config.electionTick);
}

/**
 * A leader is ticked again: it calls on its members with the next tick, and they have a whole period to answer before it
 * checks its quorum. Nobody was to speak while the group was at rest, so what it heard before says nothing.
 */
export function resumeLeading(core: RaftCore): void {
  core.electionElapsed = 0;
  core.heartbeatElapsed = core.config.heartbeatTick - 1;
}

/** A heartbeat to one member that asks whether it is led. */
export function answerCall(core: RaftCore, member: number): void {
  const progress = core.progress.get(member);
  if (progress !== undefined && member !== core.id) sendHeartbeat(core, member, progress);
}

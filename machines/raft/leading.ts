import { type ConfChange, decodeConfChange, leavesJoint, NO_BYTES } from './conf-change.js';
import { isJoint, reconfigure } from './configuration.js';
import type { RaftCore } from './core.js';
import { payloadSize } from './entry-cache.js';
import { invariant, RaftError, RaftInvariantError } from './errors.js';
import { makeMessage } from './message.js';
import { releasePostponedReads } from './reads.js';
import { broadcastAppend, maybeCommit, sendAppend } from './replication.js';
import { type Entry, EntryType, type Message } from './types.js';

/** Taking office, proposals, membership changes and transfers. */

/** Starts the term of office with an empty entry: with it everything before it commits (Raft 5.4.2, 8). */
export function becomeLeader(core: RaftCore): void {
  core.reset(core.term);
  core.lead = core.id;
  core.role = 'leader';
  const self = core.progress.get(core.id);
  invariant(self !== undefined, () => `peer ${core.id} won an election of a group that it is not in`);
  self.becomeReplicate();
  self.recentActive = true;
  // Whether the tail holds a membership change is not known without reading it; waiting for it is safe.
  core.pendingConfIndex = core.log.lastIndex;
  appendOwn(core, [{ term: 0, index: 0, type: EntryType.normal, data: NO_BYTES }]);
  core.info(() => `${core.id} became leader at term ${core.term}`);
  broadcastAppend(core);
}

/** Appends the entries of a proposal, or refuses all of them. */
export function handleProposal(core: RaftCore, proposal: Message): void {
  let entries = proposal.entries;
  invariant(entries.length > 0, () => `peer ${core.id} was handed a proposal without entries`);
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.type === EntryType.normal) continue;
    const refused = refuseConfChange(core, entry);
    if (refused === undefined) {
      core.pendingConfIndex = core.log.lastIndex + 1 + i;
      continue;
    }
    // The change is dropped but its place in the log is not: the rest of the batch keeps its indexes.
    entries = entries.with(i, { term: 0, index: 0, type: EntryType.normal, data: NO_BYTES });
    core.refuse('conf-change-refused', refused);
  }
  if (!appendOwn(core, entries)) {
    core.refuse('proposal-dropped', `peer ${core.id} holds as many uncommitted bytes as it may`);
    return;
  }
  broadcastAppend(core);
}

function refuseConfChange(core: RaftCore, entry: Entry): string | undefined {
  let change: ConfChange;
  try {
    change = decodeConfChange(entry);
  } catch {
    return 'the bytes of the membership change do not decode';
  }
  if (core.config.disableConfChangeValidation) return undefined;
  if (core.pendingConfIndex > core.log.applied) {
    return `the membership change at ${core.pendingConfIndex} may not be applied yet (applied: ${core.log.applied})`;
  }
  const leaving = change.changes.length === 0;
  if (isJoint(core.configuration) !== leaving) {
    return leaving ? 'there is no joint membership to leave' : 'the joint membership must be left first';
  }
  // No other change stands between: what cannot be applied now could not be applied then, and would stop every peer.
  const next = reconfigure(core.configuration, change);
  return next instanceof RaftError ? next.message : undefined;
}

/** Stamps and appends; the own acknowledgement follows once they are on disk. Returns false above the limit. */
function appendOwn(core: RaftCore, proposed: readonly Entry[]): boolean {
  const size = payloadSize(proposed);
  const crowded = core.uncommittedSize + size > core.config.maxUncommittedEntriesSize;
  // A single large proposal is let into an empty tail, and one without payload always: leaders need both.
  if (core.uncommittedSize > 0 && size > 0 && crowded) return false;
  core.uncommittedSize += size;
  const { term, log } = core;
  const first = log.lastIndex + 1;
  log.append(proposed.map((entry, i) => ({ term, index: first + i, type: entry.type, data: entry.data })));
  const own = core.draft('appendEntriesResponse', core.id);
  own.index = log.lastIndex;
  core.send(own);
  return true;
}

// Membership

/** With these entries applied a joint configuration is to be left by itself: nothing stands before that. */
export function endsJointMembership(core: RaftCore, acknowledgement: Message): boolean {
  const applied = Math.max(acknowledgement.index, core.log.applied);
  return core.configuration.autoLeave && applied >= core.pendingConfIndex;
}

/** The proposal to leave a joint configuration: no payload, so that no limit can refuse it. */
export function leaveProposal(core: RaftCore): Message {
  return makeMessage({
    type: 'propose',
    from: core.id,
    to: core.id,
    entries: [{ term: 0, index: 0, type: EntryType.confChangeV2, data: NO_BYTES }],
  });
}

/** Puts an applied membership change in force. @throws RaftInvariantError when it cannot follow. */
export function applyConfChange(core: RaftCore, change: ConfChange): void {
  const next = reconfigure(core.configuration, change);
  if (next instanceof RaftError) {
    throw new RaftInvariantError(
      `peer ${core.id} cannot apply a committed membership change (${leavesJoint(change) ? 'leave' : 'change'}): ${next.message}`,
    );
  }
  core.adoptConfiguration(next.configuration, next.added);
}

/** A leader whose quorum changed may commit more now; else it speaks to new members without waiting for a tick. */
export function reachOutToMembers(core: RaftCore): void {
  if (maybeCommit(core)) {
    releasePostponedReads(core);
    broadcastAppend(core);
    return;
  }
  for (const [id, progress] of core.progress) {
    if (id !== core.id) sendAppend(core, id, progress, false);
  }
}

export function isRemovedOrDemoted(core: RaftCore): boolean {
  return !core.progress.has(core.id) || core.isLearner;
}

// Transfer (Raft thesis 3.10)

export function mayLeadNext(core: RaftCore, target: number): boolean {
  return core.progress.has(target) && !core.configuration.learners.includes(target);
}

/** The target campaigns as soon as it has the whole log; there is one election timeout for all of it. */
export function startTransfer(core: RaftCore, target: number): void {
  core.electionElapsed = 0;
  core.transferee = target;
  const progress = core.progress.get(target);
  if (progress === undefined) return;
  if (progress.match === core.log.lastIndex) core.send(core.draft('timeoutNow', target));
  else sendAppend(core, target, progress, true);
}

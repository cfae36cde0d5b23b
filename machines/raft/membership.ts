import { type ConfChange, decodeConfChange, leavesJoint, NO_BYTES } from './conf-change.js';
import { type Configuration, isJoint, members, reconfigure } from './configuration.js';
import type { RaftCore } from './core.js';
import { RaftError, RaftInvariantError } from './errors.js';
import { makeMessage } from './message.js';
import { answerConfirmedReads, releasePostponedReads } from './reads.js';
import { broadcastAppend, maybeCommit, sendAppend } from './replication.js';
import { type Entry, EntryType, type Message } from './types.js';

/** Membership changes: what may be proposed, and what follows when one is applied (Raft 6, thesis 4). */

/**
 * Why a change may not be proposed now; `undefined` when it may. `pending` is the index through which everything must be
 * applied before the next one: that there is one at a time is what keeps the group safe, the rest keeps a change that
 * nobody could apply out of the log.
 */
export function refuseConfChange(core: RaftCore, entry: Entry, pending: number): RaftError | undefined {
  let change: ConfChange;
  try {
    change = decodeConfChange(entry);
  } catch {
    return new RaftError(
      'conf-change-malformed',
      'the bytes of the membership change do not decode: the proposer must encode it anew',
    );
  }
  if (core.config.disableConfChangeValidation) return undefined;
  const { applied } = core.log;
  if (pending > applied) {
    return new RaftError(
      'conf-change-pending',
      `the membership change at ${pending} may not be applied yet (applied: ${applied}): propose again when it is`,
    );
  }
  return refuseSteps(core.configuration, change);
}

function refuseSteps(from: Configuration, change: ConfChange): RaftError | undefined {
  // A leave may carry the host's own bytes, and whatever is not joint already may not be left.
  const leaving = change.changes.length === 0;
  if (isJoint(from) !== leaving) {
    return leaving
      ? new RaftError('conf-change-not-joint', 'there is no joint membership to leave: it is simple already')
      : new RaftError(
          'conf-change-joint',
          'the joint membership must be left first: propose an empty change',
        );
  }
  const known = members(from);
  const named = new Set<number>();
  for (const { kind, id } of change.changes) {
    if (id === 0) continue;
    if (named.has(id)) {
      return new RaftError(
        'conf-change-duplicate-peer',
        `the membership change names peer ${id} twice: say in one step what is to become of it`,
      );
    }
    named.add(id);
    if ((kind === 'removeNode' || kind === 'update') && !known.includes(id)) {
      return new RaftError(
        'conf-change-unknown-peer',
        `peer ${id} is no member and cannot be ${kind === 'update' ? 'updated' : 'removed'}: the members are ${known.join(', ')}`,
      );
    }
  }
  // No other change stands between: what cannot be applied now could not be applied then, and would stop every peer.
  const next = reconfigure(from, change);
  return next instanceof RaftError ? next : undefined;
}

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

/**
 * A leader whose quorum changed may have more reads confirmed and commit more now; else it speaks to new members without
 * waiting for a tick.
 */
export function reachOutToMembers(core: RaftCore): void {
  answerConfirmedReads(core);
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

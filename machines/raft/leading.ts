import { NO_BYTES } from './conf-change.js';
import type { RaftCore } from './core.js';
import { payloadSize } from './entry-cache.js';
import { invariant, type RaftError } from './errors.js';
import { refuseConfChange } from './membership.js';
import { broadcastAppend, sendAppend } from './replication.js';
import { type Entry, EntryType, type Message } from './types.js';

/** Taking office, proposals and transfers. */

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

/** Appends the entries of a proposal, or refuses all of them; a membership change may be refused alone. */
export function handleProposal(core: RaftCore, proposal: Message): void {
  let entries = proposal.entries;
  invariant(entries.length > 0, () => `peer ${core.id} was handed a proposal without entries`);
  let pending = core.pendingConfIndex;
  let refused: RaftError | undefined;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.type === EntryType.normal) continue;
    const reason = refuseConfChange(core, entry, pending);
    if (reason === undefined) {
      pending = core.log.lastIndex + 1 + i;
      continue;
    }
    // The change is dropped but its place in the log is not: the rest of the batch keeps its indexes.
    entries = entries.with(i, { term: 0, index: 0, type: EntryType.normal, data: NO_BYTES });
    refused = reason;
  }
  if (!appendOwn(core, entries)) {
    const sentence = `peer ${core.id} holds as many uncommitted bytes as it may: propose again when some are applied`;
    core.refuse('proposal-dropped', sentence);
    return;
  }
  core.pendingConfIndex = pending;
  core.refusal = refused;
  broadcastAppend(core);
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

// Transfer (Raft thesis 3.10)

/** A voter, or one that is about to become one or to stop being one, but no learner and nobody else. */
export function mayLeadNext(core: RaftCore, target: number): boolean {
  return core.progress.has(target) && !core.configuration.learners.includes(target);
}

export function refuseTransfer(core: RaftCore, target: number): void {
  const voters = core.configuration.voters.join(', ');
  let why = `peer ${target} is no member of the group`;
  if (target === core.id) why = `peer ${target} leads already`;
  else if (core.progress.has(target)) why = `peer ${target} is a learner and must be promoted first`;
  core.refuse('transfer-refused', `${why}: leadership can move to one of the voters ${voters}`);
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

import type { RaftCore } from './core.js';
import { NO_ENTRIES, payloadSize } from './entry-cache.js';
import type { Progress } from './progress.js';
import { jointCommitted } from './quorum.js';
import { confirmReads, releasePostponedReads } from './reads.js';
import { UNKNOWN_TERM } from './term-index.js';
import type { Entry, FetchEntries, FetchSnapshot, Message, Snapshot } from './types.js';

/** A leader's side of the log (Raft 5.3, 5.4.2; flow control as etcd-io/raft's). */

export function broadcastAppend(core: RaftCore, evenIfEmpty = true): void {
  for (const [id, progress] of core.progress) {
    if (id !== core.id) sendAppend(core, id, progress, evenIfEmpty);
  }
}

/**
 * Sends the member what it lacks, if its flow control allows. Without `evenIfEmpty` a message that would carry no
 * entries stays. Returns whether one was sent, so that a caller may drain a backlog.
 */
export function sendAppend(core: RaftCore, to: number, progress: Progress, evenIfEmpty: boolean): boolean {
  if (progress.paused || progress.fetching) return false;
  const { log } = core;
  const previousTerm = log.term(progress.next - 1);
  if (previousTerm === UNKNOWN_TERM) {
    wantSnapshot(core, to, progress);
    return false;
  }
  let entries = NO_ENTRIES;
  // Into a full window only empty appends go: if all of it was lost, the answer to one of them reopens it.
  if (progress.next <= log.lastIndex && (progress.state !== 'replicate' || !progress.inflights.full)) {
    if (!log.holds(progress.next)) {
      wantEntries(core, to, progress);
      return false;
    }
    entries = log.slice(progress.next, log.lastIndex + 1, core.config.maxSizePerMsg);
  }
  if (entries.length === 0 && !evenIfEmpty) return false;
  emitAppend(core, to, progress, previousTerm, entries);
  return true;
}

function emitAppend(
  core: RaftCore,
  to: number,
  progress: Progress,
  previousTerm: number,
  entries: readonly Entry[],
): void {
  const append = core.draft('appendEntries', to);
  append.index = progress.next - 1;
  append.logTerm = previousTerm;
  append.entries = entries;
  append.commit = core.log.committed;
  core.send(append);
  progress.sentEntries(entries.length, payloadSize(entries));
  if (entries.length > 0) progress.fedSinceHeartbeat = true;
  progress.sentCommit = core.log.committed;
}

function wantEntries(core: RaftCore, peer: number, progress: Progress): void {
  const high = Math.min(core.log.cachedFrom, core.log.lastIndex + 1);
  const maxBytes = core.config.maxSizePerMsg;
  progress.fetching = true;
  core.fetches.push({ kind: 'entries', peer, low: progress.next, high, maxBytes });
}

/** The log no longer reaches back to what the member needs. One that does not answer gets nothing so large. */
function wantSnapshot(core: RaftCore, peer: number, progress: Progress): void {
  if (!progress.recentActive) return;
  progress.fetching = true;
  core.fetches.push({ kind: 'snapshot', peer });
}

/** Entries read from disk for a member: sent if it still waits for them, and then whatever else it may have. */
export function sendFetchedEntries(core: RaftCore, fetch: FetchEntries, entries: readonly Entry[]): void {
  const progress = core.progress.get(fetch.peer);
  if (progress === undefined || !progress.fetching) return;
  progress.fetching = false;
  const usable = countOwn(core, fetch.low, entries);
  const previousTerm = core.log.term(progress.next - 1);
  if (progress.next === fetch.low && usable > 0 && previousTerm !== UNKNOWN_TERM && !progress.paused) {
    const own = usable === entries.length ? entries : entries.slice(0, usable);
    emitAppend(core, fetch.peer, progress, previousTerm, own);
  } else if (usable === 0) {
    // They are gone or unreadable: ask again with the next heartbeat, not in a loop.
    if (core.log.term(progress.next - 1) === UNKNOWN_TERM) wantSnapshot(core, fetch.peer, progress);
    return;
  }
  while (sendAppend(core, fetch.peer, progress, false));
}

/** How many of the entries, read from disk some time ago, are a run of this log from `low` on. */
export function countOwn(core: RaftCore, low: number, entries: readonly Entry[]): number {
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.index !== low + i || !core.log.matches(entry.index, entry.term)) return i;
  }
  return entries.length;
}

/** A snapshot made for a member, or none for now: then a heartbeat's answer asks again. */
export function sendFetchedSnapshot(
  core: RaftCore,
  fetch: FetchSnapshot,
  snapshot: Snapshot | undefined,
): void {
  const progress = core.progress.get(fetch.peer);
  if (progress === undefined || !progress.fetching) return;
  progress.fetching = false;
  if (snapshot === undefined || progress.paused) return;
  if (core.log.term(progress.next - 1) !== UNKNOWN_TERM) {
    sendAppend(core, fetch.peer, progress, true);
    return;
  }
  // One that is older than the log reaches would only be asked for again.
  if (snapshot.index < core.log.truncatedIndex) return;
  progress.becomeSnapshot(snapshot.index);
  const message = core.draft('installSnapshot', fetch.peer);
  message.snapshot = snapshot;
  core.send(message);
}

/** Commits what a quorum holds, if it is of this term. Returns whether the commit index moved. */
export function maybeCommit(core: RaftCore): boolean {
  return core.log.maybeCommit(jointCommitted(core.configuration, core), core.term);
}

export function handleAppendResponse(core: RaftCore, response: Message): void {
  const progress = core.progress.get(response.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  noteCommit(core, progress, response);
  if (response.reject) {
    handleRejection(core, response, progress);
    return;
  }
  // A reply can only be about entries that this leader has: anything else is not from this log.
  if (response.index > core.log.lastIndex) return;
  // An old acknowledgement still ends probing.
  const news = progress.maybeUpdate(response.index);
  if (!news && !(progress.match === response.index && progress.state === 'probe')) return;
  if (progress.state === 'probe') {
    progress.becomeReplicate();
  } else if (progress.state === 'snapshot') {
    // Whichever snapshot it installed: what counts is that the log reaches it again.
    if (progress.match + 1 >= core.log.firstIndex) {
      progress.becomeProbe();
      progress.becomeReplicate();
    }
  } else {
    progress.inflights.freeThrough(response.index);
  }

  const before = core.log.committed;
  if (maybeCommit(core)) {
    releasePostponedReads(core);
    broadcastAppend(core, commitTravelsAlone(core, before));
  } else if (response.from !== core.id && progress.canBumpCommit(core.log.committed)) {
    sendAppend(core, response.from, progress, commitTravelsAlone(core, progress.sentCommit));
  }
  if (response.from === core.id) return;
  while (sendAppend(core, response.from, progress, false));
  if (response.from === core.transferee && progress.match === core.log.lastIndex) {
    core.send(core.draft('timeoutNow', response.from));
  }
}

/** @param known the commit index that was told last */
function commitTravelsAlone({ config, hurriedIndex, log }: RaftCore, known: number): boolean {
  return !config.skipBroadcastCommit || (known < hurriedIndex && hurriedIndex <= log.committed);
}

/** A member cannot know more than its leader. */
function noteCommit(core: RaftCore, progress: Progress, { commit }: Message): void {
  if (commit > progress.knownCommit && commit <= core.log.committed) progress.knownCommit = commit;
}

/** Both sides skip whole terms, so that a divergent tail costs a probe per term and not per entry. */
function handleRejection(core: RaftCore, response: Message, progress: Progress): void {
  const hint =
    response.logTerm > 0
      ? core.log.findConflictByTerm(response.rejectHint, response.logTerm).index
      : response.rejectHint;
  if (!progress.maybeDecrease(response.index, hint)) return;
  if (progress.state === 'replicate') progress.becomeProbe();
  sendAppend(core, response.from, progress, true);
}

export function handleHeartbeatResponse(core: RaftCore, response: Message): void {
  const progress = core.progress.get(response.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  noteCommit(core, progress, response);
  progress.flowPaused = false;
  // A member that is caught up but probed gets an empty append, so that its answer ends the probing.
  if (progress.match < core.log.lastIndex || progress.state === 'probe') {
    sendAppend(core, response.from, progress, true);
  }
  confirmReads(core, response);
}

// Reports of the host

/** What was under way to the member is probably lost. */
export function handleUnreachable(core: RaftCore, peer: number): void {
  const progress = core.progress.get(peer);
  if (progress?.state === 'replicate') progress.becomeProbe();
}

/** The snapshot was delivered, or was not. Either way the member's own answer or a heartbeat's goes before more. */
export function handleSnapshotStatus(core: RaftCore, peer: number, delivered: boolean): void {
  const progress = core.progress.get(peer);
  if (progress?.state !== 'snapshot') return;
  if (delivered) progress.becomeProbe();
  else progress.snapshotFailed();
  progress.flowPaused = true;
}

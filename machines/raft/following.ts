import { restoreConfiguration, sameConfState, toConfState } from './configuration.js';
import type { RaftCore } from './core.js';
import { invariant, RaftError, RaftInvariantError } from './errors.js';
import type { MessageDraft } from './message.js';
import type { Entry, Message, Snapshot } from './types.js';

/** What a follower does with what its leader sends (Raft 5.3, and section 7 for snapshots). */

export function becomeFollower(core: RaftCore, term: number, lead: number): void {
  core.reset(term);
  core.lead = lead;
  core.role = 'follower';
  core.postponedReads = [];
  core.info(() => `${core.id} became follower at term ${term}`);
}

export function hearLeader(core: RaftCore, from: number): void {
  core.electionElapsed = 0;
  core.lead = from;
}

export function handleAppend(core: RaftCore, append: Message): void {
  const { log } = core;
  const response = core.draft('appendEntriesResponse', append.from);
  if (append.index < log.committed) {
    // Old news. What is committed here equals the leader's log, so that is what can be acknowledged.
    response.index = log.committed;
  } else {
    const last = log.maybeAppend(append.index, append.logTerm, append.commit, append.entries);
    if (last >= 0) {
      response.index = last;
    } else {
      const hint = log.findConflictByTerm(Math.min(append.index, log.lastIndex), append.logTerm);
      response.index = append.index;
      response.reject = true;
      response.rejectHint = hint.index;
      response.logTerm = hint.term;
    }
  }
  tellCommit(core, response);
  core.send(response);
}

export function handleHeartbeat(core: RaftCore, heartbeat: Message): void {
  core.log.commitTo(heartbeat.commit);
  const response = core.draft('heartbeatResponse', heartbeat.from);
  response.context = heartbeat.context;
  tellCommit(core, response);
  core.send(response);
}

function tellCommit(core: RaftCore, response: MessageDraft): void {
  if (core.config.followersTellCommit) response.commit = core.log.committed;
}

/** The newest term that entries from elsewhere show. */
export function termOf({ entries }: { readonly entries: readonly Entry[] }): number {
  return entries.at(-1)?.term ?? 0;
}

/**
 * Takes entries through `commit` that are known to be committed, whoever tells (a region that is merged away learns the
 * end of its log from its target). They go on where this log equals the group's, and take the place of what was never
 * committed.
 */
export function adoptCommitted(core: RaftCore, entries: readonly Entry[], commit: number): void {
  const { log } = core;
  const missing = entries.filter(({ index }) => index > log.committed);
  const fresh = log.firstConflict(missing);
  if (fresh < missing.length) {
    invariant(
      core.role !== 'leader',
      () => `peer ${core.id} leads term ${core.term} and lacks the committed entry ${missing[fresh]?.index}`,
    );
    log.append(missing, fresh);
  }
  log.commitTo(commit);
}

export function handleSnapshot(core: RaftCore, message: Message): void {
  const response = core.draft('appendEntriesResponse', message.from);
  const { snapshot } = message;
  const restored = snapshot !== undefined && restore(core, snapshot);
  response.index = restored ? core.log.lastIndex : core.log.committed;
  core.send(response);
}

/** Returns false for a snapshot that brings nothing, or that knows nothing of this peer. */
function restore(core: RaftCore, snapshot: Snapshot): boolean {
  const { log } = core;
  if (snapshot.index <= log.committed) return false;
  const { voters, votersOutgoing, learners } = snapshot.confState;
  if (![voters, votersOutgoing, learners].some((ids) => ids.includes(core.id))) {
    core.warn(() => `${core.id} ignored a snapshot at ${snapshot.index} whose membership leaves it out`);
    return false;
  }
  if (log.matches(snapshot.index, snapshot.term)) {
    // The log reaches that far: all that the snapshot tells is that it is committed.
    log.commitTo(snapshot.index);
    return false;
  }
  const configuration = restoreConfiguration(snapshot.confState);
  if (configuration instanceof RaftError) {
    throw new RaftInvariantError(
      `peer ${core.id} cannot restore the membership of snapshot ${snapshot.index}: ${configuration.message}`,
    );
  }
  invariant(
    sameConfState(snapshot.confState, toConfState(configuration)),
    () => `peer ${core.id} restored another membership than snapshot ${snapshot.index} holds`,
  );
  log.restore(snapshot);
  core.progress = new Map();
  core.adoptConfiguration(configuration, new Set());
  core.fetchingForApply = false;
  core.info(() => `${core.id} restored snapshot at (${snapshot.index}, term ${snapshot.term})`);
  return true;
}

/** Hands on, to the leader, what only it can answer. Proposals and reads belong to no term. */
export function forwardToLeader(core: RaftCore, message: Message): void {
  const forwarded = core.draft(message.type, core.lead);
  if (message.type !== 'transferLeader') forwarded.term = 0;
  if (message.from !== 0) forwarded.from = message.from;
  forwarded.entries = message.entries;
  forwarded.context = message.context;
  core.send(forwarded);
}

/**
 * Answers a leader of an older term with this one, so that it steps down. With PreVote or CheckQuorum nothing else
 * would: this peer's own campaigns are ignored by those who hear from that leader.
 */
export function answerStaleLeader(core: RaftCore, message: Message): void {
  core.send(core.draft('appendEntriesResponse', message.from));
}

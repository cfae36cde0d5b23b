import type { RaftCore } from './core.js';
import type { Progress } from './progress.js';
import { jointVote } from './quorum.js';

/** A leader's clock: heartbeats (Raft 5.2), and whether a quorum still answers (CheckQuorum, Raft thesis 6.2). */

/** A tick of a leader's clock that neither loses its quorum nor its transfer. */
export function tickLeader(core: RaftCore): void {
  core.electionElapsed++;
  if (core.electionElapsed >= core.config.electionTick) {
    core.electionElapsed = 0;
    if (core.config.checkQuorum) forgetActivity(core);
  }
  if (++core.heartbeatElapsed < core.config.heartbeatTick) return;
  core.heartbeatElapsed = 0;
  const context = core.reads.heartbeatContext;
  for (const [id, progress] of core.progress) {
    // Its answer to entries waits for its disk, and that to a heartbeat does not: until it has spoken it gets one.
    const fed =
      progress.fedSinceHeartbeat &&
      progress.recentActive &&
      progress.state === 'replicate' &&
      context.length === 0;
    progress.fedSinceHeartbeat = false;
    if (id !== core.id && !(fed && core.config.appendsStandForHeartbeats))
      sendHeartbeat(core, id, progress, context);
  }
}

/** No quorum of voters was heard from since the last check. */
export function quorumLost(core: RaftCore): boolean {
  const active = new Map<number, boolean>();
  for (const [id, progress] of core.progress) active.set(id, progress.recentActive);
  return jointVote(core.configuration, active) !== 'won';
}

function forgetActivity(core: RaftCore): void {
  for (const [id, progress] of core.progress) {
    if (id === core.id) continue;
    progress.wasActive = progress.recentActive;
    progress.recentActive = false;
  }
}

export function broadcastHeartbeat(core: RaftCore): void {
  const context = core.reads.heartbeatContext;
  for (const [id, progress] of core.progress) if (id !== core.id) sendHeartbeat(core, id, progress, context);
}

export function sendHeartbeat(
  core: RaftCore,
  to: number,
  progress: Progress,
  context = core.reads.heartbeatContext,
): void {
  const heartbeat = core.draft('heartbeat', to);
  // Never beyond what the member is known to hold: it may lack the rest, or hold something else there.
  heartbeat.commit = Math.min(progress.match, core.log.committed);
  heartbeat.context = context;
  core.send(heartbeat);
  progress.sentCommit = heartbeat.commit;
}

import type { RaftCore } from './core.js';
import { broadcastHeartbeat } from './heartbeats.js';
import { decodeReadCount } from './read-only.js';
import type { Message } from './types.js';

/** Linearizable reads without a log entry (Raft thesis 6.4). */

/** Confirms the read: at once where leadership needs no confirmation, else by a round of heartbeats. */
export function handleRead(core: RaftCore, request: Message): void {
  const index = core.log.committed;
  if (core.isSingleton || core.config.readOnlyOption === 'leaseBased') {
    answerRead(core, request.from, index, request.context);
    return;
  }
  if (refusesRead(core, core.reads.pending)) return;
  core.reads.add({ from: request.from, index, context: request.context });
  core.reads.acknowledge(core.id, core.reads.count);
  broadcastHeartbeat(core);
}

/** Kept until this leader has committed an entry of its term: before that its commit index may lag behind. */
export function postponeRead(core: RaftCore, request: Message): void {
  if (!refusesRead(core, core.postponedReads.length)) core.postponedReads.push(request);
}

/** A leader that is cut off would gather them until it notices. */
function refusesRead(core: RaftCore, waiting: number): boolean {
  if (waiting < core.config.maxPendingReads) return false;
  core.refuse('read-dropped', `peer ${core.id} has ${waiting} reads to confirm already: ask again later`);
  return true;
}

export function releasePostponedReads(core: RaftCore): void {
  if (core.postponedReads.length === 0) return;
  const requests = core.postponedReads;
  core.postponedReads = [];
  for (const request of requests) handleRead(core, request);
}

/** Counts the read count that a heartbeat's answer echoes, and answers the reads that a quorum has confirmed. */
export function confirmReads(core: RaftCore, response: Message): void {
  if (core.config.readOnlyOption !== 'safe' || response.context.length === 0) return;
  core.reads.acknowledge(response.from, decodeReadCount(response.context));
  answerConfirmedReads(core);
}

/** Whoever has confirmed a read so far may be a quorum now, though no answer has come: the membership has changed. */
export function answerConfirmedReads(core: RaftCore): void {
  for (const read of core.reads.advance(core.configuration)) {
    answerRead(core, read.from, read.index, read.context);
  }
}

function answerRead(core: RaftCore, from: number, index: number, context: Uint8Array): void {
  if (from === 0 || from === core.id) {
    core.readStates.push({ index, context });
    return;
  }
  const response = core.draft('readIndexResponse', from);
  response.index = index;
  response.context = context;
  core.send(response);
}

/** The leader's answer to a read that this peer forwarded. */
export function noteReadState(core: RaftCore, response: Message): void {
  core.readStates.push({ index: response.index, context: response.context });
}

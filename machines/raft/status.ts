import type { Configuration } from './configuration.js';
import type { RaftCore } from './core.js';
import type { ProgressState } from './progress.js';
import type { Role } from './types.js';

/** A member as the leader sees it; indexes count from 1. */
export interface ProgressStatus {
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  /** How far the member knows the log to be committed; 0 where members do not tell. */
  readonly knownCommit: number;
  readonly learner: boolean;
  readonly paused: boolean;
  readonly recentActive: boolean;
  /** Heard from in this election timeout or the last one: not to be taken for gone. */
  readonly live: boolean;
  /** Index of the snapshot under way; 0 for none. */
  readonly pendingSnapshot: number;
  readonly inflight: number;
  readonly inflightFull: boolean;
}

/** A peer at one moment; 0 for no vote and no leader. */
export interface Status {
  readonly id: number;
  readonly role: Role;
  readonly term: number;
  readonly vote: number;
  readonly lead: number;
  readonly commit: number;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The member that leadership is being moved to; 0 for none. */
  readonly transferee: number;
  readonly configuration: Configuration;
  /** Members as the leader sees them, by ascending id; empty on others. */
  readonly progress: ReadonlyMap<number, ProgressStatus>;
}

/** A copy: it changes with nothing. */
export function statusOf(core: RaftCore): Status {
  const { log } = core;
  const progress = new Map<number, ProgressStatus>();
  if (core.role === 'leader') {
    for (const [id, member] of core.progress) {
      progress.set(id, {
        match: member.match,
        next: member.next,
        state: member.state,
        knownCommit: id === core.id ? log.committed : member.knownCommit,
        learner: core.configuration.learners.includes(id),
        paused: member.paused,
        recentActive: member.recentActive,
        live: member.recentActive || member.wasActive,
        pendingSnapshot: member.pendingSnapshot,
        inflight: member.inflights.count,
        inflightFull: member.inflights.full,
      });
    }
  }
  return {
    id: core.id,
    role: core.role,
    term: core.term,
    vote: core.vote,
    lead: core.lead,
    commit: log.committed,
    applied: log.applied,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    transferee: core.transferee,
    configuration: core.configuration,
    progress,
  };
}

import type { Clock, TimerHandle } from '../../actors/index.js';
import type { Status } from '../../machines/index.js';
import type { RaftGroup } from './group.js';

/** When a region's Raft log is cut; TiKV's `raft-log-gc-*` settings. */
export interface LogGcLimits {
  /** Milliseconds between two looks at all regions that this store leads (3,000). */
  readonly interval: number;
  /** Entries that all live followers have are left alone until there are so many of them (50). */
  readonly threshold: number;
  /** Applied entries above which the log is cut although a live follower still needs them (73,728). */
  readonly countLimit: number;
  /** Bytes of a log above which it is cut likewise (72 MiB). */
  readonly bytesLimit: number;
}

export const DEFAULT_LOG_GC: LogGcLimits = {
  interval: 3_000,
  threshold: 50,
  countLimit: 73_728,
  bytesLimit: 72 * 1024 * 1024,
};

/**
 * Up to where a leader should let the log be cut; `undefined` for leaving it as it is.
 *
 * Never beyond what is applied here, and never beyond what the slowest live follower still needs, unless the log is over
 * a limit: then half of it goes, and that follower gets a snapshot.
 */
export function compactionPoint(status: Status, bytes: number, limits: LogGcLimits): number | undefined {
  const { applied, firstIndex, progress } = status;
  const { threshold, countLimit, bytesLimit } = limits;
  const count = applied - firstIndex + 1;
  if (count <= 0) return undefined;
  let replicated = applied;
  for (const member of progress.values()) {
    if (!member.live) continue;
    // A follower that gets a snapshot goes on behind it.
    replicated = Math.min(replicated, Math.max(member.match, member.pendingSnapshot));
  }
  if (count >= countLimit || bytes >= bytesLimit) {
    const half = firstIndex + Math.floor(count / 2);
    return Math.min(applied, Math.max(replicated, half));
  }
  return replicated - firstIndex + 1 >= threshold ? replicated : undefined;
}

/** What the compaction needs of a region's replica. */
export interface CompactedReplica {
  /** `undefined` where there is no log: on a store that stands alone. */
  readonly raftGroup: RaftGroup | undefined;
  /** Proposes that every replica cuts its log behind `index`. */
  compactLog(index: number, term: number): void;
}

/** Looks at the logs of all regions that this store leads, and has them cut. */
export class LogGc {
  readonly #clock: Clock;
  readonly #limits: LogGcLimits;
  readonly #replicas: ReadonlyMap<number, CompactedReplica>;
  readonly #logBytes: (group: RaftGroup) => number;
  #timer: TimerHandle | undefined;

  constructor(
    clock: Clock,
    replicas: ReadonlyMap<number, CompactedReplica>,
    logBytes: (group: RaftGroup) => number,
    limits: Partial<LogGcLimits> = {},
  ) {
    this.#clock = clock;
    this.#replicas = replicas;
    this.#logBytes = logBytes;
    this.#limits = { ...DEFAULT_LOG_GC, ...limits };
  }

  start(): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.#look();
      this.start();
    }, this.#limits.interval);
  }

  stop(): void {
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
  }

  /** Most logs of a store with many idle regions are short, and a status is a copy. */
  #mayBeCut(group: RaftGroup): boolean {
    const { firstIndex, lastIndex } = group.raft;
    const { threshold, countLimit, bytesLimit } = this.#limits;
    const entries = lastIndex - firstIndex + 1;
    return entries >= Math.min(threshold, countLimit) || this.#logBytes(group) >= bytesLimit;
  }

  #look(): void {
    for (const replica of this.#replicas.values()) {
      const { raftGroup: group } = replica;
      if (!group?.isLeader || !this.#mayBeCut(group)) continue;
      const point = compactionPoint(group.status(), this.#logBytes(group), this.#limits);
      if (point === undefined) continue;
      const term = group.raft.termAt(point);
      if (term > 0) replica.compactLog(point, term);
    }
  }
}

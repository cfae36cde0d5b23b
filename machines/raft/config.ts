import { RaftInvariantError } from './errors.js';

/** How a peer behaves. Times are in ticks, sizes in bytes. */
export interface RaftConfig {
  /** This peer; above 0, unique in its group for ever. */
  readonly id: number;
  /** A follower that hears nothing for [electionTick, 2 * electionTick - 1] ticks campaigns. */
  readonly electionTick: number;
  readonly heartbeatTick: number;
  /** Entries of one append; at least one goes. 0 means one at a time. */
  readonly maxSizePerMsg: number;
  /** Committed entries handed out and not yet reported as applied. 0 means `maxSizePerMsg`. */
  readonly maxCommittedSizePerReady: number;
  /** Payload that a leader holds uncommitted before it drops proposals; one above it is let in alone. 0: no limit. */
  readonly maxUncommittedEntriesSize: number;
  /** Appends under way to one follower. */
  readonly maxInflightMsgs: number;
  /** Payload under way to one follower, softly. 0 means no limit; else at least `maxSizePerMsg`. */
  readonly maxInflightBytes: number;
  /** Ask whether an election could be won before a term is spent on it (Raft thesis 9.6). */
  readonly preVote: boolean;
  /** A leader that hears from no quorum for `electionTick` steps down; voters with a live leader ignore candidates. */
  readonly checkQuorum: boolean;
  /** `leaseBased` trusts that clocks tick alike, and needs `checkQuorum`. */
  readonly readOnlyOption: 'safe' | 'leaseBased';
  /** Reads that wait for their leader to be confirmed; more are dropped. */
  readonly maxPendingReads: number;
  /** Writes are acknowledged by `StorageAppend.responses` and `StorageApply.responses`, never by `advance`. */
  readonly asyncStorageWrites: boolean;
  /**
   * A commit index waits for the next entries or heartbeat to travel with, instead of going at once in an append of its
   * own (raft-rs' option of this name). Followers apply up to a heartbeat later; acknowledgements are as fast.
   */
  readonly skipBroadcastCommit: boolean;
  /**
   * A tick sends no heartbeat to a follower that was sent entries since the last one and has spoken since the quorum was checked:
   * entries say the same. A commit index that waits to travel may wait for one heartbeat more. Off, as in etcd, heartbeats go whatever else does.
   */
  readonly appendsStandForHeartbeats: boolean;
  /**
   * Followers say in their answers how far they know the log to be committed, and voters where they refuse a vote (raft-rs'
   * commit by vote); off, as in etcd, they do not.
   */
  readonly followersTellCommit: boolean;
  /** A follower drops proposals instead of handing them to its leader. */
  readonly disableProposalForwarding: boolean;
  /** The host serialises membership changes itself: nothing is refused when it is proposed. */
  readonly disableConfChangeValidation: boolean;
  /** A leader that a membership change removes or demotes becomes follower at once. */
  readonly stepDownOnRemoval: boolean;
  /** Entry bodies kept in memory once they are on disk. */
  readonly maxCachedBytes: number;
  /** Uniform in [0, 1): the only source of chance. */
  readonly random: () => number;
  /** Where the core says what it does; nowhere when absent. */
  readonly log?: ((level: 'debug' | 'info' | 'warn' | 'error', text: string) => void) | undefined;
}

const MIB = 1024 * 1024;

/** A store's settings: a tick of 100 ms, heartbeats every 2, elections after 10 to 19. */
export const DEFAULT_RAFT_CONFIG: Omit<RaftConfig, 'id' | 'random'> = {
  electionTick: 10,
  heartbeatTick: 2,
  maxSizePerMsg: MIB,
  maxCommittedSizePerReady: 16 * MIB,
  maxUncommittedEntriesSize: 64 * MIB,
  maxInflightMsgs: 256,
  maxInflightBytes: 64 * MIB,
  preVote: true,
  checkQuorum: true,
  readOnlyOption: 'safe',
  maxPendingReads: 4_096,
  asyncStorageWrites: false,
  skipBroadcastCommit: false,
  appendsStandForHeartbeats: false,
  followersTellCommit: false,
  disableProposalForwarding: false,
  disableConfChangeValidation: false,
  stepDownOnRemoval: true,
  maxCachedBytes: MIB,
};

/** What a caller must and may say; the rest is a store's. */
export type RaftOptions = Pick<RaftConfig, 'id' | 'random'> & Partial<RaftConfig>;

/** @throws RaftInvariantError for settings that contradict each other. */
export function completeConfig(options: RaftOptions): RaftConfig {
  const config = { ...DEFAULT_RAFT_CONFIG, ...options };
  const refuse = (sentence: string): never => {
    throw new RaftInvariantError(`peer ${config.id}: ${sentence}`);
  };
  if (!Number.isSafeInteger(config.id) || config.id <= 0) refuse('an id is a whole number above 0');
  if (config.heartbeatTick <= 0) refuse('heartbeatTick must be above 0');
  if (config.electionTick <= config.heartbeatTick) refuse('electionTick must be above heartbeatTick');
  if (config.maxInflightMsgs <= 0) refuse('maxInflightMsgs must be above 0');
  if (config.maxPendingReads <= 0) refuse('maxPendingReads must be above 0');
  if (config.maxInflightBytes !== 0 && config.maxInflightBytes < config.maxSizePerMsg) {
    refuse('maxInflightBytes must be at least maxSizePerMsg');
  }
  if (config.readOnlyOption === 'leaseBased' && !config.checkQuorum) {
    refuse('reads by lease need checkQuorum');
  }
  return {
    ...config,
    // Without any room nothing would ever be applied.
    maxCommittedSizePerReady: Math.max(1, config.maxCommittedSizePerReady || config.maxSizePerMsg),
    maxUncommittedEntriesSize: config.maxUncommittedEntriesSize || Number.POSITIVE_INFINITY,
  };
}

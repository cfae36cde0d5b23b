import type { Logger } from '../../actors/index.js';
import type { RaftConfig } from '../../machines/index.js';

/** What a deployment may set; the rest of the core's configuration is the same everywhere. */
export interface RaftTuning {
  /** Milliseconds of a tick (100). */
  readonly tickInterval?: number;
  /** Ticks between heartbeats (2). */
  readonly heartbeatTicks?: number;
  /** Base election timeout in ticks (10); the real one is drawn from [base, 2 × base - 1]. */
  readonly electionTicks?: number;
  /** Bytes of log entries that each peer keeps in memory (1 MiB). */
  readonly maxCachedBytes?: number;
  /** Leaders serve reads for 0.8 of the base election timeout after a quorum confirmed them, without asking (false). */
  readonly leaseReads?: boolean;
  /** Groups without traffic rest, where their host can let them (true). */
  readonly hibernate?: boolean;
  /** Ticks without a request after which a leader puts its group to rest (those of the base election timeout). */
  readonly quietTicks?: number;
}

export const DEFAULT_TICK_INTERVAL_MS = 100;
/** Bytes of entries in one append: a frame must carry it with room for all that surrounds them. */
const MAX_APPEND_BYTES = 512 * 1024;
/**
 * Bytes of entries under way to one follower. A store that hangs must not make the NATS server hold so much for it that
 * the server slows down whoever sends: that is the leader, with all its other messages (from about 32 MiB on).
 */
const MAX_INFLIGHT_BYTES = 8 * 1024 * 1024;
/** Bytes that a leader may have proposed and not committed; more proposals are refused as busy. */
const MAX_UNCOMMITTED_BYTES = 16 * 1024 * 1024;

/** The core's configuration of one peer. */
export function raftConfig(
  group: number,
  peer: number,
  options: {
    readonly random: () => number;
    readonly logger: Logger;
    readonly tuning?: RaftTuning | undefined;
  },
) {
  const { tuning = {}, random, logger } = options;
  return {
    random,
    preVote: true,
    checkQuorum: true,
    stepDownOnRemoval: true,
    disableProposalForwarding: true,
    skipBroadcastCommit: true,
    appendsStandForHeartbeats: true,
    followersTellCommit: true,
    maxSizePerMsg: MAX_APPEND_BYTES,
    maxInflightBytes: MAX_INFLIGHT_BYTES,
    maxUncommittedEntriesSize: MAX_UNCOMMITTED_BYTES,
    electionTick: tuning.electionTicks ?? 10,
    heartbeatTick: tuning.heartbeatTicks ?? 2,
    log: (level, text) => logger[level === 'info' ? 'debug' : level]({ group, peer }, text),
    ...(tuning.maxCachedBytes === undefined ? {} : { maxCachedBytes: tuning.maxCachedBytes }),
  } satisfies Partial<RaftConfig>;
}

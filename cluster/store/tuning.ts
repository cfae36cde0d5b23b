import type { LogGcLimits } from '../raft/log-gc.js';
import type { RaftTuning } from '../raft/tuning.js';
import type { LoadSplitLimits, SplitCheckLimits } from './split/index.js';

/** What a deployment may set of a store. */
export interface StoreTuning extends RaftTuning {
  /** When Raft logs are cut. */
  readonly logGc?: Partial<LogGcLimits>;
  /** Milliseconds between two attempts to end a merge (2,000). */
  readonly mergeInterval?: number;
  /** When regions are split because of their size. */
  readonly split?: Partial<SplitCheckLimits>;
  /** When they are split because of what is read from them. */
  readonly loadSplit?: Partial<LoadSplitLimits>;
  /** The last part of a split keeps the region's id (true); else the first. */
  readonly rightDerive?: boolean;
  /** Milliseconds after which a peer that hears of no leader asks whether it is still a member (600,000). */
  readonly stalePeerTimeout?: number;
  /** Milliseconds for which the tombstone of a removed peer is kept at least (600,000). */
  readonly tombstoneLifetime?: number;
  /** Milliseconds for which safe points are trusted (20,000); the schedulers' `safePointWait` has to be longer. */
  readonly safePointLease?: number;
}

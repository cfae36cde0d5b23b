import type { GcConfig } from '../gc/index.js';
import type { LogGcLimits } from '../raft/log-gc.js';
import type { RaftTuning } from '../raft/tuning.js';

/** What a deployment may set of a scheduler. */
export interface SchedulerTuning extends RaftTuning {
  /** When the schedulers' log is cut. */
  readonly logGc?: Partial<LogGcLimits>;
  /** In place of what is set of the collector, which may not be as short. */
  readonly gc?: Partial<Pick<GcConfig, 'gcLifeTime' | 'gcInterval'>>;
  /** Milliseconds that the collector waits for a store that says nothing (25,000): longer than the stores' `safePointLease`. */
  readonly safePointWait?: number;
}

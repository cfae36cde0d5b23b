/** A system under test, as the benchmark sees it. */

import type { DriverConfig } from './drivers.js';

/** A system that serves, in processes of its own. */
export interface RunningTarget {
  /** What it is, with its version and the settings that matter. */
  readonly description: string;
  /** Its server processes now. */
  pids(): readonly number[];
  /** How the load generator reaches it. */
  readonly driver: DriverConfig;
  /** Syncs of files by all servers since they started; `undefined` when it does not tell. */
  fsyncs(): Promise<number | undefined>;
  /** Ends every process. */
  stop(): Promise<void>;
}

/** @param directory an empty directory for all its data */
export type StartTarget = (directory: string) => Promise<RunningTarget>;

/** The system is not installed here; the message says what to install. */
export class TargetMissing extends Error {}

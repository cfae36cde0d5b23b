import type { Deadline } from '../deadline.js';
import type { TimestampClient } from '../timestamps.js';

export type Timestamps = Pick<TimestampClient, 'timestamp'>;

/** @throws TroupeError `unavailable` when no scheduler gave one before the deadline, `closed`; the signal's reason */
export function takeTimestamp(timestamps: Timestamps, { left, signal }: Deadline): Promise<bigint> {
  // Who asks with no time left is told that no scheduler answered in it.
  return timestamps.timestamp({ timeout: Math.max(1, left), ...(signal === undefined ? {} : { signal }) });
}

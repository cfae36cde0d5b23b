import type { Deadline } from '../deadline.js';
import type { TimestampClient } from '../timestamps.js';

export type Timestamps = Pick<TimestampClient, 'timestamp'>;

/** @throws TroupeError `unavailable` when no scheduler gave one before the deadline, `closed`; the signal's reason */
export function takeTimestamp(timestamps: Timestamps, { left, signal, trace }: Deadline): Promise<bigint> {
  // Who asks with no time left is told that no scheduler answered in it.
  const options = { timeout: Math.max(1, left), ...(signal === undefined ? {} : { signal }) };
  const taken = timestamps.timestamp(options);
  // A scheduler is asked once for all that want one: its work is no part of one transaction.
  if (trace !== undefined) void trace.child('timestamp').until(taken);
  return taken;
}

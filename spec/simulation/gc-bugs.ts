import type { LockLink } from '../../cluster/gc/index.js';
import type { SchedulerNode } from '../../cluster/scheduler/index.js';
import type { StoreNode } from '../../cluster/store/index.js';
import { composeTimestamp } from '../../cluster/timestamp.js';

/** Mistakes with old versions. */

export function forgettingHolds({ safePoints }: SchedulerNode): void {
  safePoints.put = ({ safePoint, expiresAt, now }) =>
    expiresAt > now && safePoint < safePoints.transaction ? 'late' : 'put';
}

const TOO_MUCH = composeTimestamp(5_000, 0);

export function collectingTooMuch({ txn: { safePoints } }: StoreNode): void {
  const heard = safePoints.heard.bind(safePoints);
  safePoints.heard = (told, askedAt) =>
    heard(told.gc === 0n ? told : { ...told, gc: told.gc + TOO_MUCH }, askedAt);
}

/** Finds no lock anywhere. */
export const BLIND_LINK: LockLink = {
  resolve: async () => ({ locks: 0, next: undefined }),
  close: () => {},
};

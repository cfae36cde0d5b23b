import type { SchedulerKind } from './service.js';

/** Requests that are answered from the replicated state. */
const READS: ReadonlySet<SchedulerKind> = new Set<SchedulerKind>([
  'pd.bootstrapInfo',
  'pd.getStore',
  'pd.getAllStores',
  'pd.getRegion',
  'pd.getRegionById',
  'pd.scanRegions',
  'pd.getStatus',
  'pd.getPlacement',
  'pd.getOperators',
  'pd.findRegions',
  'pd.getGCSafePoint',
  'pd.getGcStatus',
  // It carries the safe points: a store trusts that none was raised before it asked.
  'pd.storeHeartbeat',
]);

/** Whether an answer to it may be stale: it is given only under leadership that was confirmed after the request came. */
export function isRead(kind: SchedulerKind): boolean {
  return READS.has(kind);
}

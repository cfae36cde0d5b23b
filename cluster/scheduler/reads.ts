import type { SchedulerKind } from './service.js';

/** Requests that are answered from the replicated state and change nothing. */
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
]);

/** Whether an answer to it may be stale: it is given only under leadership that was confirmed after the request came. */
export function isRead(kind: SchedulerKind): boolean {
  return READS.has(kind);
}

/** Troupe's client library: a replicated key-value store from a Node.js program. */
export type { SwapResult } from './client/call.js';
export type { AdminCallOptions } from './client/call-options.js';
export type { ClusterAdmin, SplitOptions } from './client/cluster-admin.js';
export type { ClusterStatus } from './client/cluster-status.js';
export type { Database } from './client/database.js';
export type { GcAdmin, GcInfo, GcRoundInfo } from './client/gc.js';
export { type ConnectOptions, connect } from './client/index.js';
export type { OperatorRequest } from './client/operator-request.js';
export type { PlacementAdmin, TakeOfflineOptions } from './client/placement.js';
export {
  type OperatorInfo,
  type OperatorState,
  PAUSED_FOR_GOOD,
  type PlacedRegionInfo,
  type PlacementInfo,
  type PlacementState,
  type SchedulerInfo,
} from './client/placement-info.js';
export type { Bytes, CallOptions, DataFamily, RangeOptions, RawSpace, ScanOptions } from './client/raw.js';
export type { RegionChangeOptions } from './client/region-change.js';
export type { RegionCheckReport, ReplicaCheckState } from './client/region-checks.js';
export type { RegionEpoch, RegionInfo, RegionPeerInfo } from './client/region-info.js';
export type { RegionRefusalReason } from './client/region-refusals.js';
export type { ScanEntry } from './client/scan.js';
export type { StoreInfo, StoreState } from './client/store-info.js';
export type { KeyLock, KeyVersion, KeyVersions, VersionKind } from './client/txn/key-versions.js';
export type { ReadOptions, Snapshot } from './client/txn/snapshot.js';
export type { Transaction } from './client/txn/transaction.js';
export type { BeginOptions, SnapshotOptions, TransactionOptions } from './client/txn/transactions.js';
export { TroupeError, type TroupeErrorCode } from './errors.js';
export { REGION_STATES, type RegionPlacementState } from './region-states.js';

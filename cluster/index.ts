/**
 * The client: a replicated key-value store from a Node.js program. Begin with `connect`, which gives a `Database`:
 *
 * - `db.raw`: single operations, each durable on a majority of stores when it resolves, each read linearizable.
 * - `db.transaction(work)`: all of its writes or none, over any number of keys; `db.snapshot()`: reads at one moment.
 * - `db.cluster`: regions, stores, schedulers and the collector of old versions, to see and to steer.
 * - `db.close()` at the end.
 *
 * Keys (1 to 4,096 bytes) and values go in as strings or bytes, and come out as bytes; an absent value is `undefined`. Times are
 * milliseconds unless a name says otherwise. Every call takes `{ timeout, signal }` last, and rejects with a `TroupeError`, whose
 * `code` a program can switch on. `undetermined` says that a write may or may not have happened.
 *
 * What transactions promise, and what to do about each error, stands in docs/transactions.md.
 *
 * @module troupe
 */

export type { AdminCallOptions } from './client/call-options.js';
export type { ClusterAdmin, SplitOptions } from './client/cluster-admin.js';
export type { ClusterStatus } from './client/cluster-status.js';
export type { Database } from './client/database.js';
export type { GcAdmin, GcInfo, GcRoundInfo } from './client/gc.js';
export { type ConnectOptions, connect } from './client/index.js';
export type { OperatorRequest } from './client/operator-request.js';
export type { PlacementAdmin, TakeOfflineOptions } from './client/placement.js';
export {
  OPERATOR_STATES,
  type OperatorInfo,
  type OperatorState,
  PAUSED_FOR_GOOD,
  PLACEMENT_STATES,
  type PlacedRegionInfo,
  type PlacementInfo,
  type PlacementState,
  type SchedulerInfo,
} from './client/placement-info.js';
export type { Bytes, CallOptions, DataFamily, RangeOptions, RawSpace, ScanOptions } from './client/raw.js';
export type { SwapResult } from './client/raw-calls.js';
export type { RegionChangeOptions } from './client/region-change.js';
export {
  REPLICA_CHECK_STATES,
  type RegionCheckReport,
  type ReplicaCheckState,
} from './client/region-checks.js';
export type { RegionEpoch, RegionInfo, RegionPeerInfo } from './client/region-info.js';
export type { RegionRefusalReason } from './client/region-refusals.js';
export type { ScanEntry } from './client/scan.js';
export { STORE_STATES, type StoreInfo, type StoreState } from './client/store-info.js';
export type { KeyLock, KeyVersion, KeyVersions, VersionKind } from './client/txn/key-versions.js';
export type { ReadOptions, Snapshot } from './client/txn/snapshot.js';
export type { Transaction } from './client/txn/transaction.js';
export type {
  BeginOptions,
  SnapshotOptions,
  TransactionOptions,
  VersionsOptions,
} from './client/txn/transactions.js';
export { TroupeError, type TroupeErrorCode } from './errors.js';
export { REGION_STATES, type RegionPlacementState } from './region-states.js';

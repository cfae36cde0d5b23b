/** Snapshots of regions: taken, carried between stores, and brought in. */
export {
  DEFAULT_SNAPSHOT_LIMITS,
  type RegionSnapshotsOptions,
  type SnapshotCounters,
  type SnapshotLimits,
  type SnapshotTraffic,
  type TransferStatus,
} from './options.js';
export type { SnapshotGroup } from './outgoing.js';
export { RegionSnapshots } from './region-snapshots.js';

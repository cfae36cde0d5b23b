/**
 * What a store keeps on its disk: an ordered store of bytes (`Engine`: RocksDB, or `SimulatedDisk`, which loses power when
 * a spec says so), and on top of it Raft logs and region states, the format of keys, and the records of transactions.
 *
 * - `openRocksEngine` opens a data directory. It looks at the write-ahead files first, trims what a power loss has torn off, and
 *   throws a `StorageCorruptionError` for any other damage.
 * - A write is two steps: `engine.write(batch)` makes it visible, `engine.sync()` makes it durable. Nothing is acknowledged between.
 * - `openStandalone` and `RawOperations` are a small key-value store on one disk, without Raft.
 * - `evaluate`, `scanSnapshot` and `collectGarbage` are the store's side of Percolator.
 *
 * Nothing here talks to a network. `StorageError` is what is thrown, with a `code`; after a failed write or sync the engine takes nothing
 * any more (`EngineFailedError`), since nobody can know what is on the disk.
 *
 * @module troupe/storage
 */
export { writeDamageMarker } from './damage-marker.js';
export type { WalPosition } from './durability.js';
export * from './engine.js';
export {
  DirectoryLockedError,
  EngineFailedError,
  StorageCorruptionError,
  StorageError,
  type StorageErrorCode,
} from './errors.js';
export { loadIdentity, STORAGE_FORMAT, type StoreIdentity, saveIdentity } from './identity.js';
export * from './keys.js';
export * from './mvcc/index.js';
export { type ApplyState, type GroupState, RaftLog, type StoredGroup, type Truncated } from './raft-log.js';
export { type CompareAndSwapResult, RawOperations, type RawPair, type RawScan } from './raw-operations.js';
export { decodeRawValue, encodeRawValue, type RawValue } from './raw-value.js';
export { hashRegion, RegionSnapshotReader, regionBounds, type SnapshotChunk } from './region-snapshot.js';
export {
  deleteRegionData,
  deleteRegionState,
  loadCollectedTombstones,
  loadRegionState,
  loadRegionStates,
  type RegionLocalState,
  saveCollectedTombstones,
  saveRegionState,
} from './region-state.js';
export { openRocksEngine, type RocksEngineOptions } from './rocks-engine.js';
export { SimulatedDisk, type SimulatedDiskOptions } from './simulated-disk.js';
export { SNAPSHOT_CHUNK_BYTES, SNAPSHOT_FAMILIES, type SnapshotCursor } from './snapshot-chunk.js';
export { SnapshotFile } from './snapshot-file.js';
export { installRegionSnapshot } from './snapshot-install.js';
export {
  parseSnapshotFileName,
  type SnapshotIdentity,
  type SnapshotTotals,
  snapshotFileName,
} from './snapshot-records.js';
export {
  approximateRegionSize,
  findMiddleKey,
  findSplitKeys,
  type SplitFindings,
  type SplitLimits,
} from './split-keys.js';
export {
  type Modify,
  openStandalone,
  StandaloneStorage,
  type Storage,
  type StorageItem,
  type StorageIterator,
  type StorageReader,
} from './standalone.js';
export type { WalCheckLogger } from './wal-check.js';

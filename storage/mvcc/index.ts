/** Multi-version concurrency: records, commands, reads and garbage collection of transactions. */
export { checkCommand, keysOf } from './check-command.js';
export { physicalTime } from './check-txn-status.js';
export { collectGarbage, type GarbageResult } from './collect-garbage.js';
export { describeKey } from './describe-key.js';
export { evaluate } from './evaluate.js';
export { decodeLock, encodeLock } from './lock-record.js';
export { MvccEngine } from './mvcc-engine.js';
export { readPoints } from './read-points.js';
export { MvccReader, type ValuePlace, type WriteQuery } from './reader.js';
export { type RecentKey, RecentKeys, type RecordChange, type RecordFamily } from './recent-keys.js';
export type {
  EvaluationRequest,
  GarbageTask,
  KeyDescription,
  KnownLocks,
  LockScan,
  LockScanResult,
  PointRead,
  PointResult,
  SnapshotPair,
  SnapshotScan,
  SnapshotScanResult,
} from './requests.js';
export { scanLocks } from './scan-locks.js';
export { scanSnapshot } from './scan-snapshot.js';
export * from './types.js';
export { type ReadView, type Sight, sightOf } from './visibility.js';
export { decodeWrite, encodeWrite } from './write-record.js';

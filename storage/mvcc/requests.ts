/** What the rest of the house asks of this folder, beside commands: their shapes, one place. */
import type { CommittedWrite, LockInfo, MvccCommand, MvccError, Timestamp } from './types.js';

/** A command under latches: the keys of those that are evaluated together are disjoint. */
export interface EvaluationRequest {
  readonly command: MvccCommand;
  /**
   * Of a prewrite with async commit or in one phase: the smallest timestamp that it may commit at, above every read that
   * was answered so far. 0 where that is not known: then it is answered as one of two phases.
   */
  readonly commitFloor: Timestamp;
}

/** Which locks of other transactions a read knows the fate of. */
export interface KnownLocks {
  /** Start timestamps of transactions that are rolled back, or commit above the read's timestamp: as if not there. */
  readonly bypass?: ReadonlySet<Timestamp>;
  /** Start timestamps of transactions that are committed at or below the read's timestamp: their locks are read. */
  readonly access?: ReadonlySet<Timestamp>;
}

export interface PointRead extends KnownLocks {
  readonly key: Uint8Array;
  readonly ts: Timestamp;
}

/** Absent keys have the value `undefined`. */
export type PointResult = { readonly value: Uint8Array | undefined } | { readonly error: MvccError };

/** User keys, `start` inclusive, `end` exclusive; empty bounds are open. */
export interface SnapshotScan extends KnownLocks {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly ts: Timestamp;
  /** At most this many pairs, those with errors among them. */
  readonly limit: number;
  /** Stops after the pair that reaches this many bytes of keys and values. */
  readonly maxBytes: number;
  /** Descending from `end`. */
  readonly reverse: boolean;
  /** Values come back empty. */
  readonly keysOnly: boolean;
}

/** A key with its value, or why it cannot be read. */
export type SnapshotPair =
  | { readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly key: Uint8Array; readonly error: MvccError };

/** A page of a range at one timestamp. */
export interface SnapshotScanResult {
  readonly pairs: readonly SnapshotPair[];
  /** It stopped at a limit before the range ended: continue after (or before) `lastKey`. */
  readonly more: boolean;
  /** The last user key looked at, whether or not it is among the pairs; `undefined` when there was none. */
  readonly lastKey: Uint8Array | undefined;
}

/** A range to look for locks in. */
export interface LockScan {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  /** Locks of transactions that began at or before it. */
  readonly maxTs: Timestamp;
  readonly limit: number;
}

/** A page of the locks of a range. */
export interface LockScanResult {
  readonly locks: readonly LockInfo[];
  /** It stopped at a limit: continue after `lastKey`. */
  readonly more: boolean;
  /** The last locked key looked at, whether or not its lock is among the locks; `undefined` when there was none. */
  readonly lastKey: Uint8Array | undefined;
}

/** Everything that is stored for one key, newest first. */
export interface KeyDescription {
  readonly lock: LockInfo | undefined;
  readonly writes: readonly CommittedWrite[];
  /** Of the family `default`. */
  readonly values: readonly { readonly startTs: Timestamp; readonly value: Uint8Array }[];
  /** There are more records than were asked for. */
  readonly more: boolean;
}

/** A range to look for old versions in, with bounds for one step. */
export interface GarbageTask {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  /** Nobody reads below it any more, and no lock of a transaction that began at or below it is left. */
  readonly safePoint: Timestamp;
  /** Keys to look at, at most. */
  readonly maxKeys: number;
  /** Bytes of the changes, roughly, after which it stops. */
  readonly maxBytes: number;
}

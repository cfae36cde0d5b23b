/**
 * What a transactional command is asked, and what comes of it (Percolator, and TiKV's optimistic transactions).
 *
 * Keys are user keys everywhere here; only `MvccChange` names stored ones. Timestamps are the oracle's.
 */
import type { ColumnFamily } from '../engine.js';

/** A timestamp of the oracle: Unix milliseconds shifted left by 18, and a counter below. It does not fit a `number`. */
export type Timestamp = bigint;

/** A read at it sees the newest version, whatever comes; nobody is given it. */
export const MAX_TIMESTAMP: Timestamp = 2n ** 64n - 1n;

/** Bytes of a value that stands in its lock and write record, and not in a record of its own. */
export const MAX_SHORT_VALUE_BYTES = 255;

/** What a lock is going to make of its key. `lock` leaves it as it is; pessimistic locks are to come. */
export type LockKind = 'put' | 'delete' | 'lock' | 'pessimistic';

/** In the family `lock`, under the key without a timestamp. */
export interface Lock {
  readonly kind: LockKind;
  /** The key whose lock or write record decides what becomes of the transaction. */
  readonly primary: Uint8Array;
  readonly startTs: Timestamp;
  /** Milliseconds, from the physical part of `startTs`. */
  readonly ttl: number;
  readonly shortValue: Uint8Array | undefined;
  /** Keys that the transaction writes, as its client said; 0 where it did not. */
  readonly txnSize: number;
  /** It commits at this timestamp at the earliest; 0 for none. */
  readonly minCommitTs: Timestamp;
  /** It is committed once all of its keys are locked. */
  readonly useAsyncCommit: boolean;
  /** Of the primary of an async commit: the transaction's other keys. */
  readonly secondaries: readonly Uint8Array[];
  /** Rollbacks of other transactions that this lock's commit record would write over. */
  readonly rollbackTs: readonly Timestamp[];
}

/** What a record of the family `write` says of its key. */
export type WriteKind = 'put' | 'delete' | 'lock' | 'rollback';

/** In the family `write`, under the key and its commit timestamp; a rollback under its start timestamp. */
export interface Write {
  readonly kind: WriteKind;
  readonly startTs: Timestamp;
  readonly shortValue: Uint8Array | undefined;
  /** A transaction that began at this record's commit timestamp is rolled back, and this record stands in its place. */
  readonly hasOverlappedRollback: boolean;
  /** A rollback that must not be collapsed: that of a primary. */
  readonly isProtected: boolean;
}

export interface CommittedWrite extends Write {
  readonly commitTs: Timestamp;
}

/** A lock as those see it who meet it. */
export interface LockInfo extends Lock {
  readonly key: Uint8Array;
}

/** What a transaction does with a key; `insert` and `checkNotExists` demand that it has no value. */
export type MutationKind = 'put' | 'delete' | 'lock' | 'insert' | 'checkNotExists';

/** One key that a transaction writes or locks. */
export interface Mutation {
  readonly kind: MutationKind;
  readonly key: Uint8Array;
  /** Empty where the kind has none. */
  readonly value: Uint8Array;
}

/** Why a command was refused, or a key not read: a value, not an exception. */
export type MvccError =
  | { readonly code: 'key-is-locked'; readonly lock: LockInfo }
  | {
      readonly code: 'write-conflict';
      readonly reason: 'optimistic' | 'self-rolled-back';
      readonly key: Uint8Array;
      readonly primary: Uint8Array;
      readonly startTs: Timestamp;
      readonly conflictStartTs: Timestamp;
      readonly conflictCommitTs: Timestamp;
    }
  | { readonly code: 'already-exists'; readonly key: Uint8Array }
  /** To be committed or kept alive, and there is no lock of the transaction: it is rolled back, or was never prewritten. */
  | { readonly code: 'txn-lock-not-found'; readonly key: Uint8Array; readonly startTs: Timestamp }
  | { readonly code: 'txn-not-found'; readonly primary: Uint8Array; readonly startTs: Timestamp }
  /** To be rolled back, and it is committed. */
  | { readonly code: 'committed'; readonly startTs: Timestamp; readonly commitTs: Timestamp }
  | {
      readonly code: 'commit-ts-expired';
      readonly key: Uint8Array;
      readonly startTs: Timestamp;
      readonly attemptedCommitTs: Timestamp;
      readonly minCommitTs: Timestamp;
    }
  | { readonly code: 'commit-ts-too-large'; readonly commitTs: Timestamp }
  | { readonly code: 'primary-mismatch'; readonly lock: LockInfo }
  /** The request contradicts itself: nothing was looked at. */
  | { readonly code: 'invalid'; readonly message: string };

/** A change to a stored key; without a value it is deleted. */
export interface MvccChange {
  readonly cf: Extract<ColumnFamily, 'default' | 'lock' | 'write'>;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** Locks keys for a transaction (Percolator 2.2); `ttl` in milliseconds, `txnSize` in keys of the whole transaction. */
export interface PrewriteCommand {
  readonly kind: 'prewrite';
  readonly mutations: readonly Mutation[];
  readonly primary: Uint8Array;
  readonly startTs: Timestamp;
  readonly ttl: number;
  readonly txnSize: number;
  readonly minCommitTs: Timestamp;
  readonly maxCommitTs: Timestamp;
  readonly skipConstraintCheck: boolean;
  /** The primary's request names the secondaries; the others' have none. */
  readonly asyncCommit: { readonly secondaries: readonly Uint8Array[] } | undefined;
  readonly tryOnePc: boolean;
}

/** Turns the locks of a transaction into records at `commitTs`. */
export interface CommitCommand {
  readonly kind: 'commit';
  readonly keys: readonly Uint8Array[];
  readonly startTs: Timestamp;
  readonly commitTs: Timestamp;
}

/** Removes the locks of a transaction, and keeps it from locking these keys later. */
export interface RollbackCommand {
  readonly kind: 'rollback';
  readonly keys: readonly Uint8Array[];
  readonly startTs: Timestamp;
}

/** Asks the primary what became of a transaction, and rolls it back when its time is over. */
export interface CheckTxnStatusCommand {
  readonly kind: 'checkTxnStatus';
  readonly primary: Uint8Array;
  readonly lockTs: Timestamp;
  readonly callerStartTs: Timestamp;
  readonly currentTs: Timestamp;
  readonly rollbackIfNotExist: boolean;
  readonly forceSyncCommit: boolean;
  readonly verifyIsPrimary: boolean;
}

/** Asks whether the keys of an async commit are all locked; those that are not can be no more. */
export interface CheckSecondaryLocksCommand {
  readonly kind: 'checkSecondaryLocks';
  readonly keys: readonly Uint8Array[];
  readonly startTs: Timestamp;
}

/** Of locks on `keys` whose transactions are in `statuses`: commit timestamp by start timestamp, 0 for a rollback. */
export interface ResolveLockCommand {
  readonly kind: 'resolveLock';
  readonly keys: readonly Uint8Array[];
  readonly statuses: ReadonlyMap<Timestamp, Timestamp>;
}

/** Lets the primary lock live `adviseTtl` milliseconds, if it would not live longer anyway. */
export interface TxnHeartBeatCommand {
  readonly kind: 'txnHeartBeat';
  readonly primary: Uint8Array;
  readonly startTs: Timestamp;
  readonly adviseTtl: number;
}

/** What changes records of transactions. */
export type MvccCommand =
  | PrewriteCommand
  | CommitCommand
  | RollbackCommand
  | CheckTxnStatusCommand
  | CheckSecondaryLocksCommand
  | ResolveLockCommand
  | TxnHeartBeatCommand;

/** What became of a transaction, as its primary tells. */
export type TxnStatus =
  | { readonly state: 'locked'; readonly lock: LockInfo; readonly action: 'none' | 'min-commit-ts-pushed' }
  | { readonly state: 'committed'; readonly commitTs: Timestamp }
  | { readonly state: 'rolled-back'; readonly action: 'none' | 'ttl-expired' | 'lock-not-exist' };

/** What a command comes to: its changes are proposed as one entry, its reply is given when that is applied. */
export interface MvccOutcome {
  readonly changes: readonly MvccChange[];
  /** The command is refused when there are any: then it changes nothing. */
  readonly errors: readonly MvccError[];
  readonly reply: MvccReply;
}

/** What a command answers when it was not refused. */
export type MvccReply =
  /** `minCommitTs` is 0 where it is no async commit (any more), `onePcCommitTs` where it is not committed. */
  | { readonly kind: 'prewrite'; readonly minCommitTs: Timestamp; readonly onePcCommitTs: Timestamp }
  | { readonly kind: 'commit'; readonly commitTs: Timestamp }
  | { readonly kind: 'checkTxnStatus'; readonly status: TxnStatus }
  | {
      readonly kind: 'checkSecondaryLocks';
      readonly locks: readonly LockInfo[];
      /** Where a lock is missing: 0 when the transaction is rolled back. */
      readonly commitTs: Timestamp;
    }
  | { readonly kind: 'txnHeartBeat'; readonly ttl: number }
  | { readonly kind: 'rollback' | 'resolveLock' };

import {
  type Lock,
  type LockInfo,
  type LockKind,
  type MvccError,
  StorageError,
  type WriteKind,
} from '../../../storage/index.js';
import { kvrpcpb } from '../../proto/index.js';

const { Op, WriteConflictReason } = kvrpcpb;

const LOCK_OPS = { put: Op.Put, delete: Op.Del, lock: Op.Lock, pessimistic: Op.PessimisticLock } as const;
const WRITE_OPS = { put: Op.Put, delete: Op.Del, lock: Op.Lock, rollback: Op.Rollback } as const;

export function lockOp(kind: LockKind): kvrpcpb.Op {
  return LOCK_OPS[kind];
}

export function writeOp(kind: WriteKind): kvrpcpb.Op {
  return WRITE_OPS[kind];
}

export function lockInfo(lock: LockInfo): kvrpcpb.LockInfo {
  return {
    primaryLock: lock.primary,
    lockVersion: lock.startTs,
    key: lock.key,
    lockTtl: lock.ttl,
    txnSize: lock.txnSize,
    lockType: lockOp(lock.kind),
    lockForUpdateTs: 0n,
    useAsyncCommit: lock.useAsyncCommit,
    minCommitTs: lock.minCommitTs,
    secondaries: lock.secondaries,
  };
}

/** A lock as `mvccGetByKey` shows it. */
export function storedLock(lock: Lock): kvrpcpb.MvccLock {
  return {
    type: lockOp(lock.kind),
    startTs: lock.startTs,
    primary: lock.primary,
    shortValue: lock.shortValue ?? NO_BYTES,
    ttl: lock.ttl,
    forUpdateTs: 0n,
    txnSize: lock.txnSize,
    useAsyncCommit: lock.useAsyncCommit,
    secondaries: lock.secondaries,
    minCommitTs: lock.minCommitTs,
  };
}

const NO_BYTES = new Uint8Array(0);

/** One of the error's kinds. */
function only(kind: Partial<kvrpcpb.KeyError>): kvrpcpb.KeyError {
  return { retryable: '', abort: '', invalid: '', ...kind };
}

/** The transaction or read cannot be: it has to be begun anew. */
export function abort(sentence: string): kvrpcpb.KeyError {
  return only({ abort: sentence });
}

/** What could be read at the timestamp may be gone. */
export function belowSafePoint(timestamp: bigint, safePoint: bigint): kvrpcpb.KeyError {
  return only({
    abort: `what was there at ${timestamp} may be gone, the safe point is ${safePoint}: begin a new transaction`,
    belowSafePoint: { timestamp, safePoint },
  });
}

/** The request contradicts itself: to send it again does not help. */
export function invalid(sentence: string): kvrpcpb.KeyError {
  return only({ invalid: sentence });
}

/** Why a command was refused, or a key not read, as the wire has it. */
export function keyError(error: MvccError): kvrpcpb.KeyError {
  switch (error.code) {
    case 'key-is-locked':
      return only({ locked: lockInfo(error.lock) });
    case 'write-conflict':
      return only({
        conflict: {
          startTs: error.startTs,
          conflictTs: error.conflictStartTs,
          key: error.key,
          primary: error.primary,
          conflictCommitTs: error.conflictCommitTs,
          reason:
            error.reason === 'optimistic'
              ? WriteConflictReason.Optimistic
              : WriteConflictReason.SelfRolledBack,
        },
      });
    case 'already-exists':
      return only({ alreadyExist: { key: error.key } });
    case 'txn-lock-not-found':
      return only({ txnLockNotFound: { key: error.key } });
    case 'txn-not-found':
      return only({ txnNotFound: { startTs: error.startTs, primaryKey: error.primary } });
    case 'committed':
      return abort(
        `the transaction that began at ${error.startTs} is committed at ${error.commitTs}: it cannot be rolled back`,
      );
    case 'commit-ts-expired': {
      const { startTs, attemptedCommitTs, key, minCommitTs } = error;
      return only({ commitTsExpired: { startTs, attemptedCommitTs, key, minCommitTs } });
    }
    case 'commit-ts-too-large':
      return only({ commitTsTooLarge: { commitTs: error.commitTs } });
    case 'primary-mismatch':
      return only({ primaryMismatch: { lockInfo: lockInfo(error.lock) } });
    case 'invalid':
      return invalid(error.message);
  }
}

/** Bytes of a lock on the wire beside its keys, at most. */
const LOCK_BYTES = 96;

/** Bytes of an error in a reply, roughly: a lock names its primary, and maybe all other keys. */
export function errorBytes(error: kvrpcpb.KeyError | undefined): number {
  return error === undefined ? 0 : LOCK_BYTES + (error.locked === undefined ? 0 : lockBytes(error.locked));
}

/** Bytes of a lock in a reply, roughly. */
export function lockBytes({ key, primaryLock, secondaries }: kvrpcpb.LockInfo): number {
  return secondaries.reduce((sum, one) => sum + one.length + 4, LOCK_BYTES + key.length + primaryLock.length);
}

/** Records that cannot be read: the trouble of whoever asks for them, where the engine itself goes on. */
export function isDamage(error: unknown): error is StorageError {
  return error instanceof StorageError && (error.code === 'corruption' || error.code === 'invalid-key');
}

/** What became of a transaction, asked at its primary (TiKV's `actions/check_txn_status.rs`). */
import { isPrimary } from './commit.js';
import { encodeLock } from './lock-record.js';
import { done, type Evaluation, lockInfo, refused, subjectOf } from './outcome.js';
import type { ReadPlan } from './read-plan.js';
import { askLockRollback, markLock, rollBackLock, writeRollback } from './rollback.js';
import {
  type CheckTxnStatusCommand,
  type Lock,
  MAX_TIMESTAMP,
  type MvccChange,
  type MvccError,
  type MvccOutcome,
  type Timestamp,
  type TxnStatus,
} from './types.js';
import type { Subject } from './versions.js';

/** Milliseconds. */
export function physicalTime(ts: Timestamp): bigint {
  return ts >> 18n;
}

export function* checkTxnStatus(command: CheckTxnStatusCommand, plan: ReadPlan): Evaluation {
  const subject = subjectOf(command.primary, plan);
  yield;
  const lock = subject.lock.value;
  if (lock?.startTs !== command.lockTs) return yield* withoutLock(command, subject, lock, plan);
  if (command.verifyIsPrimary && !isPrimary(subject, lock)) {
    return unknown({ code: 'primary-mismatch', lock: lockInfo(subject.key, lock) });
  }
  // Whether an async commit is rolled back, its secondaries decide.
  if (lock.useAsyncCommit && !command.forceSyncCommit) return told(locked(subject, lock, 'none'));
  if (isExpired(lock, command.currentTs)) {
    const one = askLockRollback(subject, lock, plan);
    yield;
    const changes: MvccChange[] = [];
    rollBackLock(one, changes);
    return told({ state: 'rolled-back', action: 'ttl-expired' }, changes);
  }
  return alive(command, subject, lock);
}

/** A lock that ends exactly now is not expired. */
function isExpired(lock: Lock, currentTs: Timestamp): boolean {
  return physicalTime(lock.startTs) + BigInt(lock.ttl) < physicalTime(currentTs);
}

/** The caller may read past the lock once that cannot be committed at or below the caller's timestamp. */
function alive(command: CheckTxnStatusCommand, subject: Subject, lock: Lock): MvccOutcome {
  const { callerStartTs, currentTs } = command;
  // One that reads the newest goes past locks of primaries anyway.
  if (callerStartTs === MAX_TIMESTAMP) return told(locked(subject, lock, 'min-commit-ts-pushed'));
  // Without an earliest timestamp its client does not know that it may be pushed.
  if (lock.minCommitTs === 0n || callerStartTs === 0n) return told(locked(subject, lock, 'none'));
  if (lock.minCommitTs > callerStartTs) return told(locked(subject, lock, 'min-commit-ts-pushed'));
  const above = callerStartTs + 1n;
  const pushed = { ...lock, minCommitTs: above > currentTs ? above : currentTs };
  return told(locked(subject, pushed, 'min-commit-ts-pushed'), [
    { cf: 'lock', key: subject.stored, value: encodeLock(pushed) },
  ]);
}

function* withoutLock(
  { lockTs, rollbackIfNotExist, primary }: CheckTxnStatusCommand,
  subject: Subject,
  other: Lock | undefined,
  plan: ReadPlan,
): Evaluation {
  const record = plan.record(subject.stored, lockTs);
  yield;
  const found = record.value;
  if (found.state === 'committed') return told({ state: 'committed', commitTs: found.commitTs });
  if (found.state === 'rolled-back') return told({ state: 'rolled-back', action: 'none' });
  if (!rollbackIfNotExist) return unknown({ code: 'txn-not-found', primary, startTs: lockTs });
  const changes: MvccChange[] = [];
  writeRollback(subject, { startTs: lockTs, isProtected: true, ...found }, changes);
  if (other && !found.overlapping) markLock(subject, other, lockTs, changes);
  return told({ state: 'rolled-back', action: 'lock-not-exist' }, changes);
}

function locked(subject: Subject, lock: Lock, action: 'none' | 'min-commit-ts-pushed'): TxnStatus {
  return { state: 'locked', lock: lockInfo(subject.key, lock), action };
}

function told(status: TxnStatus, changes: readonly MvccChange[] = []): MvccOutcome {
  return done({ kind: 'checkTxnStatus', status }, changes);
}

function unknown(error: MvccError): MvccOutcome {
  return refused({ kind: 'checkTxnStatus', status: { state: 'rolled-back', action: 'none' } }, [error]);
}

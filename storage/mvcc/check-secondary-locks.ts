/** Whether every key of an async commit is locked, which is when it is committed (TiKV's `check_secondary_locks.rs`). */
import { done, type Evaluation, type LockedSubject, lockInfo, subjectsOf } from './outcome.js';
import type { Answer, ReadPlan, TxnRecord } from './read-plan.js';
import { markLock, writeRollback } from './rollback.js';
import type { CheckSecondaryLocksCommand, LockInfo, MvccChange, MvccOutcome, Timestamp } from './types.js';

/** Where a lock and every record is missing, a protected rollback sees to it that no prewrite comes after all. */
export function* checkSecondaryLocks(
  { keys, startTs }: CheckSecondaryLocksCommand,
  plan: ReadPlan,
): Evaluation {
  const subjects = subjectsOf(keys, plan);
  yield;
  const locks: LockInfo[] = [];
  const missing: { readonly subject: LockedSubject; readonly record: Answer<TxnRecord> }[] = [];
  for (const subject of subjects) {
    const lock = subject.lock.value;
    if (lock?.startTs === startTs) locks.push(lockInfo(subject.key, lock));
    else missing.push({ subject, record: plan.record(subject.stored, startTs) });
  }
  if (missing.length === 0) return told(locks, 0n);
  yield;
  // One committed key decides; nothing may be rolled back then.
  for (const { record } of missing) {
    if (record.value.state === 'committed') return told(locks, record.value.commitTs);
  }
  const changes: MvccChange[] = [];
  for (const { subject, record } of missing) {
    const found = record.value;
    if (found.state !== 'none') continue;
    writeRollback(subject, { startTs, isProtected: true, ...found }, changes);
    const other = subject.lock.value;
    if (other && !found.overlapping) markLock(subject, other, startTs, changes);
  }
  return told(locks, 0n, changes);
}

function told(
  locks: readonly LockInfo[],
  commitTs: Timestamp,
  changes: readonly MvccChange[] = [],
): MvccOutcome {
  return done({ kind: 'checkSecondaryLocks', locks, commitTs }, changes);
}

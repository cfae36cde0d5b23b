/**
 * Rollbacks (TiKV's `actions/cleanup.rs` and `check_txn_status.rs`).
 *
 * A rollback leaves a record under the transaction's start timestamp, so that a prewrite that comes late finds it. Where
 * another transaction is committed at that timestamp, its record carries the rollback as a flag; where the lock of one
 * with async commit may yet be, the lock carries it. Those of primaries are protected: they are the transaction's fate.
 * (In TiKV those of optimistic primaries are not: a commit at the same timestamp may write over them, and a prewrite
 * delivered twice would pass.) Others are collapsed, so that a contended key keeps only the newest.
 */
import { withTimestamp } from '../keys.js';
import { isPrimary } from './commit.js';
import { encodeLock } from './lock-record.js';
import { done, type Evaluation, refused, subjectsOf } from './outcome.js';
import type { Answer, ReadPlan, TxnRecord } from './read-plan.js';
import type { CommittedWrite, Lock, MvccChange, MvccError, RollbackCommand, Timestamp } from './types.js';
import type { Subject } from './versions.js';
import { encodeWrite } from './write-record.js';

/** Repeats succeed; a committed key refuses (`committed`). */
export function* rollback({ keys, startTs }: RollbackCommand, plan: ReadPlan): Evaluation {
  const subjects = subjectsOf(keys, plan);
  yield;
  const changes: MvccChange[] = [];
  const errors: MvccError[] = [];
  const locked: LockRollback[] = [];
  const unlocked: { readonly subject: Subject; readonly record: Answer<TxnRecord> }[] = [];
  for (const subject of subjects) {
    const lock = subject.lock.value;
    if (lock?.startTs === startTs) locked.push(askLockRollback(subject, lock, plan));
    else unlocked.push({ subject, record: plan.record(subject.stored, startTs) });
  }
  if (subjects.length > 0) yield;
  for (const one of locked) rollBackLock(one, changes);
  for (const { subject, record } of unlocked) {
    const found = record.value;
    if (found.state === 'committed') errors.push({ code: 'committed', startTs, commitTs: found.commitTs });
    if (found.state !== 'none') continue;
    writeRollback(subject, { startTs, isProtected: false, ...found }, changes);
  }
  return errors.length > 0 ? refused({ kind: 'rollback' }, errors) : done({ kind: 'rollback' }, changes);
}

/** A transaction's own lock, with the newest record at or below its start timestamp asked for. */
export interface LockRollback {
  readonly subject: Subject;
  readonly lock: Lock;
  readonly newest: Answer<CommittedWrite | undefined>;
}

export function askLockRollback(subject: Subject, lock: Lock, plan: ReadPlan): LockRollback {
  return { subject, lock, newest: plan.newest(subject.stored, lock.startTs) };
}

/** Adds what takes back a prewrite. */
export function rollBackLock({ subject, lock, newest }: LockRollback, changes: MvccChange[]): void {
  const { startTs } = lock;
  if (lock.kind === 'put' && !lock.shortValue) {
    changes.push({ cf: 'default', key: withTimestamp(subject.stored, startTs), value: undefined });
  }
  const found = newest.value;
  const stands = found?.commitTs === startTs;
  writeRollback(
    subject,
    {
      startTs,
      isProtected: isPrimary(subject, lock),
      overlapping: stands ? found : undefined,
      previous: stands ? undefined : found,
    },
    changes,
  );
  changes.push({ cf: 'lock', key: subject.stored, value: undefined });
}

export interface RollbackRecord {
  readonly startTs: Timestamp;
  readonly isProtected: boolean;
  readonly overlapping: CommittedWrite | undefined;
  readonly previous: CommittedWrite | undefined;
}

/** Adds the record of a rollback, in place of an older one that nobody needs any more. */
export function writeRollback(subject: Subject, record: RollbackRecord, changes: MvccChange[]): void {
  const { startTs, isProtected, overlapping, previous } = record;
  const key = withTimestamp(subject.stored, startTs);
  if (overlapping?.kind === 'rollback') return;
  if (overlapping) {
    changes.push({ cf: 'write', key, value: encodeWrite({ ...overlapping, hasOverlappedRollback: true }) });
    return;
  }
  const value = encodeWrite({
    kind: 'rollback',
    startTs,
    shortValue: undefined,
    hasOverlappedRollback: false,
    isProtected,
  });
  changes.push({ cf: 'write', key, value });
  if (previous?.kind === 'rollback' && !previous.isProtected) {
    changes.push({ cf: 'write', key: withTimestamp(subject.stored, previous.commitTs), value: undefined });
  }
}

/**
 * Notes a protected rollback in another transaction's lock, if that may be committed at the very timestamp: only an
 * async commit has a timestamp that the oracle did not give to it alone.
 */
export function markLock(subject: Subject, lock: Lock, startTs: Timestamp, changes: MvccChange[]): void {
  if (!lock.useAsyncCommit || startTs < lock.minCommitTs) return;
  const marked = { ...lock, rollbackTs: [...lock.rollbackTs, startTs] };
  changes.push({ cf: 'lock', key: subject.stored, value: encodeLock(marked) });
}

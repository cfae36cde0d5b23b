/** The second phase: a lock becomes a write record (TiKV's `actions/commit.rs`). */
import { equalBytes, withTimestamp } from '../keys.js';
import { done, type Evaluation, refused, subjectsOf } from './outcome.js';
import type { Answer, ReadPlan, TxnRecord } from './read-plan.js';
import type { CommitCommand, Lock, MvccChange, MvccError, Timestamp, WriteKind } from './types.js';
import type { Subject } from './versions.js';
import { encodeWrite } from './write-record.js';

/** Repeats succeed: a key that is committed already is left as it is. */
export function* commit(command: CommitCommand, plan: ReadPlan): Evaluation {
  const { startTs, commitTs } = command;
  const subjects = subjectsOf(command.keys, plan);
  yield;
  const changes: MvccChange[] = [];
  const errors: MvccError[] = [];
  const unlocked: { readonly key: Uint8Array; readonly record: Answer<TxnRecord> }[] = [];
  for (const subject of subjects) {
    const lock = subject.lock.value;
    if (lock?.startTs !== startTs) {
      unlocked.push({ key: subject.key, record: plan.record(subject.stored, startTs, commitTs) });
      continue;
    }
    const error = commitLock(subject, lock, commitTs, changes);
    if (error) errors.push(error);
  }
  if (unlocked.length > 0) yield;
  for (const { key, record } of unlocked) {
    if (record.value.state !== 'committed') errors.push({ code: 'txn-lock-not-found', key, startTs });
  }
  const reply = { kind: 'commit', commitTs } as const;
  return errors.length > 0 ? refused(reply, errors) : done(reply, changes);
}

/** Adds what commits a key that its transaction has locked, unless the lock forbids it. */
export function commitLock(
  subject: Subject,
  lock: Lock,
  commitTs: Timestamp,
  changes: MvccChange[],
): MvccError | undefined {
  if (commitTs < lock.minCommitTs) {
    return {
      code: 'commit-ts-expired',
      key: subject.key,
      startTs: lock.startTs,
      attemptedCommitTs: commitTs,
      minCommitTs: lock.minCommitTs,
    };
  }
  changes.push(
    {
      cf: 'write',
      key: withTimestamp(subject.stored, commitTs),
      value: encodeWrite({
        kind: writeKind(lock),
        startTs: lock.startTs,
        shortValue: lock.shortValue,
        // A rollback stands there, or would: both have to be seen.
        hasOverlappedRollback: lock.rollbackTs.includes(commitTs),
        isProtected: false,
      }),
    },
    { cf: 'lock', key: subject.stored, value: undefined },
  );
  return undefined;
}

/** A pessimistic lock that was never prewritten changes nothing. */
function writeKind(lock: Lock): WriteKind {
  return lock.kind === 'pessimistic' ? 'lock' : lock.kind;
}

/** Whether the fate of the transaction hangs on this key. */
export function isPrimary(subject: Subject, lock: Lock): boolean {
  return equalBytes(subject.key, lock.primary);
}

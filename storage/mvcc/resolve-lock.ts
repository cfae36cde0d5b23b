/** Locks that a client left behind are committed or rolled back, as their primaries say. */
import { commitLock } from './commit.js';
import { done, type Evaluation, refused, subjectsOf } from './outcome.js';
import type { ReadPlan } from './read-plan.js';
import { askLockRollback, type LockRollback, rollBackLock } from './rollback.js';
import type { MvccChange, MvccError, ResolveLockCommand } from './types.js';

/** Keys without such a lock are left as they are: somebody else was faster. */
export function* resolveLock({ keys, statuses }: ResolveLockCommand, plan: ReadPlan): Evaluation {
  const subjects = subjectsOf(keys, plan);
  yield;
  const changes: MvccChange[] = [];
  const errors: MvccError[] = [];
  const rollbacks: LockRollback[] = [];
  for (const subject of subjects) {
    const lock = subject.lock.value;
    const commitTs = lock && statuses.get(lock.startTs);
    if (!lock || commitTs === undefined) continue;
    if (commitTs === 0n) {
      rollbacks.push(askLockRollback(subject, lock, plan));
      continue;
    }
    const error = commitLock(subject, lock, commitTs, changes);
    if (error) errors.push(error);
  }
  if (errors.length > 0) return refused({ kind: 'resolveLock' }, errors);
  if (rollbacks.length > 0) yield;
  for (const one of rollbacks) rollBackLock(one, changes);
  return done({ kind: 'resolveLock' }, changes);
}

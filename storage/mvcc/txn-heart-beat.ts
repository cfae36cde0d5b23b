/** A client that is still at work makes its primary lock last longer. */
import { encodeLock } from './lock-record.js';
import { done, type Evaluation, refused, subjectOf } from './outcome.js';
import type { ReadPlan } from './read-plan.js';
import type { TxnHeartBeatCommand } from './types.js';

/** The time to live never becomes shorter. */
export function* txnHeartBeat(
  { primary, startTs, adviseTtl }: TxnHeartBeatCommand,
  plan: ReadPlan,
): Evaluation {
  const subject = subjectOf(primary, plan);
  yield;
  const lock = subject.lock.value;
  if (lock?.startTs !== startTs) {
    return refused({ kind: 'txnHeartBeat', ttl: 0 }, [{ code: 'txn-lock-not-found', key: primary, startTs }]);
  }
  if (lock.ttl >= adviseTtl) return done({ kind: 'txnHeartBeat', ttl: lock.ttl });
  return done({ kind: 'txnHeartBeat', ttl: adviseTtl }, [
    { cf: 'lock', key: subject.stored, value: encodeLock({ ...lock, ttl: adviseTtl }) },
  ]);
}

import { escapeKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import type { kvrpcpb } from '../../proto/index.js';

/** What a store says of a key, as people are told. Locks are not for people: they are resolved, or waited for. */
export function keyError(error: kvrpcpb.KeyError): TroupeError {
  const { conflict, alreadyExist, txnLockNotFound, txnNotFound, locked } = error;
  if (conflict !== undefined) {
    const what = `key "${escapeKey(conflict.key)}"`;
    return conflictError(
      conflict.conflictCommitTs > 0n
        ? `Somebody has committed ${what} at ${conflict.conflictCommitTs}, after this transaction began at ${conflict.startTs}: begin it anew.`
        : `Somebody who met the transaction's lock on ${what} has rolled it back: begin it anew.`,
    );
  }
  if (alreadyExist !== undefined) return existsError(alreadyExist.key);
  if (txnLockNotFound !== undefined || txnNotFound !== undefined)
    return conflictError(
      'Somebody has rolled the transaction back, for its client was silent: begin it anew.',
    );
  if (locked !== undefined) return lockedError({ lock: locked });
  if (error.belowSafePoint !== undefined) {
    const { timestamp, safePoint } = error.belowSafePoint;
    return belowSafePointError(
      `What could be read at ${timestamp} is not kept any more (the safe point is ${safePoint}): begin anew and take less time, hold it with a snapshot, or keep old versions for longer (troupe scheduler config gc-life-time).`,
    );
  }
  if (error.invalid !== '') return new TroupeError('invalid-argument', error.invalid);
  if (error.retryable !== '') return conflictError(`${error.retryable}: begin the transaction anew.`);
  if (error.abort !== '') return new TroupeError('failed', `The store cannot do it: ${error.abort}.`);
  return new TroupeError(
    'failed',
    `The store refuses for a reason that this version does not know (${Object.keys(error).join(', ')}); check its version.`,
  );
}

/** Begun anew, the transaction may succeed. */
export function conflictError(message: string): TroupeError {
  return new TroupeError('conflict', message, { reason: 'write-conflict' });
}

/** Whoever reads there is later than old versions are kept. */
export function belowSafePointError(message: string): TroupeError {
  return new TroupeError('failed', message, { reason: 'below-safe-point' });
}

/** The key of an `insert` has a value. */
export function existsError(key: Uint8Array): TroupeError {
  return new TroupeError('conflict', `Key "${escapeKey(key)}" has a value already: it was not inserted.`, {
    reason: 'already-exists',
  });
}

/** A lock that somebody waits for, as far as it is known. */
export interface LockWait {
  readonly lock: kvrpcpb.LockInfo;
  /** Milliseconds since its transaction began. */
  readonly ageMs?: number;
  /** Milliseconds until its time to live ends. */
  readonly leftMs?: number;
}

/** The time ran out before a lock went away. */
export function lockedError(wait: LockWait, cause?: unknown): TroupeError {
  const isWaitWorth = wait.leftMs !== undefined && wait.leftMs > 0;
  const advice = isWaitWorth
    ? 'try again then, or give more time (timeout)'
    : 'try again, or give more time (timeout)';
  return new TroupeError(
    'timeout',
    `${lockSentence(wait)}, and the time to wait for its end ran out: ${advice}.`,
    {
      reason: 'key-is-locked',
      cause,
    },
  );
}

/** Whose lock it is, how old that transaction is and how long it lives, without the sentence's end. */
export function lockSentence({ lock, ageMs, leftMs }: LockWait): string {
  const { key, lockVersion, primaryLock } = lock;
  const age = ageMs === undefined ? '' : `, ${seconds(ageMs)} ago`;
  const life =
    leftMs === undefined
      ? ''
      : `; its time to live ends in ${seconds(leftMs)}, unless its client prolongs it`;
  return `Key "${escapeKey(key)}" is locked by the transaction that began at ${lockVersion} (primary "${escapeKey(primaryLock)}")${age}${life}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

export function isWriteConflict(error: unknown): boolean {
  return error instanceof TroupeError && error.code === 'conflict' && error.reason === 'write-conflict';
}

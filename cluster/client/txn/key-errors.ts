import { escapeKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import type { kvrpcpb } from '../../proto/index.js';

/** What a store says of a key, as people are told. Locks are not for people: they are resolved, or waited for. */
export function keyError(error: kvrpcpb.KeyError): TroupeError {
  const { conflict, alreadyExist, txnLockNotFound, txnNotFound, locked, collected } = error;
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
  if (locked !== undefined) return lockedError(locked);
  if (collected !== undefined) return collectedError(collected.timestamp, collected.safePoint);
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

/** The key of an `insert` has a value. */
export function existsError(key: Uint8Array): TroupeError {
  return new TroupeError('conflict', `Key "${escapeKey(key)}" has a value already: it was not inserted.`, {
    reason: 'already-exists',
  });
}

/** A transaction or a snapshot has outlived what it reads: no repetition helps, only a new one. */
export function collectedError(timestamp: bigint, safePoint?: bigint): TroupeError {
  const past = safePoint === undefined ? '' : ` (the safe point is ${safePoint})`;
  return new TroupeError(
    'failed',
    `What could be read at ${timestamp} is garbage by now${past}, and nothing can be built upon it: begin anew, and where that must last longer, hold a snapshot with a longer ttl or raise gc-life-time.`,
    { reason: 'collected' },
  );
}

/** The time ran out before a lock went away. */
export function lockedError({ key, lockVersion, primaryLock }: kvrpcpb.LockInfo): TroupeError {
  return new TroupeError(
    'timeout',
    `Key "${escapeKey(key)}" is locked by the transaction that began at ${lockVersion} (primary "${escapeKey(primaryLock)}"), and the time to wait for its end ran out: try again, or give more time.`,
  );
}

export function isWriteConflict(error: unknown): boolean {
  return error instanceof TroupeError && error.code === 'conflict' && error.reason === 'write-conflict';
}

/** What a read at a timestamp makes of a lock that it meets (TiKV's `check_ts_conflict_si`). */
import { equalBytes } from '../keys.js';
import type { KnownLocks } from './requests.js';
import { type Lock, MAX_TIMESTAMP, type Timestamp } from './types.js';

/**
 * `passed`: the lock is as if not there. `blocked`: the read cannot know, and its key is locked. `committed`: the lock
 * says what the key is at the read's timestamp.
 */
export type Sight = 'passed' | 'blocked' | 'committed';

export interface ReadView extends KnownLocks {
  readonly ts: Timestamp;
}

/** What a lock on a key means to a read at a timestamp. */
export function sightOf(key: Uint8Array, lock: Lock, { ts, bypass, access }: ReadView): Sight {
  if (lock.kind === 'lock' || lock.kind === 'pessimistic') return 'passed';
  if (lock.startTs > ts || lock.minCommitTs > ts || bypass?.has(lock.startTs)) return 'passed';
  // The newest of a key is what is committed now, and its primary's lock is not.
  if (ts === MAX_TIMESTAMP && !lock.useAsyncCommit && equalBytes(key, lock.primary)) return 'passed';
  return access?.has(lock.startTs) ? 'committed' : 'blocked';
}

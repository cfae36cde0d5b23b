/** Locks of old transactions, for those who resolve them. */
import { keyAfter, txnRange, userKey } from '../keys.js';
import { decodeLock } from './lock-record.js';
import type { MvccReader } from './reader.js';
import type { LockScan, LockScanResult } from './requests.js';
import type { LockInfo } from './types.js';

const PAGE_LOCKS = 256;
/** Locks looked at in one call, at most: it has to be answered before whoever asks takes it for lost. */
const MAX_LOCKS = 2_048;

/** Ascending. It stops early, with `more`, where very many younger locks stand between. */
export async function scanLocks(scan: LockScan, reader: MvccReader): Promise<LockScanResult> {
  const locks: LockInfo[] = [];
  const range = txnRange(scan.start, scan.end);
  let start: Uint8Array = range.start;
  let lastKey: Uint8Array | undefined;
  for (let seen = 0; seen < MAX_LOCKS && locks.length < scan.limit; ) {
    const limit = Math.min(PAGE_LOCKS, MAX_LOCKS - seen, scan.limit - locks.length);
    const page = await reader.engine.scan('lock', {
      start,
      end: range.end,
      limit,
      snapshot: reader.snapshot,
    });
    for (const [i, stored] of page.keys.entries()) {
      const { key } = userKey(stored);
      const lock = decodeLock(page.values[i] as Uint8Array);
      lastKey = key;
      if (lock.startTs <= scan.maxTs) locks.push({ ...lock, key });
    }
    if (!page.more) return { locks, more: false, lastKey };
    seen += page.keys.length;
    start = keyAfter(page.keys[page.keys.length - 1] as Uint8Array);
  }
  return { locks, more: true, lastKey };
}

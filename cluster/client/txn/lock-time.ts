import type { Keyed } from './txn-call.js';

/** Of a lock whose client says nothing more, beyond the age of its transaction. */
const LOCK_TTL_MS = 3_000;
/**
 * Of a large transaction's lock, and what each heartbeat gives. Less than a call takes by default: whoever meets the locks of a
 * client that has died outlives them. TiKV gives 20 s, since its clients send heartbeats for very large transactions only;
 * here they are sent from the first prewrite on, four in that time.
 */
const MANAGED_TTL_MS = 8_000;
/** A transaction of one MiB has so much: its prewrite takes longer. */
const TTL_PER_ROOT_MIB_MS = 6_000;
const MIB = 1024 * 1024;

/** What an async commit's primary can name: its lock is read by everybody who meets one of the others. */
const MAX_ASYNC_KEYS = 256;
const MAX_ASYNC_KEY_BYTES = 4_096;

/**
 * How long a lock lives, in milliseconds from the start of its transaction.
 * @param bytes of the transaction's keys and values
 * @param elapsed milliseconds since its start
 */
export function lockTtlMs(bytes: number, elapsed: number): number {
  const bySize = TTL_PER_ROOT_MIB_MS * Math.sqrt(bytes / MIB);
  return Math.ceil(elapsed + Math.min(MANAGED_TTL_MS, Math.max(LOCK_TTL_MS, bySize)));
}

/** The time to live that a heartbeat asks for, in milliseconds from the start of the transaction. */
export function heartbeatTtlMs(elapsed: number): number {
  return Math.ceil(elapsed + MANAGED_TTL_MS);
}

export function asyncCommitFits(items: readonly Keyed[]): boolean {
  if (items.length > MAX_ASYNC_KEYS) return false;
  let bytes = 0;
  for (const { key } of items) bytes += key.length;
  return bytes <= MAX_ASYNC_KEY_BYTES;
}

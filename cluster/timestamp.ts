/**
 * Timestamps of the cluster: 46 bits of Unix milliseconds (`physical`), then 18 bits that count within one (`logical`).
 * No two are the same, and one that was asked for after another was received is larger.
 */

/** Bits of `logical`. */
export const LOGICAL_BITS = 18;
/** Timestamps that share one millisecond. */
export const TIMESTAMPS_PER_MS = 2 ** LOGICAL_BITS;
/** Milliseconds from 1970 that `physical` can tell: to the year 4199. */
export const PHYSICAL_END = 2 ** 46;
/** Timestamps that one request may ask for. */
export const MAX_TIMESTAMPS_AT_ONCE = 16_384;

const SHIFT = BigInt(LOGICAL_BITS);
const LOGICAL_MASK = (1n << SHIFT) - 1n;

export function composeTimestamp(physical: number, logical: number): bigint {
  return (BigInt(physical) << SHIFT) | BigInt(logical);
}

/** Unix milliseconds. */
export function physicalOf(timestamp: bigint): number {
  return Number(timestamp >> SHIFT);
}

export function logicalOf(timestamp: bigint): number {
  return Number(timestamp & LOGICAL_MASK);
}

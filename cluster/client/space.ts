import { MAX_USER_KEY_BYTES } from '../../storage/keys.js';

/**
 * User keys and stored keys. Regions are ranges of stored keys, which begin with the byte of their space; requests
 * carry user keys. Nothing here copies a key: stored keys are compared as (space, user key).
 */

/** First byte of every stored raw key. */
export const RAW_SPACE = 0x72;

/** First byte of every stored transactional key. */
export const TXN_SPACE = 0x78;

const EMPTY = new Uint8Array(0);

/** Compares the stored key (`space`, `key`) with a region bound: negative, zero or positive. */
export function compareToBound(space: number, key: Uint8Array, bound: Uint8Array): number {
  if (bound.length === 0) return 1;
  const first = (bound[0] ?? 0) - space;
  if (first !== 0) return -first;
  const length = Math.min(key.length, bound.length - 1);
  for (let i = 0; i < length; i++) {
    const difference = (key[i] ?? 0) - (bound[i + 1] ?? 0);
    if (difference !== 0) return difference;
  }
  return key.length - (bound.length - 1);
}

/** The user keys of `space` that lie in a region; an `end` of `undefined` means "to the end of the space". */
export interface UserRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
}

/** What [start, end) of stored keys holds of a space; `undefined` when nothing. */
export function userRangeOf(space: number, start: Uint8Array, end: Uint8Array): UserRange | undefined {
  const startByte = start[0] ?? 0;
  if (start.length > 0 && startByte > space) return undefined;
  const endByte = end[0] ?? 0;
  if (end.length > 0 && (endByte < space || (endByte === space && end.length === 1))) return undefined;
  return {
    start: start.length > 0 && startByte === space ? start.subarray(1) : EMPTY,
    end: end.length > 0 && endByte === space ? end.subarray(1) : undefined,
  };
}

/**
 * A key that lies below `end` (`undefined`: below the end of the space) and above or at every key and every region
 * bound below it: bounds are no longer than the longest stored key, so padding beyond that length passes them all.
 */
export function keyJustBelow(end: Uint8Array | undefined): Uint8Array {
  const length = MAX_USER_KEY_BYTES + 1;
  if (end === undefined) return new Uint8Array(length).fill(0xff);
  const last = end.length - 1;
  if ((end[last] ?? 0) === 0) return end.subarray(0, Math.max(last, 0));
  const below = new Uint8Array(Math.max(length, end.length)).fill(0xff);
  below.set(end);
  below[last] = (end[last] ?? 0) - 1;
  return below;
}

/** Ranges of transactional user keys and of stored keys. */
import { compareBytes, keyAfter, spaceRange, txnKey, userKey } from '../../../storage/index.js';
import type { metapb } from '../../../storage/proto/index.js';

const NO_BYTES = new Uint8Array(0);

/** The transactional keys of a region, as a range of user keys with empty bounds for open ones; `undefined` for none. */
export function txnKeysOf({
  startKey,
  endKey,
}: metapb.Region): { start: Uint8Array; end: Uint8Array } | undefined {
  const space = spaceRange('txn');
  const isOpen = endKey.length === 0 || compareBytes(endKey, space.end) >= 0;
  if (compareBytes(startKey, space.end) >= 0 || (!isOpen && compareBytes(endKey, space.start) <= 0))
    return undefined;
  return {
    start: compareBytes(startKey, space.start) <= 0 ? NO_BYTES : userKey(startKey).key,
    end: isOpen ? NO_BYTES : userKey(endKey).key,
  };
}

/** A range of transactional user keys as a range of stored keys; empty bounds stand for the edges of the space. */
export function txnRange(start: Uint8Array, end: Uint8Array): { start: Uint8Array; end: Uint8Array } {
  const space = spaceRange('txn');
  return {
    start: start.length > 0 ? txnKey(start) : space.start,
    end: end.length > 0 ? txnKey(end) : space.end,
  };
}

/** What of a range was looked at. @param last user key at which the pass stopped */
export function passed(start: Uint8Array, end: Uint8Array, last: Uint8Array | undefined, reverse: boolean) {
  const whole = txnRange(start, end);
  if (last === undefined) return whole;
  const at = txnKey(last);
  return reverse ? { start: at, end: whole.end } : { start: whole.start, end: keyAfter(at) };
}

import { compareBytes, spaceRange, userKey } from '../../storage/keys.js';
import type { metapb } from '../../storage/proto/index.js';
import type { KeyRange } from './lock-sweep.js';

const SPACE = spaceRange('txn');
const OPEN = new Uint8Array(0);

/** The transactional keys of a region, as user keys; `undefined` when there can be none. */
export function txnRangeOf({
  startKey,
  endKey,
}: Pick<metapb.Region, 'startKey' | 'endKey'>): KeyRange | undefined {
  const endsBefore = endKey.length > 0 && compareBytes(endKey, SPACE.start) <= 0;
  if (endsBefore || compareBytes(startKey, SPACE.end) >= 0) return undefined;
  const isInside = (bound: Uint8Array): boolean => bound[0] === SPACE.start[0] && bound.length > 1;
  return {
    start: isInside(startKey) ? userKey(startKey).key : OPEN,
    end: isInside(endKey) ? userKey(endKey).key : OPEN,
  };
}

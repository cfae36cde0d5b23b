import { compareBytes } from '../../../storage/keys.js';
import type { metapb } from '../../../storage/proto/index.js';
import { sameRegion } from '../../region-tree.js';
import { isJoint } from './change-peer.js';
import { epochOf } from './epoch.js';
import { notNow, type Refusal, refusal } from './refusal.js';

/** Whether two regions touch. */
export function areAdjacent(a: metapb.Region, b: metapb.Region): boolean {
  const meets = (end: Uint8Array, start: Uint8Array) => end.length > 0 && compareBytes(end, start) === 0;
  return meets(a.endKey, b.startKey) || meets(b.endKey, a.startKey);
}

/** Whether both have their peers on the same stores, in the same roles. */
export function haveSameStores(a: metapb.Region, b: metapb.Region): boolean {
  if (a.peers.length !== b.peers.length) return false;
  return a.peers.every(({ storeId, role }) =>
    b.peers.some((peer) => peer.storeId === storeId && peer.role === role),
  );
}

/**
 * Whether `source` can be merged into `target`, by what both are.
 * @param local the target as this store has it.
 */
export function refuseMerge(
  source: metapb.Region,
  target: metapb.Region,
  local: metapb.Region | undefined,
): Refusal | undefined {
  if (source.id === target.id || !areAdjacent(source, target)) {
    return refusal(
      'not-adjacent',
      `regions ${source.id} and ${target.id} do not touch: merge a region with a neighbour`,
    );
  }
  if (isJoint(source) || isJoint(target)) {
    const joint = isJoint(source) ? source.id : target.id;
    return notNow('pending-change', `region ${joint} is in a joint membership: wait until it is left`);
  }
  if (!haveSameStores(source, target)) {
    const stores = ({ peers }: metapb.Region) =>
      peers
        .map(({ storeId }) => storeId)
        .sort()
        .join(', ');
    return refusal(
      'different-stores',
      `region ${source.id} is on stores ${stores(source)}, region ${target.id} on ${stores(target)}: move one of them first`,
    );
  }
  if (local === undefined || !sameRegion(local, target)) {
    return notNow('target-changed', `region ${target.id} is not as given on this store: look it up again`);
  }
  return undefined;
}

/** The target when it has taken the source in. Its version is above both, so that it wins over whatever they were. */
export function mergedRegion(target: metapb.Region, source: metapb.Region): metapb.Region {
  const before = source.endKey.length > 0 && compareBytes(source.endKey, target.startKey) === 0;
  return {
    ...target,
    startKey: before ? source.startKey : target.startKey,
    endKey: before ? target.endKey : source.endKey,
    regionEpoch: {
      confVer: epochOf(target).confVer,
      version: Math.max(epochOf(source).version, epochOf(target).version) + 1,
    },
  };
}

import { compareBytes, describeStoredKey, escapeKey, withoutTimestamp } from '../../../storage/keys.js';
import type { metapb, raft_cmdpb } from '../../../storage/proto/index.js';
import { epochOf } from './epoch.js';
import { type Refusal, refusal } from './refusal.js';

/** Parts that one split may make beside the one that keeps the region's id. */
export const MAX_SPLIT_KEYS = 256;

/** Whether a region can be split at these keys; they are stored keys, ascending. */
export function refuseSplitKeys(region: metapb.Region, keys: readonly Uint8Array[]): Refusal | undefined {
  if (keys.length === 0)
    return refusal('nothing-to-split', `no key to split region ${region.id} at: name one`);
  if (keys.length > MAX_SPLIT_KEYS) {
    return refusal(
      'invalid',
      `${keys.length} keys to split at are more than ${MAX_SPLIT_KEYS}: split in steps`,
    );
  }
  let previous: Uint8Array | undefined;
  for (const key of keys) {
    const name = describeStoredKey(key);
    if (previous !== undefined) {
      const order = compareBytes(previous, key);
      if (order === 0) return refusal('split-key-duplicate', `the split key ${name} is given twice`);
      if (order > 0)
        return refusal('split-keys-order', `the split key ${name} is out of order: sort the keys`);
    }
    previous = key;
    const { startKey, endKey } = region;
    const atStart = compareBytes(key, startKey);
    if (atStart === 0 || key.length === 0) {
      return refusal(
        'split-key-at-start',
        `region ${region.id} begins at ${name} already: there is nothing to split`,
      );
    }
    if (atStart < 0 || (endKey.length > 0 && compareBytes(key, endKey) >= 0)) {
      return refusal(
        'split-key-outside',
        `the split key ${name} is not in region ${region.id} (${boundName(startKey, 'the first key')} to ${boundName(endKey, 'the last')}): look the region up again`,
      );
    }
  }
  return undefined;
}

function boundName(bound: Uint8Array, open: string): string {
  return bound.length === 0 ? open : describeStoredKey(bound);
}

/**
 * Where a split would tear apart what belongs to one transactional key: its lock and its versions lie in one region. Asked before
 * a split is proposed (TiKV's `SplitObserver`); what is in the log already is applied everywhere alike.
 */
export function refuseTornKeys(region: metapb.Region, keys: readonly Uint8Array[]): Refusal | undefined {
  // The beginning of the space is no key of it, and tears nothing.
  const torn = keys.find((key) => key.length > 1 && withoutTimestamp(key)?.length !== key.length);
  if (torn === undefined) return undefined;
  return refusal(
    'invalid',
    `the split key "${escapeKey(torn)}" of region ${region.id} lies within a transactional key or its versions: give the stored key without a timestamp`,
  );
}

/** What a region is split into. */
export interface SplitRegions {
  /** All parts, in order of their keys. */
  readonly parts: readonly metapb.Region[];
  /** The one that keeps the id. */
  readonly own: metapb.Region;
  /** The others. */
  readonly created: readonly metapb.Region[];
}

/**
 * The parts of a split region: all of them get the next version, each new one a peer on every store of the old one, in
 * the same order. With `rightDerive` the last part keeps the id, else the first.
 */
export function splitRegion(
  region: metapb.Region,
  { requests, rightDerive }: raft_cmdpb.BatchSplitRequest,
): SplitRegions | Refusal {
  const refused = refuseSplitKeys(
    region,
    requests.map(({ splitKey }) => splitKey),
  );
  if (refused !== undefined) return refused;
  // Regions and peers get their ids from one source: none is ever the same as another.
  const ids = new Set<number>([region.id, ...region.peers.map(({ id }) => id)]);
  for (const { newRegionId, newPeerIds } of requests) {
    const all = [newRegionId, ...newPeerIds];
    const fit = newPeerIds.length === region.peers.length && new Set(all).size === all.length;
    if (!fit || all.includes(0) || all.some((id) => ids.has(id))) {
      return refusal(
        'ids-mismatch',
        `the ids for region ${newRegionId} do not fit the ${region.peers.length} peers of region ${region.id}: ask the scheduler for new ones`,
      );
    }
    for (const id of all) ids.add(id);
  }
  const { confVer, version } = epochOf(region);
  const regionEpoch = { confVer, version: version + requests.length };
  const bounds = [region.startKey, ...requests.map(({ splitKey }) => splitKey), region.endKey];
  const ownPlace = rightDerive ? requests.length : 0;
  const created: metapb.Region[] = [];
  let own = region;
  const parts = bounds.slice(0, -1).map((startKey, place): metapb.Region => {
    const endKey = bounds[place + 1] ?? region.endKey;
    if (place === ownPlace) {
      own = { ...region, startKey, endKey, regionEpoch };
      return own;
    }
    const request = requests[rightDerive ? place : place - 1];
    const part = {
      id: request?.newRegionId ?? 0,
      startKey,
      endKey,
      regionEpoch,
      peers: region.peers.map((peer, i) => ({ ...peer, id: request?.newPeerIds[i] ?? 0 })),
    };
    created.push(part);
    return part;
  });
  return { parts, own, created };
}

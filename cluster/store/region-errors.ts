import type { PeerRefusal } from '../../machines/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';

/** What a store answers instead of what was asked of a region: a sentence, and what a client makes of it. */

/** An error whose detail says its kind. */
export function errorOf(message: string, detail: Partial<errorpb.Error>): errorpb.Error {
  return { message, ...detail } as errorpb.Error;
}

export function notLeader(region: metapb.Region, leader: metapb.Peer | undefined): errorpb.Error {
  const next = leader === undefined ? 'no leader is known, ask again later' : `ask store ${leader.storeId}`;
  return errorOf(`this store does not lead region ${region.id}: ${next}`, {
    notLeader: { regionId: region.id, leader },
  });
}

/** @param currentRegions what the region is now, or what became of it */
export function epochNotMatch(currentRegions: readonly metapb.Region[]): errorpb.Error {
  const [region] = currentRegions;
  return errorOf(`the epoch of region ${region?.id ?? 0} has moved on: use the regions in this reply`, {
    epochNotMatch: { currentRegions },
  });
}

export function keyNotInRegion(region: metapb.Region, key: Uint8Array): errorpb.Error {
  return errorOf(`the key is not in region ${region.id}: look its region up again`, {
    keyNotInRegion: { key, regionId: region.id, startKey: region.startKey, endKey: region.endKey },
  });
}

export function mergingError({ id }: metapb.Region): errorpb.Error {
  return errorOf(`region ${id} is being merged into a neighbour: ask again later`, {
    proposalInMergingMode: { regionId: id },
  });
}

/** @param asked the store that was meant */
export function storeNotMatch(storeId: number, asked: number): errorpb.Error {
  return errorOf(`this is store ${storeId}, not ${asked}: look the store up again`, {
    storeNotMatch: { requestStoreId: asked, actualStoreId: storeId },
  });
}

/** Why a peer serves nobody in the state that it is in. */
export function peerRefused(region: metapb.Region, reason: PeerRefusal): errorpb.Error {
  const { id: regionId } = region;
  if (reason === 'merging') return mergingError(region);
  return reason === 'uninitialised'
    ? errorOf(`region ${regionId} is not ready on this store: ask another`, {
        regionNotInitialized: { regionId },
      })
    : errorOf(`region ${regionId} has stopped on this store: ask another`, { regionNotFound: { regionId } });
}

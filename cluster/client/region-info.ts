import { escapeKey } from '../../storage/keys.js';
import { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { pdpb } from '../proto/index.js';

/** A region as the scheduler knows it; what `troupe region … --json` prints. */
export interface RegionInfo {
  readonly id: number;
  /** Stored keys, escaped where they are not text; empty ones are the ends of all keys. */
  readonly start: string;
  readonly end: string;
  readonly epoch: RegionEpoch;
  /** Its replicas, one a store. */
  readonly peers: readonly RegionPeerInfo[];
  /** Store id of the leader; `null` while none is known. */
  readonly leader: number | null;
  /** Bytes, as the leader last told; 0 until it has. */
  readonly approximateSize: number;
  /** As the leader last told; 0 until it has. */
  readonly approximateKeys: number;
}

/** Grows with what a region becomes: `confVer` with each change of membership, `version` with each split and merge. */
export interface RegionEpoch {
  /** Grows with each change of membership. */
  readonly confVer: number;
  /** Grows with each split and merge. */
  readonly version: number;
}

/** A replica of a region, as its leader last told. */
export interface RegionPeerInfo {
  readonly id: number;
  readonly store: number;
  /** `voter` or `learner`; while membership is joint also `incomingVoter` and `demotingVoter`. */
  readonly role: string;
  /** It lacks more of the log than the leader still has, or has not answered yet. */
  readonly pending: boolean;
  /** For how long the leader has not heard of it; 0 when it has. */
  readonly downSeconds: number;
}

/** What the scheduler says of a region, or what is known of it without the scheduler. */
export type ToldRegion = { readonly region: metapb.Region } & Partial<Omit<pdpb.Region, 'region'>>;

export function regionInfo(told: ToldRegion): RegionInfo {
  const {
    region,
    leader,
    pendingPeers = [],
    downPeers = [],
    approximateSize = 0,
    approximateKeys = 0,
  } = told;
  return {
    id: region.id,
    start: escapeKey(region.startKey),
    end: escapeKey(region.endKey),
    epoch: epochOf(region),
    peers: region.peers.map((peer) => ({
      id: peer.id,
      store: peer.storeId,
      role: roleName(peer.role),
      pending: pendingPeers.some(({ id }) => id === peer.id),
      downSeconds: downPeers.find((down) => down.peer?.id === peer.id)?.downSeconds ?? 0,
    })),
    leader: leader?.storeId ?? null,
    approximateSize,
    approximateKeys,
  };
}

export function epochOf(region: metapb.Region): RegionEpoch {
  const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
  return { confVer, version };
}

export function roleName(role: metapb.PeerRole): string {
  const name = Object.entries(metapb.PeerRole).find(([, value]) => value === role)?.[0] ?? 'Voter';
  return name.charAt(0).toLowerCase() + name.slice(1);
}

/** For a region that has gone, or never was. */
export function unknownRegion(regionId: number): TroupeError {
  return new TroupeError(
    'not-found',
    `There is no region ${regionId}: \`troupe region list\` shows those that there are.`,
  );
}

/** For a stored key whose region nobody has heard of: the scheduler is new, or the cluster is. */
export function noRegionYet(key: Uint8Array): TroupeError {
  return new TroupeError(
    'unavailable',
    `The scheduler knows no region for the key "${escapeKey(key)}" yet: try again later.`,
  );
}

import { metapb } from '../../../storage/proto/index.js';
import type { pdpb } from '../../proto/index.js';

const { PeerRole } = metapb;

/** Bytes and keys a second. */
export interface RegionFlow {
  readonly bytesWritten: number;
  readonly keysWritten: number;
  readonly bytesRead: number;
  readonly keysRead: number;
}

/** What a region's leader last told of it; not replicated. */
export interface RegionReport {
  readonly region: metapb.Region;
  readonly leader: metapb.Peer;
  readonly term: number;
  readonly downPeers: readonly pdpb.PeerStats[];
  readonly pendingPeers: readonly metapb.Peer[];
  /** Bytes. */
  readonly approximateSize: number;
  readonly approximateKeys: number;
  readonly flow: RegionFlow;
}

export const NO_FLOW: RegionFlow = { bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0 };

/** Bytes that the smallest region counts as: to keep one costs something though it is empty. */
export const LEAST_REGION_SIZE = 1024 * 1024;

/** What a replica of the region counts as on its store, in bytes. */
export function weightOf({ approximateSize }: { readonly approximateSize: number }): number {
  return Math.max(approximateSize, LEAST_REGION_SIZE);
}

export function peerOn({ peers }: metapb.Region, storeId: number): metapb.Peer | undefined {
  return peers.find((peer) => peer.storeId === storeId);
}

/** Peers that vote, also those whose vote is coming or going. */
export function votersOf({ peers }: metapb.Region): readonly metapb.Peer[] {
  return peers.filter(({ role }) => role !== PeerRole.Learner);
}

export function learnersOf({ peers }: metapb.Region): readonly metapb.Peer[] {
  return peers.filter(({ role }) => role === PeerRole.Learner);
}

export function isJoint({ peers }: metapb.Region): boolean {
  return peers.some(({ role }) => role === PeerRole.IncomingVoter || role === PeerRole.DemotingVoter);
}

export function isPending({ pendingPeers }: Pick<RegionReport, 'pendingPeers'>, peerId: number): boolean {
  return pendingPeers.some(({ id }) => id === peerId);
}

export function isDown({ downPeers }: Pick<RegionReport, 'downPeers'>, peerId: number): boolean {
  return downPeers.some(({ peer }) => peer?.id === peerId);
}

/** Every peer votes, answers and has caught up. */
export function isHealthy(report: RegionReport): boolean {
  return (
    report.pendingPeers.length === 0 &&
    report.downPeers.length === 0 &&
    report.region.peers.every(({ role }) => role === PeerRole.Voter)
  );
}

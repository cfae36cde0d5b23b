import { loadRegionState } from '../../../storage/index.js';
import { type metapb, raft_serverpb } from '../../../storage/proto/index.js';
import { GroupRecord, groupKey } from '../../../storage/raft-keys.js';
import type { SnapshotOffer } from '../../snapshot-protocol.js';
import { overlap } from '../region-check.js';
import type { RegionSnapshotsOptions, SnapshotLimits } from './options.js';
import type { RefusalReason } from './reasons.js';

export interface AdmissionParts
  extends Pick<RegionSnapshotsOptions, 'engine' | 'storeId' | 'regionOf' | 'overlapping' | 'admits'> {
  readonly limits: SnapshotLimits;
  /** Regions of which snapshots are being received or wait to be installed here. */
  readonly expected: () => Iterable<metapb.Region>;
}

/**
 * Whether this store may take a snapshot, by what it has at this moment: never one that is not newer than what is here,
 * and never one whose range belongs to somebody else.
 *
 * @returns why not.
 * @throws EngineFailedError, DecodeError
 */
export async function judge(offer: SnapshotOffer, parts: AdmissionParts): Promise<RefusalReason | undefined> {
  const { raft, region, estimatedBytes, maxBytes } = offer;
  const { engine, storeId, limits, regionOf } = parts;
  const { toPeer, message } = raft;
  if (toPeer.storeId !== storeId) return 'wrong-store';
  if (!region.peers.some((peer) => peer.id === toPeer.id && peer.storeId === storeId)) return 'unknown-peer';
  if (parts.admits?.(raft) === false) return 'not-admitted';
  if (estimatedBytes > limits.receiveBytes || estimatedBytes > maxBytes) return 'too-large';

  const [state, apply] = await Promise.all([
    loadRegionState(engine, region.id),
    engine.get('raft', groupKey(region.id, GroupRecord.applyState)),
  ]);
  const gone = state?.state === raft_serverpb.PeerState.Tombstone;
  const own = regionOf(region.id) ?? (gone ? undefined : state?.region);
  if (own !== undefined) {
    const refusal = compare(own, region, toPeer, storeId);
    if (refusal !== undefined) return refusal;
  } else if (gone) {
    // A peer that was removed does not come back under its id: its votes are forgotten.
    // Its region need not name it: not when it went, and not when it had never known its region.
    const last = state.peerId || (state.region?.peers.find((peer) => peer.storeId === storeId)?.id ?? 0);
    if (last >= toPeer.id) return 'stale';
  }
  const applied = apply === undefined ? 0 : raft_serverpb.RaftApplyState.decode(apply).appliedIndex;
  if (!gone && (message.snapshot?.index ?? 0) <= applied) return 'stale';
  if (parts.overlapping(region).some(({ id }) => id !== region.id)) return 'overlapping';
  for (const other of parts.expected()) {
    if (other.id !== region.id && overlap(other, region)) return 'overlapping';
  }
  return undefined;
}

/** The region as it is here against the region as it comes. */
function compare(
  own: metapb.Region,
  offered: metapb.Region,
  toPeer: metapb.Peer,
  storeId: number,
): RefusalReason | undefined {
  const here = own.regionEpoch ?? { confVer: 0, version: 0 };
  const there = offered.regionEpoch ?? { confVer: 0, version: 0 };
  if (there.version < here.version || there.confVer < here.confVer) return 'stale';
  const peer = own.peers.find((one) => one.storeId === storeId);
  if (peer === undefined || peer.id < toPeer.id) return 'unknown-peer';
  return peer.id > toPeer.id ? 'stale' : undefined;
}

import {
  type Engine,
  loadCollectedTombstones,
  loadRegionStates,
  type RaftLog,
  type StoredGroup,
} from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { peerOnStore } from './admin/change-peer.js';
import type { Tombstone } from './store-meta.js';

/** A peer as its store's disk has it. */
export interface StoredPeer {
  readonly region: metapb.Region;
  readonly peer: metapb.Peer;
  readonly mergeState: raft_serverpb.MergeState | undefined;
  /** `undefined` when its log was not looked at, or on a store that stands alone. */
  readonly stored: StoredGroup | undefined;
}

export interface StoredPeers {
  readonly peers: readonly StoredPeer[];
  readonly tombstones: readonly Tombstone[];
  readonly collectedThrough: number;
}

/** Reads what a store knows of its peers; all logs together, which is much faster than one by one. */
export async function loadPeers(engine: Engine, log: RaftLog, storeId: number): Promise<StoredPeers> {
  const [states, logs, collectedThrough] = await Promise.all([
    loadRegionStates(engine),
    log.loadAll(),
    loadCollectedTombstones(engine),
  ]);
  const peers: StoredPeer[] = [];
  const tombstones: Tombstone[] = [];
  for (const { state, region, mergeState, peerId } of states) {
    if (region === undefined) continue;
    const peer = peerOnStore(region, storeId);
    if (state === raft_serverpb.PeerState.Tombstone || peer === undefined) {
      tombstones.push({ peer: peerId || (peer?.id ?? 0), region, target: mergeState?.target });
    } else {
      const merging = state === raft_serverpb.PeerState.Merging ? mergeState : undefined;
      peers.push({ region, peer, mergeState: merging, stored: logs.get(region.id) });
    }
  }
  return { peers, tombstones, collectedThrough };
}

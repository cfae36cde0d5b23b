import type { ActorSystem, Logger } from '../../actors/index.js';
import { peerPath } from '../protocol.js';
import type { RaftHost } from '../raft/host.js';
import type { PeerMessages } from './peer-messages.js';
import type { PendingMerges } from './pending-merges.js';
import { bury } from './region-state-machine.js';
import type { RegionReplica } from './replica.js';
import type { Gone, SnapshotPlaces } from './snapshot-places.js';
import type { StoreMeta, Tombstone } from './store-meta.js';

export interface PeerRemovalOptions {
  readonly system: ActorSystem;
  readonly host: RaftHost;
  readonly logger: Logger;
  readonly messages: PeerMessages;
  /** Nothing is here any more of the region and its peer. */
  readonly regionGone: (regionId: number, peerId: number) => void;
}

export interface PeerRemovalParts extends PeerRemovalOptions {
  readonly meta: StoreMeta;
  /** By region. */
  readonly replicas: Map<number, RegionReplica>;
  readonly places: SnapshotPlaces;
  readonly merges: PendingMerges;
  /** Somebody may have waited for the peer to go. */
  readonly peerLeft: () => void;
}

/** How a peer ends: on disk first, then in the store's maps. */
export class PeerRemoval {
  readonly #parts: PeerRemovalParts;
  /** Replicas whose end is on its way to the disk. */
  readonly #ending = new WeakSet<RegionReplica>();

  constructor(parts: PeerRemovalParts) {
    this.#parts = parts;
  }

  /**
   * Removes the peer that is here, with its data; a tombstone is left. That has the region as the peer last knew it: of
   * members that came after that nobody here knows whether they still are.
   */
  destroy(replica: RegionReplica, why: string): void {
    const { host, logger, places, meta } = this.#parts;
    const { raftGroup: group, peerId } = replica;
    if (group === undefined || this.#ending.has(replica)) return;
    this.#ending.add(replica);
    logger.info({ region: replica.region.id, peer: peerId, why }, 'a peer is removed');
    replica.tell({ type: 'removed' });
    let gone: Gone[] = [];
    host
      .destroy(group, (batch) => {
        // What was under way when it was stopped is evaluated now, and its snapshot installed if that had begun.
        const { region, sources } = places.removing(replica, batch);
        // Of one that never knew its region, what an earlier peer has left is all there is.
        const earlier = region.peers.length > 0 ? undefined : meta.tombstone(region.id);
        const tombstone = { region, target: undefined, ...earlier, peer: peerId };
        bury(batch, tombstone.region, peerId, tombstone.target);
        gone = [[replica, tombstone], ...sources];
      })
      .then(
        () => {
          for (const [one, tombstone] of gone) this.buried(one, tombstone);
        },
        // The engine's own failure stops the store.
        () => {},
      );
  }

  /** Nothing is left of the peer on disk but its tombstone. */
  buried(replica: RegionReplica, tombstone: Tombstone): void {
    const { replicas, meta, merges, messages, regionGone, peerLeft } = this.#parts;
    const { id } = tombstone.region;
    replica.tell({ type: 'buried' });
    if (replicas.get(id) === replica) replicas.delete(id);
    meta.bury(tombstone);
    merges.remove(id);
    messages.forget(tombstone.region);
    regionGone(id, tombstone.peer);
    peerLeft();
  }

  /** Lets go of a peer that never had its region. What it promised stays on disk: whoever takes its place keeps it. */
  forget(replica: RegionReplica): void {
    const { host, system, places, replicas, meta } = this.#parts;
    const { region, peerId, raftGroup: group } = replica;
    // Its snapshot has come meanwhile.
    if (places.isTaken(region.id)) return;
    if (group !== undefined) host.release(group);
    replicas.delete(region.id);
    meta.forget(region.id);
    system.ref(`${system.node}/${peerPath(region.id, peerId)}`).stop();
  }
}

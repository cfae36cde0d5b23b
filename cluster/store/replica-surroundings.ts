import type { metapb, raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import type { RaftHost } from '../raft/host.js';
import { peerOnStore } from './admin/change-peer.js';
import type { SplitRegions } from './admin/split.js';
import type { MergeSources } from './merge-sources.js';
import type { PeerCreation } from './peer-creation.js';
import type { PeerMessages } from './peer-messages.js';
import type { PeerRemoval } from './peer-removal.js';
import type { PendingMerges } from './pending-merges.js';
import type { PreparedSplit, RegionSurroundings, SplitPart } from './region-state-machine.js';
import type { RegionReplica } from './replica.js';
import type { StoreMeta } from './store-meta.js';
import type { StoreTxn } from './txn/index.js';

/** Whom the store tells what became of its regions. */
export interface ReplicaSurroundingsOptions {
  readonly storeId: number;
  readonly host: RaftHost;
  readonly txn: StoreTxn;
  readonly messages: PeerMessages;
  /** A region is another now, on a store that leads it. */
  readonly regionChanged: (replica: RegionReplica) => void;
  /** A region became these. */
  readonly regionSplit: (parent: RegionReplica, parts: readonly metapb.Region[]) => void;
  /** A peer's log says that its region goes on without it. */
  readonly leaving: (replica: RegionReplica, next: metapb.Region) => void;
}

export interface ReplicaSurroundingsParts extends ReplicaSurroundingsOptions {
  readonly meta: StoreMeta;
  /** By region. */
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly merges: PendingMerges;
  readonly sources: MergeSources;
  readonly creation: PeerCreation;
  readonly removal: PeerRemoval;
  /** The peer is from before the store's repair, and comes back by itself. */
  readonly forgot: (peerId: number) => boolean;
  /** Some keys may be free now. */
  readonly roomMade: () => void;
}

/** What one region's log makes of the peers of its store. */
export class ReplicaSurroundings implements RegionSurroundings {
  readonly #replica: RegionReplica;
  readonly #parts: ReplicaSurroundingsParts;

  constructor(replica: RegionReplica, parts: ReplicaSurroundingsParts) {
    this.#replica = replica;
    this.#parts = parts;
  }

  async prepareSplit(created: readonly metapb.Region[]): Promise<PreparedSplit> {
    const { storeId, host, meta, replicas, removal, forgot } = this.#parts;
    const regions: metapb.Region[] = [];
    const gone: metapb.Region[] = [];
    for (const region of created) {
      const peer = peerOnStore(region, storeId)?.id ?? 0;
      const here = replicas.get(region.id);
      // Its keys are still the parent's.
      if (here?.initialised) throw new Error(`region ${region.id} is here before the split that makes it`);
      // Who waits with a later id was made after this one went.
      const buried = here === undefined ? meta.tombstone(region.id)?.peer : here.peerId - 1;
      // One that has forgotten its votes comes back by itself.
      if ((buried ?? 0) >= peer || forgot(peer)) {
        gone.push(region);
        continue;
      }
      if (here !== undefined) removal.forget(here);
      regions.push(region);
    }
    const ids = regions.map(({ id }) => id);
    meta.noteSplit(this.#replica.region.id, ids);
    const promised = await host.log.hardStates(ids);
    return { parts: regions.map((region, i) => ({ region, promised: promised[i] })), gone };
  }

  split({ own, parts }: SplitRegions, made: readonly SplitPart[]): void {
    const replica = this.#replica;
    const { meta, creation, regionSplit, roomMade } = this.#parts;
    const leads = replica.attached && replica.group.isLeader;
    meta.replace([own, ...made.map(({ region }) => region)]);
    const sizes = replica.size.divide(parts.length);
    for (const part of made) creation.startPart(part, leads, sizes.pop());
    regionSplit(replica, parts);
    roomMade();
  }

  membershipChanged(region: metapb.Region): void {
    const replica = this.#replica;
    const { meta, messages, regionChanged } = this.#parts;
    const before = meta.region(region.id);
    meta.replace([region]);
    if (!replica.attached || !replica.group.isLeader) return;
    for (const peer of before?.peers ?? []) {
      if (region.peers.some(({ id }) => id === peer.id)) continue;
      // It may never hear of it from the log.
      messages.notify(region, replica.peer, peer, { isTombstone: true });
    }
    regionChanged(replica);
  }

  removalReached(next: metapb.Region): void {
    this.#parts.leaving(this.#replica, next);
  }

  mergePrepared(region: metapb.Region, state: raft_serverpb.MergeState): void {
    const replica = this.#replica;
    const { meta, merges, sources, regionChanged } = this.#parts;
    meta.replace([region]);
    replica.raftGroup?.lease?.giveUp(replica.group.term);
    replica.tell({ type: 'mergePrepared' });
    sources.isReady(region.id, state.commit);
    merges.add(replica);
    regionChanged(replica);
  }

  mergeRolledBack(region: metapb.Region): void {
    const { meta, merges, regionChanged } = this.#parts;
    meta.replace([region]);
    merges.remove(region.id);
    this.#replica.tell({ type: 'mergeRolledBack' });
    regionChanged(this.#replica);
  }

  sourceReady(merge: raft_cmdpb.CommitMergeRequest): Promise<void> | undefined {
    return this.#parts.sources.ready(merge);
  }

  merged(region: metapb.Region, source: metapb.Region): void {
    const replica = this.#replica;
    const { meta, replicas, removal, txn, regionChanged } = this.#parts;
    const taken = replicas.get(source.id);
    const target = meta.region(region.id);
    meta.replace([region], [source.id]);
    // At which timestamps the other one was read nobody here knows.
    txn.timestamps.uncover(replica);
    if (taken !== undefined) {
      replica.size.merge(taken.size);
      taken.tell({ type: 'removed' });
      removal.buried(taken, { peer: taken.peerId, region: source, target });
    }
    regionChanged(replica);
  }
}

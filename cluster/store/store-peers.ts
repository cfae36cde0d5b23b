import type { Clock } from '../../actors/index.js';
import { DEFAULT_RAFT_CONFIG } from '../../machines/index.js';
import type { WriteBatch } from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import { type PeerNotice, peerPath, type RaftEvent } from '../protocol.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import { peerOnStore } from './admin/change-peer.js';
import { epochOf, isEpochStale, NO_EPOCH } from './admin/epoch.js';
import { isVoteRequest, judgeContact } from './first-contact.js';
import { makeFirstRegion } from './first-region.js';
import { loadPeers } from './load-peers.js';
import { MergeSources } from './merge-sources.js';
import { PeerCreation, type PeerCreationOptions } from './peer-creation.js';
import { PeerRemoval, type PeerRemovalOptions } from './peer-removal.js';
import { PendingMerges } from './pending-merges.js';
import { RepairedPeers, type RepairedPeersParts } from './repaired-peers.js';
import type { RegionReplica } from './replica.js';
import {
  ReplicaSurroundings,
  type ReplicaSurroundingsOptions,
  type ReplicaSurroundingsParts,
} from './replica-surroundings.js';
import { SnapshotPlaces } from './snapshot-places.js';
import type { StoreDirectory } from './store-directory.js';
import { StoreMeta } from './store-meta.js';

export interface StorePeersOptions
  extends PeerCreationOptions,
    PeerRemovalOptions,
    ReplicaSurroundingsOptions {
  readonly scheduler: SchedulerClient;
  readonly clock: Clock;
  readonly directory: StoreDirectory;
  readonly tuning?: RaftTuning | undefined;
  /** Milliseconds between two attempts to end a merge (2 s). */
  readonly mergeInterval?: number | undefined;
  /** A region's peer or its snapshot cannot come, for another region has its keys here. */
  readonly inTheWay: (regionId: number) => void;
}

/** Milliseconds in which peers are started before others have the event loop. */
const START_SLICE_MS = 5;
const MERGE_INTERVAL_MS = 2_000;

/** The peers of a store, one a region: who is here, and what messages and snapshots make of that. */
export class StorePeers {
  /** By region. */
  readonly replicas = new Map<number, RegionReplica>();
  readonly meta = new StoreMeta();
  readonly merges: PendingMerges;
  readonly sources: MergeSources;
  readonly #options: StorePeersOptions;
  readonly #places: SnapshotPlaces;
  readonly #creation: PeerCreation;
  readonly #removal: PeerRemoval;
  /** With writes of this turn. */
  #writing = new Set<RegionReplica>();
  /** `undefined` on a store that was never repaired. */
  #repaired: RepairedPeers | undefined;
  #stopped = false;

  constructor(options: StorePeersOptions) {
    this.#options = options;
    const { clock, logger, host, messages, mergeInterval = MERGE_INTERVAL_MS } = options;
    this.merges = new PendingMerges({
      clock,
      logger,
      messages,
      log: host.log,
      meta: this.meta,
      replicas: this.replicas,
      interval: mergeInterval,
    });
    this.sources = new MergeSources({
      storeId: options.storeId,
      meta: this.meta,
      replicas: this.replicas,
      destroy: (replica, why) => this.destroy(replica, why),
      roomMade: () => this.#knockAgain(),
    });
    const here = { meta: this.meta, replicas: this.replicas };
    this.#places = new SnapshotPlaces({ ...options, ...here });
    this.#removal = new PeerRemoval({
      ...options,
      ...here,
      places: this.#places,
      merges: this.merges,
      peerLeft: () => this.sources.dropMerged(),
    });
    this.#creation = new PeerCreation({
      ...options,
      ...here,
      places: this.#places,
      surroundings: (replica) => new ReplicaSurroundings(replica, surroundings),
      refusesSender: (replica, event) => this.#refusesSender(replica, event),
      wantsTurn: (replica) => {
        this.#writing.add(replica);
        options.system.requestTurn();
      },
      restored: (replica) => this.#restored(replica),
    });
    const surroundings: ReplicaSurroundingsParts = {
      ...options,
      ...here,
      merges: this.merges,
      sources: this.sources,
      creation: this.#creation,
      removal: this.#removal,
      forgot: (peerId) => this.#repaired?.forgot(peerId) ?? false,
      roomMade: () => this.#knockAgain(),
    };
  }

  /** Starts the peers that are on disk. @throws TroupeError `identity` when the directory is for another kind of store */
  async start(): Promise<void> {
    // Before anything else may make a peer anew.
    this.#repaired = await RepairedPeers.load(this.#repairParts());
    const { engine, host, storeId, standalone, clock } = this.#options;
    const stored = await loadPeers(engine, host.log, storeId);
    this.meta.collectedThrough = stored.collectedThrough;
    for (const tombstone of stored.tombstones) this.meta.bury(tombstone);
    if (!standalone) this.meta.replace(stored.peers.map(({ region }) => region));
    let sliceEnds = clock.now() + START_SLICE_MS;
    for (const peer of stored.peers) {
      if (!this.replicas.has(peer.region.id)) this.#creation.startStored(peer);
      // Those that have started serve meanwhile.
      if (clock.now() < sliceEnds) continue;
      await new Promise<void>((resolve) => clock.immediate(resolve));
      sliceEnds = clock.now() + START_SLICE_MS;
    }
    for (const replica of this.replicas.values())
      if (replica.mergeState !== undefined) this.merges.add(replica);
    this.sources.allStarted();
  }

  /** On a repaired store: brings back the peers that have forgotten everything. Does not wait for them. */
  bringBack(): void {
    this.#repaired?.start();
  }

  /** Repeats are harmless: what is durable already is only confirmed. */
  makeFirstRegion(region: metapb.Region): Promise<void> {
    return makeFirstRegion(region, {
      ...this.#options,
      meta: this.meta,
      replicas: this.replicas,
      creation: this.#creation,
      claims: (one) => this.#repaired?.claims(one),
    });
  }

  /** Removes the peer that is here, with its data; a tombstone is left. */
  destroy(replica: RegionReplica, why: string): void {
    this.#removal.destroy(replica, why);
  }

  /** Lets go of a peer that never had its region. */
  forget(replica: RegionReplica): void {
    this.#removal.forget(replica);
  }

  // Messages.

  /** Who knocked too early may come in now. */
  #knockAgain(): void {
    for (const event of this.meta.unparkFree()) this.contact(event);
  }

  /** A message came for a peer that is not here. */
  contact(event: RaftEvent): void {
    const { storeId, logger, scheduler, messages } = this.#options;
    const { regionId, toPeer, fromPeer } = event;
    this.#repaired?.heardOf(event);
    if (this.#stopped || this.#repaired?.forgot(toPeer.id)) return;
    const present = this.replicas.get(regionId);
    if (present?.peerId === toPeer.id) return this.#overtaken(present, event);
    const contact = judgeContact(
      event,
      storeId,
      this.meta,
      present && { ...present.peer, id: present.peerId },
    );
    switch (contact.do) {
      case 'create':
        void this.#creation.startUninitialised(event).catch((error: unknown) => this.#diskRefused(error));
        return;
      case 'replace':
        if (present !== undefined && !this.#isNeeded(present))
          this.destroy(present, `peer ${toPeer.id} takes its place`);
        return;
      case 'confirm':
        scheduler.getRegionById(regionId).then(
          ({ region }) => {
            const named = region && peerOnStore(region, storeId);
            if (named?.id === toPeer.id) return this.#creation.startUninitialised(event);
            return undefined;
          },
          (error: unknown) =>
            logger.debug({ err: error, region: regionId }, 'a new peer could not be confirmed'),
        );
        return;
      case 'park':
        this.meta.park(event);
        if (this.meta.isComing(regionId)) return;
        // Where it is not about to be split, it may have missed its end.
        for (const { id } of this.meta.overlapping({ ...event, id: regionId })) this.#options.inTheWay(id);
        return;
      case 'tellGone':
        messages.notify(contact.region, undefined, fromPeer, {
          ...(contact.target === undefined ? { isTombstone: true } : { mergeTarget: contact.target }),
        });
        return;
      case 'drop':
        logger.debug(
          { region: regionId, from: fromPeer.storeId, why: contact.why },
          'a message for a peer that is not here',
        );
    }
  }

  /** The peer was not there yet when the message came, and is there now that the message has its turn. */
  #overtaken(replica: RegionReplica, event: RaftEvent): void {
    const path = peerPath(replica.region.id, replica.peerId);
    // Without an actor the message would come here again.
    if (this.#options.system.actor(path) !== undefined) replica.tell(event);
  }

  /** What a peer is told outside of Raft. */
  notice(notice: PeerNotice): void {
    const replica = this.replicas.get(notice.regionId);
    if (replica === undefined || notice.toPeer?.id !== replica.peerId || !replica.attached) return;
    const { mergeTarget, isTombstone, regionEpoch = NO_EPOCH, extraMsg, fromPeer } = notice;
    if (extraMsg?.type === raft_serverpb.ExtraMessageType.MsgWantRollbackMerge) {
      if (fromPeer !== undefined) this.merges.wantsRollback(notice.regionId, fromPeer.id, extraMsg.index);
    } else if (mergeTarget !== undefined) {
      this.meta.noteMerge({ source: notice.regionId, target: mergeTarget, done: true });
      this.sources.dropMerged();
    } else if (isTombstone && isEpochStale(epochOf(replica.region), regionEpoch)) {
      if (this.#isNeeded(replica) && regionEpoch.version <= epochOf(replica.region).version) return;
      this.destroy(replica, 'the region has removed it');
    }
  }

  /** A source that waits to be merged is its target's to end, or its own to take back. */
  #isNeeded(replica: RegionReplica): boolean {
    return replica.mergeState !== undefined || this.sources.isAwaited(replica.region.id);
  }

  /**
   * Whether a message comes from somebody who is no member any more: who asks for votes is told so.
   */
  #refusesSender(replica: RegionReplica, { fromPeer, regionEpoch, message }: RaftEvent): boolean {
    const { region, peer } = replica;
    if (!replica.initialised || replica.peerOf(fromPeer.id) !== undefined) return false;
    if (!isEpochStale(regionEpoch, epochOf(region))) return false;
    const durable = this.meta.region(region.id);
    const isGone = durable !== undefined && !durable.peers.some(({ id }) => id === fromPeer.id);
    if (isVoteRequest(message) && isGone && isEpochStale(regionEpoch, epochOf(durable)))
      this.#options.messages.notify(durable, peer, fromPeer, { isTombstone: true });
    return true;
  }

  // Snapshots.

  /** Other regions of this store that have keys in common with this one, and will not make room for it. */
  overlapping(region: metapb.Region): metapb.Region[] {
    const blocking = this.meta.blocking(region);
    for (const { id } of blocking) this.#options.inTheWay(id);
    return blocking;
  }

  /** Part of the batch that makes a snapshot durable. */
  installing(regionId: number, batch: WriteBatch): void {
    this.#places.installing(regionId, batch);
    this.#repaired?.installing(regionId, batch);
  }

  /** The snapshot is durable. */
  restored(regionId: number): void {
    for (const [replica, tombstone] of this.#places.installed(regionId))
      this.#removal.buried(replica, tombstone);
    this.#repaired?.restored(regionId);
  }

  /** Its data is in place. */
  #restored(replica: RegionReplica): void {
    const { id } = replica.region;
    this.#places.filled(id);
    this.merges.remove(id);
    this.sources.dropMerged();
  }

  /** At the end of a turn: what it brought for each region becomes an entry. */
  proposeWrites(): void {
    if (this.#writing.size === 0) return;
    const writing = this.#writing;
    this.#writing = new Set();
    for (const replica of writing) replica.proposeWrites();
  }

  /** The peer has forgotten its votes, and is not back. */
  isRecovering(regionId: number, peerId: number): boolean {
    return this.#repaired?.isRecovering(regionId, peerId) ?? false;
  }

  /** Whether the peer takes this snapshot at all. */
  admits(event: RaftEvent): boolean {
    return this.#repaired?.admits(event) ?? true;
  }

  /** Everybody who waits is answered; nothing is acknowledged any more. */
  stop(): void {
    this.#stopped = true;
    this.#creation.stop();
    this.merges.stop();
    for (const replica of this.replicas.values()) replica.stop();
    this.#repaired?.stop();
  }

  /** Resolves when the disk has nothing under way for a store that stands alone. */
  idle(): Promise<void> {
    return this.#creation.idle();
  }

  #diskRefused(error: unknown): void {
    this.#options.diskFailed(error instanceof Error ? error : new Error(String(error)));
  }

  /** What a peer of a repaired store needs to come back. */
  #repairParts(): RepairedPeersParts {
    const { tuning } = this.#options;
    return {
      ...this.#options,
      tickInterval: tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS,
      electionTicks: tuning?.electionTicks ?? DEFAULT_RAFT_CONFIG.electionTick,
      nodeOf: (storeId) => this.#options.directory.nodeOf(storeId),
      send: (replica, message) => this.#options.messages.send(replica, message),
      startGroup: (replica, initial) => {
        const group = this.#options.host.start(replica.region.id, replica.peerId, replica, initial);
        replica.restoredGroup = group;
        return group;
      },
      abandonGroup: async (replica) => {
        const { raftGroup } = replica;
        if (raftGroup !== undefined) await this.#options.host.destroy(raftGroup, () => {});
        replica.restoredGroup = undefined;
      },
      unwanted: (replica) => {
        this.#repaired?.forget(replica.region.id);
        if (this.replicas.get(replica.region.id) === replica) this.replicas.delete(replica.region.id);
        replica.tell({ type: 'removed' });
        replica.tell({ type: 'buried' });
      },
      whole: (replica) => replica.recovered(),
      failed: (error) => this.#diskRefused(error),
      makeReplica: (region, recovery) => {
        const peer = peerOnStore(region, this.#options.storeId);
        if (this.#stopped || peer === undefined || this.replicas.has(region.id)) return;
        const replica = this.#creation.makeReplica(region, peer);
        replica.recover(recovery(replica), (one) => this.#creation.spawnPeer(one));
      },
    };
  }
}

import type { ActorRef, ActorSystem, Clock, Logger } from '../../actors/index.js';
import { DEFAULT_RAFT_CONFIG, type InitialState, peerMachine } from '../../machines/index.js';
import {
  type Engine,
  loadRegionState,
  StandaloneStorage,
  type StoredGroup,
  saveRegionState,
  type WriteBatch,
} from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import { type PeerNotice, peerPath, type RaftEvent } from '../protocol.js';
import type { RaftHost } from '../raft/host.js';
import { INITIAL_LOG } from '../raft/initial-log.js';
import { LoneCommands } from '../raft/lone-commands.js';
import type { CommandLog } from '../raft/state-machine.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import type { TaskQueue } from '../tasks.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { confStateOf, peerOnStore } from './admin/change-peer.js';
import { epochOf, isEpochStale } from './admin/epoch.js';
import { isVoteRequest, judgeContact } from './first-contact.js';
import { loadPeers, type StoredPeer } from './load-peers.js';
import { MergeSources } from './merge-sources.js';
import type { PeerMessages } from './peer-messages.js';
import { PendingMerges } from './pending-merges.js';
import type { ReadTurn } from './read-turn.js';
import type { RegionChangesOptions } from './region-changes.js';
import { FlowCount } from './region-flow.js';
import { bury, type PreparedSplit, type RegionSurroundings, type SplitPart } from './region-state-machine.js';
import { RepairedPeers, type RepairedPeersParts } from './repaired-peers.js';
import { RegionReplica } from './replica.js';
import { type Gone, SnapshotPlaces } from './snapshot-places.js';
import { RegionSize } from './split/index.js';
import type { StoreDirectory } from './store-directory.js';
import { StoreMeta, type Tombstone } from './store-meta.js';
import type { StoreTxn } from './txn/index.js';

export interface StorePeersOptions {
  readonly storeId: number;
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly scheduler: SchedulerClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly host: RaftHost;
  readonly tasks: TaskQueue;
  readonly reads: ReadTurn;
  readonly txn: StoreTxn;
  readonly directory: StoreDirectory;
  readonly messages: PeerMessages;
  readonly tracing?: StoreTracing | undefined;
  readonly maxEntryBytes: number;
  readonly standalone: boolean;
  readonly tuning?: RaftTuning | undefined;
  /** Milliseconds between two attempts to end a merge (2 s). */
  readonly mergeInterval?: number | undefined;
  readonly changes: Omit<RegionChangesOptions, 'localRegion'>;
  /** What is written and read in all regions that this store leads. */
  readonly flow: FlowCount;
  /** A call was refused because too much was under way. */
  readonly refusedAsBusy: () => void;
  /** A peer's actor is there. */
  readonly started: () => void;
  readonly roleChanged: (replica: RegionReplica) => void;
  /** A region is another now, on a store that leads it. */
  readonly regionChanged: (replica: RegionReplica) => void;
  /** A region became these. */
  readonly regionSplit: (parent: RegionReplica, parts: readonly metapb.Region[]) => void;
  /** A region's peer or its snapshot cannot come, for another region has its keys here. */
  readonly inTheWay: (regionId: number) => void;
  /** A peer's log says that its region goes on without it. */
  readonly leaving: (replica: RegionReplica, next: metapb.Region) => void;
  /** Nothing is here any more of the region and its peer. */
  readonly regionGone: (regionId: number, peerId: number) => void;
  readonly diskFailed: (error: Error) => void;
}

/** Messages that may wait for one peer: a turn brings at most a frame from each node. */
const PEER_MAILBOX = { capacity: 16_384, overflow: 'reject' } as const;
/** Milliseconds in which peers are started before others have the event loop. */
const START_SLICE_MS = 5;
/** Ticks after which the first peer of a new cluster campaigns. */
const FIRST_CAMPAIGN_TICKS = 2;
const MERGE_INTERVAL_MS = 2_000;
const NO_KEY = new Uint8Array(0);

/** The peers of a store: how each comes to be and ends, its replica and its actor; one a region. */
export class StorePeers {
  /** By region. */
  readonly replicas = new Map<number, RegionReplica>();
  readonly meta = new StoreMeta();
  readonly merges: PendingMerges;
  readonly sources: MergeSources;
  readonly #options: StorePeersOptions;
  readonly #places: SnapshotPlaces;
  /** Replicas whose end is on its way to the disk. */
  readonly #ending = new WeakSet<RegionReplica>();
  /** With writes of this turn. */
  #writing = new Set<RegionReplica>();
  #lone: LoneCommands | undefined;
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
    this.#places = new SnapshotPlaces({ ...options, meta: this.meta, replicas: this.replicas });
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
      if (!this.replicas.has(peer.region.id)) this.#startStored(peer);
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
  async makeFirstRegion(region: metapb.Region): Promise<void> {
    const { engine, storeId } = this.#options;
    const peer = peerOnStore(region, storeId);
    if (peer === undefined)
      throw new TroupeError('failed', `region ${region.id} has no peer on store ${storeId}`);
    const here = this.replicas.get(region.id);
    if (here?.initialised || this.meta.tombstone(region.id) !== undefined) return;
    // The others were faster: its snapshot is on its way.
    if (here !== undefined) throw new TroupeError('failed', `region ${region.id} is not durable here yet`);
    if (await this.#repaired?.claims(region)) return;
    // It was here, and its tombstone is forgotten; or what became of it came before it.
    if (peer.id <= this.meta.collectedThrough || this.meta.overlapping(region).length > 0) return;
    // From here on no message of the others makes it anew.
    this.meta.replace([region]);
    if ((await loadRegionState(engine, region.id)) === undefined) {
      const batch = engine.batch();
      saveRegionState(batch, region.id, {
        state: raft_serverpb.PeerState.Normal,
        region,
        peerId: peer.id,
      });
      if (!this.#options.standalone) {
        // An earlier life may have given its vote before it knew its region.
        const { log } = this.#options.host;
        const [promised] = await log.hardStates([region.id]);
        log.create(batch, region.id, INITIAL_LOG, confStateOf(region), promised);
      }
      await engine.write(batch);
      await engine.sync();
    }
    await this.#options.directory.refresh();
    const stored = await this.#options.host.log.loadStored(region.id);
    if (this.replicas.has(region.id)) return;
    const replica = this.#startStored({ region, peer, mergeState: undefined, stored });
    if (region.peers[0]?.id === peer.id) this.#campaignSoon(replica);
  }

  /** A new cluster need not wait for an election timeout: one of its peers asks as soon as the others should be there. */
  #campaignSoon(replica: RegionReplica): void {
    const ticks = this.#options.tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS;
    this.#options.clock.setTimeout(() => {
      if (!replica.stopped && replica.group.leader === 0) replica.group.campaign();
    }, FIRST_CAMPAIGN_TICKS * ticks);
  }

  // How a peer comes to be.

  #makeReplica(
    region: metapb.Region,
    peer: metapb.Peer,
    mergeState?: raft_serverpb.MergeState,
    size = new RegionSize(),
  ): RegionReplica {
    const { system, engine, logger, maxEntryBytes, tasks, reads, txn, changes, tracing } = this.#options;
    const replica = new RegionReplica({
      region,
      peer,
      mergeState,
      engine,
      logger,
      tasks,
      reads,
      txn,
      tracing,
      maxEntryBytes,
      size,
      flow: new FlowCount(this.#options.flow),
      changes: { ...changes, localRegion: (id) => this.meta.region(id) },
      surroundings: (one) => this.#surroundingsOf(one),
      siblings: (one) => this.meta.siblings(one),
      heard: (storeId) => this.#options.messages.heard(storeId),
      refusesSender: (one, event) => this.#refusesSender(one, event),
      takesSnapshot: (one, whole, step) => this.#places.take(one, whole, step),
      wantsTurn: (one) => {
        this.#writing.add(one);
        system.requestTurn();
      },
      refusedAsBusy: () => this.#options.refusedAsBusy(),
      damaged: (error) => this.#options.diskFailed(error),
      roleChanged: (one) => this.#options.roleChanged(one),
      // A peer of a repaired store takes its snapshot in by itself.
      restoring: (one, whole) => this.#places.ensure(one, whole),
      restored: (one) => this.#restored(one),
    });
    this.replicas.set(region.id, replica);
    return replica;
  }

  #spawnPeer(replica: RegionReplica): ActorRef {
    const { region, peerId, initialised, mergeState } = replica;
    const actor = this.#options.system.spawn(peerMachine, {
      path: peerPath(region.id, peerId),
      input: { replica, initialised, merging: mergeState !== undefined },
      mailbox: PEER_MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    // A peer that hears nothing any more must not go on to vote and lead.
    actor.watch(() => replica.stop());
    this.#options.started();
    return actor;
  }

  #startStored({ region, peer, mergeState, stored }: StoredPeer): RegionReplica {
    if (this.#stopped) throw new TroupeError('closed', `store ${this.#options.storeId} has stopped`);
    const replica = this.#makeReplica(region, peer, mergeState);
    let commands: CommandLog;
    try {
      commands = this.#openCommands(region.id, peer.id, replica, stored);
    } catch (error) {
      this.replicas.delete(region.id);
      throw error;
    }
    replica.attach(commands, this.#spawnPeer(replica));
    return replica;
  }

  /** Starts a peer that needs nothing from disk, once its predecessor under its path is gone. */
  #startNow(
    region: metapb.Region,
    peer: metapb.Peer,
    initial: InitialState,
    then: (replica: RegionReplica) => void,
    size?: RegionSize,
  ): void {
    if (this.#stopped) return;
    const { system, host } = this.#options;
    const path = peerPath(region.id, peer.id);
    const replica = this.#makeReplica(region, peer, undefined, size);
    const group = host.start(region.id, peer.id, replica, initial);
    const spawn = () => {
      if (this.#stopped || this.replicas.get(region.id) !== replica) return;
      if (system.actor(path) === undefined) {
        replica.attach(group, this.#spawnPeer(replica));
        then(replica);
      } else system.ref(`${system.node}/${path}`).watch(spawn);
    };
    replica.restoredGroup = group;
    spawn();
  }

  /** A peer that knows its ids alone; its region comes with a snapshot, or with a split. */
  async #createUninitialised(event: RaftEvent): Promise<void> {
    const { regionId, toPeer } = event;
    const { host, logger } = this.#options;
    if (this.replicas.has(regionId) || this.meta.region(regionId) !== undefined) return;
    if (this.meta.isUninitialised(regionId)) return;
    this.meta.addUninitialised(regionId, toPeer);
    // An earlier life of the peer may have given its vote.
    const [promised] = await host.log.hardStates([regionId]);
    if (this.#stopped || this.replicas.has(regionId) || !this.meta.isUninitialised(regionId)) return;
    if (this.meta.isComing(regionId)) {
      this.meta.forget(regionId);
      this.meta.park(event);
      return;
    }
    logger.debug({ region: regionId, peer: toPeer.id }, 'a peer is made by the first message for it');
    const initial = { ...NOTHING, hardState: promised ?? NOTHING.hardState };
    this.#startNow(unknownRegion(regionId), toPeer, initial, (replica) => replica.tell(event));
  }

  // How a peer ends.

  /**
   * Removes the peer that is here, with its data; a tombstone is left. That has the region as the peer last knew it: of
   * members that came after that nobody here knows whether they still are.
   */
  destroy(replica: RegionReplica, why: string): void {
    const { host, logger } = this.#options;
    const { raftGroup: group, peerId } = replica;
    if (group === undefined || this.#ending.has(replica)) return;
    this.#ending.add(replica);
    logger.info({ region: replica.region.id, peer: peerId, why }, 'a peer is removed');
    replica.tell({ type: 'removed' });
    let gone: Gone[] = [];
    host
      .destroy(group, (batch) => {
        // What was under way when it was stopped is evaluated now, and its snapshot installed if that had begun.
        const { region, sources } = this.#places.removing(replica, batch);
        // Of one that never knew its region, what an earlier peer has left is all there is.
        const earlier = region.peers.length > 0 ? undefined : this.meta.tombstone(region.id);
        const tombstone = { region, target: undefined, ...earlier, peer: peerId };
        bury(batch, tombstone.region, peerId, tombstone.target);
        gone = [[replica, tombstone], ...sources];
      })
      .then(
        () => {
          for (const [one, tombstone] of gone) this.#buried(one, tombstone);
        },
        // The engine's own failure stops the store.
        () => {},
      );
  }

  #buried(replica: RegionReplica, tombstone: Tombstone): void {
    const { id } = tombstone.region;
    replica.tell({ type: 'buried' });
    if (this.replicas.get(id) === replica) this.replicas.delete(id);
    this.meta.bury(tombstone);
    this.merges.remove(id);
    this.#options.messages.forget(tombstone.region);
    this.#options.regionGone(id, tombstone.peer);
    this.sources.dropMerged();
  }

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
        void this.#createUninitialised(event).catch((error: unknown) => this.#diskRefused(error));
        return;
      case 'replace':
        if (present !== undefined && !this.#isNeeded(present))
          this.destroy(present, `peer ${toPeer.id} takes its place`);
        return;
      case 'confirm':
        scheduler.getRegionById(regionId).then(
          ({ region }) => {
            const named = region && peerOnStore(region, storeId);
            if (named?.id === toPeer.id) return this.#createUninitialised(event);
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

  // What a region's log makes of its peers.

  #surroundingsOf(replica: RegionReplica): RegionSurroundings {
    return {
      prepareSplit: (created) => this.#prepareSplit(replica, created),
      split: (split, made) => {
        const leads = replica.attached && replica.group.isLeader;
        this.meta.replace([split.own, ...made.map(({ region }) => region)]);
        const sizes = replica.size.divide(split.parts.length);
        for (const part of made) this.#startPart(part, leads, sizes.pop());
        this.#options.regionSplit(replica, split.parts);
        this.#knockAgain();
      },
      membershipChanged: (region) => this.#membershipChanged(replica, region),
      removalReached: (next) => this.#options.leaving(replica, next),
      mergePrepared: (region, state) => {
        this.meta.replace([region]);
        replica.raftGroup?.lease?.giveUp(replica.group.term);
        replica.tell({ type: 'mergePrepared' });
        this.sources.isReady(region.id, state.commit);
        this.merges.add(replica);
        this.#options.regionChanged(replica);
      },
      mergeRolledBack: (region) => {
        this.meta.replace([region]);
        this.merges.remove(region.id);
        replica.tell({ type: 'mergeRolledBack' });
        this.#options.regionChanged(replica);
      },
      sourceReady: (merge) => this.sources.ready(merge),
      merged: (region, source) => {
        const taken = this.replicas.get(source.id);
        const target = this.meta.region(region.id);
        this.meta.replace([region], [source.id]);
        // At which timestamps the other one was read nobody here knows.
        this.#options.txn.timestamps.uncover(replica);
        if (taken !== undefined) {
          replica.size.merge(taken.size);
          taken.tell({ type: 'removed' });
          this.#buried(taken, { peer: taken.peerId, region: source, target });
        }
        this.#options.regionChanged(replica);
      },
    };
  }

  async #prepareSplit(parent: RegionReplica, created: readonly metapb.Region[]): Promise<PreparedSplit> {
    const { storeId, host } = this.#options;
    const regions: metapb.Region[] = [];
    const gone: metapb.Region[] = [];
    for (const region of created) {
      const peer = peerOnStore(region, storeId)?.id ?? 0;
      const here = this.replicas.get(region.id);
      // Its keys are still the parent's.
      if (here?.initialised) throw new Error(`region ${region.id} is here before the split that makes it`);
      // Who waits with a later id was made after this one went.
      const buried = here === undefined ? this.meta.tombstone(region.id)?.peer : here.peerId - 1;
      // One that has forgotten its votes comes back by itself.
      if ((buried ?? 0) >= peer || this.#repaired?.forgot(peer)) {
        gone.push(region);
        continue;
      }
      if (here !== undefined) this.forget(here);
      regions.push(region);
    }
    const ids = regions.map(({ id }) => id);
    this.meta.noteSplit(parent.region.id, ids);
    const promised = await host.log.hardStates(ids);
    return { parts: regions.map((region, i) => ({ region, promised: promised[i] })), gone };
  }

  /** Lets go of a peer that never had its region. What it promised stays on disk: whoever takes its place keeps it. */
  forget(replica: RegionReplica): void {
    const { host, system } = this.#options;
    const { region, peerId, raftGroup: group } = replica;
    // Its snapshot has come meanwhile.
    if (this.#places.isTaken(region.id)) return;
    if (group !== undefined) host.release(group);
    this.replicas.delete(region.id);
    this.meta.forget(region.id);
    system.ref(`${system.node}/${peerPath(region.id, peerId)}`).stop();
  }

  #startPart({ region, promised }: SplitPart, parentLeads: boolean, size: RegionSize | undefined): void {
    const peer = peerOnStore(region, this.#options.storeId);
    if (peer === undefined) return;
    const own = promised !== undefined && promised.term >= INITIAL_LOG.term ? promised : undefined;
    const { index: commit, term } = INITIAL_LOG;
    const initial: InitialState = {
      ...NOTHING,
      hardState: own === undefined ? { term, vote: 0, commit } : { ...own, commit },
      confState: confStateOf(region),
      truncated: INITIAL_LOG,
      lastIndex: commit,
      applied: commit,
    };
    this.#startNow(
      region,
      peer,
      initial,
      (replica) => {
        const first = this.meta.unpark(peer.id);
        // Whoever led the whole is the best to lead its parts; nobody has voted in one of them yet.
        if (parentLeads && own === undefined) replica.group.campaign();
        else if (first !== undefined) replica.tell(first);
      },
      size,
    );
  }

  #membershipChanged(replica: RegionReplica, region: metapb.Region): void {
    const before = this.meta.region(region.id);
    this.meta.replace([region]);
    if (!replica.attached || !replica.group.isLeader) return;
    for (const peer of before?.peers ?? []) {
      if (region.peers.some(({ id }) => id === peer.id)) continue;
      // It may never hear of it from the log.
      this.#options.messages.notify(region, replica.peer, peer, { isTombstone: true });
    }
    this.#options.regionChanged(replica);
  }

  #restored(replica: RegionReplica): void {
    const { id } = replica.region;
    this.#places.filled(id);
    this.merges.remove(id);
    this.sources.dropMerged();
  }

  // Snapshots

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
    for (const [replica, tombstone] of this.#places.installed(regionId)) this.#buried(replica, tombstone);
    this.#repaired?.restored(regionId);
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
    this.merges.stop();
    for (const replica of this.replicas.values()) replica.stop();
    this.#repaired?.stop();
  }

  /** Resolves when the disk has nothing under way for a store that stands alone. */
  async idle(): Promise<void> {
    await this.#lone?.idle();
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
        const replica = this.#makeReplica(region, peer);
        replica.recover(recovery(replica), (one) => this.#spawnPeer(one));
      },
    };
  }

  /** What orders the region's commands: its Raft group, or this node alone. A data directory is for one of the two. */
  #openCommands(
    regionId: number,
    peerId: number,
    replica: RegionReplica,
    stored: StoredGroup | undefined,
  ): CommandLog {
    const { engine, system, standalone, host } = this.#options;
    if ((stored !== undefined) === standalone) {
      throw new TroupeError(
        'identity',
        standalone
          ? 'The data directory belongs to a replicated store: start it without --standalone, or give this one an empty directory.'
          : 'The data directory was written with --standalone: start it so, or give this store an empty directory.',
      );
    }
    if (stored !== undefined) return host.resume(regionId, peerId, replica, stored);
    const storage = new StandaloneStorage(engine);
    this.#lone = new LoneCommands(peerId, replica, storage, system, this.#options.diskFailed);
    return this.#lone;
  }
}

const NO_EPOCH: metapb.RegionEpoch = { confVer: 0, version: 0 };

/** What a peer knows that knows nothing. */
const NOTHING: InitialState = {
  hardState: { term: 0, vote: 0, commit: 0 },
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  truncated: { index: 0, term: 0 },
  lastIndex: 0,
  terms: [],
  entries: [],
  applied: 0,
};

function unknownRegion(id: number): metapb.Region {
  return { id, startKey: NO_KEY, endKey: NO_KEY, regionEpoch: NO_EPOCH, peers: [] };
}

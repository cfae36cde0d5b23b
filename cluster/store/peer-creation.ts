import type { ActorRef, ActorSystem, Logger } from '../../actors/index.js';
import { type InitialState, peerMachine } from '../../machines/index.js';
import { type Engine, StandaloneStorage, type StoredGroup } from '../../storage/index.js';
import type { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { peerPath, type RaftEvent } from '../protocol.js';
import type { RaftHost } from '../raft/host.js';
import { INITIAL_LOG, NOTHING } from '../raft/initial-log.js';
import { LoneCommands } from '../raft/lone-commands.js';
import type { CommandLog } from '../raft/state-machine.js';
import type { TaskQueue } from '../tasks.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { confStateOf, peerOnStore } from './admin/change-peer.js';
import { NO_EPOCH } from './admin/epoch.js';
import type { StoredPeer } from './load-peers.js';
import type { PeerMessages } from './peer-messages.js';
import type { ReadTurn } from './read-turn.js';
import type { RegionChangesOptions } from './region-changes.js';
import { FlowCount } from './region-flow.js';
import type { RegionSurroundings, SplitPart } from './region-state-machine.js';
import { RegionReplica } from './replica.js';
import type { RequestTimes } from './request-times.js';
import type { SnapshotPlaces } from './snapshot-places.js';
import { RegionSize } from './split/index.js';
import type { StoreMeta } from './store-meta.js';
import type { StoreTxn } from './txn/index.js';

/** What all peers of a store share, and what each tells it. */
export interface PeerCreationOptions {
  readonly storeId: number;
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly logger: Logger;
  readonly host: RaftHost;
  readonly tasks: TaskQueue;
  readonly reads: ReadTurn;
  readonly txn: StoreTxn;
  readonly messages: PeerMessages;
  readonly tracing?: StoreTracing | undefined;
  readonly maxEntryBytes: number;
  readonly standalone: boolean;
  readonly changes: Omit<RegionChangesOptions, 'localRegion'>;
  /** What is written and read in all regions that this store leads. */
  readonly flow: FlowCount;
  readonly requestTimes: RequestTimes;
  /** A call was refused because too much was under way. */
  readonly refusedAsBusy: () => void;
  /** A peer's actor is there. */
  readonly started: () => void;
  readonly roleChanged: (replica: RegionReplica) => void;
  readonly diskFailed: (error: Error) => void;
}

export interface PeerCreationParts extends PeerCreationOptions {
  readonly meta: StoreMeta;
  /** By region; those that are made are put in. */
  readonly replicas: Map<number, RegionReplica>;
  readonly places: SnapshotPlaces;
  readonly surroundings: (replica: RegionReplica) => RegionSurroundings;
  /** The sender is no member any more; it is told. */
  readonly refusesSender: (replica: RegionReplica, event: RaftEvent) => boolean;
  /** The replica has writes to propose at the end of the turn. */
  readonly wantsTurn: (replica: RegionReplica) => void;
  /** A snapshot's data is in place. */
  readonly restored: (replica: RegionReplica) => void;
}

/** Messages that may wait for one peer: a turn brings at most a frame from each node. */
const PEER_MAILBOX = { capacity: 16_384, overflow: 'reject' } as const;
const NO_KEY = new Uint8Array(0);

/** How a peer comes to be: its replica, what orders its commands, its actor. */
export class PeerCreation {
  readonly #parts: PeerCreationParts;
  #lone: LoneCommands | undefined;
  #stopped = false;

  constructor(parts: PeerCreationParts) {
    this.#parts = parts;
  }

  /** No peer is made any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when the disk has nothing under way for a store that stands alone. */
  async idle(): Promise<void> {
    await this.#lone?.idle();
  }

  /** A peer as it is on disk. @throws TroupeError `closed`; `identity` when the directory is for another kind of store */
  startStored({ region, peer, mergeState, stored }: StoredPeer): RegionReplica {
    const { storeId, replicas } = this.#parts;
    if (this.#stopped) throw new TroupeError('closed', `store ${storeId} has stopped`);
    const replica = this.makeReplica(region, peer, mergeState);
    let commands: CommandLog;
    try {
      commands = this.#openCommands(region.id, peer.id, replica, stored);
    } catch (error) {
      replicas.delete(region.id);
      throw error;
    }
    replica.attach(commands, this.spawnPeer(replica));
    return replica;
  }

  /** A peer that knows its ids alone; its region comes with a snapshot, or with a split. @param event what it is told first */
  async startUninitialised(event: RaftEvent): Promise<void> {
    const { regionId, toPeer } = event;
    const { host, logger, meta, replicas } = this.#parts;
    if (replicas.has(regionId) || meta.region(regionId) !== undefined) return;
    if (meta.isUninitialised(regionId)) return;
    meta.addUninitialised(regionId, toPeer);
    // An earlier life of the peer may have given its vote.
    const [promised] = await host.log.hardStates([regionId]);
    if (this.#stopped || replicas.has(regionId) || !meta.isUninitialised(regionId)) return;
    if (meta.isComing(regionId)) {
      meta.forget(regionId);
      meta.park(event);
      return;
    }
    logger.debug({ region: regionId, peer: toPeer.id }, 'a peer is made by the first message for it');
    const initial = { ...NOTHING, hardState: promised ?? NOTHING.hardState };
    this.#startNow(unknownRegion(regionId), toPeer, initial, (replica) => replica.tell(event));
  }

  /** The peer of a new region that came of a split. @param parentLeads this store leads the region that was split */
  startPart({ region, promised }: SplitPart, parentLeads: boolean, size: RegionSize | undefined): void {
    const { storeId, meta } = this.#parts;
    const peer = peerOnStore(region, storeId);
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
        const first = meta.unpark(peer.id);
        // Whoever led the whole is the best to lead its parts; nobody has voted in one of them yet.
        if (parentLeads && own === undefined) replica.group.campaign();
        else if (first !== undefined) replica.tell(first);
      },
      size,
    );
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
    const { system, host, replicas } = this.#parts;
    const path = peerPath(region.id, peer.id);
    const replica = this.makeReplica(region, peer, undefined, size);
    const group = host.start(region.id, peer.id, replica, initial);
    const spawn = () => {
      if (this.#stopped || replicas.get(region.id) !== replica) return;
      if (system.actor(path) === undefined) {
        replica.attach(group, this.spawnPeer(replica));
        then(replica);
      } else system.ref(`${system.node}/${path}`).watch(spawn);
    };
    replica.restoredGroup = group;
    spawn();
  }

  /** A replica without a group and an actor, in the store's map from now on. */
  makeReplica(
    region: metapb.Region,
    peer: metapb.Peer,
    mergeState?: raft_serverpb.MergeState,
    size = new RegionSize(),
  ): RegionReplica {
    const { engine, logger, maxEntryBytes, tasks, reads, txn, changes, tracing } = this.#parts;
    const { meta, places, messages, flow, requestTimes } = this.#parts;
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
      flow: new FlowCount(flow),
      requestTimes,
      changes: { ...changes, localRegion: (id) => meta.region(id) },
      surroundings: this.#parts.surroundings,
      siblings: (one) => meta.siblings(one),
      heard: (storeId) => messages.heard(storeId),
      refusesSender: this.#parts.refusesSender,
      takesSnapshot: (one, whole, step) => places.take(one, whole, step),
      wantsTurn: this.#parts.wantsTurn,
      refusedAsBusy: this.#parts.refusedAsBusy,
      damaged: this.#parts.diskFailed,
      roleChanged: this.#parts.roleChanged,
      // A peer of a repaired store takes its snapshot in by itself.
      restoring: (one, whole) => places.ensure(one, whole),
      restored: this.#parts.restored,
    });
    this.#parts.replicas.set(region.id, replica);
    return replica;
  }

  spawnPeer(replica: RegionReplica): ActorRef {
    const { region, peerId, initialised, mergeState } = replica;
    const actor = this.#parts.system.spawn(peerMachine, {
      path: peerPath(region.id, peerId),
      input: { replica, initialised, merging: mergeState !== undefined },
      mailbox: PEER_MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    // A peer that hears nothing any more must not go on to vote and lead.
    actor.watch(() => replica.stop());
    this.#parts.started();
    return actor;
  }

  /** What orders the region's commands: its Raft group, or this node alone. A data directory is for one of the two. */
  #openCommands(
    regionId: number,
    peerId: number,
    replica: RegionReplica,
    stored: StoredGroup | undefined,
  ): CommandLog {
    const { engine, system, standalone, host, diskFailed } = this.#parts;
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
    this.#lone = new LoneCommands(peerId, replica, storage, system, diskFailed);
    return this.#lone;
  }
}

function unknownRegion(id: number): metapb.Region {
  return { id, startKey: NO_KEY, endKey: NO_KEY, regionEpoch: NO_EPOCH, peers: [] };
}

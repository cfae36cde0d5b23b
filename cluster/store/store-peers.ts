import type { ActorRef, ActorSystem, Clock, Logger } from '../../actors/index.js';
import { DEFAULT_RAFT_CONFIG, peerMachine } from '../../machines/index.js';
import {
  type Engine,
  loadRegionState,
  loadRegionStates,
  StandaloneStorage,
  type StoredGroup,
  saveRegionState,
  type WriteBatch,
} from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import { peerPath, type RaftEvent } from '../protocol.js';
import { INITIAL_LOG, type RaftHost } from '../raft/host.js';
import { LoneCommands } from '../raft/lone-commands.js';
import type { CommandLog } from '../raft/state-machine.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import type { TaskQueue } from '../tasks.js';
import type { PeerMessages } from './peer-messages.js';
import type { ReadTurn } from './read-turn.js';
import { overlap } from './region-check.js';
import { RepairedPeers, type RepairedPeersParts } from './repaired-peers.js';
import { RegionReplica } from './replica.js';
import type { StoreDirectory } from './store-directory.js';

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
  readonly directory: StoreDirectory;
  readonly messages: PeerMessages;
  readonly maxEntryBytes: number;
  readonly standalone: boolean;
  readonly tuning?: RaftTuning | undefined;
  /** A peer's actor is there. */
  readonly started: () => void;
  readonly roleChanged: (replica: RegionReplica) => void;
  readonly diskFailed: (error: Error) => void;
}

/** Messages that may wait for one peer: a turn brings at most a frame from each node. */
const PEER_MAILBOX = { capacity: 16_384, overflow: 'reject' } as const;
/** Milliseconds in which peers are started before others have the event loop. */
const START_SLICE_MS = 5;
/** Ticks after which the first peer of a new cluster campaigns. */
const FIRST_CAMPAIGN_TICKS = 2;

/** The peers of a store: how each comes to be, its replica and its actor; one a region. */
export class StorePeers {
  /** By region. */
  readonly replicas = new Map<number, RegionReplica>();
  readonly #options: StorePeersOptions;
  /** With writes of this turn. */
  #writing = new Set<RegionReplica>();
  #lone: LoneCommands | undefined;
  /** `undefined` on a store that was never repaired. */
  #repaired: RepairedPeers | undefined;
  #stopped = false;

  constructor(options: StorePeersOptions) {
    this.#options = options;
  }

  /** Starts the peers that are on disk. @throws TroupeError `identity` when the directory is for another kind of store */
  async start(): Promise<void> {
    // Before anything else may make a peer anew.
    this.#repaired = await RepairedPeers.load(this.#repairParts());
    const { engine, host, clock } = this.#options;
    const groups = await host.log.loadAll();
    let sliceEnds = clock.now() + START_SLICE_MS;
    for (const { state, region } of await loadRegionStates(engine)) {
      if (state === raft_serverpb.PeerState.Tombstone || region === undefined) continue;
      if (!this.replicas.has(region.id)) await this.#startPeer(region, groups.get(region.id));
      // Those that have started serve meanwhile.
      if (clock.now() < sliceEnds) continue;
      await new Promise<void>((resolve) => clock.immediate(resolve));
      sliceEnds = clock.now() + START_SLICE_MS;
    }
  }

  /** On a repaired store: brings back the peers that have forgotten everything. Does not wait for them. */
  bringBack(): void {
    this.#repaired?.start();
  }

  /** Repeats are harmless: what is durable already is only confirmed. */
  async makeFirstRegion(region: metapb.Region): Promise<void> {
    const { engine } = this.#options;
    const peer = region.peers.find((one) => one.storeId === this.#options.storeId);
    if (peer === undefined)
      throw new TroupeError('failed', `region ${region.id} has no peer on store ${this.#options.storeId}`);
    if (this.replicas.has(region.id)) return;
    if (await this.#repaired?.claims(region)) return;
    if ((await loadRegionState(engine, region.id)) === undefined) {
      const batch = engine.batch();
      saveRegionState(batch, region.id, {
        state: raft_serverpb.PeerState.Normal,
        region,
        mergeState: undefined,
      });
      if (!this.#options.standalone) {
        this.#options.host.log.create(batch, region.id, INITIAL_LOG, {
          voters: region.peers.map((one) => one.id),
          votersOutgoing: [],
          learners: [],
          learnersNext: [],
          autoLeave: false,
        });
      }
      await engine.write(batch);
      await engine.sync();
    }
    await this.#options.directory.refresh();
    if (this.replicas.has(region.id)) return;
    const replica = await this.#startPeer(region);
    if (region.peers[0]?.id === peer.id) this.#campaignSoon(replica);
  }

  /** A new cluster need not wait for an election timeout: one of its peers asks as soon as the others should be there. */
  #campaignSoon(replica: RegionReplica): void {
    const ticks = this.#options.tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS;
    this.#options.clock.setTimeout(() => {
      if (!replica.stopped && replica.group.leader === 0) replica.group.campaign();
    }, FIRST_CAMPAIGN_TICKS * ticks);
  }

  #makeReplica(region: metapb.Region): RegionReplica {
    const { system, engine, logger, maxEntryBytes } = this.#options;
    const peer = region.peers.find((one) => one.storeId === this.#options.storeId);
    if (peer === undefined)
      throw new TroupeError('failed', `region ${region.id} has no peer on store ${this.#options.storeId}`);
    const replica = new RegionReplica({
      region,
      peer,
      engine,
      logger,
      tasks: this.#options.tasks,
      reads: this.#options.reads,
      maxEntryBytes,
      wantsTurn: (one) => {
        this.#writing.add(one);
        system.requestTurn();
      },
      damaged: (error) => this.#options.diskFailed(error),
      roleChanged: (one) => this.#options.roleChanged(one),
    });
    this.replicas.set(region.id, replica);
    return replica;
  }

  #spawnPeer(replica: RegionReplica, initialised: boolean): ActorRef {
    const { region, peer } = replica;
    const actor = this.#options.system.spawn(peerMachine, {
      path: peerPath(region.id, peer.id),
      input: { replica, initialised },
      mailbox: PEER_MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    // A peer that hears nothing any more must not go on to vote and lead.
    actor.watch(() => replica.stop());
    this.#options.started();
    return actor;
  }

  /** @param stored what its Raft group has on disk, where that was read with many others */
  async #startPeer(region: metapb.Region, stored?: StoredGroup): Promise<RegionReplica> {
    const replica = this.#makeReplica(region);
    let commands: CommandLog;
    try {
      commands = await this.#openCommands(replica, stored);
      if (this.#stopped) throw new TroupeError('closed', `store ${this.#options.storeId} has stopped`);
    } catch (error) {
      this.replicas.delete(region.id);
      throw error;
    }
    replica.attach(commands, this.#spawnPeer(replica, true));
    return replica;
  }

  /** At the end of a turn: what it brought for each region becomes an entry. */
  proposeWrites(): void {
    if (this.#writing.size === 0) return;
    const writing = this.#writing;
    this.#writing = new Set();
    for (const replica of writing) replica.proposeWrites();
  }

  /** Other regions of this store that have keys in common with this one. */
  overlapping(region: metapb.Region): metapb.Region[] {
    const regions = [...this.replicas.values()].map((replica) => replica.region);
    return regions.filter((one) => one.id !== region.id && overlap(one, region));
  }

  /** A message came for a region that is not here. */
  heardOf(event: RaftEvent): void {
    this.#repaired?.heardOf(event);
  }

  /** The peer has forgotten its votes, and is not back. */
  isRecovering(regionId: number, peerId: number): boolean {
    return this.#repaired?.isRecovering(regionId, peerId) ?? false;
  }

  /** Whether the peer takes this snapshot at all. */
  admits(event: RaftEvent): boolean {
    return this.#repaired?.admits(event) ?? true;
  }

  /** Part of the batch that makes a snapshot durable. */
  installing(regionId: number, batch: WriteBatch): void {
    this.#repaired?.installing(regionId, batch);
  }

  /** The snapshot is durable. */
  restored(regionId: number): void {
    this.#repaired?.restored(regionId);
  }

  /** Everybody who waits is answered; nothing is acknowledged any more. */
  stop(): void {
    this.#stopped = true;
    for (const replica of this.replicas.values()) replica.stop();
    this.#repaired?.stop();
  }

  /** Resolves when the disk has nothing under way for a store that stands alone. */
  async idle(): Promise<void> {
    await this.#lone?.idle();
  }

  /** What a peer of a repaired store needs to come back. */
  #repairParts(): RepairedPeersParts {
    const { tuning, diskFailed } = this.#options;
    return {
      ...this.#options,
      tickInterval: tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS,
      electionTicks: tuning?.electionTicks ?? DEFAULT_RAFT_CONFIG.electionTick,
      nodeOf: (storeId) => this.#options.directory.nodeOf(storeId),
      send: (replica, message) => this.#options.messages.send(replica, message),
      startGroup: (replica, initial) => {
        const group = this.#options.host.start(replica.region.id, replica.peer.id, replica, initial);
        replica.restoredGroup = group;
        return group;
      },
      abandonGroup: async (replica) => {
        const { raftGroup } = replica;
        if (raftGroup !== undefined) await this.#options.host.destroy(raftGroup, () => {});
        replica.restoredGroup = undefined;
      },
      whole: (replica) => replica.recovered(),
      failed: (error) => diskFailed(error instanceof Error ? error : new Error(String(error))),
      makeReplica: (region, recovery) => {
        if (this.#stopped || this.replicas.has(region.id)) return;
        const replica = this.#makeReplica(region);
        replica.recover(recovery(replica), this.#spawnPeer(replica, false));
      },
    };
  }

  /** What orders the region's commands: its Raft group, or this node alone. A data directory is for one of the two. */
  async #openCommands(replica: RegionReplica, loaded: StoredGroup | undefined): Promise<CommandLog> {
    const { engine, system, standalone, host } = this.#options;
    const regionId = replica.region.id;
    const peerId = replica.peer.id;
    const stored = loaded ?? (await host.log.loadStored(regionId));
    if ((stored !== undefined) === standalone) {
      throw new TroupeError(
        'identity',
        standalone
          ? 'The data directory belongs to a replicated store: start it without --standalone, or give this one an empty directory.'
          : 'The data directory was written with --standalone: start it so, or give this store an empty directory.',
      );
    }
    if (!standalone) return host.open(regionId, peerId, replica, stored);
    const storage = new StandaloneStorage(engine);
    this.#lone = new LoneCommands(peerId, replica, storage, system, this.#options.diskFailed);
    return this.#lone;
  }
}

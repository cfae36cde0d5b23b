import type { ActorRef, ActorSystem, Clock, Logger, ReplyTo } from '../../actors/index.js';
import {
  DEFAULT_RAFT_CONFIG,
  peerMachine,
  type StoreNodeHost,
  storeNodeMachine,
} from '../../machines/index.js';
import {
  type Engine,
  EngineFailedError,
  loadIdentity,
  loadRegionState,
  loadRegionStates,
  StandaloneStorage,
  type StoreIdentity,
  saveIdentity,
  saveRegionState,
} from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { type ProtocolEvent, peerPath, type RaftEvent, type RegionEvent } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import { INITIAL_LOG, RAFT_TURN_ORDER, RaftHost } from '../raft/host.js';
import { LoneCommands } from '../raft/lone-commands.js';
import type { GroupSnapshots } from '../raft/snapshots.js';
import type { CommandLog } from '../raft/state-machine.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import { TaskQueue } from '../tasks.js';
import { LogGc, type LogGcLimits } from './log-gc.js';
import { PeerMessages } from './peer-messages.js';
import {
  type CheckRegionEvent,
  type PeerTermEvent,
  type RegionHashEvent,
  StoreQuestions,
} from './questions.js';
import { ReadTurn } from './read-turn.js';
import { errorOf } from './region-call.js';
import { overlap } from './region-check.js';
import { RepairedPeers, type RepairedPeersParts } from './repaired-peers.js';
import { RegionReplica } from './replica.js';
import { type DiskUsage, Reporter } from './reporter.js';
import { RegionSnapshots } from './snapshots/index.js';
import { StoreDirectory } from './store-directory.js';

/** Order of the hook that reads what was confirmed: after Raft's Readys are taken, which confirm. */
const READ_ORDER = RAFT_TURN_ORDER + 50;

/** Messages that may wait for one peer: a turn brings at most a frame from each node. */
const PEER_MAILBOX = { capacity: 16_384, overflow: 'reject' } as const;

/** Slow tasks that run side by side, and that may wait for each of a store's regions. */
const LONG_TASKS = 2;
const WAITING_TASKS = 65_536;

/** Ticks after which the first peer of a new cluster campaigns. */
const FIRST_CAMPAIGN_TICKS = 2;

/** What a deployment may set of a store. */
export interface StoreTuning extends RaftTuning {
  /** When Raft logs are cut. */
  readonly logGc?: Partial<LogGcLimits>;
}

export interface StoreParts {
  readonly cluster: string;
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly scheduler: SchedulerClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly identity: StoreIdentity;
  readonly maxEntryBytes: number;
  /** Raw operations on this node alone, without Raft. */
  readonly standalone: boolean;
  readonly tuning?: StoreTuning | undefined;
  readonly pid: number;
  /** Unix seconds. */
  readonly startTime: number;
  readonly diskUsage: () => Promise<DiskUsage>;
}

/** A store at work: its regions' peers as actors, one Raft host, one engine. */
export class StoreNode implements StoreNodeHost {
  readonly name: string;
  readonly storeId: number;
  /** Resolves when the store cannot go on; it acknowledges nothing from then on. */
  readonly failed: Promise<Error>;
  readonly #parts: StoreParts;
  readonly #tasks: TaskQueue;
  readonly #host: RaftHost;
  readonly #logGc: LogGc;
  readonly #snapshots: RegionSnapshots;
  readonly #questions: StoreQuestions;
  readonly #reads: ReadTurn;
  readonly #reporter: Reporter;
  readonly #directory: StoreDirectory;
  readonly #replicas = new Map<number, RegionReplica>();
  readonly #messages: PeerMessages;
  /** `undefined` on a store that was never repaired. */
  #repaired: RepairedPeers | undefined;
  #writing = new Set<RegionReplica>();
  #lone: LoneCommands | undefined;
  /** One after the other: the scheduler asks again while the first answer is under way. */
  #bootstrapping: Promise<void> = Promise.resolve();
  readonly #actor: ActorRef;
  readonly #hooks: (() => void)[];
  #fail: (error: Error) => void = () => {};
  #stopped = false;
  #closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    const { system, engine, clock, random, logger, identity } = parts;
    this.#parts = parts;
    this.name = system.node;
    this.storeId = identity.storeId;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#tasks = new TaskQueue({ clock, atOnce: LONG_TASKS, capacity: WAITING_TASKS });
    this.#directory = new StoreDirectory(parts.scheduler, clock, logger);
    this.#messages = new PeerMessages(system, this.#directory);
    this.#snapshots = new RegionSnapshots({
      system,
      engine,
      clock,
      random,
      logger,
      storeId: this.storeId,
      tasks: this.#tasks,
      regionOf: (id) => this.#replicas.get(id)?.region,
      overlapping: (region) => this.#overlapping(region),
      nodeOf: (storeId) => this.#directory.nodeOf(storeId),
      admits: (event) => this.#repaired?.admits(event) ?? true,
      deliver: (event) => this.#messages.deliver(event),
    });
    this.#host = new RaftHost({
      engine,
      system,
      clock,
      random,
      logger,
      tasks: this.#tasks,
      snapshots: this.#groupSnapshots(),
      send: ({ id }, message) => this.#messages.send(this.#replicas.get(id), message),
      beforeReadys: () => this.#proposeWrites(),
      failed: (error) => this.#diskFailed(error),
      ...(parts.tuning === undefined ? {} : { tuning: parts.tuning }),
    });
    const logBytes = (group: RaftGroup) => this.#host.logBytes(group);
    this.#logGc = new LogGc(clock, this.#replicas, logBytes, parts.tuning?.logGc);
    this.#questions = new StoreQuestions({
      system,
      logger,
      replicas: this.#replicas,
      nodeOf: (storeId) => this.#directory.nodeOf(storeId),
      recovering: (regionId, peerId) => this.#repaired?.isRecovering(regionId, peerId) ?? false,
    });
    this.#reads = new ReadTurn(engine, parts.maxEntryBytes, (error) => this.#diskFailed(error));
    this.#reporter = new Reporter({
      ...parts,
      replicas: this.#replicas,
      displaced: (error) => this.#stopWith(error),
    });
    void engine.failed.then((error) => {
      if (!this.#stopped) this.#diskFailed(error);
    });
    this.#actor = system.spawn(storeNodeMachine, { path: 'store', input: { host: this } });
    system.fallback('region', 'store');
    this.#hooks = [system.onTurnEnd(READ_ORDER, () => this.#reads.flush())];
  }

  get replicas(): ReadonlyMap<number, RegionReplica> {
    return this.#replicas;
  }

  get counters() {
    const { installed, chunksSent, chunksResent } = this.#snapshots.counters;
    return { ...this.#host.counters, snapshotsInstalled: installed, chunksSent, chunksResent };
  }

  /** Starts the peers that are on disk, and tells the scheduler from now on. */
  async start(): Promise<void> {
    void this.#directory.refresh();
    await this.#snapshots.finishInstallations();
    const starting = this.#bootstrapping.then(() => this.#startPeers());
    // What the scheduler asks for meanwhile comes after.
    this.#bootstrapping = starting.catch(() => {});
    await starting;
    this.#repaired = await RepairedPeers.load(this.#repairParts());
    this.#repaired?.start();
    // Not before the peers are there: what is offered is judged by the regions of this store.
    await this.#snapshots.start();
    this.#actor.tell({ type: 'loaded' });
    this.#reporter.start(() => this.#actor.tell({ type: 'reportDue' }));
    if (!this.#stopped) this.#logGc.start();
  }

  async #startPeers(): Promise<void> {
    for (const state of await loadRegionStates(this.#parts.engine)) {
      if (state.state !== raft_serverpb.PeerState.Tombstone && state.region !== undefined) {
        if (!this.#replicas.has(state.region.id)) await this.#startPeer(state.region);
      }
    }
  }

  /** Stops serving, finishes what the disk has begun, and closes engine and connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { system, engine } = this.#parts;
    this.#reporter.stop();
    this.#logGc.stop();
    this.stop();
    this.#proposeWrites();
    this.#reads.flush();
    for (const remove of this.#hooks) remove();
    // From here on the host takes no end of a task for a failure.
    const closed = this.#host.close();
    await this.#tasks.close();
    await this.#snapshots.close();
    await closed;
    await this.#lone?.idle();
    await system.close();
    await engine.close();
  }

  // The store node machine's actions.

  bootstrapRegion({ region, replyTo }: BootstrapEvent): void {
    if (region === undefined || replyTo === undefined) return;
    this.#bootstrapping = this.#bootstrapping
      .then(() => this.#makeFirstRegion(region))
      .then(
        () => replyTo.send({ durable: true }),
        (error: unknown) => replyTo.fail('failed', error instanceof Error ? error.message : String(error)),
      );
  }

  refuseBootstrap({ replyTo }: BootstrapEvent): void {
    replyTo?.fail('stopped', `store ${this.storeId} has stopped`);
  }

  routeAbsent(event: RaftEvent): void {
    // Peers are made by bootstrap and by repair: membership changes bring the creation by first contact.
    this.#repaired?.heardOf(event);
    this.#parts.logger.debug(
      { region: event.regionId, from: event.fromPeer.storeId },
      'a message for a peer that is not here',
    );
  }

  refuseAbsent(event: RegionEvent & { replyTo?: ReplyTo<troupepb.RegionResponses>; address?: string }): void {
    const regionId = event.context.regionId;
    const error = errorOf(`region ${regionId} is not on store ${this.storeId}: look it up again`, {
      regionNotFound: { regionId },
    });
    event.replyTo?.send({ regionError: error, responses: [] });
  }

  checkRegion(event: CheckRegionEvent): void {
    this.#questions.checkRegion(event);
  }

  answerHash(event: RegionHashEvent): void {
    this.#questions.answerHash(event);
  }

  answerTerm(event: PeerTermEvent): void {
    this.#questions.answerTerm(event);
  }

  report(): void {
    this.#reporter.report();
  }

  /** Everybody who waits is answered; nothing is acknowledged any more. */
  stop(): void {
    this.#stopped = true;
    for (const replica of this.#replicas.values()) replica.stop();
    this.#repaired?.stop();
  }

  /** Repeats are harmless: what is durable already is only confirmed. */
  async #makeFirstRegion(region: metapb.Region): Promise<void> {
    const { engine } = this.#parts;
    const peer = region.peers.find((one) => one.storeId === this.storeId);
    if (peer === undefined)
      throw new TroupeError('failed', `region ${region.id} has no peer on store ${this.storeId}`);
    if (this.#replicas.has(region.id)) return;
    if (await this.#repaired?.claims(region)) return;
    if ((await loadRegionState(engine, region.id)) === undefined) {
      const batch = engine.batch();
      saveRegionState(batch, region.id, {
        state: raft_serverpb.PeerState.Normal,
        region,
        mergeState: undefined,
      });
      if (!this.#parts.standalone) {
        this.#host.log.create(batch, region.id, INITIAL_LOG, {
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
    await this.#directory.refresh();
    if (this.#replicas.has(region.id)) return;
    const replica = await this.#startPeer(region);
    if (region.peers[0]?.id === peer.id) this.#campaignSoon(replica);
  }

  /** A new cluster need not wait for an election timeout: one of its peers asks as soon as the others should be there. */
  #campaignSoon(replica: RegionReplica): void {
    const ticks = this.#parts.tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS;
    this.#parts.clock.setTimeout(() => {
      if (!replica.stopped && replica.group.leader === 0) replica.group.campaign();
    }, FIRST_CAMPAIGN_TICKS * ticks);
  }

  #makeReplica(region: metapb.Region): RegionReplica {
    const { system, engine, logger, maxEntryBytes } = this.#parts;
    const peer = region.peers.find((one) => one.storeId === this.storeId);
    if (peer === undefined)
      throw new TroupeError('failed', `region ${region.id} has no peer on store ${this.storeId}`);
    const replica = new RegionReplica({
      region,
      peer,
      engine,
      logger,
      tasks: this.#tasks,
      reads: this.#reads,
      maxEntryBytes,
      wantsTurn: (one) => {
        this.#writing.add(one);
        system.requestTurn();
      },
      damaged: (error) => this.#stopWith(new TroupeError('failed', error.message, { cause: error })),
      roleChanged: (one) => this.#reporter.roleChanged(one),
    });
    this.#replicas.set(region.id, replica);
    return replica;
  }

  #spawnPeer(replica: RegionReplica, initialised: boolean): ActorRef {
    const { region, peer } = replica;
    const actor = this.#parts.system.spawn(peerMachine, {
      path: peerPath(region.id, peer.id),
      input: { replica, initialised },
      mailbox: PEER_MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    // A peer that hears nothing any more must not go on to vote and lead.
    actor.watch(() => replica.stop());
    this.#actor.tell({ type: 'regionStarted' });
    return actor;
  }

  async #startPeer(region: metapb.Region): Promise<RegionReplica> {
    const replica = this.#makeReplica(region);
    const { peer } = replica;
    let commands: CommandLog;
    try {
      commands = await this.#openCommands(region.id, peer.id, replica);
      if (this.#stopped) throw new TroupeError('closed', `store ${this.storeId} has stopped`);
    } catch (error) {
      this.#replicas.delete(region.id);
      throw error;
    }
    replica.attach(commands, this.#spawnPeer(replica, true));
    return replica;
  }

  /** What a peer of a repaired store needs to come back. */
  #repairParts(): RepairedPeersParts {
    const { tuning } = this.#parts;
    return {
      ...this.#parts,
      storeId: this.storeId,
      tickInterval: tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS,
      electionTicks: tuning?.electionTicks ?? DEFAULT_RAFT_CONFIG.electionTick,
      nodeOf: (storeId) => this.#directory.nodeOf(storeId),
      send: (replica, message) => this.#messages.send(replica, message),
      startGroup: (replica, initial) => {
        const group = this.#host.start(replica.region.id, replica.peer.id, replica, initial);
        replica.restoredGroup = group;
        return group;
      },
      abandonGroup: async (replica) => {
        const { raftGroup } = replica;
        if (raftGroup !== undefined) await this.#host.destroy(raftGroup, () => {});
        replica.restoredGroup = undefined;
      },
      whole: (replica) => replica.recovered(),
      makeReplica: (region, recovery) => {
        if (this.#stopped || this.#replicas.has(region.id)) return;
        const replica = this.#makeReplica(region);
        replica.recover(recovery(replica), this.#spawnPeer(replica, false));
      },
    };
  }

  /** Repaired peers take part in the batches that bring them back. */
  #groupSnapshots(): GroupSnapshots {
    const snapshots = this.#snapshots;
    return {
      prepare: (group, peer) => snapshots.prepare(group, peer),
      send: (group, message) => snapshots.send(group, message),
      installing: (group, snapshot, batch) => {
        snapshots.installing(group, snapshot, batch);
        this.#repaired?.installing(group.id, batch);
      },
      install: (group, snapshot) => {
        this.#repaired?.restored(group.id);
        return snapshots.install(group, snapshot);
      },
    };
  }

  /** What orders the region's commands: its Raft group, or this node alone. A data directory is for one of the two. */
  async #openCommands(regionId: number, peerId: number, replica: RegionReplica): Promise<CommandLog> {
    const { engine, system, standalone } = this.#parts;
    const replicated = (await this.#host.log.load(regionId)) !== undefined;
    if (replicated === standalone) {
      throw new TroupeError(
        'identity',
        standalone
          ? 'The data directory belongs to a replicated store: start it without --standalone, or give this one an empty directory.'
          : 'The data directory was written with --standalone: start it so, or give this store an empty directory.',
      );
    }
    if (!standalone) return this.#host.open(regionId, peerId, replica);
    const storage = new StandaloneStorage(engine);
    this.#lone = new LoneCommands(peerId, replica, storage, system, (error) => this.#diskFailed(error));
    return this.#lone;
  }

  #proposeWrites(): void {
    if (this.#writing.size === 0) return;
    const writing = this.#writing;
    this.#writing = new Set();
    for (const replica of writing) replica.proposeWrites();
  }

  #overlapping(region: metapb.Region): metapb.Region[] {
    const regions = [...this.#replicas.values()].map((replica) => replica.region);
    return regions.filter((one) => one.id !== region.id && overlap(one, region));
  }

  #diskFailed(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    const what = error instanceof EngineFailedError ? error.message : `the store failed: ${cause.message}`;
    this.#stopWith(new TroupeError('failed', what, { cause }));
  }

  #stopWith(error: TroupeError): void {
    this.#parts.logger.error({ err: error }, error.message);
    this.#actor.tell({ type: 'failed', error });
    this.stop();
    this.#fail(error);
  }
}

type BootstrapEvent = ProtocolEvent<'store.bootstrapRegion'> & {
  readonly replyTo?: ReplyTo<troupepb.BootstrapRegionResponse>;
};

/** Binds a data directory to the store id that the scheduler gave to its node. */
export async function bindIdentity(
  engine: Engine,
  identity: Omit<StoreIdentity, 'format'>,
): Promise<StoreIdentity> {
  const batch = engine.batch();
  saveIdentity(batch, identity);
  await engine.write(batch);
  await engine.sync();
  const saved = await loadIdentity(engine);
  if (saved === undefined)
    throw new TroupeError('failed', 'the identity of the data directory cannot be read back');
  return saved;
}

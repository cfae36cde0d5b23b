import type { ActorRef, ActorSystem, Clock, Logger } from '../../actors/index.js';
import { storeNodeMachine } from '../../machines/index.js';
import { type Engine, StorageError, type StoreIdentity } from '../../storage/index.js';
import type { metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { showGroups } from '../inspection/node-inspection.js';
import { noteTxn } from '../inspection/txn-notes.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { peerPath } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import { handLeadershipsOver } from '../raft/hand-over.js';
import { type DiskObserver, RAFT_TURN_ORDER, RaftHost } from '../raft/host.js';
import { LogGc } from '../raft/log-gc.js';
import { DEFAULT_TICK_INTERVAL_MS } from '../raft/tuning.js';
import { TaskQueue } from '../tasks.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { InconsistentReplicaError } from './consistency.js';
import { StoreGarbage } from './garbage.js';
import { PeerMessages } from './peer-messages.js';
import { StoreQuestions } from './questions.js';
import { ReadTurn } from './read-turn.js';
import { FlowCount } from './region-flow.js';
import type { RegionLeadership } from './region-leadership.js';
import { RegionOrders } from './region-orders.js';
import { RegionSplits } from './region-splits.js';
import type { RegionReplica } from './replica.js';
import { type DiskUsage, Reporter } from './reporter.js';
import { RequestTimes } from './request-times.js';
import { RestingRegions } from './resting-regions.js';
import { StoreSafePoints } from './safe-points.js';
import { RegionSnapshots } from './snapshots/index.js';
import { StalePeers } from './stale-peers.js';
import { StoreDirectory } from './store-directory.js';
import { StoreDuties } from './store-duties.js';
import { type StoreMeasuresParts, storeCounters, storeMeasures } from './store-measures.js';
import { StorePeers } from './store-peers.js';
import type { StoreTuning } from './tuning.js';
import { StoreTxn } from './txn/index.js';

/** Order of the hook that reads what was confirmed: after Raft's Readys are taken, which confirm. */
const READ_ORDER = RAFT_TURN_ORDER + 50;

/** Slow tasks that run side by side, and that may wait for each of a store's regions. */
const LONG_TASKS = 2;
const WAITING_TASKS = 65_536;

const STALE_PEER_TIMEOUT_MS = 600_000;
const TOMBSTONE_LIFETIME_MS = 600_000;

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
  readonly disk?: DiskObserver | undefined;
  /** Absent where nobody takes spans. */
  readonly tracing?: StoreTracing | undefined;
}

/** A store at work: its regions' peers as actors, one Raft host, one engine. */
export class StoreNode {
  readonly name: string;
  readonly storeId: number;
  /** Resolves when the store cannot go on; it acknowledges nothing from then on. */
  readonly failed: Promise<Error>;
  readonly #parts: StoreParts;
  /** Of all regions that are led here. */
  readonly #flow = new FlowCount();
  readonly requestTimes: RequestTimes;
  readonly #tasks: TaskQueue;
  readonly #host: RaftHost;
  readonly #logGc: LogGc;
  readonly #snapshots: RegionSnapshots;
  readonly #questions: StoreQuestions;
  readonly #reads: ReadTurn;
  readonly txn: StoreTxn;
  readonly #reporter: Reporter;
  readonly #orders: RegionOrders;
  readonly #directory: StoreDirectory;
  readonly #peers: StorePeers;
  readonly #messages: PeerMessages;
  readonly #stalePeers: StalePeers;
  readonly #splits: RegionSplits;
  readonly #garbage: StoreGarbage;
  readonly #resting: RestingRegions;
  /** What the store node machine acts on. */
  readonly duties: StoreDuties;
  readonly #measured: StoreMeasuresParts;
  readonly #actor: ActorRef;
  readonly #hooks: (() => void)[];
  #fail: (error: Error) => void = () => {};
  #refusedAsBusy = 0;
  #stopped = false;
  #leaving = false;
  #closing: Promise<void> | undefined;

  constructor(parts: StoreParts) {
    const { system, engine, clock, random, logger, identity } = parts;
    this.#parts = parts;
    this.name = system.node;
    this.storeId = identity.storeId;
    this.requestTimes = new RequestTimes(clock);
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#tasks = new TaskQueue({ clock, atOnce: LONG_TASKS, capacity: WAITING_TASKS });
    this.#directory = new StoreDirectory(parts.scheduler, clock, logger);
    this.#messages = new PeerMessages(system, this.#directory, parts.tracing);
    this.#snapshots = new RegionSnapshots({
      system,
      engine,
      clock,
      random,
      logger,
      storeId: this.storeId,
      tasks: this.#tasks,
      regionOf: (id) => {
        const replica = this.#peers.replicas.get(id);
        return replica?.initialised ? replica.region : undefined;
      },
      overlapping: (region) => this.#peers.overlapping(region),
      nodeOf: (storeId) => this.#directory.nodeOf(storeId),
      admits: (event) => this.#peers.admits(event),
      deliver: (event) => this.#messages.deliver(event),
    });
    this.#resting = new RestingRegions({
      ...parts,
      storeId: this.storeId,
      directory: this.#directory,
      messages: this.#messages,
      host: () => this.#host,
      replicas: () => this.#peers.replicas,
    });
    this.#host = new RaftHost({
      engine,
      system,
      clock,
      random,
      logger,
      tasks: this.#tasks,
      snapshots: {
        prepare: (group, peer) => this.#snapshots.prepare(group, peer),
        send: (group, message) => this.#snapshots.send(group, message),
        // Repaired peers take part in the batches that bring them back.
        installing: (group, snapshot, batch) => {
          this.#snapshots.installing(group, snapshot, batch);
          this.#peers.installing(group.id, batch);
        },
        install: (group, snapshot) => {
          this.#peers.restored(group.id);
          return this.#snapshots.install(group, snapshot);
        },
      },
      send: ({ id }, message) => this.#messages.send(this.#peers.replicas.get(id), message),
      hibernation: this.#resting,
      beforeReadys: () => {
        this.#peers.proposeWrites();
        this.txn.writes.startRound();
      },
      failed: (error) => this.#diskFailed(error),
      ...(parts.tuning === undefined ? {} : { tuning: parts.tuning }),
      disk: parts.disk,
      entries: parts.tracing,
    });
    this.#reads = new ReadTurn(
      engine,
      parts.maxEntryBytes,
      () => system.requestTurn(),
      (error) => this.#diskFailed(error),
    );
    const safePoints = new StoreSafePoints(clock, parts.tuning?.safePointLease);
    this.txn = new StoreTxn({
      engine,
      clock,
      safePoints,
      maxEntryBytes: parts.maxEntryBytes,
      askTimestamp: () => parts.scheduler.timestamps(1),
      requestTurn: () => system.requestTurn(),
      failed: (error) => this.#diskFailed(error),
      told: (region, request, response) => {
        const { inspection } = system;
        if (inspection.attached) noteTxn(inspection, region, request, response);
      },
    });
    this.#reads.serveTransactions(this.txn);
    const flow = this.#flow;
    const rightDerive = parts.tuning?.rightDerive ?? true;
    this.#peers = new StorePeers({
      ...parts,
      storeId: this.storeId,
      host: this.#host,
      tasks: this.#tasks,
      reads: this.#reads,
      txn: this.txn,
      directory: this.#directory,
      messages: this.#messages,
      started: () => this.#actor.tell({ type: 'regionStarted' }),
      mergeInterval: parts.tuning?.mergeInterval,
      flow,
      requestTimes: this.requestTimes,
      refusedAsBusy: () => this.#refusedAsBusy++,
      changes: {
        allocateIds: (count) => parts.scheduler.allocIds(count),
        askSplitIds: (region, count) => this.#askSplitIds(region, count),
        storeOf: (storeId) => this.#directory.storeOf(storeId),
        middleKey: (region) => this.#splits.middleKey(region),
        rightDerive,
        maxEntryBytes: parts.maxEntryBytes,
      },
      roleChanged: (replica) => {
        const { region, group, raftGroup } = replica;
        const where = { region: region.id, peer: raftGroup?.peerId, term: group.term };
        logger.debug(where, group.isLeader ? 'leads a region' : 'follows in a region');
        if (!group.isLeader) this.#splits.load.forget(region.id);
        this.#reporter.regions.regionChanged(replica);
      },
      regionChanged: (replica) => this.#reporter.regions.regionChanged(replica),
      regionSplit: (parent, regions) => {
        this.#splits.load.forget(parent.region.id);
        this.#reporter.regions.regionSplit(parent, regions);
      },
      regionGone: (id, peer) => {
        this.#splits.load.forget(id);
        this.#reporter.regions.regionGone(id);
        this.#snapshots.forget(id, peer);
        this.#stalePeers.buried(id);
        parts.tracing?.gone(id);
      },
      inTheWay: (id) => this.#stalePeers.suspect(id),
      leaving: (replica, next) => this.#stalePeers.leaving(replica, next),
      diskFailed: (error) => this.#diskFailed(error),
    });
    const { replicas } = this.#peers;
    showGroups(system, function* () {
      for (const { region, peerId, raftGroup: group } of replicas.values())
        if (group !== undefined) yield { region: region.id, group, path: peerPath(region.id, peerId) };
    });
    this.#splits = new RegionSplits({
      ...parts,
      tasks: this.#tasks,
      replicas,
      limits: parts.tuning?.split,
      loadLimits: parts.tuning?.loadSplit,
    });
    this.#reads.observe(this.#splits.load);
    this.#garbage = new StoreGarbage({ ...parts, tasks: this.#tasks, replicas, safePoints });
    this.#stalePeers = new StalePeers({
      ...parts,
      storeId: this.storeId,
      peers: this.#peers,
      tickInterval: parts.tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS,
      timeout: parts.tuning?.stalePeerTimeout ?? STALE_PEER_TIMEOUT_MS,
      tombstoneLifetime: parts.tuning?.tombstoneLifetime ?? TOMBSTONE_LIFETIME_MS,
    });
    const logBytes = (group: RaftGroup) => this.#host.logBytes(group);
    this.#logGc = new LogGc(clock, replicas, logBytes, parts.tuning?.logGc);
    this.#questions = new StoreQuestions({
      system,
      logger,
      replicas,
      nodeOf: (storeId) => this.#directory.nodeOf(storeId),
      recovering: (regionId, peerId) => this.#peers.isRecovering(regionId, peerId),
    });
    const change = (request: troupepb.ChangeRegionRequest) => this.#questions.change(request);
    this.#orders = new RegionOrders({ logger, replicas, rightDerive, change });
    this.#reporter = new Reporter({
      ...parts,
      replicas,
      safePoints,
      garbageDue: () => this.#garbage.look(),
      flow,
      refusedAsBusy: () => this.#refusedAsBusy,
      snapshots: () => this.#snapshots.traffic,
      silenceOf: (storeId) => this.#resting.silenceOf(storeId),
      answered: (answer) => this.#orders.carryOut(answer),
      durableRegion: ({ region }) => this.#peers.meta.region(region.id) ?? region,
      displaced: (error) => this.#stopWith(error),
    });
    void engine.failed.then((error) => {
      if (!this.#stopped) this.#diskFailed(error);
    });
    this.#measured = {
      host: this.#host,
      replicas,
      snapshots: this.#snapshots,
      flow,
      txn: this.txn,
      tracing: parts.tracing,
      refusedAsBusy: () => this.#refusedAsBusy,
    };
    this.duties = new StoreDuties({
      storeId: this.storeId,
      logger,
      scheduler: parts.scheduler,
      peers: this.#peers,
      questions: this.#questions,
      orders: this.#orders,
      resting: this.#resting,
      reporter: this.#reporter,
      requestTimes: this.requestTimes,
      stop: () => this.#stop(),
    });
    this.#actor = system.spawn(storeNodeMachine, { path: 'store', input: { host: this.duties } });
    system.fallback('region', 'store');
    this.#hooks = [system.onTurnEnd(READ_ORDER, () => this.#reads.flush())];
  }

  get replicas(): ReadonlyMap<number, RegionReplica> {
    return this.#peers.replicas;
  }

  get counters() {
    return storeCounters(this.#measured);
  }

  get system(): ActorSystem {
    return this.#parts.system;
  }

  get engine(): Engine {
    return this.#parts.engine;
  }

  /** See `storeMeasures`. */
  get measures() {
    return storeMeasures(this.#measured);
  }

  /** Why nothing should be sent here now; `undefined` while it serves. */
  get unready(): string | undefined {
    if (this.#leaving || this.#stopped) return 'the store is stopping';
    return this.txn.safePoints.trusted ? undefined : 'no scheduler has answered this store lately';
  }

  /** Starts the peers that are on disk, and tells the scheduler from now on. */
  async start(): Promise<void> {
    void this.#directory.refresh();
    this.#resting.start();
    const loading = this.#load();
    this.duties.bootstrapAfter(loading);
    await loading;
    this.#host.lookForLeaders();
    this.#peers.bringBack();
    // Not before the peers are there: what is offered is judged by the regions of this store.
    await this.#snapshots.start();
    this.#actor.tell({ type: 'loaded' });
    this.#reporter.start(() => this.#actor.tell({ type: 'reportDue' }));
    if (this.#stopped) return;
    this.#logGc.start();
    this.#stalePeers.start();
    this.#splits.start();
    this.#garbage.start();
  }

  async #load(): Promise<void> {
    await this.#snapshots.finishInstallations();
    await this.#peers.start();
  }

  /**
   * Gives leadership of its regions to other stores, so that none waits for an election when this one stops.
   * @param patience milliseconds that it may take
   * @returns how many regions are still led here
   */
  handOver(patience: number): Promise<number> {
    this.#leaving = true;
    return handLeadershipsOver(() => this.#led(), this.#parts.clock, patience);
  }

  *#led(): IterableIterator<RegionLeadership> {
    for (const { attached, raftGroup, leadership } of this.replicas.values())
      if (attached && raftGroup?.isLeader) yield leadership;
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
    this.#stalePeers.stop();
    this.#splits.stop();
    this.#garbage.stop();
    this.#stop();
    this.#peers.proposeWrites();
    this.#reads.flushAll();
    for (const remove of this.#hooks) remove();
    // From here on the host takes no end of a task for a failure.
    const closed = this.#host.close();
    await this.#tasks.close();
    await this.#snapshots.close();
    await closed;
    await this.#peers.idle();
    await Promise.all([this.#reads.idle(), this.txn.idle()]);
    await system.close();
    this.#parts.tracing?.close();
    await engine.close();
  }

  /** Everybody who waits is answered; nothing is acknowledged any more. */
  #stop(): void {
    this.#stopped = true;
    this.#resting.stop();
    this.#peers.stop();
  }

  async #askSplitIds(region: metapb.Region, count: number): Promise<readonly raft_cmdpb.SplitRequest[]> {
    const ids = await this.#parts.scheduler.askBatchSplit(region, count);
    return ids.map(({ newRegionId, newPeerIds }) => ({ splitKey: NO_KEY, newRegionId, newPeerIds }));
  }

  #diskFailed(error: unknown): void {
    const cause = error instanceof Error ? error : new Error(String(error));
    const speaks = error instanceof StorageError || error instanceof InconsistentReplicaError;
    const what = speaks ? error.message : `the store failed: ${cause.message}`;
    this.#stopWith(new TroupeError('failed', what, { cause }));
  }

  #stopWith(error: TroupeError): void {
    this.#parts.logger.error({ err: error }, error.message);
    this.#actor.tell({ type: 'failed', error });
    this.#stop();
    this.#fail(error);
  }
}

const NO_KEY = new Uint8Array(0);

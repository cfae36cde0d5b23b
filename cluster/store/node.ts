import type { ActorRef, ActorSystem, Clock, Logger, ReplyTo } from '../../actors/index.js';
import { type StoreNodeHost, storeNodeMachine } from '../../machines/index.js';
import {
  type Engine,
  loadIdentity,
  StorageError,
  type StoreIdentity,
  saveIdentity,
} from '../../storage/index.js';
import { type metapb, type raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { showGroups } from '../inspection/node-inspection.js';
import { noteTxn } from '../inspection/txn-notes.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import {
  type PeerNotice,
  type ProtocolEvent,
  peerPath,
  type RaftEvent,
  type RegionEvent,
  type RegionOrder,
  type StoreAlive,
} from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import { type DiskObserver, RAFT_TURN_ORDER, RaftHost } from '../raft/host.js';
import { LogGc, type LogGcLimits } from '../raft/log-gc.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import { TaskQueue } from '../tasks.js';
import { physicalOf } from '../timestamp.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { InconsistentReplicaError } from './consistency.js';
import { StoreGarbage } from './garbage.js';
import { handLeadershipsOver } from './hand-over.js';
import { PeerMessages } from './peer-messages.js';
import {
  type CheckRegionEvent,
  type PeerTermEvent,
  type RegionHashEvent,
  StoreQuestions,
} from './questions.js';
import { ReadTurn } from './read-turn.js';
import type { ChangeRegionEvent } from './region-changes.js';
import { errorOf } from './region-errors.js';
import { FlowCount } from './region-flow.js';
import { RegionOrders } from './region-orders.js';
import { RegionSplits } from './region-splits.js';
import type { RegionReplica } from './replica.js';
import { type DiskUsage, Reporter } from './reporter.js';
import { RequestTimes } from './request-times.js';
import { RestingRegions } from './resting-regions.js';
import { StoreSafePoints } from './safe-points.js';
import { RegionSnapshots } from './snapshots/index.js';
import type { LoadSplitLimits, SplitCheckLimits } from './split/index.js';
import { StalePeers } from './stale-peers.js';
import { StoreDirectory } from './store-directory.js';
import { StorePeers } from './store-peers.js';
import { StoreTxn } from './txn/index.js';

const { ExtraMessageType } = raft_serverpb;

/** Order of the hook that reads what was confirmed: after Raft's Readys are taken, which confirm. */
const READ_ORDER = RAFT_TURN_ORDER + 50;

/** Slow tasks that run side by side, and that may wait for each of a store's regions. */
const LONG_TASKS = 2;
const WAITING_TASKS = 65_536;

const STALE_PEER_TIMEOUT_MS = 600_000;
const TOMBSTONE_LIFETIME_MS = 600_000;

/** What a deployment may set of a store. */
export interface StoreTuning extends RaftTuning {
  /** When Raft logs are cut. */
  readonly logGc?: Partial<LogGcLimits>;
  /** Milliseconds between two attempts to end a merge (2,000). */
  readonly mergeInterval?: number;
  /** When regions are split because of their size. */
  readonly split?: Partial<SplitCheckLimits>;
  /** When they are split because of what is read from them. */
  readonly loadSplit?: Partial<LoadSplitLimits>;
  /** The last part of a split keeps the region's id (true); else the first. */
  readonly rightDerive?: boolean;
  /** Milliseconds after which a peer that hears of no leader asks whether it is still a member (600,000). */
  readonly stalePeerTimeout?: number;
  /** Milliseconds for which the tombstone of a removed peer is kept at least (600,000). */
  readonly tombstoneLifetime?: number;
  /** Milliseconds for which safe points are trusted (20,000); the schedulers' `safePointWait` has to be longer. */
  readonly safePointLease?: number;
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
  readonly disk?: DiskObserver | undefined;
  /** Absent where nobody takes spans. */
  readonly tracing?: StoreTracing | undefined;
}

/** A store at work: its regions' peers as actors, one Raft host, one engine. */
export class StoreNode implements StoreNodeHost {
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
  /** One after the other: the scheduler asks again while the first answer is under way. */
  #bootstrapping: Promise<void> = Promise.resolve();
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
    this.#actor = system.spawn(storeNodeMachine, { path: 'store', input: { host: this } });
    system.fallback('region', 'store');
    this.#hooks = [system.onTurnEnd(READ_ORDER, () => this.#reads.flush())];
  }

  get replicas(): ReadonlyMap<number, RegionReplica> {
    return this.#peers.replicas;
  }

  get counters() {
    const { installed, chunksSent, chunksResent } = this.#snapshots.counters;
    const { counters, awake } = this.#host;
    const regions = { peers: this.replicas.size, leaders: this.#leaders() };
    return { ...counters, ...regions, awake, snapshotsInstalled: installed, chunksSent, chunksResent };
  }

  get system(): ActorSystem {
    return this.#parts.system;
  }

  get engine(): Engine {
    return this.#parts.engine;
  }

  /** What it counts and what it has at this moment, for those who watch it. Safe points in Unix milliseconds. */
  get measures() {
    const { bytesRead, keysRead, bytesWritten, keysWritten } = this.#flow;
    const { sending, receiving } = this.#snapshots.traffic;
    const { tracing } = this.#parts;
    const { transaction, gc } = this.txn.safePoints;
    return {
      ...this.counters,
      snapshotsSent: this.#snapshots.counters.sent,
      ...{ bytesRead, keysRead, bytesWritten, keysWritten, refusedAsBusy: this.#refusedAsBusy },
      ...{ snapshotsSending: sending, snapshotsReceiving: receiving },
      ...{ openSpans: tracing?.openSpans ?? 0, droppedSpans: tracing?.droppedSpans ?? 0 },
      ...{ txnCommands: this.txn.writes.size, txnMemoryLocks: this.txn.memoryLocks.size },
      ...{ txnSafePoint: physicalOf(transaction), gcSafePoint: physicalOf(gc) },
    };
  }

  /** Why nothing should be sent here now; `undefined` while it serves. */
  get unready(): string | undefined {
    if (this.#leaving || this.#stopped) return 'the store is stopping';
    return this.txn.safePoints.trusted ? undefined : 'no scheduler has answered this store lately';
  }

  #leaders(): number {
    let leaders = 0;
    for (const { attached, raftGroup } of this.replicas.values())
      if (attached && raftGroup?.isLeader) leaders++;
    return leaders;
  }

  /** Starts the peers that are on disk, and tells the scheduler from now on. */
  async start(): Promise<void> {
    void this.#directory.refresh();
    this.#resting.start();
    const starting = this.#load();
    // What the scheduler asks for meanwhile comes after: what is on disk decides whether the first region is to be made.
    this.#bootstrapping = starting.catch(() => {});
    await starting;
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
    return handLeadershipsOver(() => this.replicas.values(), this.#parts.clock, patience);
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
    this.stop();
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

  // The store node machine's actions.

  bootstrapRegion({ region, replyTo }: BootstrapEvent): void {
    if (region === undefined || replyTo === undefined) return;
    this.#bootstrapping = this.#bootstrapping
      .then(() => this.#peers.makeFirstRegion(region))
      .then(
        () => replyTo.send({ durable: true }),
        (error: unknown) => replyTo.fail('failed', error instanceof Error ? error.message : String(error)),
      );
  }

  refuseBootstrap({ replyTo }: BootstrapEvent): void {
    replyTo?.fail('stopped', `store ${this.storeId} has stopped`);
  }

  routeAbsent(event: RaftEvent): void {
    this.#peers.contact(event);
  }

  refuseAbsent(event: RegionEvent & { replyTo?: ReplyTo<troupepb.RegionResponses>; address?: string }): void {
    const regionId = event.context.regionId;
    const error = errorOf(`region ${regionId} is not on store ${this.storeId}: look it up again`, {
      regionNotFound: { regionId },
    });
    this.requestTimes.answered(event.requests, error, this.requestTimes.now());
    event.replyTo?.send({ regionError: error, responses: [] });
  }

  checkRegion(event: CheckRegionEvent): void {
    this.#questions.checkRegion(event);
  }

  answerHash(event: RegionHashEvent): void {
    this.#questions.answerHash(event);
  }

  answerTerm(event: PeerTermEvent): void {
    // Who has forgotten everything cannot be led by somebody who sleeps.
    this.#peers.replicas.get(event.regionId)?.raftGroup?.wake();
    this.#questions.answerTerm(event);
  }

  changeRegion(event: ChangeRegionEvent): void {
    this.#questions.changeRegion(event);
  }

  /** The scheduler's own nodes alone may give orders. */
  carryOutOrder({ sender, ...order }: RegionOrder & { readonly sender?: string }): void {
    const { scheduler, logger } = this.#parts;
    const clusterId = order.header?.clusterId ?? 0;
    const isOurs = clusterId === 0 || clusterId === scheduler.clusterId;
    if (isOurs && scheduler.isScheduler(sender ?? '')) this.#orders.carryOut(order);
    else logger.debug({ sender, region: order.regionId }, 'an order of a stranger was dropped');
  }

  heardStore(event: StoreAlive): void {
    this.#resting.heard(event);
  }

  /** What peers say outside of Raft. */
  heedNotice(event: PeerNotice): void {
    switch (event.extraMsg?.type) {
      case ExtraMessageType.MsgHibernateRequest:
      case ExtraMessageType.MsgHibernateResponse:
      case ExtraMessageType.MsgRegionWakeUp:
        return this.#resting.heed(event);
      default:
        this.#peers.notice(event);
    }
  }

  report(): void {
    this.#reporter.report();
  }

  /** Everybody who waits is answered; nothing is acknowledged any more. */
  stop(): void {
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
    this.stop();
    this.#fail(error);
  }
}

const NO_KEY = new Uint8Array(0);

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

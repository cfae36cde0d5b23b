import type { ActorRef, ActorSystem, Clock, Logger, ReplyTo, TimerHandle } from '../../actors/index.js';
import type { Message, SoftState, Status } from '../../machines/index.js';
import {
  type SchedulerDuties,
  type SchedulerRefusal,
  schedulerMachine,
} from '../../machines/scheduler.machine.js';
import { type Engine, EngineFailedError, txnKeysWithin } from '../../storage/index.js';
import { metapb, type RaftEvent } from '../../storage/proto/index.js';
import { backoffMs } from '../client/backoff.js';
import { TroupeError } from '../errors.js';
import { Collector, type GcConfig, type LockLink } from '../gc/index.js';
import { showGroups } from '../inspection/node-inspection.js';
import { showScheduler } from '../inspection/scheduler-view.js';
import { pdpb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { type DiskObserver, RaftHost } from '../raft/host.js';
import { LogGc, type LogGcLimits } from '../raft/log-gc.js';
import type { StateMachine } from '../raft/state-machine.js';
import type { RaftTuning } from '../raft/tuning.js';
import { TaskQueue } from '../tasks.js';
import { composeTimestamp, physicalOf } from '../timestamp.js';
import { ClusterBirth } from './birth.js';
import { emptyReply } from './empty-replies.js';
import { SchedulerFault } from './fault.js';
import { IdWindow } from './id-window.js';
import type { Membership } from './membership.js';
import { Placement } from './placement/index.js';
import type { RegionReport } from './placement/region-report.js';
import type { Order } from './placement/steps.js';
import { isRead } from './reads.js';
import type { SafePointRecord } from './safe-point-record.js';
import { type SchedulerKind, SchedulerService } from './service.js';
import { memberPeer, SCHEDULER_GROUP, SchedulerSnapshots } from './snapshots.js';
import { type Command, type CommandResult, encodeCommand, type SchedulerState } from './state.js';
import { StoreWatch } from './store-watch.js';
import { TimestampOracle } from './timestamps.js';

/** Milliseconds between two looks at who has been silent. */
const WATCH_INTERVAL_MS = 1_000;
/** Between two looks whether leadership has gone over, in milliseconds. */
const HAND_OVER_LOOK_MS = 20;

export interface SchedulerTuning extends RaftTuning {
  /** When the schedulers' log is cut. */
  readonly logGc?: Partial<LogGcLimits>;
  /** In place of what is set of the collector, which may not be as short. */
  readonly gc?: Partial<Pick<GcConfig, 'gcLifeTime' | 'gcInterval'>>;
  /** Milliseconds that the collector waits for a store that says nothing (25,000): longer than the stores' `safePointLease`. */
  readonly safePointWait?: number;
}

export interface SchedulerParts {
  readonly cluster: string;
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly state: SchedulerState;
  readonly membership: Membership;
  /** Node names of all members; a member's id is its place here, counted from 1. */
  readonly schedulers: readonly string[];
  readonly expectedStores: number;
  readonly maxEntryBytes: number;
  readonly clock: Clock;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Nothing is placed until somebody sets it otherwise. */
  readonly haltScheduling: boolean;
  readonly random: () => number;
  readonly logger: Logger;
  readonly pid: number;
  /** How the collector reaches the locks in stores: by a client on this node's messaging. */
  readonly lockLink: (system: ActorSystem) => LockLink;
  readonly tuning?: SchedulerTuning | undefined;
  readonly disk?: DiskObserver | undefined;
}

/** Slow work at once: a snapshot that is read or brought in, and the deletion of log entries. */
const LONG_TASKS = 2;
/** Slow work that may wait. */
const WAITING_TASKS = 16;

type AnyRequest = { readonly type: SchedulerKind; readonly replyTo?: ReplyTo };

/** A member of the scheduler's group at work. */
export class SchedulerNode implements SchedulerDuties {
  readonly name: string;
  /** Resolves when the scheduler cannot go on; it answers nothing from then on. */
  readonly failed: Promise<Error>;
  readonly #parts: SchedulerParts;
  readonly #host: RaftHost;
  readonly #tasks: TaskQueue;
  readonly #snapshots: SchedulerSnapshots;
  readonly #logGc: LogGc;
  readonly #watch = new StoreWatch();
  readonly #ids: IdWindow;
  readonly #placement: Placement;
  readonly #timestamps: TimestampOracle;
  readonly #collector: Collector;
  readonly #service: SchedulerService;
  readonly #actor: ActorRef;
  #group: RaftGroup | undefined;
  #leading = false;
  /** Grows with each leadership, so that what an earlier one began knows that it is over. */
  #reign = 0;
  readonly #birth: ClusterBirth;
  /** Stores whose end is being replicated. */
  readonly #burying = new Set<number>();
  #ticker: TimerHandle | undefined;
  readonly #waits = new Set<TimerHandle>();
  #fail: (error: Error) => void = () => {};
  #closing: Promise<void> | undefined;
  #leaving = false;

  constructor(parts: SchedulerParts) {
    const { cluster, system, engine, state, clock, wallClock, random, logger, tuning } = parts;
    this.#parts = parts;
    this.name = system.node;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.#tasks = new TaskQueue({ clock, atOnce: LONG_TASKS, capacity: WAITING_TASKS });
    this.#snapshots = new SchedulerSnapshots({
      ...parts,
      tasks: this.#tasks,
      deliver: (event) => this.stepRaft(event),
    });
    this.#host = new RaftHost({
      engine,
      system,
      clock,
      random,
      logger,
      tasks: this.#tasks,
      snapshots: this.#snapshots,
      send: (_group, message) => this.#send(message),
      failed: (error) => this.#broke(error),
      ...(tuning === undefined ? {} : { tuning }),
      disk: parts.disk,
    });
    const logBytes = (group: RaftGroup) => this.#host.logBytes(group);
    this.#logGc = new LogGc(clock, new Map([[SCHEDULER_GROUP, this]]), logBytes, tuning?.logGc);
    this.#ids = new IdWindow(async (count) => {
      const result = await this.#propose({ allocateIds: { count } });
      if (!result.ok || result.firstId === undefined) throw new Error('ids were refused');
      return result.firstId;
    });
    this.#placement = new Placement({
      state,
      watch: this.#watch,
      clock,
      random,
      wallTime: parts.wallClock,
      haltedAtFirst: parts.haltScheduling,
      send: (report, order) => this.#order(report, order),
      collected: () => this.#actor.tell({ type: 'regionsCollected' }),
      halted: (halted) => this.#actor.tell({ type: halted ? 'halted' : 'resumed' }),
      drained: (storeId) => this.#bury(storeId),
    });
    this.#timestamps = new TimestampOracle({
      wallClock,
      clock,
      logger,
      term: () => this.#group?.term ?? 0,
      extend: async (physicalLimit) => {
        await this.#propose({ extendTimestamps: { physicalLimit } });
      },
      refusal: () => this.#refusal('not-leader'),
    });
    this.#birth = new ClusterBirth({
      ...parts,
      propose: (command) => this.#propose(command),
      later: (attempt, again) => this.#later(attempt, again),
      chosen: () => this.#actor.tell({ type: 'storesChosen' }),
      born: () => this.#actor.tell({ type: 'bootstrapped' }),
    });
    const timestamps = async (count: number): Promise<pdpb.Timestamp> => {
      // All requests of a turn share one confirmation.
      await this.#caughtUp();
      return this.#timestamps.allocate(count);
    };
    this.#collector = new Collector({
      clock,
      wallClock,
      logger,
      ready: () => state.phase === 'serving',
      config: () => ({ ...state.placement.config, ...tuning?.gc }),
      safePoints: () => state.safePoints,
      timestamp: async () => {
        const { physical, logical } = await timestamps(1);
        return composeTimestamp(physical, logical);
      },
      advance: async (points) => {
        await this.#propose({ advanceSafePoints: points });
      },
      heeded: () => this.#heededSafePoints(),
      ranges: () =>
        state.regions
          .scan(NO_KEY, NO_KEY, Number.POSITIVE_INFINITY)
          .flatMap((region) => txnKeysWithin(region) ?? []),
      link: () => parts.lockLink(system),
      safePointWait: tuning?.safePointWait,
    });
    this.#service = new SchedulerService({
      placement: this.#placement,
      collector: this.#collector,
      cluster,
      state,
      clock,
      wallClock,
      watch: this.#watch,
      ids: this.#ids,
      timestamps,
      propose: (command) => this.#propose(command),
      members: () => this.#members(),
      term: () => this.#group?.term ?? 0,
      storeJoined: () => this.#birth.placeFirstRegion(),
    });
    this.#actor = system.spawn(schedulerMachine, {
      path: 'pd',
      input: { duties: this },
      mailbox: { capacity: 65_536, overflow: 'reject' },
      supervision: { onFailure: 'stop' },
    });
    system.fallback('raft', 'pd');
    showScheduler({ ...parts, watch: this.#watch, placement: this.#placement, leads: () => this.#leading });
    const group = () => this.#group;
    showGroups(system, function* () {
      const own = group();
      if (own !== undefined) yield { region: 0, group: own, path: 'pd' };
    });
  }

  /** What the Raft host has written so far, and what came and went as snapshots. */
  get counters(): RaftHost['counters'] & {
    readonly snapshotsSent: number;
    readonly snapshotsInstalled: number;
  } {
    const { sent, installed } = this.#snapshots.counters;
    return { ...this.#host.counters, snapshotsSent: sent, snapshotsInstalled: installed };
  }

  get system(): ActorSystem {
    return this.#parts.system;
  }

  get engine(): Engine {
    return this.#parts.engine;
  }

  /** What it counts and what it knows at this moment, for those who watch it. Safe points in Unix milliseconds. */
  get measures() {
    const { state } = this.#parts;
    const { transaction, gc } = state.safePoints;
    // What only the leader knows, the others would tell wrong.
    const led = this.#leading ? { operators: this.#placement.coordinator.operators.size } : {};
    return {
      ...this.counters,
      ...led,
      leads: this.#leading ? 1 : 0,
      stores: [...state.stores.values()].filter(({ state: one }) => one !== metapb.StoreState.Tombstone)
        .length,
      regions: state.regions.size,
      txnSafePoint: physicalOf(transaction),
      gcSafePoint: physicalOf(gc),
    };
  }

  /** Why nothing should be sent here now; `undefined` while it serves, or knows who does. */
  get unready(): string | undefined {
    if (this.#leaving || this.#closing !== undefined) return 'the scheduler is stopping';
    return this.#group?.leader ? undefined : 'no scheduler leads';
  }

  /** Gives leadership to another scheduler, if it has it. @param patience milliseconds that it may take */
  async handOver(patience: number): Promise<number> {
    this.#leaving = true;
    const { clock } = this.#parts;
    const deadline = clock.now() + patience;
    for (;;) {
      const next = this.#group?.isLeader ? successorOf(this.#group.status()) : undefined;
      if (next === undefined || clock.now() >= deadline) return this.#group?.isLeader ? 1 : 0;
      if (this.#group?.status().transferee === 0) this.#group.transferLeader(next);
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, HAND_OVER_LOOK_MS));
    }
  }

  /** The replica of the schedulers' group; `undefined` before it is opened. */
  get raftGroup(): RaftGroup | undefined {
    return this.#group;
  }

  /** As far as this member knows. */
  get safePoints(): SafePointRecord {
    return this.#parts.state.safePoints;
  }

  /** Opens the replica that is on disk and takes part. */
  async start(): Promise<void> {
    const { schedulers, state, membership } = this.#parts;
    await this.#snapshots.load();
    const machine: StateMachine = {
      apply: (entries, batch, effects) => state.apply(entries, batch, effects),
      roleChanged: (soft) => this.#roleChanged(soft),
      failed: (error) => this.#broke(error),
    };
    this.#group = await this.#host.open(SCHEDULER_GROUP, schedulers.indexOf(this.name) + 1, machine);
    membership.attach(() => this.#group);
    // Nobody else could win: there is no reason to wait for an election timeout.
    if (schedulers.length === 1) this.#group.campaign();
    else await this.#snapshots.start();
    this.#logGc.start();
  }

  /** Stops serving, finishes what the disk has begun, and closes engine and connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { system, engine } = this.#parts;
    this.resign();
    this.#logGc.stop();
    // From here on the host takes no end of a task for a failure.
    const closed = this.#host.close();
    await this.#tasks.close();
    await this.#snapshots.close();
    await closed;
    await system.close();
    await engine.close();
  }

  #roleChanged(soft: SoftState): void {
    const leads = soft.role === 'leader';
    if (leads === this.#leading) return;
    this.#leading = leads;
    const { logger } = this.#parts;
    logger.info(
      { term: this.#group?.term ?? 0 },
      leads ? 'leads the schedulers' : 'leads the schedulers no more',
    );
    this.#actor.tell({ type: leads ? 'elected' : 'deposed' });
  }

  #broke(error: Error): void {
    const { logger } = this.#parts;
    const what =
      error instanceof EngineFailedError ? error.message : `the scheduler failed: ${error.message}`;
    logger.error({ err: error }, what);
    this.#actor.tell({ type: 'broke', error });
    this.#fail(error instanceof TroupeError ? error : new TroupeError('failed', what, { cause: error }));
  }

  // The scheduler machine's duties.

  answer(event: unknown): void {
    const request = event as AnyRequest;
    if (!isRead(request.type)) return this.#answer(request);
    // Confirmed after it came (ReadIndex): who was deposed and has not noticed answers nobody from a state of the past.
    this.#group?.read(({ ok }) => (ok ? this.#answer(request) : this.refuse(request, 'not-leader')));
  }

  #answer(request: AnyRequest): void {
    try {
      const reply = this.#service.answer(request as Parameters<SchedulerService['answer']>[0]);
      if (!(reply instanceof Promise)) request.replyTo?.send(reply);
      else {
        reply
          .then((value) => request.replyTo?.send(value))
          .catch((error: unknown) => this.#refuseWith(request, error));
      }
    } catch (error) {
      this.#refuseWith(request, error);
    }
  }

  refuse(event: unknown, reason: SchedulerRefusal): void {
    const request = event as AnyRequest;
    this.#refuseWith(request, this.#refusal(reason));
  }

  stepRaft(event: unknown): void {
    const { message } = event as RaftEvent;
    if (this.#parts.membership.withholds(message.type)) return;
    this.#group?.step(message);
  }

  /** Applies what earlier leaders left, gives the cluster its identity if it has none, then begins to serve. */
  prepare(): void {
    this.#takeOffice(++this.#reign, 1);
  }

  #takeOffice(reign: number, attempt: number): void {
    const { logger } = this.#parts;
    const term = this.#group?.term ?? 0;
    this.#caughtUp()
      .then(() => this.#initialize())
      .then(() => this.#prepared(reign, term))
      .catch((error: unknown) => {
        if (reign !== this.#reign) return;
        logger.debug({ err: error }, 'the scheduler could not take office yet');
        this.#later(attempt, () => this.#takeOffice(reign, attempt + 1));
      });
  }

  /** Everything that earlier leaders committed is applied (ReadIndex). */
  #caughtUp(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#group === undefined) return reject(this.#refusal('starting'));
      this.#group.read((outcome) => (outcome.ok ? resolve() : reject(this.#refusal('not-leader'))));
    });
  }

  /** Asks every store of the first region for it, again and again until each has it. */
  bootstrap(): void {
    this.#birth.bootstrapStores();
  }

  startPlacement(): void {
    this.#placement.start();
  }

  resign(): void {
    this.#reign++;
    const { clock } = this.#parts;
    if (this.#ticker !== undefined) clock.clearTimeout(this.#ticker);
    for (const wait of this.#waits) clock.clearTimeout(wait);
    this.#waits.clear();
    this.#watch.clear();
    this.#placement.stop();
    this.#ids.forget();
    this.#timestamps.resign();
    this.#collector.stop();
    this.#birth.resign();
  }

  async #initialize(): Promise<void> {
    const { cluster, expectedStores, maxEntryBytes, random, state } = this.#parts;
    if (state.cluster?.expectedStores === expectedStores) return;
    if (state.cluster !== undefined && state.regions.size > 0) return;
    const clusterId = 1 + Math.floor(random() * (Number.MAX_SAFE_INTEGER - 1));
    await this.#propose({ initializeCluster: { clusterId, cluster, expectedStores, maxEntryBytes } });
  }

  #prepared(reign: number, term: number): void {
    if (reign !== this.#reign) return;
    // Another leader may have come and gone since, and its entries need not be here yet.
    if (term !== this.#group?.term) throw this.#refusal('not-leader');
    const { clock, state } = this.#parts;
    this.#timestamps.takeOffice(state.timestampLimit);
    for (const store of state.stores.values()) this.#watch.follow(store, clock.now());
    this.#placement.listen();
    this.#collector.start();
    this.#tick();
    this.#actor.tell({ type: 'prepared', phase: state.phase });
    this.#birth.placeFirstRegion();
  }

  #tick(): void {
    const { clock } = this.#parts;
    this.#watch.tick(clock.now(), this.#placement.config.maxStoreDownTime);
    this.#placement.tick();
    this.#timestamps.tick();
    this.#collector.tick();
    this.#ticker = clock.setTimeout(() => this.#tick(), WATCH_INTERVAL_MS);
  }

  /** Of each store that may still lead regions; 0 of one that has not said. */
  #heededSafePoints(): bigint[] {
    return [...this.#parts.state.stores.values()]
      .filter(({ state }) => state !== metapb.StoreState.Tombstone)
      .map(({ id }) => this.#watch.statsOf(id)?.txnSafePoint ?? 0n);
  }

  /** Tries again after a wait, unless this leadership is over by then. */
  #later(attempt: number, again: () => void): void {
    const { clock, random } = this.#parts;
    const wait = clock.setTimeout(
      () => {
        this.#waits.delete(wait);
        again();
      },
      backoffMs(attempt, random),
    );
    this.#waits.add(wait);
  }

  /** Orders are repeated until they show an effect: one that is lost costs time only. */
  #order({ region, leader }: RegionReport, order: Order): void {
    const { state, system } = this.#parts;
    const store = state.stores.get(leader.storeId);
    if (store === undefined) return;
    const { id: regionId, regionEpoch } = region;
    const body = pdpb.RegionHeartbeatResponse.from({ ...order, regionId, regionEpoch, targetPeer: leader });
    system.ref(`${store.address}/store`).tell({ type: 'store.regionOrder', ...body });
  }

  /** The store is gone for good. */
  #bury(storeId: number): void {
    if (this.#burying.has(storeId)) return;
    this.#burying.add(storeId);
    this.#propose({ setStoreState: { storeId, state: metapb.StoreState.Tombstone } })
      .then((result) => {
        const { clock } = this.#parts;
        if (result.ok && result.store !== undefined) this.#watch.decided(result.store, clock.now());
      })
      .catch((error: unknown) => {
        this.#parts.logger.debug({ err: error, store: storeId }, 'a drained store is not buried yet');
      })
      .finally(() => this.#burying.delete(storeId));
  }

  // Between the duties and the log.

  /** Every member cuts its log behind this entry. */
  compactLog(index: number, term: number): void {
    this.#propose({ compactLog: { index, term } }).catch((error: unknown) => {
      this.#parts.logger.debug({ err: error }, "the schedulers' log is cut another time");
    });
  }

  #propose(command: Command): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      if (this.#group === undefined) return reject(this.#refusal('starting'));
      this.#group.propose(encodeCommand(command), (outcome) => {
        // Every command may be repeated, so a lost one needs no other answer than one that was refused.
        if (outcome.ok) resolve(outcome.result as CommandResult);
        else reject(this.#refusal('not-leader'));
      });
    });
  }

  #send(message: Message): void {
    const { schedulers, system } = this.#parts;
    const to = schedulers[message.to - 1];
    if (to === undefined) return;
    const event: RaftEvent = {
      type: 'raft',
      regionId: SCHEDULER_GROUP,
      fromPeer: memberPeer(message.from),
      toPeer: memberPeer(message.to),
      message,
      regionEpoch: { confVer: 1, version: 1 },
      startKey: NO_KEY,
      endKey: NO_KEY,
    };
    system.ref(`${to}/raft`).tell(event);
  }

  #members(): { members: pdpb.Member[]; leader: pdpb.Member | undefined } {
    const { schedulers, pid } = this.#parts;
    const members = schedulers.map((name, i) => ({
      name,
      memberId: i + 1,
      pid: name === this.name ? pid : 0,
    }));
    return { members, leader: members[(this.#group?.leader ?? 0) - 1] };
  }

  #refusal(reason: SchedulerRefusal): SchedulerFault {
    const { state, cluster } = this.#parts;
    if (reason === 'not-bootstrapped') {
      const { expectedStores = 0 } = state.cluster ?? {};
      return new SchedulerFault(
        pdpb.ErrorType.NOT_BOOTSTRAPPED,
        `The cluster "${cluster}" waits for its first stores: ${state.stores.size} of ${expectedStores} have registered.`,
      );
    }
    const leader = reason === 'not-leader' ? (this.#members().leader?.name ?? '') : '';
    const why =
      reason === 'stopped' ? 'has stopped' : reason === 'starting' ? 'is starting' : 'does not lead';
    return new SchedulerFault(pdpb.ErrorType.NOT_LEADER, `${this.name} ${why}`, leader);
  }

  #refuseWith(request: AnyRequest, error: unknown): void {
    const fault =
      error instanceof SchedulerFault
        ? error
        : new SchedulerFault(pdpb.ErrorType.UNKNOWN, error instanceof Error ? error.message : String(error));
    if (fault.type === pdpb.ErrorType.UNKNOWN)
      this.#parts.logger.error({ err: error, kind: request.type }, 'a request failed');
    request.replyTo?.send(emptyReply[request.type](this.#service.header(fault)));
  }
}

/** The voter that is alive and has most of the log; `undefined` when there is none. */
function successorOf({ id, progress }: Status): number | undefined {
  const others = [...progress].filter(([member, { live, learner }]) => member !== id && live && !learner);
  return others.sort(([, a], [, b]) => b.match - a.match)[0]?.[0];
}

const NO_KEY = new Uint8Array(0);

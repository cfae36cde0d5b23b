import type { ActorRef, ActorSystem, Clock, Logger } from '../../actors/index.js';
import type { SoftState } from '../../machines/index.js';
import {
  type SchedulerDuties,
  type SchedulerRefusal,
  schedulerMachine,
} from '../../machines/scheduler.machine.js';
import { type Engine, EngineFailedError, txnKeysWithin } from '../../storage/index.js';
import { metapb, type RaftEvent } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { Collector, type LockLink } from '../gc/index.js';
import { showGroups } from '../inspection/node-inspection.js';
import { showScheduler } from '../inspection/scheduler-view.js';
import { pdpb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { type DiskObserver, RaftHost } from '../raft/host.js';
import { LogGc } from '../raft/log-gc.js';
import type { StateMachine } from '../raft/state-machine.js';
import { TaskQueue } from '../tasks.js';
import { composeTimestamp, physicalOf } from '../timestamp.js';
import { SchedulerAnswers } from './answers.js';
import { ClusterBirth } from './birth.js';
import { SchedulerGroup } from './group.js';
import { IdWindow } from './id-window.js';
import { Leadership } from './leadership.js';
import type { Membership } from './membership.js';
import { Placement } from './placement/index.js';
import type { RegionReport } from './placement/region-report.js';
import type { Order } from './placement/steps.js';
import type { SafePointRecord } from './safe-point-record.js';
import { SchedulerService } from './service.js';
import { SCHEDULER_GROUP, SchedulerSnapshots } from './snapshots.js';
import type { SchedulerState } from './state.js';
import { StoreWatch } from './store-watch.js';
import { TimestampOracle } from './timestamps.js';
import type { SchedulerTuning } from './tuning.js';

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
  readonly #actor: ActorRef;
  readonly #group: SchedulerGroup;
  readonly #leadership: Leadership;
  readonly #answers: SchedulerAnswers;
  #leading = false;
  readonly #birth: ClusterBirth;
  /** Stores whose end is being replicated. */
  readonly #burying = new Set<number>();
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
    this.#group = new SchedulerGroup(parts);
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
      send: (_group, message) => this.#group.send(message),
      failed: (error) => this.#broke(error),
      ...(tuning === undefined ? {} : { tuning }),
      disk: parts.disk,
    });
    const logBytes = (group: RaftGroup) => this.#host.logBytes(group);
    this.#logGc = new LogGc(clock, new Map([[SCHEDULER_GROUP, this.#group]]), logBytes, tuning?.logGc);
    this.#ids = new IdWindow(async (count) => {
      const result = await this.#group.propose({ allocateIds: { count } });
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
      term: () => this.#group.term,
      extend: async (physicalLimit) => {
        await this.#group.propose({ extendTimestamps: { physicalLimit } });
      },
      refusal: () => this.#group.refusal('not-leader'),
    });
    this.#birth = new ClusterBirth({
      ...parts,
      propose: (command) => this.#group.propose(command),
      later: (attempt, again) => this.#leadership.later(attempt, again),
      chosen: () => this.#actor.tell({ type: 'storesChosen' }),
      born: () => this.#actor.tell({ type: 'bootstrapped' }),
    });
    const timestamps = async (count: number): Promise<pdpb.Timestamp> => {
      // All requests of a turn share one confirmation.
      await this.#group.caughtUp();
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
        await this.#group.propose({ advanceSafePoints: points });
      },
      heeded: () => this.#heededSafePoints(),
      ranges: () =>
        state.regions
          .scan(NO_KEY, NO_KEY, Number.POSITIVE_INFINITY)
          .flatMap((region) => txnKeysWithin(region) ?? []),
      link: () => parts.lockLink(system),
      safePointWait: tuning?.safePointWait,
    });
    const service = new SchedulerService({
      placement: this.#placement,
      collector: this.#collector,
      cluster,
      state,
      clock,
      wallClock,
      watch: this.#watch,
      ids: this.#ids,
      timestamps,
      propose: (command) => this.#group.propose(command),
      members: () => this.#group.members(),
      term: () => this.#group.term,
      storeJoined: () => this.#birth.placeFirstRegion(),
    });
    this.#leadership = new Leadership({
      ...parts,
      group: this.#group,
      watch: this.#watch,
      placement: this.#placement,
      timestamps: this.#timestamps,
      collector: this.#collector,
      ids: this.#ids,
      birth: this.#birth,
      prepared: (phase) => this.#actor.tell({ type: 'prepared', phase }),
    });
    this.#answers = new SchedulerAnswers({ ...parts, group: this.#group, service });
    this.#actor = system.spawn(schedulerMachine, {
      path: 'pd',
      input: { duties: this },
      mailbox: { capacity: 65_536, overflow: 'reject' },
      supervision: { onFailure: 'stop' },
    });
    system.fallback('raft', 'pd');
    showScheduler({ ...parts, watch: this.#watch, placement: this.#placement, leads: () => this.#leading });
    const group = () => this.raftGroup;
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
    return this.raftGroup?.leader ? undefined : 'no scheduler leads';
  }

  /** Gives leadership to another scheduler, if it has it. @param patience milliseconds that it may take */
  handOver(patience: number): Promise<number> {
    this.#leaving = true;
    return this.#group.handOver(patience);
  }

  /** The replica of the schedulers' group; `undefined` before it is opened. */
  get raftGroup(): RaftGroup | undefined {
    return this.#group.raftGroup;
  }

  /** As far as this member knows. */
  get safePoints(): SafePointRecord {
    return this.#parts.state.safePoints;
  }

  /** Opens the replica that is on disk and takes part. */
  async start(): Promise<void> {
    const { schedulers, state } = this.#parts;
    await this.#snapshots.load();
    const machine: StateMachine = {
      apply: (entries, batch, effects) => state.apply(entries, batch, effects),
      roleChanged: (soft) => this.#roleChanged(soft),
      failed: (error) => this.#broke(error),
    };
    const group = await this.#group.open(this.#host, machine);
    // Nobody else could win: there is no reason to wait for an election timeout.
    if (schedulers.length === 1) group.campaign();
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
    logger.info({ term: this.#group.term }, leads ? 'leads the schedulers' : 'leads the schedulers no more');
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
    this.#answers.answer(event);
  }

  refuse(event: unknown, reason: SchedulerRefusal): void {
    this.#answers.refuse(event, reason);
  }

  stepRaft(event: unknown): void {
    this.#group.step(event as RaftEvent);
  }

  prepare(): void {
    this.#leadership.prepare();
  }

  /** Asks every store of the first region for it, again and again until each has it. */
  bootstrap(): void {
    this.#birth.bootstrapStores();
  }

  startPlacement(): void {
    this.#placement.start();
  }

  resign(): void {
    this.#leadership.resign();
  }

  /** Of each store that may still lead regions; 0 of one that has not said. */
  #heededSafePoints(): bigint[] {
    return [...this.#parts.state.stores.values()]
      .filter(({ state }) => state !== metapb.StoreState.Tombstone)
      .map(({ id }) => this.#watch.statsOf(id)?.txnSafePoint ?? 0n);
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
    this.#group
      .propose({ setStoreState: { storeId, state: metapb.StoreState.Tombstone } })
      .then((result) => {
        const { clock } = this.#parts;
        if (result.ok && result.store !== undefined) this.#watch.decided(result.store, clock.now());
      })
      .catch((error: unknown) => {
        this.#parts.logger.debug({ err: error, store: storeId }, 'a drained store is not buried yet');
      })
      .finally(() => this.#burying.delete(storeId));
  }
}

const NO_KEY = new Uint8Array(0);

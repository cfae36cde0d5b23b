import type { Clock, TimerHandle } from '../../../actors/index.js';
import { NEW_REGION, type RegionState, regionAfter } from '../../../machines/index.js';
import { REGION_STATES } from '../../region-states.js';
import { check } from './checkers/index.js';
import { diagnose, isUntouchable } from './diagnosis.js';
import type { OperatorKind } from './operator.js';
import { Operators, type Proposal } from './operators.js';
import type { RegionReport } from './region-report.js';
import { type SchedulerEntry, schedule, schedulerName } from './schedulers/index.js';
import type { Scheduling } from './schedulers/scheduling.js';
import type { Order } from './steps.js';
import type { ClusterView } from './view.js';

/** Regions that the checkers look at in one turn, milliseconds between two, and between two rounds through all regions. */
const PATROL_BATCH = 128;
const PATROL_INTERVAL_MS = 10;
const PATROL_ROUND_MS = 1_000;
/** Milliseconds between two rounds of a scheduler: longer and longer while it finds nothing to do. */
const FIRST_INTERVAL_MS = 10;
const LONGEST_INTERVAL_MS = 5_000;
const SLOWER = 1.3;
/** Milliseconds between two looks at the operators. */
const OPERATOR_INTERVAL_MS = 200;
/** The part of all regions whose leaders must have been heard of before anything is done, or how long that is awaited. */
const COLLECTED_PART = 0.8;
const COLLECTING_LIMIT_MS = 300_000;

export interface CoordinatorOptions {
  readonly view: ClusterView;
  readonly clock: Clock;
  readonly random: () => number;
  /** Milliseconds of wall time. */
  readonly wallTime: () => number;
  readonly send: (report: RegionReport, order: Order) => void;
  readonly schedulers: () => readonly SchedulerEntry[];
  /** Enough regions have been heard of: checking and balancing begin. */
  readonly collected: () => void;
}

/**
 * The leading scheduler's hands: follows each region's chart by what its leader tells, sends the checkers round, and the
 * schedulers after them (PD's coordinator).
 */
export class Coordinator {
  readonly operators: Operators;
  readonly #options: CoordinatorOptions;
  readonly #states = new Map<number, RegionState>();
  readonly #hot = new Set<number>();
  /** Milliseconds before which a region is not merged. */
  readonly #splitAt = new Map<number, number>();
  readonly #scheduling: Scheduling;
  readonly #timers = new Set<TimerHandle>();
  readonly #intervals = new Map<string, { due: number; interval: number }>();
  #schedulingTimer: TimerHandle | undefined;
  #beganAt = 0;
  #roundBeganAt = 0;
  /** The key at which the patrol goes on. */
  #patrolled: Uint8Array = NO_KEY;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    const { view, send, random } = options;
    this.operators = new Operators({
      view,
      send,
      changed: (operator) =>
        this.#transition(operator.regionId, operator.isOver ? 'operatorEnded' : 'operatorStarted'),
    });
    this.#scheduling = {
      view,
      operators: this.operators,
      random,
      mayMove: (report) => !isUntouchable(this.stateOf(report.region.id), report),
      isHot: ({ region }) => this.#hot.has(region.id),
      hotRegions: () => this.#hot,
    };
  }

  /** What a region is now. */
  stateOf(regionId: number): RegionState {
    return this.#states.get(regionId) ?? NEW_REGION;
  }

  /** Too few regions have been heard of to place any. */
  get isCollecting(): boolean {
    return this.#schedulingTimer === undefined;
  }

  /** Ids of regions in one of `REGION_STATES`, by key; `undefined` for what is none. */
  find(wanted: string, limit: number): readonly number[] | undefined {
    const { view } = this.#options;
    if (!REGION_STATES.some((state) => state === wanted)) return undefined;
    const found: number[] = [];
    for (const { id } of view.regions.all()) {
      if (found.length >= limit) break;
      const { replication, size, load } = this.stateOf(id);
      const pending = wanted === 'pending' && (view.report(id)?.pendingPeers.length ?? 0) > 0;
      if (pending || replication === wanted || size === wanted || load === wanted) found.push(id);
    }
    return found;
  }

  /** Begins to collect; what is to be done waits until most regions have been heard of. */
  start(): void {
    const { view } = this.#options;
    this.#beganAt = view.now;
    this.#collect();
  }

  stop(): void {
    for (const timer of this.#timers) this.#cancel(timer);
    this.#schedulingTimer = undefined;
    this.operators.clear();
    this.#states.clear();
    this.#hot.clear();
    this.#splitAt.clear();
    this.#intervals.clear();
    this.#patrolled = NO_KEY;
  }

  /** Something was set at run time: every scheduler looks again at once. */
  reconsider(): void {
    this.#intervals.clear();
    if (this.#schedulingTimer === undefined) return;
    this.#cancel(this.#schedulingTimer);
    this.#scheduleAll();
  }

  /**
   * Takes in what a region's leader tells; the view has it already.
   * @returns what the leader is to do
   */
  heard(report: RegionReport): Order | undefined {
    this.#diagnose(report);
    return this.operators.heard(report);
  }

  /** A region was split off just now: it is not merged for a while. */
  wasSplit(regionIds: readonly number[]): void {
    const { view } = this.#options;
    for (const id of regionIds) if (view.regions.get(id) !== undefined) this.#splitAt.set(id, view.now);
  }

  regionGone(regionId: number): void {
    this.operators.regionGone(regionId);
    this.#states.delete(regionId);
    this.#hot.delete(regionId);
    this.#splitAt.delete(regionId);
  }

  #diagnose(report: RegionReport): RegionState {
    const { id } = report.region;
    let state = this.stateOf(id);
    for (const event of diagnose(this.#options.view, report)) state = regionAfter(state, event);
    this.#states.set(id, state);
    if (state.load === 'hot') this.#hot.add(id);
    else this.#hot.delete(id);
    return state;
  }

  #transition(regionId: number, event: Parameters<typeof regionAfter>[1]): void {
    this.#states.set(regionId, regionAfter(this.stateOf(regionId), event));
  }

  #collect(): void {
    const { view, collected } = this.#options;
    const enough = view.reported >= COLLECTED_PART * view.regions.size;
    if (!enough && view.now - this.#beganAt < COLLECTING_LIMIT_MS) {
      this.#later(FIRST_INTERVAL_MS * 10, () => this.#collect());
      return;
    }
    collected();
    this.#patrol();
    this.#scheduleAll();
    this.#tickOperators();
  }

  /** Checks some regions, by key, and goes on there next time; from the beginning again at the end. */
  #patrol(): void {
    const { view } = this.#options;
    if (this.#patrolled.length === 0) this.#roundBeganAt = view.now;
    if (!view.config.haltScheduling) {
      const batch = view.regions.scan(this.#patrolled, NO_KEY, PATROL_BATCH);
      const last = batch.at(-1);
      this.#patrolled = batch.length < PATROL_BATCH ? NO_KEY : (last?.endKey ?? NO_KEY);
      for (const { id } of batch) {
        const report = view.report(id);
        if (report === undefined || this.operators.of(id) !== undefined) continue;
        this.#propose(
          check(view, this.operators, report, this.#diagnose(report), (one) => this.#isCalm(one)),
        );
      }
    }
    const rest = this.#patrolled.length === 0 ? this.#roundBeganAt + PATROL_ROUND_MS - view.now : 0;
    this.#later(Math.max(PATROL_INTERVAL_MS, rest), () => this.#patrol());
  }

  /** Whether a region may be merged: it is whole, nothing moves it, and it was not split lately. */
  #isCalm(report: RegionReport): boolean {
    const { view } = this.#options;
    const { id } = report.region;
    const since = this.#splitAt.get(id) ?? this.#beganAt;
    const state = this.stateOf(id);
    return (
      view.now - since >= view.config.splitMergeInterval &&
      state.load === 'calm' &&
      !isUntouchable(state, report)
    );
  }

  #scheduleAll(): void {
    const { view, wallTime, schedulers } = this.#options;
    let next = view.now + LONGEST_INTERVAL_MS;
    if (!view.config.haltScheduling) {
      for (const entry of schedulers()) {
        if (entry.pausedUntil > wallTime()) continue;
        const rhythm = this.#rhythmOf(schedulerName(entry));
        if (view.now >= rhythm.due) {
          rhythm.interval = this.#scheduleOne(entry)
            ? FIRST_INTERVAL_MS
            : Math.min(LONGEST_INTERVAL_MS, rhythm.interval * SLOWER);
          rhythm.due = view.now + rhythm.interval;
        }
        next = Math.min(next, rhythm.due);
      }
    }
    this.#schedulingTimer = this.#later(Math.max(FIRST_INTERVAL_MS, next - view.now), () =>
      this.#scheduleAll(),
    );
  }

  /** @returns whether it found something to do */
  #scheduleOne(entry: SchedulerEntry): boolean {
    if (this.#isAtLimit(entry)) return false;
    let taken = false;
    for (const proposal of schedule(entry, this.#scheduling)) {
      const { kind } = proposal.plan;
      if (this.#isAtLimit(entry) || this.operators.count(kind) >= this.#limitOf(kind)) break;
      taken = this.#propose([proposal]) || taken;
    }
    return taken;
  }

  #rhythmOf(name: string): { due: number; interval: number } {
    let rhythm = this.#intervals.get(name);
    if (rhythm === undefined) {
      rhythm = { due: 0, interval: FIRST_INTERVAL_MS };
      this.#intervals.set(name, rhythm);
    }
    return rhythm;
  }

  #limitOf(kind: OperatorKind): number {
    const { config } = this.#options.view;
    if (kind === 'leader') return config.leaderScheduleLimit;
    if (kind === 'hot') return config.hotRegionScheduleLimit;
    return kind === 'region' ? config.regionScheduleLimit : Number.POSITIVE_INFINITY;
  }

  #isAtLimit({ limit, kind }: SchedulerEntry): boolean {
    if (limit === 0) return false;
    let running = 0;
    for (const { plan } of this.operators.all()) if (plan.by === kind) running++;
    return running >= limit;
  }

  #tickOperators(): void {
    this.operators.tick();
    this.#later(OPERATOR_INTERVAL_MS, () => this.#tickOperators());
  }

  #propose(proposals: readonly Proposal[]): boolean {
    return proposals.length > 0 && this.operators.add(proposals) === undefined;
  }

  #cancel(timer: TimerHandle): void {
    this.#options.clock.clearTimeout(timer);
    this.#timers.delete(timer);
  }

  #later(milliseconds: number, work: () => void): TimerHandle {
    const { clock } = this.#options;
    const timer = clock.setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, milliseconds);
    this.#timers.add(timer);
    return timer;
  }
}

const NO_KEY = new Uint8Array(0);

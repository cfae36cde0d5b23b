import type { OperatorState } from '../../../machines/index.js';
import { isSilent } from './filters.js';
import { Operator, type OperatorKind, type OperatorPlan } from './operator.js';
import { isDown, isPending, peerOn, type RegionReport } from './region-report.js';
import { type Influence, type Order, obstacleTo, type Step, storesThatTake } from './steps.js';
import { StoreLimits } from './store-limit.js';
import type { ClusterView } from './view.js';

/** An operator that has ended. */
export interface EndedOperator {
  readonly operator: Operator;
  readonly state: OperatorState;
  /** Milliseconds of the scheduler's clock. */
  readonly endedAt: number;
}

/** A plan, and the region as it was made for. */
export interface Proposal {
  readonly plan: OperatorPlan;
  readonly report: RegionReport;
}

/** Ended operators that are remembered. */
const REMEMBERED = 1_000;
/** Operators that wait for room in their stores' limits; more are refused. */
const MOST_WAITING = 1_024;
/** Milliseconds after which an order that shows no effect is sent again. */
const RESEND_MS = 2_000;

export interface OperatorsOptions {
  readonly view: ClusterView;
  /** Sends an order to the store of the region's leader, between its heartbeats. */
  readonly send: (report: RegionReport, order: Order) => void;
  /** Told of each that has begun and ended. */
  readonly changed: (operator: Operator) => void;
}

interface Running {
  readonly operator: Operator;
  /** When its current step was last ordered. */
  orderedAt: number;
}

/** What is on its way to a store and from it, by all operators. */
export class StoreInfluence {
  replicas = 0;
  leaders = 0;
  size = 0;
  leaderSize = 0;
}

/**
 * All operators under way, one a region: takes them up as limits allow, tells leaders what to do, and follows them by what
 * leaders tell (PD's operator controller).
 */
export class Operators {
  readonly #options: OperatorsOptions;
  readonly #running = new Map<number, Running>();
  readonly #waiting = new Map<number, Operator>();
  readonly #influences = new Map<number, StoreInfluence>();
  readonly #counts = new Map<OperatorKind, number>();
  readonly #limits: StoreLimits;
  readonly #ended: EndedOperator[] = [];

  constructor(options: OperatorsOptions) {
    this.#options = options;
    this.#limits = new StoreLimits((id) => options.view.limitOf(id));
  }

  /** The operator of a region, running or waiting. */
  of(regionId: number): Operator | undefined {
    return this.#running.get(regionId)?.operator ?? this.#waiting.get(regionId);
  }

  /** All that run or wait. */
  *all(): IterableIterator<Operator> {
    for (const { operator } of this.#running.values()) yield operator;
    yield* this.#waiting.values();
  }

  /** How many run or wait. */
  get size(): number {
    return this.#running.size + this.#waiting.size;
  }

  /** The newest that have ended, the last first. */
  get ended(): readonly EndedOperator[] {
    return this.#ended.toReversed();
  }

  /** How many of a kind run or wait. */
  count(kind: OperatorKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** What is on its way to a store, and from it. */
  influence(storeId: number): StoreInfluence {
    let influence = this.#influences.get(storeId);
    if (influence === undefined) {
      influence = new StoreInfluence();
      this.#influences.set(storeId, influence);
    }
    return influence;
  }

  /** Whether an operator makes a peer on a store. */
  brings(storeId: number): boolean {
    for (const { plan } of this.all())
      if (plan.steps.some((step) => step.kind === 'addLearner' && step.store === storeId)) return true;
    return false;
  }

  /** Whether a store may have peers added (1) or removed (-1) now. */
  allows(storeId: number, change: number, size: number): boolean {
    return this.#limits.allows(storeId, change, size, this.#options.view.now);
  }

  /**
   * Takes up plans that belong together, all or none. They start as soon as their stores' limits allow.
   * @returns why not; `undefined` when they are taken up
   */
  add(plans: readonly Proposal[]): string | undefined {
    const { view } = this.#options;
    for (const { plan, report } of plans) {
      const refused = this.#refusal(plan, report);
      if (refused !== undefined) return refused;
    }
    for (const { plan, report } of plans) {
      const earlier = this.of(report.region.id);
      if (earlier !== undefined) {
        earlier.replace(`${plan.by} matters more`);
        this.#end(earlier);
      }
      const operator = new Operator(plan, report, view.now);
      this.#counts.set(plan.kind, this.count(plan.kind) + 1);
      this.#waiting.set(operator.regionId, operator);
      for (const influences of operator.influences) this.#influence(influences, 1);
      this.#start(operator);
    }
    return undefined;
  }

  /** @returns whether there was one */
  cancel(regionId: number, reason: string): boolean {
    const operator = this.of(regionId);
    if (operator === undefined) return false;
    operator.cancel(reason);
    this.#end(operator);
    return true;
  }

  /** What a region's leader is to do, after it has told of its region. */
  heard(report: RegionReport): Order | undefined {
    const running = this.#running.get(report.region.id);
    if (running === undefined) return undefined;
    const { operator } = running;
    const { now } = this.#options.view;
    operator.heard(report, now, (influences) => this.#influence(influences, -1));
    this.#cancelUnfit(operator, report);
    if (operator.isOver) {
      this.#end(operator);
      return undefined;
    }
    running.orderedAt = now;
    return this.#orderOf(operator, report);
  }

  regionGone(regionId: number): void {
    const operator = this.of(regionId);
    if (operator === undefined) return;
    operator.regionGone(this.#options.view.now);
    this.#end(operator);
  }

  /** Starts what may start by now, ends what takes too long, and repeats orders that show no effect. */
  tick(): void {
    const { view } = this.#options;
    for (const operator of [...this.#waiting.values()]) {
      operator.tick(view.now);
      if (operator.isOver) this.#end(operator);
      else this.#start(operator);
    }
    for (const running of [...this.#running.values()]) {
      const { operator } = running;
      operator.tick(view.now);
      const report = view.report(operator.regionId);
      if (report !== undefined) this.#cancelUnfit(operator, report);
      if (operator.isOver) this.#end(operator);
      else if (view.now - running.orderedAt >= RESEND_MS) this.#tell(running);
    }
  }

  /** Forgets all: another scheduler leads. */
  clear(): void {
    this.#running.clear();
    this.#waiting.clear();
    this.#influences.clear();
    this.#counts.clear();
    this.#limits.clear();
  }

  #refusal(plan: OperatorPlan, report: RegionReport): string | undefined {
    const { view } = this.#options;
    const { id, regionEpoch } = report.region;
    // A split may have been told of by others than the region's own leader.
    const known = view.regions.get(id)?.regionEpoch;
    if (known === undefined || view.report(id) === undefined)
      return `no leader of region ${id} has been heard of`;
    if (known.version !== regionEpoch?.version || known.confVer !== regionEpoch.confVer)
      return `region ${id} has changed meanwhile`;
    const earlier = this.of(id);
    if (earlier !== undefined && earlier.plan.priority >= plan.priority)
      return `region ${id} has an operator already, of ${earlier.plan.by}`;
    if (earlier === undefined && this.#waiting.size >= MOST_WAITING)
      return `${MOST_WAITING} operators wait for their stores' limits already`;
    return undefined;
  }

  #start(operator: Operator): void {
    const { view, changed } = this.#options;
    const { confVer, version } = view.regions.get(operator.regionId)?.regionEpoch ?? operator.epoch;
    if (confVer !== operator.epoch.confVer || version !== operator.epoch.version) {
      operator.cancel(`region ${operator.regionId} has changed before it was begun`);
      return this.#end(operator);
    }
    const peers = operator.influences.flat().filter(({ replicas }) => replicas !== 0);
    const free = peers.every(({ store, replicas }) => this.allows(store, replicas, operator.size));
    if (!free && operator.plan.kind !== 'admin') return;
    for (const { store, replicas } of peers) this.#limits.take(store, replicas, operator.size, view.now);
    this.#waiting.delete(operator.regionId);
    operator.start(view.now);
    const running: Running = { operator, orderedAt: Number.NEGATIVE_INFINITY };
    this.#running.set(operator.regionId, running);
    changed(operator);
    this.#tell(running);
  }

  #tell(running: Running): void {
    const { view, send } = this.#options;
    const { operator } = running;
    const report = view.report(operator.regionId);
    if (report === undefined) return;
    const order = this.#orderOf(operator, report);
    running.orderedAt = view.now;
    if (order !== undefined) send(report, order);
  }

  /** Nobody comes to vote who does not answer or is behind: the region could lose its majority by it. */
  #orderOf(operator: Operator, report: RegionReport): Order | undefined {
    const step = operator.plan.steps[operator.step];
    const coming = step?.kind === 'enterJoint' ? step.promoted : step?.kind === 'promote' ? [step.store] : [];
    const fit = coming.every((store) => {
      const peer = peerOn(report.region, store);
      const standing = this.#options.view.store(store);
      if (peer === undefined || standing === undefined || isSilent(standing)) return false;
      return !isPending(report, peer.id) && !isDown(report, peer.id);
    });
    return fit ? operator.order(report) : undefined;
  }

  /** What a step needs may be lost while it is under way, and others had better plan anew. */
  #cancelUnfit(operator: Operator, report: RegionReport): void {
    const step = operator.plan.steps[operator.step];
    if (operator.isOver || step === undefined) return;
    const obstacle = obstacleTo(step, report) ?? this.#absence(step, report);
    if (obstacle !== undefined) operator.cancel(obstacle);
  }

  /** A new replica may wait for a store that is away for a moment; leadership may not. */
  #absence(step: Step, report: RegionReport): string | undefined {
    const leads = step.kind === 'transferLeader';
    for (const id of storesThatTake(step)) {
      const state = this.#options.view.store(id)?.state ?? 'gone';
      if (state !== 'up' && (leads || state !== 'disconnected')) return `store ${id} is ${state}`;
      const peer = peerOn(report.region, id);
      if (leads && peer !== undefined && isDown(report, peer.id))
        return `the peer on store ${id} does not answer`;
    }
    return undefined;
  }

  #end(operator: Operator): void {
    const { view, changed } = this.#options;
    const { regionId, plan, influences, step, state } = operator;
    if (this.#running.get(regionId)?.operator === operator) this.#running.delete(regionId);
    else if (this.#waiting.get(regionId) === operator) this.#waiting.delete(regionId);
    else return;
    this.#counts.set(plan.kind, this.count(plan.kind) - 1);
    for (const left of influences.slice(step)) this.#influence(left, -1);
    this.#ended.push({ operator, state, endedAt: view.now });
    if (this.#ended.length > REMEMBERED) this.#ended.shift();
    changed(operator);
    this.#endPartner(operator);
  }

  /** Of a merge neither side goes on alone: the one that is taken in is gone first, and the other one sees it then. */
  #endPartner({ plan, regionId, state }: Operator): void {
    const last = plan.steps.at(-1);
    if (last?.kind === 'merge' && state !== 'success')
      this.cancel(last.target.id, `region ${regionId} is not merged into it`);
    else if (last?.kind === 'awaitMerge') {
      const source = this.of(last.source);
      if (source?.plan.steps.at(-1)?.kind === 'merge')
        this.cancel(last.source, `region ${regionId} does not wait for it any more`);
    }
  }

  #influence(influences: readonly Influence[], sign: 1 | -1): void {
    for (const { store, replicas, leaders, size, leaderSize } of influences) {
      const sum = this.influence(store);
      sum.replicas += sign * replicas;
      sum.leaders += sign * leaders;
      sum.size += sign * size;
      sum.leaderSize += sign * leaderSize;
    }
  }
}

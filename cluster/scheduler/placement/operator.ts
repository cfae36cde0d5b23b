import { type ActorRefFrom, createActor } from 'xstate';
import { type OperatorState, operatorMachine } from '../../../machines/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import { type RegionReport, weightOf } from './region-report.js';
import {
  changesRange,
  confVerOf,
  confVerOfDone,
  type Influence,
  influencesOf,
  isDone,
  type Order,
  obstacleTo,
  orderOf,
  type Step,
  sentenceOf,
  timeLimitOf,
} from './steps.js';

/** What an operator is for; each kind has a limit of its own, and `admin` none. */
export type OperatorKind = 'leader' | 'region' | 'replica' | 'merge' | 'hot' | 'split' | 'admin';

/** Of two operators for one region the one that matters more stays. */
export const Priority = { normal: 0, high: 1, urgent: 2, admin: 3 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];

export interface OperatorPlan {
  readonly kind: OperatorKind;
  /** Who wants it: a checker's or a scheduler's name, or `admin`. */
  readonly by: string;
  readonly priority: Priority;
  /** At least one. */
  readonly steps: readonly Step[];
}

/** Milliseconds after which an operator that was not started is dropped. */
const EXPIRES_AFTER_MS = 3_000;

/** A plan for one region under way, as its chart says. */
export class Operator {
  readonly plan: OperatorPlan;
  readonly regionId: number;
  /** The region's epoch as it was made for. */
  readonly epoch: metapb.RegionEpoch;
  /** Bytes of the region then. */
  readonly size: number;
  /** Milliseconds of the scheduler's clock. */
  readonly madeAt: number;
  /** What each step does to stores. */
  readonly influences: readonly (readonly Influence[])[];
  /** Why it was cancelled or replaced. */
  reason = '';
  readonly #actor: ActorRefFrom<typeof operatorMachine>;

  constructor(plan: OperatorPlan, report: RegionReport, now: number) {
    const { region } = report;
    this.plan = plan;
    this.regionId = region.id;
    this.epoch = region.regionEpoch ?? { confVer: 0, version: 0 };
    this.size = weightOf(report);
    this.madeAt = now;
    let leader = report.leader.storeId;
    this.influences = plan.steps.map((step) => {
      const influences = influencesOf(step, this.size, leader);
      if (step.kind === 'transferLeader') leader = step.store;
      return influences;
    });
    const input = {
      now,
      expiresAfter: EXPIRES_AFTER_MS,
      stepLimits: plan.steps.map((step) => timeLimitOf(step, this.size)),
    };
    this.#actor = createActor(operatorMachine, { input }).start();
  }

  /** Its chart, live. */
  get actor(): ActorRefFrom<typeof operatorMachine> {
    return this.#actor;
  }

  get state(): OperatorState {
    return this.#actor.getSnapshot().value;
  }

  get isOver(): boolean {
    return this.#actor.getSnapshot().status === 'done';
  }

  /** Index of the step that is under way; as many as there are when all are done. */
  get step(): number {
    return this.#actor.getSnapshot().context.step;
  }

  start(now: number): void {
    this.#actor.send({ type: 'start', now });
  }

  tick(now: number): void {
    this.#actor.send({ type: 'clock', now });
  }

  cancel(reason: string): void {
    this.reason = reason;
    this.#actor.send({ type: 'cancel' });
  }

  replace(reason: string): void {
    this.reason = reason;
    this.#actor.send({ type: 'replace' });
  }

  /** The region went into its neighbour: what was wanted, or not. */
  regionGone(now: number): void {
    if (this.plan.steps[this.step]?.kind === 'merge') this.#actor.send({ type: 'stepDone', now });
    else this.cancel('the region is no more');
  }

  /**
   * Takes in what the region's leader tells: steps that are done are passed, and an operator whose region was changed by
   * somebody else is cancelled.
   * @param passed told the influences of each step that is done
   */
  heard(report: RegionReport, now: number, passed: (influences: readonly Influence[]) => void): void {
    const { steps } = this.plan;
    const { confVer, version } = report.region.regionEpoch ?? { confVer: 0, version: 0 };
    for (;;) {
      const step = steps[this.step];
      if (step === undefined || this.isOver || !isDone(step, report, this.epoch.version)) break;
      passed(this.influences[this.step] ?? []);
      this.#actor.send({ type: 'stepDone', now });
    }
    if (this.isOver) return;
    const current = this.step;
    const explained =
      steps.slice(0, current).reduce((sum, step) => sum + confVerOfDone(step), 0) +
      steps.slice(current, current + 1).reduce((sum, step) => sum + confVerOf(step, report.region), 0);
    if (version !== this.epoch.version && !steps.slice(0, current + 1).some(changesRange))
      this.cancel(`the region has version ${version} now, not ${this.epoch.version}`);
    else if (confVer - this.epoch.confVer > explained)
      this.cancel(`the region's members were changed by somebody else`);
  }

  /** What the region's leader is to do now. */
  order(report: RegionReport): Order | undefined {
    const step = this.plan.steps[this.step];
    if (this.state !== 'running' || step === undefined) return undefined;
    return obstacleTo(step, report) === undefined ? orderOf(step, report) : undefined;
  }

  /** All of it in words. */
  toString(): string {
    return this.plan.steps.map(sentenceOf).join(', then ');
  }
}

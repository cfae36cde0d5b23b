import { pdpb, type troupepb } from '../proto/index.js';
import { SchedulerFault } from './fault.js';
import type { Placement } from './placement/index.js';
import { type Operator, type OperatorPlan, Priority } from './placement/operator.js';
import type { Proposal } from './placement/operators.js';
import { stepsTo } from './placement/plans.js';
import { peerOn, type RegionReport, votersOf } from './placement/region-report.js';
import { scatter } from './placement/schedulers/scatter.js';
import { type Step, sentenceOf } from './placement/steps.js';

const { ErrorType } = pdpb;
const MAX_SCATTERED = 1_000;

/** Operators as people see, add and cancel them. */
export class OperatorRequests {
  readonly #placement: Placement;

  constructor(placement: Placement) {
    this.#placement = placement;
  }

  list(ended: boolean): troupepb.OperatorInfo[] {
    const { view, coordinator } = this.#placement;
    const running = [...coordinator.operators.all()].map((operator) => describe(operator, view.now));
    if (!ended) return running;
    const past = coordinator.operators.ended.map(({ operator, state, endedAt }) => ({
      ...describe(operator, view.now),
      state,
      endedAgo: Math.round(view.now - endedAt),
    }));
    return [...running, ...past];
  }

  /** @throws SchedulerFault when it is for no region or store, or stands in the way of another */
  add(request: Omit<troupepb.AddOperatorRequest, 'header'>): troupepb.OperatorInfo[] {
    const { view, coordinator } = this.#placement;
    const { operators } = coordinator;
    const sets = request.kind === 'scatter' ? this.#scatter(request) : [this.#proposals(request)];
    for (const proposals of sets) {
      const refused = proposals.length === 0 ? undefined : operators.add(proposals);
      if (refused !== undefined) throw conflict(`${upper(refused)}: cancel that first, or try again later.`);
    }
    return sets
      .flat()
      .flatMap(({ report }) => operators.of(report.region.id) ?? [])
      .map((operator) => describe(operator, view.now));
  }

  cancel(regionId: number): void {
    if (this.#placement.coordinator.operators.cancel(regionId, 'somebody cancelled it')) return;
    throw new SchedulerFault(
      ErrorType.ENTRY_NOT_FOUND,
      `Region ${regionId} has no operator: \`troupe operator list\` shows those that there are.`,
    );
  }

  #proposals(request: Omit<troupepb.AddOperatorRequest, 'header'>): Proposal[] {
    const { view } = this.#placement;
    const { kind, fromStore, toStore, targetRegion } = request;
    const [regionId = 0] = request.regionIds;
    const report = this.#report(regionId);
    const stores = votersOf(report.region).map(({ storeId }) => storeId);
    switch (kind) {
      case 'transfer-leader':
        this.#mustHold(report, toStore);
        if (!stores.includes(toStore))
          throw conflict(`The peer of region ${regionId} on store ${toStore} is a learner: choose a voter.`);
        return [admin(report, [{ kind: 'transferLeader', store: toStore }])];
      case 'add-peer':
        this.#mustTake(report, toStore);
        return this.#to(report, [...stores, toStore]);
      case 'remove-peer':
        this.#mustHold(report, fromStore);
        if (stores.length === 1) throw conflict(`Region ${regionId} has one voter left: add another first.`);
        return this.#to(
          report,
          stores.filter((id) => id !== fromStore),
        );
      case 'move-peer':
        this.#mustHold(report, fromStore);
        this.#mustTake(report, toStore);
        return this.#to(report, [...stores.filter((id) => id !== fromStore), toStore]);
      case 'split':
        return [admin(report, [{ kind: 'split', keys: [] }])];
      case 'merge': {
        const target = this.#report(targetRegion);
        if (!view.neighbours(report.region).includes(target))
          throw conflict(`Region ${targetRegion} is no neighbour of region ${regionId}: merge one that is.`);
        const steps = stepsTo(
          view,
          report,
          votersOf(target.region).map(({ storeId }) => storeId),
        );
        if (steps === undefined) throw nobodyLeads(regionId);
        return [
          admin(report, [...steps, { kind: 'merge', target: target.region }]),
          admin(target, [{ kind: 'awaitMerge', source: regionId }]),
        ];
      }
      default:
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `There is no operator "${kind}": transfer-leader, add-peer, remove-peer, move-peer, merge, split and scatter are.`,
        );
    }
  }

  #to(report: RegionReport, stores: readonly number[]): Proposal[] {
    const steps = stepsTo(this.#placement.view, report, stores);
    if (steps === undefined) throw nobodyLeads(report.region.id);
    return [admin(report, steps)];
  }

  #scatter({ regionIds }: Omit<troupepb.AddOperatorRequest, 'header'>): Proposal[][] {
    if (regionIds.length === 0 || regionIds.length > MAX_SCATTERED)
      throw new SchedulerFault(
        ErrorType.INVALID_VALUE,
        `Scatter from 1 to ${MAX_SCATTERED} regions at once.`,
      );
    const { view, coordinator } = this.#placement;
    const group = { replicas: new Map<number, number>(), leaders: new Map<number, number>() };
    return regionIds.flatMap((id) => {
      const proposal = scatter(view, coordinator.operators, this.#report(id), group);
      return proposal === undefined ? [] : [[proposal]];
    });
  }

  #report(id: number): RegionReport {
    const report = this.#placement.view.report(id);
    if (report !== undefined) return report;
    throw new SchedulerFault(
      ErrorType.REGION_NOT_FOUND,
      `There is no region ${id} whose leader is known: \`troupe region list\` shows those that there are.`,
    );
  }

  #mustHold({ region }: RegionReport, storeId: number): void {
    if (peerOn(region, storeId) !== undefined) return;
    throw new SchedulerFault(
      ErrorType.ENTRY_NOT_FOUND,
      `Region ${region.id} has no peer on store ${storeId}: its peers are on the stores ${region.peers.map((peer) => peer.storeId).join(', ')}.`,
    );
  }

  #mustTake({ region }: RegionReport, storeId: number): void {
    const standing = this.#placement.view.store(storeId);
    if (standing === undefined || standing.state === 'tombstone') {
      throw new SchedulerFault(
        ErrorType.ENTRY_NOT_FOUND,
        `There is no store ${storeId}: \`troupe store list\` shows those that there are.`,
      );
    }
    if (standing.state !== 'up')
      throw conflict(`Store ${storeId} is ${standing.state}: choose one that is up.`);
    if (peerOn(region, storeId)?.role === 0)
      throw conflict(`Region ${region.id} has a voter on store ${storeId} already.`);
  }
}

function admin(report: RegionReport, steps: readonly Step[]): Proposal {
  if (steps.length === 0) throw conflict(`Region ${report.region.id} is as asked already.`);
  const plan: OperatorPlan = { kind: 'admin', by: 'admin', priority: Priority.admin, steps };
  return { plan, report };
}

function describe(operator: Operator, now: number): troupepb.OperatorInfo {
  const { plan, regionId, state, step, madeAt, reason } = operator;
  return {
    regionId,
    kind: plan.kind,
    by: plan.by,
    state,
    steps: plan.steps.map(sentenceOf),
    step,
    age: Math.round(now - madeAt),
    endedAgo: 0,
    reason,
  };
}

function nobodyLeads(regionId: number): SchedulerFault {
  return conflict(`Nobody could lead region ${regionId} then: no other voter is up and has caught up.`);
}

function conflict(message: string): SchedulerFault {
  return new SchedulerFault(ErrorType.DUPLICATED_ENTRY, message);
}

function upper(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

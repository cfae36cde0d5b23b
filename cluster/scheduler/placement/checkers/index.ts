import type { RegionState } from '../../../../machines/index.js';
import type { OperatorPlan } from '../operator.js';
import type { Operators, Proposal } from '../operators.js';
import type { RegionReport } from '../region-report.js';
import type { ClusterView } from '../view.js';
import { splitAtBorder } from './border.js';
import { type IsCalm, mergeSmall } from './merge.js';
import {
  addMissing,
  leaveJoint,
  mayRelocate,
  relocate,
  removeExtra,
  replaceDown,
  replaceOffline,
  settleLearner,
} from './replicas.js';

type ReplicaChecker = (
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
) => OperatorPlan | undefined;

/** Who mends what: the states of the region's chart in which something is wrong with its replicas. */
const MENDERS: Readonly<Partial<Record<RegionState['replication'], ReplicaChecker>>> = {
  joint: leaveJoint,
  learner: settleLearner,
  down: replaceDown,
  offline: replaceOffline,
  missing: addMissing,
  extra: removeExtra,
  misplaced: relocate,
};

/**
 * What is to be done for one region, in PD's order of checkers: a joint membership is left, a region across a placement
 * border is split, replicas are mended and better placed, small regions are merged.
 * @param state of the region's chart
 * @returns plans that belong together; none when nothing is wrong or nothing can be done now
 */
export function check(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  state: RegionState,
  isCalm: IsCalm,
): readonly Proposal[] {
  if (state.operator === 'running' || state.leadership !== 'led') return [];
  const { replication, size, load } = state;
  if (replication !== 'joint') {
    const split = splitAtBorder(view, report);
    if (split !== undefined) return [{ plan: split, report }];
  }
  const mender = MENDERS[replication];
  if (mender !== undefined) {
    if (operators.count('replica') >= view.config.replicaScheduleLimit) return [];
    return proposed(mender(view, operators, report), report);
  }
  if (replication !== 'whole') return [];
  if (mayRelocate(view) && operators.count('replica') < view.config.replicaScheduleLimit) {
    const better = relocate(view, operators, report);
    if (better !== undefined) return [{ plan: better, report }];
  }
  if (size === 'small' && load === 'calm') return mergeSmall(view, operators, report, isCalm) ?? [];
  return [];
}

function proposed(plan: OperatorPlan | undefined, report: RegionReport): readonly Proposal[] {
  return plan === undefined ? [] : [{ plan, report }];
}

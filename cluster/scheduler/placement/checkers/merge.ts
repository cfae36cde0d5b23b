import { compareBytes } from '../../../../storage/keys.js';
import { Priority } from '../operator.js';
import type { Operators, Proposal } from '../operators.js';
import { stepsTo } from '../plans.js';
import { isHealthy, type RegionReport, votersOf } from '../region-report.js';
import type { ClusterView } from '../view.js';

/** So much of the merge size two regions may come to together: the result must not be split again. */
const LARGEST_RESULT = 1.5;

/** Whether nothing is wrong with a region that is to be merged, as the coordinator knows it. */
export type IsCalm = (report: RegionReport) => boolean;

/**
 * Merges a small region into the smaller of its neighbours, whose stores its replicas are brought to first (PD's merge
 * checker).
 */
export function mergeSmall(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  isCalm: IsCalm,
): readonly Proposal[] | undefined {
  const { maxMergeRegionSize, mergeScheduleLimit } = view.config;
  // Each merge is two operators.
  if (maxMergeRegionSize === 0 || operators.count('merge') + 2 > 2 * mergeScheduleLimit) return undefined;
  if (!isHealthy(report) || !isCalm(report)) return undefined;
  const target = view
    .neighbours(report.region)
    .flatMap((neighbour) => neighbour ?? [])
    .filter((neighbour) => mayMerge(view, operators, report, neighbour) && isCalm(neighbour))
    .sort((a, b) => a.approximateSize - b.approximateSize)[0];
  if (target === undefined) return undefined;
  const stores = votersOf(target.region).map(({ storeId }) => storeId);
  const steps = stepsTo(view, report, stores);
  if (steps === undefined) return undefined;
  const common = { kind: 'merge', by: 'merge', priority: Priority.normal } as const;
  return [
    { plan: { ...common, steps: [...steps, { kind: 'merge', target: target.region }] }, report },
    { plan: { ...common, steps: [{ kind: 'awaitMerge', source: report.region.id }] }, report: target },
  ];
}

function mayMerge(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  neighbour: RegionReport,
): boolean {
  const { maxMergeRegionSize, maxMergeRegionKeys } = view.config;
  const [first, second] =
    compareBytes(report.region.startKey, neighbour.region.startKey) < 0
      ? [report.region, neighbour.region]
      : [neighbour.region, report.region];
  return (
    isHealthy(neighbour) &&
    operators.of(neighbour.region.id) === undefined &&
    report.approximateSize + neighbour.approximateSize <= LARGEST_RESULT * maxMergeRegionSize &&
    report.approximateKeys + neighbour.approximateKeys <= LARGEST_RESULT * maxMergeRegionKeys &&
    view.rules.bordersWithin(first.startKey, second.endKey).length === 0
  );
}

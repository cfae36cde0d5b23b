import { takesLeaders } from '../filters.js';
import { Priority } from '../operator.js';
import type { Operators, Proposal } from '../operators.js';
import { stepsTo } from '../plans.js';
import { isHealthy, type RegionReport, votersOf } from '../region-report.js';
import { candidates, distinctOf } from '../targets.js';
import type { ClusterView, StoreStanding } from '../view.js';

/** How many replicas and leaders of the group each store has been given. */
export interface ScatteredGroup {
  readonly replicas: Map<number, number>;
  readonly leaders: Map<number, number>;
}

/**
 * Spreads the regions of a group evenly, whatever else the stores hold (PD's scatter): each replica goes to the store that
 * has been given fewest of the group, of those that keep it as far apart, and so does the leader.
 * @returns nothing where the region is well placed already, or not whole
 */
export function scatter(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  group: ScatteredGroup,
): Proposal | undefined {
  if (!isHealthy(report) || votersOf(report.region).length !== view.rules.demandOf(report.region).count)
    return undefined;
  let stores = votersOf(report.region).flatMap(({ storeId }) => view.store(storeId) ?? []);
  for (const standing of [...stores]) {
    const rest = stores.filter((one) => one.id !== standing.id);
    const least = distinctOf(view, rest, standing);
    const better = candidates(view, operators, report, rest)
      .filter((one) => !stores.includes(one) && !rest.some(({ id }) => id === one.id))
      .filter((one) => distinctOf(view, rest, one) >= least)
      .sort((a, b) => given(group.replicas, a) - given(group.replicas, b) || a.id - b.id)[0];
    if (better !== undefined && given(group.replicas, better) < given(group.replicas, standing))
      stores = [...rest, better];
  }
  const leader = [...stores]
    .filter((standing) => takesLeaders(standing) && !view.rejectsLeaders(standing.id))
    .sort((a, b) => given(group.leaders, a) - given(group.leaders, b) || a.id - b.id)[0];
  for (const { id } of stores) count(group.replicas, id);
  if (leader !== undefined) count(group.leaders, leader.id);
  const steps = stepsTo(
    view,
    report,
    stores.map(({ id }) => id),
    leader?.id,
  );
  if (steps === undefined || steps.length === 0) return undefined;
  return { plan: { kind: 'region', by: 'scatter', priority: Priority.high, steps }, report };
}

function given(counts: ReadonlyMap<number, number>, { id }: StoreStanding): number {
  return counts.get(id) ?? 0;
}

function count(counts: Map<number, number>, id: number): void {
  counts.set(id, (counts.get(id) ?? 0) + 1);
}

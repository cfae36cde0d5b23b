import { givesReplicas, takesReplicas } from '../filters.js';
import { distinctScore } from '../isolation.js';
import { Priority } from '../operator.js';
import type { Operators, Proposal } from '../operators.js';
import { stepsTo } from '../plans.js';
import { isHealthy, LEAST_REGION_SIZE, type RegionReport, votersOf, weightOf } from '../region-report.js';
import { candidates, scoreOf } from '../targets.js';
import type { ClusterView, StoreStanding } from '../view.js';
import type { Scheduling } from './scheduling.js';

/** Regions of a store that are looked at in one round, of each of these kinds. */
const TRIES = 10;
/** Of the largest number of replicas on a store, the part by which stores may differ. */
const TOLERATED_PART = 0.005;

/**
 * Moves a replica from a full store to an emptier one (PD's balance-region): of the fullest store a region that is behind
 * there, one that it follows, or one that it leads, to the emptiest store that keeps its replicas as far apart, when the
 * difference pays for the move.
 */
export function balanceRegion({ view, operators, random, mayMove }: Scheduling): readonly Proposal[] {
  if (operators.count('region') >= view.config.regionScheduleLimit) return [];
  const stores = view.stores();
  const sources = stores
    .filter((standing) => givesReplicas(standing))
    .map((standing) => ({ standing, score: scoreOf(operators, standing) }))
    .sort((a, b) => b.score - a.score || a.standing.id - b.standing.id);
  const tolerated = tolerance(view, stores);
  const emptiest = Math.min(
    ...stores
      .filter(
        (standing) => takesReplicas(view, standing) && operators.allows(standing.id, 1, LEAST_REGION_SIZE),
      )
      .map((standing) => scoreOf(operators, standing, tolerated / 2)),
  );
  for (const { standing } of sources) {
    // Nothing pays any more, from this store or from one that is emptier still.
    if (scoreOf(operators, standing, -tolerated / 2) <= emptiest) break;
    if (!operators.allows(standing.id, -1, LEAST_REGION_SIZE)) continue;
    const { pending, followers, leaders } = standing.load;
    for (const regions of [pending, followers, leaders]) {
      for (let i = 0; i < TRIES; i++) {
        const report = view.report(regions.pick(random) ?? 0);
        if (report === undefined) break;
        if (!movable(report, standing, regions === pending) || !mayMove(report)) continue;
        const found = moveFrom(view, operators, report, standing, stores, tolerated);
        if (found !== undefined) return [found];
      }
    }
  }
  return [];
}

/** One that is behind on the source may be moved away from it; else all its peers are well. */
function movable(report: RegionReport, { id }: StoreStanding, mayBePending: boolean): boolean {
  if (isHealthy(report)) return true;
  return (
    mayBePending &&
    report.downPeers.length === 0 &&
    report.pendingPeers.every(({ storeId }) => storeId === id)
  );
}

function moveFrom(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  source: StoreStanding,
  stores: readonly StoreStanding[],
  tolerated: number,
): Proposal | undefined {
  const size = weightOf(report);
  if (!operators.allows(source.id, -1, size)) return undefined;
  const rest = votersOf(report.region)
    .filter(({ storeId }) => storeId !== source.id)
    .flatMap(({ storeId }) => view.store(storeId) ?? []);
  const { locationLabels } = view.config;
  const others = rest.map(({ store }) => store);
  const apart = distinctScore(locationLabels, others, source.store);
  const target = candidates(view, operators, report, rest, stores)
    .filter(({ store }) => distinctScore(locationLabels, others, store) >= apart)
    .map((standing) => ({ standing, score: scoreOf(operators, standing) }))
    .sort((a, b) => a.score - b.score || a.standing.id - b.standing.id)[0]?.standing;
  if (target === undefined) return undefined;
  // After the move the source must still be the fuller one; where stores hold very much, by more than that.
  const least = Math.max(size, tolerated);
  const worth = scoreOf(operators, source, -least) > scoreOf(operators, target, least);
  if (!worth) return undefined;
  const steps = stepsTo(view, report, [...rest.map(({ id }) => id), target.id]);
  if (steps === undefined || steps.length === 0) return undefined;
  return { plan: { kind: 'region', by: 'balance-region', priority: Priority.normal, steps }, report };
}

/** Bytes of which a store may have more, and another less, without a move. */
function tolerance(view: ClusterView, stores: readonly StoreStanding[]): number {
  const most = Math.max(0, ...stores.map(({ load }) => load.regionCount));
  return view.averageRegionSize() * TOLERATED_PART * most;
}

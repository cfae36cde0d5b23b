import { takesReplicas } from './filters.js';
import { allows, distinctScore, isIsolated } from './isolation.js';
import type { Operators } from './operators.js';
import { type RegionReport, weightOf } from './region-report.js';
import { regionScore } from './score.js';
import type { ClusterView, StoreStanding } from './view.js';

/** Which store is to take a replica. */

/** What is on its way counts as if it were there. */
export function scoreOf(operators: Operators, standing: StoreStanding, delta = 0): number {
  return regionScore(standing, operators.influence(standing.id).size + delta);
}

/** How far a store is set apart from those that hold the other replicas. */
export function distinctOf(view: ClusterView, others: readonly StoreStanding[], one: StoreStanding): number {
  return distinctScore(
    view.config.locationLabels,
    others.map(({ store }) => store),
    one.store,
  );
}

/**
 * Stores that may hold a replica of the region beside the others.
 * @param others stores of the replicas that stay
 * @param stores those of the view, where somebody who looks at many regions at once has them
 */
export function candidates(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  others: readonly StoreStanding[],
  stores: readonly StoreStanding[] = view.stores(),
): StoreStanding[] {
  const { region } = report;
  const { constraints } = view.rules.demandOf(region);
  const { isolationLevel, locationLabels } = view.config;
  const neighbours = others.map(({ store }) => store);
  const size = weightOf(report);
  return stores.filter(
    (standing) =>
      !region.peers.some(({ storeId }) => storeId === standing.id) &&
      takesReplicas(view, standing) &&
      operators.allows(standing.id, 1, size) &&
      allows(constraints, standing.store) &&
      isIsolated(isolationLevel, locationLabels, neighbours, standing.store),
  );
}

/** The one that is set apart furthest, of these the emptiest. */
export function bestTarget(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  others: readonly StoreStanding[],
): StoreStanding | undefined {
  let best: StoreStanding | undefined;
  let bestRank: readonly [distinct: number, score: number] = [-1, 0];
  for (const standing of candidates(view, operators, report, others)) {
    const distinct = distinctOf(view, others, standing);
    const score = scoreOf(operators, standing);
    if (distinct > bestRank[0] || (distinct === bestRank[0] && score < bestRank[1])) {
      best = standing;
      bestRank = [distinct, score];
    }
  }
  return best;
}

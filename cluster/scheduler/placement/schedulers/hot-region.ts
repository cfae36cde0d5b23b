import { givesReplicas, takesLeaders } from '../filters.js';
import { Priority } from '../operator.js';
import type { Proposal } from '../operators.js';
import { stepsTo } from '../plans.js';
import { isHealthy, peerOn, type RegionReport, votersOf } from '../region-report.js';
import { candidates, distinctOf } from '../targets.js';
import type { StoreStanding } from '../view.js';
import type { Scheduling } from './scheduling.js';

/** How much more than the average a store must bear before it is relieved. */
const UNEVEN = 1.05;
/** Hot regions of a store that are looked at, the hottest first. */
const LOOKED_AT = 100;

type Dimension = 'read' | 'written';

/**
 * Takes load from the store that bears most (PD's hot region scheduler): what is read goes where the leader goes, what is
 * written where any replica goes. A region moves when it leaves the two stores more alike than they were.
 */
export function spreadHotRegions(scheduling: Scheduling): readonly Proposal[] {
  const { view, operators } = scheduling;
  if (operators.count('hot') >= view.config.hotRegionScheduleLimit) return [];
  return spread(scheduling, 'read') ?? spread(scheduling, 'written') ?? [];
}

function spread(scheduling: Scheduling, dimension: Dimension): readonly Proposal[] | undefined {
  const { view, isHot } = scheduling;
  const stores = view.stores();
  const bears = loadsOf(scheduling, stores, dimension);
  const total = stores.reduce((sum, one) => sum + bears(one), 0);
  const average = total / Math.max(1, stores.length);
  const source = stores
    .filter((standing) => givesReplicas(standing))
    .sort((a, b) => bears(b) - bears(a) || a.id - b.id)[0];
  if (source === undefined || bears(source) <= average * UNEVEN) return undefined;
  const hottest = regionsOf(scheduling, source, dimension)
    .filter((report) => isHot(report) && scheduling.mayMove(report) && isHealthy(report))
    .sort((a, b) => rateOf(b, dimension) - rateOf(a, dimension) || a.region.id - b.region.id)
    .slice(0, LOOKED_AT);
  for (const report of hottest) {
    const rate = rateOf(report, dimension);
    // With its load the target must stay below what the source was.
    const fits = (target: StoreStanding): boolean => bears(target) < bears(source) - rate;
    const move = dimension === 'read' ? moveLeader : moveReplica;
    const found = move(scheduling, report, source, bears, fits);
    if (found !== undefined) return [found];
  }
  return undefined;
}

type Bears = (standing: StoreStanding) => number;

/** What each store bears once the hot regions that are on their way have arrived, bytes a second. */
function loadsOf(
  { view, operators }: Scheduling,
  stores: readonly StoreStanding[],
  dimension: Dimension,
): Bears {
  const loads = new Map(stores.map(({ id, load }) => [id, load[dimension]]));
  const add = (id: number, rate: number): unknown => loads.set(id, (loads.get(id) ?? 0) + rate);
  for (const { plan, regionId } of operators.all()) {
    const report = plan.kind === 'hot' ? view.report(regionId) : undefined;
    if (report === undefined) continue;
    const rate = rateOf(report, dimension);
    for (const step of plan.steps) {
      if (dimension === 'written') {
        if (step.kind === 'addLearner' && peerOn(report.region, step.store) === undefined)
          add(step.store, rate);
        if (step.kind === 'removePeer' && peerOn(report.region, step.store) !== undefined)
          add(step.store, -rate);
      } else if (step.kind === 'transferLeader' && step.store !== report.leader.storeId) {
        add(report.leader.storeId, -rate);
        add(step.store, rate);
        break;
      }
    }
  }
  return ({ id }) => loads.get(id) ?? 0;
}

function moveLeader(
  scheduling: Scheduling,
  report: RegionReport,
  source: StoreStanding,
  bears: Bears,
  fits: (target: StoreStanding) => boolean,
): Proposal | undefined {
  const { view } = scheduling;
  const target = votersOf(report.region)
    .flatMap(({ storeId }) => view.store(storeId) ?? [])
    .filter((one) => one.id !== source.id && takesLeaders(one) && !view.rejectsLeaders(one.id))
    .sort((a, b) => bears(a) - bears(b) || a.id - b.id)[0];
  if (target === undefined || !fits(target) || view.granted.has(source.id)) return undefined;
  const steps = [{ kind: 'transferLeader', store: target.id }] as const;
  return { plan: { kind: 'hot', by: 'hot-region', priority: Priority.high, steps }, report };
}

function moveReplica(
  { view, operators }: Scheduling,
  report: RegionReport,
  source: StoreStanding,
  bears: Bears,
  fits: (target: StoreStanding) => boolean,
): Proposal | undefined {
  const rest = votersOf(report.region)
    .filter(({ storeId }) => storeId !== source.id)
    .flatMap(({ storeId }) => view.store(storeId) ?? []);
  const least = distinctOf(view, rest, source);
  const target = candidates(view, operators, report, rest)
    .filter((one) => distinctOf(view, rest, one) >= least)
    .sort((a, b) => bears(a) - bears(b) || a.id - b.id)[0];
  if (target === undefined || !fits(target)) return undefined;
  const steps = stepsTo(view, report, [...rest.map(({ id }) => id), target.id]);
  if (steps === undefined) return undefined;
  return { plan: { kind: 'hot', by: 'hot-region', priority: Priority.high, steps }, report };
}

/** Only what is hot matters here, so that a store of very many regions is not gone through. */
function regionsOf(
  { view, hotRegions }: Scheduling,
  { id }: StoreStanding,
  dimension: Dimension,
): RegionReport[] {
  const reports: RegionReport[] = [];
  for (const regionId of hotRegions()) {
    const report = view.report(regionId);
    if (report === undefined || peerOn(report.region, id) === undefined) continue;
    if (dimension === 'written' || report.leader.storeId === id) reports.push(report);
  }
  return reports;
}

function rateOf({ flow }: RegionReport, dimension: Dimension): number {
  return dimension === 'read' ? flow.bytesRead : flow.bytesWritten;
}

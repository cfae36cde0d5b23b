import type { RegionEvent, RegionState } from '../../../machines/index.js';
import { isLeft, isLost } from './filters.js';
import { allows, isIsolated } from './isolation.js';
import { isJoint, learnersOf, type RegionReport, votersOf } from './region-report.js';
import type { ClusterView } from './view.js';

/** What a report says of its region, as events of the region's chart. */
export function diagnose(view: ClusterView, report: RegionReport): readonly RegionEvent[] {
  return [
    leadershipOf(view, report),
    replicationOf(view, report),
    sizeOf(view, report),
    loadOf(view, report),
  ];
}

/** Who leads now is not known while the store that told is silent. */
function leadershipOf(view: ClusterView, { leader }: RegionReport): 'led' | 'leaderLost' {
  const state = view.store(leader.storeId)?.state;
  return state === 'up' || state === 'offline' ? 'led' : 'leaderLost';
}

type Found = Extract<RegionEvent, `found${string}`>;

/** The first thing that is wrong, in the order in which things are mended. */
function replicationOf(view: ClusterView, report: RegionReport): Found {
  const { region } = report;
  const { count, constraints } = view.rules.demandOf(region);
  if (isJoint(region)) return 'foundJoint';
  if (learnersOf(region).length > 0) return 'foundLearner';
  const voters = votersOf(region);
  const standings = voters.flatMap(({ storeId }) => view.store(storeId) ?? []);
  if (standings.some((standing) => isLost(view, standing))) return 'foundDown';
  if (standings.some((standing) => isLeft(standing)) || standings.length < voters.length)
    return 'foundOffline';
  if (voters.length < count) return 'foundMissing';
  if (voters.length > count) return 'foundExtra';
  const stores = standings.map(({ store }) => store);
  const { isolationLevel, locationLabels } = view.config;
  const placed = stores.every(
    (store) => allows(constraints, store) && isIsolated(isolationLevel, locationLabels, stores, store),
  );
  return placed ? 'foundWhole' : 'foundMisplaced';
}

function sizeOf({ config }: ClusterView, { approximateSize, approximateKeys }: RegionReport): Found {
  const { maxMergeRegionSize, maxMergeRegionKeys } = config;
  if (approximateSize > maxMergeRegionSize || approximateKeys > maxMergeRegionKeys)
    return approximateSize > 2 * maxMergeRegionSize ? 'foundLarge' : 'foundFit';
  return 'foundSmall';
}

function loadOf({ config }: ClusterView, { flow }: RegionReport): 'grewHot' | 'calmedDown' {
  return flow.bytesWritten >= config.hotWriteRate || flow.bytesRead >= config.hotReadRate
    ? 'grewHot'
    : 'calmedDown';
}

/** Whether nothing may be taken from a region, to make the cluster even: it is not whole, or led, or somebody changes it. */
export function isUntouchable(state: RegionState, report: RegionReport): boolean {
  const { replication, leadership, operator } = state;
  return (
    replication !== 'whole' || leadership !== 'led' || operator === 'running' || report.downPeers.length > 0
  );
}

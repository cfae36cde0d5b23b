import { type OperatorPlan, Priority } from '../operator.js';
import type { RegionReport } from '../region-report.js';
import type { ClusterView } from '../view.js';

/** Splits a region that lies across the border of a placement rule, so that one rule holds for all of it. */
export function splitAtBorder(view: ClusterView, { region }: RegionReport): OperatorPlan | undefined {
  const keys = view.rules.bordersWithin(region.startKey, region.endKey);
  if (keys.length === 0) return undefined;
  return { kind: 'split', by: 'placement-border', priority: Priority.high, steps: [{ kind: 'split', keys }] };
}

import type { Operators } from '../operators.js';
import type { RegionReport } from '../region-report.js';
import type { ClusterView } from '../view.js';

/** What a scheduler decides by. */
export interface Scheduling {
  readonly view: ClusterView;
  readonly operators: Operators;
  readonly random: () => number;
  /** Whether a region is whole, led, and left alone by others. */
  readonly mayMove: (report: RegionReport) => boolean;
  readonly isHot: (report: RegionReport) => boolean;
  /** Ids of the hot regions. */
  readonly hotRegions: () => Iterable<number>;
}

/** The states of a region's chart that people ask for, as in `troupe region check`. */
export const REGION_STATES = [
  'joint',
  'learner',
  'down',
  'offline',
  'missing',
  'extra',
  'misplaced',
  'unknown',
  'pending',
  'small',
  'large',
  'hot',
] as const;

/** One of `REGION_STATES`. */
export type RegionPlacementState = (typeof REGION_STATES)[number];

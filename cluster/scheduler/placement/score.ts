import { LEAST_REGION_SIZE } from './region-report.js';
import type { StoreStanding } from './view.js';

const GIB = 1024 ** 3;
/** How much the room that is left weighs (PD's experience values). */
const SPACE_WEIGHT = 256;
/** Bytes below which what is left matters more than what is held; of a small disk a part of it. */
const LEAST_FREE = 50 * GIB;
const LEAST_FREE_PART = 0.1;
const NEARLY_FULL_WEIGHT = 1e7;

/**
 * How full a store is, for balance; it takes replicas from stores with a higher one (PD's region score, version 2). While
 * there is room the replicas' size counts, and counts more the less room there is; when a disk is nearly full, its room.
 * @param delta bytes that are on their way to the store, or from it when negative
 */
export function regionScore({ stats, load }: StoreStanding, delta: number): number {
  const size = Math.max(0, load.regionSize + delta) / LEAST_REGION_SIZE;
  const capacity = (stats?.capacity ?? 0) / GIB;
  const available = (stats?.available ?? 0) / GIB;
  if (capacity < 1 || available >= capacity) return size;
  const least = Math.min(LEAST_FREE / GIB, capacity * LEAST_FREE_PART);
  if (available > least) {
    const gone = Math.log(capacity) - Math.log(available - least + 1);
    return (1 + (SPACE_WEIGHT * Math.max(0, gone)) / Math.max(1, capacity - least)) * size;
  }
  const fullness = (least - available) / least;
  return (1 + (SPACE_WEIGHT * Math.log(capacity)) / capacity) * size + NEARLY_FULL_WEIGHT * fullness;
}

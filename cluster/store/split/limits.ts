import type { SplitLimits } from '../../../storage/index.js';
import { TroupeError } from '../../errors.js';

/** When a region is split because of its size; TiKV's `coprocessor.region-*` and `split-region-check-tick-interval`. */
export interface SplitCheckLimits extends SplitLimits {
  /** Milliseconds between two looks at all regions that this store leads. */
  readonly interval: number;
}

export const DEFAULT_SPLIT_CHECK: SplitCheckLimits = {
  splitBytes: 96 * 2 ** 20,
  maxBytes: 144 * 2 ** 20,
  splitKeys: 960_000,
  maxKeys: 1_440_000,
  maxParts: 10,
  interval: 10_000,
};

/** A region may have half as much again as a part that is split off. */
const MAX_OF_SPLIT = 1.5;

/**
 * All limits, from those that are given. Of bytes and of keys each, whoever gives only one of the two gets the other in
 * proportion: 96 to 144 MiB, and so down to bytes.
 * @throws TroupeError `usage` when they contradict each other or are no whole numbers above zero.
 */
export function splitCheckLimits(given: Partial<SplitCheckLimits> = {}): SplitCheckLimits {
  const limits: SplitCheckLimits = {
    ...DEFAULT_SPLIT_CHECK,
    ...given,
    ...pair(given, 'splitBytes', 'maxBytes'),
    ...pair(given, 'splitKeys', 'maxKeys'),
  };
  for (const [name, value] of Object.entries(limits)) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new TroupeError('usage', `${name} is ${value}: give a whole number above zero`);
  }
  for (const [split, max] of [
    ['splitBytes', 'maxBytes'],
    ['splitKeys', 'maxKeys'],
  ] as const) {
    if (limits[split] <= limits[max]) continue;
    throw new TroupeError(
      'usage',
      `${split} is ${limits[split]}, but a region may have only ${limits[max]} (${max}): a part that is split off must be allowed to exist`,
    );
  }
  return limits;
}

type Limit = 'splitBytes' | 'maxBytes' | 'splitKeys' | 'maxKeys';

function pair(given: Partial<SplitCheckLimits>, split: Limit, max: Limit): Partial<SplitCheckLimits> {
  const { [split]: splitAt, [max]: most } = given;
  if (splitAt !== undefined && most === undefined) return { [max]: Math.ceil(splitAt * MAX_OF_SPLIT) };
  if (splitAt === undefined && most !== undefined) {
    return { [split]: Math.max(1, Math.floor(most / MAX_OF_SPLIT)) };
  }
  return {};
}

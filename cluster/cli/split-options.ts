/** When regions are split: options that `troupe store` takes and `troupe up` hands to its stores. */

import type { Command } from 'commander';
import type { SplitCheckLimits } from '../store/split/index.js';
import { parseCount, parseDuration, parseSize } from './settings.js';

export interface SplitFlags {
  readonly regionSplitSize?: string;
  readonly regionMaxSize?: string;
  readonly regionSplitKeys?: string;
  readonly splitCheckInterval?: string;
}

/** Adds the options to a command. */
export function withSplitOptions(command: Command): Command {
  return command
    .option('--region-split-size <size>', 'bytes of the parts that a region is split into (default: 96MiB)')
    .option('--region-max-size <size>', 'bytes above which a region is split (default: half as much again)')
    .option('--region-split-keys <count>', 'the same by keys (default: 960000)')
    .option('--split-check-interval <duration>', 'time between two looks at all regions (default: 10s)');
}

/** @throws TroupeError `usage` */
export function splitLimits(flags: SplitFlags): Partial<SplitCheckLimits> {
  const { regionSplitSize, regionMaxSize, regionSplitKeys, splitCheckInterval } = flags;
  return {
    ...(regionSplitSize === undefined
      ? {}
      : { splitBytes: parseSize('--region-split-size', regionSplitSize) }),
    ...(regionMaxSize === undefined ? {} : { maxBytes: parseSize('--region-max-size', regionMaxSize) }),
    ...(regionSplitKeys === undefined
      ? {}
      : { splitKeys: parseCount('--region-split-keys', regionSplitKeys) }),
    ...(splitCheckInterval === undefined
      ? {}
      : { interval: parseDuration('--split-check-interval', splitCheckInterval) }),
  };
}

/** The same options for a process that is started with them. @throws TroupeError `usage` when one is wrong */
export function splitArguments(flags: SplitFlags): string[] {
  splitLimits(flags);
  const { regionSplitSize, regionMaxSize, regionSplitKeys, splitCheckInterval } = flags;
  const all = {
    '--region-split-size': regionSplitSize,
    '--region-max-size': regionMaxSize,
    '--region-split-keys': regionSplitKeys,
    '--split-check-interval': splitCheckInterval,
  };
  return Object.entries(all).flatMap(([option, value]) => (value === undefined ? [] : [option, value]));
}

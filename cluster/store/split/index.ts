/** When and where a store's regions are split. */
export { DEFAULT_SPLIT_CHECK, type SplitCheckLimits, splitCheckLimits } from './limits.js';
export { DEFAULT_LOAD_SPLIT, LoadSampler, type LoadSplit, type LoadSplitLimits } from './load-sampler.js';
export { RegionSize, type Size, type SizeMark } from './region-size.js';
export {
  type SplitCandidate,
  SplitChecker,
  type SplitCheckerOptions,
  type SplitReason,
} from './split-checker.js';

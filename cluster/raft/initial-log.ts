import type { Truncated } from '../../storage/index.js';

/** Where the log of a group made by bootstrap or split begins, so that later peers always start from a snapshot. */
export const INITIAL_LOG: Truncated = { index: 5, term: 5 };

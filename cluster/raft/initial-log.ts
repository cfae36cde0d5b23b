import type { InitialState } from '../../machines/index.js';
import type { Truncated } from '../../storage/index.js';

/** Where the log of a group made by bootstrap or split begins, so that later peers always start from a snapshot. */
export const INITIAL_LOG: Truncated = { index: 5, term: 5 };

/** What a peer knows that knows nothing. */
export const NOTHING: InitialState = {
  hardState: { term: 0, vote: 0, commit: 0 },
  confState: { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  truncated: { index: 0, term: 0 },
  lastIndex: 0,
  terms: [],
  entries: [],
  applied: 0,
};

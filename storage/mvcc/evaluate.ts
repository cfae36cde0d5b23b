import type { MvccReader } from './reader.js';
import type { EvaluationRequest } from './requests.js';
import type { MvccOutcome } from './types.js';

/** What the commands come to, in their order. Their keys must be disjoint. */
export function evaluate(
  _requests: readonly EvaluationRequest[],
  _reader: MvccReader,
): Promise<readonly MvccOutcome[]> {
  throw new Error('to come');
}

import type { Operation } from './history.js';
import type { Model } from './model.js';
import { type SearchLimits, type SearchResult, search } from './search.js';
import { boundUnknown } from './unknown-outcomes.js';

/**
 * - `ok`: some order of the operations explains everything that the clients heard
 * - `illegal`: there is none
 * - `unknown`: the limits came before an answer
 */
export type CheckResult<State, Input, Output> =
  | { readonly verdict: 'ok'; readonly steps: number }
  | { readonly verdict: 'unknown'; readonly steps: number; readonly partition: string }
  | {
      readonly verdict: 'illegal';
      readonly steps: number;
      readonly partition: string;
      /**
       * The smallest beginning of the partition's history that has no explanation: it ends with the end of `culprit`. What
       * was under way then has no outcome.
       */
      readonly operations: readonly Operation<Input, Output>[];
      /** The operation without which the beginning would still be legal. */
      readonly culprit: Operation<Input, Output>;
      /** How the longest explanation of a part ends: operations in the order in which they could have taken effect. */
      readonly explained: readonly { readonly operation: Operation<Input, Output>; readonly state: State }[];
    };

const DEFAULT_LIMITS: SearchLimits = { maxSteps: 20_000_000, expired: () => false };

/**
 * Looks for a linearization, object by object (Wing and Gong's search with Lowe's cache, as porcupine does it).
 *
 * A history is linearizable exactly when the part of it about each independent object is.
 * @param limits steps for each object, and when to give up
 */
export function checkLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: Partial<SearchLimits> = {},
): CheckResult<State, Input, Output> {
  const bounds = { ...DEFAULT_LIMITS, ...limits };
  let steps = 0;
  let undecided: string | undefined;
  for (const [partition, part] of partitions(model, operations)) {
    const result = searchIn(model, part, bounds);
    steps += result.steps;
    if (result.verdict === 'unknown') undecided ??= partition;
    if (result.verdict === 'illegal') return { ...smallest(model, partition, part, bounds), steps };
  }
  return undecided === undefined
    ? { verdict: 'ok', steps }
    : { verdict: 'unknown', steps, partition: undecided };
}

function partitions<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): Map<string, Operation<Input, Output>[]> {
  const parts = new Map<string, Operation<Input, Output>[]>();
  for (const operation of operations) {
    const name = model.partition?.(operation.input) ?? '';
    const part = parts.get(name);
    if (part === undefined) parts.set(name, [operation]);
    else part.push(operation);
  }
  return parts;
}

function searchIn<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: SearchLimits,
  explain = false,
): SearchResult<State> {
  return search(model, boundUnknown(model, operations), limits, explain);
}

/** Every beginning of a legal history is legal, so the first illegal one is found by halving. */
function smallest<State, Input, Output>(
  model: Model<State, Input, Output>,
  partition: string,
  operations: readonly Operation<Input, Output>[],
  limits: SearchLimits,
): Omit<CheckResult<State, Input, Output> & { verdict: 'illegal' }, 'steps'> {
  const ends = operations
    .filter(({ return: end }) => Number.isFinite(end))
    .sort((a, b) => a.return - b.return);
  let legal = 0;
  let illegal = ends.length;
  while (illegal - legal > 1) {
    const middle = (legal + illegal) >> 1;
    const { verdict } = searchIn(model, beginning(operations, placeOf(ends, middle)), limits);
    if (verdict === 'illegal') illegal = middle;
    else legal = middle;
  }
  const culprit = ends[illegal - 1];
  if (culprit === undefined) throw new Error('a history in which nothing has returned cannot be illegal');
  const prefix = beginning(operations, culprit.return);
  const bounded = boundUnknown(model, prefix);
  const { explained } = search(model, bounded, limits, true);
  return {
    verdict: 'illegal',
    partition,
    operations: prefix,
    culprit,
    explained: explained.flatMap(({ index, state }) => {
      const operation = bounded[index];
      return operation === undefined ? [] : [{ operation, state }];
    }),
  };
}

function placeOf<Input, Output>(ends: readonly Operation<Input, Output>[], count: number): number {
  return ends[count - 1]?.return ?? -1;
}

/** What had begun when the event at `last` had happened; what had not ended then has no outcome. */
function beginning<Input, Output>(
  operations: readonly Operation<Input, Output>[],
  last: number,
): Operation<Input, Output>[] {
  return operations.flatMap((operation) => {
    if (operation.call > last) return [];
    if (operation.return <= last) return [operation];
    return [{ ...operation, output: undefined, return: Number.POSITIVE_INFINITY }];
  });
}

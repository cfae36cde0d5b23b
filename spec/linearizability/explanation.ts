import type { CheckResult } from './checker.js';
import type { Operation } from './history.js';
import type { Model } from './model.js';

/** Operations shown before the one that cannot be explained. */
const SHOWN_OPERATIONS = 24;
/** Steps shown of the longest explanation. */
const SHOWN_STEPS = 8;

/** What is wrong with a history, for a person: who asked what, when, and what they heard. */
export function explain<State, Input, Output>(
  model: Model<State, Input, Output>,
  result: CheckResult<State, Input, Output>,
): string {
  if (result.verdict === 'ok') return `linearizable (${result.steps} steps)`;
  if (result.verdict === 'unknown') {
    return `undecided at ${result.partition} after ${result.steps} steps: give the search more`;
  }
  const { partition, operations, culprit, explained } = result;
  const line = (operation: Operation<Input, Output>): string =>
    `  ${interval(operation)} ${operation.client.padEnd(9)} ${model.describe(operation.input, operation.output)}`;
  const told = operations
    .filter((operation) => operation.call !== culprit.call)
    .sort((a, b) => lastMoment(a) - lastMoment(b));
  const shown = told.slice(-SHOWN_OPERATIONS);
  const last = explained.slice(-SHOWN_STEPS);
  return [
    `${partition} is not linearizable: nothing explains`,
    line(culprit),
    `after, or beside,${told.length > shown.length ? ` the last ${shown.length} of ${told.length} operations` : ''}`,
    ...shown.map(line),
    'The longest explanation of a part ends with',
    ...last.map(
      ({ operation, state }) =>
        `${line(operation).trimEnd()}   [then it holds ${model.describeState(state)}]`,
    ),
  ].join('\n');
}

/** Operations without an end are shown last. */
function lastMoment({ return: end, call }: Operation<unknown, unknown>): number {
  return Number.isFinite(end) ? end : Number.MAX_SAFE_INTEGER + call;
}

function interval({ calledAt, endedAt, return: end }: Operation<unknown, unknown>): string {
  const ended = Number.isFinite(end) && Number.isFinite(endedAt) ? endedAt.toFixed(1) : 'open';
  return `${calledAt.toFixed(1).padStart(10)} .. ${ended.padStart(10)}`;
}

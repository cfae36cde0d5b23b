import type { Operation } from './history.js';
import type { Model } from './model.js';

/**
 * Bounds operations of unknown outcome by what was seen of them, where the model's marks are unique in the history:
 *
 * - When nothing shows or needs the mark, an order that explains the history without the operation exists whenever one
 *   with it does (whoever took effect between it and the next replacement cannot have told of it): it is left out.
 * - When an output does, the operation took effect, and before the first such output was returned: that becomes its end.
 *
 * Without this every unknown write doubles the number of states that a search has to look at.
 *
 * An operation that ends and has no output must have changed the state.
 */
export function boundUnknown<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): readonly Operation<Input, Output>[] {
  if (model.mark === undefined || model.shown === undefined) return operations;
  let bounded = operations;
  // What is left out needs nothing any more, and what got an end shows what it needed.
  while (bounded.some(isOpen)) {
    const next = boundOnce(model, bounded);
    if (next.length === bounded.length && next.every((one, i) => one.return === bounded[i]?.return)) break;
    bounded = next;
  }
  return bounded;
}

function isOpen({ return: end }: Operation<unknown, unknown>): boolean {
  return !Number.isFinite(end);
}

function boundOnce<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): readonly Operation<Input, Output>[] {
  const writers = new Map<string, number>();
  const firstShown = new Map<string, number>();
  for (const { input, output, return: end } of operations) {
    const own = model.mark?.(input);
    if (own !== undefined) writers.set(own, (writers.get(own) ?? 0) + 1);
    for (const seen of model.shown?.(input, output) ?? []) {
      firstShown.set(seen, Math.min(end, firstShown.get(seen) ?? end));
    }
  }
  return operations.flatMap((operation) => {
    const own = isOpen(operation) ? model.mark?.(operation.input) : undefined;
    if (own === undefined || writers.get(own) !== 1) return [operation];
    const end = firstShown.get(own);
    return end === undefined ? [] : [{ ...operation, return: end }];
  });
}

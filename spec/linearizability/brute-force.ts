import type { Operation } from './history.js';
import type { Model } from './model.js';

/**
 * Tries every order of the operations of one object: slow, and plain enough to be believed. What the checker is compared
 * with, for up to some eight operations.
 */
export function bruteForce<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
): boolean {
  const goesOn = (state: State, left: readonly Operation<Input, Output>[]): boolean => {
    if (left.every(({ return: end }) => !Number.isFinite(end))) return true;
    const soonestEnd = Math.min(...left.map(({ return: end }) => end));
    return left.some((operation) => {
      if (operation.call > soonestEnd) return false;
      const [fits, next] = model.step(state, operation.input, operation.output);
      return (
        fits &&
        goesOn(
          next,
          left.filter((other) => other !== operation),
        )
      );
    });
  };
  return goesOn(model.initial, operations);
}

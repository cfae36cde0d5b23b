import type { ListOperation, ListTransaction, Outcome } from './history.js';

/**
 * A transaction as specs write it: `done('a', 0, 5, 'x=1 2', 'x+3')` is one of process a that read x as [1 2], appended 3 to
 * it, and was committed between the places 0 and 5.
 */
export function done(process: string, invoke: number, complete: number, ...steps: string[]): ListTransaction {
  return written(process, invoke, complete, 'committed', steps);
}

export function aborted(
  process: string,
  invoke: number,
  complete: number,
  ...steps: string[]
): ListTransaction {
  return written(process, invoke, complete, 'aborted', steps);
}

/** @param complete when its client heard that nobody knows */
export function unknown(
  process: string,
  invoke: number,
  complete: number,
  ...steps: string[]
): ListTransaction {
  return written(process, invoke, complete, 'unknown', steps);
}

function written(
  process: string,
  invoke: number,
  complete: number,
  outcome: Outcome,
  steps: readonly string[],
): ListTransaction {
  return { process, invoke, complete, outcome, operations: steps.map(operationOf) };
}

function operationOf(step: string): ListOperation {
  const [, key, sign, rest] = /^(\w+)([=+])([\d ]*)$/.exec(step) ?? [];
  if (key === undefined || rest === undefined) throw new Error(`${step} is neither x=1 2 nor x+3`);
  if (sign === '+') return { kind: 'append', key, element: Number(rest) };
  return { kind: 'read', key, list: rest === '' ? [] : rest.split(' ').map(Number) };
}

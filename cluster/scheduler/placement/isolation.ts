import type { metapb } from '../../../storage/proto/index.js';
import type { LabelConstraint } from './rules.js';

/** Where stores are, by their labels. */

export function labelOf({ labels }: metapb.Store, key: string): string {
  return labels.find((label) => label.key === key)?.value ?? '';
}

/** More than so many replicas that share nothing at one level outweigh nothing at a wider one. */
const BASE = 100;

/**
 * How well a store is set apart from others, by the first label in which they differ (PD's distinct score): the wider that
 * one is, the more each of them counts. 0 when it shares every label with all of them, or there are no labels.
 */
export function distinctScore(
  labels: readonly string[],
  others: readonly metapb.Store[],
  store: metapb.Store,
): number {
  let score = 0;
  for (const other of others) {
    if (other.id === store.id) continue;
    const level = labels.findIndex((label) => differs(label, other, store));
    if (level >= 0) score += BASE ** (labels.length - level - 1);
  }
  return score;
}

/** The score of a store that differs from so many others in the widest label already: none can be higher. */
export function highestScore(labels: readonly string[], others: number): number {
  return labels.length === 0 ? 0 : others * BASE ** (labels.length - 1);
}

/** Whether a store may hold a replica beside others: none shares the value of the isolation level with it. */
export function isIsolated(
  isolationLevel: string,
  labels: readonly string[],
  others: readonly metapb.Store[],
  store: metapb.Store,
): boolean {
  if (isolationLevel === '') return true;
  const upTo = labels.slice(0, labels.indexOf(isolationLevel) + 1);
  return others.every((other) => other.id === store.id || upTo.some((label) => differs(label, other, store)));
}

/** Whether a rule allows a store. */
export function allows(constraints: readonly LabelConstraint[], store: metapb.Store): boolean {
  return constraints.every((constraint) => fulfils(constraint, labelOf(store, constraint.key)));
}

function fulfils({ op, values }: LabelConstraint, value: string): boolean {
  switch (op) {
    case 'in':
      return values.includes(value);
    case 'notIn':
      return !values.includes(value);
    case 'exists':
      return value !== '';
    case 'notExists':
      return value === '';
  }
}

/** A store without the label shares it with nobody: nothing is known of where it is, as in PD. */
function differs(label: string, a: metapb.Store, b: metapb.Store): boolean {
  const [x, y] = [labelOf(a, label), labelOf(b, label)];
  return x === '' || y === '' || x !== y;
}

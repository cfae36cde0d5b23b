import { type AnomalyList, listText, nameOf } from './anomalies.js';
import type { ListTransaction } from './history.js';
import type { View } from './observations.js';
import type { VersionOrder } from './version-orders.js';

/**
 * Why one transaction comes before another (Adya's direct serialization graph).
 *
 * - `ww`: the second appended next after the first
 * - `wr`: the second saw what the first appended last
 * - `rw`: the first did not see what the second appended next
 */
export interface DataDependency {
  readonly kind: 'ww' | 'wr' | 'rw';
  readonly from: number;
  readonly to: number;
  readonly key: string;
  /** Of `ww` and `wr` the element of the first; of `rw` that of the second. */
  readonly element: number;
  /** Of `ww` the element of the second. */
  readonly next: number | undefined;
  /** Nobody has ever seen the second's element. */
  readonly unseen: boolean;
  /** Of `wr` and `rw`: what was read. */
  readonly list: readonly number[];
}

/** Which transactions took effect: the committed ones, and those of unknown outcome of which something was seen. */
export function effectiveTransactions(
  history: readonly ListTransaction[],
  orders: readonly VersionOrder[],
): boolean[] {
  const effective = history.map(({ outcome }) => outcome === 'committed');
  for (const { seen, writers } of orders) {
    for (const element of seen) {
      const writer = writers.get(element)?.transaction ?? -1;
      if (history[writer]?.outcome === 'unknown') effective[writer] = true;
    }
  }
  return effective;
}

/** The dependencies over one key. Reads count whatever became of their transactions: they are of its snapshot all the same. */
export function dependenciesOf(
  versions: VersionOrder,
  effective: readonly boolean[],
  anomalies: AnomalyList,
): DataDependency[] {
  const { key, order, views, writers, seen } = versions;
  const found: DataDependency[] = [];
  const add = (
    kind: DataDependency['kind'],
    from: number,
    to: number,
    element: number,
    more: Partial<DataDependency> = {},
  ): void => {
    if (from === to) return;
    found.push({ kind, from, to, key, element, next: undefined, unseen: false, list: [], ...more });
  };
  /** What took effect, in order. */
  const installed: { readonly element: number; readonly writer: number }[] = [];
  /** By length of a list: how many elements that took effect are in it. */
  const installedIn = [0];
  for (const element of order) {
    const writer = writers.get(element)?.transaction ?? -1;
    if (effective[writer] === true) {
      const before = installed.at(-1);
      if (before !== undefined) add('ww', before.writer, writer, before.element, { next: element });
      installed.push({ element, writer });
    }
    installedIn.push(installed.length);
  }
  const last = installed.at(-1);
  const unseen = unseenAppends(views, effective, seen);
  for (const { element, writer } of unseen) {
    if (last !== undefined) add('ww', last.writer, writer, last.element, { next: element, unseen: true });
  }
  for (const { transaction, external: list } of views) {
    if (list === undefined) continue;
    const count = installedIn[list.length] ?? installed.length;
    const before = installed[count - 1];
    if (before !== undefined) add('wr', before.writer, transaction, before.element, { list });
    const after = installed[count];
    if (after !== undefined) {
      add('rw', transaction, after.writer, after.element, { list });
      continue;
    }
    for (const { element, writer } of unseen) add('rw', transaction, writer, element, { list, unseen: true });
  }
  findLostUpdates(key, views, effective, anomalies);
  return found;
}

/**
 * What was surely appended and stands in no list that anybody read: it comes after all that was seen. The first element of
 * each transaction stands for the others.
 */
function unseenAppends(
  views: readonly View[],
  effective: readonly boolean[],
  seen: ReadonlySet<number>,
): { readonly element: number; readonly writer: number }[] {
  return views.flatMap(({ transaction, own }) => {
    const element = own.find((each) => !seen.has(each));
    return element === undefined || effective[transaction] !== true ? [] : [{ element, writer: transaction }];
  });
}

/** Of two that saw the same state and both changed it, one did not see the other: even where nobody looked afterwards. */
function findLostUpdates(
  key: string,
  views: readonly View[],
  effective: readonly boolean[],
  anomalies: AnomalyList,
): void {
  const byLength = new Map<number, View>();
  for (const view of views) {
    const { transaction, external, own } = view;
    if (external === undefined || own.length === 0 || effective[transaction] !== true) continue;
    const first = byLength.get(external.length);
    if (first === undefined) {
      byLength.set(external.length, view);
      continue;
    }
    anomalies.add(
      'lost-update',
      [first.transaction, transaction],
      `${nameOf(first.transaction)} and ${nameOf(transaction)} both read ${key} as ${listText(external)}, and both appended to it, ${first.own.join(' ')} and ${own.join(' ')}: neither saw the other's.`,
    );
  }
}

/** Why the dependency exists, in a sentence. */
export function dependencyText(dependency: DataDependency): string {
  const { kind, key, element, next, unseen, list } = dependency;
  const [from, to] = [nameOf(dependency.from), nameOf(dependency.to)];
  switch (kind) {
    case 'ww':
      return unseen
        ? `${to} appended ${next} to ${key}, where nobody has seen it: after ${element} of ${from}, the last that was seen.`
        : `${to} appended ${next} to ${key} next after ${element} of ${from}.`;
    case 'wr':
      return `${to} read ${key} as ${listText(list)}, with ${element} of ${from}.`;
    case 'rw':
      return unseen
        ? `${from} read ${key} as ${listText(list)}, without ${element} of ${to}, which nobody has ever seen there.`
        : `${from} read ${key} as ${listText(list)}, without ${element}, which ${to} appended next.`;
  }
}

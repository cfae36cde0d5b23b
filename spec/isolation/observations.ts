import { type AnomalyList, listText, nameOf } from './anomalies.js';
import type { ListTransaction } from './history.js';

/** What a transaction has to do with one key. */
export interface View {
  readonly transaction: number;
  /** The list in the transaction's snapshot, without its own appends; `undefined` when it did not read the key. */
  external: readonly number[] | undefined;
  /** What it appended, in order. */
  readonly own: number[];
}

/** Everything that the history says of one key. */
export interface KeyHistory {
  readonly key: string;
  /** By transaction, in the order of the history. */
  readonly views: readonly View[];
  /** Which view appended an element. */
  readonly writers: ReadonlyMap<number, View>;
}

/**
 * Sorts a history by keys, and looks into each transaction by itself: it must see one state of a key, with its own appends
 * behind it.
 * @throws Error when an element is appended to a key twice: then no reader can tell which it saw
 */
export function keyHistories(
  history: readonly ListTransaction[],
  anomalies: AnomalyList,
): Map<string, KeyHistory> {
  const keys = new Map<string, KeyHistory & { views: View[]; writers: Map<number, View> }>();
  for (const [transaction, { operations }] of history.entries()) {
    const skewed = new Set<View>();
    for (const operation of operations) {
      const { key } = operation;
      let about = keys.get(key);
      if (about === undefined) {
        about = { key, views: [], writers: new Map() };
        keys.set(key, about);
      }
      const last = about.views.at(-1);
      const view: View =
        last?.transaction === transaction ? last : { transaction, external: undefined, own: [] };
      if (view !== last) about.views.push(view);
      if (operation.kind === 'append') {
        if (about.writers.has(operation.element)) {
          throw new Error(`${operation.element} is appended to ${key} twice: elements must be unique`);
        }
        about.writers.set(operation.element, view);
        view.own.push(operation.element);
      } else if (!skewed.has(view) && !takeRead(view, operation.list)) {
        skewed.add(view);
        anomalies.add('internal', [transaction], whatItShouldSee(key, view, operation.list));
      }
    }
    for (const view of skewed) view.external = undefined;
  }
  return keys;
}

/** @returns whether the list is what the transaction had to see */
function takeRead(view: View, list: readonly number[]): boolean {
  const { external, own } = view;
  const before = list.length - own.length;
  if (before < 0 || own.some((element, i) => list[before + i] !== element)) return false;
  if (external === undefined) {
    view.external = own.length === 0 ? list : list.slice(0, before);
    return true;
  }
  return before === external.length && external.every((element, i) => list[i] === element);
}

function whatItShouldSee(key: string, { transaction, external, own }: View, list: readonly number[]): string {
  const seen = external === undefined ? '' : ` had seen ${key} as ${listText(external)}`;
  const appended = own.length === 0 ? '' : ` had appended ${own.join(' ')} to ${key}`;
  const both = seen !== '' && appended !== '' ? ' and' : '';
  return `${nameOf(transaction)}${seen}${both}${appended}, and then read it as ${listText(list)}.`;
}

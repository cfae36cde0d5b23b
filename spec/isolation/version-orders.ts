import { type AnomalyList, listText, nameOf } from './anomalies.js';
import type { ListTransaction } from './history.js';
import type { KeyHistory, View } from './observations.js';

/** In which order a key took its elements, as its readers saw it. */
export interface VersionOrder {
  readonly key: string;
  /** The longest list that was read, as far as it makes sense. */
  readonly order: readonly number[];
  /** Reads of which `order` begins with what they saw, and the others that wrote. */
  readonly views: readonly View[];
  readonly writers: ReadonlyMap<number, View>;
  /** Elements that somebody else than their writer has seen. */
  readonly seen: ReadonlySet<number>;
}

/** Finds the order of a key's versions, and what is wrong with single reads of it. */
export function versionOrderOf(
  history: readonly ListTransaction[],
  about: KeyHistory,
  anomalies: AnomalyList,
): VersionOrder {
  const { key, writers } = about;
  const order = longestRead(about, anomalies);
  const seen = new Set<number>(order.list);
  const views: View[] = [];
  const firstAborted = order.list.findIndex((element) => isAborted(history, writers, element));
  for (const view of about.views) {
    const { external } = view;
    if (external !== undefined && !isPrefix(external, order.list)) {
      if (makesSense(about, view, external, anomalies)) tellFork(key, view, order, anomalies);
      for (const element of external) seen.add(element);
      const stolen = external.find((element) => isAborted(history, writers, element));
      if (stolen !== undefined) tellAborted(key, view, stolen, writers, anomalies);
      views.push({ ...view, external: undefined });
      continue;
    }
    views.push(view);
    if (external === undefined) continue;
    const early =
      view.own.length === 0 ? undefined : external.find((element) => writers.get(element) === view);
    if (early !== undefined) tellEarly(key, view, external, early, anomalies);
    const stolen = order.list[firstAborted];
    if (stolen !== undefined && firstAborted < external.length) {
      tellAborted(key, view, stolen, writers, anomalies);
    }
    findIntermediate(key, view, external, writers, anomalies);
  }
  findDirtyUpdate(history, key, order.list, writers, anomalies);
  return { key, order: order.list, views, writers, seen };
}

interface LongestRead {
  readonly list: readonly number[];
  /** Who saw it; `undefined` when nobody saw anything that makes sense. */
  readonly reader: View | undefined;
}

function longestRead(about: KeyHistory, anomalies: AnomalyList): LongestRead {
  const byLength = about.views
    .filter(({ external }) => external !== undefined)
    .sort((a, b) => (b.external?.length ?? 0) - (a.external?.length ?? 0));
  for (const reader of byLength) {
    const { external } = reader;
    if (external !== undefined && makesSense(about, reader, external, anomalies)) {
      return { list: external, reader };
    }
  }
  return { list: [], reader: undefined };
}

/** Whether each of its elements was appended by somebody, and is there once. */
function makesSense(
  { key, writers }: KeyHistory,
  reader: View,
  list: readonly number[],
  anomalies: AnomalyList,
): boolean {
  const who = nameOf(reader.transaction);
  const met = new Set<number>();
  for (const element of list) {
    const writer = writers.get(element);
    if (writer === undefined) {
      anomalies.add(
        'garbage-read',
        [reader.transaction],
        `${who} read ${key} as ${listText(list)}, and nobody has ever appended ${element} to it.`,
      );
      return false;
    }
    if (met.has(element)) {
      anomalies.add(
        'duplicate',
        [reader.transaction, writer.transaction],
        `${who} read ${key} as ${listText(list)}: ${element} is there twice, and ${nameOf(writer.transaction)} appended it once.`,
      );
      return false;
    }
    if (writer.transaction === reader.transaction) {
      tellEarly(key, reader, list, element, anomalies);
      return false;
    }
    met.add(element);
  }
  return true;
}

function tellEarly(
  key: string,
  { transaction }: View,
  list: readonly number[],
  element: number,
  anomalies: AnomalyList,
): void {
  anomalies.add(
    'internal',
    [transaction],
    `${nameOf(transaction)} read ${key} as ${listText(list)}, with its own ${element} where it had not appended it.`,
  );
}

function tellFork(key: string, view: View, order: LongestRead, anomalies: AnomalyList): void {
  if (order.reader === undefined || view.external === undefined) return;
  anomalies.add(
    'incompatible-order',
    [view.transaction, order.reader.transaction],
    `${nameOf(view.transaction)} read ${key} as ${listText(view.external)}, ${nameOf(order.reader.transaction)} as ${listText(order.list)}: a list only grows, so the longer would have to begin with the shorter.`,
  );
}

function tellAborted(
  key: string,
  view: View,
  element: number,
  writers: ReadonlyMap<number, View>,
  anomalies: AnomalyList,
): void {
  const writer = writers.get(element);
  if (writer === undefined) return;
  anomalies.add(
    'aborted-read',
    [view.transaction, writer.transaction],
    `${nameOf(view.transaction)} read ${element} in ${key}, which ${nameOf(writer.transaction)} had appended, and ${nameOf(writer.transaction)} was aborted.`,
  );
}

function findIntermediate(
  key: string,
  view: View,
  external: readonly number[],
  writers: ReadonlyMap<number, View>,
  anomalies: AnomalyList,
): void {
  const last = external.at(-1);
  const writer = last === undefined ? undefined : writers.get(last);
  const final = writer?.own.at(-1);
  if (writer === undefined || final === last || final === undefined || external.includes(final)) return;
  anomalies.add(
    'intermediate-read',
    [view.transaction, writer.transaction],
    `${nameOf(view.transaction)} read ${key} as ${listText(external)}, and ${nameOf(writer.transaction)}, which appended ${last}, appended ${final} as well.`,
  );
}

function findDirtyUpdate(
  history: readonly ListTransaction[],
  key: string,
  order: readonly number[],
  writers: ReadonlyMap<number, View>,
  anomalies: AnomalyList,
): void {
  let stolen: number | undefined;
  for (const element of order) {
    if (isAborted(history, writers, element)) stolen ??= element;
    const thief = writers.get(element)?.transaction ?? -1;
    if (stolen === undefined || history[thief]?.outcome !== 'committed') continue;
    const victim = writers.get(stolen)?.transaction ?? -1;
    anomalies.add(
      'dirty-update',
      [thief, victim],
      `${nameOf(thief)} is committed and appended ${element} to ${key} behind ${stolen}, which ${nameOf(victim)} had appended, and ${nameOf(victim)} was aborted.`,
    );
    return;
  }
}

function isAborted(
  history: readonly ListTransaction[],
  writers: ReadonlyMap<number, View>,
  element: number,
): boolean {
  const writer = writers.get(element);
  return writer !== undefined && history[writer.transaction]?.outcome === 'aborted';
}

function isPrefix(list: readonly number[], of: readonly number[]): boolean {
  return list.length <= of.length && list.every((element, i) => of[i] === element);
}

import type { AnomalyKind, AnomalyList } from './anomalies.js';
import { nameOf } from './anomalies.js';
import { type DataDependency, dependencyText } from './dependencies.js';
import { Digraph } from './digraph.js';
import type { ListTransaction } from './history.js';

/** Layers of the graphs below, from what is known of data to what is known of time. */
const WW = 1;
const WR = 2;
const RW = 4;
const PROCESS = 8;
const REAL_TIME = 16;
const LAYERS = { ww: WW, wr: WR, rw: RW } as const;
/** The first in which a cycle shows names it. */
const SEARCHES = [WW, WW | WR, WW | WR | RW, WW | WR | RW | PROCESS, WW | WR | RW | PROCESS | REAL_TIME];
/** Nodes of a component at which the search for its shortest cycle begins, at most. */
const CYCLE_STARTS = 64;
/** Components of one search that are looked into, at most. */
const COMPONENTS = 16;

/** An edge of a cycle. */
type Edge =
  | DataDependency
  | { readonly kind: 'process' | 'real-time'; readonly from: number; readonly to: number };

/**
 * Whether one order of all snapshots and commits explains the history.
 *
 * Each transaction is two nodes: the moment of its snapshot and, after it, that of its commit. What it saw or overwrote was
 * committed before its snapshot; what it did not see, after it; and who ended before another began has committed before the
 * other's snapshot. Exactly when this graph has no cycle, its nodes can be put in an order, which is that of the timestamps
 * of an execution under strong snapshot isolation. (Of the direct serialization graph it forbids the cycles without two
 * neighbouring `rw`: Cerone and Gotsman, Analysing Snapshot Isolation.)
 */
export function findForbiddenCycles(
  history: readonly ListTransaction[],
  dependencies: readonly DataDependency[],
  anomalies: AnomalyList,
): void {
  const ends = [...history.keys()]
    .filter((index) => Number.isFinite(history[index]?.complete))
    .sort((a, b) => (history[a]?.complete ?? 0) - (history[b]?.complete ?? 0));
  const graph = new Digraph(2 * history.length + ends.length);
  const edges: (Edge | undefined)[] = [];
  const add = (from: number, to: number, layer: number, length: 0 | 1, edge?: Edge): void => {
    edges[graph.add(from, to, layer, length)] = edge;
  };
  for (const index of history.keys()) add(snapshotOf(index), commitOf(index), 0, 0);
  for (const edge of dependencies) {
    const { kind, from, to } = edge;
    if (kind === 'rw') add(snapshotOf(from), commitOf(to), RW, 1, edge);
    else add(commitOf(from), snapshotOf(to), LAYERS[kind], 1, edge);
  }
  addTime(history, ends, add);
  graph.freeze();
  if (graph.components(WW | WR | RW | PROCESS | REAL_TIME).length === 0) return;
  for (const layers of SEARCHES) {
    for (const component of graph.components(layers).slice(0, COMPONENTS)) {
      const cycle = edgesOf(
        graph.shortestCycle(component, layers, CYCLE_STARTS),
        graph,
        edges,
        history.length,
      );
      const kind = kindOf(cycle);
      anomalies.add(kind, transactionsOf(cycle), ...cycle.map((edge) => edgeText(edge, history)));
    }
  }
}

function snapshotOf(transaction: number): number {
  return 2 * transaction;
}

function commitOf(transaction: number): number {
  return 2 * transaction + 1;
}

/**
 * Who ended before whom, with as many arcs as there are transactions: a node for each end, one behind the other. Where the
 * outcome is unknown the commit may come at any time, but the snapshot was taken before the client heard that.
 */
function addTime(
  history: readonly ListTransaction[],
  ends: readonly number[],
  add: (from: number, to: number, layer: number, length: 0 | 1, edge?: Edge) => void,
): void {
  const lastMoment = (index: number): number =>
    history[index]?.outcome === 'unknown' ? snapshotOf(index) : commitOf(index);
  const moment = (place: number): number => 2 * history.length + place;
  for (const [place, index] of ends.entries()) {
    add(lastMoment(index), moment(place), REAL_TIME, 0);
    if (place > 0) add(moment(place - 1), moment(place), REAL_TIME, 0);
  }
  const begins = [...history.keys()].sort((a, b) => (history[a]?.invoke ?? 0) - (history[b]?.invoke ?? 0));
  const previous = new Map<string, number>();
  let ended = 0;
  for (const index of begins) {
    const { invoke, process } = history[index] ?? { invoke: 0, process: '' };
    while ((history[ends[ended] ?? -1]?.complete ?? Number.POSITIVE_INFINITY) < invoke) ended++;
    if (ended > 0) add(moment(ended - 1), snapshotOf(index), REAL_TIME, 1);
    const before = previous.get(process);
    previous.set(process, index);
    if (before === undefined || (history[before]?.complete ?? 0) > invoke) continue;
    add(lastMoment(before), snapshotOf(index), PROCESS, 1, { kind: 'process', from: before, to: index });
  }
}

/** The edges of a cycle of arcs; a way over moments is one edge of time. */
function edgesOf(
  cycle: readonly number[],
  graph: Digraph,
  edges: readonly (Edge | undefined)[],
  transactions: number,
): Edge[] {
  const isMoment = (node: number): boolean => node >= 2 * transactions;
  // It begins at a transaction, so that no way over moments is cut in two.
  const first = cycle.findIndex((arc) => !isMoment(graph.from(arc)));
  const found: Edge[] = [];
  let left = 0;
  for (const arc of [...cycle.slice(first), ...cycle.slice(0, first)]) {
    const [from, to] = [graph.from(arc), graph.to(arc)];
    const edge = edges[arc];
    if (!isMoment(from)) left = from >> 1;
    if (edge !== undefined) found.push(edge);
    else if (isMoment(from) && !isMoment(to)) found.push({ kind: 'real-time', from: left, to: to >> 1 });
  }
  return found;
}

function kindOf(cycle: readonly Edge[]): AnomalyKind {
  const has = (kind: Edge['kind']): boolean => cycle.some((edge) => edge.kind === kind);
  const missed = cycle.filter((edge): edge is DataDependency => edge.kind === 'rw');
  if (has('process') || has('real-time')) {
    if (missed.length === 0) return 'future-read';
    return missed.some((edge) => edge.unseen) ? 'lost-append' : 'stale-snapshot';
  }
  if (missed.length === 0) return has('wr') ? 'circular-information' : 'write-cycle';
  if (missed.length > 1) return 'nonadjacent-skew';
  const keys = new Set(cycle.map((edge) => ('key' in edge ? edge.key : '')));
  return cycle.length === 2 && has('ww') && keys.size === 1 ? 'lost-update' : 'read-skew';
}

function transactionsOf(cycle: readonly Edge[]): number[] {
  return cycle.map(({ from }) => from);
}

function edgeText(edge: Edge, history: readonly ListTransaction[]): string {
  switch (edge.kind) {
    case 'process':
      return `${nameOf(edge.to)} began after ${nameOf(edge.from)} had ended: ${history[edge.to]?.process} ran both.`;
    case 'real-time':
      return `${nameOf(edge.to)} began, at ${history[edge.to]?.invoke}, after ${nameOf(edge.from)} had ended, at ${history[edge.from]?.complete}.`;
    default:
      return dependencyText(edge);
  }
}

/** Write skew that shows in the history: one example of each component, and how many components there are. */
export function findWriteSkew(
  history: readonly ListTransaction[],
  dependencies: readonly DataDependency[],
): { readonly count: number; readonly examples: readonly DataDependency[][] } {
  const graph = new Digraph(history.length);
  for (const { kind, from, to } of dependencies) graph.add(from, to, LAYERS[kind], 1);
  graph.freeze();
  const layers = WW | WR | RW;
  const components = graph.components(layers);
  const examples = components.slice(0, COMPONENTS).flatMap((component) => {
    const cycle = graph.shortestCycle(component, layers, CYCLE_STARTS).flatMap((arc) => {
      const dependency = dependencies[arc];
      return dependency === undefined ? [] : [dependency];
    });
    return hasNeighbouringMisses(cycle) ? [cycle] : [];
  });
  return { count: components.length, examples };
}

function hasNeighbouringMisses(cycle: readonly DataDependency[]): boolean {
  return cycle.some(
    ({ kind }, i) => kind === 'rw' && cycle[(i + 1) % cycle.length]?.kind === 'rw' && cycle.length > 1,
  );
}

/** Stores as they are printed: for people, or as JSON. */

import type { StoreInfo } from '../index.js';
import { bytes, grouped, type Palette, table } from './terminal.js';

/** NDJSON. */
export function storeLines(stores: readonly StoreInfo[]): string {
  return stores.map((store) => JSON.stringify(store)).join('\n');
}

/** A row for each store. */
export function storeTable(stores: readonly StoreInfo[], palette: Palette): string {
  return table([HEADING, ...stores.map(cellsOf)], palette);
}

/** One store: a line for each thing that is known of it. */
export function storePage(store: StoreInfo, palette: Palette): string {
  const cells = [...cellsOf(store).slice(0, -1), labelText(store, '\n')];
  const width = Math.max(...HEADING.map((name) => name.length));
  return HEADING.flatMap((name, column) => {
    const [first = '', ...rest] = (cells[column] ?? '').split('\n');
    return [
      `${palette.dim(name.padEnd(width))}  ${first}`,
      ...rest.map((line) => `${' '.repeat(width)}  ${line}`),
    ];
  }).join('\n');
}

const HEADING = [
  'store',
  'node',
  'pid',
  'state',
  'regions',
  'leaders',
  'pending',
  'used',
  'available',
  'capacity',
  'limit',
  'labels',
];

function cellsOf(store: StoreInfo): string[] {
  const { id, node, pid, state, regions, leaders, pending, used, available, capacity } = store;
  const size = (count: number): string => (capacity === 0 ? '-' : bytes(count));
  return [
    String(id),
    node,
    pid === 0 ? '-' : String(pid),
    state,
    grouped(regions),
    grouped(leaders),
    grouped(pending),
    size(used),
    size(available),
    size(capacity),
    `${store.limit}/min${store.ownLimit ? '' : ' (default)'}`,
    labelText(store, ' '),
  ];
}

function labelText({ labels }: StoreInfo, between: string): string {
  const words = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return words.length === 0 ? '-' : words.join(between);
}

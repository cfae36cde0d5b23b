/** Where the traffic is: bytes a second over the key space, column by column as time goes. */

import type { RegionItem } from '../inspection/items.js';

export interface HeatColumn {
  /** Unix milliseconds. */
  readonly at: number;
  /** Bytes a second, one for each part of the key space. */
  readonly written: readonly number[];
  readonly read: readonly number[];
}

export interface HeatRow {
  /** The key at which the part begins. */
  readonly start: string;
  readonly firstRegion: number;
  readonly regions: number;
}

const ROWS = 64;
const COLUMNS = 120;
const COLUMN_MS = 2_000;

/** Parts are made of neighbouring regions, as many in each: with more than 64 regions a row stands for several. */
export class HeatMap {
  readonly #now: () => number;
  #columns: HeatColumn[] = [];
  #rows: readonly HeatRow[] = [];
  #nextAt = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  get columns(): readonly HeatColumn[] {
    return this.#columns;
  }

  get rows(): readonly HeatRow[] {
    return this.#rows;
  }

  /** Adds a column when it is time. @param regions by key */
  sample(regions: readonly RegionItem[]): void {
    const at = this.#now();
    if (at < this.#nextAt || regions.length === 0) return;
    this.#nextAt = at + COLUMN_MS;
    const rows = Math.min(ROWS, regions.length);
    const written = new Array<number>(rows).fill(0);
    const read = new Array<number>(rows).fill(0);
    const firsts: (HeatRow & { regions: number })[] = [];
    for (const [index, region] of regions.entries()) {
      const row = Math.floor((index * rows) / regions.length);
      written[row] = (written[row] ?? 0) + region.written;
      read[row] = (read[row] ?? 0) + region.read;
      const first = firsts[row];
      if (first === undefined) firsts[row] = { start: region.start, firstRegion: region.id, regions: 1 };
      else first.regions++;
    }
    this.#rows = firsts;
    this.#columns = [...this.#columns, { at, written, read }].slice(-COLUMNS);
  }
}

/** Going through all pairs of a region in the order of their keys, whatever family they are in. */
import type { ColumnFamily, Engine, EngineSnapshot, KeyRange } from './engine.js';
import { compareBytes, keyAfter } from './keys.js';
import { regionBounds } from './region-snapshot.js';
import { SNAPSHOT_FAMILIES } from './snapshot-chunk.js';

/** Keys and bytes of one read. */
const PAGE_KEYS = 256;
const PAGE_BYTES = 64 * 1024;
/** Bytes that a pair is taken to have before the first was read: few keys are asked for at first. */
const EXPECTED_PAIR_BYTES = 16 * 1024;

/** @param bytes of the key and its value */
export type VisitPair = (key: Uint8Array, bytes: number) => void;

/**
 * Visits every pair of the families `default`, `lock` and `write` in a range, in ascending order of keys; of one key in
 * several families, the pairs follow each other.
 *
 * @param view stays the caller's.
 * @param pause awaited between reads, of at most 64 KiB (or one pair) and 256 keys each.
 * @throws EngineFailedError, and what `pause` throws.
 */
export async function walkRegion(
  engine: Engine,
  view: EngineSnapshot,
  range: KeyRange,
  pause: () => Promise<void>,
  visit: VisitPair,
): Promise<void> {
  const { start, end } = regionBounds(range);
  const families = SNAPSHOT_FAMILIES.map((cf) => new FamilyPages(engine, view, cf, start, end));
  for (;;) {
    const present: FamilyPages[] = [];
    for (const family of families) {
      if (family.needsPage) {
        await family.read();
        await pause();
      }
      if (family.key !== undefined) present.push(family);
    }
    if (present.length === 0) return;
    visitInOrder(present, visit);
  }
}

/** Until one of the families has to read on, or has nothing more. */
function visitInOrder(families: readonly FamilyPages[], visit: VisitPair): void {
  for (;;) {
    let lowest: FamilyPages | undefined;
    for (const family of families) {
      if (family.key === undefined) return;
      if (lowest?.key === undefined || compareBytes(family.key, lowest.key) < 0) lowest = family;
    }
    if (lowest?.key === undefined) return;
    visit(lowest.key, lowest.bytes);
    lowest.next();
  }
}

/** One family's pairs, page by page. */
class FamilyPages {
  readonly #engine: Engine;
  readonly #view: EngineSnapshot;
  readonly #cf: ColumnFamily;
  readonly #end: Uint8Array;
  /** Where the next page begins; `undefined` behind the last one. */
  #from: Uint8Array | undefined;
  #keys: readonly Uint8Array[] = [];
  #values: readonly Uint8Array[] = [];
  #at = 0;
  /** Mean of the page before, which tells how many keys to ask for. */
  #pairBytes = EXPECTED_PAIR_BYTES;

  constructor(engine: Engine, view: EngineSnapshot, cf: ColumnFamily, start: Uint8Array, end: Uint8Array) {
    this.#engine = engine;
    this.#view = view;
    this.#cf = cf;
    this.#from = start;
    this.#end = end;
  }

  /** The page is used up, and another one may follow. */
  get needsPage(): boolean {
    return this.#at === this.#keys.length && this.#from !== undefined;
  }

  /** `undefined` at the end of the page. */
  get key(): Uint8Array | undefined {
    return this.#keys[this.#at];
  }

  /** Of the key and its value. */
  get bytes(): number {
    return (this.#keys[this.#at]?.length ?? 0) + (this.#values[this.#at]?.length ?? 0);
  }

  next(): void {
    this.#at++;
  }

  async read(): Promise<void> {
    if (this.#from === undefined) return;
    const { keys, values, more } = await this.#engine.scan(this.#cf, {
      start: this.#from,
      end: this.#end,
      limit: Math.min(PAGE_KEYS, Math.ceil(PAGE_BYTES / this.#pairBytes)),
      maxBytes: PAGE_BYTES,
      snapshot: this.#view,
    });
    this.#keys = keys;
    this.#values = values;
    this.#at = 0;
    const last = keys.at(-1);
    this.#from = more && last !== undefined ? keyAfter(last) : undefined;
    if (keys.length > 0) this.#pairBytes = Math.max(1, total(keys) + total(values)) / keys.length;
  }
}

function total(arrays: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const { length } of arrays) bytes += length;
  return bytes;
}

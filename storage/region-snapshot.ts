/** Reading a region's data at one moment, in chunks that are the same wherever and however it is stored. */
import { createHash } from 'node:crypto';
import type { ColumnFamily, Engine, EngineSnapshot, KeyRange } from './engine.js';
import { keyAfter } from './keys.js';
import {
  CHUNK_HEADER_BYTES,
  ChunkBuilder,
  SNAPSHOT_FAMILIES,
  type SnapshotCursor,
} from './snapshot-chunk.js';

/** No key of a region begins with it: the end of a region without an end. */
const AFTER_EVERY_KEY = Uint8Array.of(0xff);
const BEFORE_EVERY_KEY = new Uint8Array(0);

/** Both bounds of a region's keys; an absent or empty one stands for the edge of all keys. */
export function regionBounds(range: KeyRange): { readonly start: Uint8Array; readonly end: Uint8Array } {
  return {
    start: range.start ?? BEFORE_EVERY_KEY,
    end: range.end?.length ? range.end : AFTER_EVERY_KEY,
  };
}

/** Keys of one read: each costs the event loop some microseconds. */
const SCAN_KEYS = 256;
/** Bytes that a pair is taken to have before the first was read: few keys are asked for at first. */
const EXPECTED_PAIR_BYTES = 16 * 1024;

/** A part of a region's data, in the form in which it travels. */
export interface SnapshotChunk {
  readonly chunk: Uint8Array;
  /** Where the next chunk begins; `undefined` after the last one. */
  readonly next: SnapshotCursor | undefined;
}

/**
 * Reads the families `default`, `lock` and `write` in a range at one moment, chunk by chunk. A chunk depends on nothing
 * but the data and the cursor: a reader elsewhere, of equal data, may go on where this one stopped.
 */
export class RegionSnapshotReader {
  readonly #engine: Engine;
  readonly #view: EngineSnapshot;
  readonly #start: Uint8Array;
  readonly #end: Uint8Array;
  /** Mean size of the pairs of the last read, which tells how many to ask for. */
  #pairBytes = EXPECTED_PAIR_BYTES;

  /** @param view stays the caller's, who releases it when no `next` is under way. */
  constructor(engine: Engine, view: EngineSnapshot, range: KeyRange) {
    this.#engine = engine;
    this.#view = view;
    ({ start: this.#start, end: this.#end } = regionBounds(range));
  }

  /**
   * The chunk at a place, and the place behind it. Reads of at most 64 KiB (or one pair) and 256 keys each.
   * @param cursor what the chunk before came with; `undefined` for the first one.
   * @throws EngineFailedError
   */
  async next(cursor: SnapshotCursor | undefined): Promise<SnapshotChunk> {
    const chunk = new ChunkBuilder();
    let last = cursor;
    for (const cf of SNAPSHOT_FAMILIES.slice(cursor ? familyIndex(cursor) : 0)) {
      let start = last?.cf === cf && last.after ? keyAfter(last.after) : this.#start;
      for (;;) {
        if (chunk.room === 0) {
          if (await this.#empty(cf, start)) break;
          return { chunk: chunk.encode(), next: last };
        }
        const page = await this.#page(cf, start, chunk.room);
        for (const [i, key] of page.keys.entries()) {
          if (!chunk.add(cf, key, page.values[i] as Uint8Array)) return { chunk: chunk.encode(), next: last };
          last = { cf, after: key };
          start = key;
        }
        if (!page.more) break;
        start = keyAfter(start);
      }
    }
    return { chunk: chunk.encode(), next: undefined };
  }

  async #page(cf: ColumnFamily, start: Uint8Array, maxBytes: number) {
    const limit = Math.min(SCAN_KEYS, Math.ceil(maxBytes / this.#pairBytes));
    const page = await this.#engine.scan(cf, {
      start,
      end: this.#end,
      limit,
      maxBytes,
      snapshot: this.#view,
    });
    let bytes = 0;
    for (const [i, key] of page.keys.entries()) bytes += key.length + (page.values[i] as Uint8Array).length;
    if (page.keys.length > 0) this.#pairBytes = bytes / page.keys.length;
    return page;
  }

  async #empty(cf: ColumnFamily, start: Uint8Array): Promise<boolean> {
    const { keys } = await this.#engine.scan(cf, {
      start,
      end: this.#end,
      limit: 1,
      keysOnly: true,
      snapshot: this.#view,
    });
    return keys.length === 0;
  }
}

/**
 * Hash (SHA-256) of a region's data: of families, keys and values in order. Equal data gives equal hashes, whatever the
 * layout on disk.
 * @param pause awaited between reads.
 * @throws EngineFailedError, and what `pause` throws.
 */
export async function hashRegion(
  engine: Engine,
  view: EngineSnapshot,
  range: KeyRange,
  pause: () => Promise<void>,
): Promise<Uint8Array> {
  const hash = createHash('sha256');
  const reader = new RegionSnapshotReader(engine, view, range);
  let cursor: SnapshotCursor | undefined;
  do {
    const { chunk, next } = await reader.next(cursor);
    hash.update(chunk.subarray(CHUNK_HEADER_BYTES));
    cursor = next;
    await pause();
  } while (cursor);
  return hash.digest();
}

function familyIndex(cursor: SnapshotCursor): number {
  const index = SNAPSHOT_FAMILIES.indexOf(cursor.cf);
  if (index < 0) throw new RangeError(`Snapshots do not hold the family ${cursor.cf}.`);
  return index;
}

/**
 * Chunks: a region's data in pieces of about 64 KiB, as they travel between stores and lie in snapshot files.
 *
 * A chunk is its version (one byte), the number of its pairs (four bytes, little endian), and the pairs: family (one
 * byte), length of the key, length of the value (each a varint), key, value. Pairs are in order of family and key,
 * within a chunk and from chunk to chunk. Only a region without data has an empty chunk, its only one. The pairs of all
 * chunks in a row do not tell where the chunks ended, so their hash does not depend on it.
 */
import type { ColumnFamily } from './engine.js';
import { StorageError } from './errors.js';
import { compareBytes, escapeKey } from './keys.js';

/** Keys and values of one chunk, in bytes; more only where a single pair is larger. */
export const SNAPSHOT_CHUNK_BYTES = 64 * 1024;

/** The largest chunk that is taken: more than NATS lets a pair grow to. */
export const MAX_CHUNK_BYTES = 64 * 1024 * 1024;

/** The families of a region's data, in the order in which a snapshot holds them. */
export const SNAPSHOT_FAMILIES: readonly ColumnFamily[] = ['default', 'lock', 'write'];

/** A place in a region's data: behind the key `after` of a family, or before its first key. */
export interface SnapshotCursor {
  readonly cf: ColumnFamily;
  readonly after: Uint8Array | undefined;
}

const VERSION = 1;
/** Version and count. */
export const CHUNK_HEADER_BYTES = 5;

/** What to do about a snapshot whose bytes are wrong. */
export function corruptSnapshot(place: string, what: string): StorageError {
  return new StorageError(
    'corrupt-snapshot',
    `${place}: ${what}. Discard this snapshot and ask the leader for another one.`,
  );
}

/** Gathers pairs, in order, into one chunk. */
export class ChunkBuilder {
  readonly #families: number[] = [];
  readonly #keys: Uint8Array[] = [];
  readonly #values: Uint8Array[] = [];
  #bytes = 0;

  /** Bytes of keys and values that still fit. */
  get room(): number {
    return Math.max(0, SNAPSHOT_CHUNK_BYTES - this.#bytes);
  }

  /** @returns false, and leaves the pair out, when it would make the chunk too large. The first one always fits. */
  add(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): boolean {
    const size = key.length + value.length;
    if (this.#keys.length > 0 && size > this.room) return false;
    this.#families.push(familyCode(cf));
    this.#keys.push(key);
    this.#values.push(value);
    this.#bytes += size;
    return true;
  }

  encode(): Uint8Array {
    const count = this.#keys.length;
    let size = CHUNK_HEADER_BYTES + count + this.#bytes;
    for (let i = 0; i < count; i++) {
      size += varintBytes(at(this.#keys, i).length) + varintBytes(at(this.#values, i).length);
    }
    const chunk = Buffer.allocUnsafe(size);
    chunk[0] = VERSION;
    chunk.writeUInt32LE(count, 1);
    let end = CHUNK_HEADER_BYTES;
    for (let i = 0; i < count; i++) {
      const key = at(this.#keys, i);
      const value = at(this.#values, i);
      chunk[end++] = at(this.#families, i);
      end = writeVarint(chunk, end, key.length);
      end = writeVarint(chunk, end, value.length);
      chunk.set(key, end);
      chunk.set(value, end + key.length);
      end += key.length + value.length;
    }
    return chunk;
  }
}

/** Goes through the pairs of a chunk and checks each. `cf`, `key` and `value` are those that `next` has come to. */
export class ChunkPairs {
  readonly #chunk: Uint8Array;
  readonly #place: string;
  readonly #count: number;
  #read = 0;
  #family: number;
  #previous: Uint8Array;
  #previousStart = 0;
  #previousEnd: number;
  #keyStart = 0;
  #valueStart = 0;
  #end = CHUNK_HEADER_BYTES;

  /**
   * @param after the last pair of the chunk before.
   * @param place where the chunk comes from, for errors.
   * @throws StorageError `corrupt-snapshot` when it is no chunk.
   */
  constructor(chunk: Uint8Array, after: SnapshotCursor | undefined, place: string) {
    this.#chunk = chunk;
    this.#place = place;
    if (chunk.length < CHUNK_HEADER_BYTES) throw corruptSnapshot(place, 'the chunk is cut short');
    if (chunk[0] !== VERSION) {
      throw corruptSnapshot(place, `the chunk has version ${chunk[0]}, this store reads version ${VERSION}`);
    }
    this.#count = new DataView(chunk.buffer, chunk.byteOffset + 1, 4).getUint32(0, true);
    this.#family = after ? familyCode(after.cf) : 0;
    this.#previous = after?.after ?? chunk;
    this.#previousEnd = after?.after?.length ?? 0;
  }

  /** Number of pairs. */
  get count(): number {
    return this.#count;
  }

  get cf(): ColumnFamily {
    return at(SNAPSHOT_FAMILIES, this.#family - 1);
  }

  /** A view of the chunk. */
  get key(): Uint8Array {
    return this.#chunk.subarray(this.#keyStart, this.#valueStart);
  }

  /** A view of the chunk. */
  get value(): Uint8Array {
    return this.#chunk.subarray(this.#valueStart, this.#end);
  }

  /**
   * Goes on to the next pair; false behind the last one.
   * @throws StorageError `corrupt-snapshot` when the bytes are no pair, or the pair is out of order.
   */
  next(): boolean {
    const chunk = this.#chunk;
    if (this.#read === this.#count) {
      if (this.#end !== chunk.length) throw this.#corrupt('bytes follow the last pair of the chunk');
      return false;
    }
    if (this.#read > 0) {
      this.#previous = chunk;
      this.#previousStart = this.#keyStart;
      this.#previousEnd = this.#valueStart;
    }
    const family = chunk[this.#end++];
    const keyLength = this.#varint();
    const valueLength = this.#varint();
    this.#keyStart = this.#end;
    this.#valueStart = this.#keyStart + keyLength;
    this.#end = this.#valueStart + valueLength;
    if (family === undefined || this.#end > chunk.length) throw this.#corrupt('the chunk is cut short');
    if (family < 1 || family > SNAPSHOT_FAMILIES.length) throw this.#corrupt(`there is no family ${family}`);
    if (keyLength === 0) throw this.#corrupt('a key is empty');
    if (family < this.#family || (family === this.#family && !this.#ascends())) {
      throw this.#corrupt(`the key "${escapeKey(this.key)}" is out of order`);
    }
    this.#family = family;
    this.#read++;
    return true;
  }

  /** Whether the key is above the one before; compared where they lie, as there may be thousands in a chunk. */
  #ascends(): boolean {
    const length = this.#valueStart - this.#keyStart;
    const previousLength = this.#previousEnd - this.#previousStart;
    const shared = Math.min(length, previousLength);
    for (let i = 0; i < shared; i++) {
      const difference = at(this.#chunk, this.#keyStart + i) - at(this.#previous, this.#previousStart + i);
      if (difference !== 0) return difference > 0;
    }
    return length > previousLength;
  }

  /** Of at most 32 bits, in its shortest form: equal data must give equal bytes. */
  #varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      const byte = this.#chunk[this.#end++];
      if (byte === undefined) throw this.#corrupt('the chunk is cut short');
      value += (byte & 0x7f) * scale;
      if (byte >= 0x80) continue;
      if (byte === 0 && scale > 1) break;
      return value;
    }
    throw this.#corrupt('a length is not one');
  }

  #corrupt(what: string): StorageError {
    return corruptSnapshot(this.#place, what);
  }
}

/** What the keys of a chunk must lie in: `start` inclusive, `end` exclusive. */
export interface ChunkBounds {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/**
 * Checks a whole chunk, without keeping anything of it.
 * @param after the last pair of the chunks before; `undefined` before the first chunk.
 * @param bounds checks the keys against them.
 * @returns its last pair; `undefined` when the chunk is empty.
 * @throws StorageError `corrupt-snapshot`
 */
export function checkChunk(
  chunk: Uint8Array,
  after: SnapshotCursor | undefined,
  place: string,
  bounds?: ChunkBounds,
): SnapshotCursor | undefined {
  const pairs = new ChunkPairs(chunk, after, place);
  while (pairs.next()) if (bounds) checkKey(pairs.key, bounds, place);
  if (pairs.count === 0) return undefined;
  return { cf: pairs.cf, after: new Uint8Array(pairs.key) };
}

function checkKey(key: Uint8Array, { start, end }: ChunkBounds, place: string): void {
  if (compareBytes(key, start) >= 0 && compareBytes(key, end) < 0) return;
  throw corruptSnapshot(place, `the key "${escapeKey(key)}" is not of this region`);
}

function familyCode(cf: ColumnFamily): number {
  return SNAPSHOT_FAMILIES.indexOf(cf) + 1;
}

/** An element that is known to be there. */
function at<T>(list: ArrayLike<T>, index: number): T {
  return list[index] as T;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

function writeVarint(target: Uint8Array, start: number, value: number): number {
  let end = start;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) target[end++] = (rest % 0x80) | 0x80;
  target[end++] = rest;
  return end;
}

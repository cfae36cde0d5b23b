/**
 * The format of snapshot files: a header that says whose snapshot it is, then records, each a chunk of data, at last one
 * with the totals. Numbers are little endian; header, heads of records and payloads have a CRC-32C each, so that any
 * flipped bit shows before a byte behind it is trusted.
 */
import { crc32c } from './crc32c.js';
import type { SideFiles } from './engine.js';
import { corruptSnapshot, MAX_CHUNK_BYTES } from './snapshot-chunk.js';

/** Whose data, as of which log entry: the snapshot that `peer` takes in for `region`. */
export interface SnapshotIdentity {
  readonly region: number;
  readonly peer: number;
  readonly index: number;
  readonly term: number;
}

/** What a complete snapshot amounts to; announced by the sender at the end, checked by the receiver. */
export interface SnapshotTotals {
  readonly chunks: number;
  /** Of all chunks together. */
  readonly bytes: number;
  /** CRC-32C of all chunks in a row. */
  readonly checksum: number;
}

const FILE_NAME = /^(0|[1-9]\d*)-(0|[1-9]\d*)-(0|[1-9]\d*)-(0|[1-9]\d*)\.snapshot$/;

/** `<region>-<peer>-<index>-<term>.snapshot` */
export function snapshotFileName({ region, peer, index, term }: SnapshotIdentity): string {
  return `${region}-${peer}-${index}-${term}.snapshot`;
}

/** `undefined` when the name is not one that `snapshotFileName` gives. */
export function parseSnapshotFileName(name: string): SnapshotIdentity | undefined {
  const [region = -1, peer = -1, index = -1, term = -1] = FILE_NAME.exec(name)?.slice(1).map(Number) ?? [];
  const identity = { region, peer, index, term };
  return Object.values(identity).every((n) => n >= 0 && Number.isSafeInteger(n)) ? identity : undefined;
}

export function sameIdentity(a: SnapshotIdentity, b: SnapshotIdentity): boolean {
  return a.region === b.region && a.peer === b.peer && a.index === b.index && a.term === b.term;
}

/** "TRPSNAP" and the version of the format. */
const MAGIC = Buffer.from('TRPSNAP\x01', 'latin1');
export const FILE_HEADER_BYTES = MAGIC.length + 4 * 8 + 4;

export function encodeFileHeader({ region, peer, index, term }: SnapshotIdentity): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  MAGIC.copy(header);
  for (const [i, number] of [region, peer, index, term].entries()) {
    header.writeBigUInt64LE(BigInt(number), MAGIC.length + 8 * i);
  }
  const end = FILE_HEADER_BYTES - 4;
  header.writeUInt32LE(crc32c(header, 0, end), end);
  return header;
}

function decodeFileHeader(bytes: Uint8Array): SnapshotIdentity | undefined {
  if (bytes.length < FILE_HEADER_BYTES) return undefined;
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, FILE_HEADER_BYTES);
  const end = FILE_HEADER_BYTES - 4;
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  if (header.readUInt32LE(end) !== crc32c(header, 0, end)) return undefined;
  const number = (i: number) => Number(header.readBigUInt64LE(MAGIC.length + 8 * i));
  return { region: number(0), peer: number(1), index: number(2), term: number(3) };
}

/** Kind, length of the payload, CRC-32C of the payload, CRC-32C of these nine bytes. */
const HEAD_BYTES = 13;
const CHUNK = 1;
const TOTALS = 2;
const TOTALS_BYTES = 20;

/** Builds records in one buffer, used again for each. */
export class RecordEncoder {
  #buffer = Buffer.alloc(0);

  /** Valid until the next call. */
  chunk(chunk: Uint8Array): Uint8Array {
    this.#reserve(chunk.length);
    this.#buffer.set(chunk, HEAD_BYTES);
    return this.#finish(CHUNK, chunk.length);
  }

  /** Valid until the next call. */
  totals({ chunks, bytes, checksum }: SnapshotTotals): Uint8Array {
    this.#reserve(TOTALS_BYTES);
    this.#buffer.writeBigUInt64LE(BigInt(chunks), HEAD_BYTES);
    this.#buffer.writeBigUInt64LE(BigInt(bytes), HEAD_BYTES + 8);
    this.#buffer.writeUInt32LE(checksum, HEAD_BYTES + 16);
    return this.#finish(TOTALS, TOTALS_BYTES);
  }

  #reserve(payload: number): void {
    const size = HEAD_BYTES + payload;
    if (size > this.#buffer.length) this.#buffer = Buffer.alloc(2 ** Math.ceil(Math.log2(size)));
  }

  #finish(kind: number, length: number): Uint8Array {
    const end = HEAD_BYTES + length;
    this.#buffer[0] = kind;
    this.#buffer.writeUInt32LE(length, 1);
    this.#buffer.writeUInt32LE(crc32c(this.#buffer, HEAD_BYTES, end), 5);
    this.#buffer.writeUInt32LE(crc32c(this.#buffer, 0, 9), 9);
    return this.#buffer.subarray(0, end);
  }
}

export type SnapshotRecord =
  | { readonly kind: 'chunk'; readonly chunk: Uint8Array }
  | { readonly kind: 'totals'; readonly totals: SnapshotTotals };

interface Head {
  readonly kind: number;
  readonly length: number;
  readonly checksum: number;
}

/** Reads a snapshot file from its beginning to its end, one record in memory at a time. */
export class RecordReader {
  readonly #files: SideFiles;
  readonly #name: string;
  /** Where the next payload begins, and the bytes of its head, read together with the payload before it. */
  #offset = FILE_HEADER_BYTES + HEAD_BYTES;
  #head: Uint8Array = new Uint8Array(0);

  constructor(files: SideFiles, name: string) {
    this.#files = files;
    this.#name = name;
  }

  /** Where what has been read ends. */
  get end(): number {
    return this.#offset - HEAD_BYTES;
  }

  /** To be called first. `undefined` when there is no whole header. @throws StorageError `not-found` */
  async identity(): Promise<SnapshotIdentity | undefined> {
    const bytes = await this.#files.read(this.#name, 0, this.#offset);
    this.#head = bytes.subarray(FILE_HEADER_BYTES);
    return decodeFileHeader(bytes);
  }

  /**
   * @returns `undefined` at the end of the file.
   * @throws StorageError `corrupt-snapshot` when what follows is no whole record; nothing behind it can be read.
   */
  async next(): Promise<SnapshotRecord | undefined> {
    if (this.#head.length === 0) return undefined;
    const { kind, length, checksum } = this.#decodeHead();
    const bytes = await this.#files.read(this.#name, this.#offset, length + HEAD_BYTES);
    if (bytes.length < length) throw this.#corrupt('the record is cut short');
    if (crc32c(bytes, 0, length) !== checksum) throw this.#corrupt('the checksum of the record is wrong');
    const payload = bytes.subarray(0, length);
    const record: SnapshotRecord =
      kind === CHUNK
        ? { kind: 'chunk', chunk: payload }
        : { kind: 'totals', totals: this.#decodeTotals(payload) };
    this.#head = new Uint8Array(bytes.subarray(length));
    this.#offset += length + HEAD_BYTES;
    return record;
  }

  #decodeHead(): Head {
    if (this.#head.length < HEAD_BYTES) throw this.#corrupt('the record is cut short');
    const view = new DataView(this.#head.buffer, this.#head.byteOffset, HEAD_BYTES);
    if (view.getUint32(9, true) !== crc32c(this.#head, 0, 9)) {
      throw this.#corrupt('the checksum of the head of the record is wrong');
    }
    const head = {
      kind: view.getUint8(0),
      length: view.getUint32(1, true),
      checksum: view.getUint32(5, true),
    };
    if (head.kind === CHUNK && head.length <= MAX_CHUNK_BYTES) return head;
    if (head.kind === TOTALS && head.length === TOTALS_BYTES) return head;
    throw this.#corrupt(`there is no record of kind ${head.kind} with ${head.length} bytes`);
  }

  #decodeTotals(payload: Uint8Array): SnapshotTotals {
    const view = new DataView(payload.buffer, payload.byteOffset, TOTALS_BYTES);
    return {
      chunks: Number(view.getBigUint64(0, true)),
      bytes: Number(view.getBigUint64(8, true)),
      checksum: view.getUint32(16, true),
    };
  }

  #corrupt(what: string) {
    return corruptSnapshot(`${this.#name} at byte ${this.end}`, what);
  }
}

/**
 * What RocksDB's MANIFEST says about write-ahead files: which are still needed, and for which families.
 *
 * A MANIFEST is a log of version edits: fields, each a tag and its values. Only a few matter here; the rest are skipped.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageCorruptionError } from './errors.js';
import { type BadPlace, readLog } from './wal-format.js';

export interface Manifest {
  readonly path: string;
  /** Write-ahead files below this number are obsolete. */
  readonly oldestWal: number;
  /** Every write-ahead file below this number was closed and synced by RocksDB before it said so. */
  readonly syncedBelow: number;
  /** The last sequence number when it was last written. */
  readonly lastSequence: bigint;
  /** Ids of the column families by name. */
  readonly families: ReadonlyMap<string, number>;
  /** Where its last edit is torn. */
  readonly torn: BadPlace | undefined;
}

const Tag = {
  comparator: 1,
  logNumber: 2,
  nextFileNumber: 3,
  lastSequence: 4,
  compactCursor: 5,
  deletedFile: 6,
  newFile: 7,
  previousLogNumber: 9,
  minLogNumberToKeep: 10,
  newFile2: 100,
  newFile3: 102,
  newFile4: 103,
  columnFamily: 200,
  columnFamilyAdd: 201,
  columnFamilyDrop: 202,
  maxColumnFamily: 203,
  inAtomicGroup: 300,
} as const;

/** Tags with this bit are followed by their length, so that older versions can skip them. */
const SKIPPABLE = 1 << 13;
/** Ends the extra fields of a new file. */
const LAST_FILE_FIELD = 1;

/** Reads the current MANIFEST; `undefined` when the directory holds no database. @throws StorageCorruptionError */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let current: string;
  try {
    current = await readFile(join(directory, 'CURRENT'), 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
  if (!/^MANIFEST-\d+\n$/.test(current)) {
    throw new StorageCorruptionError(join(directory, 'CURRENT'), 0, 'it does not name a MANIFEST');
  }
  const path = join(directory, current.trim());
  const state = new ManifestState();
  let torn: BadPlace | undefined;
  try {
    torn = await readLog(path, Number.POSITIVE_INFINITY, ({ payload, offset }) => {
      try {
        state.apply(new Fields(payload));
      } catch (cause) {
        if (!(cause instanceof RangeError)) throw cause;
        throw new StorageCorruptionError(path, offset, `a version edit is unreadable (${cause.message})`);
      }
      return true;
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw new StorageCorruptionError(path, undefined, 'the file that CURRENT names is missing', { cause });
  }
  return state.result(path, torn);
}

class ManifestState {
  #minLogNumberToKeep = 0;
  #lastSequence = 0n;
  readonly #names = new Map<number, string>([[0, 'default']]);
  readonly #logNumbers = new Map<number, number>([[0, 0]]);

  /** @throws RangeError when the edit is cut short or has an unknown field. */
  apply(fields: Fields): void {
    let family = 0;
    let added: string | undefined;
    let dropped = false;
    let logNumber: number | undefined;
    while (fields.more()) {
      const tag = fields.varint();
      switch (tag) {
        case Tag.logNumber:
          logNumber = fields.varint();
          break;
        case Tag.lastSequence:
          this.#lastSequence = BigInt(fields.varint());
          break;
        case Tag.minLogNumberToKeep:
          this.#minLogNumberToKeep = Math.max(this.#minLogNumberToKeep, fields.varint());
          break;
        case Tag.columnFamily:
          family = fields.varint();
          break;
        case Tag.columnFamilyAdd:
          added = Buffer.from(fields.bytes()).toString();
          break;
        case Tag.columnFamilyDrop:
          dropped = true;
          break;
        default:
          skipField(tag, fields);
      }
    }
    if (added !== undefined) {
      this.#names.set(family, added);
      this.#logNumbers.set(family, 0);
    }
    if (dropped) {
      this.#names.delete(family);
      this.#logNumbers.delete(family);
    } else if (logNumber !== undefined) {
      this.#logNumbers.set(family, logNumber);
    }
  }

  result(path: string, torn: BadPlace | undefined): Manifest {
    const needed = [...this.#logNumbers.values()];
    return {
      path,
      oldestWal: Math.max(this.#minLogNumberToKeep, Math.min(...needed)),
      syncedBelow: Math.max(...needed),
      lastSequence: this.#lastSequence,
      families: new Map([...this.#names].map(([id, name]) => [name, id])),
      torn,
    };
  }
}

function skipField(tag: number, fields: Fields): void {
  switch (tag) {
    case Tag.comparator:
      fields.bytes();
      return;
    case Tag.nextFileNumber:
    case Tag.previousLogNumber:
    case Tag.maxColumnFamily:
    case Tag.inAtomicGroup:
      fields.varint();
      return;
    case Tag.compactCursor:
      fields.varint();
      fields.bytes();
      return;
    case Tag.deletedFile:
      fields.varint();
      fields.varint();
      return;
    case Tag.newFile:
    case Tag.newFile2:
    case Tag.newFile3:
    case Tag.newFile4:
      skipNewFile(tag, fields);
      return;
    default:
      if ((tag & SKIPPABLE) === 0) throw new RangeError(`unknown field ${tag}`);
      fields.bytes();
  }
}

/** Level, number, path (third form), size, smallest and largest key, their sequence numbers, then named extras. */
function skipNewFile(tag: number, fields: Fields): void {
  fields.varint();
  fields.varint();
  if (tag === Tag.newFile3) fields.varint();
  fields.varint();
  fields.bytes();
  fields.bytes();
  if (tag === Tag.newFile) return;
  fields.varint();
  fields.varint();
  if (tag !== Tag.newFile4) return;
  while (fields.varint() !== LAST_FILE_FIELD) fields.bytes();
}

/** Reads varints and counted bytes; throws RangeError past the end. */
class Fields {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  more(): boolean {
    return this.#at < this.#bytes.length;
  }

  /** Exact up to 2^53; what is larger is never compared here. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw new RangeError('cut short');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  bytes(): Uint8Array {
    const length = this.varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new RangeError('cut short');
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }
}

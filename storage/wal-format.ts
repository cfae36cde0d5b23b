/**
 * RocksDB's log format, in which write-ahead files and MANIFEST are written.
 *
 * A file is a row of 32 KiB blocks. A block holds fragments: a masked CRC-32C (4 bytes) of what follows the length, the
 * length (2), a type (1), in recyclable files the file's number (4), and the payload. A record is one `full` fragment,
 * or `first`, any number of `middle`, and `last`. Fewer than seven bytes at the end of a block are left as zeros.
 */
import { open } from 'node:fs/promises';
import { maskedCrc32c } from './crc32c.js';

export const BLOCK_BYTES = 32768;
export const HEADER_BYTES = 7;
export const RECYCLABLE_HEADER_BYTES = 11;
const READ_BLOCKS = 32;

const ZERO = 0;
const FULL = 1;
const FIRST = 2;
const LAST = 4;
const RECYCLABLE_FULL = 5;
const RECYCLABLE_LAST = 8;
/** Set in types that a reader may skip; below it, 9 to 11 describe the file and hold no data. */
const SKIPPABLE = 0x80;
const LARGEST_META = 11;
const COMPRESSED = 9;

export interface LogRecord {
  /** Where its first fragment begins. */
  readonly offset: number;
  /** Where its last fragment ends. */
  readonly end: number;
  /** The first bytes of the payload, as many as were asked for. Valid during the call only. */
  readonly payload: Uint8Array;
}

/** A place where a log is not as it was written. */
export interface BadPlace {
  /** Where the record begins that is bad or incomplete: everything before is whole. */
  readonly offset: number;
  /** Where the bad fragment begins. */
  readonly fragment: number;
  readonly reason: string;
}

/** A fragment, or why there is none. */
interface Fragment {
  readonly type: number;
  readonly payload: number;
  readonly end: number;
  readonly bad: string | undefined;
}

function badFragment(bad: string): Fragment {
  return { type: ZERO, payload: 0, end: 0, bad };
}

/** Reads the fragment at `at`, of which at least a header is there; `limit` is the end of the block or of the file. */
function fragmentAt(block: Uint8Array, at: number, limit: number): Fragment {
  const length = (block[at + 4] as number) | ((block[at + 5] as number) << 8);
  const type = block[at + 6] as number;
  if (type === ZERO && length === 0) return badFragment('zeros stand where a record belongs');
  const recyclable = type >= RECYCLABLE_FULL && type <= RECYCLABLE_LAST;
  const payload = at + (recyclable ? RECYCLABLE_HEADER_BYTES : HEADER_BYTES);
  const end = payload + length;
  if (end > limit) return badFragment('a record is longer than its block or file');
  const stored =
    ((block[at] as number) |
      ((block[at + 1] as number) << 8) |
      ((block[at + 2] as number) << 16) |
      ((block[at + 3] as number) << 24)) >>>
    0;
  if (maskedCrc32c(block, at + 6, end) !== stored) {
    return badFragment('the checksum of a record does not match');
  }
  if (type > LARGEST_META && type < SKIPPABLE) return badFragment(`a record has the unknown type ${type}`);
  if (type === COMPRESSED) return badFragment('the file is compressed, which this version does not read');
  return {
    type: recyclable ? type - RECYCLABLE_FULL + FULL : type,
    payload,
    end,
    bad: undefined,
  };
}

/**
 * Reads a log from its beginning, a mebibyte at a time, and stops at the first bad place.
 * @param payloadBytes how much of each record's payload is wanted; the rest is only checked.
 * @param onRecord called in order; returns false to stop.
 * @returns the bad place, or `undefined` when the whole file is good (or reading was stopped).
 */
export async function readLog(
  path: string,
  payloadBytes: number,
  onRecord: (record: LogRecord) => boolean,
): Promise<BadPlace | undefined> {
  const assembly = new Assembly(payloadBytes);
  let bad: BadPlace | undefined;
  await readBlocks(path, 0, (block, blockOffset) => {
    let at = 0;
    const stop = (fragment: Fragment): false => {
      const offset = assembly.open ? assembly.offset : blockOffset + at;
      bad = {
        offset,
        fragment: blockOffset + at,
        reason: fragment.bad ?? '',
      };
      return false;
    };
    while (at < block.length) {
      if (block.length - at < HEADER_BYTES) {
        // The unused rest of a whole block, unless the file ends here.
        if (block.length === BLOCK_BYTES) break;
        return stop(badFragment('the file ends inside a record'));
      }
      const fragment = fragmentAt(block, at, block.length);
      if (fragment.bad !== undefined) return stop(fragment);
      if (fragment.type >= FULL && fragment.type <= LAST) {
        const begins = fragment.type === FULL || fragment.type === FIRST;
        if (begins === assembly.open) return stop(badFragment('the parts of a record are out of order'));
        if (begins) assembly.begin(blockOffset + at);
        assembly.add(block.subarray(fragment.payload, fragment.end));
        if (fragment.type === FULL || fragment.type === LAST) {
          if (!onRecord(assembly.finish(blockOffset + fragment.end))) return false;
        }
      }
      at = fragment.end;
    }
    return true;
  });
  if (!bad && assembly.open) {
    bad = {
      offset: assembly.offset,
      fragment: assembly.offset,
      reason: 'the file ends inside a record',
    };
  }
  return bad;
}

/**
 * Finds the records that begin behind a bad place, wherever they are, by trying every byte until one fits; gives the
 * part of each that its first fragment holds.
 */
export async function readBeyond(
  path: string,
  from: number,
  onRecord: (record: LogRecord) => boolean,
): Promise<void> {
  const firstBlock = Math.floor(from / BLOCK_BYTES) * BLOCK_BYTES;
  await readBlocks(path, firstBlock, (block, blockOffset) => {
    let at = Math.max(0, from - blockOffset);
    while (block.length - at >= HEADER_BYTES) {
      // A fit is accepted only with its checksum, so a header that looks right by chance does no harm.
      const type = block[at + 6] as number;
      const fragment =
        type === ZERO || type > RECYCLABLE_LAST ? undefined : fragmentAt(block, at, block.length);
      if (fragment === undefined || fragment.bad !== undefined) {
        at++;
        continue;
      }
      if (fragment.type === FULL || fragment.type === FIRST) {
        const payload = block.subarray(fragment.payload, fragment.end);
        if (!onRecord({ offset: blockOffset + at, end: blockOffset + fragment.end, payload })) return false;
      }
      at = fragment.end;
    }
    return true;
  });
}

/** Puts the fragments of a record together. */
class Assembly {
  open = false;
  offset = 0;
  readonly #wanted: number;
  #parts: Uint8Array[] = [];
  #size = 0;

  constructor(wanted: number) {
    this.#wanted = wanted;
  }

  begin(offset: number): void {
    this.open = true;
    this.offset = offset;
    this.#parts = [];
    this.#size = 0;
  }

  add(payload: Uint8Array): void {
    if (this.#size >= this.#wanted) return;
    // A copy: the block's memory is used again.
    const part = new Uint8Array(payload.subarray(0, this.#wanted - this.#size));
    this.#parts.push(part);
    this.#size += part.length;
  }

  finish(end: number): LogRecord {
    this.open = false;
    const [only] = this.#parts;
    const payload = this.#parts.length === 1 && only ? only : Buffer.concat(this.#parts);
    return { offset: this.offset, end, payload };
  }
}

/** Calls `onBlock` for every block from `from` (a block's beginning) on; the last may be short. */
async function readBlocks(
  path: string,
  from: number,
  onBlock: (block: Uint8Array, offset: number) => boolean,
): Promise<void> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(READ_BLOCKS * BLOCK_BYTES);
    let offset = from;
    for (;;) {
      let filled = 0;
      while (filled < buffer.length) {
        const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, offset + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      for (let at = 0; at < filled; at += BLOCK_BYTES) {
        if (!onBlock(buffer.subarray(at, Math.min(at + BLOCK_BYTES, filled)), offset + at)) return;
      }
      if (filled < buffer.length) return;
      offset += filled;
    }
  } finally {
    await file.close();
  }
}

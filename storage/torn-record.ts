/**
 * Tells a record that a power loss tore from one that was changed after it had been written, where a checksum alone
 * only says that one of the two has happened.
 *
 * What a power loss takes are bytes that were never synced. They are missing, or read as zeros; and it takes them by
 * whole sectors, or from where one write ended and the next began. It never changes a byte into another one. So:
 *
 * - If the record is whole again with one bit changed (or one byte, where it is short), that bit was changed: a checksum
 *   of 32 bits leaves less than one chance in 8,000 that a torn record looks so by accident, and then the open is refused,
 *   not data lost. The place is found by undoing the difference of the checksums a byte at a time, not by trying.
 * - Otherwise zeros must explain what is wrong: a sector of them, or the end of the file.
 */
import { open } from 'node:fs/promises';
import { crc32c } from './crc32c.js';
import { type BadPlace, BLOCK_BYTES, HEADER_BYTES, RECYCLABLE_HEADER_BYTES } from './wal-format.js';

const SECTOR_BYTES = 512;
const TYPE_AT = 6;
/** Longer fragments are repaired by bits only: by bytes, chance would find a repair too often. */
const REPAIRED_BY_BYTE = 2048;
const MASK = 0xa282ead8;

/**
 * Whether the fragment at `place.fragment` may be what a power loss left of a sound one.
 * @param place as `readLog` returned it, from the file at `path`
 */
export async function couldBeTorn(path: string, place: BadPlace): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const blockEnd = (Math.floor(place.fragment / BLOCK_BYTES) + 1) * BLOCK_BYTES;
    // As far as the end of the sector in which the fragment may end, which is never beyond the block's.
    const bytes = new Uint8Array(Math.min(blockEnd, size) - place.fragment);
    await file.read(bytes, 0, bytes.length, place.fragment);
    const fragment = new Fragment(bytes, place.fragment, blockEnd >= size, await endsInZero(file, size));
    return fragment.couldBeTorn();
  } finally {
    await file.close();
  }
}

async function endsInZero(
  file: { read: (buffer: Uint8Array, offset: number, length: number, position: number) => Promise<unknown> },
  size: number,
): Promise<boolean> {
  const last = Uint8Array.of(1);
  if (size > 0) await file.read(last, 0, 1, size - 1);
  return last[0] === 0;
}

class Fragment {
  /** From the fragment's first byte to the end of its block or of the file. */
  readonly #bytes: Uint8Array;
  readonly #offset: number;
  readonly #reachesEnd: boolean;
  readonly #fileEndsInZero: boolean;

  constructor(bytes: Uint8Array, offset: number, reachesEnd: boolean, fileEndsInZero: boolean) {
    this.#bytes = bytes;
    this.#offset = offset;
    this.#reachesEnd = reachesEnd;
    this.#fileEndsInZero = fileEndsInZero;
  }

  couldBeTorn(): boolean {
    const bytes = this.#bytes;
    if (bytes.length < HEADER_BYTES) return this.#reachesEnd;
    const length = (bytes[4] as number) | ((bytes[5] as number) << 8);
    const type = bytes[TYPE_AT] as number;
    // Zeros where a header belongs: nothing of the record is there.
    if (length === 0 && type === 0) return true;
    if (this.#isWholeAtAnotherLength()) return false;
    const ends = [HEADER_BYTES + length, RECYCLABLE_HEADER_BYTES + length].filter(
      (end) => end <= bytes.length,
    );
    for (const end of ends) {
      const changed = this.#changedByte(end);
      if (changed !== undefined && !this.#mayBeLost(changed, end)) return false;
    }
    const end = ends[0];
    // The file ends inside the record. A block that goes on never held a record longer than itself.
    if (end === undefined) return this.#reachesEnd;
    return this.#lostSector(end) || this.#lostEnd(end);
  }

  /** Whether the checksum fits what stands there up to some other length: then the length was changed. */
  #isWholeAtAnotherLength(): boolean {
    const bytes = this.#bytes;
    const stored = storedChecksum(bytes);
    let crc = crc32c(bytes, TYPE_AT, HEADER_BYTES);
    for (let end = HEADER_BYTES; ; end++) {
      if (crc === stored) return true;
      if (end >= bytes.length) return false;
      crc = crc32c(bytes, end, end + 1, crc);
    }
  }

  /** The byte that, changed a little, would make the checksum fit; `undefined` when it takes more. */
  #changedByte(end: number): number | undefined {
    const bytes = this.#bytes;
    const stored = storedChecksum(bytes);
    const actual = crc32c(bytes, TYPE_AT, end);
    const inChecksum = differingByte(masked(stored), masked(actual));
    if (inChecksum !== undefined) return inChecksum;
    let difference = stored ^ actual;
    for (let at = end - 1; at >= TYPE_AT; at--) {
      const change = FIRST_OF[difference >>> 24] as number;
      if (STEP[change] === difference && (end <= REPAIRED_BY_BYTE || isOneBit(change))) return at;
      difference = undo(difference);
    }
    return undefined;
  }

  /** Whether the byte stands in zeros that a power loss may have left. */
  #mayBeLost(at: number, end: number): boolean {
    const bytes = this.#bytes;
    if (bytes[at] !== 0) return false;
    const sector = this.#sectorOf(at);
    if (this.#isZero(sector.from, sector.to)) return true;
    // Zeros that go on behind the record were not there when it was written.
    return this.#zeroTail() <= at && (end < bytes.length || !this.#reachesEnd);
  }

  #lostSector(end: number): boolean {
    for (let at = 0; at < end; ) {
      const { from, to } = this.#sectorOf(at);
      if (this.#isZero(from, to)) return true;
      at = to;
    }
    // The header was written, and the rest of it not any more.
    return this.#isZero(HEADER_BYTES, Math.max(HEADER_BYTES + 1, this.#sectorOf(HEADER_BYTES).to));
  }

  /** Whether zeros at the end of the file, wherever they begin, explain the checksum. */
  #lostEnd(end: number): boolean {
    const lost = end - this.#zeroTail();
    if (lost <= 0) return false;
    // Four bytes explain any checksum, fewer only one in 256 of those that a byte less explains.
    if (lost >= 4) return true;
    let difference = storedChecksum(this.#bytes) ^ crc32c(this.#bytes, TYPE_AT, end);
    for (let byte = 0; byte < lost; byte++) difference = undo(difference);
    return difference >>> 0 < 2 ** (8 * lost);
  }

  /** Where the zeros begin that reach to the end of the file; behind everything when there are none. */
  #zeroTail(): number {
    if (!this.#fileEndsInZero) return this.#bytes.length;
    let from = this.#bytes.length;
    while (from > 0 && this.#bytes[from - 1] === 0) from--;
    return from;
  }

  /** The part of a byte's sector that belongs to this fragment or to what follows it. */
  #sectorOf(at: number): { readonly from: number; readonly to: number } {
    const sector = Math.floor((this.#offset + at) / SECTOR_BYTES) * SECTOR_BYTES;
    return {
      from: Math.max(0, sector - this.#offset),
      to: Math.min(this.#bytes.length, sector + SECTOR_BYTES - this.#offset),
    };
  }

  #isZero(from: number, to: number): boolean {
    if (to > this.#bytes.length) return false;
    for (let at = from; at < to; at++) if (this.#bytes[at] !== 0) return false;
    return true;
  }
}

/** What one byte does to a checksum of zero, and which byte does it, by the topmost eight bits of the result. */
const STEP = Int32Array.from({ length: 256 }, (_, byte) => ~crc32c(Uint8Array.of(byte), 0, 1, 0xffffffff));
const FIRST_OF = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) FIRST_OF[(STEP[byte] as number) >>> 24] = byte;

/** The checksum difference before the zero byte that led to this one. */
function undo(difference: number): number {
  const byte = FIRST_OF[difference >>> 24] as number;
  return ((difference ^ (STEP[byte] as number)) << 8) | byte;
}

function storedChecksum(header: Uint8Array): number {
  const rotated =
    (((header[0] as number) |
      ((header[1] as number) << 8) |
      ((header[2] as number) << 16) |
      ((header[3] as number) << 24)) -
      MASK) >>>
    0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + MASK) >>> 0;
}

function isOneBit(byte: number): boolean {
  return byte !== 0 && (byte & (byte - 1)) === 0;
}

/** The only byte, counted from the lowest, in which two numbers differ. */
function differingByte(a: number, b: number): number | undefined {
  const differing = [0, 1, 2, 3].filter((byte) => ((a ^ b) >>> (8 * byte)) & 0xff);
  return differing.length === 1 ? differing[0] : undefined;
}

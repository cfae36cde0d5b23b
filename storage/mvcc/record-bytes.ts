/** The numbers and byte strings of TiKV's records: its codec for variable and fixed lengths. */
import { StorageError } from '../errors.js';

const MAX_VARINT_BYTES = 10;
const NUMBER = new DataView(new ArrayBuffer(8));

/** Fills a buffer that is large enough for the record at its longest. */
export class RecordWriter {
  readonly #bytes: Buffer;
  #size = 0;

  /** @param capacity bytes of the record at most. */
  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafe(capacity);
  }

  byte(value: number): void {
    this.#bytes[this.#size++] = value;
  }

  varint(value: bigint): void {
    NUMBER.setBigUint64(0, value);
    let high = NUMBER.getUint32(0);
    let low = NUMBER.getUint32(4);
    while (high > 0 || low > 0x7f) {
      this.byte((low & 0x7f) | 0x80);
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.byte(low);
  }

  uint64(value: bigint): void {
    this.#size = this.#bytes.writeBigUInt64BE(value, this.#size);
  }

  /** As they are. */
  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#size);
    this.#size += value.length;
  }

  /** Behind their length, a signed variable-length number. */
  compactBytes(value: Uint8Array): void {
    this.varint(BigInt(value.length) << 1n);
    this.bytes(value);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }
}

/** Bytes of a byte string with its length, at most. */
export function compactCapacity(value: Uint8Array): number {
  return MAX_VARINT_BYTES + value.length;
}

/** Reads a record from its beginning to its end; what does not fit throws. */
export class RecordReader {
  #at = 0;

  /** @param what names the record in errors. */
  constructor(
    private readonly record: Uint8Array,
    private readonly what: string,
  ) {}

  /** The next byte is this one: then it is read. */
  flag(value: number): boolean {
    if (this.record[this.#at] !== value) return false;
    this.#at++;
    return true;
  }

  byte(): number {
    const value = this.record[this.#at++];
    return value === undefined ? this.fail('it ends too early') : value;
  }

  varint(): bigint {
    let low = 0;
    let high = 0;
    for (let read = 0; read < MAX_VARINT_BYTES; read++) {
      const byte = this.byte();
      const bits = byte & 0x7f;
      if (read < 4) low |= bits << (7 * read);
      else if (read === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * read - 32);
      if (byte > 0x7f) continue;
      if (read === MAX_VARINT_BYTES - 1 && bits > 1) break;
      NUMBER.setUint32(0, high >>> 0);
      NUMBER.setUint32(4, low >>> 0);
      return NUMBER.getBigUint64(0);
    }
    return this.fail('a number has more than 64 bits');
  }

  /** A variable-length number that fits a `number`. */
  safeVarint(): number {
    return this.#safe(this.varint());
  }

  uint64(): bigint {
    const bytes = this.bytes(8);
    return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
  }

  safeUint64(): number {
    return this.#safe(this.uint64());
  }

  /** A view. */
  bytes(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.record.length) return this.fail('it ends too early');
    const bytes = this.record.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  /** A view. */
  compactBytes(): Uint8Array {
    const length = this.varint();
    if (length & 1n) return this.fail('a length is negative');
    return this.bytes(this.#safe(length >> 1n));
  }

  /** How many items follow, each of at least one byte. */
  count(): number {
    const count = this.safeVarint();
    return count > this.record.length - this.#at ? this.fail('a list is longer than the record') : count;
  }

  /** Whatever is left was written by a version that knows more, and is not to be ignored. */
  end(): void {
    if (this.#at === this.record.length) return;
    throw new StorageError(
      'format',
      `A ${this.what} carries the unknown flag 0x${this.byte().toString(16).padStart(2, '0')}: a newer version wrote it.`,
    );
  }

  fail(problem: string): never {
    throw new StorageError(
      'corruption',
      `A ${this.what} of ${this.record.length} bytes is damaged: ${problem}.`,
    );
  }

  #safe(value: bigint): number {
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? this.fail('a number is too large') : Number(value);
  }
}

/**
 * Protobuf's wire format for the messages of the hot path, whose codecs are written by hand.
 *
 * `Writer` fills its buffer from the back: a nested message's length is known once its content stands, so nothing is
 * measured beforehand and nothing is moved afterwards. Fields are therefore written in descending order.
 */
import { DecodeError, EncodeError } from './errors.js';

const CHUNK_BYTES = 64 * 1024;
/** A scratch writer that had to grow beyond this gives the memory back. */
const MAX_SCRATCH_BYTES = 4 * 1024 * 1024;
/** Below this many bytes a loop beats a call into the runtime. */
const SHORT = 24;
export const NO_BYTES: Uint8Array = new Uint8Array(0);

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** A field's key on the wire. */
export const varint = (field: number): number => field << 3;
export const delimited = (field: number): number => (field << 3) | 2;

/**
 * Messages are cut from one chunk after the other, so an encode costs no allocation but its view. What keeps a message
 * keeps its chunk: messages with different lives belong in different writers.
 */
export class Writer {
  #chunk = NO_BYTES;
  /** First byte written. */
  #position = 0;
  /** End of the message under way. */
  #end = 0;

  /** Bytes of the message under way that stand already: the mark that `nested` needs. */
  get written(): number {
    return this.#end - this.#position;
  }

  /**
   * @param scratch for messages that are copied before the next one is written: all are made in the same memory, and
   * none is an allocation that the garbage collector has to follow.
   */
  constructor(private readonly scratch: boolean = false) {}

  /** Ends the message and begins the next one. */
  finish(): Uint8Array {
    const message = this.#chunk.subarray(this.#position, this.#end);
    if (!this.scratch) this.#end = this.#position;
    else if (this.#chunk.length > MAX_SCRATCH_BYTES) this.#chunk = NO_BYTES;
    if (this.scratch) this.#end = this.#chunk.length;
    this.#position = this.#end;
    return message;
  }

  /** Forgets a message that could not be finished. */
  abandon(): void {
    this.#position = this.#end;
  }

  /** A number field; left out when it is 0. */
  uint64(key: number, value: number): void {
    if (value === 0) return;
    if (!Number.isSafeInteger(value) || value < 0)
      throw new EncodeError(`${value} is not an integer from 0 to 2^53-1`);
    this.#varint(value);
    this.#varint(key);
  }

  /** A bool field; left out when it is false. */
  bool(key: number, value: boolean): void {
    if (value) this.uint64(key, 1);
  }

  /** A bytes field; left out when it is empty. */
  bytes(key: number, value: Uint8Array): void {
    if (value.length > 0) this.bytesItem(key, value);
  }

  /** An item of a repeated bytes field, or a message encoded elsewhere: written even when it is empty. */
  bytesItem(key: number, value: Uint8Array): void {
    const length = value.length;
    this.#reserve(length);
    const position = this.#position - length;
    if (length <= SHORT) {
      const chunk = this.#chunk;
      for (let i = 0; i < length; i += 1) chunk[position + i] = value[i] as number;
    } else {
      this.#chunk.set(value, position);
    }
    this.#position = position;
    this.#varint(length);
    this.#varint(key);
  }

  /** A string field; left out when it is empty. */
  string(key: number, value: string): void {
    if (value !== '') this.bytesItem(key, encoder.encode(value));
  }

  /** Makes what was written since `mark` a nested message. */
  nested(key: number, mark: number): void {
    this.#varint(this.written - mark);
    this.#varint(key);
  }

  #varint(value: number): void {
    if (this.#position < 10) this.#reserve(10);
    const chunk = this.#chunk;
    if (value < 0x80) {
      this.#position -= 1;
      chunk[this.#position] = value;
      return;
    }
    let size = 2;
    for (let limit = 0x4000; value >= limit; limit *= 0x80) size += 1;
    let position = this.#position - size;
    this.#position = position;
    let rest = value;
    while (rest >= 0x80) {
      chunk[position] = (rest % 0x80) | 0x80;
      position += 1;
      rest = Math.floor(rest / 0x80);
    }
    chunk[position] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#position >= bytes) return;
    const written = this.written;
    const chunk = new Uint8Array(Math.max(CHUNK_BYTES, 2 * (written + bytes)));
    chunk.set(this.#chunk.subarray(this.#position, this.#end), chunk.length - written);
    this.#chunk = chunk;
    this.#end = chunk.length;
    this.#position = chunk.length - written;
  }
}

/**
 * Reads fields from a buffer. Loop with `while (reader.more())` and `reader.key()`; give what you do not know to `skip`.
 *
 * @throws DecodeError from every method, for bytes that are not protobuf.
 */
export class Reader {
  readonly #bytes: Uint8Array;
  #position = 0;
  /** End of the message being read. */
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  more(): boolean {
    return this.#position < this.#end;
  }

  key(): number {
    const key = this.#varint();
    if (key >= 2 ** 32 || key < 8)
      throw new DecodeError('malformed', `field key ${key} is not one of protobuf`);
    return key;
  }

  /** @throws DecodeError with code `out-of-range` from 2^53. */
  uint64(): number {
    const value = this.#varint();
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError('out-of-range', `${value} is not below 2^53`);
    return value;
  }

  bool(): boolean {
    return this.#varint() !== 0;
  }

  /** A view. */
  bytes(): Uint8Array {
    const length = this.#length();
    if (length === 0) return NO_BYTES;
    const start = this.#position;
    this.#position = start + length;
    return new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + start, length);
  }

  string(): string {
    const bytes = this.bytes();
    if (bytes.length <= SHORT) {
      let text = '';
      let i = 0;
      for (; i < bytes.length; i += 1) {
        const byte = bytes[i] as number;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === bytes.length) return text;
    }
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      throw new DecodeError('malformed', 'a string is not UTF-8', { cause });
    }
  }

  /** Enters a nested message; what it returns is for `leave`. */
  enter(): number {
    const length = this.#length();
    const outer = this.#end;
    this.#end = this.#position + length;
    return outer;
  }

  leave(outer: number): void {
    this.#end = outer;
  }

  /** Passes over the value of a field that the caller does not know. Groups, which proto3 does not have, are refused. */
  skip(key: number): void {
    const type = key & 7;
    if (type === 0) this.#varint();
    else if (type === 2) this.#advance(this.#length());
    else if (type === 1) this.#advance(8);
    else if (type === 5) this.#advance(4);
    else throw new DecodeError('malformed', `wire type ${type} is not one of proto3`);
  }

  #length(): number {
    const length = this.#varint();
    if (length > this.#end - this.#position)
      throw new DecodeError('malformed', 'a field is longer than its message');
    return length;
  }

  #advance(bytes: number): void {
    if (bytes > this.#end - this.#position)
      throw new DecodeError('malformed', 'the message ends inside a field');
    this.#position += bytes;
  }

  #varint(): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let position = this.#position;
    let value = 0;
    for (let scale = 1; position < end; scale *= 0x80) {
      const byte = bytes[position] as number;
      position += 1;
      if (byte < 0x80) {
        this.#position = position;
        return value + byte * scale;
      }
      if (position - this.#position === 10)
        throw new DecodeError('malformed', 'a varint is longer than 10 bytes');
      value += (byte & 0x7f) * scale;
    }
    throw new DecodeError('malformed', 'the message ends inside a number');
  }
}

import { FRAME_MAGIC, FRAME_VERSION, MAX_ENVELOPES, MAX_TEXT, Tag } from './frames.js';

/**
 * Reads frames. `read` checks the whole frame before anything of it may be used; then the envelopes stand in parallel
 * arrays, from 0 to `count` - 1, until the next `read`.
 *
 * | tag | id | amount | path | kind | body |
 * | --- | --- | --- | --- | --- | --- |
 * | tell | | | target | event kind | event |
 * | ask | correlation | remaining ms | target | event kind | event |
 * | reply | correlation | | | | reply |
 * | fail | correlation | | reason | code | message |
 * | watch, watching | | uid | target | | |
 * | down | | | target | reason | |
 * | stop, unwatch | | | target | | |
 */
export class FrameReader {
  sender = '';
  fromIncarnation = 0;
  toIncarnation = 0;
  count = 0;
  readonly tags: number[] = [];
  readonly ids: number[] = [];
  readonly amounts: number[] = [];
  readonly paths: string[] = [];
  readonly kinds: string[] = [];
  readonly #starts: number[] = [];
  readonly #lengths: number[] = [];

  #frame: Uint8Array = new Uint8Array(0);
  #at = 0;
  #failure: string | undefined;
  readonly #table: string[] = [];

  /** @returns what is wrong with the frame; `undefined` when nothing is */
  read(frame: Uint8Array): string | undefined {
    this.count = 0;
    this.#frame = frame;
    this.#at = 2;
    this.#failure = undefined;
    this.#table.length = 0;
    if (frame.length < 2 || frame[0] !== FRAME_MAGIC) return 'not a frame';
    if (frame[1] !== FRAME_VERSION) return `frame version ${frame[1]}, this node knows ${FRAME_VERSION}`;
    this.fromIncarnation = this.#number();
    this.toIncarnation = this.#number();
    this.sender = this.#text();
    let count = 0;
    while (this.#failure === undefined && this.#at < frame.length) {
      if (count === MAX_ENVELOPES) return 'too many envelopes';
      this.#envelope(count++);
    }
    if (this.#failure === undefined) this.count = count;
    return this.#failure;
  }

  /** A view of the received bytes. */
  body(index: number): Uint8Array {
    const { buffer, byteOffset } = this.#frame;
    return new Uint8Array(buffer, byteOffset + (this.#starts[index] ?? 0), this.#lengths[index] ?? 0);
  }

  bodyText(index: number): string {
    return lenientDecoder.decode(this.body(index));
  }

  #envelope(index: number): void {
    const tag = this.#frame[this.#at++] ?? 0;
    let id = 0;
    let amount = 0;
    let path = '';
    let kind = '';
    let length = 0;
    switch (tag) {
      case Tag.tell:
        path = this.#ref();
        kind = this.#ref();
        length = this.#number();
        break;
      case Tag.ask:
        id = this.#number();
        amount = this.#number();
        path = this.#ref();
        kind = this.#ref();
        length = this.#number();
        break;
      case Tag.reply:
        id = this.#number();
        length = this.#number();
        break;
      case Tag.fail:
        id = this.#number();
        kind = this.#ref();
        path = this.#ref();
        length = this.#number();
        break;
      case Tag.watch:
      case Tag.watching:
        path = this.#ref();
        amount = this.#number();
        break;
      case Tag.down:
        path = this.#ref();
        kind = this.#ref();
        break;
      case Tag.stop:
      case Tag.unwatch:
        path = this.#ref();
        break;
      case Tag.ping:
      case Tag.pong:
        break;
      default:
        this.#failure = `unknown envelope ${tag}`;
        return;
    }
    if (length > this.#frame.length - this.#at) this.#fail();
    this.tags[index] = tag;
    this.ids[index] = id;
    this.amounts[index] = amount;
    this.paths[index] = path;
    this.kinds[index] = kind;
    this.#starts[index] = this.#at;
    this.#lengths[index] = length;
    this.#at += length;
  }

  /** Stops the reading: the position moves behind the end, where every read gives nothing. */
  #fail(): void {
    this.#failure ??= 'cut short';
    this.#at = this.#frame.length;
  }

  #number(): number {
    const frame = this.#frame;
    const first = frame[this.#at++];
    if (first === undefined) {
      this.#fail();
      return 0;
    }
    if (first < 128) return first;
    let value = first & 127;
    let scale = 128;
    for (let i = 0; i < 7; i++) {
      const byte = frame[this.#at++];
      if (byte === undefined) {
        this.#fail();
        return 0;
      }
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (value <= Number.MAX_SAFE_INTEGER) return value;
        break;
      }
      scale *= 128;
    }
    this.#failure ??= 'a number above 2^53';
    this.#fail();
    return 0;
  }

  #ref(): string {
    const index = this.#number();
    if (index === 0) {
      const text = this.#text();
      this.#table.push(text);
      return text;
    }
    const known = this.#table[index - 1];
    if (known === undefined) {
      this.#failure ??= 'a reference beyond the table';
      this.#fail();
      return '';
    }
    return known;
  }

  #text(): string {
    const length = this.#number();
    const start = this.#at;
    if (length > MAX_TEXT || length > this.#frame.length - start) {
      this.#fail();
      return '';
    }
    this.#at = start + length;
    const text = internText(this.#frame, start, length);
    if (text === undefined) {
      this.#failure ??= 'a text that is not UTF-8';
      this.#fail();
      return '';
    }
    return text;
  }
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true });
const lenientDecoder = new TextDecoder();

interface Interned {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** The same few paths and kinds come in every frame: a direct-mapped cache spares decoding them and hashing anew. */
const interned: (Interned | undefined)[] = new Array<Interned | undefined>(2048);

function internText(frame: Uint8Array, start: number, length: number): string | undefined {
  let hash = 0x811c9dc5 ^ length;
  for (let i = start; i < start + length; i++) hash = Math.imul(hash ^ (frame[i] as number), 0x01000193);
  const slot = (hash ^ (hash >>> 15)) & 2047;
  const known = interned[slot];
  if (known !== undefined && known.bytes.length === length) {
    let i = 0;
    while (i < length && known.bytes[i] === frame[start + i]) i++;
    if (i === length) return known.text;
  }
  const bytes = Uint8Array.from(frame.subarray(start, start + length));
  try {
    const text = strictDecoder.decode(bytes);
    interned[slot] = { bytes, text };
    return text;
  } catch {
    return undefined;
  }
}

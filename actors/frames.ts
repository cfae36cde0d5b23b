/**
 * Frames: what one node has for another at the end of a turn, as one message.
 *
 * ```
 * frame    = 0xA7 version incarnation(from) incarnation(to) text(sender) envelope*
 * envelope = tag fields                     (see the methods of FrameWriter)
 * number   = unsigned LEB128, below 2^53
 * text     = number(bytes) utf8
 * ref      = 0 text | number > 0            (0 adds the text to the frame's table; n is its n-th entry)
 * body     = number(bytes) bytes
 * ```
 *
 * The table is built by both sides as they go, so a path or a kind travels once per frame.
 */

export const FRAME_MAGIC = 0xa7;
export const FRAME_VERSION = 1;

/** What an envelope is. The values are on the wire. */
export const Tag = {
  tell: 1,
  ask: 2,
  reply: 3,
  fail: 4,
  stop: 5,
  watch: 6,
  unwatch: 7,
  watching: 8,
  down: 9,
  ping: 10,
  pong: 11,
} as const;
export type Tag = (typeof Tag)[keyof typeof Tag];

/** Bounds the work that one received frame can cause; the writer begins another frame there. */
export const MAX_ENVELOPES = 65_536;
/** Longest text in a table, in bytes. */
const MAX_TEXT = 4096;
/** No envelope needs more than this beside its body: tag, two numbers, two texts of at most 512 UTF-16 units. */
export const ENVELOPE_OVERHEAD = 4096;

const textEncoder = new TextEncoder();

/** Builds frames to one node, one after the other, in a buffer that it keeps. */
export class FrameWriter {
  #buffer = new Uint8Array(1024);
  #length = 0;
  #count = 0;
  readonly #table = new Map<string, number>();

  /** Bytes of the frame so far. */
  get length(): number {
    return this.#length;
  }

  /** Envelopes in the frame so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the buffer that the writer keeps. */
  get capacity(): number {
    return this.#buffer.length;
  }

  /**
   * Begins a frame and drops what was there.
   * @param toIncarnation 0 when unknown
   */
  begin(sender: string, incarnation: number, toIncarnation: number): void {
    this.#length = 0;
    this.#count = 0;
    this.#table.clear();
    this.#reserve(32 + 3 * sender.length);
    this.#buffer[this.#length++] = FRAME_MAGIC;
    this.#buffer[this.#length++] = FRAME_VERSION;
    this.#number(incarnation);
    this.#number(toIncarnation);
    this.#text(sender);
  }

  tell(path: string, kind: string, body: Uint8Array): void {
    this.#open(Tag.tell, path.length + kind.length, body.length);
    this.#ref(path);
    this.#ref(kind);
    this.#body(body);
  }

  /** @param remaining milliseconds that the asker will still wait */
  ask(id: number, remaining: number, path: string, kind: string, body: Uint8Array): void {
    this.#open(Tag.ask, path.length + kind.length, body.length);
    this.#number(id);
    this.#number(remaining);
    this.#ref(path);
    this.#ref(kind);
    this.#body(body);
  }

  reply(id: number, body: Uint8Array): void {
    this.#open(Tag.reply, 0, body.length);
    this.#number(id);
    this.#body(body);
  }

  /**
   * @param code one of `AskErrorCode`
   * @param reason what the actor gave to `fail`; empty when the framework failed the ask
   */
  fail(id: number, code: string, reason: string, message: string): void {
    const text = textEncoder.encode(message);
    this.#open(Tag.fail, code.length + reason.length, text.length);
    this.#number(id);
    this.#ref(code);
    this.#ref(reason);
    this.#body(text);
  }

  stop(path: string): void {
    this.#open(Tag.stop, path.length, 0);
    this.#ref(path);
  }

  /** @param uid the life of the actor that is meant; 0: whichever is there */
  watch(path: string, uid: number): void {
    this.#open(Tag.watch, path.length, 0);
    this.#ref(path);
    this.#number(uid);
  }

  unwatch(path: string): void {
    this.#open(Tag.unwatch, path.length, 0);
    this.#ref(path);
  }

  watching(path: string, uid: number): void {
    this.#open(Tag.watching, path.length, 0);
    this.#ref(path);
    this.#number(uid);
  }

  down(path: string, reason: string): void {
    this.#open(Tag.down, path.length + reason.length, 0);
    this.#ref(path);
    this.#ref(reason);
  }

  ping(): void {
    this.#open(Tag.ping, 0, 0);
  }

  pong(): void {
    this.#open(Tag.pong, 0, 0);
  }

  /** The frame in memory of its own: transports keep it until it is sent. The next frame starts with `begin`. */
  take(): Uint8Array {
    const frame = Buffer.allocUnsafe(this.#length);
    frame.set(this.#buffer.subarray(0, this.#length));
    return frame;
  }

  #open(tag: number, textUnits: number, bodyLength: number): void {
    this.#reserve(64 + 3 * textUnits + bodyLength);
    this.#buffer[this.#length++] = tag;
    this.#count++;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }

  #ref(text: string): void {
    const known = this.#table.get(text);
    if (known !== undefined) {
      this.#number(known);
      return;
    }
    this.#table.set(text, this.#table.size + 1);
    this.#buffer[this.#length++] = 0;
    this.#text(text);
  }

  /** Paths and kinds are nearly always ASCII, and short: a loop beats a call into the encoder. */
  #text(text: string): void {
    const buffer = this.#buffer;
    const units = text.length;
    if (units < 128) {
      let at = this.#length + 1;
      let i = 0;
      for (; i < units; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 127) break;
        buffer[at++] = unit;
      }
      if (i === units) {
        buffer[this.#length] = units;
        this.#length = at;
        return;
      }
    }
    this.#body(textEncoder.encode(text));
  }

  #body(bytes: Uint8Array): void {
    this.#number(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #number(value: number): void {
    const buffer = this.#buffer;
    let rest = value;
    while (rest > 0x7fff_ffff) {
      buffer[this.#length++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 127) {
      buffer[this.#length++] = (rest & 127) | 0x80;
      rest >>>= 7;
    }
    buffer[this.#length++] = rest;
  }
}

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

/** One envelope as an object, for specs and network filters. */
export interface Envelope {
  readonly tag: keyof typeof Tag;
  readonly path: string;
  readonly kind: string;
  readonly id: number;
  readonly body: Uint8Array;
}

/** The envelopes of a frame; none when it is malformed. */
export function readEnvelopes(frame: Uint8Array): Envelope[] {
  const reader = new FrameReader();
  if (reader.read(frame) !== undefined) return [];
  const names = Object.keys(Tag) as (keyof typeof Tag)[];
  return reader.tags.slice(0, reader.count).map((tag, i) => ({
    tag: names[tag - 1] as keyof typeof Tag,
    path: reader.paths[i] ?? '',
    kind: reader.kinds[i] ?? '',
    id: reader.ids[i] ?? 0,
    body: reader.body(i),
  }));
}

/** The frame without the envelopes that `keep` refuses; `undefined` when nothing is left of it. */
export function filterFrame(
  frame: Uint8Array,
  keep: (envelope: Envelope) => boolean,
): Uint8Array | undefined {
  const reader = new FrameReader();
  if (reader.read(frame) !== undefined) return frame;
  const kept = readEnvelopes(frame).map(keep);
  if (kept.every(Boolean)) return frame;
  if (!kept.some(Boolean)) return undefined;
  const writer = new FrameWriter();
  writer.begin(reader.sender, reader.fromIncarnation, reader.toIncarnation);
  kept.forEach((wanted, i) => {
    if (wanted) copyEnvelope(reader, i, writer);
  });
  return writer.take();
}

function copyEnvelope(reader: FrameReader, i: number, writer: FrameWriter): void {
  const path = reader.paths[i] ?? '';
  const kind = reader.kinds[i] ?? '';
  const id = reader.ids[i] ?? 0;
  const amount = reader.amounts[i] ?? 0;
  switch (reader.tags[i]) {
    case Tag.tell:
      return writer.tell(path, kind, reader.body(i));
    case Tag.ask:
      return writer.ask(id, amount, path, kind, reader.body(i));
    case Tag.reply:
      return writer.reply(id, reader.body(i));
    case Tag.fail:
      return writer.fail(id, kind, path, reader.bodyText(i));
    case Tag.stop:
      return writer.stop(path);
    case Tag.watch:
      return writer.watch(path, amount);
    case Tag.unwatch:
      return writer.unwatch(path);
    case Tag.watching:
      return writer.watching(path, amount);
    case Tag.down:
      return writer.down(path, kind);
    case Tag.ping:
      return writer.ping();
    default:
      return writer.pong();
  }
}

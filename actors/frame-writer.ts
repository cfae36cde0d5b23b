import { FRAME_MAGIC, FRAME_VERSION, Tag } from './frames.js';

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

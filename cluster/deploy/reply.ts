/** Where a machine puts its answer to an event. */

import type { ReplyTo } from '../../actors/index.js';
import type { Said } from './known-ids.js';
import { encodePlain, NotPlainError } from './plain-data.js';
import { MAX_BYTES } from './protocol.js';

/**
 * What a machine finds at `event.replyTo`. It counts what is said while the event is handled: the answer becomes durable with
 * the state, and an event that is sent again gets it again. What is said later is lost.
 */
export class AnswerBox implements ReplyTo {
  #said: Said | undefined;
  #closed = false;

  get answered(): boolean {
    return this.#said !== undefined;
  }

  /** @throws NotPlainError what JSON would change; the machine fails then */
  send(reply: unknown): void {
    // As it is now: the machine may go on with the object.
    const text = encodePlain('the reply', reply ?? null);
    if (Buffer.byteLength(text) > MAX_BYTES)
      throw new NotPlainError(`the reply has more than ${MAX_BYTES} bytes`);
    this.#say({ reply: JSON.parse(text) });
  }

  fail(_reason: string, message: string): void {
    this.#say({ refused: message });
  }

  /** The host does not know how long the sender waits. */
  remaining(): number {
    return this.#closed ? 0 : Number.POSITIVE_INFINITY;
  }

  /** @internal The event is handled: what has been said counts. */
  close(): Said {
    this.#closed = true;
    return this.#said ?? {};
  }

  #say(said: Said): void {
    if (!this.#closed) this.#said ??= said;
  }
}

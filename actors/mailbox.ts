/**
 * What happens to a message for a full mailbox.
 *
 * - `reject`: it is refused, and the sender of an ask gets `overloaded` at once;
 * - `dropNewest`: the same, but a local `tell` is not told (it returns true);
 * - `dropOldest`: the message that has waited longest makes room; it if was an ask, its sender gets `overloaded`.
 */
export type Overflow = 'reject' | 'dropNewest' | 'dropOldest';

/** How much a mailbox holds, and what happens to one message more. */
export interface MailboxOptions {
  /** Messages that may wait. */
  readonly capacity: number;
  readonly overflow: Overflow;
}

export const DEFAULT_MAILBOX: MailboxOptions = { capacity: 4096, overflow: 'reject' };

/** A first-in-first-out queue on a ring that grows with what waits in it; the owner minds the bound. */
export class RingQueue<T> {
  #items: (T | undefined)[];
  #head = 0;
  #length = 0;

  constructor(initialSize = 16) {
    this.#items = new Array<T | undefined>(initialSize);
  }

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** The size stays a power of two, so that the index is a mask. */
  #grow(): void {
    const { length } = this.#items;
    const items = new Array<T | undefined>(length * 2);
    for (let i = 0; i < this.#length; i++) items[i] = this.#items[(this.#head + i) & (length - 1)];
    this.#items = items;
    this.#head = 0;
  }
}

/** A list that others keep a copy of: what is new in it, and what is gone, a bounded part at a time. */

/** One row of what a node tells of its state, told again only when it has changed. */
export interface StateItem {
  readonly key: string;
  /** While this is the same as the last time, so is the item: a cheap way not to look at it. */
  readonly seen: unknown;
  /** As plain data; made only when `seen` is another one, and sent only when it differs then. */
  readonly item: () => unknown;
}

/** Items that are sent at once; the others follow. */
const MOST_ITEMS = 1000;

interface Known {
  seen: unknown;
  text: string;
  round: number;
}

export class Roll {
  readonly #topic: string;
  readonly #items: () => Iterable<StateItem>;
  readonly #known = new Map<string, Known>();
  #round = 0;

  constructor(topic: string, items: () => Iterable<StateItem>) {
    this.#topic = topic;
    this.#items = items;
  }

  /** Everything is told anew. */
  forget(): void {
    this.#known.clear();
  }

  /** What has changed since the last call, or a part of it; `undefined` for nothing. */
  changes(): { readonly topic: string; readonly items: unknown[]; readonly gone: string[] } | undefined {
    const items = this.#changed(++this.#round);
    const gone: string[] = [];
    for (const [key, known] of this.#known) {
      if (known.round === this.#round || gone.length >= MOST_ITEMS) continue;
      this.#known.delete(key);
      gone.push(key);
    }
    return items.length + gone.length === 0 ? undefined : { topic: this.#topic, items, gone };
  }

  #changed(round: number): unknown[] {
    const items: unknown[] = [];
    for (const { key, seen, item } of this.#items()) {
      const known = this.#known.get(key);
      if (known !== undefined) {
        known.round = round;
        if (known.seen === seen) continue;
      }
      if (items.length >= MOST_ITEMS) continue;
      const made = item();
      const text = JSON.stringify(made);
      if (known === undefined) this.#known.set(key, { seen, text, round });
      else {
        known.seen = seen;
        if (known.text === text) continue;
        known.text = text;
      }
      items.push(made);
    }
    return items;
  }
}

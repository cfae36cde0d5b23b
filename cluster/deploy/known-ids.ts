/** The ids of the events that an actor has applied, as far back as it is to know them. */

import type { Delivery } from './protocol.js';
import type { StoredId } from './records.js';

/** What the machine said to an event, if it said something. */
export interface Said {
  readonly reply?: unknown;
  /** It refused, with this sentence. */
  readonly refused?: string;
  /** No transition of the machine took the event. */
  readonly untaken?: true;
}

interface Known {
  readonly seq: number;
  /** Until it is durable, what was said and who asked again; afterwards the disk has it. */
  pending: { readonly said: Said; readonly repeats: Delivery[] } | undefined;
}

/** A bounded table; the first to come is the first to be forgotten, once it is durable. */
export class KnownIds {
  readonly #ids = new Map<string, Known>();

  /** @param limit ids that it knows at most */
  constructor(private readonly limit: number) {}

  find(id: string): Known | undefined {
    return this.#ids.get(id);
  }

  /** One that the disk has. */
  restore({ id, seq }: StoredId): void {
    this.#ids.set(id, { seq, pending: undefined });
  }

  /** @returns the steps of those that are forgotten for it */
  add(id: string, seq: number, said: Said): readonly number[] {
    this.#ids.set(id, { seq, pending: { said, repeats: [] } });
    const forgotten: number[] = [];
    for (const [old, known] of this.#ids) {
      // Somebody may wait for one that is not durable.
      if (this.#ids.size <= this.limit || known.pending !== undefined) break;
      this.#ids.delete(old);
      forgotten.push(known.seq);
    }
    return forgotten;
  }

  /** It is on the disk now. @returns who has sent it again meanwhile */
  durable(id: string): readonly Delivery[] {
    const known = this.#ids.get(id);
    const repeats = known?.pending?.repeats ?? [];
    if (known !== undefined) known.pending = undefined;
    return repeats;
  }
}

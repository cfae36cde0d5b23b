/**
 * What happened to regions, said as people would: a split changes one region and adds others, a merge takes one away and
 * widens another. Nodes tell of the two sides at different times, so what is not explained yet waits a while.
 */

import type { RegionItem } from '../inspection/items.js';
import { keyName } from './keys.js';

interface Range {
  readonly id: number;
  readonly start: string;
  readonly end: string;
}

interface Change {
  readonly before: Range;
  readonly after: Range;
  readonly at: number;
}

/** Milliseconds for the other side of a change to be told of. */
const PATIENCE_MS = 5_000;
const MOST_WAITING = 200;

export class RegionMoments {
  #changes: Change[] = [];
  readonly #come = new Map<number, Range & { readonly at: number }>();
  readonly #gone = new Map<number, Range & { readonly at: number }>();

  /** A region is told of that was not known. */
  came({ id, start, end }: RegionItem, at: number): void {
    this.#gone.delete(id);
    if (this.#come.size < MOST_WAITING) this.#come.set(id, { id, start, end, at });
  }

  went({ id, start, end }: RegionItem, at: number): void {
    this.#come.delete(id);
    if (this.#gone.size < MOST_WAITING) this.#gone.set(id, { id, start, end, at });
  }

  changed(before: RegionItem, after: RegionItem, at: number): void {
    if (before.start === after.start && before.end === after.end) return;
    if (this.#changes.length < MOST_WAITING) this.#changes.push({ before, after, at });
  }

  /** What can be said by now. @param now the clock of `at` */
  settle(now: number): string[] {
    const said: string[] = [];
    this.#changes = this.#changes.filter((change) => {
      const sentences = this.#explain(change);
      if (sentences === undefined && now - change.at < PATIENCE_MS) return true;
      said.push(...(sentences ?? [rangeSentence(change.after)]));
      return false;
    });
    for (const waiting of [this.#come, this.#gone])
      for (const [id, { at }] of waiting) if (now - at >= PATIENCE_MS) waiting.delete(id);
    return said;
  }

  /** Both ends, each by a chain of neighbours from the old bound to the new one. */
  #explain({ before, after }: Change): string[] | undefined {
    const { id } = after;
    const said: string[] = [];
    for (const { from, to, side } of [
      { from: before.start, to: after.start, side: 'left' },
      { from: after.end, to: before.end, side: 'right' },
    ] as const) {
      if (from === to) continue;
      const parts = chain(this.#come, from, to);
      // The other way round it has grown.
      const eaten = parts === undefined ? chain(this.#gone, to, from) : undefined;
      if (parts !== undefined) {
        for (const part of parts) {
          const at = side === 'left' ? part.end : part.start;
          said.push(`region ${id} split at ${keyName(at)}: ${part.id} is new`);
          this.#come.delete(part.id);
        }
      } else if (eaten !== undefined) {
        for (const part of eaten) {
          said.push(`region ${part.id} merged into ${id}`);
          this.#gone.delete(part.id);
        }
      } else return undefined;
    }
    return said;
  }
}

/** The regions that follow one another from one key to another; `undefined` where one is not known. */
function chain(known: ReadonlyMap<number, Range>, from: string, to: string): readonly Range[] | undefined {
  const found: Range[] = [];
  let at = from;
  while (at !== to || found.length === 0) {
    const next = [...known.values()].find((one) => one.start === at && !found.includes(one));
    if (next === undefined) return undefined;
    found.push(next);
    at = next.end;
    if (at === '' && to !== '') return undefined;
  }
  return found;
}

function rangeSentence({ id, start, end }: Range): string {
  return `region ${id} reaches from ${keyName(start)} to ${end === '' ? 'the last key' : keyName(end)} now`;
}

import { invariant } from './errors.js';
import type { TermBoundary } from './types.js';

/** Answer for an index that is compacted away or not yet there; equals no term. */
export const UNKNOWN_TERM = -1;

/**
 * The terms of a whole log in a few numbers: one boundary for each run of entries that share a term. Terms only grow
 * along a log, so a log of any length has as many boundaries as elections left entries in it.
 *
 * Invariant: indexes and terms both ascend; the first boundary is at the first entry of the log.
 */
export class TermIndex {
  private readonly starts: number[] = [];
  private readonly terms: number[] = [];

  constructor(boundaries: readonly TermBoundary[]) {
    for (const { index, term } of boundaries) this.extend(index, term);
  }

  /** Term of the last run; `UNKNOWN_TERM` when there is none. */
  get last(): number {
    return this.terms.length === 0 ? UNKNOWN_TERM : (this.terms[this.terms.length - 1] as number);
  }

  get firstIndex(): number | undefined {
    return this.starts[0];
  }

  get size(): number {
    return this.starts.length;
  }

  /** An entry of `term` stands at `index`, behind everything known so far. */
  extend(index: number, term: number): void {
    const { last, starts } = this;
    if (term === last) return;
    invariant(
      term > last && index > (starts[starts.length - 1] ?? 0),
      () => `term ${term} at ${index} cannot follow term ${last}`,
    );
    this.starts.push(index);
    this.terms.push(term);
  }

  /** Term at an index that the log is known to hold. */
  at(index: number): number {
    const { starts, terms } = this;
    // Nearly every question is about the last run.
    let high = starts.length - 1;
    if (high < 0) return UNKNOWN_TERM;
    if (index >= (starts[high] as number)) return terms[high] as number;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((starts[middle + 1] as number) <= index) low = middle + 1;
      else high = middle;
    }
    return index < (starts[low] as number) ? UNKNOWN_TERM : (terms[low] as number);
  }

  /** The highest index at or below `index` whose term is at most `term`; the one before the first run when none is. */
  lastAtMost(index: number, term: number): number {
    const { starts, terms } = this;
    let at = index;
    for (let i = starts.length - 1; i >= 0; i--) {
      const start = starts[i] as number;
      if (start > at) continue;
      if ((terms[i] as number) <= term) return at;
      at = start - 1;
    }
    return at;
  }

  /** Forgets everything from `index` on. */
  truncateFrom(index: number): void {
    const { starts, terms } = this;
    while (starts.length > 0 && (starts[starts.length - 1] as number) >= index) {
      starts.pop();
      terms.pop();
    }
  }

  /** Forgets everything through `index`. */
  compact(index: number): void {
    const { starts, terms } = this;
    let gone = 0;
    while (gone + 1 < starts.length && (starts[gone + 1] as number) <= index + 1) gone++;
    starts.splice(0, gone);
    terms.splice(0, gone);
    if (starts.length > 0 && (starts[0] as number) <= index) starts[0] = index + 1;
  }

  clear(): void {
    this.starts.length = 0;
    this.terms.length = 0;
  }

  boundaries(): TermBoundary[] {
    return this.starts.map((index, i) => ({ index, term: this.terms[i] as number }));
  }
}

import { type Entry, EntryType } from './types.js';

/**
 * Where a log may hold membership changes that are not applied yet: nobody campaigns over a committed one, or two
 * leaders of one term could count by different memberships.
 *
 * Invariant: the indexes ascend, and every one is behind what is applied and within the log.
 */
export class ConfChangeWatch {
  private readonly indexes: number[] = [];
  /** Entries through here were written by an earlier run and not seen by this one: any may be a membership change. */
  private unseenThrough: number;

  constructor(unseenThrough: number) {
    this.unseenThrough = unseenThrough;
  }

  /** An entry takes its place in the log. */
  note(entry: Entry, applied: number): void {
    if (entry.type !== EntryType.normal && entry.index > applied) this.indexes.push(entry.index);
  }

  /** The log loses everything from `index` on. */
  truncateFrom(index: number): void {
    const { indexes } = this;
    while (indexes.length > 0 && (indexes[indexes.length - 1] as number) >= index) indexes.pop();
    this.unseenThrough = Math.min(this.unseenThrough, index - 1);
  }

  /** Everything through `index` is applied. */
  applied(index: number): void {
    let gone = 0;
    while (gone < this.indexes.length && (this.indexes[gone] as number) <= index) gone++;
    if (gone > 0) this.indexes.splice(0, gone);
  }

  /** The log starts over behind `index`. */
  restart(index: number): void {
    this.indexes.length = 0;
    this.unseenThrough = index;
  }

  /** Whether one may be among the entries behind `applied`, through `committed`. */
  mayHold(applied: number, committed: number): boolean {
    if (applied >= committed) return false;
    const first = this.indexes[0];
    return (first !== undefined && first <= committed) || applied < Math.min(this.unseenThrough, committed);
  }
}

import {
  type ConfState,
  type Entry,
  entrySize,
  type HardState,
  type InitialState,
  type Snapshot,
  type TermBoundary,
} from '../../../machines/index.js';

const NO_CONF_STATE: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

export const EMPTY_SNAPSHOT: Snapshot = {
  index: 0,
  term: 0,
  confState: NO_CONF_STATE,
  data: new Uint8Array(0),
};

/** What a peer has on its disk, for specs: answers at once, forgets nothing. */
export class MemoryStorage {
  entries: Entry[] = [];
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  confState: ConfState;
  private before: { index: number; term: number };

  constructor(snapshot: Snapshot = EMPTY_SNAPSHOT) {
    this.before = { index: snapshot.index, term: snapshot.term };
    this.confState = snapshot.confState;
  }

  get firstIndex(): number {
    return this.before.index + 1;
  }

  get lastIndex(): number {
    return this.before.index + this.entries.length;
  }

  /** What a peer starts from. `applied` is the application's. */
  initialState(applied = 0): InitialState {
    const terms: TermBoundary[] = [];
    for (const { term, index } of this.entries) if (terms.at(-1)?.term !== term) terms.push({ term, index });
    return {
      hardState: this.hardState,
      confState: this.confState,
      truncated: this.before,
      lastIndex: this.lastIndex,
      terms,
      entries: [...this.entries],
      applied,
    };
  }

  /** Puts the entries in the place of whatever stands there; those before the log's beginning are dropped. */
  append(entries: readonly Entry[]): void {
    const kept = entries.filter((entry) => entry.index >= this.firstIndex);
    const first = kept[0];
    if (first === undefined) return;
    if (first.index > this.lastIndex + 1) throw new Error(`gap before entry ${first.index}`);
    this.entries.length = first.index - this.firstIndex;
    this.entries.push(...kept);
  }

  applySnapshot(snapshot: Snapshot): void {
    if (snapshot.index <= this.before.index) throw new Error(`snapshot ${snapshot.index} is out of date`);
    this.before = { index: snapshot.index, term: snapshot.term };
    this.confState = snapshot.confState;
    this.entries = [];
  }

  /** Entries of [low, high) within `maxBytes`, at least one; empty when the first is gone. */
  read(low: number, high: number, maxBytes: number): Entry[] {
    if (low < this.firstIndex) return [];
    const found: Entry[] = [];
    let size = 0;
    for (const entry of this.entries.slice(low - this.firstIndex, high - this.firstIndex)) {
      size += entrySize(entry);
      if (size > maxBytes && found.length > 0) break;
      found.push(entry);
    }
    return found;
  }

  /** Removes everything through `index`. Returns its term. */
  compact(index: number): number {
    const last = this.entries[index - this.firstIndex];
    if (last === undefined) throw new Error(`requested index is unavailable: ${index}`);
    this.entries.splice(0, index - this.before.index);
    this.before = { index: last.index, term: last.term };
    return last.term;
  }
}

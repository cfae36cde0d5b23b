import { ConfChangeWatch } from './conf-change-watch.js';
import { countWithin, EntryCache, entriesSize, NO_ENTRIES } from './entry-cache.js';
import { invariant } from './errors.js';
import { TermIndex, UNKNOWN_TERM } from './term-index.js';
import type { Entry, InitialState, Snapshot } from './types.js';

/**
 * One peer's log: the terms of all of it, the bodies of its newest part, and how far it is written, committed and
 * applied. Owned by the role machine and changed in place.
 *
 * Its invariants stand at the fields and are asserted where these change: a violation means that something was lost or
 * mixed up, and is never mended by taking the nearest value that would fit.
 */
export class RaftLog {
  /** The log begins behind this position. Invariant: at most `applied`, but for a snapshot that is being installed. */
  truncatedIndex: number;
  truncatedTerm: number;
  /** Invariant: at least `committed`, and each entry stands one behind the one before, with at least its term. */
  lastIndex: number;
  /** Known to be on the disks of a quorum. Never falls, and no entry through it ever changes. */
  committed: number;
  /** Handed out for applying. Invariant: applied <= applying <= committed. */
  applying: number;
  /** Reported as applied. Never falls. */
  applied: number;
  /** Entries from here on are not known to be on this peer's disk; all of them are in memory. */
  offset: number;
  /** Entries before it have been handed out for writing. Invariant: offset <= offsetInProgress <= lastIndex + 1. */
  offsetInProgress: number;
  /** Received and not yet known to be on disk. Invariant: `truncatedIndex` is its index. */
  snapshot: Snapshot | undefined;
  private snapshotInProgress = false;

  private readonly terms: TermIndex;
  private readonly cache: EntryCache;
  private readonly maxCachedBytes: number;

  /** Size of entries handed out and not yet reported as applied. */
  private applyingSize = 0;
  private applyingPaused = false;
  private readonly maxApplyingSize: number;
  /** Entries read back from disk, from applying + 1 on. */
  private fetched: readonly Entry[] = NO_ENTRIES;

  private readonly confChanges: ConfChangeWatch;

  constructor(initial: InitialState, limits: { maxCachedBytes: number; maxCommittedSizePerReady: number }) {
    const { truncated, lastIndex, entries, terms } = initial;
    this.truncatedIndex = truncated.index;
    this.truncatedTerm = truncated.term;
    this.committed = truncated.index;
    this.applying = truncated.index;
    this.applied = truncated.index;
    this.lastIndex = lastIndex;
    this.offset = lastIndex + 1;
    this.offsetInProgress = lastIndex + 1;
    this.maxCachedBytes = limits.maxCachedBytes;
    this.maxApplyingSize = limits.maxCommittedSizePerReady;
    this.terms = new TermIndex(terms);
    this.cache = new EntryCache(lastIndex + 1 - entries.length);
    const unseenThrough = lastIndex - entries.length;
    this.confChanges = new ConfChangeWatch(unseenThrough);
    invariant(
      lastIndex >= truncated.index &&
        this.terms.firstIndex === (lastIndex === truncated.index ? undefined : truncated.index + 1) &&
        (terms[0]?.term ?? truncated.term) >= truncated.term &&
        (terms[terms.length - 1]?.index ?? lastIndex) <= lastIndex,
      () => `the term boundaries do not cover the log (${truncated.index}, ${lastIndex}]`,
    );
    invariant(
      unseenThrough >= truncated.index,
      () => `${entries.length} entries are more than the log (${truncated.index}, ${lastIndex}]`,
    );
    entries.forEach((entry, i) => {
      const index = this.cache.start + i;
      invariant(
        entry.index === index && entry.term === this.term(index),
        () => `entry (${entry.index}, term ${entry.term}) where (${index}, term ${this.term(index)}) belongs`,
      );
      this.cache.push(entry);
      this.confChanges.note(entry, this.applied);
    });
    this.evict();
  }

  get firstIndex(): number {
    return this.truncatedIndex + 1;
  }

  get lastTerm(): number {
    return this.lastIndex === this.truncatedIndex ? this.truncatedTerm : this.terms.last;
  }

  /** `UNKNOWN_TERM` for an index that is compacted away or beyond the log. */
  term(index: number): number {
    if (index > this.lastIndex || index < this.truncatedIndex) return UNKNOWN_TERM;
    return index === this.truncatedIndex ? this.truncatedTerm : this.terms.at(index);
  }

  /** Whether the log holds an entry of `term` at `index` (Raft 5.3, the consistency check). */
  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends in (`index`, `term`) may lead this one (Raft 5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    const lastTerm = this.lastTerm;
    return term > lastTerm || (term === lastTerm && index >= this.lastIndex);
  }

  /**
   * The highest position at or below `index` that could match a log whose entry at `index` has `term`; its own term,
   * or 0 where this log no longer or not yet knows it. With it a probe skips a whole term, not one entry.
   */
  findConflictByTerm(index: number, term: number): { readonly index: number; readonly term: number } {
    if (index > this.lastIndex || index < this.truncatedIndex) return { index, term: 0 };
    const at = Math.max(this.terms.lastAtMost(index, term), this.truncatedIndex);
    if (at > this.truncatedIndex || this.truncatedTerm <= term) return { index: at, term: this.term(at) };
    return this.truncatedIndex === 0 ? { index: 0, term: 0 } : { index: at - 1, term: 0 };
  }

  /**
   * Takes the entries behind (`index`, `term`) that a leader sent and its commit index (Raft 5.3, AppendEntries 2-5).
   * Returns the index of the last of them, or -1 when the log has no such position.
   */
  maybeAppend(index: number, term: number, commit: number, entries: readonly Entry[]): number {
    if (!this.matches(index, term)) return -1;
    const last = index + entries.length;
    const fresh = this.firstConflict(entries);
    if (fresh < entries.length) this.append(entries, fresh);
    this.commitTo(Math.min(commit, last));
    return last;
  }

  /** Position within `entries` of the first that the log does not hold; their number when it holds them all. */
  firstConflict(entries: readonly Entry[]): number {
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (this.term(entry.index) !== entry.term) return i;
    }
    return entries.length;
  }

  /** Puts `entries`, from position `from` on, in the place of whatever the log holds from there. */
  append(entries: readonly Entry[], from = 0): void {
    const first = entries[from]?.index;
    if (first === undefined) return;
    invariant(
      first > this.committed,
      () => `entry ${first} conflicts with committed index ${this.committed}`,
    );
    invariant(first <= this.lastIndex + 1, () => `entry ${first} would leave a gap behind ${this.lastIndex}`);
    const before = this.term(first - 1);
    invariant(
      (entries[from] as Entry).term >= before,
      () => `entry ${first} goes back from term ${before} to ${(entries[from] as Entry).term}`,
    );
    if (first <= this.lastIndex) this.truncateFrom(first);
    for (let i = from; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      invariant(
        entry.index === first + i - from,
        () => `entry ${entry.index} where ${first + i - from} belongs`,
      );
      this.terms.extend(entry.index, entry.term);
      this.cache.push(entry);
      this.confChanges.note(entry, this.applied);
    }
    this.lastIndex = first + entries.length - from - 1;
    this.evict();
  }

  private truncateFrom(index: number): void {
    this.terms.truncateFrom(index);
    this.cache.truncateFrom(index);
    this.lastIndex = index - 1;
    this.offset = Math.min(this.offset, index);
    this.offsetInProgress = Math.min(this.offsetInProgress, index);
    this.confChanges.truncateFrom(index);
  }

  /** Never goes back. @throws RaftInvariantError beyond the log: this peer has lost entries that it acknowledged. */
  commitTo(index: number): void {
    if (index <= this.committed) return;
    invariant(
      index <= this.lastIndex,
      () =>
        `commit index ${index} is beyond the last index ${this.lastIndex}: the log was damaged, cut or lost`,
    );
    this.committed = index;
  }

  /** Commits through `index` only if its entry is of `term` (Raft 5.4.2). Returns whether it moved. */
  maybeCommit(index: number, term: number): boolean {
    if (index <= this.committed || this.term(index) !== term) return false;
    this.commitTo(index);
    return true;
  }

  // Bodies

  /** Whether every body from `index` on is in memory. */
  holds(index: number): boolean {
    return index >= this.cache.start;
  }

  /** Index of the oldest body in memory. */
  get cachedFrom(): number {
    return this.cache.start;
  }

  get cachedBytes(): number {
    return this.cache.bytes;
  }

  /** Bodies of [low, high) within `maxBytes`, at least one; all must be in memory. The array is shared: do not change it. */
  slice(low: number, high: number, maxBytes: number): readonly Entry[] {
    return this.cache.slice(low, high, maxBytes);
  }

  // Writing

  /** Entries that were not handed out for writing yet. */
  nextUnstableEntries(): readonly Entry[] {
    return this.cache.slice(this.offsetInProgress, this.lastIndex + 1, Number.POSITIVE_INFINITY);
  }

  get hasNextUnstableEntries(): boolean {
    return this.offsetInProgress <= this.lastIndex;
  }

  /** Entries are being written, or wait to be. */
  get hasUnstableEntries(): boolean {
    return this.offset <= this.lastIndex;
  }

  nextUnstableSnapshot(): Snapshot | undefined {
    return this.snapshotInProgress ? undefined : this.snapshot;
  }

  /** Everything unwritten has been handed out. */
  acceptUnstable(): void {
    this.offsetInProgress = this.lastIndex + 1;
    if (this.snapshot !== undefined) this.snapshotInProgress = true;
  }

  /**
   * Everything through (`index`, `term`) is on disk. The caller knows that no write under way can still replace it;
   * where the log has another entry there by now, nothing is said about it.
   */
  stableTo(index: number, term: number): void {
    if (index < this.offset || !this.matches(index, term)) return;
    invariant(
      index < this.offsetInProgress,
      () =>
        `entry ${index} is reported as written but only those before ${this.offsetInProgress} were handed out`,
    );
    this.offset = index + 1;
    this.evict();
  }

  /** The snapshot at `index` is installed: it is what is applied, whatever was being applied before it. */
  snapshotInstalled(index: number): void {
    if (this.snapshot?.index === index) {
      this.snapshot = undefined;
      this.snapshotInProgress = false;
    }
    // Else a newer one came in its place; what the older one held is applied all the same.
    if (index > this.applied) this.skipTo(index);
  }

  /** Starts over behind a snapshot that a leader sent. */
  restore(snapshot: Snapshot): void {
    invariant(
      snapshot.index > this.committed,
      () => `a snapshot at ${snapshot.index} would take back what is committed through ${this.committed}`,
    );
    this.truncatedIndex = snapshot.index;
    this.truncatedTerm = snapshot.term;
    this.lastIndex = snapshot.index;
    this.committed = snapshot.index;
    this.offset = snapshot.index + 1;
    this.offsetInProgress = this.offset;
    this.snapshot = snapshot;
    this.snapshotInProgress = false;
    this.terms.clear();
    this.cache.clear(this.offset);
    this.fetched = NO_ENTRIES;
    this.confChanges.restart(snapshot.index);
  }

  /** The host removed everything through `index` from disk. */
  compact(index: number): void {
    if (index <= this.truncatedIndex) return;
    invariant(
      index <= this.applied,
      () => `compaction through ${index} is beyond what is applied (${this.applied})`,
    );
    invariant(
      index < this.offsetInProgress,
      () => `compaction through ${index} is beyond what was handed out for writing`,
    );
    // Written and removed again, although a change of term made the acknowledgement of the write void.
    if (this.offset <= index) this.offset = index + 1;
    this.truncatedTerm = this.term(index);
    this.truncatedIndex = index;
    this.terms.compact(index);
    this.cache.evict(index + 1, -1);
    if (this.lastIndex === index) this.terms.clear();
  }

  /** Drops the oldest bodies that are on disk until at most `maxBytes` are held. */
  evict(maxBytes = this.maxCachedBytes): void {
    this.cache.evict(this.offset, maxBytes);
  }

  // Applying

  /** Entries to apply now, within the limit on what is outstanding; with `allowUnstable` also unwritten ones. */
  nextCommittedEntries(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommittedEntries(allowUnstable)) return NO_ENTRIES;
    const low = this.applying + 1;
    const high = this.maxAppliable(allowUnstable) + 1;
    const room = this.maxApplyingSize - this.applyingSize;
    if (this.holds(low)) return this.cache.slice(low, high, room);
    const ready = Math.min(this.fetched.length, high - low, countWithin(this.fetched, room));
    return ready === this.fetched.length ? this.fetched : this.fetched.slice(0, ready);
  }

  hasNextCommittedEntries(allowUnstable: boolean): boolean {
    const low = this.applying + 1;
    return this.mayApply(allowUnstable) && (this.holds(low) || this.fetched[0]?.index === low);
  }

  /** The range that should be applied next but must first be read from disk. */
  wantedForApplying(allowUnstable: boolean): { low: number; high: number; maxBytes: number } | undefined {
    if (!this.mayApply(allowUnstable) || this.hasNextCommittedEntries(allowUnstable)) return undefined;
    const high = Math.min(this.maxAppliable(allowUnstable) + 1, this.cache.start);
    return { low: this.applying + 1, high, maxBytes: this.maxApplyingSize - this.applyingSize };
  }

  /** Entries read back for applying. Late and foreign ones are dropped. */
  fetchedForApplying(entries: readonly Entry[]): void {
    if (entries[0]?.index === this.applying + 1) this.fetched = entries;
  }

  private mayApply(allowUnstable: boolean): boolean {
    // A snapshot is applied first: entries behind it have no state to go to.
    return (
      !this.applyingPaused && this.snapshot === undefined && this.applying < this.maxAppliable(allowUnstable)
    );
  }

  private maxAppliable(allowUnstable: boolean): number {
    return allowUnstable ? this.committed : Math.min(this.committed, this.offset - 1);
  }

  acceptApplying(entries: readonly Entry[], allowUnstable: boolean): void {
    const last = entries[entries.length - 1];
    if (last === undefined) return;
    invariant(
      last.index <= this.committed,
      () => `applying ${last.index} beyond committed ${this.committed}`,
    );
    this.applying = last.index;
    this.fetched = this.fetched.length > entries.length ? this.fetched.slice(entries.length) : NO_ENTRIES;
    this.applyingSize += entriesSize(entries);
    // Stopping short of what is committed means that the next entry would cross the limit, or must be read first.
    this.applyingPaused =
      this.applyingSize >= this.maxApplyingSize || last.index < this.maxAppliable(allowUnstable);
  }

  /** The entries through `index`, `size` in all, which were handed out for it, are applied. */
  appliedTo(index: number, size: number): void {
    invariant(
      index <= this.applying,
      () => `entry ${index} is reported as applied but only those through ${this.applying} were handed out`,
    );
    invariant(
      size <= this.applyingSize,
      () => `${size} bytes are reported as applied but only ${this.applyingSize} were handed out`,
    );
    this.applyingSize -= size;
    this.applyingPaused = this.applyingSize >= this.maxApplyingSize;
    // A snapshot may have overtaken what was being applied: then that tells nothing new but makes room.
    if (index <= this.applied) return;
    this.applied = index;
    this.confChanges.applied(index);
  }

  /** What was applied before this run, or came with a snapshot, was never handed out. */
  skipTo(index: number): void {
    invariant(
      this.applied <= index && index <= this.committed,
      () => `applied index ${index} is outside [${this.applied}, ${this.committed}]`,
    );
    this.applied = index;
    if (this.applying < index) this.applying = index;
    this.confChanges.applied(index);
  }

  /** Whether a membership change may be committed and not yet applied: no campaign before it is. */
  get hasUnappliedConfChange(): boolean {
    return this.confChanges.mayHold(this.applied, this.committed);
  }
}

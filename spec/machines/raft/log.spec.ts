import { expect } from 'chai';
import fc from 'fast-check';
import { type Entry, EntryType, RaftInvariantError } from '../../../machines/index.js';
import { EntryCache, entrySize } from '../../../machines/raft/entry-cache.js';
import { RaftLog } from '../../../machines/raft/log.js';
import { TermIndex, UNKNOWN_TERM } from '../../../machines/raft/term-index.js';
import { MemoryStorage } from './memory-storage.js';
import { entriesOf, voters } from './network.js';

const NO_LIMITS = {
  maxCachedBytes: Number.POSITIVE_INFINITY,
  maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
};

function logOf(terms: readonly number[], before = { index: 0, term: 0 }, limits = NO_LIMITS): RaftLog {
  const storage = new MemoryStorage({ ...before, confState: voters(), data: new Uint8Array(0) });
  storage.append(entriesOf(before.index + 1, ...terms));
  return new RaftLog(storage.initialState(), limits);
}

function termsOf(log: RaftLog): number[] {
  return Array.from({ length: log.lastIndex - log.truncatedIndex }, (_, i) => log.term(log.firstIndex + i));
}

const ascending = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 30 }).map((rises) => {
  let term = 1;
  return rises.map((rise) => {
    term += rise;
    return term;
  });
});

describe('the term index', () => {
  it('answers as the whole list of terms would', () => {
    fc.assert(
      fc.property(ascending, fc.nat(40), fc.nat(40), fc.nat(60), (terms, cut, compacted, term) => {
        const index = new TermIndex([]);
        for (const [i, each] of terms.entries()) index.extend(i + 1, each);
        const kept = Math.min(cut, terms.length);
        index.truncateFrom(kept + 1);
        const gone = Math.min(compacted, kept);
        index.compact(gone);
        if (gone === kept) index.clear();
        for (let i = gone + 1; i <= kept; i++) expect(index.at(i), `term at ${i}`).to.equal(terms[i - 1]);
        const fits = terms.slice(gone, kept).filter((each) => each <= term).length;
        if (kept > gone) expect(index.lastAtMost(kept, term)).to.equal(gone + fits);
        expect(index.size).to.equal(new Set(terms.slice(gone, kept)).size);
      }),
      { seed: 1, numRuns: 1_000 },
    );
  });
});

describe('the entry cache', () => {
  it('holds a run that ends at the end, within its bytes, and gives out what was put in', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), size: fc.nat(50) }),
      fc.record({ kind: fc.constant('truncate' as const), back: fc.nat(6) }),
      fc.record({ kind: fc.constant('evict' as const), keep: fc.nat(200) }),
      fc.record({ kind: fc.constant('slice' as const), back: fc.nat(6), limit: fc.nat(200) }),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 400 }), (operations) => {
        const cache = new EntryCache(1);
        const model: Entry[] = [];
        for (const step of operations) {
          if (step.kind === 'push') {
            const entry = {
              term: 1,
              index: model.length + 1,
              type: EntryType.normal,
              data: new Uint8Array(step.size),
            };
            model.push(entry);
            cache.push(entry);
          } else if (step.kind === 'truncate') {
            model.length = Math.max(0, model.length - step.back);
            cache.truncateFrom(model.length + 1);
          } else if (step.kind === 'evict') {
            cache.evict(model.length + 1, step.keep);
            expect(cache.bytes).to.be.at.most(step.keep);
          } else {
            const low = Math.max(cache.start, model.length + 1 - step.back);
            const found = cache.slice(low, model.length + 1, step.limit);
            expect(found).to.deep.equal(model.slice(low - 1, low - 1 + found.length));
            if (low <= model.length) expect(found).to.not.be.empty;
          }
          const held = model.slice(cache.start - 1);
          expect(cache.bytes).to.equal(held.reduce((sum, entry) => sum + entrySize(entry), 0));
        }
      }),
      { seed: 2 },
    );
  });

  it('shares one array between everyone who asks for the same range', () => {
    const cache = new EntryCache(1);
    for (const entry of entriesOf(1, 1, 1, 1)) cache.push(entry);
    const first = cache.slice(1, 4, Number.POSITIVE_INFINITY);
    expect(cache.slice(1, 4, 1_000_000)).to.equal(first);
    cache.truncateFrom(3);
    for (const entry of entriesOf(3, 2)) cache.push(entry);
    expect(cache.slice(1, 4, Number.POSITIVE_INFINITY).map(({ term }) => term)).to.deep.equal([1, 1, 2]);
    expect(first.map(({ term }) => term)).to.deep.equal([1, 1, 1]);
  });
});

describe('the log', () => {
  it('takes what a leader sends as a list of terms would (Raft 5.3)', () => {
    fc.assert(
      fc.property(ascending, ascending, fc.nat(30), fc.nat(30), (mine, theirs, at, count) => {
        const log = logOf(mine);
        const previous = Math.min(at, theirs.length);
        const sent = theirs.slice(previous, previous + count);
        const last = log.maybeAppend(
          previous,
          theirs[previous - 1] ?? 0,
          0,
          entriesOf(previous + 1, ...sent),
        );
        const matches = previous === 0 || mine[previous - 1] === theirs[previous - 1];
        expect(last >= 0).to.equal(matches && previous <= mine.length);
        if (last < 0) {
          expect(termsOf(log)).to.deep.equal(mine);
          return;
        }
        const agrees = sent.every((term, i) => mine[previous + i] === term);
        const expected = agrees ? mine : [...mine.slice(0, previous), ...sent];
        expect(termsOf(log)).to.deep.equal(
          agrees && mine.length < previous + sent.length ? [...mine, ...sent] : expected,
        );
      }),
      { seed: 3, numRuns: 1_000 },
    );
  });

  it('finds where two logs can still match as a search entry by entry would', () => {
    fc.assert(
      fc.property(ascending, fc.nat(8), fc.nat(45), fc.nat(60), (terms, before, index, term) => {
        const log = logOf(
          terms.map((each) => each + 3),
          { index: before, term: before === 0 ? 0 : 3 },
        );
        let expected = index;
        while (expected > 0 && log.term(expected) !== UNKNOWN_TERM && log.term(expected) > term) expected--;
        const found = log.findConflictByTerm(index, term);
        expect(found.index).to.equal(expected);
        expect(found.term).to.equal(Math.max(0, log.term(expected)));
      }),
      { seed: 4, numRuns: 1_000 },
    );
  });

  it('refuses to change what is committed', () => {
    const log = logOf([1, 1, 1]);
    log.commitTo(2);
    expect(() => log.maybeAppend(1, 1, 2, entriesOf(2, 2))).to.throw(RaftInvariantError, 'committed index 2');
    expect(() => log.append(entriesOf(2, 2))).to.throw(RaftInvariantError);
    expect(termsOf(log)).to.deep.equal([1, 1, 1]);
  });

  it('refuses a commit index beyond its end, and never goes back', () => {
    const log = logOf([1, 1]);
    expect(() => log.commitTo(3)).to.throw(RaftInvariantError, 'damaged, cut or lost');
    log.commitTo(2);
    log.commitTo(1);
    expect(log.committed).to.equal(2);
  });

  it('refuses a gap, an applied index out of order, and a compaction beyond what is applied', () => {
    const log = logOf([1, 1, 1]);
    expect(() => log.append(entriesOf(5, 1))).to.throw(RaftInvariantError, 'gap');
    expect(() => log.appliedTo(1, 0)).to.throw(RaftInvariantError, 'were handed out');
    expect(() => log.skipTo(1)).to.throw(RaftInvariantError, 'outside [0, 0]');
    log.commitTo(3);
    log.skipTo(2);
    expect(() => log.skipTo(1)).to.throw(RaftInvariantError, 'outside [2, 3]');
    expect(() => log.compact(3)).to.throw(RaftInvariantError, 'beyond what is applied');
    log.compact(2);
    expect([log.term(1), log.term(2), log.term(3), log.term(4)]).to.deep.equal([
      UNKNOWN_TERM,
      1,
      1,
      UNKNOWN_TERM,
    ]);
  });

  it('refuses to start from boundaries or entries that do not fit', () => {
    const start = { hardState: { term: 1, vote: 0, commit: 0 }, confState: voters(1), applied: 0 };
    const before = { index: 0, term: 0 };
    const make = (lastIndex: number, terms: { term: number; index: number }[], entries: Entry[]) => () =>
      new RaftLog({ ...start, truncated: before, lastIndex, terms, entries }, NO_LIMITS);
    expect(make(3, [{ term: 1, index: 2 }], [])).to.throw(RaftInvariantError, 'do not cover');
    expect(make(2, [{ term: 1, index: 1 }], entriesOf(1, 1))).to.throw(RaftInvariantError, 'belongs');
    expect(make(2, [{ term: 1, index: 1 }], entriesOf(1, 1, 2))).to.throw(RaftInvariantError, 'belongs');
    expect(make(1, [{ term: 1, index: 1 }], entriesOf(0, 1, 1))).to.throw(RaftInvariantError);
    expect(make(2, [{ term: 1, index: 1 }], entriesOf(2, 1))).to.not.throw();
  });

  it('keeps bodies that are not on disk whatever its limit, and lets them go when they are', () => {
    const log = logOf([], undefined, { ...NO_LIMITS, maxCachedBytes: 0 });
    log.append(entriesOf(1, 1, 1, 1));
    expect(log.holds(1)).to.equal(true);
    log.acceptUnstable();
    log.stableTo(2, 1);
    expect([log.holds(2), log.holds(3)]).to.deep.equal([false, true]);
    expect(termsOf(log)).to.deep.equal([1, 1, 1]);
  });

  it('does not take a write for done whose entries were replaced meanwhile', () => {
    const log = logOf([1]);
    log.append(entriesOf(2, 1, 1));
    log.acceptUnstable();
    log.append(entriesOf(3, 2));
    expect([log.offset, log.offsetInProgress]).to.deep.equal([2, 3]);
    log.stableTo(3, 1);
    expect(log.offset).to.equal(2);
    log.stableTo(2, 1);
    expect([log.offset, log.nextUnstableEntries().length]).to.deep.equal([3, 1]);
  });

  it('starts over behind a snapshot and forgets every entry in memory', () => {
    const log = logOf([1, 1, 1]);
    log.append(entriesOf(4, 1));
    log.restore({ index: 10, term: 3, confState: voters(1), data: new Uint8Array(0) });
    expect([log.lastIndex, log.lastTerm, log.committed, log.firstIndex]).to.deep.equal([10, 3, 10, 11]);
    expect([log.hasUnstableEntries, log.hasNextUnstableEntries, log.cachedBytes]).to.deep.equal([
      false,
      false,
      0,
    ]);
    log.append(entriesOf(11, 3));
    expect(log.hasNextCommittedEntries(true), 'before the snapshot is applied').to.equal(false);
    log.acceptUnstable();
    log.snapshotInstalled(10);
    expect(log.term(11)).to.equal(3);
  });

  it('hands out committed entries within a limit, and more only as they are applied', () => {
    const entries = entriesOf(1, 1, 1, 1, 1);
    const size = entrySize(entries[0] as Entry);
    const log = logOf([1, 1, 1, 1], undefined, { ...NO_LIMITS, maxCommittedSizePerReady: 2 * size });
    log.commitTo(4);
    const first = log.nextCommittedEntries(true);
    expect(first.map(({ index }) => index)).to.deep.equal([1, 2]);
    log.acceptApplying(first, true);
    expect(log.hasNextCommittedEntries(true)).to.equal(false);
    log.appliedTo(2, 2 * size);
    expect(log.nextCommittedEntries(true).map(({ index }) => index)).to.deep.equal([3, 4]);
  });

  it('hands out for applying only what is on this disk when writes are asynchronous', () => {
    const log = logOf([1]);
    log.append(entriesOf(2, 1));
    log.commitTo(2);
    expect(log.nextCommittedEntries(false).map(({ index }) => index)).to.deep.equal([1]);
    expect(log.nextCommittedEntries(true).map(({ index }) => index)).to.deep.equal([1, 2]);
  });

  it('knows of membership changes behind what is applied, and suspects what it has not seen', () => {
    const log = logOf([1, 1]);
    log.append([{ term: 1, index: 3, type: EntryType.confChangeV2, data: new Uint8Array(0) }]);
    log.commitTo(2);
    expect(log.hasUnappliedConfChange).to.equal(false);
    log.commitTo(3);
    expect(log.hasUnappliedConfChange).to.equal(true);
    log.skipTo(3);
    expect(log.hasUnappliedConfChange).to.equal(false);
    const storage = new MemoryStorage();
    storage.append(entriesOf(1, 1, 1));
    const unseen = new RaftLog({ ...storage.initialState(), entries: [] }, NO_LIMITS);
    unseen.commitTo(1);
    expect(unseen.hasUnappliedConfChange).to.equal(true);
    unseen.skipTo(1);
    expect(unseen.hasUnappliedConfChange).to.equal(false);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { type Entry, EntryType, entriesSize, RaftInvariantError } from '../../../machines/index.js';
import { Inflights } from '../../../machines/raft/inflights.js';
import { RaftLog } from '../../../machines/raft/log.js';
import { Progress } from '../../../machines/raft/progress.js';
import { entriesOf, voters } from './network.js';

const NO_CHANGES = { confState: voters(), data: new Uint8Array(0) };

/** What a log must be like, in as many words as its fields promise. */
function expectSound(log: RaftLog): void {
  const { truncatedIndex, lastIndex, committed, applying, applied, offset, offsetInProgress } = log;
  const terms = Array.from({ length: lastIndex - truncatedIndex + 1 }, (_, i) =>
    log.term(truncatedIndex + i),
  );
  const promises = {
    'applied <= applying <= committed <= lastIndex':
      applied <= applying && applying <= committed && committed <= lastIndex,
    'truncatedIndex is at most applied, or where the snapshot stands':
      log.snapshot === undefined ? truncatedIndex <= applied : truncatedIndex === log.snapshot.index,
    'truncatedIndex < offset <= offsetInProgress <= lastIndex + 1':
      truncatedIndex < offset && offset <= offsetInProgress && offsetInProgress <= lastIndex + 1,
    'terms ascend': terms.every((term, i) => term >= (terms[i - 1] ?? 0)),
    'the last term is that of the last entry': log.lastTerm === terms.at(-1),
    'nothing is known outside': log.term(truncatedIndex - 1) === -1 && log.term(lastIndex + 1) === -1,
    'what is not written is in memory': log
      .slice(offset, lastIndex + 1, Number.POSITIVE_INFINITY)
      .every(({ index, term }, i) => index === offset + i && term === log.term(index)),
  };
  for (const [promise, kept] of Object.entries(promises)) if (!kept) expect.fail(promise);
}

/** Each operation, near the edge of what is allowed, and whether the log must take it. */
interface Operation {
  readonly name: string;
  /** Off the edge by so much: above 0 it must be refused where the operation has an upper edge. */
  readonly by: number;
  readonly count: number;
  readonly rise: number;
}

const operation = fc.record<Operation>({
  name: fc.constantFrom(
    'append',
    'replace',
    'commit',
    'write',
    'written',
    'apply',
    'applied',
    'compact',
    'restore',
  ),
  by: fc.constantFrom(-3, -2, -1, 0, 0, 0, 0, 1),
  count: fc.integer({ min: 1, max: 4 }),
  rise: fc.constantFrom(-1, 0, 0, 0, 1),
});

/** Carries the operation out. Returns whether it had to be refused. */
function carryOut(log: RaftLog, { name, by, count, rise }: Operation, applying: Entry[][]): boolean {
  const attempt = (legal: boolean, act: () => void): boolean => {
    if (legal) act();
    else expect(act, name).to.throw(RaftInvariantError);
    return !legal;
  };
  switch (name) {
    case 'append': {
      const first = log.lastIndex + 1 + Math.max(0, by);
      const term = Math.max(0, log.lastTerm + rise);
      return attempt(by <= 0 && term >= log.lastTerm, () =>
        log.append(entriesOf(first, ...Array.from({ length: count }, () => term))),
      );
    }
    case 'replace': {
      const first = log.committed + 1 + Math.min(0, by);
      const term = Math.max(1, log.lastTerm + 1);
      return attempt(by >= 0, () => log.append(entriesOf(first, term)));
    }
    case 'commit':
      return attempt(by <= 0, () => log.commitTo(log.lastIndex + by));
    case 'write':
      log.acceptUnstable();
      return false;
    case 'written': {
      const index = log.offsetInProgress - 1 + by;
      const known = index >= log.offset && index <= log.lastIndex;
      return attempt(!known || by <= 0, () => log.stableTo(index, known ? log.term(index) : 0));
    }
    case 'apply': {
      const entries = log.nextCommittedEntries(true);
      if (entries.length > 0) applying.push([...entries]);
      log.acceptApplying(entries, true);
      return false;
    }
    case 'applied': {
      const entries = applying[0] ?? [];
      const index = entries.at(-1)?.index ?? log.applied;
      const legal = by <= 0 || index + by <= log.applying;
      if (legal) applying.shift();
      return attempt(legal, () => log.appliedTo(by > 0 ? index + by : index, entriesSize(entries)));
    }
    case 'compact': {
      const index = log.applied + by;
      const legal = index <= log.truncatedIndex || (by <= 0 && index < log.offsetInProgress);
      return attempt(legal, () => log.compact(index));
    }
    default: {
      const index = log.committed + by;
      return attempt(by > 0, () => log.restore({ index, term: log.lastTerm + 1, ...NO_CHANGES }));
    }
  }
}

/** Walks through the operations. Returns how many had to be refused. */
function walk(operations: readonly Operation[], maxCachedBytes: number): number {
  const log = new RaftLog(
    {
      hardState: { term: 2, vote: 0, commit: 3 },
      confState: voters(),
      truncated: { index: 3, term: 2 },
      lastIndex: 3,
      terms: [],
      entries: [],
      applied: 3,
    },
    { maxCachedBytes, maxCommittedSizePerReady: Number.POSITIVE_INFINITY },
  );
  const applying: Entry[][] = [];
  let refusals = 0;
  for (const step of operations) {
    if (log.snapshot !== undefined) log.snapshotInstalled(log.snapshot.index);
    const { committed, applied } = log;
    const refused = carryOut(log, step, applying);
    expectSound(log);
    if (log.committed < committed || log.applied < applied) expect.fail('committed or applied fell');
    if (!refused) continue;
    refusals++;
    if (log.committed !== committed || log.applied !== applied) expect.fail('what was refused left its mark');
  }
  return refusals;
}

describe('invariants of the log', () => {
  it('field note 25: hold after whatever happens, and what would break them is refused, not mended', () => {
    let refusals = 0;
    const operations = fc.array(operation, { minLength: 20, maxLength: 60 });
    fc.assert(
      fc.property(operations, fc.nat(100), (steps, maxCachedBytes) => {
        refusals += walk(steps, maxCachedBytes);
      }),
      { seed: 1, numRuns: 300 },
    );
    expect(refusals, 'the edges were reached').to.be.greaterThan(1_000);
  });

  const log = (): RaftLog => {
    const initial = {
      hardState: { term: 2, vote: 0, commit: 2 },
      confState: voters(1),
      truncated: { index: 1, term: 1 },
      lastIndex: 4,
      terms: [{ term: 2, index: 2 }],
      entries: entriesOf(2, 2, 2, 2),
      applied: 1,
    };
    const made = new RaftLog(initial, {
      maxCachedBytes: Number.POSITIVE_INFINITY,
      maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
    });
    made.commitTo(3);
    return made;
  };
  const snapshotAt = (index: number) => ({ index, term: 3, ...NO_CHANGES });
  const violations: Record<string, { readonly act: (log: RaftLog) => void; readonly says: string }> = {
    'a commit beyond its end': { act: (it) => it.commitTo(5), says: 'damaged, cut or lost' },
    'an entry in the place of a committed one': {
      act: (it) => it.append(entriesOf(3, 3)),
      says: 'conflicts',
    },
    'a hole before an entry': { act: (it) => it.append(entriesOf(6, 2)), says: 'gap' },
    'a hole between entries': {
      act: (it) => it.append([...entriesOf(5, 2), ...entriesOf(7, 2)]),
      says: 'entry 7 where 6 belongs',
    },
    'a term that goes back': { act: (it) => it.append(entriesOf(5, 1)), says: 'goes back from term 2 to 1' },
    'a write reported that was not asked for': {
      act: (it) => {
        it.append(entriesOf(5, 2));
        it.stableTo(5, 2);
      },
      says: 'only those before 5 were handed out',
    },
    'an application reported that was not asked for': { act: (it) => it.appliedTo(3, 0), says: 'through 1' },
    'more applied than was handed out': {
      act: (it) => {
        it.acceptApplying(it.nextCommittedEntries(true), true);
        it.appliedTo(3, 1_000);
      },
      says: '1000 bytes are reported',
    },
    'more handed out than is committed': {
      act: (it) => it.acceptApplying(entriesOf(4, 2), true),
      says: 'beyond committed 3',
    },
    'a compaction beyond what is applied': { act: (it) => it.compact(2), says: 'beyond what is applied' },
    'a snapshot that takes back what is committed': {
      act: (it) => it.restore(snapshotAt(3)),
      says: 'would take back',
    },
    'bodies asked of memory that are not there': {
      act: (it) => it.slice(4, 6, 1_000),
      says: 'which holds [2, 5)',
    },
  };
  for (const [what, { act, says }] of Object.entries(violations)) {
    it(`field note 25: ${what} stops the peer`, () => {
      expect(() => act(log())).to.throw(RaftInvariantError, says);
    });
  }

  it('field note 25: a peer does not start from a log whose boundaries contradict each other', () => {
    const initial = {
      hardState: { term: 5, vote: 0, commit: 1 },
      confState: voters(1),
      truncated: { index: 1, term: 3 },
      lastIndex: 9,
      entries: [],
      applied: 1,
    };
    const limits = { maxCachedBytes: 0, maxCommittedSizePerReady: 1 };
    for (const [boundaries, says] of [
      [[{ index: 3, term: 3 }], 'do not cover'],
      [[{ index: 2, term: 2 }], 'do not cover'],
      [[], 'do not cover'],
      [
        [
          { index: 2, term: 3 },
          { index: 10, term: 4 },
        ],
        'do not cover',
      ],
      [
        [
          { index: 2, term: 4 },
          { index: 5, term: 3 },
        ],
        'cannot follow',
      ],
      [
        [
          { index: 2, term: 3 },
          { index: 2, term: 4 },
        ],
        'cannot follow',
      ],
    ] as const) {
      expect(() => new RaftLog({ ...initial, terms: boundaries }, limits)).to.throw(RaftInvariantError, says);
    }
  });

  it('field note 25: a late report of what a snapshot has overtaken makes room and moves nothing', () => {
    const late = log();
    const handedOut = late.nextCommittedEntries(true);
    late.acceptApplying(handedOut, true);
    late.restore(snapshotAt(9));
    late.snapshotInstalled(9);
    late.appliedTo(3, entriesSize(handedOut));
    expect([late.applied, late.applying, late.committed]).to.deep.equal([9, 9, 9]);
    late.append([{ term: 3, index: 10, type: EntryType.normal, data: new Uint8Array(1) }]);
    late.commitTo(10);
    expect(late.nextCommittedEntries(true)).to.have.length(1);
  });
});

describe('invariants of a member’s progress', () => {
  const member = (): Progress => new Progress(5, 6, new Inflights(10, 0));
  const violations: Record<string, { readonly act: (progress: Progress) => void; readonly says: string }> = {
    'entries for a member that waits for a snapshot': {
      act: (progress) => {
        progress.becomeSnapshot(9);
        progress.sentEntries(1, 1);
      },
      says: 'waits for a snapshot',
    },
    'a snapshot that the member has no need of': {
      act: (it) => it.becomeSnapshot(5),
      says: 'matches through 5',
    },
    'the failure of a snapshot that was not sent': { act: (it) => it.snapshotFailed(), says: 'not sent' },
    'an append beyond a full window': {
      act: (progress) => {
        progress.becomeReplicate();
        for (let i = 0; i < 11; i++) progress.sentEntries(1, 1);
      },
      says: 'beyond a full window',
    },
  };
  for (const [what, { act, says }] of Object.entries(violations)) {
    it(`field note 25: ${what} stops the leader`, () => {
      expect(() => act(member())).to.throw(RaftInvariantError, says);
    });
  }

  it('field note 25: hold through any walk', () => {
    const step = fc.record({
      kind: fc.constantFrom('update', 'decrease', 'probe', 'replicate', 'snapshot', 'failed', 'send'),
      at: fc.nat(30),
      hint: fc.nat(30),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
        const progress = member();
        for (const { kind, at, hint } of steps) {
          const { match } = progress;
          if (kind === 'update' && progress.maybeUpdate(at)) progress.inflights.freeThrough(at);
          if (kind === 'decrease') progress.maybeDecrease(at, hint);
          if (kind === 'probe') progress.becomeProbe();
          if (kind === 'replicate') progress.becomeReplicate();
          if (kind === 'snapshot') progress.becomeSnapshot(progress.match + 1 + at);
          if (kind === 'failed' && progress.state === 'snapshot') progress.snapshotFailed();
          if (kind === 'send' && !progress.paused) progress.sentEntries(at % 3, hint);
          if (progress.match < match) expect.fail('match fell');
          if (progress.next <= progress.match) expect.fail('next is not behind match');
          if ((progress.state === 'snapshot') !== progress.pendingSnapshot > 0)
            expect.fail('pendingSnapshot');
          if (progress.state !== 'replicate' && progress.inflights.count > 0) expect.fail('inflights');
        }
      }),
      { seed: 2, numRuns: 300 },
    );
  });
});

import { expect } from 'chai';
import { compactionPoint, DEFAULT_LOG_GC } from '../../cluster/raft/log-gc.js';
import type { ProgressStatus, Status } from '../../machines/index.js';

const LIMITS = { ...DEFAULT_LOG_GC, threshold: 10, countLimit: 100, bytesLimit: 1_000 };

function member(match: number, rest: Partial<ProgressStatus> = {}): ProgressStatus {
  return {
    match,
    next: match + 1,
    state: 'replicate',
    learner: false,
    paused: false,
    recentActive: true,
    live: true,
    pendingSnapshot: 0,
    knownCommit: 0,
    inflight: 0,
    inflightFull: false,
    ...rest,
  };
}

/** A leader whose log begins at 6 and is applied up to `applied`. */
function leader(applied: number, ...members: ProgressStatus[]): Status {
  const progress = new Map([[1, member(applied)], ...members.map((one, i) => [i + 2, one] as const)]);
  return {
    id: 1,
    role: 'leader',
    term: 6,
    vote: 1,
    lead: 1,
    commit: applied,
    applied,
    firstIndex: 6,
    lastIndex: applied + 3,
    lastTerm: 6,
    transferee: 0,
    configuration: { incoming: [1, 2, 3], outgoing: [], learners: [], learnersNext: [], autoLeave: false },
    progress,
  } as unknown as Status;
}

describe('Where a log is cut', () => {
  const cases: [string, Status, number, number | undefined][] = [
    ['few entries are left alone', leader(14, member(14), member(14)), 10, undefined],
    ['what everybody has goes once there is enough of it', leader(15, member(15), member(15)), 10, 15],
    ['a live follower keeps what it still needs', leader(50, member(20), member(50)), 10, 20],
    ['a live follower that needs all keeps all', leader(50, member(5), member(50)), 10, undefined],
    [
      'who is gone keeps nothing',
      leader(50, member(5, { recentActive: false, live: false }), member(50)),
      10,
      50,
    ],
    [
      'over the limit of entries half goes in spite of a live follower',
      leader(105, member(20), member(105)),
      10,
      56,
    ],
    ['over the limit of bytes too', leader(50, member(7), member(50)), 1_000, 28],
    ['over a limit, never less than what all have', leader(105, member(100), member(105)), 10, 100],
    [
      'who is getting a snapshot goes on behind it',
      leader(50, member(5, { state: 'snapshot', pendingSnapshot: 40 }), member(50)),
      10,
      40,
    ],
    ['nothing applied, nothing cut', leader(5, member(5), member(5)), 5_000, undefined],
    ['one entry over the limit of bytes', leader(6, member(6), member(6)), 5_000, 6],
  ];
  for (const [title, status, bytes, expected] of cases) {
    it(title, () => expect(compactionPoint(status, bytes, LIMITS)).to.equal(expected));
  }
});

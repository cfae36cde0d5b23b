import { expect } from 'chai';
import fc from 'fast-check';
import { createActor } from 'xstate';
import { type TransactionEvent, type TransactionHost, transactionMachine } from '../../machines/index.js';
import { ChartCoverage } from './chart-coverage.js';

type E = TransactionEvent;

const commit: E = { type: 'commit' };
const rollback: E = { type: 'rollback' };
const nothing: E = { type: 'prepared', way: 'nothing' };
const one: E = { type: 'prepared', way: 'onePhase' };
const async: E = { type: 'prepared', way: 'asyncCommit' };
const two: E = { type: 'prepared', way: 'twoPhase' };
const oneRefused: E = { type: 'onePhaseRefused', asyncCommit: false };
const oneRefusedToAsync: E = { type: 'onePhaseRefused', asyncCommit: true };
const asyncRefused: E = { type: 'asyncCommitRefused' };
const prewritten: E = { type: 'prewritten' };
const found: E = { type: 'foundCommitted' };
const taken: E = { type: 'timestampTaken' };
const expired: E = { type: 'commitTsExpired' };
const primary: E = { type: 'primaryCommitted' };
const refused: E = { type: 'refused' };
const failed: E = { type: 'failed' };
const lost: E = { type: 'lost' };
const gaveUp: E = { type: 'gaveUp' };
const secondaries: E = { type: 'secondariesCommitted' };
const removed: E = { type: 'locksRemoved' };
const beat: E = { type: 'heartbeatDue' };
const EVERY_EVENT: readonly E[] = [
  ...[commit, rollback, nothing, one, async, two, oneRefused, oneRefusedToAsync, asyncRefused, prewritten],
  ...[found, taken, expired, primary, refused, failed, lost, gaveUp, secondaries, removed, beat],
];

const coverage = new ChartCoverage(transactionMachine);

function hostOf(calls: string[]): TransactionHost {
  return {
    prepare: () => calls.push('prepare'),
    prewrite: (way) => calls.push(`prewrite ${way}`),
    takeCommitTimestamp: () => calls.push('timestamp'),
    commitPrimary: (inDoubt) => calls.push(inDoubt ? 'commit again' : 'commit'),
    commitSecondaries: () => calls.push('secondaries'),
    removeLocks: () => calls.push('remove'),
    armHeartbeat: () => calls.push('arm'),
    disarmHeartbeat: () => calls.push('disarm'),
    keepAlive: () => calls.push('alive'),
    ended: (outcome) => calls.push(outcome),
  };
}

function run(events: readonly E[]): { readonly state: string; readonly calls: string } {
  const calls: string[] = [];
  const { state } = coverage.run({ host: hostOf(calls), maxCommitTimestamps: 2 }, events);
  return { state, calls: calls.join(', ') };
}

const PREWRITTEN = 'prepare, prewrite twoPhase, arm, timestamp';
const SENT = `${PREWRITTEN}, commit`;
const COMMITTED = 'committed, secondaries';
const GONE = 'disarm, rolledBack, remove';

describe('the transaction machine', () => {
  const rows: readonly [what: string, events: readonly E[], state: string, calls: string][] = [
    ['is active from the start', [], 'active', ''],
    ['is rolled back by its caller without a message', [rollback], 'rolledBack', 'rolledBack'],
    ['finds out how to commit', [commit], 'underWay.preparing', 'prepare'],
    [
      'is committed when it writes nothing',
      [commit, nothing],
      'committed.finished',
      'prepare, disarm, committed',
    ],
    ['sends nothing when it cannot prepare', [commit, failed, removed], 'rolledBack', `prepare, ${GONE}`],
    [
      'locks, takes a timestamp, commits the primary, then the others',
      [commit, two, prewritten, taken, primary, secondaries],
      'committed.finished',
      `${SENT}, disarm, ${COMMITTED}`,
    ],
    [
      'is committed while its secondaries are not',
      [commit, two, prewritten, taken, primary],
      'committed.finishingSecondaries',
      `${SENT}, disarm, ${COMMITTED}`,
    ],
    [
      'removes its locks when a key is refused',
      [commit, two, refused],
      'rollingBack',
      `prepare, prewrite twoPhase, arm, ${GONE}`,
    ],
    [
      'removes its locks when the time is over before all are there',
      [commit, two, gaveUp, removed],
      'rolledBack',
      `prepare, prewrite twoPhase, arm, ${GONE}`,
    ],
    [
      'removes its locks when there is no timestamp',
      [commit, two, prewritten, failed],
      'rollingBack',
      `${PREWRITTEN}, ${GONE}`,
    ],
    [
      'removes its locks when the commit has not left',
      [commit, two, prewritten, taken, failed],
      'rollingBack',
      `${SENT}, ${GONE}`,
    ],
    [
      'removes its locks when the primary was rolled back by others',
      [commit, two, prewritten, taken, refused],
      'rollingBack',
      `${SENT}, ${GONE}`,
    ],
    [
      'takes another timestamp when readers have pushed it',
      [commit, two, prewritten, taken, expired, taken, primary],
      'committed.finishingSecondaries',
      `${SENT}, timestamp, commit, disarm, ${COMMITTED}`,
    ],
    [
      'takes so many timestamps and no more',
      [commit, two, prewritten, taken, expired, taken, expired],
      'rollingBack',
      `${SENT}, timestamp, commit, ${GONE}`,
    ],
    [
      'sends the commit of the primary again when no reply came',
      [commit, two, prewritten, taken, lost, lost, primary],
      'committed.finishingSecondaries',
      `${SENT}, commit again, commit again, disarm, ${COMMITTED}`,
    ],
    [
      'stays in doubt when a later try did not leave',
      [commit, two, prewritten, taken, lost, failed],
      'underWay.committingPrimary.inDoubt',
      `${SENT}, commit again, commit again`,
    ],
    [
      'is undetermined when no reply ever came',
      [commit, two, prewritten, taken, lost, gaveUp],
      'undetermined',
      `${SENT}, commit again, disarm, undetermined`,
    ],
    [
      'is rolled back when a reply says so after all',
      [commit, two, prewritten, taken, lost, refused],
      'rollingBack',
      `${SENT}, commit again, ${GONE}`,
    ],
    [
      'takes another timestamp when a reply says so after all',
      [commit, two, prewritten, taken, lost, expired],
      'underWay.takingCommitTimestamp',
      `${SENT}, commit again, timestamp`,
    ],
    [
      'is committed in one phase',
      [commit, one, found, secondaries],
      'committed.finished',
      `prepare, prewrite onePhase, arm, disarm, ${COMMITTED}`,
    ],
    [
      'is undetermined when nobody can say what became of its only message',
      [commit, one, gaveUp],
      'undetermined',
      'prepare, prewrite onePhase, arm, disarm, undetermined',
    ],
    [
      'goes on in two phases when one is refused',
      [commit, one, oneRefused, prewritten],
      'underWay.takingCommitTimestamp',
      'prepare, prewrite onePhase, arm, timestamp',
    ],
    [
      'goes on as an async commit when one phase is refused',
      [commit, one, oneRefusedToAsync, prewritten],
      'committed.finishingSecondaries',
      `prepare, prewrite onePhase, arm, disarm, ${COMMITTED}`,
    ],
    [
      'is committed with its last lock',
      [commit, async, prewritten],
      'committed.finishingSecondaries',
      `prepare, prewrite asyncCommit, arm, disarm, ${COMMITTED}`,
    ],
    [
      'is committed by whoever met its locks',
      [commit, async, found],
      'committed.finishingSecondaries',
      `prepare, prewrite asyncCommit, arm, disarm, ${COMMITTED}`,
    ],
    [
      'goes on in two phases when a store does not commit asynchronously',
      [commit, async, asyncRefused, prewritten],
      'underWay.takingCommitTimestamp',
      'prepare, prewrite asyncCommit, arm, timestamp',
    ],
    [
      'is undetermined when nobody can say whether all its locks are there',
      [commit, async, gaveUp],
      'undetermined',
      'prepare, prewrite asyncCommit, arm, disarm, undetermined',
    ],
    [
      'keeps its locks alive while they may stand',
      [commit, two, beat, prewritten, beat, taken, beat, lost, beat, primary, beat],
      'committed.finishingSecondaries',
      `prepare, prewrite twoPhase, arm, alive, timestamp, alive, commit, alive, commit again, alive, disarm, ${COMMITTED}`,
    ],
    [
      'does nothing after a commit that its caller repeats',
      [commit, commit],
      'underWay.preparing',
      'prepare',
    ],
  ];
  for (const [what, events, state, calls] of rows) {
    it(what, () => {
      expect(run(events)).to.deep.equal({ state, calls });
    });
  }

  it('ends once, and whatever comes later changes nothing about it', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...EVERY_EVENT), { maxLength: 30 }), (events) => {
        const calls: string[] = [];
        const host = hostOf(calls);
        const actor = createActor(transactionMachine, { input: { host, maxCommitTimestamps: 3 } }).start();
        for (const event of events) actor.send(event);
        const ends = calls.filter((call) => ['committed', 'rolledBack', 'undetermined'].includes(call));
        expect(ends.length).to.be.at.most(1);
        // What can commit it is sent before the end only, and locks are removed of what was rolled back.
        const after = ends[0] === undefined ? [] : calls.slice(calls.indexOf(ends[0]) + 1);
        const allowed = { committed: 'secondaries', rolledBack: 'remove', undetermined: '' }[ends[0] ?? ''];
        for (const call of after) expect(call).to.equal(allowed);
      }),
      { numRuns: 500, seed: 11 },
    );
  });

  it('goes nowhere from undetermined', () => {
    for (const way of [
      [commit, one, gaveUp],
      [commit, async, gaveUp],
      [commit, two, prewritten, taken, lost, gaveUp],
    ]) {
      const before = run(way);
      for (const event of EVERY_EVENT) expect(run([...way, event])).to.deep.equal(before);
      expect(run([...way, ...EVERY_EVENT])).to.deep.equal(before);
    }
  });

  it('has no state and no arrow that these did not reach', () => {
    expect({ states: coverage.unvisited(), arrows: coverage.missing() }).to.deep.equal({
      states: [],
      arrows: [],
    });
  });
});

import { expect } from 'chai';
import {
  MAX_REPEATED_ASKS,
  type SnapshotDesk,
  type SnapshotReceiverEvent,
  type SnapshotReceiverHost,
  snapshotReceiverMachine,
  snapshotsMachine,
} from '../../machines/index.js';
import { ChartCoverage } from './chart-coverage.js';

type E = SnapshotReceiverEvent;

const admitted = (next = 0): E => ({ type: 'admitted', next });
const chunk = (sequence: number): E => ({ type: 'chunkArrived', sequence });
const finished = (chunks: number): E => ({ type: 'finished', totals: { chunks, bytes: 7, checksum: 9 } });
const deadline = (number: number): E => ({ type: 'deadline', deadline: number });
const offered: E = { type: 'offered' };
const written: E = { type: 'chunkWritten' };
const verified: E = { type: 'verified' };
const stale: E = { type: 'turnedDown', reason: 'stale' };
const cancelled: E = { type: 'cancelled', reason: 'stale' };

const coverage = new ChartCoverage(snapshotReceiverMachine);

function run(events: readonly E[]): { state: string; calls: string[] } {
  const calls: string[] = [];
  const host: SnapshotReceiverHost = {
    admit: () => calls.push('admit'),
    accept: (next) => calls.push(`accept from ${next}`),
    write: (sequence) => calls.push(`write ${sequence}`),
    drop: (sequence) => calls.push(`drop ${sequence}`),
    giveCredit: (next) => calls.push(`credit, next is ${next}`),
    askAgain: (next, ask) => calls.push(`ask ${ask}: again from ${next}`),
    verify: ({ chunks }) => calls.push(`verify ${chunks}`),
    arm: (_deadline, wait) => calls.push(`wait for ${wait}`),
    ended: (outcome, reason) => calls.push(reason === '' ? outcome : `${outcome}: ${reason}`),
  };
  const { state } = coverage.run({ host }, events);
  return { state: state.replace('underWay.', ''), calls };
}

describe('the snapshot receiver machine', () => {
  const OPEN = ['admit', 'accept from 0', 'wait for sender'];
  const ASKED = [...OPEN, 'drop 1', 'ask 1: again from 0', 'wait for repeat'];
  const rows: readonly [string, readonly E[], string, (readonly string[])?][] = [
    ['judges first', [], 'judging', ['admit']],
    ['drops chunks that come before it has decided', [chunk(0)], 'judging', ['admit', 'drop 0']],
    ['takes offers as they come meanwhile', [offered], 'judging', ['admit']],
    ['says no', [stale], 'refused', ['admit', 'refused: stale']],
    ['finds it here already', [verified], 'delivered', ['admit', 'delivered']],
    ['accepts', [admitted()], 'receiving.inOrder', OPEN],
    [
      'goes on with what is here',
      [admitted(4)],
      'receiving.inOrder',
      ['admit', 'accept from 4', 'wait for sender'],
    ],
    [
      'writes what comes in order',
      [admitted(), chunk(0), chunk(1), written],
      'receiving.inOrder',
      [...OPEN, 'write 0', 'wait for sender', 'write 1', 'wait for sender', 'credit, next is 2'],
    ],
    [
      'drops what it has',
      [admitted(), chunk(0), chunk(0)],
      'receiving.inOrder',
      [...OPEN, 'write 0', 'wait for sender', 'drop 0'],
    ],
    ['asks for what is missing', [admitted(), chunk(1)], 'receiving.missing', ASKED],
    ['asks once for a gap', [admitted(), chunk(1), chunk(2)], 'receiving.missing', [...ASKED, 'drop 2']],
    [
      'is back in order with the missing chunk',
      [admitted(), chunk(1), chunk(0), chunk(2)],
      'receiving.missing',
      [...ASKED, 'write 0', 'wait for sender', 'drop 2', 'ask 2: again from 1', 'wait for repeat'],
    ],
    [
      'tells a sender that has lost sight where to go on',
      [admitted(), chunk(1), offered],
      'receiving.inOrder',
      [...ASKED, 'accept from 0', 'wait for sender'],
    ],
    [
      'verifies when all is here',
      [admitted(), chunk(0), finished(1)],
      'verifying',
      [...OPEN, 'write 0', 'wait for sender', 'verify 1'],
    ],
    [
      'waits a moment for the last chunks',
      [admitted(), finished(1)],
      'receiving.ending',
      [...OPEN, 'wait for tail'],
    ],
    [
      'verifies when they have come',
      [admitted(), finished(2), chunk(0), chunk(0), chunk(1)],
      'verifying',
      [...OPEN, 'wait for tail', 'write 0', 'drop 0', 'write 1', 'verify 2'],
    ],
    [
      'asks for the last chunks when they are missing',
      [admitted(), finished(1), deadline(1), deadline(2)],
      'receiving.missing',
      [...OPEN, 'wait for tail', 'ask 1: again from 0', 'wait for repeat'],
    ],
    [
      'asks again when its request may be lost',
      [admitted(), chunk(1), deadline(1), deadline(2), chunk(0)],
      'receiving.inOrder',
      [...ASKED, 'ask 2: again from 0', 'wait for repeat', 'write 0', 'wait for sender'],
    ],
    [
      'is interrupted when it has asked often enough',
      [admitted(), chunk(1), ...Array.from({ length: MAX_REPEATED_ASKS }, (_, i) => deadline(i + 2))],
      'interrupted',
    ],
    ['asks for one among them', [admitted(), finished(2), chunk(1)], 'receiving.missing'],
    ['refuses fewer chunks than it has', [admitted(2), finished(1)], 'refused'],
    ['is interrupted by silence', [admitted(), deadline(1)], 'interrupted', [...OPEN, 'wait for return']],
    ['minds only the deadline that it set last', [admitted(), chunk(0), deadline(1)], 'receiving.inOrder'],
    ['and so when interrupted', [admitted(), deadline(1), deadline(1)], 'interrupted'],
    ['goes on with the next chunk', [admitted(), deadline(1), written, chunk(0)], 'receiving.inOrder'],
    ['drops any other, and waits on', [admitted(), deadline(1), chunk(3)], 'interrupted'],
    [
      'goes on with the next offer',
      [admitted(2), deadline(1), offered],
      'receiving.inOrder',
      ['admit', 'accept from 2', 'wait for sender', 'wait for return', 'accept from 2', 'wait for sender'],
    ],
    ['hears the end after a silence', [admitted(1), deadline(1), finished(1)], 'verifying'],
    [
      'hears after a silence that something is missing',
      [admitted(1), deadline(1), finished(2)],
      'receiving.ending',
    ],
    ['hears after a silence of less than it has', [admitted(2), deadline(1), finished(1)], 'refused'],
    [
      'gives up a sender that does not return',
      [admitted(), deadline(1), deadline(2)],
      'abandoned',
      [...OPEN, 'wait for return', 'abandoned: silent'],
    ],
    ['delivers what is verified', [admitted(1), finished(1), verified], 'delivered'],
    [
      'refuses what is not',
      [admitted(1), finished(1), { type: 'turnedDown', reason: 'corrupt' }],
      'refused',
      ['admit', 'accept from 1', 'wait for sender', 'verify 1', 'refused: corrupt'],
    ],
    ['takes no chunks while it verifies', [admitted(1), finished(1), chunk(1)], 'verifying'],
    ['refuses a chunk that cannot be written', [admitted(), chunk(0), stale], 'refused'],
    ['gives way', [admitted(), cancelled], 'abandoned', [...OPEN, 'abandoned: stale']],
    ['ends once', [stale, verified, admitted()], 'refused', ['admit', 'refused: stale']],
  ];
  for (const [what, events, state, calls] of rows) {
    it(what, () => {
      const outcome = run(events);
      expect(outcome.state).to.equal(state);
      if (calls !== undefined) expect(outcome.calls).to.deep.equal(calls);
    });
  }

  it('has no state and no arrow that these scripts leave out', () => {
    for (const [, events] of rows) run(events);
    expect(coverage.missing()).to.deep.equal([]);
    expect(coverage.unvisited()).to.deep.equal([]);
  });
});

describe('the snapshots machine', () => {
  it('hands messages on, and tells of the connection when it changes', () => {
    const chart = new ChartCoverage(snapshotsMachine);
    const calls: string[] = [];
    const desk: SnapshotDesk = {
      offered: () => calls.push('offered'),
      route: (event) => calls.push((event as { type: string }).type),
      connectionLost: () => calls.push('lost'),
      connectionBack: () => calls.push('back'),
    };
    const { state } = chart.run({ desk }, [
      { type: 'snapshot.offer' },
      { type: 'snapshot.credit' },
      { type: 'connectionBack' },
      { type: 'connectionLost' },
      { type: 'connectionLost' },
      { type: 'snapshot.finish' },
      { type: 'connectionBack' },
    ]);
    expect(state).to.equal('connected');
    expect(calls).to.deep.equal(['offered', 'snapshot.credit', 'lost', 'snapshot.finish', 'back']);
    expect(chart.missing()).to.deep.equal([]);
    expect(chart.unvisited()).to.deep.equal([]);
  });
});

import { expect } from 'chai';
import {
  type SnapshotSenderEvent,
  type SnapshotSenderHost,
  snapshotSenderMachine,
} from '../../machines/index.js';
import { ChartCoverage } from './chart-coverage.js';

type E = SnapshotSenderEvent;

const accepted = (next: number, limit: number, attempt = 1, ask = 0): E => ({
  type: 'accepted',
  attempt,
  next,
  limit,
  ask,
});
const busy = (attempt = 1): E => ({ type: 'busy', attempt });
const credit = (next: number, limit: number, ask = 0): E => ({ type: 'credit', next, limit, ask });
const sent = (sequence: number, last = false): E => ({ type: 'chunkSent', sequence, last });
const lost = (sequence: number): E => ({ type: 'chunkLost', sequence });
const deadline = (number: number): E => ({ type: 'deadline', deadline: number });
const notHere: E = { type: 'notHere' };
const delivered: E = { type: 'delivered' };
const connectionLost: E = { type: 'connectionLost' };
const connectionBack: E = { type: 'connectionBack' };
const cancelled: E = { type: 'cancelled', reason: 'no longer wanted' };

const coverage = new ChartCoverage(snapshotSenderMachine);

function run(events: readonly E[], patience = 1): { state: string; calls: string[] } {
  const calls: string[] = [];
  const host: SnapshotSenderHost = {
    offer: (attempt) => calls.push(`offer ${attempt}`),
    sendChunk: (sequence) => calls.push(`send ${sequence}`),
    acknowledged: (next) => calls.push(`forget below ${next}`),
    finish: () => calls.push('finish'),
    arm: (_deadline, wait) => calls.push(`wait for ${wait}`),
    ended: (outcome, reason) => calls.push(reason === '' ? outcome : `${outcome}: ${reason}`),
  };
  const { state } = coverage.run({ host, patience }, events);
  return { state: state.replace('underWay.', ''), calls };
}

describe('the snapshot sender machine', () => {
  const OFFERED = ['offer 1', 'wait for answer'];
  const STREAMING = [...OFFERED, 'forget below 0', 'send 0'];
  const silence = 'the receiver does not answer, or makes no progress';
  const rows: readonly [string, readonly E[], string, (readonly string[])?][] = [
    ['offers first', [], 'offering', OFFERED],
    ['streams when it has a place', [accepted(0, 2)], 'streaming', STREAMING],
    [
      'begins where the receiver says',
      [accepted(5, 7)],
      'streaming',
      [...OFFERED, 'forget below 5', 'send 5'],
    ],
    [
      'waits for credit when it has none from the start',
      [accepted(5, 5)],
      'awaitingCredit',
      [...OFFERED, 'forget below 5', 'wait for credit'],
    ],
    ['takes no answer to another offer', [accepted(0, 2, 7)], 'offering', OFFERED],
    ['takes no refusal of a place for another offer', [busy(7)], 'offering', OFFERED],
    [
      'waits for a place, and asks again',
      [busy(), deadline(2), accepted(0, 2, 2)],
      'streaming',
      [...OFFERED, 'wait for place', 'offer 2', 'wait for answer', 'forget below 0', 'send 0'],
    ],
    ['does not mind that a busy receiver has forgotten it', [busy(), notHere], 'waitingForPlace'],
    [
      'offers again when no answer comes',
      [deadline(1)],
      'offering',
      [...OFFERED, 'offer 2', 'wait for answer'],
    ],
    ['hears about an older offer without haste', [notHere], 'offering', OFFERED],
    ['minds only the deadline that it set last', [busy(), deadline(1)], 'waitingForPlace'],
    [
      'loses its patience',
      [deadline(1), deadline(2)],
      'failed',
      [...OFFERED, 'offer 2', 'wait for answer', `failed: ${silence}`],
    ],
    [
      'sends chunk after chunk',
      [accepted(0, 3), sent(0), sent(1)],
      'streaming',
      [...STREAMING, 'send 1', 'send 2'],
    ],
    [
      'does not count a chunk twice',
      [accepted(0, 3), sent(0), sent(0)],
      'streaming',
      [...STREAMING, 'send 1'],
    ],
    [
      'sends no more than it may',
      [accepted(0, 1), sent(0)],
      'awaitingCredit',
      [...STREAMING, 'wait for credit'],
    ],
    [
      'goes on with new credit',
      [accepted(0, 1), sent(0), credit(1, 2)],
      'streaming',
      [...STREAMING, 'wait for credit', 'forget below 1', 'send 1'],
    ],
    [
      'takes credit while it streams, which does not shrink',
      [accepted(0, 2), sent(0), credit(1, 1), sent(1)],
      'awaitingCredit',
      [...STREAMING, 'send 1', 'forget below 1', 'wait for credit'],
    ],
    [
      'takes no old credit, nor one for chunks that were never sent',
      [accepted(2, 4), credit(1, 9), credit(9, 9), sent(2), sent(3)],
      'awaitingCredit',
    ],
    ['takes no old credit while it waits', [accepted(2, 2), credit(1, 9)], 'awaitingCredit'],
    [
      'goes back to what was lost',
      [accepted(0, 4), sent(0), sent(1), credit(1, 5, 1)],
      'streaming',
      [...STREAMING, 'send 1', 'send 2', 'forget below 1', 'send 1'],
    ],
    [
      'goes back once for each gap',
      [accepted(0, 4), sent(0), sent(1), credit(1, 5, 1), credit(1, 5, 1)],
      'streaming',
      [...STREAMING, 'send 1', 'send 2', 'forget below 1', 'send 1', 'forget below 1'],
    ],
    [
      'does not serve again what the offer has served',
      [accepted(0, 4, 1, 3), sent(0), credit(0, 5, 3)],
      'streaming',
      [...STREAMING, 'send 1', 'forget below 0'],
    ],
    ['takes no request of earlier times', [accepted(0, 4, 1, 3), credit(0, 9, 2)], 'streaming', STREAMING],
    [
      'goes back while it waits for credit',
      [accepted(0, 2), sent(0), sent(1), credit(1, 2, 1)],
      'streaming',
      [...STREAMING, 'send 1', 'wait for credit', 'forget below 1', 'send 1'],
    ],
    [
      'asks what became of it when no credit comes',
      [accepted(0, 1), sent(0), deadline(3)],
      'offering',
      [...STREAMING, 'wait for credit', 'offer 2', 'wait for answer'],
    ],
    [
      'waits for no deadline of before while it streams',
      [accepted(0, 2), deadline(1)],
      'streaming',
      STREAMING,
    ],
    [
      'is patient as long as something arrives',
      [accepted(0, 1), sent(0), deadline(3), accepted(1, 2, 2), sent(1), deadline(6), accepted(2, 3, 3)],
      'streaming',
    ],
    [
      'is not, when nothing new arrives',
      [accepted(0, 1), sent(0), deadline(3), accepted(0, 1, 2), sent(0), deadline(6)],
      'failed',
    ],
    [
      'is interrupted when there is no connection for a chunk',
      [accepted(0, 2), lost(0)],
      'interrupted',
      [...STREAMING, 'wait for connection'],
    ],
    ['is not interrupted for a chunk that is not wanted any more', [accepted(1, 2), lost(0)], 'streaming'],
    ['is interrupted wherever it is', [connectionLost], 'interrupted'],
    [
      'is interrupted once',
      [connectionLost, connectionLost, notHere],
      'interrupted',
      [...OFFERED, 'wait for connection'],
    ],
    [
      'begins again, where the receiver says, when the connection is back',
      [accepted(0, 3), sent(0), connectionLost, connectionBack, accepted(1, 3, 2)],
      'streaming',
      [
        ...STREAMING,
        'send 1',
        'wait for connection',
        'offer 2',
        'wait for answer',
        'forget below 1',
        'send 1',
      ],
    ],
    ['tries without being told that it is back', [connectionLost, deadline(2)], 'offering'],
    [
      'finishes after the last chunk',
      [accepted(0, 3), sent(0, true)],
      'finishing',
      [...STREAMING, 'finish', 'wait for verification'],
    ],
    [
      'goes back from there too',
      [accepted(0, 3), sent(0), sent(1, true), credit(1, 4, 1)],
      'streaming',
      [...STREAMING, 'send 1', 'finish', 'wait for verification', 'forget below 1', 'send 1'],
    ],
    [
      'hears there that all is written',
      [accepted(0, 3), sent(0, true), credit(1, 4), credit(0, 4)],
      'finishing',
      [...STREAMING, 'finish', 'wait for verification', 'forget below 1'],
    ],
    ['offers again when nobody says how it ended', [accepted(0, 3), sent(0, true), deadline(3)], 'offering'],
    ['offers again when the receiver was restarted', [accepted(0, 3), sent(0, true), notHere], 'offering'],
    ['offers not for ever', [accepted(0, 3), notHere, accepted(0, 3, 2), notHere], 'failed'],
    [
      'ends when it is delivered',
      [accepted(0, 3), sent(0, true), delivered],
      'delivered',
      [...STREAMING, 'finish', 'wait for verification', 'delivered'],
    ],
    ['ends when it was delivered already', [delivered], 'delivered', [...OFFERED, 'delivered']],
    [
      'ends when it is refused',
      [{ type: 'refused', reason: 'stale' }],
      'refused',
      [...OFFERED, 'refused: stale'],
    ],
    [
      'fails when it cannot read',
      [accepted(0, 3), { type: 'readFailed', reason: 'damage' }],
      'failed',
      [...STREAMING, 'failed: damage'],
    ],
    ['is cancelled', [accepted(0, 3), cancelled], 'failed', [...STREAMING, 'failed: no longer wanted']],
    ['ends once', [delivered, cancelled, notHere], 'delivered', [...OFFERED, 'delivered']],
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
    expect(coverage.unvisited().filter((state) => state !== 'underWay.nextChunk')).to.deep.equal([]);
  });
});

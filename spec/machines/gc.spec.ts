import { expect } from 'chai';
import { type GcDuties, type GcEvent, gcMachine } from '../../machines/gc.machine.js';
import { ChartCoverage } from './chart-coverage.js';

const coverage = new ChartCoverage(gcMachine);

function run(events: readonly GcEvent[]): { state: string; calls: string[] } {
  const calls: string[] = [];
  const duties: GcDuties = {
    beginRound: () => calls.push('begin'),
    raiseTransactionSafePoint: () => calls.push('raise'),
    resolveLocks: () => calls.push('resolve'),
    raiseGcSafePoint: () => calls.push('collect'),
    endRound: () => calls.push('end'),
  };
  const { state } = coverage.run({ duties, backoff: [10, 35] }, events);
  return { state: state.replace('collecting.', ''), calls };
}

type Look = Partial<Omit<Extract<GcEvent, { type: 'clock' }>, 'type' | 'now'>>;
const clock = (now: number, look: Look = {}): GcEvent => ({
  type: 'clock',
  now,
  enabled: true,
  interval: 100,
  overdue: true,
  storesKnow: false,
  ...look,
});
const off = (now: number): GcEvent => clock(now, { enabled: false });
const know = (now: number): GcEvent => clock(now, { storesKnow: true });
const raised: GcEvent = { type: 'raised', ahead: true };
const heldBack: GcEvent = { type: 'raised', ahead: false };
const resolved: GcEvent = { type: 'locksResolved' };
const collected: GcEvent = { type: 'collected' };
const failed: GcEvent = { type: 'failed' };
const runNow: GcEvent = { type: 'runNow' };
const ROUND = [clock(0), raised, know(1), resolved, collected];
const DONE = ['begin', 'raise', 'resolve', 'collect', 'end'];

describe('the machine of the collector', () => {
  const rows: readonly [string, readonly GcEvent[], string, (readonly string[])?][] = [
    ['is idle at first', [], 'idle', []],
    ['begins at once where it is overdue', [clock(0)], 'raisingTransactionSafePoint', ['begin', 'raise']],
    ['stays idle where it is not', [clock(0, { overdue: false })], 'idle', []],
    [
      'is done early where a service holds everything back',
      [clock(0), heldBack],
      'idle',
      ['begin', 'raise', 'end'],
    ],
    [
      'looks for no lock before the stores know',
      [clock(0), raised, clock(1)],
      'awaitingStores',
      ['begin', 'raise'],
    ],
    ['looks for locks then', [clock(0), raised, know(1)], 'resolvingLocks', ['begin', 'raise', 'resolve']],
    [
      'removes nothing while locks are left',
      [clock(0), raised, know(1), know(2)],
      'resolvingLocks',
      ['begin', 'raise', 'resolve'],
    ],
    ['raises the GC safe point last', [clock(0), raised, know(1), resolved], 'raisingGcSafePoint'],
    ['is idle after a round', ROUND, 'idle', DONE],
    ['keeps its interval', [...ROUND, clock(99)], 'idle', DONE],
    ['begins anew after it', [...ROUND, clock(100)], 'raisingTransactionSafePoint'],
    ['begins when somebody says so', [...ROUND, clock(50), runNow], 'raisingTransactionSafePoint'],
    ['counts the interval from there', [...ROUND, clock(50), runNow, heldBack, clock(149)], 'idle'],
    ['goes on with its round whoever wants one', [clock(0), raised, runNow], 'awaitingStores'],
    ['fails where something does', [clock(0), failed], 'failed', ['begin', 'raise', 'end']],
    ['rests then', [clock(0), failed, clock(9)], 'failed'],
    ['tries again', [clock(0), failed, clock(10)], 'raisingTransactionSafePoint'],
    ['rests longer after a second failure', [clock(0), failed, clock(10), failed, clock(29)], 'failed'],
    [
      'but not for ever',
      [clock(0), failed, clock(10), failed, clock(30), failed, clock(65)],
      'raisingTransactionSafePoint',
    ],
    [
      'forgets its failures with a success',
      [clock(0), failed, clock(10), raised, know(11), resolved, collected, clock(110), failed, clock(120)],
      'raisingTransactionSafePoint',
    ],
    ['tries at once when somebody says so', [clock(0), failed, runNow], 'raisingTransactionSafePoint'],
    ['fails while it looks for locks', [clock(0), raised, know(1), failed], 'failed'],
    ['is paused when it is switched off', [off(0)], 'paused', []],
    ['is paused after a failure', [clock(0), failed, off(1)], 'paused'],
    ['is not run then', [off(0), runNow, clock(1, { enabled: false })], 'paused', []],
    ['comes back', [off(0), clock(1)], 'idle', []],
    ['leaves a round that is under way', [clock(0), off(1)], 'paused', ['begin', 'raise', 'end']],
    [
      'does not go on though the stores know',
      [clock(0), raised, clock(1, { enabled: false, storesKnow: true })],
      'paused',
    ],
    ['leaves its locks', [clock(0), raised, know(1), off(2)], 'paused', ['begin', 'raise', 'resolve', 'end']],
    ['counts the time while it raises', [clock(0), clock(5), failed, clock(14)], 'failed'],
  ];
  for (const [what, events, state, calls] of rows) {
    it(what, () => {
      const run_ = run(events);
      expect(run_.state).to.equal(state);
      if (calls !== undefined) expect(run_.calls).to.deep.equal(calls);
    });
  }

  it('has no state and no arrow that these do not show', () => {
    expect(coverage.unvisited()).to.deep.equal([]);
    expect(coverage.missing()).to.deep.equal([]);
  });
});

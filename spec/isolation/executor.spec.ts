import { expect } from 'chai';
import fc from 'fast-check';
import { seededRandom } from '../../actors/index.js';
import { checkIsolation } from './checker.js';
import { type Execution, executedHistory } from './executor.js';
import { explainIsolation } from './explanation.js';
import type { Fault } from './snapshot-store.js';

const SEED = 20262;
/** Histories for each fault. */
const TRIALS = 60;

/** How much of the time each fault strikes, and in how many of the histories it strikes it has to be found. */
const faults: readonly [fault: Fault, share: number, found: number][] = [
  ['skipsConflictCheck', 1, 0.95],
  // Who reads one key of a transaction that is not acknowledged may as well have read it before.
  ['ignoresLocks', 1, 0.7],
  ['oldSnapshot', 0.1, 0.95],
  ['mixedSnapshot', 0.05, 0.95],
  ['losesWrite', 0.02, 0.95],
  ['dirtyRead', 0.3, 0.95],
  ['keepsAborted', 0.1, 0.95],
];

describe('isolation checker on executions', () => {
  it('accepts whatever happens under snapshot isolation', () => {
    const executions = fc.record({
      seed: fc.integer(),
      clients: fc.integer({ min: 1, max: 12 }),
      transactions: fc.integer({ min: 1, max: 150 }),
      lists: fc.integer({ min: 1, max: 8 }),
      unknown: fc.constantFrom(0, 0.05, 0.3),
      givesUp: fc.constantFrom(0, 0.1),
    });
    let skewed = 0;
    fc.assert(
      fc.property(executions, ({ seed, ...execution }) => {
        const { history } = executedHistory({ ...execution, random: seededRandom(seed) });
        const result = checkIsolation(history);
        if (result.verdict !== 'ok') throw new Error(explainIsolation(history, result));
        if (result.allowed.length > 0) skewed++;
      }),
      { seed: SEED, numRuns: 300 },
    );
    expect(skewed, 'histories with write skew').above(50);
  });

  for (const [fault, share, enough] of faults) {
    it(`finds a store that ${fault}`, () => {
      let struck = 0;
      let found = 0;
      for (let trial = 0; trial < TRIALS; trial++) {
        const { history, faulted } = executedHistory({ ...loadOf(SEED + trial), faults: { [fault]: share } });
        if (faulted === 0) continue;
        struck++;
        if (checkIsolation(history).verdict === 'broken') found++;
      }
      expect(struck).above(TRIALS / 2);
      console.log(fault, found, struck);
      expect(found / struck, `${found} of ${struck}`).least(enough);
    });
  }

  it('checks 20,000 transactions in seconds', () => {
    const { history } = executedHistory({ ...loadOf(SEED), clients: 20, transactions: 20_000, lists: 40 });
    const began = performance.now();
    expect(checkIsolation(history).verdict).equals('ok');
    expect(performance.now() - began).below(4_000);
  });
});

function loadOf(seed: number): Execution {
  return { random: seededRandom(seed), clients: 6, transactions: 150, unknown: 0.05, givesUp: 0.05 };
}

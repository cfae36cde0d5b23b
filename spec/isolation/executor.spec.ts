import { expect } from 'chai';
import fc from 'fast-check';
import { seededRandom } from '../../actors/index.js';
import { checkIsolation } from './checker.js';
import { isPossible } from './every-order.js';
import { type Execution, executedHistory } from './executor.js';
import { explainIsolation } from './explanation.js';
import { encodeTransactions, type ListTransaction } from './history.js';
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

  it('says what trying every order says, on small histories of which much is wrong', () => {
    const counts = { possible: 0, impossible: 0 };
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(...faults), fc.boolean(), (seed, [fault], tampered) => {
        const random = seededRandom(seed);
        const load = { random, clients: 3, transactions: 5, lists: 2, unknown: 0.2, givesUp: 0.1 };
        const { history: executed } = executedHistory({ ...load, faults: { [fault]: 0.3 } });
        const history = tampered ? tamper(executed, random) : executed;
        const possible = isPossible(history);
        const { verdict } = checkIsolation(history);
        counts[possible ? 'possible' : 'impossible']++;
        expect(verdict, encodeTransactions(history)).equals(possible ? 'ok' : 'broken');
      }),
      { seed: SEED, numRuns: 1_000 },
    );
    expect(counts.possible).above(200);
    expect(counts.impossible).above(200);
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
      expect(found / struck, `${found} of ${struck}`).least(enough);
    });
  }

  it('checks 20,000 transactions in two seconds', () => {
    const { history } = executedHistory({ ...loadOf(SEED), clients: 20, transactions: 20_000, lists: 40 });
    // Of the processor: others may be busy beside it.
    const began = process.cpuUsage();
    expect(checkIsolation(history).verdict).equals('ok');
    expect(process.cpuUsage(began).user / 1000, 'milliseconds').below(2_000);
  });
});

function loadOf(seed: number): Execution {
  return { random: seededRandom(seed), clients: 6, transactions: 150, unknown: 0.05, givesUp: 0.05 };
}

/** Exchanges what two reads of one key saw, or takes an end away from a list. */
function tamper(history: readonly ListTransaction[], random: () => number): ListTransaction[] {
  const places = history.flatMap(({ operations }, transaction) =>
    operations.flatMap((operation, step) =>
      operation.kind === 'read' ? [{ transaction, step, key: operation.key, list: operation.list }] : [],
    ),
  );
  const one = places[Math.floor(random() * places.length)];
  const others = places.filter((place) => place !== one && place.key === one?.key);
  const other = others[Math.floor(random() * others.length)];
  if (one === undefined) return [...history];
  const list = random() < 0.5 ? one.list.slice(0, -1) : (other?.list ?? one.list);
  return history.map((transaction, index) =>
    index === one.transaction
      ? {
          ...transaction,
          operations: transaction.operations.map((operation, step) =>
            step === one.step ? { kind: 'read', key: one.key, list } : operation,
          ),
        }
      : transaction,
  );
}

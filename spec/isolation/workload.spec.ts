import { expect } from 'chai';
import { seededRandom, VirtualClock } from '../../actors/index.js';
import { type DatabaseFaults, MemoryDatabase } from './memory-database.js';
import { type IsolationVerdict, type IsolationWorkload, runWorkload } from './workload.js';

const RUN_MS = 4_000;

describe('isolation workload', () => {
  it('finds nothing wrong with a database that is right, whatever it leaves unanswered', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { verdict, workload } = await run(seed, {});
      expect(verdict.violations, `seed ${seed}`).deep.equals([]);
      expect(verdict.evidence).equals('');
      const { committed, aborted, unknown } = workload.history.counts;
      expect(Math.min(committed / 10, aborted, unknown), `seed ${seed}`).above(5);
      expect(workload.banked).above(50);
      expect(verdict.isolation.allowed.length, 'write skew').above(0);
    }
  });

  it('does the same for the same seed', async () => {
    const [one, other] = [await run(3, {}), await run(3, {})];
    expect(one.workload.history.transactions()).deep.equals(other.workload.history.transactions());
  });

  const wrong: readonly [name: string, faults: DatabaseFaults, sentence: RegExp][] = [
    ['conflicts that are not looked for', { skipsConflictCheck: 1 }, /lost-update/],
    ['reads that ignore locks', { ignoresLocks: 1 }, /read-skew/],
    ['old snapshots', { oldSnapshot: 0.02 }, /stale-snapshot/],
    ['reads of two snapshots', { mixedSnapshot: 0.02 }, /internal|read-skew/],
    ['lost writes', { losesWrite: 0.01 }, /lost-append/],
    ['dirty reads', { dirtyRead: 0.1 }, /aborted-read|circular-information|read-skew/],
    ['aborted writes that stay', { keepsAborted: 0.1 }, /aborted-read/],
    ['a commit that is denied', { deniesCommit: 0.01 }, /aborted-read/],
    ['a call that hangs', { hangs: 0.002 }, /hangs: it may take 3000 ms, and has taken 2000 ms more/],
    ['an error that is not documented', { strange: 0.002 }, /ended with TypeError: what was that/],
  ];
  for (const [name, faults, sentence] of wrong) {
    it(`notices ${name}`, async () => {
      const { verdict } = await run(7, faults);
      expect(verdict.violations.join('\n')).matches(sentence);
    });
  }

  const poor: readonly [name: string, faults: DatabaseFaults][] = [
    ['conflicts are not looked for', { skipsConflictCheck: 1 }],
    ['reads ignore locks', { ignoresLocks: 1 }],
    ['writes are lost', { losesWrite: 0.01 }],
  ];
  for (const [name, faults] of poor) {
    it(`misses money where ${name}`, async () => {
      const { workload } = await run(8, faults);
      expect(workload.misbehaviour.join('\n')).matches(/counted the money in a .* make \d+, and it is 60/);
    });
  }

  it('keeps the history when it is wrong', async () => {
    const { verdict, workload } = await run(7, { skipsConflictCheck: 1 });
    const lines = verdict.evidence.trim().split('\n');
    expect(lines.length).equals(workload.history.transactions().length);
    expect(JSON.parse(lines[0] ?? '')).includes.keys('process', 'invoke', 'operations', 'outcome');
  });
});

/** A workload on a database with these faults, on virtual time. */
async function run(
  seed: number,
  faults: DatabaseFaults,
): Promise<{ workload: IsolationWorkload; verdict: IsolationVerdict }> {
  const clock = new VirtualClock();
  const random = seededRandom(seed);
  const database = new MemoryDatabase(clock, random, faults);
  let ended: { workload: IsolationWorkload; verdict: IsolationVerdict } | undefined;
  void runWorkload(database, { clock, random, duration: RUN_MS, limit: RUN_MS }).then((outcome) => {
    ended = outcome;
  });
  await clock.runUntil(() => ended !== undefined, 10 * RUN_MS);
  if (ended === undefined) throw new Error('the workload does not end');
  return ended;
}

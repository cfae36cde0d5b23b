import { expect } from 'chai';
import { LONG } from '../extent.js';
import { replayStores, type StoreSimulationReport } from './store-report.js';
import { averages, runSeeds } from './store-seeds.js';

/** Those up to 50 run without transactions in store.spec.ts. */
const FIRST_SEED = 51;
const SEEDS = 100;
const SEEDS_PER_TEST = 25;
const BUG_SEEDS = 100;
const JOBS = 2;

describe('A whole cluster in one process, with transactions', () => {
  const reports: StoreSimulationReport[] = [];

  for (let first = FIRST_SEED; first < FIRST_SEED + SEEDS; first += SEEDS_PER_TEST) {
    const last = first + SEEDS_PER_TEST - 1;
    it(`keeps snapshot isolation through trouble, whoever dies: seeds ${first} to ${last}`, async () => {
      const done = await runSeeds(range(first, last), { txn: true, jobs: JOBS });
      const failed = done.filter(({ violation }) => violation !== undefined);
      expect(failed.map((report) => `${replayStores(report)}\n${report.violation}`)).deep.equals([]);
      reports.push(...done);
    });
  }

  it('goes through enough for that to mean something', () => {
    expect(reports).lengthOf(SEEDS);
    const mean = averages(reports);
    const enough = {
      txnCommits: 15,
      txnBanked: 5,
      txnRefused: 3,
      txnUnknown: 0.1,
      txnKills: 2,
      splits: 1,
      merges: 0.1,
      gcRaises: 1,
      versionsRemoved: 4,
      elderReads: 6,
      elderCompared: 4,
      elderCollected: 0.2,
      pairsCommitted: 1,
      mortals: 1.5,
    };
    for (const [figure, least] of Object.entries(enough)) expect(mean[figure], figure).at.least(least);
  });

  it('runs the same from the same seed, in whichever process', async () => {
    for (const { seed, hash } of reports.slice(0, 2)) {
      // Two processes begin at the same time, with one each.
      const again = await runSeeds([seed, seed], { txn: true, jobs: JOBS });
      expect(again.map((report) => report.hash)).deep.equals([hash, hash]);
    }
  });

  for (const bug of ['conflict-unchecked', 'reads-ignore-locks'] as const) {
    it(`catches a planted bug within ${BUG_SEEDS} seeds: ${bug}`, async () => {
      const caught = ({ violation }: StoreSimulationReport): boolean =>
        violation !== undefined && /snapshot isolation is broken|counted the money/.test(violation);
      const done = await runSeeds(range(1, BUG_SEEDS), { bug, jobs: JOBS }, caught);
      expect(done.some(caught)).equals(true);
    });
  }

  // Each takes as many seeds as it takes: some of them hide well.
  const hidden = [
    ['holds-forgotten', /what a snapshot holds was collected/],
    ['collects-too-much', /a version that the safe point keeps is gone|snapshot isolation is broken/],
    ['gc-ignores-locks', /a transaction is half committed|a committed transaction is lost/],
  ] as const;
  for (const [bug, seen] of LONG ? hidden : []) {
    it(`catches a planted bug within ${BUG_SEEDS} seeds: ${bug}`, async () => {
      const caught = ({ violation }: StoreSimulationReport): boolean =>
        violation !== undefined && seen.test(violation);
      const done = await runSeeds(range(1, BUG_SEEDS), { bug, jobs: JOBS }, caught);
      expect(done.some(caught)).equals(true);
    });
  }
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

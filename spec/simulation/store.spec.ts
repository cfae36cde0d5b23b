import { expect } from 'chai';
import { LONG, upTo } from '../extent.js';
import { type StoreBugName, storeBugs } from './store-bugs.js';
import { replayStores, type StoreSimulationReport } from './store-report.js';
import { averages, runSeeds } from './store-seeds.js';
import { simulateStores } from './store-simulation.js';

/** In a short run the next hundred run with transactions beside this load, and all else the same: store-txn.spec.ts. */
const SEEDS = upTo(50, 150);
const SEEDS_PER_TEST = 50;
const BUG_SEEDS = 300;
const JOBS = 2;

describe('A whole cluster in one process', () => {
  const reports: StoreSimulationReport[] = [];

  for (let first = 1; first <= SEEDS; first += SEEDS_PER_TEST) {
    const last = first + SEEDS_PER_TEST - 1;
    it(`field note 24: keeps its promises through trouble, and recovers: seeds ${first} to ${last}`, async () => {
      const done = await runSeeds(range(first, last), { jobs: JOBS });
      const failed = done.filter(({ violation }) => violation !== undefined);
      expect(failed.map((report) => `${replayStores(report)}\n${report.violation}`)).deep.equals([]);
      reports.push(...done);
    });
  }

  it('goes through enough for that to mean something', () => {
    expect(reports).lengthOf(SEEDS);
    const mean = averages(reports);
    const enough = {
      elections: 3,
      rests: 1,
      commits: 60,
      writes: 60,
      reads: 100,
      restarts: 10,
      powerLosses: 7,
      kills: 1,
      stops: 0.3,
      pauses: 1,
      partitions: 5,
      lostBatches: 1,
      diskFaults: 0.3,
      schedulerFaults: 0.5,
      lulls: 2,
      truncations: 5,
      snapshots: 0.4,
      framesLost: 150,
      framesDuplicated: 20,
      framesReordered: 30,
      splits: 2,
      memberships: 3,
      joints: 0.5,
      // Too rare for fifty seeds.
      ...(LONG ? { merges: 0.5, rollbacks: 0.05 } : {}),
    };
    for (const [figure, least] of Object.entries(enough)) expect(mean[figure], figure).at.least(least);
    expect(reports.filter(({ figures }) => figures.writes === 0)).deep.equals([]);
  });

  it('runs the same from the same seed, in whichever process', async () => {
    for (const { seed, hash } of reports.slice(0, 3)) {
      // Two processes begin at the same time, with one each.
      const again = await runSeeds([seed, seed], { jobs: JOBS });
      expect(again.map((report) => report.hash)).deep.equals([hash, hash]);
    }
    expect(new Set(reports.map(({ hash }) => hash)).size).equals(SEEDS);
  });

  // Those that only transactions can show: store-txn.spec.ts.
  const shown = (Object.keys(storeBugs) as StoreBugName[]).filter(
    (bug) => storeBugs[bug].needsTransactions !== true,
  );
  // Each takes as many seeds as it takes: some of them hide well.
  for (const bug of LONG ? shown : []) {
    it(`catches a planted bug within ${BUG_SEEDS} seeds: ${bug}`, async () => {
      // A simulation that itself went wrong has caught nothing.
      const caught = ({ violation }: StoreSimulationReport): boolean =>
        violation !== undefined && !/the process that ran it|was not born/.test(violation);
      const done = await runSeeds(range(1, BUG_SEEDS), { bug, jobs: JOBS }, caught);
      expect(done.some(caught)).equals(true);
    });
  }

  it('says in one line what was broken and how to see it', async () => {
    const report = await simulateStores({ seed: 1, bug: 'acknowledged-before-sync' });
    expect(report.violation).a('string');
    expect(replayStores(report)).matches(
      /^seed 1: .* Replay: npm run -s sim -- --seed 1 --bug acknowledged-before-sync$/,
    );
    const lines: string[] = [];
    await simulateStores({ seed: 1, bug: 'acknowledged-before-sync', print: (line) => lines.push(line) });
    expect(lines.at(-1)).contains(report.violation);
  });
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

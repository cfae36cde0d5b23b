import { expect } from 'chai';
import { upTo } from '../extent.js';
import { type PlantedBugName, plantedBugs } from './planted-bugs.js';
import { replayLine, type SimulationReport, simulate } from './raft-simulation.js';

const SEEDS = upTo(40, 200);
const BUG_SEEDS = 200;
const SEEDS_PER_TEST = 20;

describe('Raft, five nodes in one process', () => {
  const reports: SimulationReport[] = [];

  for (let first = 1; first <= SEEDS; first += SEEDS_PER_TEST) {
    const last = first + SEEDS_PER_TEST - 1;
    it(`keeps its guarantees through trouble, and recovers: seeds ${first} to ${last}`, async () => {
      for (let seed = first; seed <= last; seed++) {
        const report = await simulate({ seed });
        expect(report.violation, replayLine(report)).equals(undefined);
        reports.push(report);
      }
    });
  }

  it('goes through enough for that to mean something', () => {
    expect(reports).lengthOf(SEEDS);
    const mean = (figure: string): number =>
      reports.reduce((sum, { figures }) => sum + (figures[figure] ?? 0), 0) / reports.length;
    const enough = {
      elections: 8,
      commits: 200,
      writes: 200,
      reads: 200,
      crashes: 25,
      lostBatches: 4,
      stops: 1,
      partitions: 6,
      diskFaults: 0.5,
      framesLost: 200,
      framesDuplicated: 50,
      framesReordered: 100,
    };
    for (const [figure, least] of Object.entries(enough)) expect(mean(figure), figure).at.least(least);
    expect(reports.filter(({ figures }) => figures.writes === 0)).deep.equals([]);
  });

  it('runs the same twice from the same seed, messages and all', async () => {
    for (const { seed, hash } of reports.slice(0, 5)) expect((await simulate({ seed })).hash).equals(hash);
    expect(new Set(reports.map(({ hash }) => hash)).size).equals(SEEDS);
  });

  for (const bug of Object.keys(plantedBugs) as PlantedBugName[]) {
    it(`catches a planted bug within ${BUG_SEEDS} seeds: ${bug}`, async () => {
      for (let seed = 1; seed <= BUG_SEEDS; seed++) {
        if ((await simulate({ seed, bug })).violation !== undefined) return;
      }
      expect.fail(`no seed noticed it`);
    });
  }
});

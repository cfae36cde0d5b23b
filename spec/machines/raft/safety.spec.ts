import { expect } from 'chai';
import { ClusterModel, type Weather } from './cluster-model.js';

const STEPS = 4_000;

/** Each kind of weather and how many seeds it gets. */
const WEATHERS: Record<string, Weather & { readonly seeds: number }> = {
  'plain elections, nothing cached': {
    seeds: 15,
    loss: 0.1,
    duplication: 0.1,
    crashes: 0.001,
    ticks: 0.12,
    memberships: false,
    options: { maxCachedBytes: 0, maxSizePerMsg: 40, maxInflightMsgs: 3 },
  },
  'PreVote and CheckQuorum, a small cache': {
    seeds: 15,
    loss: 0.1,
    duplication: 0.1,
    crashes: 0.001,
    ticks: 0.12,
    memberships: false,
    options: { preVote: true, checkQuorum: true, maxCachedBytes: 100, maxCommittedSizePerReady: 100 },
  },
  'membership changes': {
    seeds: 20,
    loss: 0.05,
    duplication: 0.05,
    crashes: 0.0005,
    ticks: 0.12,
    memberships: true,
    options: { preVote: true, checkQuorum: true, stepDownOnRemoval: true, maxCachedBytes: 200 },
  },
};

const STORM: Weather = {
  loss: 0.3,
  duplication: 0.2,
  crashes: 0.004,
  ticks: 0.15,
  memberships: false,
  options: { electionTick: 4, heartbeatTick: 3, maxCachedBytes: 50, maxSizePerMsg: 40 },
};

describe('safety (Raft, figure 3) under loss, reordering, duplication, slow disks and crashes', () => {
  for (const [name, { seeds, ...weather }] of Object.entries(WEATHERS)) {
    it(`holds with ${name}`, () => {
      const totals = { elections: 0, applied: 0, snapshots: 0, crashes: 0, confChanges: 0 };
      for (let seed = 1; seed <= seeds; seed++) {
        const model = new ClusterModel(seed, weather);
        try {
          for (let step = 0; step < STEPS; step++) model.step();
          model.checkLogs();
        } catch (error) {
          throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
            cause: error,
          });
        }
        if (!weather.memberships)
          expect(model.calm(), `rounds to recover, seed ${seed}`).to.be.greaterThan(0);
        model.checkLogs();
        for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += model.counts[key];
      }
      expect(totals.elections, 'elections').to.be.greaterThan(seeds);
      expect(totals.applied, 'entries applied').to.be.greaterThan(seeds * 20);
      expect(totals.snapshots, 'snapshots installed').to.be.greaterThan(0);
      expect(totals.crashes, 'crashes').to.be.greaterThan(0);
      if (weather.memberships) expect(totals.confChanges, 'membership changes').to.be.greaterThan(0);
    });
  }

  it('holds in a storm in which hardly a leader stays', () => {
    let elections = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const model = new ClusterModel(seed, STORM);
      for (let step = 0; step < STEPS; step++) model.step();
      model.checkLogs();
      expect(model.calm(), `rounds to recover, seed ${seed}`).to.be.greaterThan(0);
      elections += model.counts.elections;
    }
    expect(elections).to.be.greaterThan(100);
  });

  it('is seen to break when peers forget their votes', () => {
    const weather: Weather = {
      ...STORM,
      loss: 0.1,
      crashes: 0.06,
      ticks: 0.1,
      forgetsVotes: true,
      options: { electionTick: 3, heartbeatTick: 1 },
    };
    const elected = (seed: number): string => {
      const model = new ClusterModel(seed, weather);
      try {
        for (let step = 0; step < STEPS; step++) model.step();
        return 'one leader a term';
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    };
    let seed = 1;
    while (seed <= 200 && !elected(seed).includes('two leaders')) seed++;
    expect(seed, 'seeds tried').to.be.at.most(200);
  });
});

import { expect } from 'chai';
import { Failovers } from './failovers.js';

describe('failover figures', () => {
  let now: number;
  let failovers: Failovers;

  beforeEach(() => {
    now = 1000;
    failovers = new Failovers({ now: () => now });
  });

  it('count from the kill to the end of the first write that began after it', () => {
    const over = failovers.faultBegan();
    failovers.leaderKilled();
    now = 1500;
    failovers.written(999);
    failovers.written(1000);
    expect(failovers.figures().all.count).equals(0);
    now = 2250;
    failovers.written(1400);
    now = 9000;
    failovers.written(8999);
    over();
    expect(failovers.figures().all).deep.equals({ count: 1, p50: 1250, p99: 1250, max: 1250 });
    expect(failovers.figures().undisturbed.count).equals(1);
  });

  it('tell those apart during which something else went wrong', () => {
    failovers.faultBegan();
    failovers.leaderKilled();
    const over = failovers.faultBegan();
    over();
    now = 3000;
    failovers.written(2000);
    expect(failovers.figures().all.count).equals(1);
    expect(failovers.figures().undisturbed).deep.equals({ count: 0, p50: 0, p99: 0, max: 0 });
  });

  it('ignore writes while no leader was killed', () => {
    failovers.written(1);
    expect(failovers.figures().all.count).equals(0);
  });
});

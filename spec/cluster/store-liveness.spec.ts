import { expect } from 'chai';
import { VirtualClock } from '../../actors/index.js';
import { StoreLiveness } from '../../cluster/store/store-liveness.js';
import { MachineClock } from '../simulation/machine-clock.js';

const BEAT_MS = 200;
const TIMEOUT_MS = 1_000;

function liveness(neighbours: () => number[] = () => [2, 3]) {
  const world = new VirtualClock();
  const clock = new MachineClock(world, 1);
  const log: string[] = [];
  const told: number[] = [];
  const answered: number[] = [];
  const stores = new StoreLiveness({
    clock,
    interval: BEAT_MS,
    timeout: TIMEOUT_MS,
    neighbours,
    tell: (id, answer) => (answer ? answered : told).push(id),
    missing: (id) => log.push(`${id} missing`),
    returned: (id) => log.push(`${id} returned`),
    restarted: (id) => log.push(`${id} restarted`),
  });
  stores.start();
  /** These stores speak once a beat for so long. */
  const pass = async (ms: number, ...speakers: number[]): Promise<void> => {
    for (let left = ms; left > 0; left -= BEAT_MS) {
      for (const id of speakers) clock.run(() => stores.heard(id, 1));
      await world.advance(BEAT_MS);
    }
  };
  return { world, clock, log, told, answered, stores, pass };
}

describe('Stores that share regions', () => {
  it('tell each other once a beat that they are alive', async () => {
    const { told, pass } = liveness();
    await pass(10 * BEAT_MS, 2, 3);
    expect(told.length).to.be.within(20, 22);
  });

  it('answer who shares a region with them of which they know nothing yet, and no answer', async () => {
    const { told, answered, stores, pass } = liveness();
    await pass(2 * BEAT_MS, 2, 3);
    expect(answered, 'those whom they tell anyway').to.deep.equal([]);
    stores.heard(9, 1);
    stores.heard(9, 1, true);
    expect(answered).to.deep.equal([9]);
    await pass(10 * BEAT_MS, 2, 3);
    expect([answered, told.includes(9)]).to.deep.equal([[9], false]);
  });

  it('miss one that is silent for longer than an election timeout, once', async () => {
    const { log, stores, pass } = liveness();
    await pass(2_000, 2, 3);
    expect([stores.isAlive(2), stores.isMissing(2)]).to.deep.equal([true, false]);
    await pass(TIMEOUT_MS - BEAT_MS, 3);
    expect(log).to.deep.equal([]);
    await pass(2 * BEAT_MS, 3);
    expect(log).to.deep.equal(['2 missing']);
    expect([stores.isAlive(2), stores.isMissing(2)]).to.deep.equal([false, true]);
    await pass(10_000, 3);
    expect(log).to.deep.equal(['2 missing']);
    stores.heard(2, 1);
    expect(log).to.deep.equal(['2 missing', '2 returned']);
    expect(stores.isAlive(2)).to.equal(true);
  });

  it('rely on nobody whom they never heard, and miss who never spoke', async () => {
    const { log, stores, pass } = liveness();
    expect([stores.isAlive(2), stores.isMissing(2)]).to.deep.equal([false, false]);
    await pass(2_000, 3);
    expect(log).to.deep.equal(['2 missing']);
    expect([stores.isAlive(7), stores.isMissing(7)], 'a stranger').to.deep.equal([false, false]);
  });

  it('notice a restart however quick it was, and no word of an earlier life', async () => {
    const { log, stores, pass } = liveness();
    await pass(1_000, 2, 3);
    stores.heard(2, 5);
    stores.heard(2, 5);
    stores.heard(2, 4);
    stores.heard(2, 5);
    expect(log).to.deep.equal(['2 restarted']);
    stores.heard(9, 3);
    expect(log, 'whoever is heard for the first time has forgotten nothing here').to.have.lengthOf(1);
  });

  it('take nobody for gone after a pause of their own', async () => {
    const { world, clock, log, stores, pass } = liveness();
    await pass(1_000, 2, 3);
    clock.pause();
    await pass(60_000, 2, 3);
    clock.resume();
    await pass(BEAT_MS, 2, 3);
    await world.advance(10);
    expect(log).to.deep.equal([]);
    expect(stores.isAlive(2)).to.equal(true);
  });

  it('learn within a second with whom they share regions, and forget nobody at once', async () => {
    let shared = [2];
    const { told, log, pass } = liveness(() => shared);
    await pass(1_000, 2);
    expect(new Set(told)).to.deep.equal(new Set([2]));
    shared = [3];
    await pass(1_000, 2, 3);
    told.length = 0;
    await pass(5_000, 3);
    expect(new Set(told)).to.deep.equal(new Set([3]));
    expect(log).to.deep.equal([]);
  });

  it('say and notice nothing any more when they have stopped', async () => {
    const { told, log, stores, pass } = liveness();
    stores.stop();
    told.length = 0;
    await pass(5_000);
    stores.heard(2, 9);
    expect([told, log]).to.deep.equal([[], []]);
  });
});

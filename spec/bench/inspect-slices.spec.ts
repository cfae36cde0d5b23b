import { expect } from 'chai';
import {
  CONDITIONS,
  type Condition,
  comparisonsOf,
  medianOf,
  type Slice,
  shuffled,
  spreadOf,
} from '../../cluster/bench/inspect-slices.js';
import { seededRandom } from '../../cluster/bench/random.js';

const slice = (condition: Condition, putsPerSecond: number, servers: number, inspector = 0): Slice => {
  return { condition, putsPerSecond, servers, inspector, clients: 1, p99: 1, records: 0, others: 0 };
};

describe('slices that take turns', () => {
  it('come in every order about as often, and in the same one for the same seed', () => {
    const random = seededRandom(1);
    const seen = new Map<string, number>();
    for (let i = 0; i < 6_000; i++) {
      const order = shuffled(random);
      expect([...order].sort()).to.deep.equal([...CONDITIONS].sort());
      seen.set(order.join(), (seen.get(order.join()) ?? 0) + 1);
    }
    expect(seen.size).to.equal(6);
    for (const count of seen.values()) expect(count).to.be.within(880, 1_120);
    expect(shuffled(seededRandom(7))).to.deep.equal(shuffled(seededRandom(7)));
  });

  it('are compared with their neighbours, so that a machine that slows down says nothing of them', () => {
    const blocks = [1, 0.5, 0.1].map((speed) => [
      slice('attached', 950 * speed, 110 / speed, 5 / speed),
      slice('off', 1000 * speed, 100 / speed),
      slice('detached', 1000 * speed, 100 / speed),
    ]);
    const [looked, held] = comparisonsOf(blocks);
    expect(looked).to.deep.include({ of: 'attached', to: 'detached' });
    expect(looked?.puts.median).to.be.closeTo(0.95, 1e-9);
    expect(looked?.servers.quartiles[1]).to.be.closeTo(1.1, 1e-9);
    expect(looked?.all.median).to.be.closeTo(1.15, 1e-9);
    expect(held?.puts.median).to.be.closeTo(1, 1e-9);
    expect(medianOf(blocks, 'attached', ({ putsPerSecond }) => putsPerSecond)).to.be.closeTo(475, 1e-9);
  });

  it('are no ratio where one is missing', () => {
    const [looked] = comparisonsOf([
      [slice('attached', 1, 1)],
      [slice('attached', 2, 1), slice('detached', 4, 1)],
    ]);
    expect(looked?.puts).to.deep.equal({ median: 0.5, quartiles: [0.5, 0.5], count: 1 });
  });

  it('are summed up by median and quartiles', () => {
    expect(spreadOf([4, 1, 3, 2, 5])).to.deep.equal({ median: 3, quartiles: [2, 4], count: 5 });
    expect(spreadOf([1, 2])).to.deep.equal({ median: 1.5, quartiles: [1.25, 1.75], count: 2 });
    expect(spreadOf([]).median).to.be.NaN;
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { Histogram } from '../../cluster/bench/histogram.js';

describe('Histogram', () => {
  it('is empty at first', () => {
    const histogram = new Histogram();
    expect([histogram.count, histogram.max, histogram.mean, histogram.percentile(99)]).to.deep.equal([
      0, 0, 0, 0,
    ]);
  });

  it('knows small values exactly', () => {
    const histogram = new Histogram();
    for (let value = 0; value < 64; value++) histogram.record(value);
    expect(histogram.percentile(50)).to.equal(31);
    expect(histogram.percentile(100)).to.equal(63);
    expect(histogram.mean).to.equal(31.5);
  });

  it('tells every percentile within 1.6 % of the sorted list', () => {
    const latencies = fc.array(fc.integer({ min: 0, max: 60_000_000 }), { minLength: 1, maxLength: 400 });
    fc.assert(
      fc.property(latencies, fc.integer({ min: 1, max: 100 }), (values, percent) => {
        const histogram = new Histogram();
        for (const value of values) histogram.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        const truth = sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? 0;
        const told = histogram.percentile(percent);
        expect(told).to.be.at.least(truth);
        expect(told).to.be.at.most(truth * (1 + 1 / 64) + 1);
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { hashModulo, hashText } from '../../cluster/bench/fnv.js';
import { seededRandom } from '../../cluster/bench/random.js';
import { RecordNumbers, recordChooser } from '../../cluster/bench/record-choosers.js';
import { Zipfian } from '../../cluster/bench/zipfian.js';
import { chiSquare } from './chi-square.js';

const THETA = 0.99;
const DRAWS = 100_000;
const DRAWS_OF_LAW = 500_000;

function zeta(items: number): number {
  return Array.from({ length: items }, (_, k) => 1 / (k + 1) ** THETA).reduce((sum, one) => sum + one, 0);
}

/** The share of rank `k`: the length of what the method of Gray et al. maps to it, of the numbers from 0 to 1. */
function grayShare(k: number, items: number, sum: number): number {
  if (k < 2) return 1 / (k + 1) ** THETA / sum;
  const eta = (1 - (2 / items) ** (1 - THETA)) / (1 - zeta(2) / sum);
  const from = (rank: number): number => 1 - (1 - (rank / items) ** (1 - THETA)) / eta;
  return from(k + 1) - from(k);
}

function counted(draws: number, items: number, next: () => number): number[] {
  const counts = new Array<number>(items).fill(0);
  for (let i = 0; i < draws; i++) {
    const item = next();
    if (!(item >= 0 && item < items)) throw new Error(`${item} is not one of ${items} items`);
    counts[item] = (counts[item] ?? 0) + 1;
  }
  return counts;
}

function expectFit(counts: readonly number[], shares: readonly number[]): void {
  const { statistic, critical } = chiSquare(counts, shares);
  expect(statistic).to.be.below(critical);
}

describe('the hash that names and scatters records', () => {
  it("gives YCSB's first keys", () => {
    expect([0, 1, 2].map(hashText)).to.deep.equal([
      '6284781860667377211',
      '8517097267634966620',
      '1820151046732198393',
    ]);
  });

  it('leaves the remainder that whole arithmetic leaves', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 1, max: 2 ** 37 }), (value, divisor) => {
        expect(hashModulo(value, divisor)).to.equal(Number(BigInt(hashText(value)) % BigInt(divisor)));
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe('Zipfian', () => {
  it('draws the hottest item as often as its share says', () => {
    for (const items of [10, 1_000, 100_000]) {
      const zipfian = new Zipfian(seededRandom(7), items);
      let hottest = 0;
      for (let i = 0; i < DRAWS; i++) if (zipfian.next() === 0) hottest++;
      const share = 1 / zeta(items);
      // Four standard deviations.
      expect(hottest / DRAWS).to.be.closeTo(share, 4 * Math.sqrt((share * (1 - share)) / DRAWS));
    }
  });

  it('fits the distribution of Gray et al.', () => {
    for (const items of [1, 2, 3, 10, 1_000]) {
      const zipfian = new Zipfian(seededRandom(items), items);
      const counts = counted(DRAWS, items, () => zipfian.next());
      const sum = zeta(items);
      if (items === 1) expect(counts).to.deep.equal([DRAWS]);
      else
        expectFit(
          counts,
          counts.map((_, k) => grayShare(k, items, sum)),
        );
    }
  });

  it("stays as close to Zipf's law as the method does: a fifth too often at rank 2, 4 % too seldom far out", () => {
    const items = 1_000;
    const zipfian = new Zipfian(seededRandom(3), items);
    const counts = counted(DRAWS_OF_LAW, items, () => zipfian.next());
    const sum = zeta(items);
    const ratio = (from: number, to: number): number => {
      let seen = 0;
      let law = 0;
      for (let k = from; k < to; k++) {
        seen += counts[k] ?? 0;
        law += DRAWS_OF_LAW / (k + 1) ** THETA / sum;
      }
      return seen / law;
    };
    expect(ratio(0, 2)).to.be.closeTo(1, 0.01);
    expect(ratio(2, 3)).to.be.closeTo(1.17, 0.03);
    expect(ratio(10, 100)).to.be.closeTo(0.98, 0.02);
    expect(ratio(100, 1_000)).to.be.closeTo(0.967, 0.02);
  });

  it('has grown into what it would be from the start', () => {
    const grown = new Zipfian(seededRandom(5), 100);
    grown.grow(5_000);
    grown.grow(200);
    const whole = new Zipfian(seededRandom(5), 5_000);
    expect(Array.from({ length: 1_000 }, () => grown.next())).to.deep.equal(
      Array.from({ length: 1_000 }, () => whole.next()),
    );
  });
});

describe('the choice of a record', () => {
  const RECORDS = 1_000;

  it('repeats with its seed, and only with it', () => {
    for (const distribution of ['zipfian', 'latest', 'uniform'] as const) {
      const drawn = (seed: number): number[] => {
        const next = recordChooser(distribution, seededRandom(seed), RECORDS, () => RECORDS);
        return Array.from({ length: 100 }, next);
      };
      expect(drawn(1)).to.deep.equal(drawn(1));
      expect(drawn(1)).not.to.deep.equal(drawn(2));
    }
  });

  it('fits the uniform distribution', () => {
    const next = recordChooser('uniform', seededRandom(1), RECORDS, () => RECORDS);
    const counts = counted(DRAWS, RECORDS, next);
    expectFit(counts, new Array<number>(RECORDS).fill(1 / RECORDS));
  });

  it('fits the scattered zipfian distribution, of which YCSB fixes the hottest record', () => {
    const items = 10_000_000_000;
    const sum = 26.46902820178302;
    const shares = new Array<number>(RECORDS).fill(0);
    let explained = 0;
    for (let rank = 0; rank < 100_000; rank++) {
      const share = grayShare(rank, items, sum);
      const record = hashModulo(rank, RECORDS);
      shares[record] = (shares[record] ?? 0) + share;
      explained += share;
    }
    // What is beyond is spread evenly.
    const fits = shares.map((share) => share + (1 - explained) / RECORDS);
    const next = recordChooser('zipfian', seededRandom(2), RECORDS, () => RECORDS);
    const counts = counted(DRAWS, RECORDS, next);
    expectFit(counts, fits);
    expect(counts.indexOf(Math.max(...counts))).to.equal(hashModulo(0, RECORDS));
    expect(Math.max(...counts) / DRAWS).to.be.closeTo(fits[hashModulo(0, RECORDS)] ?? 0, 0.002);
  });

  it('fits the latest distribution while records are added', () => {
    let present = 10;
    const next = recordChooser('latest', seededRandom(4), present, () => present);
    expect(counted(1_000, 10, next)[9]).to.be.above(250);
    present = RECORDS;
    const counts = counted(DRAWS, RECORDS, next).reverse();
    const sum = zeta(RECORDS);
    expectFit(
      counts,
      counts.map((_, age) => grayShare(age, RECORDS, sum)),
    );
  });

  it('never takes a record that is not there, nor leaves one out that has come', () => {
    let present = 5;
    const next = recordChooser('zipfian', seededRandom(6), 10, () => present);
    const before = counted(10_000, 5, next);
    expect(before.every((count) => count > 0)).to.equal(true);
    present = 10;
    expect(counted(10_000, 10, next).every((count) => count > 0)).to.equal(true);
  });
});

describe('RecordNumbers', () => {
  it('counts a record as there when it and all before it are', () => {
    const numbers = new RecordNumbers(3);
    const taken = [numbers.take(), numbers.take(), numbers.take()];
    expect(taken).to.deep.equal([3, 4, 5]);
    numbers.acknowledge(5);
    expect(numbers.present).to.equal(3);
    numbers.acknowledge(3);
    expect(numbers.present).to.equal(4);
    numbers.acknowledge(4);
    expect(numbers.present).to.equal(6);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { seededRandom } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import {
  DEFAULT_LOAD_SPLIT,
  LoadSampler,
  type LoadSplit,
  type LoadSplitLimits,
} from '../../cluster/store/split/index.js';
import { loadSplitKey, type SampledRead } from '../../cluster/store/split/load-split-key.js';
import { escapeKey, rawKey, txnKey, withTimestamp } from '../../storage/index.js';

const KEYS = 10_000;
const NO_END = new Uint8Array(0);
const keyOf = (i: number): Buffer => rawKey(Buffer.from(String(i).padStart(5, '0')));
const numberOf = (key: Uint8Array): number => Number(escapeKey(key).slice(1, 6));

/** Hot from 100 requests a second on. */
const LIMITS: Partial<LoadSplitLimits> = { qpsThreshold: 100, bytesThreshold: 1_000_000 };

class Load {
  readonly random = seededRandom(7);
  readonly sampler: LoadSampler;
  now = 5_000;

  constructor(limits: Partial<LoadSplitLimits> = LIMITS) {
    this.sampler = new LoadSampler(seededRandom(8), limits);
    this.sampler.tick(this.now);
  }

  /** A second of requests. */
  second(...requests: (() => void)[]): LoadSplit[] {
    for (const request of requests) request();
    this.now += 1_000;
    return this.sampler.tick(this.now);
  }

  seconds(times: number, request: () => void, perSecond: number): LoadSplit[] {
    return Array.from({ length: times }, () => this.second(...new Array(perSecond).fill(request))).flat();
  }

  readonly uniform = (region = 1) => {
    this.sampler.noteRead(region, keyOf(Math.floor(this.random() * KEYS)), 10);
  };

  /** A range of a hundredth of the keys. */
  readonly shortScan = () => {
    const from = Math.floor(this.random() * KEYS * 0.99);
    this.sampler.noteScan(1, keyOf(from), keyOf(from + KEYS / 100), 1_000);
  };
}

describe('Load sampler', () => {
  it('splits a region that is read everywhere alike near its middle, after ten hot seconds', () => {
    const load = new Load();
    expect(load.seconds(9, load.uniform, 300)).to.deep.equal([]);
    const [split, ...others] = load.seconds(1, load.uniform, 300);
    expect(others).to.deep.equal([]);
    expect(split?.regionId).to.equal(1);
    expect(numberOf(split?.key ?? NO_END) / KEYS).to.be.within(0.35, 0.65);
    expect(load.seconds(9, load.uniform, 300), 'it begins anew').to.deep.equal([]);
    expect(load.seconds(1, load.uniform, 300)).to.have.length(1);
  });

  it('finds the middle of the load, not of the keys', () => {
    const load = new Load();
    const low = () => load.sampler.noteRead(1, keyOf(Math.floor(load.random() ** 4 * KEYS)), 10);
    const [split] = load.seconds(10, low, 300);
    const key = numberOf(split?.key ?? NO_END);
    // Half of the fourth powers are below a sixteenth.
    expect(key / KEYS).to.be.within(0.35 ** 4, 0.65 ** 4);
  });

  it('does not split where a single key is hot', () => {
    const load = new Load();
    expect(load.seconds(40, () => load.sampler.noteRead(1, keyOf(77), 10), 500)).to.deep.equal([]);
    const oneAndFew = () => {
      if (load.random() < 0.9) load.sampler.noteRead(1, keyOf(77), 10);
      else load.uniform();
    };
    expect(load.seconds(40, oneAndFew, 500)).to.deep.equal([]);
  });

  it('splits between two hot keys', () => {
    const load = new Load();
    const either = () => load.sampler.noteRead(1, keyOf(load.random() < 0.5 ? 77 : 78), 10);
    const [split] = load.seconds(10, either, 500);
    expect(numberOf(split?.key ?? NO_END)).to.equal(78);
  });

  it('splits where scans are short, and not where they cross every key', () => {
    const load = new Load();
    const [split] = load.seconds(10, load.shortScan, 300);
    expect(numberOf(split?.key ?? NO_END) / KEYS).to.be.within(0.35, 0.65);
    const whole = new Load();
    expect(whole.seconds(40, () => whole.sampler.noteScan(1, keyOf(0), NO_END, 500), 300)).to.deep.equal([]);
    const most = new Load();
    const crossing = () => {
      const from = Math.floor(most.random() * 100);
      most.sampler.noteScan(1, keyOf(from), keyOf(KEYS - from), 500);
    };
    expect(most.seconds(40, crossing, 300)).to.deep.equal([]);
  });

  it('never splits a cold region, nor one that is cold in between', () => {
    const load = new Load();
    expect(load.seconds(100, load.uniform, 99)).to.deep.equal([]);
    for (let round = 0; round < 5; round++) {
      expect(load.seconds(9, load.uniform, 300)).to.deep.equal([]);
      expect(load.seconds(1, load.uniform, 50)).to.deep.equal([]);
    }
  });

  it('takes many bytes for a hot second too', () => {
    const load = new Load();
    const heavy = () => load.sampler.noteRead(1, keyOf(Math.floor(load.random() * KEYS)), 30_000);
    expect(load.seconds(10, heavy, 30), 'too few requests').to.deep.equal([]);
    const heavier = new Load();
    const read = () => heavier.sampler.noteRead(1, keyOf(Math.floor(heavier.random() * KEYS)), 30_000);
    expect(heavier.seconds(10, read, 60)).to.have.length(1);
  });

  it('counts by the second, whenever it is asked', () => {
    const load = new Load();
    for (let i = 0; i < 300; i++) load.uniform();
    expect(load.sampler.tick(load.now + 10)).to.deep.equal([]);
    expect(load.sampler.tick(load.now + 899)).to.deep.equal([]);
    // A late tick: 30 a second.
    load.now += 9_000;
    expect(load.sampler.tick(load.now + 1_000)).to.deep.equal([]);
    load.now += 1_000;
    expect(load.seconds(9, load.uniform, 300)).to.deep.equal([]);
    expect(load.seconds(1, load.uniform, 300)).to.have.length(1);
  });

  it('forgets a region that has changed', () => {
    const load = new Load();
    load.seconds(9, load.uniform, 300);
    load.sampler.forget(1);
    load.sampler.forget(2);
    expect(load.seconds(9, load.uniform, 300)).to.deep.equal([]);
    expect(load.seconds(1, load.uniform, 300)).to.have.length(1);
  });

  it('keeps keys of the hottest regions only', () => {
    const load = new Load({ ...LIMITS, regions: 2 });
    const second = () =>
      [1, 2, 3, 4].flatMap((region) =>
        new Array<() => void>(100 + 50 * region).fill(() => load.uniform(region)),
      );
    const splits: LoadSplit[] = [];
    for (let i = 0; i < 12; i++) splits.push(...load.second(...second()));
    expect(splits.map(({ regionId }) => regionId).sort()).to.deep.equal([3, 4]);
  });

  it('decides on a few regions at a time, the hottest first, and on the others a second later', () => {
    const load = new Load();
    const second = () =>
      [1, 2, 3, 4, 5, 6].flatMap((region) =>
        new Array<() => void>(100 + 50 * region).fill(() => load.uniform(region)),
      );
    for (let i = 0; i < 9; i++) expect(load.second(...second())).to.deep.equal([]);
    const regions = () => load.second(...second()).map(({ regionId }) => regionId);
    expect([regions(), regions(), regions()]).to.deep.equal([[6, 5, 4, 3], [2, 1], []]);
  });

  it('copies the keys it keeps, and keeps none of a region that is not warm', () => {
    const load = new Load();
    const frame = new Uint8Array(6);
    const read = () => {
      frame.set(keyOf(Math.floor(load.random() * KEYS)));
      load.sampler.noteRead(1, frame, 10);
    };
    const [split] = load.seconds(10, read, 300);
    frame.fill(0);
    expect(numberOf(split?.key ?? NO_END) / KEYS).to.be.within(0.35, 0.65);
    let draws = 0;
    const cold = new LoadSampler(() => {
      draws++;
      return 0;
    }, LIMITS);
    for (let i = 0; i < 49; i++) cold.noteRead(1, keyOf(i), 10);
    expect(draws).to.equal(0);
  });

  it("has TiKV's limits by default, and refuses those that make no sense", () => {
    expect(DEFAULT_LOAD_SPLIT).to.include({
      qpsThreshold: 3_000,
      bytesThreshold: 31_457_280,
      detectTimes: 10,
      samples: 20,
      balanceScore: 0.25,
      containedScore: 0.5,
    });
    for (const [wrong, sentence] of [
      [{ qpsThreshold: 0 }, /qpsThreshold is 0: give a whole number above zero/],
      [{ detectTimes: 0.5 }, /detectTimes is 0.5/],
      [{ balanceScore: 1.1 }, /balanceScore is 1.1: give a number from 0 to 1/],
      [{ containedScore: Number.NaN }, /containedScore is NaN/],
    ] as const) {
      expect(() => new LoadSampler(Math.random, wrong)).to.throw(TroupeError, sentence);
    }
  });
});

describe('The key that divides a load', () => {
  const limits = { balanceScore: 0.25, containedScore: 0.5 };
  const point = (i: number): SampledRead => ({ start: keyOf(i), end: undefined });

  it('has no timestamp, and is no fragment of a transactional key', () => {
    const stored = (key: string, t: bigint) => withTimestamp(txnKey(Buffer.from(key)), t);
    const reads = ['a', 'b', 'c', 'd'].flatMap((key) => [{ start: stored(key, 5n), end: undefined }]);
    const key = loadSplitKey(reads, limits, seededRandom(1));
    expect(escapeKey(key ?? NO_END)).to.equal(escapeKey(txnKey(Buffer.from('c'))));
    const fragments = ['xa', 'xb', 'xc', 'xd'].map((text) => ({ start: Buffer.from(text), end: undefined }));
    expect(loadSplitKey(fragments, limits, seededRandom(1))).to.equal(undefined);
  });

  it('is none without requests', () => {
    expect(loadSplitKey([], limits, seededRandom(1))).to.equal(undefined);
  });

  it('prefers a place that fewer requests cross', () => {
    const scan = (from: number, to: number): SampledRead => ({ start: keyOf(from), end: keyOf(to) });
    const reads = [scan(0, 10), scan(0, 30), scan(40, 60), scan(40, 80), scan(20, 40), scan(60, 80)];
    const key = loadSplitKey(reads, limits, seededRandom(1));
    expect(numberOf(key ?? NO_END)).to.equal(40);
  });

  it('balances what it divides within the limits, whatever is read', () => {
    const read = fc.oneof(
      fc.nat(50).map(point),
      fc
        .tuple(fc.nat(50), fc.nat(20))
        .map(([from, size]) => ({ start: keyOf(from), end: keyOf(from + size + 1) })),
      fc.nat(50).map((from) => ({ start: keyOf(from), end: NO_END })),
    );
    fc.assert(
      fc.property(fc.array(read, { maxLength: 60 }), fc.integer(), (reads, seed) => {
        const key = loadSplitKey(reads, limits, seededRandom(seed));
        if (key === undefined) return;
        const at = numberOf(key);
        const right = reads.filter(({ start }) => numberOf(start) >= at).length;
        const left = reads.filter(({ start, end }) => {
          if (end === undefined) return numberOf(start) < at;
          return end.length > 0 && numberOf(end) <= at && numberOf(start) < at;
        }).length;
        expect(Math.abs(left - right)).to.be.at.most(0.25 * (left + right));
        expect(reads.length - left - right).to.be.at.most(0.5 * reads.length);
        expect(Math.min(left, right)).to.be.above(0);
      }),
      { numRuns: 500, seed: 3 },
    );
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { type CachedRegion, RegionCache } from '../../cluster/client/region-cache.js';
import { compareToBound, keyJustBelow, RAW_SPACE, userRangeOf } from '../../cluster/client/space.js';
import { compareBytes, prefixEnd, rawKey } from '../../storage/keys.js';
import { region } from './client-world.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

describe('the region cache', () => {
  let dropped: number[];
  let cache: RegionCache;

  beforeEach(() => {
    dropped = [];
    cache = new RegionCache((gone: CachedRegion) => dropped.push(gone.id));
  });

  function known(): string {
    return [...'abcdefgh'].map((key) => cache.locate(RAW_SPACE, bytes(key))?.id ?? '-').join('');
  }

  it('finds regions by key, and nothing in the gaps', () => {
    cache.insert(region(1, '', 'c', 1), undefined);
    cache.insert(region(2, 'd', 'f', 1), undefined);
    cache.insert(region(3, 'f', '', 1), undefined);
    expect(known()).to.equal('11-22333');
  });

  it('forgets what a newer region covers, and tells', () => {
    cache.insert(region(1, '', 'd', 1), undefined);
    cache.insert(region(2, 'd', '', 1), undefined);
    cache.insert(region(3, 'c', 'e', 2), undefined);
    expect([known(), dropped]).to.deep.equal(['--33----', [1, 2]]);
  });

  it('forgets a region as it was before, also where it no longer is', () => {
    cache.insert(region(1, '', 'c', 2), undefined);
    cache.insert(region(2, 'c', '', 2), undefined);
    cache.insert(region(1, 'e', '', 4), undefined);
    expect([known(), dropped]).to.deep.equal(['----1111', [1, 2]]);
    expect(cache.insert(region(1, '', 'c', 3), undefined), 'older, elsewhere').to.equal(undefined);
    expect([known(), cache.size]).to.deep.equal(['----1111', 1]);
  });

  it('ignores what an older region says of a range that is known better', () => {
    cache.insert(region(1, '', 'd', 3), undefined);
    expect(cache.insert(region(2, 'c', '', 2), undefined)).to.equal(undefined);
    expect(cache.insert(region(1, '', '', 2), undefined)).to.equal(undefined);
    const demoted = { ...region(1, '', 'd', 3), regionEpoch: { confVer: 0, version: 3 } };
    expect(cache.insert(demoted, undefined)).to.equal(undefined);
    expect([known(), dropped]).to.deep.equal(['111-----', []]);
  });

  it('keeps a region that it is told again, and takes the leader', () => {
    const first = cache.insert(region(1, '', '', 1), undefined);
    const again = cache.insert(region(1, '', '', 1), region(1, '', '', 1).peers[2]);
    expect(again).to.equal(first);
    expect(again?.target?.storeId).to.equal(3);
    expect(dropped).to.deep.equal([]);
  });

  it('moves from peer to peer past the ones that cannot serve', () => {
    const one = cache.insert(region(1, '', '', 1), undefined);
    const [first, second] = one?.peers ?? [];
    if (one === undefined || first === undefined || second === undefined) throw new Error('no region');
    one.aimPast(first, (storeId) => storeId !== 2);
    expect(one.target?.storeId).to.equal(3);
    one.aimPast(first, () => true);
    expect(one.target?.storeId, 'somebody else has already moved on').to.equal(3);
    one.aimAt(second);
    expect(one.context.peer?.storeId).to.equal(2);
    one.aimPast(second, () => false);
    expect(one.target?.storeId, 'when none can, one is tried all the same').to.equal(3);
    expect(one.aimAt({ id: 99, storeId: 1, role: 0 })).to.equal(false);
  });

  it('never holds two regions for one key, whatever it is told', () => {
    const key = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
    const told = fc
      .record({ id: fc.nat(5), start: key, end: key, version: fc.integer({ min: 1, max: 5 }) })
      .filter(({ start, end }) => end === '' || start < end);
    fc.assert(
      fc.property(fc.array(told, { maxLength: 30 }), (all) => {
        const gone = new Set<CachedRegion>();
        const one = new RegionCache((forgotten) => gone.add(forgotten));
        const taken = new Set<CachedRegion>();
        for (const { id, start, end, version } of all) {
          const kept = one.insert(region(id + 1, start, end, version), undefined);
          if (kept !== undefined) taken.add(kept);
        }
        const live = [...taken].filter((each) => !gone.has(each));
        expect(one.size).to.equal(live.length);
        for (const probe of 'abcdefgh') {
          const holders = live.filter((each) => each.contains(RAW_SPACE, bytes(probe)));
          expect(holders.length).to.be.lessThanOrEqual(1);
          expect(one.locate(RAW_SPACE, bytes(probe))).to.equal(holders[0]);
        }
      }),
      { numRuns: 300, seed: 17 },
    );
  });
});

describe('user keys and region bounds', () => {
  const key = fc.uint8Array({ minLength: 1, maxLength: 4 });

  it('compare as the stored keys do', () => {
    fc.assert(
      fc.property(key, fc.uint8Array({ maxLength: 4 }), (user, bound) => {
        const byStored = compareBytes(rawKey(user), bound);
        expect(Math.sign(compareToBound(RAW_SPACE, user, bound))).to.equal(Math.sign(byStored));
      }),
      { numRuns: 500, seed: 19 },
    );
  });

  it('translate into each other', () => {
    const range = (start: string, end: string) => {
      const found = userRangeOf(RAW_SPACE, bytes(start), bytes(end));
      return found && [found.start, found.end].map((each) => each && Buffer.from(each).toString('latin1'));
    };
    expect(range('', '')).to.deep.equal(['', undefined]);
    expect(range('ra', 'rb')).to.deep.equal(['a', 'b']);
    expect(range('a', 'x')).to.deep.equal(['', undefined]);
    expect(range('r', 's')).to.deep.equal(['', undefined]);
    expect(range('', 'r')).to.equal(undefined);
    expect(range('s', '')).to.equal(undefined);
    expect(range('', 'c')).to.equal(undefined);
  });

  it('know the place just below a bound', () => {
    fc.assert(
      fc.property(key, key, (end, other) => {
        const below = keyJustBelow(end);
        expect(compareBytes(below, end)).to.be.lessThan(0);
        if (compareBytes(other, end) < 0) expect(compareBytes(other, below)).to.be.lessThanOrEqual(0);
      }),
      { numRuns: 500, seed: 23 },
    );
    expect(compareBytes(keyJustBelow(undefined), new Uint8Array(4096).fill(0xff))).to.be.greaterThan(0);
    expect(prefixEnd(Uint8Array.of(0xff, 0xff))).to.equal(undefined);
  });
});

import { expect } from 'chai';
import fc from 'fast-check';
import { isRefusal } from '../../cluster/store/admin/refusal.js';
import {
  MAX_SPLIT_KEYS,
  refuseSplitKeys,
  type SplitRegions,
  splitRegion,
} from '../../cluster/store/admin/split.js';
import { compareBytes } from '../../storage/keys.js';
import type { raft_cmdpb } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const region = sampleRegion(1, 'b', 'x', { confVer: 4, version: 7 });

/** The n-th key gets region 100 × n and three peers. */
function requests(...keys: readonly string[]): raft_cmdpb.SplitRequest[] {
  return keys.map((key, i) => {
    const newRegionId = 100 * (i + 1);
    return {
      splitKey: Buffer.from(key),
      newRegionId,
      newPeerIds: [newRegionId + 1, newRegionId + 2, newRegionId + 3],
    };
  });
}

function split(keys: readonly string[], rightDerive: boolean, of = region): SplitRegions {
  const parts = splitRegion(of, { requests: requests(...keys), rightDerive });
  if (isRefusal(parts)) throw new Error(`refused: ${parts.message}`);
  return parts;
}

const ranges = ({ parts }: SplitRegions) =>
  parts.map(({ id, startKey, endKey }) => `${id} [${Buffer.from(startKey)}, ${Buffer.from(endKey)})`);

describe('the split of a region', () => {
  it('with right derive: the last part keeps the id, new ones take the others', () => {
    const made = split(['f', 'm'], true);
    expect(ranges(made)).to.deep.equal(['100 [b, f)', '200 [f, m)', '1 [m, x)']);
    expect(made.own).to.equal(made.parts[2]);
    expect(made.created).to.deep.equal(made.parts.slice(0, 2));
  });

  it('without: the first part keeps the id', () => {
    const made = split(['f', 'm'], false);
    expect(ranges(made)).to.deep.equal(['1 [b, f)', '100 [f, m)', '200 [m, x)']);
    expect(made.own).to.equal(made.parts[0]);
  });

  it('gives every part the same epoch: a version more per new region, and the membership’s as it was', () => {
    for (const keys of [['f'], ['f', 'm'], ['f', 'm', 'q']]) {
      for (const { regionEpoch } of split(keys, true).parts)
        expect(regionEpoch).to.deep.equal({ confVer: 4, version: 7 + keys.length });
    }
  });

  it('gives every part a peer on each store, in the order and the roles of the old one', () => {
    const roles = [0, 0, 1] as const;
    const of = { ...region, peers: region.peers.map((peer, i) => ({ ...peer, role: roles[i] ?? 0 })) };
    const [part, own] = split(['m'], true, of).parts;
    expect(part?.peers).to.deep.equal([
      { id: 101, storeId: 1, role: 0 },
      { id: 102, storeId: 2, role: 0 },
      { id: 103, storeId: 3, role: 1 },
    ]);
    expect(own?.peers).to.deep.equal(of.peers);
  });

  it('of a region without ends leaves none', () => {
    expect(ranges(split(['m'], true, sampleRegion(1, '', '')))).to.deep.equal(['100 [, m)', '1 [m, )']);
  });

  it('covers what was covered, whatever the keys', () => {
    const key = fc.uint8Array({ minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { selector: (one) => one.join(), maxLength: 8 }),
        fc.boolean(),
        (keys, rightDerive) => {
          const whole = { ...region, startKey: new Uint8Array(0), endKey: new Uint8Array(0) };
          const ordered = [...keys].sort(compareBytes);
          const parts = splitRegion(whole, {
            requests: requests(...ordered.map(() => '')).map((one, i) => ({
              ...one,
              splitKey: ordered[i] ?? one.splitKey,
            })),
            rightDerive,
          });
          if (isRefusal(parts)) {
            expect(keys).to.have.length(0);
            return;
          }
          expect(parts.parts).to.have.length(keys.length + 1);
          let end: Uint8Array = whole.startKey;
          for (const part of parts.parts) {
            expect(compareBytes(part.startKey, end)).to.equal(0);
            end = part.endKey;
          }
          expect(end).to.have.length(0);
        },
      ),
      { seed: 3, numRuns: 300 },
    );
  });

  const refusals: readonly [string, readonly string[], string][] = [
    ['no key', [], 'nothing-to-split'],
    ['a key before its start', ['a'], 'split-key-outside'],
    ['its start', ['b'], 'split-key-at-start'],
    ['the empty key', [''], 'split-key-at-start'],
    ['its end', ['x'], 'split-key-outside'],
    ['a key behind its end', ['y'], 'split-key-outside'],
    ['the same key twice', ['f', 'f'], 'split-key-duplicate'],
    ['keys out of order', ['m', 'f'], 'split-keys-order'],
    ['one bad key among good ones', ['f', 'm', 'z'], 'split-key-outside'],
    [
      'too many keys',
      Array.from({ length: MAX_SPLIT_KEYS + 1 }, (_, i) => `c${String(i).padStart(4, '0')}`),
      'invalid',
    ],
  ];
  for (const [what, keys, code] of refusals) {
    it(`is refused at ${what}: ${code}`, () => {
      const bytes = keys.map((key) => Buffer.from(key));
      const refused = refuseSplitKeys(region, bytes);
      expect(refused).to.include({ code, retry: false });
      // The sentence says which key.
      if (code.startsWith('split-key-')) expect(refused?.message).to.contain(`"${keys.at(-1)}"`);
      expect(splitRegion(region, { requests: requests(...keys), rightDerive: true })).to.include({ code });
    });
  }

  it('field note 19: is refused with ids that do not fit its peers, are missing, or are given twice', () => {
    const [good] = requests('m');
    const bad: readonly Partial<raft_cmdpb.SplitRequest>[] = [
      { newPeerIds: [] },
      { newPeerIds: [101, 102] },
      { newPeerIds: [101, 102, 103, 104] },
      { newPeerIds: [101, 102, 0] },
      { newPeerIds: [101, 102, 102] },
      { newPeerIds: [101, 102, 100] },
      { newPeerIds: [101, 102, 11] },
      { newRegionId: 0 },
      { newRegionId: 1 },
    ];
    for (const fields of bad) {
      const request = { ...good, ...fields } as raft_cmdpb.SplitRequest;
      expect(
        splitRegion(region, { requests: [request], rightDerive: true }),
        JSON.stringify(fields),
      ).to.include({
        code: 'ids-mismatch',
        retry: false,
      });
    }
    const [first, second] = requests('f', 'm');
    const twice = [first, { ...second, newRegionId: 100 }] as raft_cmdpb.SplitRequest[];
    expect(splitRegion(region, { requests: twice, rightDerive: true })).to.include({ code: 'ids-mismatch' });
  });
});

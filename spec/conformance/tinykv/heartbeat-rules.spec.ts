import { expect } from 'chai';
import { metapb } from '../../../storage/proto/index.js';
import { HeartbeatRules } from './heartbeat-rules.js';

/** Region 1 with peers on these stores. */
function region(confVer: number, version: number, ...stores: number[]): metapb.Region {
  const peers = stores.map((storeId) => ({ id: 100 + storeId, storeId, role: metapb.PeerRole.Voter }));
  return metapb.Region.from({ id: 1, regionEpoch: { confVer, version }, peers });
}

describe('rules for heartbeats, after TinyKV’s scheduler', () => {
  for (const [what, next, isRight] of [
    ['the same', region(2, 3, 1, 2), true],
    ['a split', region(2, 4, 1, 2), true],
    ['one peer more', region(3, 3, 1, 2, 3), true],
    ['one peer fewer', region(3, 3, 1), true],
    ['a stale one, whatever it says', region(1, 3, 7, 8, 9), true],
    ['a merge that is being prepared', region(3, 4, 1, 2), true],
    ['other peers under the same epoch', region(2, 3, 1, 3), false],
    ['an epoch that moved without a change', region(3, 3, 1, 2), false],
    ['two peers more', region(4, 3, 1, 2, 3, 4), false],
    ['one peer in the place of another', region(4, 3, 1, 3), false],
  ] as const) {
    it(`${isRight ? 'take' : 'refuse'} ${what}`, () => {
      const rules = new HeartbeatRules();
      expect(rules.judge(region(2, 3, 1, 2))).to.equal(undefined);
      expect(rules.judge(next) === undefined).to.equal(isRight);
    });
  }
});

import { expect } from 'chai';
import { StoreMeta } from '../../cluster/store/store-meta.js';
import { makeMessage } from '../../machines/raft/message.js';
import type { RaftEvent } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const left = sampleRegion(1, '', 'm', { version: 3 });
const right = sampleRegion(2, 'm', '', { version: 3 });
const key = (text: string) => Buffer.from(text);
const ids = (regions: readonly { readonly id: number }[]) => regions.map(({ id }) => id);

function first(peer: number, region: number, startKey: string, endKey: string, version = 1): RaftEvent {
  return {
    type: 'raft',
    regionId: region,
    fromPeer: { id: 1, storeId: 2, role: 0 },
    toPeer: { id: peer, storeId: 1, role: 0 },
    message: makeMessage({ type: 'requestPreVote' }),
    startKey: key(startKey),
    endKey: key(endKey),
    regionEpoch: { confVer: 1, version },
  };
}

describe('what a store knows of its peers', () => {
  it('field note 5: regions by id and by key change together', () => {
    const meta = new StoreMeta();
    meta.replace([sampleRegion(1, '', '')]);
    meta.replace([left, right]);
    expect([ids(meta.regions), meta.region(1), meta.region(2)]).to.deep.equal([[1, 2], left, right]);
    expect(ids(meta.overlapping({ id: 0, startKey: key('a'), endKey: key('z') }))).to.deep.equal([1, 2]);
    meta.bury({ peer: 12, region: right, target: undefined });
    expect([ids(meta.regions), meta.region(2)]).to.deep.equal([[1], undefined]);
    expect(meta.overlapping({ id: 0, startKey: key('n'), endKey: key('z') })).to.deep.equal([]);
    // Its keys are free, and it may come again.
    meta.replace([right]);
    expect([ids(meta.regions), meta.tombstone(2)]).to.deep.equal([[1, 2], undefined]);
  });

  it('takes a merge as one change: the whole comes and its source goes', () => {
    const meta = new StoreMeta();
    meta.replace([left, right]);
    const whole = sampleRegion(1, '', '', { version: 4 });
    meta.replace([whole], [2]);
    expect([ids(meta.regions), meta.region(1), meta.region(2)]).to.deep.equal([[1], whole, undefined]);
  });

  it('never gives a key to two regions', () => {
    const meta = new StoreMeta();
    meta.replace([left, right]);
    expect(() => meta.replace([sampleRegion(3, 'l', 'n')])).to.throw('region 3 takes keys of region');
    const other = new StoreMeta();
    other.replace([left, right]);
    expect(() => other.replace([sampleRegion(1, '', '')])).to.throw('takes keys of region 2');
  });

  it('knows a region’s neighbours, where they touch', () => {
    const meta = new StoreMeta();
    const middle = sampleRegion(3, 'm', 'p', { version: 3 });
    const last = sampleRegion(2, 'p', '', { version: 5 });
    meta.replace([left, middle, last]);
    expect([meta.neighbour(middle, 'left'), meta.neighbour(middle, 'right')]).to.deep.equal([left, last]);
    expect([meta.neighbour(left, 'left'), meta.neighbour(last, 'right')]).to.deep.equal([
      undefined,
      undefined,
    ]);
    expect(ids(meta.siblings(middle)), 'of the same split').to.deep.equal([1]);
    meta.bury({ peer: 11, region: left, target: undefined });
    expect(meta.neighbour(middle, 'left')).to.equal(undefined);
  });

  it('knows who waits for a region, until it comes or the peer goes', () => {
    const meta = new StoreMeta();
    meta.addUninitialised(1, { id: 11, storeId: 1, role: 0 });
    expect([meta.isUninitialised(1), ids(meta.regions)]).to.deep.equal([true, []]);
    meta.replace([left]);
    expect(meta.isUninitialised(1)).to.equal(false);
    meta.addUninitialised(2, { id: 12, storeId: 1, role: 0 });
    meta.forget(2);
    expect(meta.isUninitialised(2)).to.equal(false);
  });

  it('remembers how far tombstones were collected', () => {
    const meta = new StoreMeta();
    meta.bury({ peer: 30, region: left, target: undefined });
    meta.bury({ peer: 20, region: right, target: undefined });
    meta.collect(1);
    meta.collect(2);
    meta.collect(9);
    expect([meta.tombstones.size, meta.collectedThrough]).to.deep.equal([0, 30]);
  });

  it('keeps first messages that came too early, one a peer, until their keys are free', () => {
    const meta = new StoreMeta();
    meta.replace([sampleRegion(1, '', '')]);
    meta.park(first(21, 2, 'm', ''));
    meta.park({ ...first(21, 2, 'm', ''), startKey: key('n') });
    meta.park(first(31, 3, '', 'c'));
    expect(meta.unparkFree()).to.deep.equal([]);
    meta.replace([sampleRegion(1, '', 'm')]);
    expect(meta.unparkFree().map(({ toPeer, startKey }) => [toPeer.id, String(startKey)])).to.deep.equal([
      [21, 'n'],
    ]);
    expect(meta.unparkFree(), 'once').to.deep.equal([]);
    expect(meta.unpark(31)?.regionId).to.equal(3);
    expect(meta.unpark(31)).to.equal(undefined);
  });

  it('bounds the messages that it keeps: the oldest give way', () => {
    const meta = new StoreMeta();
    for (let peer = 1; peer <= 1_030; peer++) meta.park(first(peer, peer, '', ''));
    expect([meta.unpark(6), meta.unpark(7)?.toPeer.id, meta.unpark(1_030)?.toPeer.id]).to.deep.equal([
      undefined,
      7,
      1_030,
    ]);
  });

  it('lets a target take the keys of its sources, once it is newer than at the merge', () => {
    const meta = new StoreMeta();
    meta.replace([left, right]);
    const whole = (version: number) => sampleRegion(1, '', '', { version });
    expect(ids(meta.blocking(whole(4)))).to.deep.equal([2]);
    meta.noteMerge({ source: 2, target: left, done: false });
    expect(ids(meta.blocking(whole(3))), 'as it was at the merge').to.deep.equal([2]);
    expect(ids(meta.blocking(whole(4)))).to.deep.equal([]);
    expect(ids(meta.blocking(sampleRegion(3, '', '', { version: 9 }))), 'no other').to.deep.equal([1, 2]);
    meta.mergeIsOver(2);
    expect(ids(meta.blocking(whole(4)))).to.deep.equal([2]);
  });

  it('takes the newer word of a merge, and does not forget that it is done', () => {
    const meta = new StoreMeta();
    const target = (version: number) => sampleRegion(1, '', 'm', { version });
    meta.noteMerge({ source: 2, target: target(5), done: false });
    meta.noteMerge({ source: 2, target: target(4), done: false });
    expect(meta.mergeOf(2)?.target.regionEpoch?.version).to.equal(5);
    meta.noteMerge({ source: 2, target: target(5), done: true });
    meta.noteMerge({ source: 2, target: target(5), done: false });
    expect(meta.mergeOf(2)).to.deep.include({ done: true });
    meta.noteMerge({ source: 2, target: target(7), done: false });
    expect(meta.mergeOf(2)).to.deep.equal({ source: 2, target: target(7), done: false });
    meta.bury({ peer: 12, region: right, target: left });
    expect(meta.mergeOf(2)).to.equal(undefined);
  });
});

import { expect } from 'chai';
import type { Message } from '../../machines/index.js';
import type { metapb, RaftEvent } from '../../storage/proto/index.js';
import { QUICK, RegionWorld } from './region-world.js';

describe('changes of regions on live stores', () => {
  it('splits a region, and both parts serve', async () => {
    const world = await RegionWorld.start(3);
    for (const key of ['a', 'm', 'z']) await world.put(key, key);
    const parts = await world.split(1, 'm');
    expect(parts).to.have.length(2);
    await world.eventually(
      'two led regions',
      ({ regions }) => regions.length === 2 && regions.every(({ leader }) => leader !== null),
    );
    for (const key of ['a', 'm', 'z']) expect(await world.get(key)).to.equal(key);
    await world.put('b', 'left');
    await world.put('y', 'right');
    await world.close();
  });

  it('splits by itself a region that has grown too large', async () => {
    const world = await RegionWorld.start(3, 3, {
      ...QUICK,
      split: { splitBytes: 200, maxBytes: 300, interval: 100 },
    });
    for (let i = 0; i < 100; i++) await world.put(`k${String(i).padStart(8, '0')}`, `v${i}`);
    await world.eventually(
      'many led regions',
      ({ regions }) => regions.length > 5 && regions.every(({ leader }) => leader !== null),
    );
    for (let i = 0; i < 100; i++) expect(await world.get(`k${String(i).padStart(8, '0')}`)).to.equal(`v${i}`);
    await world.close();
  });

  it('adds and removes members, and data comes and goes', async () => {
    const world = await RegionWorld.start(4, 3);
    for (let i = 0; i < 30; i++) await world.put(`k${i}`, `v${i}`);
    await world.addPeer(1, 4);
    await world.eventually(
      'the new member',
      ({ stores, regions }) => regions[0]?.peers.length === 4 && stores.every((one) => one.regions === 1),
    );
    await world.removePeer(1, 2);
    await world.eventually('the removal', () => world.storeWithId(2).replicas.size === 0);
    await world.put('after', 'x');
    expect(await world.get('k7')).to.equal('v7');
    await world.close();
  });

  it('leaves a peer alone for which a message came just before it was there', async () => {
    const world = await RegionWorld.start(3);
    await world.put('a', 'a');
    const region = world.leaderRegion(1);
    for (const peer of region.peers) {
      const [other] = region.peers.filter(({ id }) => id !== peer.id);
      const store = world.storeWithId(peer.storeId);
      // What came before the peer's actor waits in the mailbox of the store's.
      store.duties.routeAbsent(firstMessage(region, other, peer));
      await world.rest(1_000);
      expect(store.replicas.get(1)?.stopped).to.equal(false);
    }
    await world.put('a', 'b');
    await world.eventually('three replicas', () =>
      [...world.stores.values()].every(({ replicas }) => replicas.size === 1),
    );
    await world.close();
  });

  it('merges two regions', async () => {
    const world = await RegionWorld.start(3);
    for (const key of ['a', 'm', 'z']) await world.put(key, key);
    const [left, right] = await world.split(1, 'm');
    await world.eventually(
      'two led regions',
      ({ regions }) => regions.length === 2 && regions.every(({ leader }) => leader !== null),
    );
    await world.merge(right?.id ?? 0, left?.id ?? 0);
    await world.eventually('one region', ({ regions }) => regions.length === 1);
    await world.eventually('one replica a store', () =>
      [...world.stores.values()].every((store) => store.replicas.size === 1),
    );
    for (const key of ['a', 'm', 'z']) expect(await world.get(key)).to.equal(key);
    await world.put('y', 'right');
    await world.close();
  });
});

/** One that makes a peer where there is none. */
function firstMessage(region: metapb.Region, from: metapb.Peer | undefined, to: metapb.Peer): RaftEvent {
  if (from === undefined || region.regionEpoch === undefined) throw new Error('the region has no other peer');
  const { startKey, endKey, regionEpoch } = region;
  const message: Message = {
    type: 'requestPreVote',
    to: to.id,
    from: from.id,
    term: 1,
    logTerm: 0,
    index: 0,
    entries: [],
    commit: 0,
    vote: 0,
    reject: false,
    rejectHint: 0,
    context: new Uint8Array(0),
    snapshot: undefined,
  };
  return {
    type: 'raft',
    regionId: region.id,
    fromPeer: from,
    toPeer: to,
    message,
    regionEpoch,
    startKey,
    endKey,
  };
}

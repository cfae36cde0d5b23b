import { expect } from 'chai';
import { eraftpb, metapb, raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import { halves, oneRegion, serves, version } from './merge-world.js';

const { ConfChangeType } = eraftpb;
const { AdminCmdType } = raft_cmdpb;

describe('merges that a store has missed', () => {
  it('isolated store without target peer: its source goes, with its data', async () => {
    const { world, left, right } = await halves(4, 3);
    await world.addPeer(right, 4);
    await world.settle();
    const join = world.isolate(4);
    await world.removePeer(right, 4);
    await world.merge(right, left);
    await world.when('the merge', () =>
      [1, 2, 3].every((store) => world.replica(right, store) === undefined),
    );
    expect(world.regionsOn(4)).to.deep.equal([right]);
    join();
    await world.when('the end of the source', () => world.regionsOn(4).length === 0);
    expect(await world.until(world.stored(4, 'z'))).to.equal(false);
    await serves(world);
  });

  it('isolated store whose target peer was removed after the merge: both go', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4);
    await world.settle();
    await world.informed(right);
    const join = world.isolate(4);
    await world.merge(right, left);
    await world.when('the merge', () =>
      [1, 2, 3].every((store) => world.replica(right, store) === undefined),
    );
    await world.removePeer(left, 4);
    expect(world.regionsOn(4)).to.deep.equal([left, right].sort((a, b) => a - b));
    join();
    await world.when('the end of both', () => world.regionsOn(4).length === 0);
    await serves(world);
  });

  it('isolated store whose target peer was removed and made anew: the new one takes the source’s place', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4);
    await world.settle();
    await world.informed(right);
    const old = world.peer(left, 4).peerId;
    const join = world.isolate(4);
    await world.removePeer(left, 4);
    await world.addPeer(left, 4);
    await world.merge(right, left);
    await world.when('the merge', () =>
      [1, 2, 3].every((store) => world.replica(right, store) === undefined),
    );
    join();
    await world.settle();
    expect(world.peer(left, 4).peerId).to.be.greaterThan(old);
    await serves(world);
  });

  it('a source that was removed and made anew meanwhile is merged all the same', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4);
    await world.settle();
    await world.informed(right);
    const join = world.isolate(4);
    await world.removePeer(right, 4);
    await world.addPeer(right, 4);
    join();
    await world.merge(right, left);
    await oneRegion(world, left);
    await serves(world);
  });

  for (const cut of [false, true]) {
    const logs = cut ? 'when the logs no longer hold it' : 'from the logs';
    it(`cascade merge isolated: two regions were merged into one, ${logs}`, async () => {
      const { world, left, right } = await halves();
      const [middle, last] = (await world.split(right, 't')).map(({ id }) => id);
      for (const id of [middle, last]) await world.lead(id ?? 0, 1);
      await world.settle();
      const join = world.isolate(3);
      await world.merge(left, middle ?? 0);
      await world.when('the first merge', () => !world.replica(left, 1) && !world.replica(left, 2));
      await world.merge(last ?? 0, middle ?? 0);
      await world.when(
        'the second merge',
        () => !world.replica(last ?? 0, 1) && !world.replica(last ?? 0, 2),
      );
      if (cut) await world.outrun(middle ?? 0, 3, 'o');
      join();
      await world.settle();
      await oneRegion(world, middle ?? 0);
      expect(world.storeWithId(3).counters.snapshotsInstalled).to.equal(cut ? 1 : 0);
      await serves(world);
    });
  }

  it('cascade merge isolated: a target is not merged on before everybody knows what it took in', async () => {
    const { world, left, right } = await halves();
    const [middle = 0, last = 0] = (await world.split(right, 't')).map(({ id }) => id);
    for (const id of [middle, last]) await world.lead(id, 1);
    await world.settle();
    await world.informed(last);
    const join = world.isolate(3);
    await world.merge(last, middle);
    await world.when('the first merge', () => !world.replica(last, 1) && !world.replica(last, 2));
    const before = world.leaderRegion(middle);
    const reply = await world.change(middle, {
      cmdType: AdminCmdType.PrepareMerge,
      prepareMerge: { minIndex: 0, target: world.leaderRegion(left) },
    });
    expect(reply.refusal).to.include({ code: 'not-ready', retry: true });
    expect(world.leaderRegion(middle)).to.deep.equal(before);
    join();
    await world.merge(middle, left);
    await oneRegion(world, left);
    await serves(world);
  });

  it('cascade merge: a store that loses its power between the two merges', async () => {
    const { world, left, right } = await halves();
    const [middle = 0, last = 0] = (await world.split(right, 't')).map(({ id }) => id);
    for (const id of [middle, last]) await world.lead(id, 1);
    await world.settle();
    await world.informed(last);
    await world.merge(last, middle);
    await world.when('the first merge on store 1', () => !world.replica(last, 1));
    await world.merge(middle, left);
    await world.when('the second merge on store 1', () => !world.replica(middle, 1));
    await world.restart(3);
    await oneRegion(world, left);
    await serves(world);
  });

  it('a target that split off what it took in: the source goes, and its keys come with the part', async () => {
    const { world, left, right } = await halves();
    const join = world.isolate(3);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    // The target is as it was before, and what it took in is another region.
    const [, part] = await world.split(left, 'm');
    await world.when('its leader', () => world.leaderOf(part?.id ?? 0) > 0);
    await world.outrun(left, 3, 'b');
    await world.outrun(part?.id ?? 0, 3, 'n');
    join();
    await world.settle();
    expect(world.regionsOn(3)).to.deep.equal([left, part?.id ?? 0].sort((a, b) => a - b));
    await serves(world);
  });

  it('the same where the source knew of the merge: its rollback cannot come any more', async () => {
    const { world, left, right } = await halves();
    const hear = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge on store 3', () => world.peer(right, 3).mergeState !== undefined);
    const join = world.isolate(3);
    hear();
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    const [, part] = await world.split(left, 'm');
    await world.when('its leader', () => world.leaderOf(part?.id ?? 0) > 0);
    await world.outrun(left, 3, 'b');
    await world.outrun(part?.id ?? 0, 3, 'n');
    join();
    await serves(world);
  });

  it('a source whose target lost its peer here before the merge is taken back, and stays', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4);
    await world.settle();
    await world.informed(right);
    const before = version(world.leaderRegion(right));
    await world.lead(left, 2);
    const hear = world.lose(({ to, event }) => event.regionId === left && to === 'store-1');
    await world.removePeer(left, 4);
    await world.when('the end of the target’s peer', () => world.replica(left, 4) === undefined);
    await world.prepareMerge(right, world.peer(left, 1).region);
    await world.when('the merge on store 4', () => world.peer(right, 4).mergeState !== undefined);
    hear();
    await world.when('the rollback', () => version(world.leaderRegion(right)) === before + 2);
    await world.when('the rollback on store 4', () => world.peer(right, 4).mergeState === undefined);
    await serves(world);
  });

  it('slow learner: holds the merge up until it has caught up', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4, ConfChangeType.AddLearnerNode);
    await world.settle();
    const hear = world.lose(({ to, event }) => event.regionId === right && to === 'store-4');
    for (let i = 0; i < 12; i++) await world.put(`p${i}`, 'x');
    const reply = await world.change(right, {
      cmdType: AdminCmdType.PrepareMerge,
      prepareMerge: { minIndex: 0, target: world.leaderRegion(left) },
    });
    expect(reply.refusal).to.include({ code: 'not-ready', retry: true });
    hear();
    await world.merge(right, left);
    await oneRegion(world, left);
    expect(world.peer(left, 4).peer.role).to.equal(metapb.PeerRole.Learner);
    await serves(world);
  });

  it('slow learner: one that lacks the end of the source gets it with the merge', async () => {
    const { world, left, right } = await halves(4, 3);
    for (const id of [left, right]) await world.addPeer(id, 4, ConfChangeType.AddLearnerNode);
    await world.settle();
    await world.informed(right);
    const join = world.isolate(4);
    await world.put('n', 'n');
    await world.merge(right, left);
    await world.when('the merge', () =>
      [1, 2, 3].every((store) => world.replica(right, store) === undefined),
    );
    join();
    await oneRegion(world, left);
    await serves(world, ['a', 'm', 'n', 'z']);
  });

  it('stale learner not in merge: who was removed before is no part of it, and goes', async () => {
    const { world, left, right } = await halves(4, 3);
    await world.addPeer(right, 4, ConfChangeType.AddLearnerNode);
    await world.settle();
    const join = world.isolate(4);
    await world.removePeer(right, 4);
    await world.merge(right, left);
    await world.when('the merge', () =>
      [1, 2, 3].every((store) => world.replica(right, store) === undefined),
    );
    expect(world.regionsOn(4), 'a learner asks nobody for votes').to.deep.equal([right]);
    join();
    await world.when('the end of the learner', () => world.regionsOn(4).length === 0);
    await serves(world);
  });

  for (const rightOnes of [true, false]) {
    it(`slow split vs merge: the ${rightOnes ? 'new' : 'old'} part is merged before a slow store has split`, async () => {
      const { world, left, right } = await halves();
      const hear = world.lose(({ to, event }) => event.regionId === right && to === 'store-3');
      const parts = (await world.split(right, 't')).map(({ id }) => id);
      const [middle = 0, last = 0] = parts;
      for (const id of parts) await world.when(`a leader of region ${id}`, () => world.leaderOf(id) > 0);
      for (const id of parts) await world.lead(id, 1);
      expect(world.regionsOn(3), 'the new part waits for the split').to.deep.equal(
        [left, right].sort((a, b) => a - b),
      );
      const [source, target] = rightOnes ? [last, middle] : [middle, last];
      // The new part's peer on the slow store does not answer yet: no merge leaves it behind.
      const asked = {
        cmdType: AdminCmdType.PrepareMerge,
        prepareMerge: { minIndex: 0, target: world.leaderRegion(target) },
      } as const;
      const reply = await world.change(source, asked);
      expect(reply.refusal).to.include({ code: 'not-ready', retry: true });
      hear();
      await world.merge(source, target);
      await world.when('the merge', () => world.leaderOf(source) === 0);
      await serves(world);
    });
  }

  it('slow split vs merge: both parts are snapshots to a store that is still whole', async () => {
    const { world, left, right } = await halves();
    const hear = world.lose(({ to, event }) => event.regionId !== left && to === 'store-3');
    const [middle = 0, last = 0] = (await world.split(right, 't')).map(({ id }) => id);
    for (const id of [middle, last]) {
      await world.when(`a leader of region ${id}`, () => world.leaderOf(id) > 0);
    }
    await world.outrun(right, 3, right === last ? 'u' : 'n');
    const other = right === last ? middle : last;
    for (let i = 0; i < 30; i++) await world.put(`${other === last ? 'v' : 'o'}${i}`, 'x');
    hear();
    await world.settle();
    for (const id of [middle, last]) await world.lead(id, 1);
    await world.merge(last, middle);
    await world.when('the merge', () => world.leaderOf(last) === 0);
    await serves(world);
  });

  it('a source that waits for its target asks nobody else and is not removed by anybody', async () => {
    const { world, left, right } = await halves();
    const wait = world.lose(({ to, event }) => event.regionId === left && to === 'store-3');
    const without = world.loseNotices(({ mergeTarget }) => mergeTarget !== undefined);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await world.when('a candidate', () => world.peer(right, 3).raftGroup?.status().role === 'preCandidate');
    without();
    let told = 0;
    world.loseNotices(({ regionId, mergeTarget }, to) => {
      if (regionId === right && to === 'store-3' && mergeTarget !== undefined) told++;
      return false;
    });
    await world.when('word of the merge', () => told > 0);
    await world.rest(1_000);
    expect(world.peer(right, 3).stopped).to.equal(false);
    expect(version(world.peer(left, 3).region)).to.be.lessThan(version(world.leaderRegion(left)));
    wait();
    await oneRegion(world, left);
    await serves(world);
  });

  it('destroy race during atomic snapshot: a source that is told of its end while its target’s snapshot comes', async () => {
    const { world, left, right } = await halves();
    const join = world.isolate(3);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await world.outrun(left, 3, 'b');
    const source = world.peer(right, 3);
    const target = world.peer(left, 1).region;
    const { region, peer } = source;
    const tell = (notice: Partial<raft_serverpb.RaftMessage>) =>
      world.stores.get('store-3')?.duties.heedNotice({
        ...raft_serverpb.RaftMessage.from({
          regionId: right,
          toPeer: peer,
          regionEpoch: region.regionEpoch,
          ...notice,
        }),
        type: 'store.peerNotice',
      });
    join();
    // At every moment: before the snapshot, while it is written, and when it is there.
    let writes = 0;
    const again = () => {
      tell({ mergeTarget: { ...target, regionEpoch: { confVer: 1, version: version(target) - 1 } } });
      tell({ isTombstone: true, regionEpoch: { confVer: 9, version: 9 } });
      if (++writes < 20) world.onWrite(3, 1, again);
    };
    world.onWrite(3, 1, again);
    await world.settle();
    expect(writes).to.be.greaterThan(0);
    expect(world.regionsOn(3)).to.deep.equal([left]);
    await serves(world);
  });
});

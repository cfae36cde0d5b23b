import { expect } from 'chai';
import { decodeCommand, eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { getRequest, putRequest, type RaftOnTheWay, scanRequest } from './faulty-region-world.js';
import { halves, leftOf, oneRegion, rolledBack, serves, version } from './merge-world.js';

const { AdminCmdType } = raft_cmdpb;
const { ConfChangeType } = eraftpb;

/** Entries that merges carry, by the message that has them. */
function carried({ event }: RaftOnTheWay): number[] {
  return event.message.entries.flatMap(({ type, data }) => {
    if (type !== 0 || data.length === 0) return [];
    const merge = decodeCommand(data).adminRequest?.commitMerge;
    return merge === undefined ? [] : [merge.entries.length];
  });
}

describe('merges of regions', () => {
  it('rollback: when the target has changed, the source is as before and serves again', async () => {
    const { world, left, right } = await halves();
    await world.lead(left, 2);
    const before = world.leaderRegion(right);
    // The target moves on behind the back of the store that leads the source.
    const hear = world.lose(({ to, event }) => event.regionId === left && to === 'store-1');
    await world.split(left, 'c');
    await world.prepareMerge(right, world.peer(left, 1).region);
    hear();
    await world.when('the rollback', () => version(world.leaderRegion(right)) === version(before) + 2);
    const after = world.leaderRegion(right);
    expect({ ...after, regionEpoch: before.regionEpoch }).to.deep.equal(before);
    expect(after.regionEpoch?.confVer, 'in-flight membership changes are void').to.equal(
      (before.regionEpoch?.confVer ?? 0) + 1,
    );
    await serves(world);
  });

  it('multiple rollback: a merge may be taken back again and again, and done at last', async () => {
    const { world, right } = await halves();
    for (const key of ['c', 'd', 'e']) {
      const before = version(world.leaderRegion(right));
      await rolledBack(world, right, key);
      expect(version(world.leaderRegion(right))).to.equal(before + 2);
      await world.put(`r${key}`, key);
      await world.settle();
    }
    await world.merge(right, leftOf(world, right));
    await world.when('the merge', () => world.leaderOf(right) === 0);
    await serves(world);
  });

  it('a merge that fails before one that succeeds: who learns of both at once is not misled', async () => {
    const { world, right } = await halves();
    const hear = world.lose(({ to, event }) => event.regionId === right && to === 'store-3');
    await rolledBack(world, right, 'c');
    expect(version(world.peer(right, 3).region)).to.equal(version(world.leaderRegion(right)) - 2);
    hear();
    await world.merge(right, leftOf(world, right));
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await serves(world);
  });

  it('catch-up with empty entries: a source that lacks nothing but the commit learns it from the target', async () => {
    const { world, left, right } = await halves();
    const prepare = (world.peer(right, 1).raftGroup?.raft.lastIndex ?? 0) + 1;
    const hear = world.lose(
      ({ to, event }) => event.regionId === right && to === 'store-3' && event.message.commit >= prepare,
    );
    const wait = world.lose(({ to, event }) => event.regionId === left && to === 'store-2');
    const waitToo = world.lose(({ to, event }) => event.regionId === left && to === 'store-3');
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge in all logs', () =>
      [...(world.peer(right, 1).raftGroup?.status().progress.values() ?? [])].every(
        ({ match }) => match >= prepare,
      ),
    );
    expect(world.peer(right, 3).mergeState, 'store 3 does not know that it is committed').to.equal(undefined);
    const counts: number[] = [];
    const stopCounting = world.lose((message) => {
      counts.push(...carried(message));
      return false;
    });
    wait();
    waitToo();
    await oneRegion(world, left);
    // The first proposal may have been made before all had it; the one that counts carries nothing.
    expect(Math.min(...counts)).to.equal(0);
    stopCounting();
    hear();
    await serves(world);
  });

  it('a source that lacks the end of its log gets it with the merge', async () => {
    const { world, left, right } = await halves();
    const counts: number[] = [];
    world.lose((message) => {
      counts.push(...carried(message));
      return message.event.regionId === right && message.to === 'store-3';
    });
    for (const key of ['n', 'o', 'p']) await world.put(key, key);
    expect(await world.until(world.stored(3, 'p'))).to.equal(false);
    await world.merge(right, left);
    await oneRegion(world, left);
    expect(Math.max(...counts)).to.be.at.least(4);
    await serves(world, ['a', 'm', 'n', 'o', 'p', 'z']);
  });

  it('leader election during catch-up: who campaigns for the source while it is caught up does no harm', async () => {
    const { world, left, right } = await halves();
    const hear = world.lose(
      ({ from, to, event }) => event.regionId === right && [from, to].includes('store-3'),
    );
    const wait = world.lose(({ to, event }) => event.regionId === left && to === 'store-3');
    await world.put('n', 'n');
    await world.merge(right, left);
    await world.when('the merge on the others', () => !world.replica(right, 2) && !world.replica(right, 1));
    await world.when('a candidate', () => world.peer(right, 3).raftGroup?.status().role === 'preCandidate');
    wait();
    await oneRegion(world, left);
    hear();
    await serves(world, ['a', 'm', 'n', 'z']);
  });

  it('leader election during catch-up: the source elects another leader between the merge and its peers’ end', async () => {
    const { world, left, right } = await halves();
    // Store 3 lacks the end of the source's log; 2 and 3 do not hear of the target's commits.
    const hear = world.lose(({ to, event }) => event.regionId === right && to === 'store-3');
    await world.put('n', 'n');
    const known = world.peer(left, 1).raftGroup?.raft.commit ?? 0;
    const waiting = world.lose(
      ({ event: { regionId, message } }) =>
        regionId === left && (message.commit > known || message.type === 'requestPreVote'),
    );
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('the merge on store 1', () => world.replica(right, 1) === undefined);
    hear();
    await world.when('a leader of what is left of the source', () => world.leaderOf(right) === 2);
    await world.when('its first entry', () => world.peer(right, 2).raftGroup?.appliedInTerm === true);
    waiting();
    await oneRegion(world, left);
    await serves(world, ['a', 'm', 'n', 'z']);
  });

  it('no-need catch-up: a source that has applied everything only waits for its target', async () => {
    const { world, left, right } = await halves();
    const wait = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge everywhere', () =>
      [1, 2, 3].every((store) => world.peer(right, store).mergeState !== undefined),
    );
    wait();
    await oneRegion(world, left);
    await serves(world);
  });

  it('brain split: a store that was away finds its regions merged and split elsewhere', async () => {
    const { world, left, right } = await halves();
    const join = world.isolate(3);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await world.split(left, 'e', 'u');
    await world.put('v', 'v');
    await world.put('f', 'f');
    join();
    await serves(world, ['a', 'f', 'm', 'v', 'z']);
  });

  it('brain split: the same when the logs no longer hold it', async () => {
    const { world, left, right } = await halves();
    const join = world.isolate(3);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    const parts = await world.split(left, 'e', 'u');
    for (const [i, { id }] of parts.entries()) {
      await world.when(`a leader of region ${id}`, () => world.leaderOf(id) > 0);
      await world.outrun(id, 3, 'bgw'[i] ?? '');
    }
    join();
    await serves(world);
  });

  for (const together of [true, false]) {
    it(`snapshot and merge ${together ? 'together' : 'not together'}: regions that were merged go with the target's snapshot`, async () => {
      const { world, left, right } = await halves();
      const [right1, right2] = await world.split(right, 't');
      await world.lead(right1?.id ?? 0, 1);
      await world.lead(right2?.id ?? 0, 1);
      await world.settle();
      const join = world.isolate(3);
      await world.merge(right1?.id ?? 0, left);
      await world.when('the first merge', () => !world.replica(right1?.id ?? 0, 1));
      if (!together) {
        await world.outrun(left, 3, 'b');
        join();
        await world.when('the first snapshot', () => !world.replica(right1?.id ?? 0, 3));
        const part = world.isolate(3);
        await world.merge(right2?.id ?? 0, left);
        await world.when('the second merge', () => !world.replica(right2?.id ?? 0, 1));
        await world.outrun(left, 3, 'c');
        part();
      } else {
        await world.merge(right2?.id ?? 0, left);
        await world.when('the second merge', () => !world.replica(right2?.id ?? 0, 1));
        await world.outrun(left, 3, 'b');
        join();
      }
      await world.settle();
      await oneRegion(world, left);
      expect(world.storeWithId(3).counters.snapshotsInstalled).to.be.at.least(together ? 1 : 2);
      await serves(world);
    });
  }

  it('write to source after merging: refused until the target has it, and by nobody twice', async () => {
    const { world, left, right } = await halves();
    const wait = world.lose(({ event }) => event.regionId === left);
    await world.prepareMerge(right, world.leaderRegion(left));
    for (const request of [getRequest('n'), putRequest('n', 'early'), scanRequest('m', 'z')]) {
      const reply = await world.askRegion(right, 1, request);
      expect(reply.regionError?.proposalInMergingMode).to.deep.equal({ regionId: right });
    }
    wait();
    await world.put('n', 'n');
    await oneRegion(world, left);
    await serves(world, ['a', 'm', 'n', 'z']);
  });

  it('transfer leader during merge: of the source and of the target', async () => {
    const { world, left, right } = await halves();
    const wait = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge everywhere', () =>
      [1, 2, 3].every((store) => world.peer(right, store).mergeState !== undefined),
    );
    await world.transfer(right, 2);
    await world.when('a new leader of the source', () => world.leaderOf(right) === 2);
    wait();
    await world.when('the target to take it in', () => world.leaderOf(right) === 0);
    await world.lead(left, 3);
    await serves(world);
  });

  it('conf change between: a target whose members change is not merged into, and the source goes on', async () => {
    const { world, left, right } = await halves(4, 3);
    const before = version(world.leaderRegion(right));
    // The target's peers on 2 and 3 do not answer while the source's merge is prepared.
    await world.lead(left, 2);
    const hear = world.lose(({ to, event }) => event.regionId === left && to === 'store-1');
    await world.addPeer(left, 4, ConfChangeType.AddLearnerNode);
    await world.prepareMerge(right, world.peer(left, 1).region);
    hear();
    await world.when('the rollback', () => version(world.leaderRegion(right)) === before + 2);
    await world.removePeer(left, 4);
    await serves(world);
  });

  it('conf change between: a source that is to be merged changes no members', async () => {
    const { world, left, right } = await halves(4, 3);
    const wait = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    const before = world.leaderRegion(right);
    const peer = { id: 0, storeId: 4, role: metapb.PeerRole.Learner };
    const reply = await world.change(right, {
      cmdType: AdminCmdType.ChangePeerV2,
      changePeerV2: { changes: [{ changeType: ConfChangeType.AddLearnerNode, peer }] },
    });
    expect(reply.regionError?.proposalInMergingMode).to.deep.equal({ regionId: right });
    expect(world.leaderRegion(right)).to.deep.equal(before);
    wait();
    await world.when('the merge', () => [1, 2, 3].every((store) => !world.replica(right, store)));
    await serves(world);
  });

  it('compact-log between: a log that was cut just now holds the merge up, and what is prepared cuts no log', async () => {
    const { world, left, right } = await halves();
    const wait = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge everywhere', () =>
      [1, 2, 3].every((store) => world.peer(right, store).mergeState !== undefined),
    );
    const source = world.peer(right, 1);
    const { firstIndex = 0, applied = 0 } = source.raftGroup?.status() ?? {};
    // Nobody proposes one by now; this one was on its way already.
    const compactLog = { compactIndex: applied, compactTerm: source.raftGroup?.raft.termAt(applied) ?? 0 };
    source.proposeAdmin({ cmdType: AdminCmdType.CompactLog, compactLog }, () => {});
    await world.when('the command to be applied', () => (source.raftGroup?.applied ?? 0) > applied);
    expect(source.raftGroup?.status().firstIndex).to.equal(firstIndex);
    wait();
    await oneRegion(world, left);
    await serves(world);
  });
});

import { expect } from 'chai';
import { confStateOf } from '../../cluster/store/admin/change-peer.js';
import { toConfState } from '../../machines/raft/configuration.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { FaultyRegionWorld } from './faulty-region-world.js';

const { AdminCmdType } = raft_cmdpb;
const { ConfChangeType } = eraftpb;
const { PeerRole } = metapb;

/** Roles by store, as a store has them. */
function roles(world: FaultyRegionWorld, store = world.leaderOf(1)): Record<number, string> {
  const names = Object.entries(PeerRole);
  return Object.fromEntries(
    world
      .peer(1, store)
      .region.peers.map(({ storeId, role }) => [
        storeId,
        names.find(([, value]) => value === role)?.[0] ?? '',
      ]),
  );
}

const confVer = (world: FaultyRegionWorld) => world.leaderRegion(1).regionEpoch?.confVer ?? 0;

/** On every store the Raft group has the membership that its region's roles amount to. */
async function agrees(world: FaultyRegionWorld): Promise<void> {
  await world.settle();
  for (const { replicas } of world.stores.values()) {
    for (const { region, raftGroup } of replicas.values()) {
      const { configuration } = raftGroup?.status() ?? {};
      const made = configuration && toConfState(configuration);
      const expected = confStateOf(region);
      for (const half of ['voters', 'votersOutgoing', 'learners', 'learnersNext'] as const)
        expect([...(made?.[half] ?? [])].sort(), half).to.deep.equal([...expected[half]].sort());
    }
  }
}

function ask(world: FaultyRegionWorld, ...changes: readonly [eraftpb.ConfChangeType, number][]) {
  const { peers } = world.leaderRegion(1);
  return changes.map(([changeType, storeId]) => ({
    changeType,
    peer: peers.find((peer) => peer.storeId === storeId) ?? { id: 0, storeId, role: PeerRole.Voter },
  }));
}

async function start(): Promise<FaultyRegionWorld> {
  const world = await FaultyRegionWorld.start(4, 3);
  await world.put('a', 'a');
  await world.lead(1, 1);
  return world;
}

describe('members of regions on live stores', () => {
  it('each role change of a simple change, on every replica and in its Raft group', async () => {
    const world = await start();
    const before = confVer(world);
    const steps: readonly [eraftpb.ConfChangeType, number, string | undefined][] = [
      [ConfChangeType.AddLearnerNode, 4, 'Learner'],
      [ConfChangeType.AddNode, 4, 'Voter'],
      [ConfChangeType.AddLearnerNode, 4, 'Learner'],
      [ConfChangeType.RemoveNode, 4, undefined],
      [ConfChangeType.AddNode, 4, 'Voter'],
      [ConfChangeType.RemoveNode, 4, undefined],
    ];
    for (const [i, [kind, store, role]] of steps.entries()) {
      await world.changePeers(1, ask(world, [kind, store]));
      expect([roles(world)[store], confVer(world)]).to.deep.equal([role, before + i + 1]);
      await agrees(world);
    }
    await world.close();
  });

  it('who asks for a learner on a store demotes no voter there, and nobody takes the last voter away', async () => {
    const world = await start();
    const alone = (changeType: eraftpb.ConfChangeType, storeId: number) =>
      world.change(1, {
        cmdType: AdminCmdType.ChangePeerV2,
        changePeerV2: { changes: [{ changeType, peer: { id: 0, storeId, role: PeerRole.Learner } }] },
      });
    const asked = await alone(ConfChangeType.AddLearnerNode, 3);
    expect(asked.refusal).to.include({ code: 'peer-exists', retry: false });
    expect(asked.refusal?.message).to.contain('on store 3 is a voter already');
    await world.changePeers(1, ask(world, [ConfChangeType.RemoveNode, 2]));
    await world.changePeers(1, ask(world, [ConfChangeType.RemoveNode, 3]));
    const last = await alone(ConfChangeType.RemoveNode, 1);
    expect(last.refusal).to.include({ code: 'last-voter', retry: false });
    expect(roles(world)).to.deep.equal({ 1: 'Voter' });
    await world.close();
  });

  it('a replica moves by way of a joint membership, which serves, and is left', async () => {
    const world = await start();
    await world.changePeers(1, ask(world, [ConfChangeType.AddLearnerNode, 4]));
    await agrees(world);
    const before = confVer(world);
    await world.changePeers(1, ask(world, [ConfChangeType.AddNode, 4], [ConfChangeType.AddLearnerNode, 3]));
    expect(roles(world)).to.deep.equal({ 1: 'Voter', 2: 'Voter', 3: 'DemotingVoter', 4: 'IncomingVoter' });
    expect(confVer(world)).to.equal(before + 2);
    await agrees(world);
    await world.put('b', 'in between');
    // One change at a time: nothing else is taken before it is left.
    const more = await world.change(1, {
      cmdType: AdminCmdType.ChangePeerV2,
      changePeerV2: { changes: ask(world, [ConfChangeType.RemoveNode, 2]) },
    });
    expect(more.refusal).to.include({ code: 'joint', retry: false });
    await world.changePeers(1, []);
    expect(roles(world)).to.deep.equal({ 1: 'Voter', 2: 'Voter', 3: 'Learner', 4: 'Voter' });
    expect(confVer(world)).to.equal(before + 4);
    await world.changePeers(1, ask(world, [ConfChangeType.RemoveNode, 3]));
    await world.when('the end of the learner', () => world.replica(1, 3) === undefined);
    await agrees(world);
    await world.close();
  });

  it('a joint membership needs a majority of both halves', async () => {
    const world = await start();
    await world.changePeers(1, ask(world, [ConfChangeType.AddLearnerNode, 4]));
    await agrees(world);
    await world.changePeers(1, ask(world, [ConfChangeType.AddNode, 4], [ConfChangeType.AddLearnerNode, 3]));
    await agrees(world);
    // Without 2 and 4 the outgoing voters 1 and 3 are a majority of theirs, and the incoming 1, 2 and 4 have none.
    const join = world.lose(({ from }) => from === 'store-2' || from === 'store-4');
    const { commit = 0 } = world.peer(1, 1).raftGroup?.status() ?? {};
    let written = false;
    world.write(1, 1, { rawPut: { key: Buffer.from('b'), value: Buffer.from('b'), cf: '' } }, () => {
      written = true;
    });
    const third = world.peer(1, 3).peerId;
    await world.when('the write on the other half', () => {
      return (world.peer(1, 1).raftGroup?.status().progress.get(third)?.match ?? 0) > commit;
    });
    await world.rest(200);
    expect([written, world.peer(1, 1).raftGroup?.status().commit]).to.deep.equal([false, commit]);
    join();
    await world.when('the outcome', () => written);
    await world.put('c', 'c');
    await world.close();
  });

  it('a joint membership that demotes its leader is left when leadership has moved', async () => {
    const world = await start();
    await world.changePeers(1, ask(world, [ConfChangeType.AddLearnerNode, 4]));
    await agrees(world);
    await world.changePeers(1, ask(world, [ConfChangeType.AddNode, 4], [ConfChangeType.AddLearnerNode, 1]));
    expect([world.leaderOf(1), roles(world)[1]]).to.deep.equal([1, 'DemotingVoter']);
    const leave = { cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes: [] } } as const;
    expect((await world.change(1, leave)).refusal).to.include({ code: 'transferring', retry: true });
    // Who is to lead may not have applied the change yet, and leadership stays once more.
    await world.changePeers(1, []);
    expect([world.leaderOf(1) > 1, roles(world)[1]]).to.deep.equal([true, 'Learner']);
    await agrees(world);
    await world.close();
  });

  it('a joint membership outlives a power failure of everybody', async () => {
    const world = await start();
    await world.changePeers(1, ask(world, [ConfChangeType.AddLearnerNode, 4]));
    await agrees(world);
    await world.changePeers(1, ask(world, [ConfChangeType.AddNode, 4], [ConfChangeType.AddLearnerNode, 3]));
    for (const store of [1, 2, 3, 4]) world.cut(store);
    for (const store of [1, 2, 3, 4]) await world.restart(store);
    await agrees(world);
    expect(roles(world)).to.deep.equal({ 1: 'Voter', 2: 'Voter', 3: 'DemotingVoter', 4: 'IncomingVoter' });
    await world.changePeers(1, []);
    await agrees(world);
    await world.close();
  });

  it('leadership goes to who is up to date: a lagging or silent target is refused first, and nothing changes', async () => {
    const world = await start();
    const hear = world.lose(({ to, event }) => to === 'store-3' && event.message.entries.length > 0);
    const { term } = world.peer(1, 1).group;
    for (let i = 0; i < 140; i++) world.peer(1, 1).compactLog(1, 1);
    await world.put('b', 'b');
    const transfer = (storeId: number) =>
      world.change(1, {
        cmdType: AdminCmdType.TransferLeader,
        transferLeader: { peer: { id: 0, storeId, role: PeerRole.Voter } },
      });
    const lagging = await transfer(3);
    expect(lagging.refusal).to.include({ code: 'not-ready', retry: true });
    expect(lagging.refusal?.message).to.contain('on store 3');
    await world.put('c', 'proposals go on');
    hear();
    await world.settle();
    world.cut(2);
    await world.whenRead('its silence', async () => {
      // A region without traffic would rest, and count nobody's silence.
      await world.db.raw.put('d', 'd');
      const status = world.peer(1, 1).raftGroup?.status();
      const second = world.leaderRegion(1).peers.find(({ storeId }) => storeId === 2)?.id ?? 0;
      return status?.progress.get(second)?.live === false;
    });
    expect((await transfer(2)).refusal?.message).to.contain('does not answer');
    expect([world.leaderOf(1), world.peer(1, 1).group.term]).to.deep.equal([1, term]);
    await world.restart(2);
    await world.lead(1, 3);
    await world.close();
  });
});

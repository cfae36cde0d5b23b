import { expect } from 'chai';
import type { Status } from '../../machines/index.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { FaultyRegionWorld, storeName } from './faulty-region-world.js';
import { QUICK } from './region-world.js';

/** Milliseconds that each call of a slow disk takes: longer than the others need for a change of members. */
const SLOW_MS = 300;
const KEYS = ['a', 'b', 'c'];

async function leavesNothing(world: FaultyRegionWorld): Promise<void> {
  await world.when('the end of the peer', () => world.regionsOn(4).length === 0);
  for (const key of KEYS) expect(await world.until(world.stored(4, key)), key).to.equal(false);
  const files = await world.until(world.engines.get(storeName(4))?.files.list() ?? Promise.resolve([]));
  expect(files).to.deep.equal([]);
}

describe('peers that are removed while they come', () => {
  it('leaves nothing of a snapshot that was about to be durable', async () => {
    const world = await FaultyRegionWorld.start(4, 3);
    for (const key of KEYS) await world.put(key, 'x');
    world.latencies.set(storeName(4), SLOW_MS);
    await world.addPeer(1, 4);
    await world.when(
      'a snapshot on its way to the disk',
      () => world.replica(1, 4)?.raftGroup?.raft.pendingSnapshot !== undefined,
    );
    await world.removePeer(1, 4);
    await leavesNothing(world);
    world.latencies.clear();
    await world.addPeer(1, 4);
    await world.close();
  });

  it('leaves nothing of a snapshot that was being installed', async () => {
    const world = await FaultyRegionWorld.start(4, 3);
    for (const key of KEYS) await world.put(key, 'x');
    world.latencies.set(storeName(4), SLOW_MS);
    await world.addPeer(1, 4);
    await world.whenRead('the first of the data', () => world.stored(4, 'a'));
    expect(world.peer(1, 4).initialised).to.equal(false);
    await world.removePeer(1, 4);
    await leavesNothing(world);
    world.latencies.clear();
    await world.addPeer(1, 4);
    await world.close();
  });
});

describe('what is left of removed peers', () => {
  it('buries nobody: one that never knew its region', async () => {
    const world = await FaultyRegionWorld.start(5, 3);
    await world.lead(1, 1);
    await world.addPeer(1, 5);
    await world.settle();
    const withhold = world.network.filterEnvelopes((_, { kind }) => kind !== 'snapshot.offer');
    await world.addPeer(1, 4);
    await world.when('a peer that waits', () => world.replica(1, 4)?.initialised === false);
    await world.when('a member that knows it', () => world.replica(1, 3)?.region.peers.length === 5);
    const join = world.isolate(3);
    await world.removePeer(1, 4);
    await world.when('its end', () => world.regionsOn(4).length === 0);
    join();
    await asksInVain(world, 3, 4);
    withhold();
    await world.close();
  });

  it('buries nobody: one that had missed who came after it', async () => {
    const world = await FaultyRegionWorld.start(5, 3);
    await world.lead(1, 1);
    await world.addPeer(1, 4);
    await world.settle();
    const joinFourth = world.isolate(4);
    await world.addPeer(1, 5);
    await world.when('the new peer', () => world.replica(1, 5)?.initialised === true);
    joinFourth();
    const join = world.isolate(4, 5);
    await world.removePeer(1, 4);
    join();
    const joinFifth = world.isolate(5);
    await world.when('the end of the removed', () => world.regionsOn(4).length === 0);
    joinFifth();
    await asksInVain(world, 5, 4);
    await world.close();
  });
});

describe('peers whose log ends with their removal', () => {
  it('end when a member has told them, or the scheduler when nobody does', async () => {
    const world = await FaultyRegionWorld.start(2);
    await world.lead(1, 1);
    const hear = world.loseNotices(() => true);
    await world.removePeer(1, 2);
    await world.rest(200);
    expect(world.regionsOn(2)).to.deep.equal([1]);
    await world.when('an answer of the scheduler', () => world.regionsOn(2).length === 0);
    hear();
    await world.put('a', 'x');
    await world.close();
  });

  it('hand over when they lead: of two, the other one has to learn of it', async () => {
    const { world, secret } = await ledByTheRemoved();
    await world.rest(2_000);
    secret();
    await world.when('the end of the removed', () => world.regionsOn(2).length === 0);
    await world.put('b', 'y');
    await world.close();
  });

  it('say what is committed to whom they refuse: a power loss may leave the other one with the shorter log', async () => {
    const { world, secret } = await ledByTheRemoved();
    world.latencies.set(storeName(1), SLOW_MS);
    const { lastIndex } = statusOn(world, 2);
    await world.when('an entry of the next leader', () => statusOn(world, 2).lastIndex > lastIndex);
    world.latencies.clear();
    await world.restart(1);
    expect(statusOn(world, 1).lastIndex).to.be.lessThan(statusOn(world, 2).lastIndex);
    secret();
    await world.when('the end of the removed', () => world.regionsOn(2).length === 0);
    await world.put('b', 'y');
    await world.close();
  });
});

describe('a peer that has missed its removal', () => {
  it('makes room for the region that has its keys now, when that comes', async () => {
    const tuning = { ...QUICK, stalePeerTimeout: 3_600_000 };
    const world = await FaultyRegionWorld.start(4, 3, tuning);
    for (const key of ['a', 'm', 'z']) await world.put(key, key);
    // It is told once, and that is lost; a learner asks for no votes, so it is not told again.
    world.loseNotices(({ isTombstone }) => isTombstone);
    const peer = { id: 0, storeId: 4, role: metapb.PeerRole.Learner };
    await world.changePeers(1, [{ changeType: eraftpb.ConfChangeType.AddLearnerNode, peer }]);
    await world.when('the learner', () => world.replica(1, 4)?.initialised === true);
    const join = world.isolate(4);
    const [left, right] = await world.split(1, 'm');
    const made = [left, right].find((region) => region?.id !== 1)?.id ?? 0;
    await world.removePeer(1, 4);
    join();
    await world.when('the other part', () => world.replica(made, 4)?.initialised === true);
    await world.when('the end of the removed', () => world.regionsOn(4).join() === String(made));
    await world.close();
  });
});

/** Of two peers the second is removed and then leads: it has the removal committed, and cannot tell until `secret` is called. */
async function ledByTheRemoved() {
  const world = await FaultyRegionWorld.start(2);
  await world.lead(1, 1);
  await world.put('a', 'x');
  // The leader does not hear that its entry was taken, and its term ends.
  const removal = askForRemoval(world);
  const silence = world.lose(({ from }) => from === storeName(2));
  await world.when('the entry', () => statusOn(world, 2).lastIndex >= removal);
  await world.when('the end of the term', () => statusOn(world, 1).role !== 'leader');
  silence();
  const secret = world.lose(({ from, event }) => from === storeName(2) && event.message.commit >= removal);
  const blocked = world.lose(({ from, event }) => from === storeName(1) && asksForVote(event.message.type));
  await world.when('the removed to lead', () => statusOn(world, 2).commit >= removal);
  blocked();
  return { world, secret };
}

/** Asks the leader, on the first store, to remove the second of two peers. @returns the index of the entry */
function askForRemoval(world: FaultyRegionWorld): number {
  const { changes, region } = world.peer(1, 1);
  const peer = region.peers.find(({ storeId }) => storeId === world.stores.get(storeName(2))?.storeId);
  const { lastIndex } = statusOn(world, 1);
  const command = raft_cmdpb.AdminRequest.from({
    cmdType: raft_cmdpb.AdminCmdType.ChangePeerV2,
    changePeerV2: { changes: [{ changeType: eraftpb.ConfChangeType.RemoveNode, peer }] },
  });
  const context = { regionId: 1, regionEpoch: region.regionEpoch, peer: undefined, term: 0 };
  changes.request({ context, command, halve: false }, () => {});
  return lastIndex + 1;
}

function statusOn(world: FaultyRegionWorld, store: number): Status {
  const status = world.peer(1, store).raftGroup?.status();
  if (status === undefined) throw new Error(`store ${store} has no Raft group`);
  return status;
}

function asksForVote(type: string): boolean {
  return type === 'requestVote' || type === 'requestPreVote';
}

/** A member that knows nothing of a removal asks the store of the removed for its vote, and only that. */
async function asksInVain(world: FaultyRegionWorld, member: number, removed: number): Promise<void> {
  const others = [1, 2, 3, 4, 5].filter((store) => store !== member && store !== removed);
  const join = world.isolate(...others.filter((store) => world.stores.has(storeName(store))));
  let asked = false;
  const stop = world.lose(({ to, event }) => {
    if (to === storeName(removed)) asked ||= event.message.type === 'requestPreVote';
    return false;
  });
  await world.when('the question', () => asked);
  await world.rest(1_000);
  stop();
  join();
  expect(world.regionsOn(member)).to.deep.equal([1]);
}

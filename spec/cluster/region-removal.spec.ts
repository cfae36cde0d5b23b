import { expect } from 'chai';
import { SimulatedDisk } from '../../storage/index.js';
import { FaultyRegionWorld, storeName } from './faulty-region-world.js';

/** Milliseconds that each call of a slow disk takes: longer than the others need for a change of members. */
const SLOW_MS = 300;

/** Three stores with a region, and a fourth without one, whose disk can be made slow. */
async function worldWithSlowStore() {
  const world = await FaultyRegionWorld.start(3);
  let slow = false;
  const { random, clock } = world;
  world.disks.set(
    storeName(4),
    new SimulatedDisk({ random, clock, latency: (call) => (slow && call !== 'read' ? SLOW_MS : 1) }),
  );
  await world.startStore(storeName(4));
  for (let i = 0; i < 20; i++) await world.put(`k${i}`, `v${i}`);
  return {
    world,
    setSlow: (value: boolean) => {
      slow = value;
    },
  };
}

async function leavesNothing(world: FaultyRegionWorld): Promise<void> {
  await world.when('the end of the peer', () => world.regionsOn(4).length === 0);
  for (let i = 0; i < 20; i++) expect(await world.until(world.stored(4, `k${i}`)), `k${i}`).to.equal(false);
  const files = await world.until(world.engines.get(storeName(4))?.files.list() ?? Promise.resolve([]));
  expect(files).to.deep.equal([]);
}

describe('peers that are removed while they come', () => {
  it('leaves nothing of a snapshot that was about to be durable', async () => {
    const { world, setSlow } = await worldWithSlowStore();
    setSlow(true);
    await world.addPeer(1, 4);
    await world.when(
      'a snapshot on its way to the disk',
      () => world.replica(1, 4)?.raftGroup?.raft.pendingSnapshot !== undefined,
    );
    await world.removePeer(1, 4);
    await leavesNothing(world);
    setSlow(false);
    await world.addPeer(1, 4);
    await world.close();
  });

  it('leaves nothing of a snapshot that was being installed', async () => {
    const { world, setSlow } = await worldWithSlowStore();
    setSlow(true);
    await world.addPeer(1, 4);
    await world.whenRead('the first of the data', () => world.stored(4, 'k0'));
    expect(world.peer(1, 4).initialised).to.equal(false);
    await world.removePeer(1, 4);
    await leavesNothing(world);
    setSlow(false);
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

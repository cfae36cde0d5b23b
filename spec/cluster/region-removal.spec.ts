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

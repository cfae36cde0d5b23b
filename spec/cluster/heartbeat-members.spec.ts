import { expect } from 'chai';
import { eraftpb } from '../../storage/proto/index.js';
import { downOf, HeartbeatWorld, pendingOf } from './heartbeat-world.js';
import { QUICK } from './region-world.js';

const { ConfChangeType } = eraftpb;
/** Milliseconds within which the scheduler hears that a member is down or pending, or no more so, once its leader knows it. */
const SOON_MS = 1_100;
/** An election timeout or two, after which a leader knows. */
const NOTICED_MS = 2 * 10 * 50;
const INTERVAL_MS = 10_000;

/** Keeps a region awake for so long. */
async function use(world: HeartbeatWorld, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 200) {
    await world.put('busy', String(left));
    await world.rest(200);
  }
}

describe('Heartbeats name members', () => {
  it('that are down, soon and for how long, and say soon that they are back', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    await use(world, 2_000);
    expect(world.of(1).flatMap(downOf), 'nobody is down').to.deep.equal([]);
    const cutAt = world.clock.now();
    world.cut(3);
    await use(world, NOTICED_MS + SOON_MS);
    const first = world.of(1, cutAt).find((told) => downOf(told).length > 0);
    expect(first?.at, 'the first word of it').to.be.within(cutAt, cutAt + NOTICED_MS + SOON_MS);
    await use(world, 3 * INTERVAL_MS);
    const told = world.of(1, cutAt);
    expect(told.length, 'heartbeats').to.be.within(4, 6);
    for (const one of told.slice(1)) {
      const [[store, seconds] = [0, 0]] = downOf(one);
      const silent = (one.at - cutAt) / 1000;
      expect([store, downOf(one).length]).to.deep.equal([3, 1]);
      expect(seconds, `after ${silent} s`).to.be.within(silent - 2, silent);
    }
    await world.restart(3);
    await world.when('a live peer', () => {
      const peer = world.peer(1, 3).peerId;
      return world.peer(1, 1).raftGroup?.raft.memberProgress(peer)?.recentActive === true;
    });
    const backAt = world.clock.now();
    await use(world, SOON_MS);
    expect(world.of(1, backAt).length, 'word of its return').to.be.greaterThan(0);
    expect(downOf(world.last(1))).to.deep.equal([]);
    await world.close();
  });

  it('whose store is gone, though the region sleeps, which it goes on to do', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    await world.asleep(1);
    const quietFrom = world.clock.now();
    await world.rest(2 * 60_000);
    expect(world.of(1, quietFrom).length, 'heartbeats of an idle region in two minutes').to.be.within(1, 2);
    const cutAt = world.clock.now();
    world.cut(3);
    await world.rest(NOTICED_MS + SOON_MS);
    expect(world.of(1, cutAt).map((told) => downOf(told)[0]?.[0])).to.deep.equal([3]);
    const seconds = [];
    for (let i = 0; i < 3; i++) {
      await world.rest(INTERVAL_MS);
      seconds.push(downOf(world.last(1))[0]?.[1] ?? 0);
    }
    for (const [i, one] of seconds.entries())
      expect(one, `${i}`).to.be.within((i + 1) * 10 - 2, (i + 1) * 10 + 2);
    expect(world.of(1, cutAt).length).to.be.within(4, 5);
    expect(world.peer(1, 1).raftGroup?.asleep, 'asleep').to.equal(true);
    await world.restart(3);
    await world.when('word of its return', () => downOf(world.last(1)).length === 0);
    await world.close();
  });

  it('that are down from the election on, where the leader is new', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    world.cut(3);
    await use(world, INTERVAL_MS);
    await world.lead(1, 2);
    const electedAt = world.clock.now();
    await use(world, 2 * INTERVAL_MS);
    const told = world.of(1, electedAt - 50).filter(({ from }) => from === 'store-2');
    expect(told.length).to.be.greaterThan(1);
    for (const one of told) {
      for (const [, seconds] of downOf(one)) expect(seconds).to.be.at.most((one.at - electedAt) / 1000 + 1);
    }
    expect(downOf(world.last(1))[0]?.[1]).to.be.greaterThan(7);
    await world.restart(3);
    await world.close();
  });

  it('as pending never where all are whole: not after an election, a transfer or a split', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.put('a', 'a');
    for (const store of [2, 3, 1]) await world.lead(1, store);
    const parts = await world.split(1, 'h', 'p');
    for (const { id } of parts) await world.when('a leader of a part', () => world.leaderOf(id) > 0);
    for (const { id } of parts) await world.lead(id, 3);
    await world.rest(2_000);
    expect(world.regions.map(pendingOf).filter((stores) => stores.length > 0)).to.deep.equal([]);
    await world.close();
  });

  it('as pending that are new, until they have caught up, which is told within a second', async () => {
    const world = await HeartbeatWorld.start(4, 3);
    await world.lead(1, 1);
    const at = world.clock.now();
    // Its store takes so long that it stays without a snapshot for some time.
    world.latencies.set('store-4', 300);
    await world.addPeer(1, 4, ConfChangeType.AddLearnerNode);
    await world.when('word of the learner', () => world.of(1, at).length > 0);
    expect(pendingOf(world.last(1))).to.deep.equal([4]);
    const told = world.of(1, at).length;
    await world.when('a learner that has caught up', () => {
      const { raftGroup: group } = world.peer(1, 1);
      const peer = world.leaderRegion(1).peers.find(({ storeId }) => storeId === 4);
      const progress = group?.raft.memberProgress(peer?.id ?? 0);
      return (
        progress !== undefined &&
        progress.match + 1 >= (group?.raft.firstIndex ?? 0) &&
        progress.state !== 'snapshot'
      );
    });
    const caughtUpAt = world.clock.now();
    expect(world.of(1, at).length - told, 'heartbeats meanwhile').to.be.at.most(1);
    await world.when('word of it', () => pendingOf(world.last(1)).length === 0);
    expect(world.clock.now() - caughtUpAt).to.be.at.most(SOON_MS);
    world.latencies.delete('store-4');
    await world.close();
  });

  it('as pending that a new leader has not heard, where it had to be added without a log', async () => {
    const world = await HeartbeatWorld.start(3, 3, { ...QUICK, hibernate: false });
    await world.lead(1, 1);
    world.cut(3);
    await world.rest(NOTICED_MS + SOON_MS);
    // The new leader gives it the benefit of the doubt, and no longer than a second.
    await world.lead(1, 2);
    await world.rest(2 * SOON_MS);
    expect(pendingOf(world.last(1))).to.deep.equal([3]);
    await world.restart(3);
    await world.when('word of its return', () => pendingOf(world.last(1)).length === 0);
    await world.close();
  });
});

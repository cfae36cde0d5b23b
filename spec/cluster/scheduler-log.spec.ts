import { expect } from 'chai';
import type { SchedulerNode, SchedulerOptions } from '../../cluster/scheduler/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

const NO_KEY = new Uint8Array(0);
/** Cuts soon, and leaves little. */
const SHORT_LOG: Partial<SchedulerOptions> = {
  tuning: { logGc: { interval: 500, threshold: 10, countLimit: 40, bytesLimit: 1024 * 1024 } },
};

describe("the schedulers' log", () => {
  let world: SchedulerWorld;

  afterEach(() => world.close());

  function at(index: number): FakeStore {
    const store = world.stores[index];
    if (store === undefined) throw new Error(`no store ${index}`);
    return store;
  }

  function node(name: string): SchedulerNode {
    const found = world.schedulers.get(name);
    if (found === undefined) throw new Error(`${name} does not run`);
    return found;
  }

  function leading(): SchedulerNode {
    const { leader } = world;
    if (leader === undefined) throw new Error('no scheduler leads');
    return leader;
  }

  const follower = (): string => world.names.find((name) => name !== leading().name) ?? '';

  const status = (one: SchedulerNode) => {
    const { raftGroup } = one;
    if (raftGroup === undefined) throw new Error('not started');
    return raftGroup.status();
  };

  /** Splits the last region again and again: each report is an entry, and a region more. */
  async function splits(count: number, at0 = 0): Promise<void> {
    const { region } = await world.settle(at(0).scheduler.getRegionById(1, { timeout: 20_000 }));
    if (region === undefined) throw new Error('no region 1');
    let { startKey, regionEpoch: { version } = { version: 0 } } = region;
    for (let i = 0; i < count; i++) {
      const key = new Uint8Array(Buffer.from(`r${String(at0 + i).padStart(6, '0')}`));
      const id = 2_000 + 10 * (at0 + i);
      version++;
      const epoch = { confVer: 1, version };
      const left: metapb.Region = {
        id,
        startKey,
        endKey: key,
        regionEpoch: epoch,
        peers: region.peers.map((peer, n) => ({ ...peer, id: id + 1 + n })),
      };
      const right = { ...region, startKey: key, endKey: NO_KEY, regionEpoch: epoch };
      await world.settle(at(0).scheduler.reportBatchSplit([left, right], { timeout: 20_000 }));
      startKey = key;
    }
  }

  async function everything() {
    const { scheduler } = at(1);
    const regions = await world.settle(scheduler.scanRegions(NO_KEY, NO_KEY, 0, { timeout: 20_000 }));
    const stores = await world.settle(scheduler.getAllStores());
    return { regions: regions.map(({ region }) => region), stores };
  }

  /** Makes this one lead. */
  async function enthrone(name: string): Promise<void> {
    for (let tries = 0; tries < 20 && world.leader?.name !== name; tries++) {
      const id = world.names.indexOf(name) + 1;
      world.leader?.raftGroup?.transferLeader(id);
      await world.clock.advance(500);
    }
    expect(world.leader?.name).to.equal(name);
  }

  it('of one scheduler is cut too, and a restart goes on from what is left', async () => {
    world = await SchedulerWorld.serving(1, SHORT_LOG);
    await splits(60);
    await world.clock.advance(3_000);
    const { firstIndex, lastIndex } = status(leading());
    expect(firstIndex).to.be.greaterThan(50);
    expect(lastIndex - firstIndex).to.be.below(20);
    const before = await everything();
    expect(before.regions).to.have.length(61);
    world.crash();
    await world.settle(world.scheduler(SHORT_LOG));
    expect(await everything()).to.deep.equal(before);
  });

  it('is cut at the same place by all, and not before who is there has it', async () => {
    world = await SchedulerWorld.three(2, SHORT_LOG);
    await splits(30);
    await world.clock.advance(3_000);
    const firsts = [...world.schedulers.values()].map((one) => status(one).firstIndex);
    expect(firsts[0]).to.be.greaterThan(20);
    expect(new Set(firsts).size).to.equal(1);
    for (const one of world.schedulers.values()) expect(one.counters.snapshotsInstalled).to.equal(0);
  });

  it('comes as a snapshot to a member that was away for long, which then may lead', async () => {
    world = await SchedulerWorld.three(3, SHORT_LOG);
    const away = follower();
    await splits(3);
    world.crash(away);
    await world.clock.advance(3_000);
    await splits(60, 3);
    await world.clock.advance(3_000);
    await world.settle(world.scheduler(SHORT_LOG, away));
    await world.clock.runUntil(() => node(away).counters.snapshotsInstalled > 0, 30_000);
    expect(node(away).counters.snapshotsInstalled).to.equal(1);
    const before = await everything();
    expect(before.regions).to.have.length(64);
    await world.clock.advance(1_000);
    await enthrone(away);
    expect(await everything()).to.deep.equal(before);
    // Ids go on behind those that were given while it was away, also after a restart from what the snapshot brought.
    const id = await world.settle(at(0).scheduler.allocIds(1, { timeout: 20_000 }));
    world.crash(away);
    await world.settle(world.scheduler(SHORT_LOG, away));
    await world.clock.advance(2_000);
    await enthrone(away);
    expect(await everything()).to.deep.equal(before);
    expect(await world.settle(at(0).scheduler.allocIds(1, { timeout: 20_000 }))).to.be.greaterThan(id);
  }).timeout(10_000);

  it('comes in chunks when the state is large', async () => {
    world = await SchedulerWorld.three(4, SHORT_LOG);
    const away = follower();
    world.crash(away);
    await world.clock.advance(3_000);
    const { region } = await world.settle(at(0).scheduler.getRegionById(1, { timeout: 20_000 }));
    if (region === undefined) throw new Error('no region 1');
    const epoch = { confVer: 1, version: 2 };
    const many = 20_000;
    const key = (i: number) =>
      i === 0 || i === many ? NO_KEY : new Uint8Array(Buffer.from(`r${String(i).padStart(24, '0')}`));
    for (let from = 0; from < many; from += 1_000) {
      const regions = Array.from({ length: 1_000 }, (_, i) => ({
        ...region,
        id: from + i === 0 ? 1 : 10_000 + from + i,
        startKey: key(from + i),
        endKey: key(from + i + 1),
        regionEpoch: epoch,
      }));
      await world.settle(at(0).scheduler.reportBatchSplit(regions, { timeout: 20_000 }));
    }
    for (let i = 0; i < 30; i++) await world.settle(at(0).scheduler.allocIds(5_000));
    await world.clock.advance(5_000);
    let largest = 0;
    const stop = world.network.trace(({ bytes }) => {
      largest = Math.max(largest, bytes.length);
    });
    await world.settle(world.scheduler(SHORT_LOG, away));
    await world.clock.runUntil(() => node(away).counters.snapshotsInstalled > 0, 60_000);
    stop();
    expect(node(away).counters.snapshotsInstalled).to.equal(1);
    expect(largest, 'bytes of a message').to.be.below(128 * 1024);
    await world.clock.advance(1_000);
    await enthrone(away);
    const { regions } = await world.settle(at(0).scheduler.status());
    expect(regions.length).to.be.greaterThan(1_000);
    for (const i of [0, 7_777, many - 1]) {
      const found = await world.settle(at(0).scheduler.getRegion(new Uint8Array(key(i))));
      expect(Buffer.from(found.region?.startKey ?? NO_KEY).toString()).to.equal(
        Buffer.from(key(i)).toString(),
      );
    }
  }).timeout(30_000);

  // Where in its way the snapshot is when the power goes: from its offer to its last record.
  it('comes whole or not at all when the power goes on the way', async () => {
    world = await SchedulerWorld.three(9, SHORT_LOG);
    const away = follower();
    await splits(3);
    let made = 3;
    let interrupted = 0;
    for (let step = 1; step <= 40; step++) {
      world.crash(away);
      await world.clock.advance(2_500);
      await splits(14, made);
      made += 14;
      await world.clock.advance(1_500);
      await world.settle(world.scheduler(SHORT_LOG, away));
      // The start of it, then so many steps of everybody.
      const installed = () => node(away).counters.snapshotsInstalled > 0;
      // Nothing happens before the leader has noticed that it is back.
      await world.clock.runUntil(() => node(away).raftGroup?.leader !== 0, 1_000);
      await world.clock.runUntil(installed, step);
      if (node(away).counters.snapshotsInstalled === 0) interrupted++;
      world.crash(away);
      await world.settle(world.scheduler(SHORT_LOG, away));
      await world.clock.runUntil(() => {
        const [own, first] = [node(away).raftGroup?.applied ?? 0, leading().raftGroup?.applied ?? 0];
        return own >= first && first > 0;
      }, 30_000);
    }
    expect(interrupted).to.be.within(3, 37);
    const before = await everything();
    expect(before.regions).to.have.length(made + 1);
    await world.clock.advance(1_000);
    await enthrone(away);
    expect(await everything()).to.deep.equal(before);
  }).timeout(60_000);
});

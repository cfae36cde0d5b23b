import { expect } from 'chai';
import { seededRandom } from '../../actors/index.js';
import { pdpb } from '../../cluster/proto/index.js';
import { spreadHotRegions } from '../../cluster/scheduler/placement/schedulers/hot-region.js';
import { namedScheduler, schedulerName } from '../../cluster/scheduler/placement/schedulers/index.js';
import { grantLeaders } from '../../cluster/scheduler/placement/schedulers/leaders-of-store.js';
import { scatter } from '../../cluster/scheduler/placement/schedulers/scatter.js';
import { metapb } from '../../storage/proto/index.js';
import { inWords, schedulingOf } from './placement-plans.js';
import { faultOf, regionOf, ServiceWorld } from './placement-service-world.js';
import { MIB, PlacementWorld } from './placement-world.js';

const named = (name: string, change = {}) => ({ ...namedScheduler(name), ...change });

/** Regions on stores 1 to 3, all led from the first. */
function ledFromOne(regions: number, stores = 3, config = {}): { world: PlacementWorld; ids: number[] } {
  const world = new PlacementWorld(1, { maxMergeRegionSize: 0, ...config });
  world.addStores(stores);
  return { world, ids: Array.from({ length: regions }, () => world.addRegion({ stores: [1, 2, 3] })) };
}

const leaders = (world: PlacementWorld) => [1, 2, 3].map((id) => world.view.loadOf(id).leaderCount);

describe('evict-leader', () => {
  it('leaves a store no leader, and balance-leader gives it none back', async () => {
    const { world } = ledFromOne(30);
    world.schedulers = [named('balance-leader'), named('evict-leader-1')];
    world.view.evicted = new Set([1]);
    world.start();
    await world.rest();
    expect(leaders(world)).to.deep.equal([0, 15, 15]);
    world.stop();
  });

  it('runs no more operators at once than its limit and that of leaders say', async () => {
    for (const [limit, leaderScheduleLimit, most] of [
      [1, 64, 1],
      [3, 64, 3],
      [0, 2, 2],
      [0, 0, 0],
    ] as const) {
      const { world } = ledFromOne(30, 3, { leaderScheduleLimit });
      world.schedulers = [named('evict-leader-1', { limit })];
      let seen = 0;
      world.start();
      for (let i = 0; i < 50; i++) {
        await world.clock.advance(10);
        seen = Math.max(seen, [...world.coordinator.operators.all()].length);
      }
      expect(seen).to.equal(most);
      world.stop();
    }
  });

  it('moves no leader where no other peer is fit', async () => {
    const { world, ids } = ledFromOne(4);
    for (const id of ids) world.tell(id, { pendingPeers: world.region(id).peers.slice(1) });
    world.schedulers = [named('evict-leader-1')];
    world.start();
    await world.rest();
    expect(leaders(world)).to.deep.equal([4, 0, 0]);
    world.stop();
  });
});

describe('grant-leader', () => {
  it('makes a store lead all that it has a voter of, and balance-leader takes none away', async () => {
    const { world } = ledFromOne(20);
    world.schedulers = [named('balance-leader'), named('grant-leader-2')];
    world.view.granted = new Set([2]);
    world.start();
    await world.rest();
    expect(leaders(world)).to.deep.equal([0, 20, 0]);
    const moved = world.leadersMoved;
    await world.clock.advance(60_000);
    expect(world.leadersMoved).to.equal(moved);
    world.stop();
  });

  for (const [state, isBusy] of [
    ['disconnected', false],
    ['down', false],
    ['offline', false],
    ['up', true],
  ] as const) {
    it(`gives nothing to a store that is ${isBusy ? 'busy' : state}`, () => {
      const { world } = ledFromOne(4);
      world.states.set(2, state);
      const stats = world.stats.get(2);
      if (stats !== undefined) world.stats.set(2, { ...stats, isBusy });
      const scheduling = { ...schedulingOf(world, seededRandom(1)), mayMove: () => true };
      expect(grantLeaders(scheduling, 2)).to.deep.equal([]);
    });
  }
});

describe('hot-region', () => {
  const hot = (world: PlacementWorld) => inWords(spreadHotRegions(schedulingOf(world, seededRandom(1))));

  function reading(rates: readonly number[], config = {}): PlacementWorld {
    const { world, ids } = ledFromOne(rates.length, 4, config);
    for (const [i, id] of ids.entries())
      world.tell(id, { flow: { ...world.report(id).flow, bytesRead: (rates[i] ?? 0) * MIB } });
    return world;
  }

  function writing(rates: readonly number[], config = {}, place = (_: PlacementWorld) => {}): PlacementWorld {
    const { world, ids } = ledFromOne(rates.length, 4, config);
    place(world);
    for (const [i, id] of ids.entries())
      world.tell(id, { flow: { ...world.report(id).flow, bytesWritten: (rates[i] ?? 0) * MIB } });
    return world;
  }

  it('moves the leader of what is read most, where that leaves the stores more alike', () => {
    expect(hot(reading([10, 30]))).to.equal('hot-region: make the peer on store 2 the leader');
    // The only one would only move the heat.
    expect(hot(reading([30]))).to.equal(undefined);
    // Nothing is hot.
    expect(hot(reading([3, 3]))).to.equal(undefined);
    expect(hot(reading([10, 30], { hotRegionScheduleLimit: 0 }))).to.equal(undefined);
  });

  it('moves a replica of what is written most to where least is written', () => {
    expect(hot(writing([10, 30]))).to.match(/^hot-region: make .* add a learner on store 4, .* store 1$/);
    expect(hot(writing([30]))).to.equal(undefined);
  });

  it('moves no replica to where it would stand closer to another one', () => {
    const racks = (world: PlacementWorld) => {
      for (const [id, rack] of [
        [1, 'a'],
        [2, 'b'],
        [3, 'c'],
        [4, 'b'],
      ] as const) {
        const store = world.stores.get(id);
        if (store !== undefined) world.stores.set(id, { ...store, labels: [{ key: 'rack', value: rack }] });
      }
    };
    expect(hot(writing([10, 30], { locationLabels: ['rack'] }, racks))).to.equal(undefined);
  });

  it('gives no leader to a store that is silent or that loses its leaders', () => {
    const world = reading([10, 30]);
    world.view.evicted = new Set([2]);
    expect(hot(world)).to.equal('hot-region: make the peer on store 3 the leader');
    world.states.set(3, 'disconnected');
    expect(hot(world)).to.equal(undefined);
  });

  it('ends with the load spread, and rests', async () => {
    const world = reading(Array(12).fill(10));
    world.schedulers = [named('hot-region')];
    world.start();
    await world.rest();
    const read = [1, 2, 3].map((id) => world.view.loadOf(id).read / MIB);
    expect(Math.max(...read) - Math.min(...read)).to.be.at.most(10);
    world.stop();
  });
});

describe('scatter', () => {
  it('spreads the replicas and leaders of a group over all stores', () => {
    const { world, ids } = ledFromOne(12, 6);
    const group = { replicas: new Map<number, number>(), leaders: new Map<number, number>() };
    for (const id of ids) scatter(world.view, world.coordinator.operators, world.report(id), group);
    expect([...group.replicas.values()].sort()).to.deep.equal(Array(6).fill(6));
    expect(Math.max(...group.leaders.values())).to.be.at.most(3);
  });

  it('leaves a region alone that is not whole, or well placed already', () => {
    const { world, ids } = ledFromOne(2, 6);
    const group = () => ({ replicas: new Map([[1, 9]]), leaders: new Map<number, number>() });
    const [first = 0, second = 0] = ids;
    const scattered = (id: number) =>
      scatter(world.view, world.coordinator.operators, world.report(id), group());
    expect(scattered(first)).to.not.equal(undefined);
    const region = world.region(first);
    world.tell(first, { region: { ...region, peers: region.peers.slice(0, 2) } });
    expect(scattered(first)).to.equal(undefined);
    world.tell(second, { pendingPeers: world.region(second).peers.slice(2) });
    expect(scattered(second)).to.equal(undefined);
  });
});

describe('schedulers are steered', () => {
  it('one that is paused does nothing until then', async () => {
    const { world } = ledFromOne(20);
    world.schedulers = [named('balance-leader', { pausedUntil: 60_000 })];
    world.start();
    await world.clock.advance(59_000);
    expect(leaders(world)).to.deep.equal([20, 0, 0]);
    await world.clock.advance(20_000);
    expect(Math.max(...leaders(world))).to.be.at.most(8);
    world.stop();
  });

  it('one that is removed does nothing, all together nothing while halted', async () => {
    for (const [schedulers, haltScheduling] of [
      [[], false],
      [[named('balance-leader')], true],
    ] as const) {
      const { world } = ledFromOne(20, 3, { haltScheduling });
      world.schedulers = schedulers;
      world.start();
      await world.clock.advance(60_000);
      expect(world.story).to.deep.equal([]);
      world.stop();
    }
  });

  it('by names that say which they are', () => {
    for (const name of [
      'balance-region',
      'balance-leader',
      'hot-region',
      'evict-leader-3',
      'grant-leader-12',
    ])
      expect(schedulerName(namedScheduler(name))).to.equal(name);
    const none = ['', 'balance', 'evict-leader', 'balance-region-1', 'evict-leader-0', 'evict-leader-07'];
    for (const name of [...none, 'evict-leader-x', 'Balance-Region', 'evict-leader--1'])
      expect(() => namedScheduler(name), name).to.throw(/There is no scheduler/);
  });

  it('through the service: added, paused, limited, removed, and refused for what does not run', async () => {
    const world = new ServiceWorld();
    const [store = 0] = world.addStores(3);
    const put = (name: string, change = {}) =>
      world.steer({ scheduler: { name, removed: false, pausedUntil: 0, limit: 0, ...change } });
    await put(`evict-leader-${store}`, { limit: 2 });
    expect([...world.placement.view.evicted]).to.deep.equal([store]);
    await put('balance-region', { pausedUntil: 5_000 });
    await put('hot-region', { removed: true });
    const names = world.state.placement.schedulers.map((entry) => [schedulerName(entry), entry.limit]);
    expect(names).to.deep.equal([
      ['balance-region', 0],
      ['balance-leader', 0],
      [`evict-leader-${store}`, 2],
    ]);
    for (const [name, change, type] of [
      ['evict-leader-99', {}, pdpb.ErrorType.ENTRY_NOT_FOUND],
      ['grant-leader-1', { removed: true }, pdpb.ErrorType.ENTRY_NOT_FOUND],
      ['hot-region', { pausedUntil: 9 }, pdpb.ErrorType.ENTRY_NOT_FOUND],
      ['evict-leader-0', {}, pdpb.ErrorType.INVALID_VALUE],
      ['nonsense', {}, pdpb.ErrorType.INVALID_VALUE],
    ] as const)
      expect((await faultOf(put(name, change))).type, name).to.equal(type);
    await put(`evict-leader-${store}`, { removed: true });
    expect(world.placement.view.evicted.size).to.equal(0);
  });
});

describe('operators that somebody asks for', () => {
  it('are refused when they cannot be', async () => {
    const world = new ServiceWorld();
    const stores = world.addStores(4);
    const [one = 0, two = 0, three = 0, four = 0] = stores;
    const region = regionOf(1, ['', ''], [1, 1], [one, two, three]);
    const peers = region.peers.map((peer) =>
      peer.storeId === three ? { ...peer, role: metapb.PeerRole.Learner } : peer,
    );
    await world.heartbeat({ ...region, peers });
    const ask = (kind: string, change = {}) =>
      Promise.resolve().then(() =>
        world.service.answer({
          type: 'pd.addOperator',
          header: undefined,
          kind,
          regionIds: [1],
          fromStore: 0,
          toStore: 0,
          targetRegion: 0,
          ...change,
        }),
      );
    const { DUPLICATED_ENTRY, ENTRY_NOT_FOUND, REGION_NOT_FOUND, INVALID_VALUE } = pdpb.ErrorType;
    for (const [kind, change, type] of [
      ['transfer-leader', { toStore: four }, ENTRY_NOT_FOUND],
      ['transfer-leader', { toStore: three }, DUPLICATED_ENTRY],
      ['transfer-leader', { toStore: two, regionIds: [9] }, REGION_NOT_FOUND],
      ['transfer-leader', { toStore: two, regionIds: [] }, REGION_NOT_FOUND],
      ['add-peer', { toStore: 99 }, ENTRY_NOT_FOUND],
      ['add-peer', { toStore: two }, DUPLICATED_ENTRY],
      ['move-peer', { fromStore: four, toStore: two }, ENTRY_NOT_FOUND],
      ['remove-peer', { fromStore: four }, ENTRY_NOT_FOUND],
      ['merge', { targetRegion: 1 }, DUPLICATED_ENTRY],
      ['merge', { targetRegion: 7 }, REGION_NOT_FOUND],
      ['scatter', { regionIds: [] }, INVALID_VALUE],
      ['fly', {}, INVALID_VALUE],
    ] as const)
      expect((await faultOf(ask(kind, change))).type, `${kind} ${JSON.stringify(change)}`).to.equal(type);
    await ask('transfer-leader', { toStore: two });
    expect((await faultOf(ask('transfer-leader', { toStore: two }))).type).to.equal(DUPLICATED_ENTRY);
  });
});

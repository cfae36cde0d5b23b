import { expect } from 'chai';
import { pdpb } from '../../cluster/proto/index.js';
import { metapb } from '../../storage/proto/index.js';
import { faultOf, regionOf, ServiceWorld } from './placement-service-world.js';

const { Up, Offline, Tombstone } = metapb.StoreState;
const { DUPLICATED_ENTRY, ENTRY_NOT_FOUND, INVALID_VALUE } = pdpb.ErrorType;
const MINUTE = 60_000;

const become = (world: ServiceWorld, storeId: number, state: metapb.StoreState) =>
  world.steer({ storeState: { storeId, state } });

/** Four stores, and a region on the first three. */
async function fourStores(): Promise<{ world: ServiceWorld; stores: number[]; region: metapb.Region }> {
  const world = new ServiceWorld();
  const stores = world.addStores(4);
  const region = regionOf(1, ['', ''], [1, 1], stores.slice(0, 3));
  await world.heartbeat(region);
  return { world, stores, region };
}

describe('a store that is taken offline', () => {
  it('is gone for good when no region has a peer there, and takes no decision after that', async () => {
    const { world, stores, region } = await fourStores();
    const [one = 0, two = 0, three = 0, four = 0] = stores;
    await become(world, three, Offline);
    expect(world.placement.view.store(three)?.state).to.equal('offline');
    world.tick();
    expect(world.state.stores.get(three)?.state).to.equal(Offline);
    await world.heartbeat(
      {
        ...regionOf(1, ['', ''], [3, 1], [one, two, four]),
        peers: regionOf(1, ['', ''], [3, 1], [one, two, four]).peers,
      },
      { leader: region.peers[0] },
    );
    world.tick();
    expect(world.state.stores.get(three)?.state).to.equal(Tombstone);
    expect(world.placement.view.stores().map(({ id }) => id)).to.deep.equal([one, two, four]);
    for (const state of [Up, Offline])
      expect((await faultOf(become(world, three, state))).type).to.equal(ENTRY_NOT_FOUND);
  });

  it('is not gone while a region that has told nothing yet has a peer there', async () => {
    const { world, stores } = await fourStores();
    const [one = 0, two = 0, three = 0] = stores;
    await world.heartbeat(regionOf(2, ['', 'm'], [1, 2], [one, two]));
    world.apply({ putRegions: { regions: [regionOf(3, ['m', ''], [1, 2], [one, two, three])] } });
    await become(world, three, Offline);
    world.tick();
    expect(world.state.stores.get(three)?.state).to.equal(Offline);
  });

  it('is not gone while a peer is on its way there', async () => {
    const { world, stores } = await fourStores();
    const [, , , four = 0] = stores;
    await world.service.answer({
      type: 'pd.addOperator',
      header: undefined,
      kind: 'add-peer',
      regionIds: [1],
      fromStore: 0,
      toStore: four,
      targetRegion: 0,
    });
    await become(world, four, Offline);
    world.tick();
    expect(world.state.stores.get(four)?.state).to.equal(Offline);
    // The leader has not begun: the operator is cancelled with its next heartbeat, and the store may go.
    await world.heartbeat(regionOf(1, ['', ''], [1, 1], stores.slice(0, 3)));
    world.tick();
    expect(world.state.stores.get(four)?.state).to.equal(Tombstone);
  });

  it('comes back when somebody wants it back', async () => {
    const { world, stores } = await fourStores();
    const [, , three = 0] = stores;
    await become(world, three, Offline);
    await become(world, three, Up);
    world.beat(three);
    expect(world.placement.view.store(three)?.state).to.equal('up');
    expect((await faultOf(become(world, three, Up))).type).to.equal(DUPLICATED_ENTRY);
  });

  it('may not be one of the last that the replicas need', async () => {
    const { world, stores } = await fourStores();
    const [one = 0, two = 0] = stores;
    await become(world, one, Offline);
    const fault = await faultOf(become(world, two, Offline));
    expect(fault.type).to.equal(DUPLICATED_ENTRY);
    expect(fault.message).to.contain('2 stores would be left for 3 replicas').and.contain('Add a store');
    expect(world.state.stores.get(two)?.state).to.equal(Up);
    await world.set('max-replicas', '2');
    await become(world, two, Offline);
  });

  it('may not be, when a rule needs it', async () => {
    const { world, stores } = await fourStores();
    await world.set('placement-rules', '[{"id":"r","start":"a","end":"b","count":4}]');
    expect((await faultOf(become(world, stores[0] ?? 0, Offline))).type).to.equal(DUPLICATED_ENTRY);
  });

  for (const [what, labels, fits] of [
    ['two racks would be left', ['x/1', 'x/2', 'x/3', 'x/3'], false],
    ['three racks would be left', ['x/1', 'x/2', 'x/3', 'x/4'], true],
    ['racks of the same name are in different zones', ['x/1', 'y/1', 'z/1', 'z/2'], true],
    ['one says nothing of where it is', ['x/1', 'x/2', 'x/1', ''], true],
  ] as const) {
    it(`${fits ? 'may' : 'may not'} go, when ${what}`, async () => {
      const world = new ServiceWorld();
      const stores = labels.map((label) => {
        const [zone, rack] = label.split('/');
        return world.addStore(zone && rack ? { zone, rack } : {});
      });
      await world.set('location-labels', 'zone,rack');
      await world.set('isolation-level', 'rack');
      // The third one goes where that leaves three places; else the first one.
      const leaving = become(world, stores[fits && labels[2] !== 'x/3' ? 2 : 0] ?? 0, Offline);
      if (fits) await leaving;
      else expect((await faultOf(leaving)).message).to.contain('different values of "rack"');
    });
  }

  it('is one that there is, and goes no other way', async () => {
    const { world, stores } = await fourStores();
    const [one = 0] = stores;
    expect((await faultOf(become(world, 99, Offline))).type).to.equal(ENTRY_NOT_FOUND);
    expect((await faultOf(become(world, one, Tombstone))).type).to.equal(INVALID_VALUE);
    const unknown = 99 as metapb.StoreState;
    expect((await faultOf(become(world, one, unknown))).type).to.equal(INVALID_VALUE);
    expect(world.state.stores.get(one)?.state).to.equal(Up);
  });
});

describe('a store that is silent', () => {
  it('is replaced when it has been for half an hour, and not before', async () => {
    const { world, stores, region } = await fourStores();
    const [one = 0, two = 0, three = 0, four = 0] = stores;
    world.placement.start();
    const told = () => world.heartbeat(region, { leader: region.peers[0] });
    await world.pass(10_000, [one, two, four]);
    expect(world.placement.view.store(three)?.state).to.equal('disconnected');
    await told();
    await world.pass(29 * MINUTE, [one, two, four]);
    expect(world.placement.coordinator.operators.of(1)).to.equal(undefined);
    await world.pass(2 * MINUTE, [one, two, four]);
    expect(world.placement.view.store(three)?.state).to.equal('down');
    expect(world.placement.coordinator.operators.of(1)?.toString()).to.contain(`learner on store ${four}`);
    world.placement.stop();
  });

  it('leads nothing that is known: its regions are left alone until another leader tells', async () => {
    const { world, stores, region } = await fourStores();
    const [one = 0, two = 0, three = 0, four = 0] = stores;
    world.placement.start();
    const { coordinator } = world.placement;
    await world.pass(40 * MINUTE, [two, three, four]);
    expect(coordinator.stateOf(1)).to.include({ leadership: 'leaderless', replication: 'down' });
    expect(coordinator.operators.of(1)).to.equal(undefined);
    await world.heartbeat(region, { leader: region.peers[1], term: 7 });
    await world.pass(2_000, [two, three, four]);
    expect(coordinator.stateOf(1).leadership).to.equal('led');
    expect(coordinator.operators.of(1)?.toString()).to.contain(`remove the peer on store ${one}`);
    world.placement.stop();
  });

  it('is as it was when it comes back in time', async () => {
    const { world, stores, region } = await fourStores();
    const [one = 0, two = 0, three = 0, four = 0] = stores;
    world.placement.start();
    await world.pass(10 * MINUTE, [one, two, four]);
    world.beat(three);
    await world.pass(MINUTE, stores);
    await world.heartbeat(region);
    expect(world.placement.view.store(three)?.state).to.equal('up');
    expect(world.placement.coordinator.stateOf(1).replication).to.equal('whole');
    world.placement.stop();
  });
});

describe('nothing is placed', () => {
  /** Ten regions with a voter too few, so many of which have been told of. */
  async function ten(told: number): Promise<ServiceWorld> {
    const world = new ServiceWorld();
    const stores = world.addStores(3);
    const key = (n: number) => (n === 0 || n === 10 ? '' : `${n}`);
    const regions = Array.from({ length: 10 }, (_, i) =>
      regionOf(i + 1, [key(i), key(i + 1)], [1, 1], stores.slice(0, 2)),
    );
    world.apply({ putRegions: { regions } });
    for (const region of regions.slice(0, told)) await world.heartbeat(region);
    world.placement.start();
    return world;
  }

  const placed = (world: ServiceWorld) => world.orders.length > 0;

  it('before 80 % of the regions have been told of', async () => {
    const few = await ten(7);
    await few.pass(10_000, [...few.state.stores.keys()]);
    expect([few.collected, placed(few), few.placement.coordinator.isCollecting]).to.deep.equal([
      false,
      false,
      true,
    ]);
    const enough = await ten(8);
    await enough.pass(1_000, [...enough.state.stores.keys()]);
    expect([enough.collected, placed(enough)]).to.deep.equal([true, true]);
    for (const world of [few, enough]) world.placement.stop();
  });

  it('or five minutes have passed', async () => {
    const world = await ten(1);
    const alive = [...world.state.stores.keys()];
    await world.pass(4 * MINUTE + 59_000, alive);
    expect([world.collected, placed(world)]).to.deep.equal([false, false]);
    await world.pass(2_000, alive);
    expect([world.collected, placed(world)]).to.deep.equal([true, true]);
    world.placement.stop();
  });

  it('while it is halted, until somebody lets it go on', async () => {
    const world = await ten(0);
    const alive = [...world.state.stores.keys()];
    await world.set('halt-scheduling', 'true');
    for (const region of world.state.regions.all()) await world.heartbeat(region);
    await world.pass(10_000, alive);
    expect([world.collected, placed(world)]).to.deep.equal([true, false]);
    await world.set('halt-scheduling', 'false');
    await world.pass(3_000, alive);
    expect(placed(world)).to.equal(true);
    expect(world.halted).to.deep.equal([true, true, false]);
    world.placement.stop();
  });
});

describe('labels and limits of stores', () => {
  it('are refused with a store that registers under illegal ones', async () => {
    const world = new ServiceWorld();
    const asked = (key: string, value: string) => {
      const store = metapb.Store.from({ address: 'new', incarnation: 1, labels: [{ key, value }] });
      return world.service.answer({ type: 'pd.putStore', header: undefined, store });
    };
    for (const [key, value] of [
      ['rack', 'r 1'],
      ['ra/ck', 'r1'],
      ['rack', 'r\n'],
    ] as const)
      expect((await faultOf(Promise.resolve().then(() => asked(key, value)))).type).to.equal(INVALID_VALUE);
    expect(world.state.stores.size).to.equal(0);
    await asked('rack', 'r1');
    expect(world.state.stores.size).to.equal(1);
  });

  it('are taken, or refused for what they are', async () => {
    const { world, stores } = await fourStores();
    const [one = 0] = stores;
    const labels = (...pairs: readonly (readonly [string, string])[]) =>
      world.steer({ storeLabels: { storeId: one, labels: pairs.map(([key, value]) => ({ key, value })) } });
    await labels(['rack', 'r1'], ['host', 'h.1']);
    expect(world.state.stores.get(one)?.labels).to.have.length(2);
    for (const bad of [
      [['rack', 'r 1']],
      [['', 'r']],
      [['rack', '']],
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ] as const)
      expect((await faultOf(labels(...bad))).type).to.equal(INVALID_VALUE);
    expect(world.state.stores.get(one)?.labels).to.have.length(2);
    const limit = (storeId: number, most: number, removed = false) =>
      world.steer({ storeLimit: { storeId, limit: most, removed } });
    await limit(one, 30);
    expect(world.placement.view.limitOf(one)).to.equal(30);
    await limit(one, 0, true);
    expect(world.placement.view.limitOf(one)).to.equal(15);
    expect((await faultOf(limit(99, 1))).type).to.equal(ENTRY_NOT_FOUND);
    expect((await faultOf(limit(one, 1_000_001))).type).to.equal(INVALID_VALUE);
    expect((await faultOf(world.steer({}))).type).to.equal(INVALID_VALUE);
  });
});

import { expect } from 'chai';
import { RegionWorld } from './region-world.js';

describe('a store that is about to stop', () => {
  it('gives all its leaderships to stores that stay, and no election is needed', async () => {
    const world = await RegionWorld.start(3);
    for (const key of ['d', 'h', 'm', 't']) await world.until(world.db.cluster.splitRegion(key));
    const led = () => [...world.stores].flatMap(([name, { counters }]) => Array(counters.leaders).fill(name));
    const [busiest] = led();
    const store = world.stores.get(busiest);
    if (store === undefined) throw new Error('nobody leads');
    const terms = () => [...store.replicas.values()].map(({ group }) => group.term);
    const before = terms();
    expect(await world.until(store.handOver(5_000))).to.equal(0);
    expect(store.counters.leaders).to.equal(0);
    await world.eventually('leaders elsewhere', (status) =>
      status.regions.every(({ leader }) => leader !== null && leader !== store.storeId),
    );
    expect(terms(), 'one term for each leader, none for an election').to.deep.equal(
      before.map((term) => term + 1),
    );
    await world.until(store.close());
    await world.until(world.db.raw.put('k', 'v', { timeout: 1_000 }));
    await world.close();
  });

  it('keeps what nobody else can lead, and says how much', async () => {
    const world = await RegionWorld.start(1);
    const [store] = world.stores.values();
    if (store === undefined) throw new Error('no store');
    expect(await world.until(store.handOver(5_000))).to.equal(1);
    await world.close();
  });

  it('waits no longer than it may', async () => {
    const world = await RegionWorld.start(3);
    const { leader } = (await world.status()).regions[0] ?? {};
    const store = world.storeWithId(leader ?? 0);
    world.network.filterEnvelopes(({ from }) => from !== store.name);
    const from = world.clock.now();
    await world.until(store.handOver(300));
    expect(world.clock.now() - from).to.be.lessThan(400);
    await world.close();
  });
});

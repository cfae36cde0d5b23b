import { expect } from 'chai';
import { MIB, PlacementWorld } from '../cluster/placement-world.js';

const STORES = 100;
const REGIONS = 50_000;
/** Stores that hold everything at the start; the others are new and empty. */
const OLD = 97;
const VOTERS = 3;

describe('placement of 50,000 regions on 100 stores', () => {
  it('ends even in size and in leaders, with few moves more than there must be', async () => {
    const world = new PlacementWorld(1, {
      leaderScheduleLimit: 64,
      storeLimit: 100_000,
      maxMergeRegionSize: 0,
    });
    world.addStores(STORES);
    for (let i = 0; i < REGIONS; i++) {
      const stores = Array.from({ length: VOTERS }, (_, n) => ((i * 7 + n * 11) % OLD) + 1);
      world.addRegion({ stores, leader: stores[0] ?? 1, size: (48 + (i % 48)) * MIB });
    }
    const size = (id: number) => world.view.loadOf(id).regionSize;
    const ids = [...world.stores.keys()];
    const average = ids.reduce((sum, id) => sum + size(id), 0) / STORES;
    const excess = ids.reduce((sum, id) => sum + Math.max(0, size(id) - average), 0);
    const least = excess / world.view.averageRegionSize();
    world.start();
    await world.rest(20_000);
    const sizes = ids.map(size);
    const leaders = ids.map((id) => world.view.loadOf(id).leaderCount);
    expect(Math.max(...sizes)).to.be.at.most(average * 1.05);
    expect(Math.min(...sizes)).to.be.at.least(average * 0.95);
    const evenLeaders = REGIONS / STORES;
    expect(Math.max(...leaders)).to.be.at.most(evenLeaders * 1.05);
    expect(Math.min(...leaders)).to.be.at.least(evenLeaders * 0.95);
    expect(world.replicasMade).to.be.at.most(1.5 * least);
    world.stop();
  });

  it('decides the same for the same seed', async () => {
    const stories: (readonly string[])[] = [];
    for (const seed of [7, 7, 8]) {
      const world = new PlacementWorld(seed, { storeLimit: 1_000, maxMergeRegionSize: 0 });
      world.addStores(10);
      for (let i = 0; i < 300; i++) world.addRegion({ stores: [1, 2, 3].map((n) => ((i + n) % 5) + 1) });
      world.start();
      await world.rest(10_000);
      stories.push(world.story);
      world.stop();
    }
    expect(stories[0]).to.have.length.above(300).and.to.deep.equal(stories[1]);
    expect(stories[2]).not.to.deep.equal(stories[1]);
  });

  it('heals a lost rack without two replicas in one rack', async () => {
    const world = new PlacementWorld(3, {
      locationLabels: ['rack', 'host'],
      isolationLevel: 'rack',
      maxStoreDownTime: 60_000,
      storeLimit: 10_000,
      replicaScheduleLimit: 1_024,
      maxMergeRegionSize: 0,
    });
    const racks = 5;
    for (let i = 0; i < 20; i++) world.addStore({ rack: `r${i % racks}`, host: `h${i}` });
    const rackOf = (store: number) => (store - 1) % racks;
    for (let i = 0; i < 2_000; i++) {
      const stores = Array.from({ length: VOTERS }, (_, n) => ((i + n) % racks) + racks * ((i >> n) % 4) + 1);
      world.addRegion({ stores, leader: stores[i % VOTERS] ?? 1 });
    }
    world.watch = ({ region }) => {
      const voters = region.peers.filter(({ role }) => role !== 1 && role !== 3);
      const racksOf = new Set(voters.map(({ storeId }) => rackOf(storeId)));
      if (racksOf.size < voters.length) throw new Error(`region ${region.id} has two voters in one rack`);
    };
    world.start();
    await world.until('the coordinator has collected', () => world.collected);
    const lost = [...world.stores.keys()].filter((store) => rackOf(store) === 0);
    for (const store of lost) world.kill(store);
    const isHealed = () =>
      world.tree
        .all()
        .every(
          ({ id, peers }) =>
            peers.length === VOTERS &&
            peers.every(({ storeId }) => !lost.includes(storeId)) &&
            world.report(id).pendingPeers.length === 0,
        );
    await world.rest(70_000);
    expect(isHealed()).to.equal(true);
    world.stop();
  });
});

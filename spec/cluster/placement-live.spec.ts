import { expect } from 'chai';
import type { ClusterStatus } from '../../cluster/client/cluster-status.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { metapb } from '../../storage/proto/index.js';
import { RegionWorld } from './region-world.js';

type Steer = Partial<Omit<troupepb.SteerPlacementRequest, 'header'>>;
type Region = ClusterStatus['regions'][number];

const SPLITS = 11;

/** Stores that are real but for their disks, network and clock, under a scheduler that places their regions. */
class PlacedWorld extends RegionWorld {
  async begin(stores: number): Promise<void> {
    await this.scheduler(3);
    for (let i = 1; i <= stores; i++) await this.startStore(`store-${i}`);
    this.database = await this.client();
    await this.eventually('a leader', ({ regions }) => regions.every(({ leader }) => leader !== null));
    await this.steer({ setting: { name: 'store-limit', value: '10000' } });
    await this.steer({ setting: { name: 'halt-scheduling', value: 'false' } });
    const keys = Array.from({ length: SPLITS }, (_, i) => `k${String(i).padStart(2, '0')}`);
    for (const key of keys) await this.until(this.db.raw.put(key, `of ${key}`));
    await this.until(this.db.cluster.splitRegion(keys, { timeout: 60_000 }));
  }

  async steer(change: Steer): Promise<void> {
    const { header } = await this.ask<troupepb.SteerPlacementResponse>('scheduler-1/pd', {
      type: 'pd.steerPlacement',
      ...change,
    });
    if (header?.error !== undefined) throw new Error(header.error.message);
  }

  async operators(): Promise<troupepb.OperatorInfo[]> {
    const reply = await this.ask<troupepb.GetOperatorsResponse>('scheduler-1/pd', {
      type: 'pd.getOperators',
      ended: false,
    });
    return [...reply.operators];
  }

  /** Every region has three voters on these stores, all of which have caught up, and nothing is under way. */
  async settled(stores: readonly number[]): Promise<Region[]> {
    const { regions } = await this.eventually(
      `whole regions on stores ${stores.join(', ')}`,
      async (status) => {
        const whole = status.regions.every(
          ({ peers, leader }) =>
            leader !== null &&
            peers.length === 3 &&
            peers.every(({ store, role }) => role === 'voter' && stores.includes(store)),
        );
        return whole && (await this.operators()).length === 0 && isEven(status.regions, stores);
      },
    );
    return [...regions];
  }

  async readsEverything(): Promise<void> {
    for (let i = 0; i < SPLITS; i++) {
      const key = `k${String(i).padStart(2, '0')}`;
      expect(Buffer.from((await this.until(this.db.raw.get(key))) ?? []).toString()).to.equal(`of ${key}`);
    }
  }
}

/** Replicas of the stores differ by a region, and leaders by two at most. */
function isEven(regions: readonly Region[], stores: readonly number[]): boolean {
  const spread = (counts: readonly number[]) => Math.max(...counts) - Math.min(...counts);
  const replicas = stores.map(
    (id) => regions.filter(({ peers }) => peers.some(({ store }) => store === id)).length,
  );
  const leaders = stores.map((id) => regions.filter(({ leader }) => leader === id).length);
  return spread(replicas) <= 2 && spread(leaders) <= 2;
}

describe('placement on live stores', () => {
  let world: PlacedWorld;
  beforeEach(() => {
    world = new PlacedWorld();
  });
  afterEach(() => world.close());

  it('fills a store that joins, and shares out leaders', async () => {
    await world.begin(3);
    await world.settled([1, 2, 3]);
    await world.startStore('store-4');
    await world.settled([1, 2, 3, 4]);
    await world.readsEverything();
  });

  it('drains a store that is taken offline, which ends as a tombstone and stops', async () => {
    await world.begin(4);
    await world.settled([1, 2, 3, 4]);
    await world.steer({ storeState: { storeId: 2, state: metapb.StoreState.Offline } });
    const { failed } = world.storeWithId(2);
    await world.settled([1, 3, 4]);
    await world.eventually('its end', ({ stores }) =>
      stores.some(({ id, state }) => id === 2 && state === 'Tombstone'),
    );
    expect((await world.until(failed)).message).to.match(/removed from the cluster/);
    expect(world.errors.splice(0).join()).to.match(/^store-2: .*removed from the cluster/);
    world.stores.delete('store-2');
    await world.readsEverything();
  });

  it('replaces the replicas of a store that is silent too long, whose own are gone when it comes back', async () => {
    await world.begin(4);
    await world.settled([1, 2, 3, 4]);
    await world.steer({ setting: { name: 'max-store-down-time', value: '10s' } });
    world.crash('store-3');
    world.stores.delete('store-3');
    await world.settled([1, 2, 4]);
    await world.readsEverything();
    await world.startStore('store-3');
    await world.settled([1, 2, 3, 4]);
    await world.readsEverything();
  });

  it('does nothing while it is halted', async () => {
    await world.begin(3);
    await world.settled([1, 2, 3]);
    await world.steer({ setting: { name: 'halt-scheduling', value: 'true' } });
    await world.startStore('store-4');
    await world.rest(20_000);
    const { regions } = await world.status();
    expect(regions.every(({ peers }) => peers.every(({ store }) => store !== 4))).to.equal(true);
    await world.steer({ setting: { name: 'halt-scheduling', value: 'false' } });
    await world.settled([1, 2, 3, 4]);
  });
});

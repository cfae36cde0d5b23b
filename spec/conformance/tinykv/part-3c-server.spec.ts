import { expect } from 'chai';
import { regionOf } from '../../cluster/placement-service-world.js';
import { SchedulerWorld } from '../../cluster/scheduler-world.js';

const CONCURRENT = 2_000;

describe('TinyKV part 3C, heartbeats at a scheduler of its own', () => {
  it('TestConcurrentHandleRegion3C', async () => {
    const world = await SchedulerWorld.serving(3);
    const ids = world.stores.map(({ storeId }) => storeId);
    const [store] = world.stores;
    const key = (n: number) => (n === 0 || n === CONCURRENT ? '' : String(n).padStart(5, '0'));
    const regions = Array.from({ length: CONCURRENT }, (_, i) =>
      regionOf(i + 1_001, [key(i), key(i + 1)], [1, 2], ids),
    );
    const replies = await world.settle(
      Promise.all(regions.map((region) => store?.regionHeartbeat(region))),
      120_000,
    );
    expect(replies.map((reply) => reply?.regionId)).to.deep.equal(regions.map(({ id }) => id));
    for (const region of [regions[0], regions[999], regions[CONCURRENT - 1]]) {
      const found = await world.settle(
        store?.scheduler.getRegion(region?.startKey ?? new Uint8Array()) ?? fail(),
      );
      expect(found.region?.id).to.equal(region?.id);
    }
    await world.close();
  });
});

function fail(): never {
  throw new Error('a world without stores');
}

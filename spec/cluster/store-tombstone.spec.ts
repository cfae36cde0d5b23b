import { expect } from 'chai';
import { TroupeError } from '../../cluster/errors.js';
import { metapb } from '../../storage/proto/index.js';
import { RegionWorld } from './region-world.js';

/** Of a store's record in the scheduler's directory. */
const STORE_RECORDS = { start: Uint8Array.of(4), end: Uint8Array.of(5) };

/** The scheduler has removed a store for good: it knows so when it is started again. */
async function bury(world: RegionWorld, address: string): Promise<void> {
  world.crash('scheduler-1');
  const engine = await world.disk('scheduler-1').open();
  const { keys, values } = await world.until(engine.scan('default', { ...STORE_RECORDS, limit: 100 }));
  const batch = engine.batch();
  let buried = 0;
  for (const [i, key] of keys.entries()) {
    const store = metapb.Store.decode(values[i] ?? new Uint8Array(0));
    if (store.address !== address) continue;
    batch.put('default', key, metapb.Store.encode({ ...store, state: metapb.StoreState.Tombstone }));
    buried++;
  }
  expect(buried).to.equal(1);
  await world.until(engine.write(batch));
  await world.until(engine.sync());
  await world.until(engine.close());
  await world.scheduler(3);
}

describe('A store that was removed from its cluster', () => {
  it('stops with its next heartbeat, and does not start again', async () => {
    const world = await RegionWorld.start(4, 3);
    const store = world.stores.get('store-4');
    let failure: Error | undefined;
    void store?.failed.then((error) => {
      failure = error;
    });
    // What it says while it ends is expected.
    world.lives.set('store-4', 0);
    await bury(world, 'store-4');
    await world.clock.runUntil(() => failure !== undefined, 10_000);
    expect(failure).to.be.instanceOf(TroupeError);
    expect(failure).to.deep.include({ code: 'identity', reason: 'store-gone' });
    expect(failure?.message).to.equal(
      'Store 4 ("store-4") was removed from the cluster for good: use an empty directory and a new name.',
    );
    if (store !== undefined) await world.until(store.close());
    world.stores.delete('store-4');
    let refused: unknown;
    await world.startStore('store-4').catch((error: unknown) => {
      refused = error;
    });
    expect(refused).to.deep.include({ code: 'identity', reason: 'store-gone' });
    await world.put('a', 'a');
    await world.close();
  });
});

import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { StoreWorld } from './store-world.js';

describe('a transaction over a store', () => {
  let world: StoreWorld;
  let db: Database;

  beforeEach(async () => {
    world = new StoreWorld();
    await world.scheduler(1);
    await world.store('store-1');
    db = await world.client();
  });

  afterEach(async () => {
    await world.until(db.close());
  });

  for (const options of [{}, { onePc: false }, { onePc: false, asyncCommit: false }]) {
    it(`writes all, and reads what it wrote: ${JSON.stringify(options)}`, async () => {
      await world.until(
        db.transaction(async (txn) => {
          txn.put('a', '1');
          txn.put('b', 'x'.repeat(1000));
          txn.insert('c', '3');
          expect(Buffer.from((await txn.get('a')) ?? []).toString()).to.equal('1');
        }, options),
      );
      const read = await world.until(
        db.transaction(async (txn) => (await txn.batchGet(['a', 'b', 'c', 'd'])).map((v) => v?.length)),
      );
      expect(read).to.deep.equal([1, 1000, 1, undefined]);
      const versions = await world.until(db.versions('b'));
      expect(versions.lock).to.equal(undefined);
      expect(versions.versions.map(({ kind, value }) => [kind, value?.length])).to.deep.equal([
        ['put', 1000],
      ]);
      const view = await world.until(db.snapshot());
      const seen: string[] = [];
      await world.until(
        (async () => {
          for await (const { key } of view.scan({ reverse: true })) seen.push(Buffer.from(key).toString());
        })(),
      );
      expect(seen.join()).to.equal('c,b,a');
      await world.until(view.close());
    });
  }
});

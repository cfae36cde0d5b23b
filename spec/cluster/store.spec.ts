import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { TroupeError } from '../../cluster/errors.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { confStateOf } from '../../cluster/store/admin/change-peer.js';
import type { StoreNode } from '../../cluster/store/index.js';
import { RaftLog, rawKey, saveRegionState } from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { StoreWorld } from './store-world.js';

const text = (value: Uint8Array | undefined) =>
  value === undefined ? undefined : Buffer.from(value).toString();

async function rows(db: Database, options: Parameters<Database['raw']['scan']>[0]): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value } of db.raw.scan(options)) found.push(`${text(key)}=${text(value)}`);
  return found;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(TroupeError);
  return `${(error as TroupeError).code}: ${(error as TroupeError).message}`;
}

for (const standalone of [false, true]) {
  describe(standalone ? 'A store that stands alone' : 'Three stores', () => {
    let world: StoreWorld;
    let db: Database;
    let stores: StoreNode[];

    before(async () => {
      world = new StoreWorld();
      await world.scheduler(standalone ? 1 : 3);
      stores = [];
      for (const name of standalone ? ['store-1'] : ['store-1', 'store-2', 'store-3']) {
        stores.push(await world.store(name, { standalone }));
      }
      db = await world.client();
    });

    it('gives back what was put, and nothing for what was not', async () => {
      await world.until(db.raw.put('k', 'v'));
      expect(text(await world.until(db.raw.get('k')))).to.equal('v');
      expect(await world.until(db.raw.get('nothing'))).to.equal(undefined);
      await world.until(db.raw.put('empty', ''));
      expect(text(await world.until(db.raw.get('empty')))).to.equal('');
      await world.until(db.raw.delete('k'));
      expect(await world.until(db.raw.get('k'))).to.equal(undefined);
    });

    it('swaps only what has the expected value, in the order in which it was asked', async () => {
      const swaps = [
        db.raw.compareAndSwap('swap', undefined, 'one'),
        db.raw.compareAndSwap('swap', undefined, 'two'),
        db.raw.compareAndSwap('swap', 'one', 'three'),
      ];
      const results = await world.until(Promise.all(swaps));
      expect(results.map(({ swapped, previous }) => [swapped, text(previous)])).to.deep.equal([
        [true, undefined],
        [false, 'one'],
        [true, 'one'],
      ]);
      const puts = [db.raw.put('swap', 'four'), db.raw.compareAndSwap('swap', 'four', 'five')] as const;
      await world.until(Promise.all(puts));
      expect(text(await world.until(db.raw.get('swap')))).to.equal('five');
    });

    it('scans forwards and backwards, with limits and prefixes, and deletes ranges', async () => {
      const pairs = Array.from(
        { length: 30 },
        (_, i) => [`row/${String(i).padStart(2, '0')}`, `${i}`] as const,
      );
      await world.until(db.raw.batchPut(pairs));
      const all = pairs.map(([key, value]) => `${key}=${value}`);
      expect(await world.until(rows(db, { prefix: 'row/' }))).to.deep.equal(all);
      expect(await world.until(rows(db, { prefix: 'row/', reverse: true, limit: 3 }))).to.deep.equal(
        all.slice(-3).reverse(),
      );
      expect(await world.until(rows(db, { start: 'row/10', end: 'row/12' }))).to.deep.equal(
        all.slice(10, 12),
      );
      await world.until(db.raw.deleteRange('row/05', 'row/25'));
      expect(await world.until(rows(db, { prefix: 'row/' }))).to.deep.equal([
        ...all.slice(0, 5),
        ...all.slice(25),
      ]);
      const got = await world.until(db.raw.batchGet(['row/04', 'row/05', 'row/25']));
      expect(got.map(text)).to.deep.equal(['4', undefined, '25']);
    });

    it('keeps column families apart and refuses those it does not have', async () => {
      await world.until(db.raw.put('family', 'in lock', { cf: 'lock' }));
      expect(await world.until(db.raw.get('family'))).to.equal(undefined);
      expect(text(await world.until(db.raw.get('family', { cf: 'lock' })))).to.equal('in lock');
    });

    it('has everything again after a power loss of all stores', async () => {
      await world.until(db.raw.put('kept', 'safe'));
      for (const store of stores) world.network.crash(store.name);
      for (const store of stores) world.disk(store.name).crash();
      stores = [];
      for (const name of standalone ? ['store-1'] : ['store-1', 'store-2', 'store-3']) {
        stores.push(await world.store(name, { standalone }));
      }
      expect(text(await world.until(db.raw.get('kept')))).to.equal('safe');
      expect(text(await world.until(db.raw.get('swap')))).to.equal('five');
    });

    it('does not open a directory that was written the other way', async () => {
      const [first] = stores;
      if (first === undefined) throw new Error('no store');
      await world.until(first.close());
      expect(await codeOf(world.store('store-1', { standalone: !standalone }))).to.match(
        standalone ? /^identity: .*was written with --standalone/ : /^identity: .*replicated store/,
      );
    });
  });
}

describe('The identity of a store', () => {
  it('is refused to an empty directory under a known name, and to a directory of another node', async () => {
    const world = new StoreWorld();
    await world.scheduler(1);
    const store = await world.store('store-1');
    await world.until(store.close());
    expect(await codeOf(world.store('store-1', { disk: 'new and empty' }))).to.match(/^identity: .*store-1/);
    expect(await codeOf(world.store('store-2', { disk: 'store-1' }))).to.match(
      /^identity: The data directory belongs to the node "store-1", not to "store-2"/,
    );
    const again = await world.store('store-1');
    expect(again.storeId).to.equal(store.storeId);
  });
});

describe('A store that starts', () => {
  it('looks at its disk before it makes the first region that the scheduler asks for', async () => {
    const world = new StoreWorld();
    await world.scheduler(2);
    await world.until((await world.store('store-1')).close());
    // What was split from the first region is here; the rest went to another peer, and is gone.
    const peers = [1, 2].map((storeId) => ({ id: 1000 + storeId, storeId, role: metapb.PeerRole.Voter }));
    const region = metapb.Region.from({
      id: 1000,
      startKey: rawKey(Buffer.from('m')),
      regionEpoch: { confVer: 1, version: 2 },
      peers,
    });
    const engine = await world.disk('store-1').open();
    const batch = engine.batch();
    saveRegionState(batch, region.id, { state: raft_serverpb.PeerState.Normal, region, peerId: 1001 });
    new RaftLog(engine).create(batch, region.id, INITIAL_LOG, confStateOf(region), undefined);
    await world.until(engine.write(batch).then(() => engine.sync()));
    await engine.close();
    world.latencies.set('store-1', 50);
    const second = await world.store('store-2');
    const first = await world.store('store-1');
    await world.clock.advance(2_000);
    expect([...first.replicas.keys()]).to.deep.equal([1000]);
    for (const store of [first, second]) await world.until(store.close());
  });
});

import { expect } from 'chai';
import type { metapb } from '../../storage/proto/index.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

const NO_KEY = new Uint8Array(0);

describe('the scheduler', () => {
  let world: SchedulerWorld;

  afterEach(() => world.close());

  function at(index: number): FakeStore {
    const store = world.stores[index];
    if (store === undefined) throw new Error(`no store ${index}`);
    return store;
  }

  describe('brings a cluster to life', () => {
    it('with one voter of region 1 on each of the first stores', async () => {
      world = await SchedulerWorld.serving();
      const { region } = await world.settle(at(0).scheduler.getRegion(Buffer.from('rkey')));
      expect(region).to.deep.equal({
        id: 1,
        startKey: NO_KEY,
        endKey: NO_KEY,
        regionEpoch: { confVer: 1, version: 1 },
        peers: [
          { id: 2, storeId: 1, role: 0 },
          { id: 3, storeId: 2, role: 0 },
          { id: 4, storeId: 3, role: 0 },
        ],
      });
      for (const store of world.stores) expect(store.asked).to.deep.equal([region]);
    });

    it('only when enough stores have shown that they carry their ids', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler());
      for (const name of ['store-1', 'store-2', 'store-3']) {
        await world.settle((await world.settle(world.store(name))).register());
      }
      await world.clock.advance(5_000);
      const early = await world.failure(at(0).scheduler.scanRegions(NO_KEY, NO_KEY, 0));
      expect([early.code, early.message]).to.deep.equal([
        'unavailable',
        'The cluster "spec" waits for its first stores: 3 of 3 have registered.',
      ]);
      await world.settle(at(0).heartbeat());
      await world.settle(at(1).heartbeat());
      await world.settle(at(2).register());
      await world.bootstrapped();
    });

    it('and does not wait for a store that fell silent before it serves the others', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler());
      for (const name of ['store-1', 'store-2', 'store-3']) {
        const store = await world.settle(world.store(name));
        store.willing = name !== 'store-3';
        await world.settle(store.join());
      }
      await world.clock.advance(5_000);
      expect((await world.settle(at(0).scheduler.getRegionById(1))).region?.id).to.equal(1);
      expect((await world.settle(at(0).scheduler.bootstrapInfo())).bootstrapped).to.equal(false);
      at(2).willing = true;
      await world.bootstrapped();
      expect(at(2).asked.length).to.be.greaterThan(1);
    });

    it('as large as asked for, and later stores get no voter', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler({ expectedStores: 1, maxEntryBytes: 20_000 }));
      await world.settle((await world.settle(world.store('store-7'))).join());
      await world.bootstrapped();
      await world.settle((await world.settle(world.store('other'))).join());
      await world.clock.advance(1_000);
      expect(at(1).asked).to.deep.equal([]);
      expect([at(0).storeId, at(1).storeId]).to.deep.equal([7, 8]);
      const reply = await world.settle(at(1).register());
      expect([reply.maxEntryBytes, reply.bootstrapRegion]).to.deep.equal([20_000, undefined]);
    });

    it('and tells a chosen store its region when it registers', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler({ expectedStores: 1 }));
      const store = await world.settle(world.store('store-1'));
      store.willing = false;
      await world.settle(store.join());
      await world.clock.advance(500);
      const reply = await world.settle(store.register());
      expect([reply.bootstrapRegion?.id, reply.bootstrapPeer]).to.deep.equal([
        1,
        { id: 2, storeId: 1, role: 0 },
      ]);
    });
  });

  describe('knows its stores', () => {
    it('and repeats an answer that was lost', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler());
      const store = await world.settle(world.store('store-2'));
      expect((await world.settle(store.scheduler.putStore(store.record()))).storeId).to.equal(2);
      expect((await world.settle(store.scheduler.putStore(store.record()))).storeId).to.equal(2);
    });

    it('across restarts of both', async () => {
      world = await SchedulerWorld.serving();
      const [first] = world.schedulers.values();
      await world.settle(first?.close() ?? Promise.resolve());
      await world.settle(world.scheduler());
      const { regions } = await world.settle(at(0).scheduler.status());
      expect(regions.map(({ region }) => region?.id)).to.deep.equal([1]);
      await world.settle(at(0).register({ incarnation: 99 }));
      await world.settle(at(0).heartbeat({ incarnation: 99 }));
    });

    it('and refuses an empty directory under a known name', async () => {
      world = await SchedulerWorld.serving();
      await world.clock.advance(10_000);
      at(1).storeId = 0;
      const error = await world.failure(at(1).register({ incarnation: 99 }));
      expect([error.code, error.message]).to.deep.equal([
        'identity',
        'The name "store-2" belongs to store 2, but the data directory is empty: start it with the directory of store 2, or give the new store a new name.',
      ]);
    });

    it('and refuses a second node under the name of a live one, but lets it be taken again while nothing depends on it', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler());
      const store = await world.settle(world.store('store-1'));
      await world.settle(store.register());
      store.storeId = 0;
      const early = await world.failure(store.register({ incarnation: 99 }));
      expect(early.code).to.equal('identity');
      expect(early.message).to.match(/"store-1" is in use by a live node \(store 1, heard of 0\.\d s ago\)/);
      await world.clock.advance(6_000);
      expect((await world.settle(store.register({ incarnation: 99 }))).storeId).to.equal(1);
      const older = await world.failure(store.heartbeat({ incarnation: 1 }));
      expect([older.code, older.message]).to.deep.equal([
        'identity',
        'Another process has started as "store-1" since: only one may run under a name, so this one must stop.',
      ]);
    });

    it('and refuses the directory of another store, of another cluster, and of nobody', async () => {
      world = await SchedulerWorld.serving();
      at(1).storeId = 1;
      const other = await world.failure(at(1).register());
      expect([other.code, other.message]).to.deep.equal([
        'identity',
        'The data directory belongs to store 1, "store-1": start it under that name, or start "store-2" with its own directory.',
      ]);
      at(1).storeId = 77;
      const nobody = await world.failure(at(1).register());
      expect(nobody.message).to.contain('says store 77, which this cluster never had');
      at(1).clusterId = 5;
      at(1).renewClient();
      const foreign = await world.failure(at(1).register());
      expect(foreign.code).to.equal('identity');
      expect(foreign.message).to.contain('"store-2" belongs to another cluster (id 5)');
    });

    it('and refuses what has no name, or speaks for another', async () => {
      world = await SchedulerWorld.serving();
      for (const address of ['', 'a.b', 'store-9']) {
        const error = await world.failure(at(0).register({ address, id: 0 }));
        expect(error.code, address).to.equal('invalid-argument');
      }
    });

    it('and their state, from heartbeats and the clock', async () => {
      world = await SchedulerWorld.serving();
      await world.settle(at(0).heartbeat({ pid: 4711, regionCount: 1, leaderCount: 1 }));
      const states = async () =>
        (await world.settle(at(0).scheduler.status())).stores.map(({ state }) => state);
      expect(await states()).to.deep.equal(['Up', 'Up', 'Up']);
      await world.clock.advance(8_000);
      await world.settle(at(0).heartbeat());
      expect(await states()).to.deep.equal(['Up', 'Disconnected', 'Disconnected']);
      await world.clock.advance(31 * 60_000);
      await world.settle(at(0).heartbeat());
      expect(await states()).to.deep.equal(['Up', 'Down', 'Down']);
      await world.settle(at(2).heartbeat());
      expect(await states()).to.deep.equal(['Up', 'Down', 'Up']);
      const unknown = await world.failure(at(0).heartbeat({ storeId: 9 }));
      expect([unknown.code, unknown.message]).to.deep.equal([
        'not-found',
        'The cluster "spec" has no store 9.',
      ]);
    });
  });

  describe('hands out ids', () => {
    it('that never repeat, over clean restarts and crashes', async () => {
      world = await SchedulerWorld.serving();
      const seen = new Set<number>([1, 2, 3, 4]);
      for (let life = 0; life < 6; life++) {
        const counts = [1, 1, 7, 990, 3, 1500, 1];
        const firsts = await world.settle(
          Promise.all(counts.map((count) => at(0).scheduler.allocIds(count))),
        );
        firsts.forEach((first, i) => {
          for (let id = first; id < first + (counts[i] ?? 0); id++) {
            expect(seen.has(id), `id ${id}`).to.equal(false);
            seen.add(id);
          }
        });
        if (life % 2 === 0) world.crash();
        else await world.settle(world.schedulers.get('scheduler-1')?.close() ?? Promise.resolve());
        await world.settle(world.scheduler());
      }
      expect((await world.failure(at(0).scheduler.allocIds(20_000))).code).to.equal('invalid-argument');
    });
  });

  describe('looks regions up', () => {
    async function divided(): Promise<metapb.Region[]> {
      world = await SchedulerWorld.serving();
      const { region } = await world.settle(at(0).scheduler.getRegionById(1));
      if (region === undefined) throw new Error('no region 1');
      const bounds = ['', 'rd', 'rm', 'rt', ''].map((key) => Buffer.from(key));
      const regions = [2000, 2001, 2002, 1].map((id, i) => ({
        ...region,
        id,
        startKey: new Uint8Array(bounds[i] ?? NO_KEY),
        endKey: new Uint8Array(bounds[i + 1] ?? NO_KEY),
        regionEpoch: { confVer: 1, version: 4 },
        peers: region.peers.map((peer) => ({ ...peer, id: id === 1 ? peer.id : peer.id + id })),
      }));
      for (const one of regions) await world.settle(at(0).regionHeartbeat(one));
      return regions;
    }

    it('by key, by id and by range', async () => {
      const regions = await divided();
      const { scheduler } = at(1);
      const byKey = async (key: string) =>
        (await world.settle(scheduler.getRegion(Buffer.from(key)))).region?.id;
      expect(await byKey('')).to.equal(2000);
      expect(await byKey('rd')).to.equal(2001);
      expect(await byKey('rszz')).to.equal(2002);
      expect(await byKey('x')).to.equal(1);
      const { region, leader } = await world.settle(scheduler.getRegionById(2001));
      expect(region).to.deep.equal(regions[1]);
      expect(leader).to.deep.equal(regions[1]?.peers[0]);
      expect((await world.settle(scheduler.getRegionById(5))).region).to.equal(undefined);
      const ids = async (start: string, end: string, limit: number) =>
        (await world.settle(scheduler.scanRegions(Buffer.from(start), Buffer.from(end), limit))).map(
          (one) => one.region?.id,
        );
      expect(await ids('', '', 0)).to.deep.equal([2000, 2001, 2002, 1]);
      expect(await ids('re', '', 2)).to.deep.equal([2001, 2002]);
      expect(await ids('re', 'rt', 0)).to.deep.equal([2001, 2002]);
    });

    it('after a restart as before, except for leaders', async () => {
      const regions = await divided();
      world.crash();
      await world.settle(world.scheduler());
      const found = await world.settle(at(0).scheduler.scanRegions(NO_KEY, NO_KEY, 0));
      expect(found.map(({ region }) => region)).to.deep.equal(regions);
      expect(found.every(({ leader }) => leader === undefined)).to.equal(true);
    });

    it('and refuses heartbeats that cannot be, or come too late', async () => {
      const [first, second] = await divided();
      if (first === undefined || second === undefined) throw new Error('no regions');
      const flawed: [string, metapb.Region][] = [
        ['ends before it starts', { ...second, startKey: Buffer.from('rz') }],
        ['without an epoch', { ...second, regionEpoch: undefined }],
        ['without peers', { ...second, peers: [] }],
        ['two peers', { ...second, peers: [...second.peers, { id: 99, storeId: 1, role: 0 }] }],
        ['without an id', { ...second, id: 0 }],
      ];
      for (const [why, region] of flawed) {
        const error = await world.failure(at(0).regionHeartbeat(region, { leader: second.peers[0] }));
        expect([error.code, error.message.includes(why)], error.message).to.deep.equal([
          'invalid-argument',
          true,
        ]);
      }
      const stranger = { ...second, peers: [{ id: 5, storeId: 42, role: 0 as const }] };
      expect((await world.failure(at(0).regionHeartbeat(stranger))).code).to.equal('not-found');
      const leaderless = await world.failure(at(0).regionHeartbeat(second, { leader: undefined }));
      expect(leaderless.message).to.contain('leader is none of the peers');
      const stale: [string, metapb.Region, number][] = [
        ['known with epoch', { ...second, regionEpoch: { confVer: 1, version: 3 } }, 6],
        ['overlaps', { ...second, id: 3000, regionEpoch: { confVer: 9, version: 3 } }, 6],
        ['has a leader of term', second, 5],
      ];
      for (const [why, region, term] of stale) {
        const error = await world.failure(at(0).regionHeartbeat(region, { term }));
        expect([error.code, error.message.includes(why)], error.message).to.deep.equal(['conflict', true]);
      }
    });

    it('without writing anything when nothing but the leader changes', async () => {
      const [first] = await divided();
      if (first === undefined) throw new Error('no region');
      const [node] = world.schedulers.values();
      const before = node?.counters.entries;
      await world.settle(at(1).regionHeartbeat(first, { leader: first.peers[1], term: 7 }));
      expect(node?.counters.entries).to.equal(before);
      expect((await world.settle(at(0).scheduler.getRegionById(first.id))).leader?.storeId).to.equal(2);
    });
  });

  describe('survives', () => {
    // One crash after each of the events of a cluster's birth, found by running it once without.
    it('a crash at every step of the bootstrap', async () => {
      const birth = async (crashAt: number): Promise<number> => {
        world = new SchedulerWorld(3);
        const from = world.clock.executed;
        let crashed = false;
        const node = world.settle(world.scheduler());
        await node;
        const joining: Promise<void>[] = [];
        for (const name of ['store-1', 'store-2', 'store-3']) {
          const store = await world.settle(world.store(name));
          joining.push(store.join());
        }
        let joined = false;
        const all = Promise.all(joining).then(() => {
          joined = true;
        });
        const confirmed = () => world.stores.every((store) => store.asked.length > 0);
        await world.clock.runUntil(() => {
          if (!crashed && world.clock.executed - from >= crashAt) crashed = true;
          return crashed || (joined && confirmed());
        }, 10_000);
        if (crashed) {
          world.crash();
          await world.settle(world.scheduler());
        }
        await world.settle(all);
        await world.bootstrapped();
        const total = world.clock.executed - from;
        const { regions, stores } = await world.settle(at(0).scheduler.status());
        expect(regions.map(({ region }) => region?.id)).to.deep.equal([1]);
        expect(stores.map(({ store }) => store?.address).sort()).to.deep.equal([
          'store-1',
          'store-2',
          'store-3',
        ]);
        expect(world.stores.map((store) => store.storeId)).to.deep.equal([1, 2, 3]);
        for (const store of world.stores) {
          for (const region of store.asked) expect(region).to.deep.equal(regions[0]?.region);
        }
        const clusters = new Set(world.stores.map((store) => store.clusterId));
        expect(clusters.size).to.equal(1);
        return total;
      };
      const events = await birth(Number.POSITIVE_INFINITY);
      await world.close();
      for (let step = 1; step < events; step += 3) {
        await birth(step);
        await world.close();
      }
      world = new SchedulerWorld();
    }).timeout(120_000);

    it('nothing when its disk fails: it says so and stops', async () => {
      world = await SchedulerWorld.serving();
      const [node] = world.schedulers.values();
      world.disks.get('scheduler-1')?.failNext('sync', { message: 'the disk is gone' });
      const error = world.failure(at(0).scheduler.allocIds(1, { timeout: 2_000 }));
      expect((await error).code).to.equal('unavailable');
      expect((await world.settle(node?.failed ?? Promise.reject(new Error('none')))).message).to.contain(
        'the disk is gone',
      );
    });
  });
});

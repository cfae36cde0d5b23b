import { expect } from 'chai';
import type { SchedulerNode } from '../../cluster/scheduler/index.js';
import { metapb } from '../../storage/proto/index.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

/** Milliseconds: 20 ticks. */
const ELECTION_TIMEOUT = 2_000;
const KEY = Buffer.from('rkey');

describe('three schedulers', () => {
  let world: SchedulerWorld;

  afterEach(() => world.close());

  function at(index: number): FakeStore {
    const store = world.stores[index];
    if (store === undefined) throw new Error(`no store ${index}`);
    return store;
  }

  function leading(): SchedulerNode {
    const { leader } = world;
    if (leader === undefined) throw new Error('no scheduler leads');
    return leader;
  }

  const region = async (client: FakeStore) =>
    (await world.settle(client.scheduler.getRegion(KEY, { timeout: 20_000 }))).region;

  it('elect one that leads, and the others point to it', async () => {
    world = await SchedulerWorld.three(5);
    const { name } = leading();
    expect([...world.schedulers.values()].filter((node) => node.raftGroup?.isLeader)).to.have.length(1);
    for (const other of world.names) {
      const reply = await world.settle(
        at(0).system.ref(`${other}/pd`).ask({ type: 'pd.getRegion', regionKey: KEY }, { timeout: 1_000 }),
      );
      const { header } = reply as { header: { error?: { type: number; leader: string } } };
      if (other === name) expect(header.error).to.equal(undefined);
      else expect(header.error).to.include({ type: 1001, leader: name });
    }
  });

  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    it(`go on within two election timeouts after their leader has died (seed ${seed})`, async () => {
      world = await SchedulerWorld.three(seed);
      const ids = new Set<number>();
      const take = async () => {
        const first = await at(0).scheduler.allocIds(7);
        for (let id = first; id < first + 7; id++) {
          expect(ids.has(id), `id ${id}`).to.equal(false);
          ids.add(id);
        }
      };
      await world.settle(take());
      for (let round = 0; round < 4; round++) {
        const dead = leading().name;
        world.crash(dead);
        const from = world.clock.now();
        // Some are under way at once, from clients that know the leader and one that does not.
        at(1).renewClient();
        await world.settle(
          Promise.all([take(), take(), at(1).scheduler.getRegion(KEY), at(2).scheduler.getAllStores()]),
        );
        expect(world.clock.now() - from, 'milliseconds').to.be.below(2 * ELECTION_TIMEOUT);
        expect(leading().name).not.to.equal(dead);
        await world.settle(world.scheduler({}, dead));
      }
    });
  }

  it('answer nothing stale: who was cut off answers no read from then on, and then that it does not lead', async () => {
    world = await SchedulerWorld.three(2);
    const before = await region(at(0));
    if (before === undefined) throw new Error('no region');
    const old = leading();
    world.cutOff(old.name);
    const from = world.clock.now();
    const kinds = [
      { type: 'pd.getRegion', regionKey: KEY },
      { type: 'pd.getRegionById', regionId: 1 },
      { type: 'pd.scanRegions', startKey: KEY, endKey: KEY, limit: 1 },
      { type: 'pd.getStore', storeId: 1 },
      { type: 'pd.getAllStores', excludeTombstoneStores: false },
      { type: 'pd.getStatus' },
      { type: 'pd.bootstrapInfo' },
    ];
    const asked = kinds.map(async (event) => {
      const reply = await at(1).system.ref(`${old.name}/pd`).ask(event, { timeout: 20_000 });
      const { header } = reply as { header: { error?: { type: number } } };
      return header.error?.type;
    });
    expect(await world.settle(Promise.all(asked))).to.deep.equal(asked.map(() => 1001));
    expect(world.clock.now() - from, 'milliseconds').to.be.at.most(ELECTION_TIMEOUT + 10);

    const next = await world.elected([old.name]);
    const peers = before.peers.map((peer) => ({ ...peer, role: metapb.PeerRole.Voter }));
    const newer = { ...before, regionEpoch: { confVer: 9, version: 1 }, peers };
    await world.settle(at(2).regionHeartbeat(newer, { term: 9 }));
    expect((await region(at(2)))?.regionEpoch?.confVer).to.equal(9);
    // A client that still asks the old one first.
    expect((await region(at(0)))?.regionEpoch?.confVer).to.equal(9);
    world.network.heal();
    await world.clock.advance(2_000);
    expect(leading().name).to.equal(next.name);
    expect(old.raftGroup?.leader).to.equal(next.raftGroup?.leader);
  });

  it('hand out no id twice, whoever was cut off in the middle of it', async () => {
    world = await SchedulerWorld.three(4);
    const seen = new Set<number>();
    const count = (first: number, many: number) => {
      for (let id = first; id < first + many; id++) {
        expect(seen.has(id), `id ${id}`).to.equal(false);
        seen.add(id);
      }
    };
    for (let round = 0; round < 4; round++) {
      count(await world.settle(at(0).scheduler.allocIds(3, { timeout: 20_000 })), 3);
      const old = leading().name;
      world.cutOff(old);
      // The old leader still has a part of its window; what it cannot replicate it does not give.
      const direct = Array.from({ length: 5 }, () =>
        at(1)
          .system.ref(`${old}/pd`)
          .ask({ type: 'pd.allocId', count: 400 }, { timeout: 3_000 })
          .then((reply) => {
            const { header, id } = reply as { id: number; header: { error?: unknown } };
            if (header.error === undefined) count(id, 400);
          })
          .catch(() => {}),
      );
      await world.elected([old]);
      count(await world.settle(at(2).scheduler.allocIds(1_500, { timeout: 20_000 })), 1_500);
      await world.settle(Promise.all(direct));
      world.network.heal();
      await world.clock.advance(500);
    }
  });

  it('register a store once, though its answer was lost with the leader', async () => {
    world = await SchedulerWorld.three(6);
    const store = await world.settle(world.store('other'));
    const old = leading().name;
    // The registration is replicated; nobody hears of it.
    const stop = world.network.filter(({ to, from }) => !(to === 'other' && from === old));
    const registering = store.register();
    await world.clock.runUntil(() => (world.schedulers.get(old)?.counters.applied ?? 0) > 0, 100);
    await world.clock.advance(200);
    world.crash(old);
    stop();
    await world.settle(registering);
    await world.settle(store.register());
    const { stores } = await world.settle(at(0).scheduler.status());
    expect(stores.filter((one) => one.store?.address === 'other')).to.have.length(1);
    expect(store.storeId).to.equal(4);
  });

  it('make the first region although their leader dies at any step', async () => {
    for (let crashAt = 0; crashAt < 12; crashAt++) {
      world = new SchedulerWorld(7 + crashAt, ['scheduler-1', 'scheduler-2', 'scheduler-3']);
      await world.settle(Promise.all(world.names.map((name) => world.scheduler({}, name))));
      await world.elected();
      const joining: Promise<void>[] = [];
      for (const name of ['store-1', 'store-2', 'store-3'])
        joining.push((await world.settle(world.store(name))).join());
      await world.clock.advance(crashAt);
      const dead = leading().name;
      world.crash(dead);
      await world.settle(Promise.all(joining));
      await world.bootstrapped();
      const { regions, stores } = await world.settle(at(0).scheduler.status());
      expect(regions.map((one) => one.region?.id)).to.deep.equal([1]);
      expect(stores).to.have.length(3);
      for (const one of world.stores) {
        for (const asked of one.asked) expect(asked).to.deep.equal(regions[0]?.region);
      }
      if (crashAt < 11) await world.close();
    }
  }).timeout(20_000);

  it('tell stores by the term of a heartbeat that another leads', async () => {
    world = await SchedulerWorld.three(8);
    const before = await world.settle(at(0).heartbeat());
    expect((await world.settle(at(0).heartbeat())).term).to.equal(before.term);
    world.crash(leading().name);
    const after = await world.settle(at(0).heartbeat());
    expect(after.term).to.be.greaterThan(before.term);
  });
});

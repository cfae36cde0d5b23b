import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import { operatorInfo, placementInfo } from '../../cluster/client/placement-info.js';
import { exitCodeOf, type TroupeErrorCode } from '../../cluster/errors.js';
import { PAUSED_FOR_GOOD, type PlacementAdmin } from '../../cluster/index.js';
import { troupepb } from '../../cluster/proto/index.js';
import { STORE_GONE } from '../../cluster/store-gone.js';
import type { metapb } from '../../storage/proto/index.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

describe('placement, as a client sees and steers it', () => {
  let world: SchedulerWorld;
  let db: Database;
  let placement: PlacementAdmin;
  let region: metapb.Region;

  beforeEach(async () => {
    world = await SchedulerWorld.serving();
    const { clock, random, network } = world;
    const name = 'client-1';
    const transport = network.transport(name);
    db = await settle(connect({ cluster: 'spec', transport, name, clock, random }));
    placement = db.cluster.placement;
    const [store] = world.stores;
    region = store?.asked[0] ?? expect.fail('no first region');
    await settle(lead(region));
    for (const one of world.stores) {
      await settle(one.heartbeat({ capacity: 1000, available: 600, usedSize: 300, pid: 4711 }));
    }
  });

  afterEach(async () => {
    await settle(db.close());
    await world.close();
  });

  const settle = <T>(promise: Promise<T>): Promise<T> => world.settle(promise);

  function lead(now: metapb.Region, pending: readonly metapb.Peer[] = []): Promise<unknown> {
    const [leader] = now.peers;
    const store =
      world.stores.find(({ storeId }) => storeId === leader?.storeId) ?? expect.fail('nobody leads');
    return store.regionHeartbeat(now, { pendingPeers: [...pending] });
  }

  async function fails(promise: Promise<unknown>, code: TroupeErrorCode, sentence: RegExp): Promise<void> {
    const error = await world.failure(promise);
    expect(error.code, error.message).to.equal(code);
    expect(error.message).to.match(sentence);
  }

  async function fourth(): Promise<FakeStore> {
    const store = await settle(world.store('store-4'));
    await settle(store.join());
    await settle(store.heartbeat());
    return store;
  }

  describe('settings', () => {
    it('are told as people write them, and changed by name', async () => {
      expect((await settle(placement.read())).settings).to.include({
        'max-replicas': '3',
        'store-limit': '15',
      });
      await settle(placement.set('max-replicas', '5'));
      expect((await settle(placement.read())).settings).to.include({ 'max-replicas': '5' });
    });

    it('that are none are refused, and nothing is changed', async () => {
      const before = await settle(placement.read());
      await fails(placement.set('max-replica', '5'), 'invalid-argument', /no setting "max-replica"/);
      await fails(placement.set('max-replicas', '0'), 'invalid-argument', /max-replicas: "0" is not a whole/);
      expect(await settle(placement.read())).to.deep.equal(before);
    });
  });

  describe('schedulers', () => {
    const named = async (name: string) =>
      (await settle(placement.read())).schedulers.find((one) => one.name === name);

    it('keep their limit while they rest, and their rest when the limit changes', async () => {
      await settle(placement.addScheduler('balance-region', { limit: 4 }));
      await settle(placement.pauseScheduler('balance-region', { until: 1_900_000_000_000 }));
      await settle(placement.addScheduler('balance-region', { limit: 5 }));
      const name = 'balance-region';
      expect(await named(name)).to.deep.equal({ name, limit: 5, pausedUntil: 1_900_000_000_000 });
      await settle(placement.resumeScheduler(name));
      expect(await named(name)).to.deep.equal({ name, limit: 5, pausedUntil: 0 });
    });

    it('rest for good where no end is said', async () => {
      await settle(placement.pauseScheduler('hot-region'));
      expect(await named('hot-region')).to.include({ pausedUntil: PAUSED_FOR_GOOD });
    });

    it('are removed and added', async () => {
      await settle(placement.removeScheduler('hot-region'));
      expect(await named('hot-region')).to.equal(undefined);
      await fails(placement.removeScheduler('hot-region'), 'not-found', /"hot-region" does not run/);
      const idle = /"hot-region" does not run: `troupe scheduler list`/;
      await fails(placement.pauseScheduler('hot-region'), 'not-found', idle);
      await fails(placement.resumeScheduler('hot-region'), 'not-found', idle);
      await settle(placement.addScheduler('hot-region'));
      expect(await named('hot-region')).to.deep.equal({ name: 'hot-region', limit: 0, pausedUntil: 0 });
    });

    it('of a store are refused beside the one that would undo them', async () => {
      await settle(placement.addScheduler('evict-leader-2'));
      const undoes = /"evict-leader-2" would undo what "grant-leader-2" does: remove it first/;
      await fails(placement.addScheduler('grant-leader-2'), 'conflict', undoes);
      await settle(placement.addScheduler('grant-leader-1'));
      await settle(placement.removeScheduler('evict-leader-2'));
      await settle(placement.addScheduler('grant-leader-2'));
    });

    it('that are none, for a store that is not there, or without sense are refused', async () => {
      await fails(placement.addScheduler('balance'), 'invalid-argument', /no scheduler "balance": they are/);
      await fails(placement.addScheduler('evict-leader-9'), 'not-found', /no store 9/);
      await fails(placement.addScheduler('hot-region', { limit: -1 }), 'invalid-argument', /limit is -1/);
      const never = { until: Number.NaN };
      await fails(placement.pauseScheduler('hot-region', never), 'invalid-argument', /until is NaN/);
    });
  });

  describe('stores', () => {
    it('are told with what they hold', async () => {
      await settle(lead(region, region.peers.slice(2)));
      await settle(placement.limitStore(3, 60));
      await settle(placement.label(3, { zone: 'east' }));
      const [first, , third] = await settle(placement.stores());
      const common = { state: 'Up', capacity: 1000, available: 600, used: 300, regions: 1 };
      expect(first).to.deep.equal({
        ...common,
        id: 1,
        node: 'store-1',
        pid: 1,
        labels: {},
        limit: 15,
        ownLimit: false,
        leaders: 1,
        pending: 0,
      });
      expect(third).to.deep.include({
        ...common,
        id: 3,
        labels: { zone: 'east' },
        limit: 60,
        ownLimit: true,
        leaders: 0,
        pending: 1,
      });
    });

    it('have the limit of all again when theirs is taken away', async () => {
      await settle(placement.limitStore(2, 0));
      expect(await settle(placement.store(2))).to.include({ limit: 0, ownLimit: true });
      await settle(placement.limitStore(2, undefined));
      expect(await settle(placement.store(2))).to.include({ limit: 15, ownLimit: false });
    });

    it('keep the labels that are not named', async () => {
      await settle(placement.label(1, { zone: 'east', rack: 'r1' }));
      const labels = await settle(placement.label(1, { rack: 'r2', host: 'a' }, { remove: ['zone'] }));
      expect(labels).to.deep.equal({ rack: 'r2', host: 'a' });
      expect((await settle(placement.store(1))).labels).to.deep.equal(labels);
      await fails(
        placement.label(1, {}, { remove: ['zone'] }),
        'not-found',
        /no label "zone": it has rack, host/,
      );
      await fails(placement.label(1, {}, { remove: ['constructor'] }), 'not-found', /no label "constructor"/);
      await fails(placement.label(1, { 'a b': 'c' }), 'invalid-argument', /"a b=c" is no label/);
      expect((await settle(placement.store(1))).labels).to.deep.equal(labels);
    });

    it('that are unknown are refused everywhere', async () => {
      for (const asked of [
        () => placement.store(9),
        () => placement.takeOffline(9),
        () => placement.cancelOffline(9),
        () => placement.label(9, { a: 'b' }),
        () => placement.limitStore(9, 1),
      ])
        await fails(asked(), 'not-found', /There is no store 9: `troupe store list` shows/);
      await fails(placement.store(0), 'invalid-argument', /0 is no id/);
    });

    it('are not taken offline when the replicas would not fit on the others', async () => {
      await fails(placement.takeOffline(1), 'conflict', /Store 1 cannot be taken offline: 2 stores/);
      expect((await settle(placement.store(1))).state).to.equal('Up');
    });

    it('are drained: who waits hears how many replicas are left, until the store is gone', async () => {
      const spare = await fourth();
      const left: number[] = [];
      const waiting = placement.takeOffline(3, { timeout: 30_000, progress: (count) => left.push(count) });
      await world.clock.runUntil(() => left.length > 0, 5_000);
      const [store] = world.stores.filter(({ storeId }) => storeId === 3);
      expect(await settle(placement.store(3))).to.include({ state: 'Offline', regions: 1 });
      const peers = region.peers.map((peer) =>
        peer.storeId === 3 ? { ...peer, storeId: spare.storeId } : peer,
      );
      await settle(lead({ ...region, peers, regionEpoch: { confVer: 9, version: 1 } }));
      await settle(waiting);
      expect(left[0]).to.equal(1);
      expect(await settle(placement.store(3))).to.include({ state: 'Tombstone', regions: 0 });
      await settle(placement.takeOffline(3));
      const told = await world.failure(store?.heartbeat() ?? expect.fail('no store 3'));
      expect([told.code, told.reason]).to.deep.equal(['identity', STORE_GONE]);
      await fails(placement.limitStore(3, 1), 'not-found', /Store 3 is gone for good/);
      await fails(placement.cancelOffline(3), 'not-found', /Store 3 is gone for good/);
    });

    it('go on being drained when the time of who waits is over, and are brought back by a cancel', async () => {
      await fourth();
      const waiting = placement.takeOffline(3, { timeout: 2_000 });
      await fails(waiting, 'timeout', /Store 3 still had 1 replica when 2000 ms were over\. It goes on/);
      expect((await settle(placement.store(3))).state).to.equal('Offline');
      const cancelled: Promise<void>[] = [];
      const progress = () => cancelled.push(placement.cancelOffline(3));
      const error = await world.failure(placement.takeOffline(3, { timeout: 30_000, progress }));
      expect(error.message).to.match(/Store 3 was brought back/);
      expect(exitCodeOf(error)).to.equal(4);
      await settle(Promise.all(cancelled));
      expect((await settle(placement.store(3))).state).to.equal('Up');
      await fails(placement.cancelOffline(3), 'conflict', /is not being taken offline/);
    });

    it('are only begun to be drained where nobody waits', async () => {
      await fourth();
      await settle(placement.takeOffline(3, { wait: false }));
      expect((await settle(placement.store(3))).state).to.equal('Offline');
    });
  });

  describe('operators', () => {
    it('are added, told with their steps, and cancelled', async () => {
      const [made] = await settle(placement.addOperator({ kind: 'transfer-leader', region: 1, store: 2 }));
      expect(made).to.deep.include({ region: 1, kind: 'admin', by: 'admin', step: 0, reason: '' });
      expect(made?.steps).to.have.length(1);
      const [listed] = await settle(placement.operators());
      expect(listed).to.deep.include({ region: 1, steps: made?.steps });
      await settle(placement.cancelOperator(1));
      expect(await settle(placement.operators())).to.deep.equal([]);
      const [ended] = await settle(placement.operators({ ended: true }));
      expect(ended).to.deep.include({ region: 1, state: 'cancelled', reason: 'somebody cancelled it' });
      await fails(placement.cancelOperator(1), 'not-found', /Region 1 has no operator/);
    });

    it('of each kind reach the scheduler with what was asked', async () => {
      await fourth();
      const [removed] = await settle(placement.addOperator({ kind: 'remove-peer', region: 1, store: 3 }));
      expect(removed?.steps.join()).to.match(/store 3/);
      await settle(placement.cancelOperator(1));
      const [added] = await settle(placement.addOperator({ kind: 'add-peer', region: 1, store: 4 }));
      expect(added?.steps.join()).to.match(/store 4/);
      await settle(placement.cancelOperator(1));
      const [moved] = await settle(placement.addOperator({ kind: 'move-peer', region: 1, from: 2, to: 4 }));
      expect(moved?.steps.join()).to.match(/store 4[\s\S]*store 2/);
      await settle(placement.cancelOperator(1));
      const [split] = await settle(placement.addOperator({ kind: 'split', region: 1 }));
      expect(split?.steps).to.have.length(1);
      await settle(placement.cancelOperator(1));
      await settle(placement.addOperator({ kind: 'scatter', regions: [1] }));
    });

    it('that cannot be are refused, and nothing is under way', async () => {
      const add = (request: Parameters<PlacementAdmin['addOperator']>[0]) => placement.addOperator(request);
      await fails(add({ kind: 'split', region: 9 }), 'not-found', /no region 9/);
      await fails(add({ kind: 'add-peer', region: 1, store: 9 }), 'not-found', /no store 9/);
      await fails(add({ kind: 'add-peer', region: 1, store: 2 }), 'conflict', /voter on store 2 already/);
      await fails(add({ kind: 'remove-peer', region: 1, store: 9 }), 'not-found', /no peer on store 9/);
      await fails(add({ kind: 'merge', region: 1, target: 1 }), 'invalid-argument', /into itself/);
      await fails(add({ kind: 'scatter', regions: [] }), 'invalid-argument', /Scatter from 1 to 1000/);
      await fails(add({ kind: 'split', region: 1.5 }), 'invalid-argument', /1.5 is no id/);
      expect(await settle(placement.operators())).to.deep.equal([]);
    });
  });

  describe('regions', () => {
    it('are found by what is the matter with them', async () => {
      await settle(lead(region, region.peers.slice(2)));
      const [found] = await settle(placement.regionsIn('pending'));
      expect(found).to.include({ id: 1, leader: 1 });
      expect(found?.peers.map(({ pending }) => pending)).to.deep.equal([false, false, true]);
      expect(found?.flow).to.deep.equal({ bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0 });
      expect(await settle(placement.hotRegions())).to.deep.equal([]);
      await fails(placement.regionsIn('sad'), 'invalid-argument', /No region is ever "sad": ask for one of/);
    });
  });

  describe('what a scheduler of another version tells', () => {
    it('is refused where this one does not know the word', () => {
      const told = troupepb.GetPlacementResponse.from({ state: 'dreaming' });
      expect(() => placementInfo(told))
        .to.throw('does not know ("dreaming")')
        .with.property('code', 'failed');
      const operator = troupepb.OperatorInfo.from({ state: 'running', steps: ['one'], step: 2 });
      expect(() => operatorInfo(operator)).to.throw('does not know ("2")');
    });
  });
});

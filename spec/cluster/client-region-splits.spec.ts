import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { exitCodeOf, type TroupeError } from '../../cluster/errors.js';
import type { ClusterAdmin } from '../../cluster/index.js';
import { rawKey, txnKey } from '../../storage/keys.js';
import { RegionWorld } from './client-region-world.js';
import { type ClientWorld, region } from './client-world.js';

describe('splits and merges, as a client asks for them', () => {
  let world: ClientWorld;
  let regions: RegionWorld;
  let db: Database;
  let admin: ClusterAdmin;

  beforeEach(async () => {
    ({ world, regions } = await RegionWorld.start());
    db = await world.connect();
    admin = db.cluster;
  });

  afterEach(async () => {
    await world.settle(db.close());
    await world.close();
  });

  const settle = <T>(promise: Promise<T>): Promise<T> => world.settle(promise);
  const failureOf = (promise: Promise<unknown>): Promise<TroupeError> => regions.failureOf(promise);

  describe('a split', () => {
    it('falls on stored keys of the region that holds them, and waits until each part has a leader', async () => {
      regions.lag = 400;
      const begun = world.clock.now();
      const parts = await settle(admin.splitRegion(['t', 'g']));
      expect(world.clock.now() - begun).to.be.greaterThan(400);
      expect(
        parts.map(({ start, end, leader, epoch: { version } }) => [start, end, leader, version]),
      ).to.deep.equal([
        ['', 'rg', 1, 7],
        ['rg', 'rt', 1, 7],
        ['rt', '', 1, 7],
      ]);
      expect(parts[2]?.id).to.equal(7);
      const [{ event } = expect.fail()] = regions.received;
      expect(event.context).to.deep.include({
        regionId: 7,
        regionEpoch: { confVer: 1, version: 5 },
        peer: undefined,
      });
      expect(event.command?.splits?.requests).to.deep.equal(
        ['g', 't'].map((key) => ({
          splitKey: new Uint8Array(rawKey(Buffer.from(key))),
          newRegionId: 0,
          newPeerIds: [],
        })),
      );
      expect(event.halve).to.equal(false);
    });

    it('takes keys of the other space, and the region that it is told', async () => {
      await settle(admin.splitRegion('g', { space: 'txn', region: 7 }));
      const [{ event } = expect.fail()] = regions.received;
      expect(event.command?.splits?.requests[0]?.splitKey).to.deep.equal(
        new Uint8Array(txnKey(Buffer.from('g'))),
      );
    });

    it('in half leaves the key to the store', async () => {
      const parts = await settle(admin.splitRegionInHalf(7));
      expect(parts.map(({ end }) => end)).to.deep.equal(['rhalf', '']);
      expect(regions.received[0]?.event).to.deep.include({ halve: true });
      expect(regions.received[0]?.event.command?.splits?.requests).to.deep.equal([]);
    });

    it('that got no answer is not done twice', async () => {
      for (const work of [() => admin.splitRegion('g'), () => admin.splitRegionInHalf(7)]) {
        const before = world.regions.length;
        regions.answers.push((serve) => {
          serve();
          return 'silence';
        });
        regions.lag = 30_000;
        const splitting = work();
        await world.clock.advance(5_500);
        regions.tell();
        expect((await settle(splitting)).length).to.be.greaterThan(0);
        expect(world.regions.length).to.equal(before + 1);
      }
    });

    it('refuses what is no key', async () => {
      expect((await failureOf(admin.splitRegion([]))).code).to.equal('invalid-argument');
      expect((await failureOf(admin.splitRegion(''))).code).to.equal('invalid-argument');
      const space = await failureOf(admin.splitRegion('a', { space: 'blue' as 'raw' }));
      expect(space.message).to.match(/no space "blue": use raw or txn/);
      expect(regions.received).to.deep.equal([]);
    });
  });

  describe('a merge', () => {
    beforeEach(() => {
      regions.set([region(7, '', 'm', 5), region(8, 'm', '', 6)]);
      world.leaders.set(8, 2);
      regions.tell();
    });

    it('asks the source’s leader with the target as it is, and waits until the target has its keys', async () => {
      const merged = await settle(admin.mergeRegions(8, 7));
      expect([merged.id, merged.start, merged.end, merged.epoch.version]).to.deep.equal([7, '', '', 8]);
      const [{ node, event } = expect.fail()] = regions.received;
      expect(node).to.equal('store-2');
      expect(event.context).to.deep.include({ regionId: 8, regionEpoch: { confVer: 1, version: 6 } });
      expect(event.command?.prepareMerge?.target?.endKey).to.deep.equal(
        new Uint8Array(rawKey(Buffer.from('m'))),
      );
    });

    it('that is rolled back says so', async () => {
      regions.mergeEnds = 'rolled back';
      const error = await failureOf(admin.mergeRegions(7, 8));
      expect([error.code, error.reason, exitCodeOf(error)]).to.deep.equal([
        'conflict',
        'merge-rolled-back',
        4,
      ]);
      expect(error.message).to.match(/Region 7 was not merged into region 8: the merge was rolled back/);
    });

    it('that hangs is a timeout; one that is not waited for gives the source as it is', async () => {
      regions.mergeEnds = 'never';
      const error = await failureOf(admin.mergeRegions(7, 8, { timeout: 1_000 }));
      expect(error.message).to.match(/did not come to this: region 7 is merged into region 8\./);
      const source = await settle(admin.mergeRegions(8, 7, { wait: false }));
      expect([source.id, source.epoch]).to.deep.equal([8, { confVer: 2, version: 7 }]);
    });

    it('that got no answer is found out', async () => {
      regions.answers.push((serve) => {
        serve();
        return 'silence';
      });
      expect((await settle(admin.mergeRegions(7, 8, { timeout: 20_000 }))).id).to.equal(8);
      expect(world.regions.map(({ id }) => id)).to.deep.equal([8]);
    });

    it('needs two regions that are there', async () => {
      expect((await failureOf(admin.mergeRegions(7, 7))).code).to.equal('invalid-argument');
      expect((await failureOf(admin.mergeRegions(7, 99))).message).to.match(/There is no region 99/);
      expect((await failureOf(admin.mergeRegions(99, 7))).message).to.match(/There is no region 99/);
    });
  });
});

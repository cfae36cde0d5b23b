import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { exitCodeOf, type TroupeError } from '../../cluster/errors.js';
import type { ClusterAdmin } from '../../cluster/index.js';
import { epoch, RegionWorld, refused, rolesOf, wrong } from './client-region-world.js';
import { type ClientWorld, region } from './client-world.js';

describe('changes of regions, as a client asks for them', () => {
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

  describe('the view', () => {
    it('lists regions, and shows one by id or by key, with all that the scheduler knows', async () => {
      regions.set([region(7, '', 'm', 6), region(8, 'm', '', 6)]);
      world.leaders.set(8, 2);
      regions.tell();
      world.reports.set(7, { leader: 1, pending: [72], down: [73], size: 4096, keys: 17 });
      const shown = await settle(admin.region(7));
      expect(shown).to.deep.equal({
        id: 7,
        start: '',
        end: 'rm',
        epoch: { confVer: 1, version: 6 },
        peers: [
          { id: 71, store: 1, role: 'voter', pending: false, downSeconds: 0 },
          { id: 72, store: 2, role: 'voter', pending: true, downSeconds: 0 },
          { id: 73, store: 3, role: 'voter', pending: false, downSeconds: 60 },
        ],
        leader: 1,
        approximateSize: 4096,
        approximateKeys: 17,
      });
      expect((await settle(admin.regions())).map(({ id, leader }) => [id, leader])).to.deep.equal([
        [7, 1],
        [8, 2],
      ]);
      expect((await settle(admin.regionOf('x'))).id).to.equal(8);
      expect((await settle(admin.regionOf('a', { space: 'txn' }))).id).to.equal(8);
      const unknown = await failureOf(admin.region(9));
      expect([unknown.code, unknown.message]).to.deep.equal([
        'not-found',
        'There is no region 9: `troupe region list` shows those that there are.',
      ]);
    });
  });

  describe('who is asked', () => {
    it('is the leader that the answers hint at', async () => {
      world.leaders.set(7, 3);
      await settle(admin.splitRegion('g'));
      expect(regions.received.map(({ node }) => node)).to.deep.equal(['store-1', 'store-3']);
    });

    it('is asked until one leads, at growing distances', async () => {
      world.leaders.delete(7);
      world.clock.setTimeout(() => world.leaders.set(7, 2), 3_000);
      await settle(admin.splitRegion('g'));
      expect(regions.received.length).to.be.within(30, 90);
    });

    it('is nobody when none leads: unavailable, and nothing was changed', async () => {
      world.leaders.delete(7);
      const error = await failureOf(admin.splitRegionInHalf(7, { timeout: 1_500 }));
      expect([error.code, exitCodeOf(error)]).to.deep.equal(['unavailable', 5]);
      expect(error.message).to.match(
        /^Region 7 was not changed within 1500 ms: refused by the script\. Try again/,
      );
    });
  });

  describe('an epoch', () => {
    it('that is stale is learned anew where none was given', async () => {
      regions.set([{ ...region(7, '', '', 9), regionEpoch: { confVer: 4, version: 9 } }]);
      await settle(admin.addLearner(7, 4));
      expect(regions.received.map(({ event }) => event.context?.regionEpoch)).to.deep.equal([
        { confVer: 1, version: 5 },
        { confVer: 4, version: 9 },
      ]);
    });

    it('of the region that holds the key now is taken when it was split in between', async () => {
      regions.set([{ ...region(7, '', 'c', 6) }, { ...region(8, 'c', '', 6) }]);
      world.leaders.set(8, 1);
      const parts = await settle(admin.splitRegion('g'));
      expect(regions.received.map(({ event }) => event.context?.regionId)).to.deep.equal([7, 8]);
      expect(parts.map(({ start }) => start)).to.deep.equal(['rc', 'rg']);
    });

    it('that was given is kept to, stale or of the future', async () => {
      for (const given of [
        { confVer: 1, version: 4 },
        { confVer: 2, version: 5 },
      ]) {
        const error = await failureOf(admin.splitRegion('g', { epoch: given }));
        expect([error.code, error.reason, exitCodeOf(error)]).to.deep.equal([
          'conflict',
          'epoch-not-match',
          4,
        ]);
        expect(error.message).to.match(/^Region 7 has epoch 1\/5, not \d\/\d: look at it again/);
      }
      expect(regions.received.length).to.equal(2);
      const transfer = await failureOf(admin.transferLeader(7, 2, { epoch: { confVer: 9, version: 9 } }));
      expect(transfer.reason).to.equal('epoch-not-match');
      await settle(admin.splitRegion('g', { epoch: { confVer: 1, version: 5 } }));
    });
  });

  describe('a refusal', () => {
    const CODES: readonly (readonly [reason: string, code: string, exit: number])[] = [
      ['split-key-outside', 'invalid-argument', 2],
      ['split-key-at-start', 'conflict', 4],
      ['split-key-duplicate', 'invalid-argument', 2],
      ['split-keys-order', 'invalid-argument', 2],
      ['nothing-to-split', 'conflict', 4],
      ['not-adjacent', 'conflict', 4],
      ['different-stores', 'conflict', 4],
      ['target-changed', 'conflict', 4],
      ['peer-exists', 'conflict', 4],
      ['peer-unknown', 'not-found', 3],
      ['duplicate-peer', 'invalid-argument', 2],
      ['store-unknown', 'not-found', 3],
      ['store-tombstone', 'conflict', 4],
      ['not-learner', 'conflict', 4],
      ['illegal-role', 'conflict', 4],
      ['joint', 'conflict', 4],
      ['not-joint', 'conflict', 4],
      ['no-quorum', 'unavailable', 5],
      ['ids-mismatch', 'failed', 1],
      ['what-comes-later', 'failed', 1],
    ];
    for (const [reason, code, exit] of CODES) {
      it(`"${reason}" is ${code}, in the words of the store`, async () => {
        regions.answers.push(() => refused(reason));
        const error = await failureOf(admin.addPeer(7, 4));
        expect([error.code, error.reason, error.message, exitCodeOf(error)]).to.deep.equal([
          code,
          reason,
          `the store says ${reason}`,
          exit,
        ]);
        expect(regions.received.length).to.equal(1);
      });
    }

    it('that passes is asked again after', async () => {
      regions.answers.push(
        () => refused('pending-change', true),
        () => refused('not-ready', true),
        () => wrong({ proposalInMergingMode: { regionId: 7 } }),
        () => wrong({ staleCommand: {} }),
        () => wrong({ serverIsBusy: { reason: 'spec', backoffMs: 0 } }),
      );
      const after = await settle(admin.removePeer(7, 3));
      expect(rolesOf(after)).to.deep.equal(['1 voter', '2 voter']);
      expect(regions.asked).to.deep.equal(Array.from({ length: 6 }, () => '-3'));
    });

    it('that does not pass in time is a timeout that says what stood in the way', async () => {
      for (let i = 0; i < 100; i++) regions.answers.push(() => refused('pending-change', true));
      const error = await failureOf(admin.addPeer(7, 4, { timeout: 2_000 }));
      expect([error.code, error.reason]).to.deep.equal(['timeout', 'pending-change']);
      expect(error.message).to.equal(
        'Region 7 was not changed within 2000 ms: the store says pending-change. Try again later, or give it longer.',
      );
    });

    it('comes at once for stores that can hold no peer, and peers that are not there', async () => {
      const unknown = await failureOf(admin.addPeer(7, 9));
      expect([unknown.code, unknown.reason, unknown.message]).to.deep.equal([
        'not-found',
        'store-unknown',
        'There is no store 9: `troupe status` lists them.',
      ]);
      expect((await failureOf(admin.addLearner(7, 6))).reason).to.equal('store-tombstone');
      expect((await failureOf(admin.movePeer(7, 1, 6))).reason).to.equal('store-tombstone');
      for (const change of ['promote', 'removePeer', 'transferLeader'] as const) {
        const error = await failureOf(admin[change](7, 4));
        expect([error.code, error.reason]).to.deep.equal(['not-found', 'peer-unknown']);
        expect(error.message).to.match(/no peer on store 4: its peers are on the stores 1, 2, 3/);
      }
      expect((await failureOf(admin.addPeer(9, 4))).message).to.match(/There is no region 9/);
      expect(regions.received).to.deep.equal([]);
    });
  });

  describe('an answer that does not come', () => {
    const lost = (serve: () => unknown): 'silence' => {
      serve();
      return 'silence';
    };

    it('is asked for again, and what had been done is done once', async () => {
      regions.answers.push(lost);
      const after = await settle(admin.addLearner(7, 4, { timeout: 20_000 }));
      expect(rolesOf(after)).to.include('4 learner');
      expect(regions.region(7)?.peers.length).to.equal(4);
      expect(regions.received.length).to.be.within(1, 3);
    });

    it('is sent to the next leader when the first one hangs', async () => {
      regions.answers.push(() => {
        world.leaders.set(7, 2);
        return 'silence';
      });
      await settle(admin.removePeer(7, 3, { timeout: 20_000 }));
      expect(regions.received.map(({ node }) => node)).to.deep.equal(['store-1', 'store-2']);
    });

    it('leaves the outcome undetermined at the deadline', async () => {
      for (let i = 0; i < 100; i++) regions.answers.push(() => 'silence');
      const error = await failureOf(admin.addLearner(7, 4, { timeout: 7_000 }));
      expect([error.code, exitCodeOf(error)]).to.deep.equal(['undetermined', 6]);
      expect(error.message).to.match(/A change of region 7 was sent, but not confirmed within 7000 ms/);
    });

    it('when the epoch was given is told from a change by others', async () => {
      const first = { confVer: 1, version: 5 };
      regions.answers.push(lost);
      regions.lag = 30_000;
      const adding = admin.addLearner(7, 4, { timeout: 20_000, epoch: first, wait: false });
      expect(rolesOf(await settle(adding))).to.include('4 learner');
      regions.answers.push(() => {
        regions.given({ ...region(7, '', '', 5), regionEpoch: { confVer: 9, version: 5 } });
        return 'silence';
      });
      regions.tell();
      const error = await failureOf(
        admin.addLearner(7, 5, { timeout: 20_000, epoch: { confVer: 2, version: 5 }, wait: false }),
      );
      expect(error.reason).to.equal('epoch-not-match');
    });
  });

  describe('a call', () => {
    it('ends at once with the signal’s reason, whatever it waits for', async () => {
      const reason = new Error('enough');
      regions.catchUp = 30_000;
      const cases: (() => Promise<unknown>)[] = [
        () => admin.addLearner(7, 4, { signal: AbortSignal.abort(reason) }),
        () => {
          const controller = new AbortController();
          world.clock.setTimeout(() => controller.abort(reason), 1_000);
          return admin.addLearner(7, 4, { signal: controller.signal });
        },
        () => {
          const controller = new AbortController();
          regions.answers.push(() => 'silence');
          world.clock.setTimeout(() => controller.abort(reason), 1_000);
          return admin.promote(7, 4, { signal: controller.signal });
        },
      ];
      for (const begin of cases) {
        const begun = world.clock.now();
        const error = await world.settle(begin()).then(
          () => undefined,
          (cause: unknown) => cause,
        );
        expect(error).to.equal(reason);
        expect(world.clock.now() - begun).to.be.lessThan(1_100);
      }
      expect(regions.received.length).to.equal(2);
    });

    it('ends with `closed` when the database is closed', async () => {
      regions.catchUp = 30_000;
      const adding = failureOf(admin.addLearner(7, 4));
      const closing = (async () => {
        await new Promise<void>((resolve) => world.clock.setTimeout(resolve, 1_000));
        await db.close();
      })();
      expect((await adding).code).to.equal('closed');
      await world.settle(closing);
    });

    it('takes ids and epochs that can be', async () => {
      for (const call of [
        () => admin.region(-1),
        () => admin.checkRegion(0),
        () => admin.addPeer(7, Number.NaN),
        () => admin.movePeer(7, 1.5, 2),
        () => admin.splitRegion('a', { region: Number.POSITIVE_INFINITY }),
        () => admin.mergeRegions(7, '8' as unknown as number),
        () => admin.promote(7, 1, { epoch: { confVer: 1, version: -1 } }),
      ]) {
        const error = await failureOf(call());
        expect([error.code, /whole numbers above 0/.test(error.message)]).to.deep.equal([
          'invalid-argument',
          true,
        ]);
      }
      expect(regions.received).to.deep.equal([]);
    });

    it('takes no time below zero', async () => {
      expect((await failureOf(admin.addLearner(7, 4, { timeout: 0 }))).code).to.equal('invalid-argument');
    });
  });

  it('never sends a command of an older epoch than the newest that was told', async () => {
    regions.lag = 500;
    await settle(admin.addLearner(7, 4));
    await settle(admin.addLearner(7, 5));
    const sent = regions.received.map(({ event }) => event.context?.regionEpoch?.confVer ?? 0);
    expect(sent).to.deep.equal([...sent].sort((a, b) => a - b));
    expect(epoch(regions.region(7) ?? expect.fail()).confVer).to.equal(3);
  });
});

import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import type { TroupeError } from '../../cluster/errors.js';
import type { ClusterAdmin } from '../../cluster/index.js';
import { metapb } from '../../storage/proto/index.js';
import { RegionWorld, roles, rolesOf } from './client-region-world.js';
import { type ClientWorld, region } from './client-world.js';

const { Voter, Learner, IncomingVoter, DemotingVoter } = metapb.PeerRole;

describe('members of regions, as a client changes them', () => {
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

  describe('a change of membership', () => {
    it('adds a peer with an id of the store, and waits until it has caught up', async () => {
      const begun = world.clock.now();
      const after = await settle(admin.addPeer(7, 4));
      expect(world.clock.now() - begun).to.be.greaterThan(300);
      expect(rolesOf(after)).to.deep.equal(['1 voter', '2 voter', '3 voter', '4 voter']);
      const [{ event } = expect.fail()] = regions.received;
      expect(event.command?.changePeerV2?.changes[0]?.peer).to.deep.equal({ id: 0, storeId: 4, role: Voter });
    });

    it('adds a learner, promotes it, removes it', async () => {
      expect(rolesOf(await settle(admin.addLearner(7, 4)))).to.include('4 learner');
      expect(rolesOf(await settle(admin.promote(7, 4)))).to.include('4 voter');
      expect(rolesOf(await settle(admin.removePeer(7, 4)))).to.deep.equal(['1 voter', '2 voter', '3 voter']);
      expect(regions.asked).to.deep.equal(['+4 learner', '+4 voter', '-4']);
      expect(regions.received[1]?.event.command?.changePeerV2?.changes[0]?.peer?.id).to.be.greaterThan(0);
    });

    it('does not wait when told so', async () => {
      regions.lag = 30_000;
      regions.catchUp = 30_000;
      const after = await settle(admin.addLearner(7, 4, { wait: false }));
      expect(rolesOf(after)).to.include('4 learner');
      expect([after.leader, after.epoch]).to.deep.equal([1, { confVer: 2, version: 5 }]);
      expect(world.clock.now()).to.be.lessThan(1_000);
    });

    it('says what is still awaited when the time is over', async () => {
      regions.catchUp = 30_000;
      const error = await failureOf(admin.addLearner(7, 4, { timeout: 2_000 }));
      expect(error.code).to.equal('timeout');
      expect(error.message).to.match(
        /^Within 2000 ms it did not come to this: peer \d+ on store 4 has caught up\. The change was accepted and goes on: `troupe region show 7`/,
      );
      regions.lag = 30_000;
      const unheard = await failureOf(admin.promote(7, 4, { timeout: 2_000 }));
      expect(unheard.message).to.match(/did not come to this: the scheduler hears of it/);
    });

    it('waits for a scheduler that is away for a while', async () => {
      const adding = admin.addLearner(7, 4);
      expect(await world.clock.runUntil(() => regions.received.length > 0, 5_000)).to.equal(true);
      world.schedulerAnswers = false;
      world.clock.setTimeout(() => {
        world.schedulerAnswers = true;
      }, 4_000);
      expect(rolesOf(await settle(adding))).to.include('4 learner');
      world.schedulerAnswers = false;
      const error = await failureOf(admin.promote(7, 4, { timeout: 1_000 }));
      expect(error.code).to.equal('unavailable');
    });

    it('notices when others undo it', async () => {
      regions.catchUp = 30_000;
      const adding = admin.addLearner(7, 4);
      expect(await world.clock.runUntil(() => regions.received.length > 0, 5_000)).to.equal(true);
      regions.given({ ...region(7, '', '', 5), regionEpoch: { confVer: 3, version: 5 } });
      const error = await failureOf(adding);
      expect([error.code, error.reason]).to.deep.equal(['conflict', 'changed-meanwhile']);
      expect(error.message).to.match(/its peer on store 4 was removed/);
    });
  });

  describe('a transfer of leadership', () => {
    it('waits until the store that was named leads', async () => {
      regions.handOver = 700;
      expect((await settle(admin.transferLeader(7, 3))).leader).to.equal(3);
      expect(regions.asked).to.deep.equal(['lead 3']);
    });

    it('is asked for again when it came to nothing, and does not wait when told so', async () => {
      regions.handOver = 0;
      const moving = admin.transferLeader(7, 3, { timeout: 20_000 });
      await world.clock.advance(4_000);
      regions.handOver = 50;
      expect((await settle(moving)).leader).to.equal(3);
      expect(regions.asked.length).to.be.within(2, 4);
      expect((await settle(admin.transferLeader(7, 1, { wait: false }))).leader).to.equal(3);
    });

    it('that never happens is a timeout that says who leads', async () => {
      regions.handOver = 0;
      const error = await failureOf(admin.transferLeader(7, 3, { timeout: 2_000 }));
      expect(error.message).to.match(/did not come to this: store 3 leads region 7 \(store 1 does\)/);
    });
  });

  describe('a move', () => {
    const MOVED = ['2 voter', '3 voter', '4 voter'];

    it('adds a learner, hands over, swaps in one joint change, and removes', async () => {
      expect(rolesOf(await settle(admin.movePeer(7, 1, 4)))).to.deep.equal(MOVED);
      expect(regions.asked).to.deep.equal(['+4 learner', 'lead 2', '+4 voter, +1 learner', 'leave', '-1']);
    });

    it('does not touch leadership when a follower moves, and hands over to the new peer when there is no other', async () => {
      expect(rolesOf(await settle(admin.movePeer(7, 3, 4)))).to.deep.equal(['1 voter', '2 voter', '4 voter']);
      expect(regions.asked).to.deep.equal(['+4 learner', '+4 voter, +3 learner', 'leave', '-3']);
      regions.received.length = 0;
      regions.given(roles([1, Voter]));
      expect(rolesOf(await settle(admin.movePeer(7, 1, 5)))).to.deep.equal(['5 voter']);
      expect(regions.asked).to.deep.equal(['+5 learner', '+5 voter, +1 learner', 'lead 5', 'leave', '-1']);
    });

    it('moves a learner as a learner', async () => {
      regions.given(roles([1, Voter], [2, Learner]));
      expect(rolesOf(await settle(admin.movePeer(7, 2, 4)))).to.deep.equal(['1 voter', '4 learner']);
      expect(regions.asked).to.deep.equal(['+4 learner', '-2']);
    });

    const HALVES: readonly (readonly [string, metapb.Region, asked: readonly string[]])[] = [
      [
        'with the learner there',
        roles([1, Voter], [2, Voter], [3, Voter], [4, Learner]),
        ['lead 2', '+4 voter, +1 learner', 'leave', '-1'],
      ],
      [
        'in joint membership',
        roles([1, DemotingVoter], [2, Voter], [3, Voter], [4, IncomingVoter]),
        ['lead 2', 'leave', '-1'],
      ],
      ['with the old peer a learner', roles([1, Learner], [2, Voter], [3, Voter], [4, Voter]), ['-1']],
      ['with all of it done', roles([2, Voter], [3, Voter], [4, Voter]), []],
    ];
    for (const [how, half, asked] of HALVES) {
      it(`goes on ${how}`, async () => {
        regions.given(half);
        if (half.peers[0]?.role === Learner || half.peers.length === 3) world.leaders.set(7, 2);
        regions.tell();
        expect(rolesOf(await settle(admin.movePeer(7, 1, 4)))).to.deep.equal(MOVED);
        expect(regions.asked).to.deep.equal(asked);
      });
    }

    it('waits for a learner that another move has left behind', async () => {
      regions.given(roles([1, Voter], [2, Voter], [3, Voter], [4, Learner]));
      world.reports.set(7, { leader: 2, pending: [74] });
      world.leaders.set(7, 2);
      const moving = admin.movePeer(7, 1, 4, { timeout: 5_000 });
      await world.clock.advance(2_000);
      expect(regions.asked).to.deep.equal([]);
      world.reports.set(7, { leader: 2 });
      expect(rolesOf(await settle(moving))).to.deep.equal(MOVED);
    });

    it('that runs out of time says what it waits for, and goes on when it is asked for again', async () => {
      regions.catchUp = 3_000;
      const error = await failureOf(admin.movePeer(7, 1, 4, { timeout: 1_000 }));
      expect(error.code).to.equal('timeout');
      expect(error.message).to.match(
        /peer \d+ on store 4 has caught up.*Ask for the same move again: it goes on/,
      );
      expect(rolesOf(await settle(admin.movePeer(7, 1, 4)))).to.deep.equal(MOVED);
      expect(regions.asked.filter((word) => word === '+4 learner').length).to.equal(1);
    });

    it('can be cut short behind every change', async () => {
      for (let changes = 1; changes <= 5; changes++) {
        regions.given({ ...region(7, '', '', 5), regionEpoch: { confVer: 100 * changes, version: 5 } });
        world.leaders.set(7, 1);
        regions.tell();
        regions.received.length = 0;
        const controller = new AbortController();
        const cut = admin
          .movePeer(7, 1, 4, { signal: controller.signal, timeout: 20_000 })
          .catch(() => 'cut');
        expect(await world.clock.runUntil(() => regions.received.length === changes, 20_000)).to.equal(true);
        controller.abort();
        expect(await settle(cut)).to.equal('cut');
        await world.clock.advance(1_000);
        expect(rolesOf(await settle(admin.movePeer(7, 1, 4)))).to.deep.equal(MOVED);
        expect(regions.asked).to.deep.equal(['+4 learner', 'lead 2', '+4 voter, +1 learner', 'leave', '-1']);
      }
    });

    it('keeps to an epoch that was given for its first change, and leaves out the last wait when told so', async () => {
      const stale = await failureOf(admin.movePeer(7, 1, 4, { epoch: { confVer: 2, version: 5 } }));
      expect(stale.reason).to.equal('epoch-not-match');
      regions.received.length = 0;
      const moved = await settle(
        admin.movePeer(7, 1, 4, { epoch: { confVer: 1, version: 5 }, wait: false, timeout: 20_000 }),
      );
      expect(rolesOf(moved)).to.deep.equal(MOVED);
    });

    it('is refused where there is nothing to move, a voter already, or a change of somebody else', async () => {
      expect((await failureOf(admin.movePeer(7, 4, 5))).reason).to.equal('peer-unknown');
      expect((await failureOf(admin.movePeer(7, 1, 2))).reason).to.equal('peer-exists');
      expect((await failureOf(admin.movePeer(7, 1, 1))).code).to.equal('invalid-argument');
      regions.given(roles([1, Voter], [2, DemotingVoter], [3, Voter], [5, IncomingVoter]));
      expect((await failureOf(admin.movePeer(7, 1, 4))).reason).to.equal('joint');
      expect(regions.received).to.deep.equal([]);
    });
  });
});

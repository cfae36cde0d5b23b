import { expect } from 'chai';
import type { RestNotice } from '../../cluster/raft/resting-group.js';
import { makeMessage } from '../../machines/index.js';
import { ELECTION_TICKS, RestingWorld, type RestingWorldOptions, type Sent } from './resting-world.js';

async function led(options: RestingWorldOptions = {}): Promise<RestingWorld> {
  const world = new RestingWorld(options);
  await world.lead();
  return world;
}

async function sleeping(options: RestingWorldOptions = {}): Promise<RestingWorld> {
  const world = await led(options);
  await world.sleep();
  return world;
}

const is =
  (type: RestNotice['type']) =>
  ({ notice }: Sent): boolean =>
    notice?.type === type;

describe('A group falls asleep', () => {
  it('when all members have agreed, followers first, with one question and one answer each', async () => {
    const world = await led({ learners: [4] });
    world.sent.length = 0;
    await world.until(() => world.asleep.length > 0);
    expect(world.asleep).to.deep.equal([1, 2, 3, 4]);
    const notices = world.said.filter((line) => /request|response/.test(line));
    expect(notices).to.deep.equal([
      '1 > 2 request',
      '1 > 3 request',
      '1 > 4 request',
      '2 > 1 response',
      '3 > 1 response',
      '4 > 1 response',
    ]);
    world.sent.length = 0;
    await world.tick(1_000);
    expect(world.said).to.deep.equal([]);
  });

  it('alone, when it has one member', async () => {
    const world = await led({ voters: [1] });
    await world.sleep();
    expect(world.said).to.deep.equal([]);
  });

  it('not while a learner lags', async () => {
    const world = await led({ learners: [4] });
    world.carries = ({ to, message }) => to !== 4 || message?.type !== 'appendEntries';
    world.group(1).propose(Buffer.from('x'), () => {});
    await world.tick(50);
    expect(world.asleep).to.deep.equal([]);
    world.carries = () => true;
    await world.sleep();
    expect(world.group(4).applied).to.equal(world.group(1).applied);
  });

  it('not while somebody does not agree; the others are woken by the next heartbeat', async () => {
    for (const silent of [2, 3, 4]) {
      const world = await led({ learners: [4] });
      world.carries = (sent) => sent.from !== silent || !is('response')(sent);
      await world.until(() => world.asleep.length === 3);
      expect(world.asleep, 'it held its breath').not.to.include(1);
      const { term } = world.group(1);
      await world.until(() => world.asleep.length === 0);
      await world.tick(60);
      expect(world.group(1).asleep).to.equal(false);
      expect([...world.groups.values()].map((group) => [group.leader, group.term])).to.deep.equal(
        Array.from({ length: 4 }, () => [1, term]),
      );
      world.carries = () => true;
      await world.sleep();
    }
  });

  // Seed 736: its members had removed it, and it led nobody for ever.
  it('not when nobody answers: asking again and again is no way to go on leading', async () => {
    const world = await led();
    world.carries = ({ from, to }) => from !== 1 && to !== 1;
    const { term } = world.group(1);
    await world.until(() => !world.group(1).isLeader, 4 * ELECTION_TICKS);
    expect(world.group(1).term).to.equal(term);
  });

  it('with the second try when a notice was lost, without an election', async () => {
    for (const lost of ['request', 'response'] as const) {
      const world = await led();
      let first = true;
      world.carries = (sent) => {
        if (!first || sent.from === 3 || sent.to === 3 || !is(lost)(sent)) return true;
        first = false;
        return false;
      };
      const { term } = world.group(1);
      const took = await world.until(() => world.asleep.length === 3);
      expect(took).to.be.within(ELECTION_TICKS, 3 * ELECTION_TICKS);
      expect(world.group(1).term).to.equal(term);
    }
  });

  it('not on the word of an earlier question, of an earlier term, or of a stranger', async () => {
    const world = await led();
    world.carries = (sent) => !is('response')(sent);
    await world.until(() => world.asleep.length === 2);
    const { term, applied: index } = world.group(1);
    const response = (from: number, fields: Partial<RestNotice>): void =>
      world.group(1).heed(from, { type: 'response', term, index, ...fields });
    response(2, {});
    for (const fields of [{ term: term - 1 }, { term: term + 1 }, { index: index - 1 }]) response(3, fields);
    response(9, {});
    response(2, {});
    expect(world.group(1).asleep).to.equal(false);
    response(3, {});
    expect(world.group(1).asleep).to.equal(true);
  });

  it('not in the middle of a request', async () => {
    const world = await led();
    world.carries = (sent) => !is('response')(sent);
    await world.until(() => world.asleep.length === 2);
    const answers = world.sent.filter(is('response'));
    expect(answers).to.have.lengthOf(2);
    expect(world.read(1).served, 'its heartbeats have woken a majority').to.equal(true);
    for (const answer of answers) world.deliver(answer);
    expect(world.asleep).to.deep.equal([]);
  });

  it('later, on a follower that has something left to apply', async () => {
    const world = await led();
    world.carries = ({ to, message }) => to !== 3 || message?.type !== 'heartbeat';
    world.group(1).propose(Buffer.from('x'), () => {});
    world.settle();
    const { term, raft } = world.group(1);
    const last = raft.lastIndex;
    world.group(3).heed(1, { type: 'request', term, index: last });
    expect([world.group(3).applied < last, world.group(3).asleep]).to.deep.equal([true, false]);
    world.carries = () => true;
    await world.tick(2);
    expect([world.group(3).applied, world.group(3).asleep]).to.deep.equal([last, true]);
  });

  it('not for a leader whose store is not heard: nobody would notice its end', async () => {
    const world = await led();
    world.missing.add(1);
    const { term, applied: index } = world.group(1);
    world.group(2).heed(1, { type: 'request', term, index });
    await world.tick(1);
    expect(world.asleep).to.deep.equal([]);
  });

  it('not for a leader of an earlier term, or one that it does not follow', async () => {
    const world = await led();
    const { term, applied: index } = world.group(1);
    world.sent.length = 0;
    world.group(2).heed(3, { type: 'request', term: term - 1, index });
    expect(world.said).to.deep.equal([]);
    world.group(2).heed(3, { type: 'request', term: term + 1, index });
    expect(world.said, 'it wants to be led').to.deep.equal(['2 > 3 wakeUp']);
    expect(world.asleep).to.deep.equal([]);
  });

  it('without members whose stores are gone, but not without a majority', async () => {
    const world = await led({ learners: [4] });
    world.carries = ({ from, to }) => ![3, 4].includes(from) && ![3, 4].includes(to);
    world.group(1).propose(Buffer.from('x'), () => {});
    await world.tick(40);
    expect(world.group(1).asleep).to.equal(false);
    world.missing.add(3).add(4);
    await world.until(() => world.group(1).asleep);
    expect([2, 3, 4].map((member) => world.group(1).leavesOut(member))).to.deep.equal([false, true, true]);
    world.missing.add(2);
    world.group(1).wake();
    world.carries = () => true;
    await world.tick(40);
    expect(world.group(1).asleep).to.equal(false);
  });
});

describe('A sleeping leader', () => {
  it('is not woken by old news, nor by answers to what it asked before', async () => {
    const world = await sleeping();
    const one = world.group(1);
    const { term, applied: index } = one;
    const old = { from: 2, to: 1, term: term - 1, index, logTerm: term - 1 } as const;
    for (const type of [
      'heartbeat',
      'appendEntries',
      'requestVote',
      'requestPreVote',
      'heartbeatResponse',
    ] as const)
      one.step(makeMessage({ ...old, type }));
    one.step(makeMessage({ ...old, type: 'heartbeatResponse', term }));
    one.step(makeMessage({ ...old, type: 'appendEntriesResponse', term }));
    for (const type of ['request', 'response'] as const)
      for (const older of [0, 1]) one.heed(2, { type, term: term - older, index });
    world.settle();
    expect(world.asleep).to.deep.equal([1, 2, 3]);
  });

  it('is woken by a request, a candidate, a rejection, and whoever calls for it', async () => {
    const acts: ((world: RestingWorld) => void)[] = [
      (world) => world.group(1).propose(Buffer.from('x'), () => {}),
      (world) => world.read(1),
      (world) => world.group(1).transferLeader(2),
      (world) => world.group(1).wake(),
      (world) =>
        world
          .group(1)
          .step(makeMessage({ type: 'requestPreVote', from: 2, to: 1, term: world.group(1).term + 1 })),
      (world) =>
        world.group(1).step(
          makeMessage({
            type: 'appendEntriesResponse',
            reject: true,
            from: 2,
            to: 1,
            term: world.group(1).term,
            index: 5,
          }),
        ),
    ];
    for (const act of acts) {
      const world = await sleeping();
      act(world);
      expect(world.group(1).asleep, String(act)).to.equal(false);
      await world.sleep();
    }
  });

  it('serves a read only when a majority has answered it', async () => {
    const world = await sleeping();
    world.carries = ({ from }) => from === 1;
    const read = world.read(1);
    await world.tick(5);
    expect(read.served).to.equal(false);
    await world.until(() => !world.group(1).isLeader, 3 * ELECTION_TICKS);
    expect(read.served).to.equal(false);
    world.carries = () => true;
  });

  it('has no lease left when it slept longer than that', async () => {
    const world = await sleeping({ leases: true });
    expect(world.read(1).served).to.equal(true);
    await world.sleep();
    world.carries = () => false;
    expect(world.read(1).served).to.equal(false);
  });

  it('tells one member that it leads, and goes on sleeping', async () => {
    const world = await sleeping();
    const { term, applied: index } = world.group(1);
    world.group(1).heed(3, { type: 'wakeUp', term, index });
    world.settle();
    expect(world.said.slice(0, 2)).to.have.members(['1 > 3 request', '1 > 3 heartbeat']);
    expect(world.asleep).to.deep.equal([1, 2, 3]);
    world.group(1).heed(9, { type: 'wakeUp', term, index });
    expect(world.asleep, 'a stranger').to.deep.equal([1, 2, 3]);
  });

  it('wakes for a member that lacks something, or knows of a later term', async () => {
    for (const change of [{ index: 0 }, { index: 5 }, { term: 99 }]) {
      const world = await sleeping();
      const { term, applied: index } = world.group(1);
      world.group(1).heed(3, { type: 'wakeUp', term, index, ...change });
      expect(world.group(1).asleep).to.equal(false);
    }
  });
});

describe('A sleeping follower', () => {
  it('agrees again when it is asked again', async () => {
    const world = await sleeping();
    const { term, applied: index } = world.group(1);
    world.group(2).heed(1, { type: 'request', term, index });
    expect(world.said).to.deep.equal(['2 > 1 response']);
    world.settle();
    expect(world.asleep).to.deep.equal([1, 2, 3]);
  });

  it('is woken by a heartbeat, but not by one that left before it was asked', async () => {
    const world = await sleeping();
    const { term, applied: commit } = world.group(1);
    const heartbeat = makeMessage({ type: 'heartbeat', from: 1, to: 2, term, commit });
    world.group(2).step(heartbeat);
    world.settle();
    expect(world.asleep).to.include(2);
    const read = makeMessage({ type: 'heartbeat', from: 1, to: 3, term, commit, context: new Uint8Array(8) });
    world.group(3).step(read);
    expect(world.asleep, 'a read is asked for now').not.to.include(3);
    await world.tick(2);
    world.group(2).step(heartbeat);
    expect(world.asleep).not.to.include(2);
  });

  it('asks its leader, when somebody else has woken it, and sleeps again', async () => {
    const world = await sleeping();
    await world.tick(50);
    world.group(2).wake();
    world.settle();
    expect(world.said[0]).to.equal('2 > 1 wakeUp');
    await world.tick(1);
    expect(world.asleep).to.deep.equal([1, 2, 3]);
    expect(world.said).to.have.lengthOf(5);
  });

  it('asks its leader, when it hears nothing of it, before it campaigns', async () => {
    const world = await sleeping();
    let lost = true;
    world.carries = (sent) => !(lost && is('wakeUp')(sent));
    world.group(2).wake();
    world.settle();
    lost = false;
    const { term } = world.group(1);
    await world.until(() => world.asleep.length === 3, ELECTION_TICKS);
    expect(world.group(2).term).to.equal(term);
    expect(world.said.some((line) => /Vote/.test(line))).to.equal(false);
  });

  it('does not take its leader for dead when it wakes, however long it slept', async () => {
    const world = await sleeping();
    await world.tick(1_000);
    world.carries = ({ from }) => from !== 1;
    world.group(2).wake();
    await world.tick(ELECTION_TICKS - 1);
    expect([world.group(2).raft.role, world.group(2).leader]).to.deep.equal(['follower', 1]);
  });

  it('campaigns within a timeout when the store of its leader is gone, and the other does not protect it', async () => {
    for (const leases of [false, true]) {
      const world = await sleeping({ leases });
      await world.tick(20);
      world.carries = ({ from, to }) => from !== 1 && to !== 1;
      world.missing.add(1);
      for (const id of [2, 3]) world.group(id).leaderIsGone(1);
      const took = await world.until(
        () => world.group(2).isLeader || world.group(3).isLeader,
        3 * ELECTION_TICKS,
      );
      expect(took).to.be.at.most(ELECTION_TICKS + 1);
    }
  });

  it('gives no vote to anybody for as long as a lease may last that it has confirmed', async () => {
    const world = await sleeping({ leases: true });
    expect(world.read(1).served).to.equal(true);
    await world.sleep();
    const two = world.group(2);
    const wait = ELECTION_TICKS - two.silence;
    expect(wait).to.be.within(1, ELECTION_TICKS);
    world.missing.add(1);
    world.carries = ({ from, to }) => from !== 1 && to !== 1;
    const ask = makeMessage({
      type: 'requestPreVote',
      from: 3,
      to: 2,
      term: two.term + 1,
      index: two.raft.lastIndex,
      logTerm: two.term,
    });
    const answers = (): number => world.said.filter((line) => line === '2 > 3 requestPreVoteResponse').length;
    two.step(ask);
    world.settle();
    expect([two.asleep, answers()]).to.deep.equal([false, 0]);
    await world.tick(wait);
    two.step(ask);
    world.settle();
    expect(answers()).to.equal(1);
  });

  it('is told by its leader that it leads no more', async () => {
    const world = await sleeping();
    await world.tick(20);
    world.group(1).fail(new Error('an invariant that broke'));
    world.settle();
    await world.until(() => world.group(2).isLeader || world.group(3).isLeader, ELECTION_TICKS);
  });

  it('looks for a leader when it is asked for something', async () => {
    const world = await sleeping();
    world.group(2).seekLeader();
    world.settle();
    expect(world.said[0]).to.equal('2 > 1 wakeUp');
    await world.tick(1);
    expect(world.asleep).to.deep.equal([1, 2, 3]);
    await world.tick(20);
    world.missing.add(1);
    world.carries = ({ from, to }) => from !== 1 && to !== 1;
    world.group(2).seekLeader();
    world.settle();
    expect(world.group(2).isLeader).to.equal(true);
  });
});

describe('A dormant peer', () => {
  it('does nothing until it is called, then asks who leads before it stands for election', async () => {
    const world = new RestingWorld({ dormant: true });
    await world.tick(100);
    expect([world.said, world.asleep]).to.deep.equal([[], [1, 2, 3]]);
    world.group(2).standForElection(4);
    world.settle();
    expect(world.said).to.deep.equal(['2 > 1 wakeUp', '2 > 3 wakeUp']);
    const took = await world.until(() => world.group(2).isLeader);
    expect(took).to.be.below(ELECTION_TICKS);
    await world.sleep();
  });

  it('campaigns at once for somebody who asks', async () => {
    const world = new RestingWorld({ dormant: true });
    await world.tick(5);
    world.group(3).seekLeader();
    world.settle();
    expect(world.group(3).isLeader).to.equal(true);
  });

  it('not before a lease is over that it may have confirmed before its start', async () => {
    const world = new RestingWorld({ dormant: true, leases: true });
    await world.tick(3);
    world.group(3).seekLeader();
    world.settle();
    const took = await world.until(() => world.group(3).raft.role !== 'follower');
    expect(3 + took).to.equal(ELECTION_TICKS);
  });

  it('learns who leads from a leader that sleeps on', async () => {
    const world = new RestingWorld({ dormant: true });
    world.carries = ({ from, to }) => from !== 3 && to !== 3;
    world.missing.add(3);
    world.group(1).seekLeader();
    await world.until(() => world.group(1).asleep && world.group(2).asleep && world.group(2).leader === 1);
    world.carries = () => true;
    world.missing.delete(3);
    world.sent.length = 0;
    world.group(3).askForLeader();
    world.settle();
    await world.sleep();
    expect(world.group(3).leader).to.equal(1);
  });

  it('votes in its sleep, and wakes for whoever wins', async () => {
    const world = new RestingWorld({ dormant: true });
    world.carries = ({ message }) => message?.type !== 'appendEntries';
    world.group(3).seekLeader();
    world.settle();
    expect([world.group(3).isLeader, world.asleep]).to.deep.equal([true, [1, 2]]);
    world.carries = () => true;
    await world.tick(2);
    expect(world.asleep).to.deep.equal([]);
    await world.sleep();
  });

  it('holds its vote for as long as a lease may last that it confirmed before its start, asleep or not', async () => {
    const world = new RestingWorld({ dormant: true, leases: true });
    const ask = makeMessage({ type: 'requestPreVote', from: 3, to: 1, term: 6, index: 5, logTerm: 5 });
    for (let tick = 0; tick < ELECTION_TICKS; tick++) {
      world.group(1).step(ask);
      world.settle();
      expect(world.said).to.deep.equal([]);
      await world.tick(1);
    }
    world.group(1).step(ask);
    world.settle();
    expect([world.said[0], world.group(1).asleep]).to.deep.equal(['1 > 3 requestPreVoteResponse', true]);
  });

  it('wakes for a candidate that cannot win for what it has itself', async () => {
    const world = new RestingWorld({ dormant: true });
    const ask = { type: 'requestPreVote', from: 3, to: 1, term: 6 } as const;
    world.group(1).step(makeMessage({ ...ask, index: 5, logTerm: 5 }));
    expect(world.group(1).asleep).to.equal(true);
    world.group(1).step(makeMessage({ ...ask, index: 4, logTerm: 5 }));
    expect(world.group(1).asleep).to.equal(false);
  });

  it('gives up for a while, and not when it knows a leader', async () => {
    const world = new RestingWorld({ dormant: true });
    world.carries = () => false;
    world.group(1).standForElection(4);
    await world.tick(40);
    expect(world.asleep).to.deep.equal([2, 3]);
    world.group(1).loseHope();
    expect(world.asleep).to.deep.equal([1, 2, 3]);
    const other = await led();
    other.group(2).loseHope();
    expect(other.asleep).to.deep.equal([]);
  });
});

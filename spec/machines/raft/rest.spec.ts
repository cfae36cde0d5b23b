import { expect } from 'chai';
import { bytes, Network, say, seededRandom, voters } from './network.js';

const nobody = (): boolean => false;
const READ = bytes('a read');

function led(options = {}, learner = false): Network {
  const confState = { ...voters(1, 2, 3), learners: learner ? [4] : [] };
  const starts = Object.fromEntries([1, 2, 3, 4].map((id) => [id, { confState }]));
  const network = Network.of(learner ? 4 : 3, { checkQuorum: true, preVote: true, ...options }, starts);
  network.campaign(1);
  network.tick(1, 1);
  return network;
}

/** What a host must know to let a group rest (docs/decisions/hibernation.md). */
describe('a group at rest', () => {
  it('has an idle leader whose members hold and know everything', () => {
    const network = led();
    const { node } = network.host(1);
    expect(node.isAtRest(nobody)).to.equal(true);
    for (const id of [2, 3]) expect(network.host(id).node.isAtRest(nobody), 'a follower').to.equal(false);
    network.host(1).proposeAll('x');
    expect(node.isAtRest(nobody), 'something is proposed').to.equal(false);
    network.settle();
    network.tick(1, 1);
    expect(node.isAtRest(nobody)).to.equal(true);
  });

  it('has no member that lacks an entry, be it a learner', () => {
    for (const behind of [3, 4]) {
      const network = led({}, true);
      network.isolate(behind);
      network.propose(1, 'x');
      network.tick(3, 1);
      expect(network.host(1).node.isAtRest(nobody)).to.equal(false);
      network.recover();
      network.tick(3, 1);
      expect(network.host(1).node.isAtRest(nobody)).to.equal(true);
    }
  });

  it('has no member that was not told that everything is committed', () => {
    const network = led({ skipBroadcastCommit: true, heartbeatTick: 2 });
    network.tick(2, 1);
    network.propose(1, 'x');
    expect(network.host(1).node.isAtRest(nobody)).to.equal(false);
    network.tick(2, 1);
    expect(network.host(1).node.isAtRest(nobody)).to.equal(true);
  });

  it('need not wait for members that are gone, if the others are a quorum', () => {
    const network = led({}, true);
    network.isolate(3);
    network.isolate(4);
    network.propose(1, 'x');
    network.tick(1, 1);
    const { node } = network.host(1);
    expect(node.isAtRest((id) => id === 3)).to.equal(false);
    expect(node.isAtRest((id) => id >= 3)).to.equal(true);
    expect(node.isAtRest((id) => id >= 2)).to.equal(false);
    network.recover();
    network.tick(2, 1);
    expect(
      node.isAtRest((id) => id >= 2),
      'although they have everything',
    ).to.equal(false);
  });

  it('has no read to confirm, no transfer and no joint membership', () => {
    const read = led();
    read.isolate(1);
    read.host(1).node.readIndex(READ);
    read.settle();
    expect(read.host(1).node.isAtRest(nobody)).to.equal(false);

    const transfer = led();
    transfer.isolate(2);
    transfer.host(1).node.transferLeader(2);
    transfer.settle();
    expect(transfer.host(1).node.isAtRest(nobody)).to.equal(false);

    const joint = led({}, true);
    joint.host(1).node.proposeConfChange({
      transition: 'explicit',
      changes: [
        { kind: 'addLearner', id: 3 },
        { kind: 'addVoter', id: 4 },
      ],
      context: new Uint8Array(0),
    });
    joint.settle();
    joint.tick(2, 1);
    expect(joint.host(1).node.status().configuration.outgoing).to.have.lengthOf(3);
    expect(joint.host(1).node.isAtRest(nobody)).to.equal(false);
  });

  it('has followers that have applied what their leader ends with, and follow no other', () => {
    const network = led();
    const { node } = network.host(2);
    const { term, lastIndex } = node;
    expect(node.isAtRestBehind(1, term, lastIndex)).to.equal(true);
    expect(node.isAtRestBehind(3, term, lastIndex)).to.equal(false);
    expect(node.isAtRestBehind(1, term + 1, lastIndex)).to.equal(false);
    expect(node.isAtRestBehind(1, term, lastIndex + 1)).to.equal(false);
    expect(network.host(1).node.isAtRestBehind(1, term, lastIndex), 'the leader').to.equal(false);
  });
});

describe('a peer that is woken', () => {
  it('does not take its leader for dead before a whole timeout has passed', () => {
    const network = led({ random: () => 0 });
    const { node } = network.host(2);
    for (let i = 0; i < 8; i++) node.tick();
    node.wake(0);
    for (let i = 0; i < 9; i++) node.tick();
    expect(node.role).to.equal('follower');
    node.tick();
    expect(node.role).to.equal('preCandidate');
  });

  it('protects no leader that is known to be silent, and need not wait for it again', () => {
    const network = led({ random: () => 0 });
    const { node } = network.host(2);
    const ask = say('requestPreVote', 3, 2, { term: node.term + 1, index: 9, logTerm: 1 });
    node.wake(9);
    node.step(ask);
    expect(node.hasReady(), 'nine ticks are less than a timeout').to.equal(false);
    node.wake(1_000);
    node.step(ask);
    expect(network.host(2).settle()).to.have.lengthOf(1);
    node.tick();
    expect(node.role).to.equal('preCandidate');
  });

  it('spreads campaigns over a timeout however long the silence was', () => {
    const random = seededRandom(5);
    const waits = Array.from({ length: 60 }, () => {
      const { node } = led({ random }).host(2);
      node.wake(1_000_000);
      let ticks = 0;
      for (; node.role === 'follower'; ticks++) node.tick();
      return ticks;
    });
    expect(Math.min(...waits)).to.equal(1);
    expect(Math.max(...waits)).to.equal(9);
    expect(new Set(waits).size).to.be.above(6);
  });

  it('as a leader calls on its members with the next tick', () => {
    const network = led({ heartbeatTick: 5 });
    const one = network.host(1);
    network.tick(1, 1);
    one.node.wake(0);
    expect(one.node.hasReady()).to.equal(false);
    one.node.tick();
    expect(one.settle().map(({ type, to }) => [type, to])).to.deep.equal([
      ['heartbeat', 2],
      ['heartbeat', 3],
    ]);
  });

  it('as a leader does not step down because nobody spoke while it slept, but when nobody answers now', () => {
    for (let elapsed = 0; elapsed < 10; elapsed++) {
      const network = led();
      network.tick(elapsed, 1);
      network.isolate(1);
      const { node } = network.host(1);
      node.wake(0);
      network.tick(9, 1);
      expect(node.role, `${elapsed} ticks into its period`).to.equal('leader');
      network.tick(11, 1);
      expect(node.role).to.equal('follower');
    }
  });

  it('goes on as candidate', () => {
    const network = led({ random: () => 0 });
    network.isolate(2);
    network.tick(10, 2);
    const { node } = network.host(2);
    expect(node.role).to.equal('preCandidate');
    node.wake(0);
    expect(node.role).to.equal('preCandidate');
    network.recover();
    network.tick(1, 1);
    expect([node.role, node.lead]).to.deep.equal(['follower', 1]);
  });
});

describe('a leader that is asked by a member', () => {
  it('answers with one heartbeat, to that member alone', () => {
    const network = led();
    const one = network.host(1);
    const { term, lastIndex: commit } = one.node;
    one.node.answerCall(3);
    expect(one.settle()).to.deep.equal([say('heartbeat', 1, 3, { term, commit })]);
    one.node.answerCall(1);
    one.node.answerCall(9);
    expect(one.settle()).to.deep.equal([]);
  });

  it('does not answer for another', () => {
    const network = led();
    network.host(2).node.answerCall(3);
    expect(network.host(2).node.hasReady()).to.equal(false);
  });
});

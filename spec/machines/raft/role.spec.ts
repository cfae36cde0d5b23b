import { expect } from 'chai';
import type { MessageType } from '../../../machines/index.js';
import { roleEdges } from './chart.js';
import { Host, Network, PLAIN, say, voters } from './network.js';

/** The chart itself: which parts there are, who may become what, and what each part listens to. */
describe('the role machine', () => {
  it('starts as a follower (Raft 5.2)', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3) });
    expect(host.state).to.equal('follower');
    expect(host.node.status()).to.include({ role: 'follower', term: 0, lead: 0 });
  });

  it('has the arrows of the protocol and no other', () => {
    expect([...roleEdges()].sort()).to.deep.equal([
      'candidate to candidate',
      'candidate to follower',
      'candidate to leader',
      'candidate to preCandidate',
      'follower to candidate',
      'follower to follower',
      'follower to preCandidate',
      'leader to follower',
      'leader to leader',
      'preCandidate to candidate',
      'preCandidate to follower',
      'preCandidate to preCandidate',
    ]);
  });

  it('walks from follower to a leader that serves', () => {
    const network = Network.of(3, { preVote: true });
    const one = network.host(1);
    one.node.campaign();
    expect(one.state).to.equal('preCandidate');
    one.settle();
    one.node.step(say('requestPreVoteResponse', 2, 1, { term: 1 }));
    expect(one.state).to.equal('candidate');
    one.settle();
    one.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
    expect(one.state).to.equal('leader.electing first commit');
    one.settle();
    one.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1 }));
    expect(one.state).to.equal('leader.serving');
    one.node.transferLeader(3);
    expect(one.state).to.equal('leader.transferring');
    one.node.step(say('requestVote', 3, 1, { term: 2, index: 1, logTerm: 1 }));
    expect(one.state).to.equal('follower');
  });

  it('reports the same role as its tables, whatever happens', () => {
    const network = Network.of(5, { preVote: true, checkQuorum: true, electionTick: 4 });
    for (let round = 0; round < 60; round++) {
      network.tick(1, 1, 2, 3, 4, 5);
      if (round % 7 === 0) network.isolate(1 + (round % 5));
      if (round % 11 === 0) network.recover();
      for (const host of network.hosts.values()) expect(host.state.split('.')[0]).to.equal(host.node.role);
    }
  });

  it('counts ticks and touches nothing else until its time is over', () => {
    const host = new Host({ ...PLAIN, id: 1, random: () => 0.5 }, { confState: voters(1, 2) });
    for (let i = 0; i < 14; i++) host.node.tick();
    expect(host.node.hasReady()).to.equal(false);
    host.node.tick();
    expect(host.node.role).to.equal('candidate');
  });

  it('ignores answers to questions that it did not ask, in every role', () => {
    const answers: MessageType[] = [
      'appendEntriesResponse',
      'heartbeatResponse',
      'requestVoteResponse',
      'requestPreVoteResponse',
    ];
    for (const type of answers) {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3), term: 2 });
      expect(host.node.step(say(type, 2, 1, { term: 2, index: 7 }))).to.equal(undefined);
      expect(host.node.status()).to.include({ role: 'follower', term: 2, commit: 0 });
      expect(host.node.hasReady()).to.equal(false);
    }
  });
});

import { expect } from 'chai';
import type { Role } from '../../../machines/index.js';
import { Network, type Start, say } from './network.js';
import { peer, peerAs } from './roles.js';

/** Elections with PreVote and CheckQuorum, by the names that etcd-io/raft gives the situations (raft_test.go). */

const PRE_VOTE = { preVote: true };
const BOTH = { preVote: true, checkQuorum: true };

function rolesOf(network: Network): Record<number, Role> {
  return Object.fromEntries([...network.hosts].map(([id, { node }]) => [id, node.role]));
}

function leadersOf(network: Network): number[] {
  return [...network.hosts.values()].filter(({ node }) => node.role === 'leader').map(({ id }) => id);
}

describe('PreVote', () => {
  for (const role of ['follower', 'preCandidate', 'candidate', 'leader'] as const) {
    it(`TestPreVoteFromAnyState: a ${role} says yes and stays what it is`, () => {
      const host =
        role === 'preCandidate'
          ? peerAs('candidate', { term: 1, options: PRE_VOTE })
          : peerAs(role, { term: role === 'follower' ? 1 : 0 });
      expect(host.node.role).to.equal(role);
      host.settle();
      const { term, vote } = host.node.status();
      host.node.step(say('requestPreVote', 2, 1, { term: 2, index: 42, logTerm: 2 }));
      expect(host.settle()).to.deep.equal([say('requestPreVoteResponse', 1, 2, { term: 2 })]);
      expect(host.node.status()).to.include({ role, term, vote });
    });
  }

  it('TestLeaderElectionPreVote: won by whom a majority would elect, and no term is spent on less', () => {
    const dead = 'dead';
    const ahead = (...log: number[]): Start => ({ log, term: 1 });
    const cases: readonly [others: readonly (Start | typeof dead)[], role: Role, term: number][] = [
      [[{}, {}], 'leader', 1],
      [[{}, dead], 'leader', 1],
      [[dead, dead], 'preCandidate', 0],
      [[dead, dead, {}], 'preCandidate', 0],
      [[dead, dead, {}, {}], 'leader', 1],
      [[ahead(1), ahead(1), ahead(1, 1), {}], 'follower', 1],
    ];
    for (const [others, role, term] of cases) {
      const starts: Record<number, Start> = {};
      for (const [i, start] of others.entries()) if (start !== dead) starts[i + 2] = start;
      const network = Network.of(others.length + 1, PRE_VOTE, starts);
      for (const [i, start] of others.entries()) if (start === dead) network.hosts.delete(i + 2);
      network.campaign(1);
      expect(network.host(1).node, JSON.stringify(others)).to.include({ role, term });
    }
  });

  it('tells whom it refuses how far the log is committed, where followers tell that', () => {
    for (const [followersTellCommit, commit, logTerm] of [
      [true, 2, 1],
      [false, 0, 0],
    ] as const) {
      const options = { ...PRE_VOTE, followersTellCommit };
      const voter = peer({ term: 1, log: [1, 1, 1], commit: 2, options });
      voter.node.step(say('requestPreVote', 2, 1, { term: 2, index: 2, logTerm: 1 }));
      const refusal = say('requestPreVoteResponse', 1, 2, { term: 1, reject: true, commit, logTerm });
      expect(voter.settle()).to.deep.equal([refusal]);
      const candidate = peer({ id: 2, term: 1, log: [1, 1], commit: 1, options });
      candidate.node.campaign();
      candidate.settle();
      candidate.node.step(refusal);
      expect(candidate.node.commit).to.equal(Math.max(1, commit));
      candidate.node.campaign();
      candidate.settle();
      candidate.node.step({ ...refusal, commit: 2, logTerm: 7 });
      expect(candidate.node.commit, 'another entry').to.equal(Math.max(1, commit));
    }
  });

  it('TestLeaderElectionOverwriteNewerLogsPreVote: entries that no majority has are overwritten', () => {
    const network = Network.of(5, PRE_VOTE, {
      1: { term: 1, log: [1] },
      2: { term: 1, log: [1] },
      3: { term: 2, log: [2] },
      4: { term: 2, vote: 3 },
      5: { term: 2, vote: 3 },
    });
    network.campaign(1);
    expect(network.host(1).node, 'the others know of term 2').to.include({ role: 'follower', term: 2 });
    network.campaign(1);
    expect(network.host(1).node).to.include({ role: 'leader', term: 3 });
    for (const host of network.hosts.values()) expect(host.terms).to.deep.equal([1, 3]);
  });

  it('TestDuelingPreCandidates: a shorter log neither wins nor raises anybody’s term', () => {
    const network = Network.of(3, PRE_VOTE);
    network.cut(1, 3);
    network.campaign(1);
    network.campaign(3);
    network.recover();
    network.campaign(3);
    expect(rolesOf(network)).to.deep.equal({ 1: 'leader', 2: 'follower', 3: 'follower' });
    for (const host of network.hosts.values()) expect(host.node.term).to.equal(1);
    expect([1, 2, 3].map((id) => network.host(id).node.lastIndex)).to.deep.equal([1, 1, 0]);
  });

  it('TestSingleNodePreCandidate: one alone wins at once', () => {
    const network = Network.of(1, PRE_VOTE);
    network.campaign(1);
    expect(network.host(1).node).to.include({ role: 'leader', term: 1 });
  });

  it('TestCandidateSelfVoteAfterLostElectionPreVote: a late yes from oneself changes nothing', () => {
    const host = peer({ options: PRE_VOTE });
    host.node.campaign();
    const ready = host.node.ready();
    host.node.step(say('heartbeat', 2, 1, { term: 1 }));
    expect(host.node.role).to.equal('follower');
    host.persist(ready);
    host.node.advance();
    host.settle();
    expect(host.node).to.include({ role: 'follower', term: 1, lead: 2 });
  });

  it('TestCandidateDeliversPreCandidateSelfVoteAfterBecomingCandidate: nor does it count as a vote', () => {
    const host = peer({ size: 5, options: PRE_VOTE });
    host.node.campaign();
    host.persist(host.node.ready());
    for (const from of [2, 3, 4]) host.node.step(say('requestPreVoteResponse', from, 1, { term: 1 }));
    expect(host.node).to.include({ role: 'candidate', term: 1 });
    // Only now is its own yes to the question on disk; it says nothing about the election.
    host.node.advance();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
    expect(host.node.role).to.equal('candidate');
    host.node.step(say('requestVoteResponse', 3, 1, { term: 1 }));
    expect(host.node.role, 'two others and an own vote that is not on disk').to.equal('candidate');
    host.settle();
    expect(host.node).to.include({ role: 'leader', term: 1 });
  });

  it('TestPreVoteWithSplitVote: two that both may ask split the votes, and the next round decides', () => {
    const network = Network.of(3, PRE_VOTE);
    network.campaign(1);
    network.isolate(1);
    for (const id of [2, 3]) network.host(id).node.campaign();
    network.settle();
    expect(rolesOf(network)).to.deep.equal({ 1: 'leader', 2: 'candidate', 3: 'candidate' });
    expect([2, 3].map((id) => network.host(id).node.term)).to.deep.equal([2, 2]);
    network.campaign(2);
    expect(network.host(2).node).to.include({ role: 'leader', term: 3 });
    expect(network.host(3).node.role).to.equal('follower');
  });

  it('TestNodeWithSmallerTermCanCompleteElection: a lower term is no hindrance to who has the longer log', () => {
    const network = Network.of(3, PRE_VOTE);
    network.campaign(1);
    network.isolate(3);
    network.campaign(2);
    expect(network.host(2).node).to.include({ role: 'leader', term: 2 });
    network.campaign(3);
    expect(network.host(3).node).to.include({ role: 'preCandidate', term: 1 });
    network.recover();
    network.isolate(2);
    // 3 has the lower term and the shorter log; between them they elect 1.
    for (let i = 0; i < 10 && leadersOf(network).length < 2; i++)
      for (const id of [3, 1]) network.campaign(id);
    expect(leadersOf(network)).to.include(1);
    expect(network.host(1).node.term).to.be.greaterThan(2);
  });
});

describe('PreVote while it is being switched on', () => {
  /** 1 leads and 2 follows, both with PreVote; 3 without it has spent two terms alone, and is given PreVote now. */
  function migration(): Network {
    const network = Network.of(3, PRE_VOTE);
    network.host(3).restart({ preVote: false });
    network.campaign(1);
    network.isolate(3);
    network.propose(1, 'some data');
    for (let i = 0; i < 2; i++) network.campaign(3);
    expect([1, 2, 3].map((id) => network.host(id).node.term)).to.deep.equal([1, 1, 3]);
    network.host(3).restart({ preVote: true });
    network.recover();
    return network;
  }

  it('TestPreVoteMigrationCanCompleteElection: a higher term with a shorter log does not block the others', () => {
    const network = migration();
    network.isolate(1);
    network.campaign(3);
    network.campaign(2);
    expect(network.host(2).node.role, 'it learns of the term first').to.equal('follower');
    network.campaign(3);
    network.campaign(2);
    expect(leadersOf(network)).to.include(2);
  });

  it('TestPreVoteMigrationWithFreeStuckPreCandidate: it makes the leader step down and is freed', () => {
    const network = migration();
    network.campaign(3);
    expect(rolesOf(network)).to.deep.equal({ 1: 'leader', 2: 'follower', 3: 'preCandidate' });
    network.host(3).node.step(say('heartbeat', 1, 3, { term: 1 }));
    network.settle();
    expect(network.host(1).node, 'it was answered with the higher term').to.include({
      role: 'follower',
      term: 3,
    });
    network.campaign(1);
    expect(network.host(3).node).to.include({ role: 'follower', lead: 1, term: 4 });
  });
});

describe('CheckQuorum', () => {
  it('TestNonPromotableVoterWithCheckQuorum: one that may not campaign may still vote', () => {
    const network = Network.of(2, { checkQuorum: true });
    const removed = network.host(2);
    removed.node.applyConfChange({
      transition: 'auto',
      changes: [{ kind: 'removeNode', id: 2 }],
      context: new Uint8Array(0),
    });
    expect(removed.core.promotable).to.equal(false);
    for (let i = 0; i < 10; i++) removed.node.tick();
    network.campaign(1);
    expect(rolesOf(network)).to.deep.equal({ 1: 'leader', 2: 'follower' });
    expect(removed.node.lead).to.equal(1);
  });

  it('TestDisruptiveFollower: without PreVote one that was away deposes the leader', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    network.isolate(3);
    network.tick(20, 3);
    expect(network.host(3).node.role).to.equal('candidate');
    network.recover();
    network.tick(1, 1);
    expect(network.host(1).node).to.include({ role: 'follower', term: network.host(3).node.term });
  });

  it('TestDisruptiveFollowerPreVote: with it nobody is deposed', () => {
    const network = Network.of(3, BOTH);
    network.campaign(1);
    network.isolate(3);
    network.propose(1, 'a', 'b');
    network.campaign(3);
    expect(network.host(3).node).to.include({ role: 'preCandidate', term: 1 });
    network.recover();
    network.tick(1, 1);
    expect(rolesOf(network)).to.deep.equal({ 1: 'leader', 2: 'follower', 3: 'follower' });
  });

  it('TestPreVoteWithCheckQuorum: those who both wish to elect are not held by a lease', () => {
    const network = Network.of(3, BOTH);
    network.campaign(1);
    network.isolate(1);
    network.campaign(3);
    expect(rolesOf(network), '2 hears from 1, as far as it knows').to.deep.equal({
      1: 'leader',
      2: 'follower',
      3: 'preCandidate',
    });
    network.campaign(2);
    expect(leadersOf(network)).to.deep.equal([1, 2]);
  });

  it('TestLeaderElectionWithCheckQuorum: the first election waits for no lease, the next for its end', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    expect(leadersOf(network)).to.deep.equal([1]);
    network.campaign(3);
    expect(rolesOf(network), 'not yet').to.deep.equal({ 1: 'leader', 2: 'follower', 3: 'candidate' });
    network.host(2).core.randomizedElectionTimeout = 20;
    for (let i = 0; i < 10; i++) network.host(2).node.tick();
    network.campaign(3);
    expect(rolesOf(network)).to.deep.equal({ 1: 'follower', 2: 'follower', 3: 'leader' });
  });
});

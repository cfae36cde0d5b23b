import { expect } from 'chai';
import type { MessageType, RaftOptions } from '../../../machines/index.js';
import { EntryType } from '../../../machines/index.js';
import { bytes, Host, Network, PLAIN, type Start, say, seededRandom, voters } from './network.js';

const THREE = voters(1, 2, 3);

function peer(options: Partial<RaftOptions> = {}, start: Start = {}): Host {
  return new Host({ ...PLAIN, ...options, id: 1 }, { confState: THREE, ...start });
}

function candidate(start: Start = {}): Host {
  const host = peer({}, start);
  host.node.campaign();
  host.settle();
  return host;
}

function leader(start: Start = {}, options: Partial<RaftOptions> = {}): Host {
  const host = peer(options, start);
  host.node.campaign();
  host.settle();
  const type: MessageType =
    host.node.role === 'preCandidate' ? 'requestPreVoteResponse' : 'requestVoteResponse';
  host.node.step(say(type, 2, 1, { term: host.node.term + (type === 'requestPreVoteResponse' ? 1 : 0) }));
  host.settle();
  if (host.node.role === 'candidate')
    host.node.step(say('requestVoteResponse', 2, 1, { term: host.node.term }));
  host.settle();
  return host;
}

describe('terms (Raft 5.1)', () => {
  it('are adopted from any message that is ahead, by any role', () => {
    for (const make of [peer, candidate, leader]) {
      const host = make();
      host.node.step(say('appendEntries', 2, 1, { term: 7 }));
      expect(host.node.status()).to.include({ role: 'follower', term: 7, lead: 2, vote: 0 });
    }
  });

  it('that are past reach no role', () => {
    const host = peer({}, { term: 5 });
    host.node.step(say('appendEntries', 2, 1, { term: 4, commit: 9 }));
    host.node.step(say('requestVote', 2, 1, { term: 4, index: 9, logTerm: 4 }));
    expect(host.node.hasReady()).to.equal(false);
    expect(host.node.status()).to.include({ term: 5, lead: 0, vote: 0 });
  });

  it('keep their vote as long as they last', () => {
    const host = peer({}, { term: 3, vote: 2 });
    host.node.step(say('appendEntries', 3, 1, { term: 3 }));
    expect(host.node.status()).to.include({ vote: 2, lead: 3 });
    host.node.step(say('requestVote', 3, 1, { term: 3, index: 9, logTerm: 3 }));
    expect(host.settle().at(-1)).to.include({ type: 'requestVoteResponse', reject: true });
    const again = candidate();
    again.node.step(say('appendEntries', 2, 1, { term: again.node.term }));
    expect(again.node.status(), 'a candidate that yields has voted for itself').to.include({
      role: 'follower',
      vote: 1,
    });
  });
});

describe('elections (Raft 5.2)', () => {
  it('begin with a term, a vote for oneself and a request to every other voter', () => {
    for (const make of [peer, candidate]) {
      const host = make();
      const { term } = host.node;
      for (let i = 0; i < 10; i++) host.node.tick();
      const sent = host.settle();
      expect(host.node.status()).to.include({ role: 'candidate', term: term + 1, vote: 1 });
      expect(sent.map(({ type, to, term: at }) => [type, to, at])).to.deep.equal([
        ['requestVote', 2, term + 1],
        ['requestVote', 3, term + 1],
      ]);
    }
  });

  it('carry the position of the last entry (5.4.1)', () => {
    const host = peer({}, { log: [1, 1, 2], term: 2 });
    host.node.campaign();
    for (const request of host.settle()) expect(request).to.include({ index: 3, logTerm: 2 });
  });

  it('end for a candidate that hears from a leader of its term or a later one', () => {
    for (const ahead of [0, 1]) {
      for (const type of ['appendEntries', 'heartbeat'] satisfies MessageType[]) {
        const host = candidate();
        host.node.step(say(type, 2, 1, { term: 1 + ahead }));
        expect(host.node.status()).to.include({ role: 'follower', term: 1 + ahead, lead: 2 });
      }
    }
  });

  it('come at every timeout in [t, 2t - 1], and at no other', () => {
    const random = seededRandom(7);
    const seen = new Set<number>();
    for (let i = 0; i < 300; i++) {
      const host = peer({ random });
      let ticks = 0;
      while (host.node.role === 'follower') {
        host.node.tick();
        ticks++;
      }
      seen.add(ticks);
    }
    expect([...seen].sort((a, b) => a - b)).to.deep.equal([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it('seldom collide: at most 30 % of 1,000 timeouts of five peers', () => {
    const random = seededRandom(3);
    let collisions = 0;
    for (let round = 0; round < 1_000; round++) {
      const timeouts = Array.from({ length: 5 }, () => peer({ random }).core.randomizedElectionTimeout);
      const first = Math.min(...timeouts);
      if (timeouts.filter((timeout) => timeout === first).length > 1) collisions++;
    }
    expect(collisions).to.be.at.most(300);
  });

  it('are won by each peer in turn, with and without PreVote', () => {
    for (const preVote of [false, true]) {
      const network = Network.of(3, { preVote });
      for (const id of [1, 2, 3, 1]) {
        network.campaign(id);
        expect(network.host(id).node.role).to.equal('leader');
        expect([...network.hosts.values()].filter(({ node }) => node.role === 'leader')).to.have.length(1);
      }
    }
  });

  it('count a vote once, and only while it is asked for', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3, 4, 5) });
    host.node.campaign();
    host.settle();
    for (let i = 0; i < 3; i++) host.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
    expect(host.node.role).to.equal('candidate');
    host.node.step(say('requestVoteResponse', 2, 1, { term: 1, reject: true }));
    host.node.step(say('requestVoteResponse', 3, 1, { term: 1 }));
    expect(host.node.role).to.equal('leader');
  });

  it('do not count a vote that is not yet on disk', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1) });
    host.node.campaign();
    expect(host.node.role).to.equal('candidate');
    host.settle();
    expect(host.node.role).to.equal('leader');
  });

  it('do not count a late vote for oneself after they are over', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3) });
    host.node.campaign();
    const ready = host.node.ready();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 1, reject: true }));
    host.node.step(say('requestVoteResponse', 3, 1, { term: 1, reject: true }));
    expect(host.node.role).to.equal('follower');
    host.persist(ready);
    host.node.advance();
    expect(host.node.status()).to.include({ role: 'follower', term: 1 });
  });

  it('are refused to one who is no voter, or has membership changes to apply', () => {
    const stranger = peer({}, { confState: voters(2, 3) });
    expect(stranger.node.campaign()).to.include({ code: 'campaign-refused' });
    const unknown = peer({}, { confState: voters() });
    for (let i = 0; i < 100; i++) unknown.node.tick();
    expect([unknown.node.role, unknown.node.hasReady()]).to.deep.equal(['follower', false]);

    const behind = peer();
    const change = { term: 1, index: 1, type: EntryType.confChangeV2, data: bytes('') };
    behind.node.step(say('appendEntries', 2, 1, { term: 1, entries: [change], commit: 1 }));
    expect(behind.node.campaign()).to.include({ code: 'campaign-refused' });
    behind.node.step(say('timeoutNow', 2, 1, { term: 1 }));
    expect(behind.node.role).to.equal('follower');
  });

  it('are nothing to a leader', () => {
    for (const preVote of [false, true]) {
      const host = leader({}, { preVote });
      const { term } = host.node;
      expect(host.node.campaign()).to.equal(undefined);
      expect(host.node.status()).to.include({ role: 'leader', term });
      expect(host.settle()).to.deep.equal([]);
    }
  });
});

describe('PreVote (thesis 9.6)', () => {
  it('asks at the next term and changes nothing on either side', () => {
    const host = peer({ preVote: true }, { term: 4, vote: 3 });
    host.node.campaign();
    const sent = host.settle();
    expect(host.node.status()).to.include({ role: 'preCandidate', term: 4, vote: 3, lead: 0 });
    expect(sent.map(({ type, term }) => [type, term])).to.deep.equal([
      ['requestPreVote', 5],
      ['requestPreVote', 5],
    ]);
    const asked = peer({ preVote: true }, { term: 4, vote: 3 });
    asked.node.step(say('requestPreVote', 2, 1, { term: 5 }));
    expect(asked.settle().map(({ term, reject }) => [term, reject])).to.deep.equal([[5, false]]);
    expect(asked.node.status()).to.include({ term: 4, vote: 3 });
  });

  it('lets a peer of a lower term win, because the yes echoes the question’s term', () => {
    const network = Network.of(3, { preVote: true }, { 1: { term: 1 }, 2: { term: 1 }, 3: { term: 1 } });
    network.campaign(2);
    expect(network.host(2).node.status()).to.include({ role: 'leader', term: 2 });
  });

  it('is told no with the term of the one who knows better, and steps back to it', () => {
    const asked = peer({ preVote: true }, { term: 9 });
    asked.node.step(say('requestPreVote', 2, 1, { term: 5, index: 9, logTerm: 4 }));
    const [answer] = asked.settle();
    expect(answer).to.include({ type: 'requestPreVoteResponse', reject: true, term: 9 });
    const asker = peer({ preVote: true }, { term: 4 });
    asker.node.campaign();
    asker.settle();
    asker.node.step(say('requestPreVoteResponse', 2, 1, { term: 9, reject: true }));
    expect(asker.node.status()).to.include({ role: 'follower', term: 9 });
  });

  it('keeps a partitioned peer from raising its term', () => {
    const network = Network.of(3, { preVote: true, checkQuorum: true });
    network.campaign(1);
    network.isolate(3);
    network.tick(60, 1, 2, 3);
    expect(network.host(3).node.term).to.equal(network.host(1).node.term);
    network.recover();
    network.tick(5, 1, 2, 3);
    expect(network.host(1).node.role).to.equal('leader');
    expect(network.host(3).node.status()).to.include({ role: 'follower', lead: 1 });
  });

  it('does not leave a mixed group without a leader while it is being switched on', () => {
    const network = Network.of(3, {}, { 3: { log: [1], term: 5 } });
    network.host(1).restart({ preVote: true });
    network.host(2).restart({ preVote: true });
    for (let i = 0; i < 10 && ![...network.hosts.values()].some(({ node }) => node.role === 'leader'); i++) {
      network.tick(20, 1, 2, 3);
    }
    expect([...network.hosts.values()].filter(({ node }) => node.role === 'leader')).to.have.length(1);
  });
});

describe('CheckQuorum', () => {
  it('makes a leader that hears from no quorum step down within an election timeout', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    network.isolate(1);
    network.tick(20, 1);
    expect(network.host(1).node.status()).to.include({ role: 'follower', lead: 0, term: 1 });
  });

  it('keeps one that does', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    network.cut(1, 3);
    network.tick(60, 1);
    expect(network.host(1).node.role).to.equal('leader');
  });

  it('makes voters ignore candidates while they hear from a leader, and answer when they no longer do', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    network.campaign(3);
    expect(network.host(3).node.role).to.equal('candidate');
    expect(network.host(2).node.status()).to.include({ lead: 1, term: 1 });
    network.isolate(1);
    for (let i = 0; i < 10; i++) network.host(2).node.tick();
    network.campaign(3);
    expect(network.host(3).node.role).to.equal('leader');
  });

  it('frees a peer that is stuck at a higher term', () => {
    const network = Network.of(3, { checkQuorum: true });
    network.campaign(1);
    network.isolate(1);
    network.campaign(3);
    network.campaign(3);
    expect(network.host(3).node.status()).to.include({ role: 'candidate' });
    network.recover();
    network.isolate(2);
    network.recover();
    network.tick(1, 1);
    expect(network.host(1).node.status()).to.include({ role: 'follower', term: network.host(3).node.term });
    network.tick(40, 1, 2, 3);
    expect([...network.hosts.values()].filter(({ node }) => node.role === 'leader')).to.have.length(1);
  });
});

describe('forgetting the leader', () => {
  it('frees a follower’s vote, and neither its term nor its clock', () => {
    const host = peer({ checkQuorum: true, preVote: true }, { term: 1 });
    host.node.step(say('heartbeat', 2, 1, { term: 1 }));
    host.node.tick();
    host.settle();
    host.node.forgetLeader();
    expect([host.node.lead, host.node.term, host.core.electionElapsed]).to.deep.equal([0, 1, 1]);
    host.node.step(say('requestPreVote', 3, 1, { term: 2 }));
    expect(host.settle().map(({ type, reject }) => [type, reject])).to.deep.equal([
      ['requestPreVoteResponse', false],
    ]);
  });

  it('is nothing to a leader, and refused where reads trust a lease', () => {
    const host = leader();
    host.node.forgetLeader();
    expect(host.node.lead).to.equal(1);
    const leased = peer({ checkQuorum: true, readOnlyOption: 'leaseBased' });
    leased.node.step(say('heartbeat', 2, 1, { term: 1 }));
    expect(leased.node.forgetLeader()).to.include({ code: 'forget-refused' });
    expect(leased.node.lead).to.equal(2);
  });
});

describe('a peer that restarts where leases are trusted', () => {
  const options = { checkQuorum: true, readOnlyOption: 'leaseBased' } as const;

  it('votes for nobody for one election timeout, unless the leader asks for it', () => {
    for (const term of [4, 5]) {
      const host = peer(options, { term: 4 });
      const request = (context = '') =>
        say('requestVote', 2, 1, { term, index: 9, logTerm: 4, context: bytes(context) });
      for (let i = 0; i < 9; i++) host.node.tick();
      host.node.step(request());
      expect(host.settle().filter(({ reject }) => !reject)).to.deep.equal([]);
      expect(host.node.status().vote).to.equal(0);
      host.node.step(request('CampaignTransfer'));
      expect(host.node.status().vote).to.equal(2);
      const later = peer({ ...options, random: () => 0.9 }, { term: 4 });
      for (let i = 0; i < 10; i++) later.node.tick();
      later.node.step(request());
      expect(later.node.status().vote).to.equal(2);
    }
  });

  it('is not held back when it starts for the first time', () => {
    const host = peer(options);
    host.node.step(say('requestVote', 2, 1, { term: 1 }));
    expect(host.node.status().vote).to.equal(2);
  });
});

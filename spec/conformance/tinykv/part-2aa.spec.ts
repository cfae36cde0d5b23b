import { expect } from 'chai';
import type { Message, Role } from '../../../machines/raft/index.js';
import { type Host, Network, say } from '../../machines/raft/network.js';
import { elect, entry, membersOf, networkOf, Peer, peerAs, vote } from './peer.js';

const ROLES: readonly Role[] = ['follower', 'candidate', 'leader'];

/** Ticks until the peer campaigns; nothing leaves it before. */
function ticksToCampaign(peer: Peer): number {
  for (let ticks = 1; ticks < 100; ticks++) {
    const sent = peer.tick();
    if (sent.some(({ type }) => type === 'requestVote')) return ticks;
    expect(sent).to.deep.equal([]);
  }
  throw new Error('no election within 100 ticks');
}

/** Makes the peer follow another member at the next term, which draws a new election timeout. */
function followAtNextTerm(peer: Peer): void {
  const from = peer.id === 2 ? 3 : 2;
  peer.step(say('heartbeat', from, peer.id, { term: peer.node.term + 1 }));
  expect(peer.node.role).to.equal('follower');
}

/** Ticks until the peer campaigns. Its messages are the caller's to deliver or to lose. */
function campaignByTicks(host: Host): Message[] {
  while (host.node.role !== 'candidate') host.node.tick();
  return host.settle();
}

const TERM_ONE = { 1: { term: 1 }, 2: { term: 1 }, 3: { term: 1 } };

function expectRoles(network: Network, roles: Readonly<Record<number, Role>>): void {
  const found = [...network.hosts].map(([id, { node }]) => [id, node.role]);
  expect(Object.fromEntries(found)).to.deep.equal(roles);
}

describe('TinyKV part 2AA', () => {
  describe('terms', () => {
    const cases = { Follower: 'follower', Candidate: 'candidate', Leader: 'leader' } as const;
    for (const [name, role] of Object.entries(cases)) {
      it(`Test${name}UpdateTermFromMessage2AA`, () => {
        const peer = peerAs(role, 1);
        peer.step(say('appendEntries', 2, 1, { term: 2 }));
        expect(peer.node).to.include({ term: 2, role: 'follower' });
      });
    }
  });

  describe('elections', () => {
    it('TestStartAsFollower2AA', () => {
      expect(new Peer().node).to.include({ role: 'follower', term: 0, lead: 0 });
    });

    it("TestLeaderBcastBeat2AA (etcd's rule: the commit index it carries is at most what the follower holds)", () => {
      const leader = new Peer();
      elect(leader);
      expect(leader.tick()).to.deep.equal([2, 3].map((to) => say('heartbeat', 1, to, { term: 1 })));
      // TinyKV's heartbeats never carry a commit index.
      leader.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1 }));
      expect(leader.node.commit).to.equal(1);
      expect(leader.tick()).to.deep.equal([
        say('heartbeat', 1, 2, { term: 1, commit: 1 }),
        say('heartbeat', 1, 3, { term: 1 }),
      ]);
    });

    for (const [name, role] of [
      ['TestFollowerStartElection2AA', 'follower'],
      ['TestCandidateStartNewElection2AA', 'candidate'],
    ] as const) {
      it(name, () => {
        const peer = peerAs(role, 1);
        const sent: Message[] = [];
        for (let tick = 1; tick < 20; tick++) sent.push(...peer.tick());
        expect(peer.node).to.include({ term: 2, role: 'candidate' });
        expect(peer.storage.hardState).to.deep.equal({ term: 2, vote: 1, commit: 0 });
        expect(sent).to.deep.equal([2, 3].map((to) => say('requestVote', 1, to, { term: 2 })));
        // Its own vote counts: one more is a majority.
        peer.step(say('requestVoteResponse', 2, 1, { term: 2 }));
        expect(peer.node.role).to.equal('leader');
      });
    }

    it("TestLeaderElectionInOneRoundRPC2AA (etcd's rule: a candidate that a majority refuses becomes a follower)", () => {
      const cases: readonly [size: number, granted: readonly number[], refused: readonly number[], Role][] = [
        [1, [], [], 'leader'],
        [3, [2, 3], [], 'leader'],
        [3, [2], [], 'leader'],
        [5, [2, 3, 4, 5], [], 'leader'],
        [5, [2, 3, 4], [], 'leader'],
        [5, [2, 3], [], 'leader'],
        [3, [], [], 'candidate'],
        [3, [], [2], 'candidate'],
        [5, [], [], 'candidate'],
        [5, [2], [], 'candidate'],
        [5, [], [2, 3], 'candidate'],
        [5, [2], [3, 4], 'candidate'],
        [3, [], [2, 3], 'follower'],
        [5, [], [2, 3, 4, 5], 'follower'],
        [5, [2], [3, 4, 5], 'follower'],
      ];
      for (const [size, granted, refused, role] of cases) {
        const peer = new Peer({ members: membersOf(size) });
        for (const request of peer.campaign()) {
          if (granted.includes(request.to)) peer.step(vote(request));
          if (refused.includes(request.to)) peer.step(vote(request, false));
        }
        expect(peer.node, `${size}: ${granted} against ${refused}`).to.include({ role, term: 1 });
      }
    });

    it("TestFollowerVote2AA (etcd's rule: answered when the vote is on disk)", () => {
      const cases: readonly [vote: number, candidate: number, reject: boolean][] = [
        [0, 2, false],
        [0, 3, false],
        [2, 2, false],
        [3, 3, false],
        [2, 3, true],
        [3, 2, true],
      ];
      for (const [vote, candidate, reject] of cases) {
        const peer = new Peer({ term: 1, vote });
        const request = say('requestVote', candidate, 1, { term: 1 });
        const answer = say('requestVoteResponse', 1, candidate, { term: 1, reject });
        for (const time of ['first', 'repeated']) {
          expect(peer.step(request), `${vote} ${candidate} ${time}`).to.deep.equal([answer]);
          expect(peer.storage.hardState.vote).to.equal(reject ? vote : candidate);
        }
      }

      // A host that writes asynchronously is given the answer together with the vote that must be written first.
      const { node } = new Peer({ term: 1 }, { asyncStorageWrites: true });
      node.step(say('requestVote', 2, 1, { term: 1 }));
      const ready = node.ready();
      expect(ready.messages).to.deep.equal([]);
      expect(ready.mustSync).to.equal(true);
      expect(ready.append?.hardState).to.deep.equal({ term: 1, vote: 2, commit: 0 });
      expect(ready.append?.responses).to.deep.equal([say('requestVoteResponse', 1, 2, { term: 1 })]);
    });

    it('TestCandidateFallback2AA', () => {
      for (const term of [1, 2]) {
        const peer = peerAs('candidate', 1);
        peer.step(say('appendEntries', 2, 1, { term }));
        expect(peer.node).to.include({ role: 'follower', term, lead: 2 });
      }
    });

    const everyTimeout = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19];

    it('TestFollowerElectionTimeoutRandomized2AA', () => {
      const peer = new Peer();
      const seen = new Set<number>();
      for (let round = 0; round < 500; round++) {
        followAtNextTerm(peer);
        seen.add(ticksToCampaign(peer));
      }
      expect([...seen].sort()).to.deep.equal(everyTimeout);
    });

    it('TestCandidateElectionTimeoutRandomized2AA', () => {
      const peer = peerAs('candidate', 1);
      const seen = new Set<number>();
      for (let round = 0; round < 500; round++) {
        // Whatever has passed of a timeout counts for nothing in the next campaign.
        peer.tick();
        peer.campaign();
        seen.add(ticksToCampaign(peer));
      }
      expect([...seen].sort()).to.deep.equal(everyTimeout);
    });

    for (const [name, begin] of [
      ['TestFollowersElectionTimeoutNonconflict2AA', followAtNextTerm],
      ['TestCandidatesElectionTimeoutNonconflict2AA', (peer: Peer) => peer.campaign()],
    ] as const) {
      it(name, () => {
        const members = membersOf(5);
        const peers = members.map((id) => new Peer({ id, members }));
        let conflicts = 0;
        for (let round = 0; round < 1000; round++) {
          peers.forEach(begin);
          let campaigns = 0;
          while (campaigns === 0) for (const peer of peers) if (peer.tick().length > 0) campaigns++;
          if (campaigns > 1) conflicts++;
        }
        expect(conflicts).to.be.at.most(300);
      });
    }

    it('TestLeaderElection2AA', () => {
      const cases: readonly [size: number, silent: readonly number[], Role][] = [
        [3, [], 'leader'],
        [3, [3], 'leader'],
        [3, [2, 3], 'candidate'],
        [4, [2, 3], 'candidate'],
        [5, [2, 3], 'leader'],
      ];
      for (const [size, silent, role] of cases) {
        const network = networkOf(size, silent);
        network.campaign(1);
        expect(network.host(1).node, `${silent} of ${size} silent`).to.include({ role, term: 1 });
      }
    });

    it('TestLeaderCycle2AA', () => {
      const network = Network.of(3);
      for (const campaigner of [1, 2, 3]) {
        network.campaign(campaigner);
        for (const [id, { node }] of network.hosts) {
          expect(node.role).to.equal(id === campaigner ? 'leader' : 'follower');
          expect(node).to.include({ term: campaigner, lead: campaigner });
        }
      }
    });

    it('TestVoteFromAnyState2AA', () => {
      for (const role of ROLES) {
        const peer = peerAs(role, 1);
        const sent = peer.step(say('requestVote', 2, 1, { term: 2, logTerm: 2, index: 42 }));
        expect(sent, role).to.deep.equal([say('requestVoteResponse', 1, 2, { term: 2 })]);
        expect(peer.node).to.include({ role: 'follower', term: 2 });
        expect(peer.storage.hardState).to.include({ term: 2, vote: 2 });
      }
    });

    it('TestSingleNodeCandidate2AA', () => {
      const network = Network.of(1);
      network.campaign(1);
      expect(network.host(1).node.role).to.equal('leader');
    });

    for (const [name, type] of [
      ['MsgHeartbeat', 'heartbeat'],
      ['MsgAppend', 'appendEntries'],
    ] as const) {
      it(`TestCandidateResetTermMessageType_${name}2AA`, () => {
        const network = Network.of(3);
        network.campaign(1);
        expectRoles(network, { 1: 'leader', 2: 'follower', 3: 'follower' });
        network.isolate(3);
        network.campaign(2);
        network.campaign(1);
        expectRoles(network, { 1: 'leader', 2: 'follower', 3: 'follower' });
        const isolated = network.host(3);
        campaignByTicks(isolated);
        expect(isolated.node).to.include({ role: 'candidate', term: 2 });

        network.recover();
        const { term } = network.host(1).node;
        network.send(say(type, 1, 3, { term }));
        expect(isolated.node).to.include({ role: 'follower', term: 3, lead: 1 });
        expect(term).to.equal(3);
      });
    }

    it("TestDisruptiveFollower2AA (etcd's rule: with CheckQuorum the answer to the late heartbeat does it)", () => {
      for (const checkQuorum of [false, true]) {
        const network = Network.of(3, { checkQuorum }, TERM_ONE);
        network.campaign(1);
        expect(network.host(1).node).to.include({ role: 'leader', term: 2 });
        const disruptive = network.host(3);
        const requests = campaignByTicks(disruptive);
        expect(disruptive.node).to.include({ role: 'candidate', term: 3 });

        network.send(say('heartbeat', 1, 3, { term: 2 }), ...requests);
        expect(network.host(1).node).to.include({ role: 'follower', term: 3 });
        expect(disruptive.node.term).to.equal(3);
        // Those who hear from a leader grant no votes under CheckQuorum.
        expect(disruptive.node.role).to.equal(checkQuorum ? 'candidate' : 'leader');
      }
    });

    it('TestRecvMessageType_MsgBeat2AA', () => {
      for (const role of ROLES) {
        const sent = peerAs(role, 1).tick();
        expect(
          sent.map(({ type, to }) => [type, to]),
          role,
        ).to.deep.equal(
          role === 'leader'
            ? [
                ['heartbeat', 2],
                ['heartbeat', 3],
              ]
            : [],
        );
      }
    });

    it('TestCampaignWhileLeader2AA', () => {
      const leader = new Peer({ members: [1] });
      expect(leader.node.role).to.equal('follower');
      for (let time = 0; time < 2; time++) {
        expect(leader.campaign()).to.deep.equal([]);
        expect(leader.node).to.include({ role: 'leader', term: 1, lastIndex: 1 });
      }
      expect(leader.storage.entries).to.deep.equal([entry(1, 1)]);
    });

    it('TestSplitVote2AA', () => {
      const network = Network.of(3, {}, TERM_ONE);
      network.campaign(1);
      expect(network.host(1).node).to.include({ role: 'leader', term: 2 });

      network.isolate(1);
      for (const id of [2, 3]) network.host(id).node.campaign();
      network.settle();
      for (const id of [2, 3]) expect(network.host(id).node).to.include({ role: 'candidate', term: 3 });

      network.campaign(2);
      expect(network.host(2).node).to.include({ role: 'leader', term: 4 });
      expect(network.host(3).node).to.include({ role: 'follower', term: 4, lead: 2 });
    });
  });
});

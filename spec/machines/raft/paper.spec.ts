import { expect } from 'chai';
import type { Role } from '../../../machines/index.js';
import { entriesOf, type Host, say, seededRandom } from './network.js';
import { peer, peerAs } from './roles.js';

/**
 * A test for each sentence of the paper's sections 5.1, 5.2 and 5.4.1, by the names that etcd-io/raft gives them
 * (raft_paper_test.go). Those of 5.3 and 5.4.2 stand in paper-replication.spec.ts.
 */

const ELECTION_TICK = 10;

describe('the Raft paper, terms (5.1)', () => {
  const roles: Readonly<Record<string, Role>> = {
    TestFollowerUpdateTermFromMessage: 'follower',
    TestCandidateUpdateTermFromMessage: 'candidate',
    TestLeaderUpdateTermFromMessage: 'leader',
  };
  for (const [name, role] of Object.entries(roles)) {
    it(`${name} (5.1): who meets a larger term adopts it and follows`, () => {
      const host = peerAs(role, { term: role === 'follower' ? 1 : 0 });
      expect(host.node).to.include({ role, term: 1 });
      host.node.step(say('appendEntries', 2, 1, { term: 2 }));
      expect(host.node).to.include({ role: 'follower', term: 2 });
    });
  }

  it('TestRejectStaleTermMessage (5.1): a message of an older term reaches no role', () => {
    const host = peer({ term: 2 });
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 1), commit: 1 }));
    expect(host.node.hasReady()).to.equal(false);
    expect(host.node.status()).to.include({ term: 2, lead: 0, lastIndex: 0, commit: 0 });
  });
});

describe('the Raft paper, elections (5.2)', () => {
  it('TestStartAsFollower (5.2): servers start as followers', () => {
    expect(peer().node.role).to.equal('follower');
  });

  it('TestLeaderBcastBeat (5.2): a leader sends heartbeats that carry nothing to all followers', () => {
    const leader = peerAs('leader');
    leader.settle();
    leader.proposeAll(...Array.from({ length: 10 }, (_, i) => `${i}`));
    leader.settle();
    leader.node.tick();
    const beats = leader.settle().filter(({ type }) => type === 'heartbeat');
    expect(beats).to.deep.equal([2, 3].map((to) => say('heartbeat', 1, to, { term: 1 })));
  });

  const campaigners: Readonly<Record<string, Role>> = {
    TestFollowerStartElection: 'follower',
    TestCandidateStartNewElection: 'candidate',
  };
  for (const [name, role] of Object.entries(campaigners)) {
    it(`${name} (5.2): a timeout raises the term, votes for itself and asks the others`, () => {
      const host = peerAs(role, { term: role === 'follower' ? 1 : 0 });
      for (let i = 1; i < 2 * ELECTION_TICK; i++) host.node.tick();
      const sent = host.settle();
      expect(host.node.status()).to.include({ role: 'candidate', term: 2, vote: 1 });
      expect(sent).to.deep.equal([2, 3].map((to) => say('requestVote', 1, to, { term: 2 })));
      host.node.step(say('requestVoteResponse', 2, 1, { term: 2 }));
      expect(host.node.role, 'its own vote counts').to.equal('leader');
    });
  }

  it('TestLeaderElectionInOneRoundRPC (5.2): won by a majority, lost to one, else undecided', () => {
    const cases: readonly [size: number, granted: readonly number[], refused: readonly number[], Role][] = [
      [1, [], [], 'leader'],
      [3, [2, 3], [], 'leader'],
      [3, [2], [], 'leader'],
      [5, [2, 3, 4, 5], [], 'leader'],
      [5, [2, 3, 4], [], 'leader'],
      [5, [2, 3], [], 'leader'],
      [3, [], [2, 3], 'follower'],
      [5, [], [2, 3, 4, 5], 'follower'],
      [5, [2], [3, 4, 5], 'follower'],
      [3, [], [], 'candidate'],
      [5, [2], [], 'candidate'],
      [5, [], [2, 3], 'candidate'],
      [5, [], [], 'candidate'],
    ];
    for (const [size, granted, refused, role] of cases) {
      const host = peerAs('candidate', { size });
      for (const id of granted) host.node.step(say('requestVoteResponse', id, 1, { term: 1 }));
      for (const id of refused) host.node.step(say('requestVoteResponse', id, 1, { term: 1, reject: true }));
      expect(host.node, `${size}: ${granted} against ${refused}`).to.include({ role, term: 1 });
    }
  });

  it('TestFollowerVote (5.2): one vote a term, first come first served, and again to the same', () => {
    const cases: readonly [vote: number, candidate: number, reject: boolean][] = [
      [0, 2, false],
      [0, 3, false],
      [2, 2, false],
      [3, 3, false],
      [2, 3, true],
      [3, 2, true],
    ];
    for (const [vote, candidate, reject] of cases) {
      const host = peer({ term: 1, vote });
      host.node.step(say('requestVote', candidate, 1, { term: 1 }));
      expect(host.settle()).to.deep.equal([say('requestVoteResponse', 1, candidate, { term: 1, reject })]);
      expect(host.storage.hardState.vote, 'on disk before it is answered').to.equal(
        reject ? vote : candidate,
      );
    }
  });

  it('TestCandidateFallback (5.2): a candidate follows whoever leads its term or a later one', () => {
    for (const term of [1, 2]) {
      const host = peerAs('candidate');
      expect(host.node.term).to.equal(1);
      host.node.step(say('appendEntries', 2, 1, { term }));
      expect(host.node).to.include({ role: 'follower', term, lead: 2 });
    }
  });

  /** Ticks from the start of the role until it asks for votes. */
  function timeoutOf(host: Host): number {
    for (let ticks = 1; ; ticks++) {
      host.node.tick();
      if (host.node.hasReady() && host.settle().some(({ type }) => type === 'requestVote')) return ticks;
    }
  }

  const waiting: Readonly<Record<string, Role>> = {
    TestFollowerElectionTimeoutRandomized: 'follower',
    TestCandidateElectionTimeoutRandomized: 'candidate',
  };
  for (const [name, role] of Object.entries(waiting)) {
    it(`${name} (5.2): timeouts are drawn from a fixed interval, and every value of it occurs`, () => {
      const host = peerAs(role);
      const seen = new Set<number>();
      for (let round = 0; round < 50 * ELECTION_TICK; round++) {
        const leader = say('heartbeat', 2, 1, { term: host.node.term + 1 });
        if (role === 'follower') host.node.step(leader);
        seen.add(timeoutOf(host));
      }
      const interval = Array.from({ length: ELECTION_TICK }, (_, i) => ELECTION_TICK + i);
      expect([...seen].sort((a, b) => a - b)).to.deep.equal(interval);
    });
  }

  const crowds: Readonly<Record<string, Role>> = {
    TestFollowersElectionTimeoutNonconflict: 'follower',
    TestCandidatesElectionTimeoutNonconflict: 'candidate',
  };
  for (const [name, role] of Object.entries(crowds)) {
    it(`${name} (5.2): in most rounds a single server times out first`, () => {
      const random = seededRandom(5);
      const hosts = [1, 2, 3, 4, 5].map((id) => peerAs(role, { id, size: 5, options: { random } }));
      let conflicts = 0;
      for (let round = 0; round < 1_000; round++) {
        for (const host of hosts) {
          const from = host.id === 1 ? 2 : 1;
          host.node.step(say('heartbeat', from, host.id, { term: host.node.term + 1 }));
          if (role === 'candidate') host.node.campaign();
          host.settle();
        }
        let first = 0;
        while (first === 0) {
          for (const { node } of hosts) node.tick();
          const ready = hosts.filter(({ node }) => node.hasReady());
          first = ready.filter((host) => host.settle().some(({ type }) => type === 'requestVote')).length;
        }
        if (first > 1) conflicts++;
      }
      expect(conflicts / 1_000).to.be.at.most(0.3);
    });
  }
});

describe('the Raft paper, election restriction (5.4.1)', () => {
  it('TestVoteRequest (5.4.1): a request carries where the candidate’s log ends', () => {
    for (const terms of [[1], [1, 2]]) {
      const host = peer();
      const term = terms.at(-1) as number;
      host.node.step(say('appendEntries', 2, 1, { term, entries: entriesOf(1, ...terms) }));
      host.settle();
      for (let i = 1; i < 2 * ELECTION_TICK; i++) host.node.tick();
      const position = { index: terms.length, logTerm: term };
      expect(host.settle()).to.deep.equal(
        [2, 3].map((to) => say('requestVote', 1, to, { term: term + 1, ...position })),
      );
    }
  });

  it('TestVoter (5.4.1): no vote for a log that is less up to date', () => {
    const cases: readonly [mine: readonly number[], logTerm: number, index: number, reject: boolean][] = [
      [[1], 1, 1, false],
      [[1], 1, 2, false],
      [[1, 1], 1, 1, true],
      [[1], 2, 1, false],
      [[1], 2, 2, false],
      [[1, 1], 2, 1, false],
      [[2], 1, 1, true],
      [[2], 1, 2, true],
      [[1, 2], 1, 1, true],
    ];
    for (const [mine, logTerm, index, reject] of cases) {
      const host = peer({ log: mine, term: mine.at(-1) as number });
      host.node.step(say('requestVote', 2, 1, { term: 3, logTerm, index }));
      const answer = say('requestVoteResponse', 1, 2, { term: 3, reject });
      expect(host.settle(), `${mine} against ${index} of ${logTerm}`).to.deep.equal([answer]);
    }
  });
});

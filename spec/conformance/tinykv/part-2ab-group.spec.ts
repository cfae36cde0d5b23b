import { expect } from 'chai';
import { bytes, Network, say } from '../../machines/raft/network.js';
import { entry, networkOf } from './peer.js';

/** All peers have the same entries on disk, of these terms, and have committed and applied the same of them. */
function expectLogs(network: Network, terms: readonly number[], commit: number): void {
  const first = network.host(1).storage.entries;
  for (const [id, host] of network.hosts) {
    expect(host.terms, `log of ${id}`).to.deep.equal(terms);
    expect(host.storage.entries, `disk of ${id}`).to.deep.equal(first);
    expect(host.node, `${id}`).to.include({ commit, applied: commit, lastIndex: first.length });
  }
}

describe('TinyKV part 2AB, groups', () => {
  it('TestLeaderElectionOverwriteNewerLogs2AB', () => {
    // 1 led term 1; 3 led term 2 with the votes of 4 and 5, and nobody else has its entry.
    const network = Network.of(
      5,
      {},
      {
        1: { term: 1, log: [1] },
        2: { term: 1, log: [1] },
        3: { term: 2, log: [2] },
        4: { term: 2, vote: 3 },
        5: { term: 2, vote: 3 },
      },
    );
    network.campaign(1);
    expect(network.host(1).node).to.include({ role: 'follower', term: 2 });
    network.campaign(1);
    expect(network.host(1).node).to.include({ role: 'leader', term: 3 });
    expectLogs(network, [1, 3], 2);
  });

  it('TestLogReplication2AB', () => {
    const cases = [
      { steps: [{ campaign: 0, propose: 1 }], terms: [1, 1] },
      {
        steps: [
          { campaign: 0, propose: 1 },
          { campaign: 2, propose: 2 },
        ],
        terms: [1, 1, 2, 2],
      },
    ];
    for (const { steps, terms } of cases) {
      const network = Network.of(3);
      network.campaign(1);
      steps.forEach(({ campaign, propose }, i) => {
        if (campaign > 0) network.campaign(campaign);
        network.propose(propose, `proposal ${i}`);
      });
      expectLogs(network, terms, terms.length);
      for (const host of network.hosts.values()) {
        expect(host.data).to.deep.equal(steps.map((_, i) => `proposal ${i}`));
      }
    }
  });

  it('TestSingleNodeCommit2AB', () => {
    const network = Network.of(1);
    network.campaign(1);
    network.propose(1, 'some data');
    network.propose(1, 'some data');
    expectLogs(network, [1, 1, 1], 3);
  });

  it('TestCommitWithoutNewTermEntry2AB', () => {
    const network = Network.of(5);
    network.campaign(1);
    for (const other of [3, 4, 5]) network.cut(1, other);
    network.propose(1, 'some data');
    network.propose(1, 'some data');
    expect(network.host(1).node).to.include({ lastIndex: 3, commit: 1 });

    network.recover();
    network.campaign(2);
    expect(network.host(2).node).to.include({ role: 'leader', term: 2 });
    expectLogs(network, [1, 1, 1, 2], 4);
  });

  it('TestCommitWithHeartbeat2AB', () => {
    const network = Network.of(5);
    network.campaign(1);
    network.isolate(5);
    network.propose(1, 'some data');
    network.propose(1, 'some data');
    expect(network.host(1).node.commit).to.equal(3);
    expect(network.host(5).node.commit).to.equal(1);

    network.recover();
    network.tick(1, 1);
    expectLogs(network, [1, 1, 1], 3);
  });

  it('TestDuelingCandidates2AB', () => {
    const network = Network.of(3);
    network.cut(1, 3);
    network.campaign(1);
    network.campaign(3);
    expect(network.host(1).node.role).to.equal('leader');
    expect(network.host(3).node).to.include({ role: 'candidate', term: 1 });

    network.recover();
    network.campaign(3);
    for (const { node } of network.hosts.values()) expect(node).to.include({ role: 'follower', term: 2 });
    for (const id of [1, 2]) {
      expect(network.host(id).storage.entries).to.deep.equal([entry(1, 1)]);
      expect(network.host(id).node.commit).to.equal(1);
    }
    expect(network.host(3).node).to.include({ lastIndex: 0, commit: 0 });
  });

  it('TestCandidateConcede2AB', () => {
    const network = Network.of(3);
    network.isolate(1);
    network.campaign(1);
    network.campaign(3);
    expect(network.host(1).node).to.include({ role: 'candidate', term: 1 });
    expect(network.host(3).node).to.include({ role: 'leader', term: 1 });

    network.recover();
    network.ignore('appendEntries');
    network.tick(1, 3);
    expect(network.host(1).node).to.include({ role: 'follower', term: 1, lead: 3 });

    network.recover();
    network.tick(1, 3);
    network.propose(3, 'force follower');
    expect(network.host(1).node).to.include({ role: 'follower', term: 1, lead: 3 });
    expectLogs(network, [1, 1], 2);
    expect(network.host(1).data).to.deep.equal(['force follower']);
  });

  it('TestOldMessages2AB', () => {
    const network = Network.of(3);
    for (const campaigner of [1, 2, 1]) network.campaign(campaigner);
    expect(network.host(1).node).to.include({ role: 'leader', term: 3 });
    network.send(
      say('appendEntries', 2, 1, { term: 2, index: 2, logTerm: 2, entries: [entry(3, 2, 'old')], commit: 3 }),
    );
    network.propose(1, 'some data');
    expectLogs(network, [1, 2, 3, 3], 4);
    for (const host of network.hosts.values()) expect(host.data).to.deep.equal(['some data']);
  });

  it('TestProposal2AB', () => {
    const cases: readonly [size: number, silent: readonly number[], success: boolean][] = [
      [3, [], true],
      [3, [3], true],
      [3, [2, 3], false],
      [4, [2, 3], false],
      [5, [2, 3], true],
    ];
    for (const [size, silent, success] of cases) {
      const network = networkOf(size, silent);
      network.campaign(1);
      const { node } = network.host(1);
      const result = node.propose(bytes('some data'));
      network.settle();
      if (success) {
        expect(result).to.deep.equal({ ok: true, index: 2, term: 1 });
        expectLogs(network, [1, 1], 2);
      } else {
        expect(result.ok || result.error.code).to.equal('proposal-dropped');
        expect(node.role).to.equal('candidate');
        expectLogs(network, [], 0);
      }
      expect(node.term).to.equal(1);
    }
  });

  it('TestHeartbeatUpdateCommit2AB', () => {
    for (const [failures, successes] of [
      [1, 1],
      [5, 3],
      [5, 10],
    ] as const) {
      const network = Network.of(3);
      network.campaign(1);
      expectLogs(network, [1], 1);
      network.isolate(1);
      for (let i = 0; i < failures; i++) network.propose(1, 'alone');
      expect(network.host(1).node).to.include({ lastIndex: 1 + failures, commit: 1 });

      network.campaign(2);
      for (let i = 0; i < successes; i++) network.propose(2, 'some data');
      for (const id of [2, 3]) expect(network.host(id).node.commit).to.equal(2 + successes);

      network.recover();
      network.ignore('appendEntries');
      network.tick(1, 2);
      expect(network.host(1).node).to.include({ role: 'follower', term: 2, lead: 2, commit: 1 });
      // Not even one that says what is committed already.
      network.send(say('heartbeat', 2, 1, { term: 2, commit: 1 }));
      expect(network.host(1).node).to.include({ lastIndex: 1 + failures, commit: 1 });
      expect(network.host(1).applied).to.have.length(1);
    }
  });

  it('TestLeaderSyncFollowerLog2AB', () => {
    // Figure 7 of the Raft paper.
    const leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const followers = {
      a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
      b: [1, 1, 1, 4],
      c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      e: [1, 1, 1, 4, 4, 4, 4],
      f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    };
    for (const [name, log] of Object.entries(followers)) {
      const network = networkOf(3, [3], {
        1: { term: 8, log: leader, commit: leader.length, applied: leader.length },
        2: { term: 7, log },
      });
      network.campaign(1);
      // The second vote: that of 3, since a longer log does not vote for a shorter one.
      network.send(say('requestVoteResponse', 3, 1, { term: 9 }));
      expect(network.host(1).node, name).to.include({ role: 'leader', term: 9 });
      network.propose(1, 'some data');
      expectLogs(network, [...leader, 9, 9], leader.length + 2);
      expect(network.host(2).data).to.deep.equal(['some data']);
    }
  });
});

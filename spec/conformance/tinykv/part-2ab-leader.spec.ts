import { expect } from 'chai';
import { bytes, entriesOf, say } from '../../machines/raft/network.js';
import { acknowledgeAll, acknowledgement, elect, entry, membersOf, Peer, settledLeader } from './peer.js';

describe('TinyKV part 2AB, leaders', () => {
  it("TestProgressLeader2AB (etcd's rule: a leader counts its own entry once it is on disk)", () => {
    const leader = settledLeader({ members: [1, 2] });
    const own = () => leader.node.status().progress.get(1);
    for (let match = 1; match <= 5; match++) {
      expect(own()).to.include({ match, next: match + 1 });
      leader.node.propose(bytes('foo'));
      expect(own()).to.include({ match });
      leader.settle();
    }
    expect(own()).to.include({ match: 6, next: 7 });
  });

  it("TestLeaderIncreaseNext2AB (etcd's rule: next moves when an entry is sent, once the follower has been probed)", () => {
    const leader = new Peer({ term: 1, log: [1, 1, 1] });
    const progress = (id: number) => leader.node.status().progress.get(id);
    const [toSecond] = elect(leader);
    if (toSecond === undefined) throw new Error('no append to 2');
    leader.step(acknowledgement(toSecond));
    expect(progress(2)).to.include({ state: 'replicate', match: 4, next: 5 });

    const sent = leader.propose('some data');
    expect(progress(2)).to.include({ state: 'replicate', match: 4, next: 6 });
    expect(progress(3)).to.include({ state: 'probe', match: 0, next: 4 });
    // One probe at a time.
    expect(sent.map(({ to }) => to)).to.deep.equal([2]);

    acknowledgeAll(leader, sent);
    expect(progress(2)).to.include({ match: 5, next: 6 });
  });

  it('TestLeaderStartReplication2AB', () => {
    const leader = settledLeader();
    const sent = leader.propose('some data');
    const proposed = entry(2, 1, 'some data');
    expect(leader.node).to.include({ lastIndex: 2, commit: 1 });
    expect(sent).to.deep.equal(
      [2, 3].map((to) =>
        say('appendEntries', 1, to, { term: 1, index: 1, logTerm: 1, entries: [proposed], commit: 1 }),
      ),
    );
    expect(leader.readys.flatMap(({ entries }) => entries)).to.deep.equal([proposed]);
  });

  it('TestLeaderCommitEntry2AB', () => {
    const leader = settledLeader();
    const [toSecond] = leader.propose('some data');
    if (toSecond === undefined) throw new Error('no append to 2');
    const sent = leader.step(acknowledgement(toSecond));
    expect(leader.node.commit).to.equal(2);
    expect(leader.readys.flatMap(({ committedEntries }) => committedEntries)).to.deep.equal([
      entry(2, 1, 'some data'),
    ]);
    expect(sent).to.deep.equal(
      [2, 3].map((to) => say('appendEntries', 1, to, { term: 1, index: 2, logTerm: 1, commit: 2 })),
    );
  });

  it('TestLeaderAcknowledgeCommit2AB', () => {
    const cases: readonly [size: number, followers: readonly number[], committed: boolean][] = [
      [1, [], true],
      [3, [], false],
      [3, [2], true],
      [3, [2, 3], true],
      [5, [], false],
      [5, [2], false],
      [5, [2, 3], true],
      [5, [2, 3, 4], true],
      [5, [2, 3, 4, 5], true],
    ];
    for (const [size, followers, committed] of cases) {
      const leader = settledLeader({ members: membersOf(size) });
      const sent = leader.propose('some data');
      expect(sent).to.have.length(size - 1);
      for (const append of sent) if (followers.includes(append.to)) leader.step(acknowledgement(append));
      expect(leader.node.commit, `${followers} of ${size}`).to.equal(committed ? 2 : 1);
    }
  });

  it('TestLeaderCommitPrecedingEntries2AB', () => {
    for (const log of [[], [2], [1, 2], [1]]) {
      const leader = new Peer({ term: 2, log });
      acknowledgeAll(leader, [...elect(leader), ...leader.propose('some data')]);
      const last = log.length;
      expect(leader.node).to.include({ term: 3, commit: last + 2 });
      expect(leader.applied).to.deep.equal([
        ...entriesOf(1, ...log),
        entry(last + 1, 3),
        entry(last + 2, 3, 'some data'),
      ]);
    }
  });

  it('TestLeaderOnlyCommitsLogFromCurrentTerm2AB', () => {
    for (const [index, commit] of [
      [1, 0],
      [2, 0],
      [3, 3],
    ] as const) {
      const leader = new Peer({ term: 2, log: [1, 2] });
      elect(leader);
      leader.propose('');
      leader.step(say('appendEntriesResponse', 2, 1, { term: 3, index }));
      expect(leader.node, `acknowledged ${index}`).to.include({ term: 3, lastIndex: 4, commit });
    }
  });
});

import { expect } from 'chai';
import type { Entry, Message } from '../../../machines/index.js';
import { bytes, entriesOf, type Host, Network, say } from './network.js';
import { acknowledgement, peer, peerAs, settledLeader } from './roles.js';

/**
 * A test for each sentence of the paper's sections 5.3 and 5.4.2, by the names that etcd-io/raft gives them
 * (raft_paper_test.go). Those of 5.1, 5.2 and 5.4.1 stand in paper.spec.ts.
 */

function dataEntry(index: number, term: number, text: string): Entry {
  return { index, term, type: 0, data: bytes(text) };
}

describe('the Raft paper, log replication (5.3)', () => {
  it('TestLeaderStartReplication (5.3): a proposal is appended and sent behind the entry before it', () => {
    const leader = settledLeader();
    leader.proposeAll('some data');
    expect(leader.node).to.include({ lastIndex: 2, commit: 1 });
    const entries = [dataEntry(2, 1, 'some data')];
    const sent = leader.settle();
    expect(sent).to.deep.equal(
      [2, 3].map((to) => say('appendEntries', 1, to, { term: 1, index: 1, logTerm: 1, commit: 1, entries })),
    );
    expect(leader.storage.entries.slice(1), 'on its own disk too').to.deep.equal(entries);
  });

  it('TestLeaderCommitEntry (5.3): what is safely replicated is applied, and the commit index is told', () => {
    const leader = settledLeader();
    leader.proposeAll('some data');
    const [first] = leader.settle();
    leader.node.step(acknowledgement(first as Message));
    const sent = leader.settle();
    expect(leader.node.commit).to.equal(2);
    expect(leader.applied.slice(1)).to.deep.equal([dataEntry(2, 1, 'some data')]);
    expect(sent.map(({ type, to, commit }) => [type, to, commit])).to.deep.equal([
      ['appendEntries', 2, 2],
      ['appendEntries', 3, 2],
    ]);
  });

  it('TestLeaderAcknowledgeCommit (5.3): an entry is committed once a majority holds it', () => {
    const cases: readonly [size: number, acceptors: readonly number[], committed: boolean][] = [
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
    for (const [size, acceptors, committed] of cases) {
      const leader = settledLeader({ size });
      leader.proposeAll('some data');
      for (const append of leader.settle()) {
        if (acceptors.includes(append.to)) leader.node.step(acknowledgement(append));
      }
      expect(leader.node.commit, `${size}, accepted by ${acceptors}`).to.equal(committed ? 2 : 1);
    }
  });

  it('TestLeaderCommitPrecedingEntries (5.3): it commits all before it, of other leaders too', () => {
    for (const log of [[], [2], [1, 2], [1]]) {
      const leader = peerAs('leader', { log, term: 2 });
      leader.proposeAll('some data');
      const queue = leader.settle();
      for (const message of queue) {
        if (message.type === 'appendEntries') leader.node.step(acknowledgement(message));
        queue.push(...leader.settle());
      }
      expect(leader.applied.map(({ index, term }) => [index, term])).to.deep.equal(
        [...log, 3, 3].map((term, i) => [i + 1, term]),
      );
      expect(leader.data).to.deep.equal(['some data']);
    }
  });

  it('TestFollowerCommitEntry (5.3): a follower applies what it knows to be committed, in order', () => {
    for (const [texts, commit] of [
      [['some data'], 1],
      [['some data', 'some data2'], 2],
      [['some data2', 'some data'], 2],
      [['some data', 'some data2'], 1],
    ] as const) {
      const host = peer();
      const entries = texts.map((text, i) => dataEntry(i + 1, 1, text));
      host.node.step(say('appendEntries', 2, 1, { term: 1, entries, commit }));
      host.settle();
      expect(host.node.commit).to.equal(commit);
      expect(host.applied).to.deep.equal(entries.slice(0, commit));
    }
  });

  it('TestFollowerCheckMsgApp (5.3): without a matching entry before them new ones are refused', () => {
    const cases: readonly [logTerm: number, index: number, hint?: { rejectHint: number; logTerm: number }][] =
      [
        [0, 0],
        [1, 1],
        [2, 2],
        [1, 2, { rejectHint: 1, logTerm: 1 }],
        [3, 3, { rejectHint: 2, logTerm: 2 }],
      ];
    for (const [logTerm, index, hint] of cases) {
      const host = peer({ log: [1, 2], term: 2, commit: 1 });
      host.settle();
      host.node.step(say('appendEntries', 2, 1, { term: 2, logTerm, index }));
      const answer = hint === undefined ? { index: Math.max(index, 1) } : { index, reject: true, ...hint };
      expect(host.settle(), `behind ${index} of ${logTerm}`).to.deep.equal([
        say('appendEntriesResponse', 1, 2, { term: 2, ...answer }),
      ]);
    }
  });

  it('TestFollowerAppendEntries (5.3): conflicts are deleted with all that follows, new entries appended', () => {
    const cases: readonly [
      index: number,
      logTerm: number,
      sent: readonly number[],
      log: readonly number[],
      written: readonly number[],
    ][] = [
      [2, 2, [3], [1, 2, 3], [3]],
      [1, 1, [3, 4], [1, 3, 4], [3, 4]],
      [0, 0, [1], [1, 2], []],
      [0, 0, [3], [3], [3]],
    ];
    for (const [index, logTerm, sent, log, written] of cases) {
      const host = peer({ log: [1, 2], term: 2 });
      host.node.step(
        say('appendEntries', 2, 1, { term: 4, index, logTerm, entries: entriesOf(index + 1, ...sent) }),
      );
      const wrote: number[] = [];
      host.onReady = ({ entries }) => wrote.push(...entries.map(({ term }) => term));
      host.settle();
      expect([host.terms, wrote]).to.deep.equal([log, written]);
      expect(host.storage.entries.map(({ term }) => term)).to.deep.equal(log);
    }
  });

  it('TestLeaderSyncFollowerLog (5.3, figure 7): a leader brings any follower’s log to its own', () => {
    const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const followers = {
      a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
      b: [1, 1, 1, 4],
      c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      e: [1, 1, 1, 4, 4, 4, 4],
      f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    };
    for (const [letter, log] of Object.entries(followers)) {
      const one = peer({ log: leaderLog, term: 8, commit: leaderLog.length });
      const two = peer({ id: 2, log, term: 7 });
      const network = new Network([one, two]);
      network.campaign(1);
      // The third member, who says nothing else, votes: the follower may have the longer log.
      one.node.step(say('requestVoteResponse', 3, 1, { term: 9 }));
      network.settle();
      network.propose(1, '');
      expect(two.terms, letter).to.deep.equal([...leaderLog, 9, 9]);
      expect(two.storage.entries, letter).to.deep.equal(one.storage.entries);
      expect(two.node.commit, letter).to.equal(12);
    }
  });
});

describe('the Raft paper, entries of previous terms (5.4.2)', () => {
  it('TestLeaderOnlyCommitsLogFromCurrentTerm (5.4.2, figure 8): counting commits only its own', () => {
    const commitAfter = (index: number): number => {
      const leader: Host = peerAs('leader', { log: [1, 2], term: 2, size: 2 });
      leader.settle();
      leader.proposeAll('');
      leader.settle();
      leader.node.step(say('appendEntriesResponse', 2, 1, { term: 3, index }));
      return leader.node.commit;
    };
    expect([1, 2, 3].map(commitAfter)).to.deep.equal([0, 0, 3]);
  });
});

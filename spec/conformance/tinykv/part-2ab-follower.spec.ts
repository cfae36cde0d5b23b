import { expect } from 'chai';
import type { Entry, Message } from '../../../machines/raft/index.js';
import { entriesOf, say } from '../../machines/raft/network.js';
import { entry, Peer, peerAs } from './peer.js';

/** Term and index of the entry before those of an append. */
type Previous = readonly [term: number, index: number];

function append(term: number, [logTerm, index]: Previous, entries: readonly Entry[], commit = 0): Message {
  return say('appendEntries', 2, 1, { term, logTerm, index, entries, commit });
}

describe('TinyKV part 2AB, followers and voters', () => {
  it('TestHandleMessageType_MsgAppend2AB', () => {
    type Want = { log: readonly number[]; commit: number; reject?: boolean };
    const cases: readonly [previous: Previous, entries: readonly Entry[], leaderCommit: number, Want][] = [
      // The log has no such position: nothing changes.
      [[3, 2], [], 3, { log: [1, 2], commit: 0, reject: true }],
      [[3, 3], [], 3, { log: [1, 2], commit: 0, reject: true }],
      // It has: conflicts are replaced, the rest is appended.
      [[1, 1], [], 1, { log: [1, 2], commit: 1 }],
      [[0, 0], [entry(1, 2)], 1, { log: [2], commit: 1 }],
      [[2, 2], [entry(3, 2), entry(4, 2)], 3, { log: [1, 2, 2, 2], commit: 3 }],
      [[2, 2], [entry(3, 2)], 4, { log: [1, 2, 2], commit: 3 }],
      [[1, 1], [entry(2, 2)], 4, { log: [1, 2], commit: 2 }],
      // Committed is what the leader says, but nothing behind what this append speaks of.
      [[1, 1], [], 3, { log: [1, 2], commit: 1 }],
      [[1, 1], [entry(2, 2)], 3, { log: [1, 2], commit: 2 }],
      [[2, 2], [], 3, { log: [1, 2], commit: 2 }],
      [[2, 2], [], 4, { log: [1, 2], commit: 2 }],
    ];
    for (const [previous, entries, leaderCommit, { log, commit, reject = false }] of cases) {
      const peer = new Peer({ term: 2, log: [1, 2] });
      const sent = peer.step(append(2, previous, entries, leaderCommit));
      const label = `${entries.length} entries behind ${previous}, commit ${leaderCommit}`;
      expect(peer.terms, label).to.deep.equal(log);
      expect(peer.storage.entries, label).to.deep.equal(entriesOf(1, ...log));
      expect(peer.node.commit, label).to.equal(commit);
      expect(sent, label).to.have.length(1);
      expect(sent[0], label).to.include({ type: 'appendEntriesResponse', from: 1, to: 2, term: 2, reject });
      if (!reject) expect(sent[0], label).to.include({ index: previous[1] + entries.length });
    }
  });

  it('TestRecvMessageType_MsgRequestVote2AB', () => {
    const answerOf = (peer: Peer, term: number, index: number, logTerm: number): boolean => {
      const sent = peer.step(say('requestVote', 2, 1, { term, index, logTerm }));
      expect(sent).to.have.length(1);
      const reject = sent[0]?.reject ?? true;
      expect(sent[0]).to.deep.equal(say('requestVoteResponse', 1, 2, { term, reject }));
      return !reject;
    };
    // A free vote goes to every log that is up to date with entries 1 and 2 of term 2.
    for (let logTerm = 0; logTerm <= 3; logTerm++) {
      for (let index = 0; index <= 3; index++) {
        const term = Math.max(2, logTerm);
        const granted = answerOf(new Peer({ term, log: [2, 2] }), term, index, logTerm);
        expect(granted, `(${logTerm}, ${index})`).to.equal(logTerm === 3 || (logTerm === 2 && index >= 2));
      }
    }
    // A vote that is given goes to the same candidate again, and to no other.
    expect(answerOf(new Peer({ term: 2, vote: 2, log: [2, 2] }), 2, 3, 2)).to.equal(true);
    expect(answerOf(new Peer({ term: 2, vote: 1, log: [2, 2] }), 2, 3, 2)).to.equal(false);
    // Who stands for election in this term, or has won it, voted for itself.
    expect(answerOf(peerAs('leader', 3, { log: [2, 2] }), 3, 4, 3)).to.equal(false);
    expect(answerOf(peerAs('candidate', 3, { log: [2, 2] }), 3, 3, 3)).to.equal(false);
  });

  it('TestAllServerStepdown2AB', () => {
    for (const [role, lastIndex] of [
      ['follower', 0],
      ['candidate', 0],
      ['leader', 1],
    ] as const) {
      const peer = peerAs(role, 1);
      peer.step(say('requestVote', 2, 1, { term: 3, logTerm: 3 }));
      expect(peer.node, role).to.include({ role: 'follower', term: 3, lastIndex, lead: 0 });
      expect(peer.storage.lastIndex).to.equal(lastIndex);

      // The log has no such entry; who sends it leads all the same.
      const sent = peer.step(append(3, [3, 7], []));
      expect(sent.map(({ reject }) => reject)).to.deep.equal([true]);
      expect(peer.node, role).to.include({ role: 'follower', term: 3, lastIndex, lead: 2 });
      expect(peer.storage.lastIndex).to.equal(lastIndex);
    }
  });

  it('TestFollowerCommitEntry2AB', () => {
    const some = entry(1, 1, 'some data');
    const more = entry(2, 1, 'some data2');
    const other = entry(1, 1, 'some data2');
    const another = entry(2, 1, 'some data');
    const cases: readonly [entries: readonly Entry[], commit: number][] = [
      [[some], 1],
      [[some, more], 2],
      [[other, another], 2],
      [[some, more], 1],
    ];
    for (const [entries, commit] of cases) {
      const peer = new Peer({ term: 1 });
      peer.step(append(1, [0, 0], entries, commit));
      expect(peer.node.commit).to.equal(commit);
      expect(peer.storage.entries).to.deep.equal(entries);
      expect(peer.readys.flatMap(({ committedEntries }) => committedEntries)).to.deep.equal(
        entries.slice(0, commit),
      );
    }
  });

  it("TestFollowerCheckMessageType_MsgAppend2AB (etcd's rule: a rejection hints at where the logs may match)", () => {
    const cases: readonly [previous: Previous, answer: Partial<Message>][] = [
      // What is committed here is in the leader's log too, so that is what is acknowledged.
      [[0, 0], { index: 1 }],
      [[1, 1], { index: 1 }],
      [[2, 2], { index: 2 }],
      [[1, 2], { index: 2, reject: true, rejectHint: 1, logTerm: 1 }],
      [[3, 3], { index: 3, reject: true, rejectHint: 2, logTerm: 2 }],
    ];
    for (const [previous, answer] of cases) {
      const peer = new Peer({ term: 2, commit: 1, log: [1, 2] });
      expect(peer.step(append(2, previous, [])), `${previous}`).to.deep.equal([
        say('appendEntriesResponse', 1, 2, { term: 2, ...answer }),
      ]);
    }
  });

  it('TestFollowerAppendEntries2AB', () => {
    type Want = { log: readonly number[]; written: readonly Entry[] };
    const cases: readonly [previous: Previous, entries: readonly Entry[], Want][] = [
      [[2, 2], [entry(3, 3)], { log: [1, 2, 3], written: [entry(3, 3)] }],
      [[1, 1], [entry(2, 3), entry(3, 4)], { log: [1, 3, 4], written: [entry(2, 3), entry(3, 4)] }],
      [[0, 0], [entry(1, 1)], { log: [1, 2], written: [] }],
      [[0, 0], [entry(1, 3)], { log: [3], written: [entry(1, 3)] }],
    ];
    // Without memory for entries that are on disk, those that no longer count as such must be kept all the same.
    for (const maxCachedBytes of [Number.POSITIVE_INFINITY, 0]) {
      for (const [previous, entries, { log, written }] of cases) {
        const peer = new Peer({ term: 2, log: [1, 2] }, { maxCachedBytes });
        peer.step(append(4, previous, entries));
        expect(peer.storage.entries).to.deep.equal(entriesOf(1, ...log));
        expect(peer.terms).to.deep.equal(log);
        expect(peer.readys.flatMap((ready) => ready.entries)).to.deep.equal(written);
      }
    }
  });

  it('TestVoteRequest2AB', () => {
    for (const terms of [[1], [1, 2]]) {
      const last = terms.length;
      const peer = new Peer();
      peer.step(append(last, [0, 0], entriesOf(1, ...terms)));
      const sent: Message[] = [];
      while (sent.length === 0) sent.push(...peer.tick());
      expect(sent).to.deep.equal(
        [2, 3].map((to) => say('requestVote', 1, to, { term: last + 1, index: last, logTerm: last })),
      );
    }
  });

  it('TestVoter2AB', () => {
    const cases: readonly [log: readonly number[], logTerm: number, index: number, reject: boolean][] = [
      // Last terms are equal: the longer log, or one as long.
      [[1], 1, 1, false],
      [[1], 1, 2, false],
      [[1, 1], 1, 1, true],
      // The candidate's last term is higher: any length.
      [[1], 2, 1, false],
      [[1], 2, 2, false],
      [[1, 1], 2, 1, false],
      // The voter's is higher: none.
      [[2], 1, 1, true],
      [[2], 1, 2, true],
      [[1, 2], 1, 1, true],
    ];
    for (const [log, logTerm, index, reject] of cases) {
      const peer = new Peer({ term: 2, log });
      expect(peer.step(say('requestVote', 2, 1, { term: 3, logTerm, index }))).to.deep.equal([
        say('requestVoteResponse', 1, 2, { term: 3, reject }),
      ]);
    }
  });
});

import { expect } from 'chai';
import {
  DEFAULT_RAFT_CONFIG,
  EntryType,
  type Message,
  RaftInvariantError,
  RawNode,
  type Snapshot,
} from '../../../machines/index.js';
import { bytes, entriesOf, Host, Network, PLAIN, type Start, say, voters } from './network.js';
import { acknowledgement, peer, peerAs, settledLeader } from './roles.js';

/**
 * What has bitten people who built such a store, as far as it is the core's to prevent. The numbers are those of the
 * project's list; the lines that concern stores and regions are shown where these are.
 */

function snapshotAt(index: number, term: number, ...members: number[]): Snapshot {
  return { index, term, confState: voters(...members), data: bytes('state') };
}

/** Three peers of which 3 has missed what 1 and 2 have applied and removed from their logs. */
function laggard(): Network {
  const network = Network.of(3);
  network.campaign(1);
  network.isolate(3);
  network.propose(1, 'a', 'b', 'c');
  for (const id of [1, 2]) network.host(id).compact(4);
  network.recover();
  return network;
}

/** A peer that was created by a message of its group and knows no member yet. */
function newborn(id: number, options = {}): Host {
  return new Host({ ...PLAIN, preVote: true, checkQuorum: true, ...options, id }, { confState: voters() });
}

describe('field notes on Raft', () => {
  it('field note 2: a proposal is told by index and term from what took its place, and is answered once', () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(1);
    const lost = network.host(1).node.propose(bytes('lost'));
    expect(lost).to.deep.equal({ ok: true, index: 2, term: 1 });
    network.settle();
    network.campaign(2);
    const kept = network.host(2).node.propose(bytes('kept'));
    expect(kept).to.deep.equal({ ok: true, index: 3, term: 2 });
    network.settle();
    network.recover();
    network.tick(2, 2);
    for (const host of network.hosts.values()) {
      expect(host.applied.map(({ index, term }) => [index, term])).to.deep.equal([
        [1, 1],
        [2, 2],
        [3, 2],
      ]);
      expect(host.data).to.deep.equal(['kept']);
    }
    // Whoever cannot take one says so at once: nobody waits for an answer that will not come.
    network.host(3).node.campaign();
    expect(network.host(3).node.propose(bytes('x'))).to.have.nested.include({
      ok: false,
      'error.code': 'proposal-dropped',
    });
  });

  it('field note 3: a peer without membership takes appends, heartbeats and snapshots', () => {
    const taken: Message[] = [];
    const host = newborn(3);
    const hear = (message: Message): void => {
      expect(host.node.step(message), message.type).to.equal(undefined);
      taken.push(...host.settle());
    };
    hear(say('heartbeat', 1, 3, { term: 2 }));
    expect(host.node.status()).to.include({ term: 2, lead: 1 });
    hear(say('appendEntries', 1, 3, { term: 2, entries: entriesOf(1, 1, 2), commit: 1 }));
    expect(host.node).to.include({ lastIndex: 2, commit: 1 });
    hear(say('installSnapshot', 1, 3, { term: 2, snapshot: snapshotAt(7, 2, 1, 2, 3) }));
    expect(host.node.status()).to.include({ applied: 7 });
    expect(host.node.status().configuration.voters).to.deep.equal([1, 2, 3]);
    expect(taken.map(({ type, index, reject }) => [type, index, reject])).to.deep.equal([
      ['heartbeatResponse', 0, false],
      ['appendEntriesResponse', 2, false],
      ['appendEntriesResponse', 7, false],
    ]);
    expect(host.node.campaign(), 'now it may').to.equal(undefined);
  });

  it('field note 3: a peer without membership neither campaigns nor votes for itself', () => {
    for (const preVote of [false, true]) {
      const host = newborn(3, { preVote });
      for (let i = 0; i < 100; i++) host.node.tick();
      expect(host.node.campaign()).to.include({ code: 'campaign-refused' });
      expect(host.node.step(say('timeoutNow', 1, 3))).to.include({ code: 'campaign-refused' });
      expect(host.node.status()).to.include({ role: 'follower', term: 0, vote: 0 });
      expect(host.settle()).to.deep.equal([]);
      // It may be a voter by now and not know it: others may have its vote.
      host.node.step(say('requestVote', 2, 3, { term: 1 }));
      expect(host.node.status().vote).to.equal(2);
    }
  });

  it('field note 4: peers that know no members, or are cut off, depose nobody', () => {
    expect(DEFAULT_RAFT_CONFIG).to.include({ preVote: true, checkQuorum: true });
    const { preVote, checkQuorum } = DEFAULT_RAFT_CONFIG;
    const options = { preVote, checkQuorum };
    const members = { confState: voters(1, 2, 3) } satisfies Start;
    const unknowing = { confState: voters() } satisfies Start;
    const network = Network.of(5, options, {
      1: members,
      2: members,
      3: members,
      4: unknowing,
      5: unknowing,
    });
    network.campaign(1);
    network.tick(100, 1, 2, 3, 4, 5);
    network.isolate(3);
    network.tick(100, 1, 2, 3, 4, 5);
    network.recover();
    network.tick(100, 1, 2, 3, 4, 5);
    const seen = [...network.hosts].map(([id, { node }]) => [id, node.role, node.term, node.lead]);
    expect(seen).to.deep.equal([
      [1, 'leader', 1, 1],
      [2, 'follower', 1, 1],
      [3, 'follower', 1, 1],
      [4, 'follower', 0, 0],
      [5, 'follower', 0, 0],
    ]);
  });

  for (const [what, report] of [
    ['that is reported as lost', false],
    ['that was lost although the host took it for delivered', true],
  ] as const) {
    it(`field note 7: a snapshot ${what} counts for nothing and is sent again`, () => {
      const network = laggard();
      const one = network.host(1);
      let lost = 0;
      network.hook = ({ type }) => {
        if (type !== 'installSnapshot' || lost > 0) return true;
        lost++;
        return false;
      };
      network.tick(2, 1);
      expect([lost, one.node.status().progress.get(3)?.state]).to.deep.equal([1, 'snapshot']);
      // Not while nobody knows: it may still be under way.
      network.tick(5, 1);
      expect(network.host(3).node.commit).to.equal(1);
      one.node.reportSnapshot(3, report);
      expect(one.node.status().progress.get(3), 'only the follower says what it has').to.include({
        match: 1,
        next: report ? 5 : 2,
      });
      network.tick(3, 1);
      expect(network.host(3).node).to.include({ commit: 4, applied: 4 });
      expect(one.node.status().progress.get(3)).to.include({ state: 'replicate', match: 4 });
    });
  }

  for (const asyncStorageWrites of [false, true]) {
    const host = asyncStorageWrites ? 'an asynchronous' : 'a synchronous';
    it(`field note 9: ${host} Ready holds snapshot and entries together, and no stale ones`, () => {
      const start = peer({ log: [1, 1], term: 1, commit: 1 }).storage;
      const node = new RawNode({ ...PLAIN, id: 1, asyncStorageWrites }, start.initialState(1));
      // Entries that the snapshot makes stale are in memory, not yet written, when it comes.
      node.step(say('appendEntries', 2, 1, { term: 1, index: 2, logTerm: 1, entries: entriesOf(3, 1, 1) }));
      node.step(say('installSnapshot', 2, 1, { term: 2, snapshot: snapshotAt(10, 2, 1, 2, 3) }));
      node.step(
        say('appendEntries', 2, 1, { term: 2, index: 10, logTerm: 2, entries: entriesOf(11, 2), commit: 11 }),
      );
      const ready = node.ready();
      const write = asyncStorageWrites ? ready.append : ready;
      expect(write?.snapshot?.index).to.equal(10);
      expect(write?.entries.map(({ index }) => index)).to.deep.equal([11]);
      expect(write?.hardState).to.include({ commit: 11, term: 2 });
      expect(ready.committedEntries, 'nothing is applied before the snapshot').to.deep.equal([]);
      expect(node.fetches(), 'nor read to be applied').to.deep.equal([]);

      start.applySnapshot(ready.snapshot as Snapshot);
      start.append(ready.entries);
      start.hardState = ready.hardState ?? start.hardState;
      const again = new RawNode({ ...PLAIN, id: 1 }, start.initialState(10));
      expect(again).to.include({ applied: 10, lastIndex: 11, commit: 11 });
    });
  }

  it('field note 9: a log that ends below what is applied is not started from', () => {
    const { storage } = peer({ log: [1, 1, 1], term: 1, commit: 3 });
    const initial = { ...storage.initialState(3), lastIndex: 2, entries: entriesOf(1, 1, 1) };
    expect(() => new RawNode({ ...PLAIN, id: 1 }, initial)).to.throw(RaftInvariantError, 'outside the log');
  });

  it('field note 11: a snapshot at or below the commit index changes nothing', () => {
    for (const index of [1, 2, 3]) {
      const host = peer({ log: [1, 1, 1, 1], term: 1, commit: 3 });
      host.settle();
      host.node.step(say('installSnapshot', 2, 1, { term: 2, snapshot: snapshotAt(index, 2, 1, 7) }));
      const ready = host.node.ready();
      expect(ready.snapshot).to.equal(undefined);
      expect(ready.messages.map((answer) => [answer.type, answer.index])).to.deep.equal([
        ['appendEntriesResponse', 3],
      ]);
      expect(host.node.status()).to.include({ commit: 3, applied: 3, firstIndex: 1, lastIndex: 4 });
      expect(host.node.status().configuration.voters).to.deep.equal([1, 2, 3]);
    }
  });

  it('field note 12: a snapshot leaves no entry of before in memory', () => {
    const host = peer({ log: [1, 1], term: 1, commit: 1 });
    const change = { term: 1, index: 4, type: EntryType.confChangeV2, data: Uint8Array.of(18, 2, 16, 3) };
    const entries = [...entriesOf(3, 1), change];
    host.node.step(say('appendEntries', 2, 1, { term: 1, index: 2, logTerm: 1, entries }));
    host.node.step(say('installSnapshot', 2, 1, { term: 2, snapshot: snapshotAt(3, 2, 1, 2, 3) }));
    const { log } = host.core;
    expect([log.cachedBytes, log.hasUnstableEntries, log.hasNextUnstableEntries]).to.deep.equal([
      0,
      false,
      false,
    ]);
    expect([log.term(2), log.term(3), log.term(4)]).to.deep.equal([-1, 2, -1]);
    const ready = host.node.ready();
    expect(ready.entries).to.deep.equal([]);
    host.persist(ready);
    // Another entry in the place of one that was forgotten is taken as it is.
    host.node.advance();
    host.node.step(
      say('appendEntries', 2, 1, { term: 2, index: 3, logTerm: 2, entries: entriesOf(4, 2), commit: 4 }),
    );
    expect(log.hasUnappliedConfChange, 'the membership change is forgotten too').to.equal(false);
    host.settle();
    expect(host.applied.map(({ index, term }) => [index, term])).to.deep.equal([[4, 2]]);
  });

  it('field note 13: a vote lives as long as its term, whatever the voter becomes', () => {
    const yields: Record<string, (host: Host) => void> = {
      'a candidate that follows': (host) => host.node.step(say('appendEntries', 2, 1, { term: 1 })),
      'a candidate that loses': (host) => {
        for (const from of [2, 3])
          host.node.step(say('requestVoteResponse', from, 1, { term: 1, reject: true }));
      },
      'a candidate that restarts': (host) => host.restart(),
    };
    for (const [who, happens] of Object.entries(yields)) {
      const host = peerAs('candidate');
      happens(host);
      host.settle();
      host.node.step(say('requestVote', 3, 1, { term: 1, index: 9, logTerm: 1 }));
      expect(host.settle().at(-1), who).to.include({ type: 'requestVoteResponse', reject: true });
      expect(host.node.status(), who).to.include({ role: 'follower', term: 1, vote: 1 });
    }
    const voter = peer();
    voter.node.step(say('requestVote', 2, 1, { term: 1 }));
    voter.node.step(say('heartbeat', 2, 1, { term: 1 }));
    voter.node.forgetLeader();
    voter.settle();
    voter.restart();
    voter.node.step(say('requestVote', 3, 1, { term: 1 }));
    expect(voter.settle()).to.deep.equal([say('requestVoteResponse', 1, 3, { term: 1, reject: true })]);
  });

  it('field note 14: an acknowledgement of what the leader does not have moves nothing', () => {
    for (const index of [4, 2 ** 40]) {
      const leader = settledLeader();
      leader.proposeAll('a', 'b');
      leader.settle();
      const before = leader.node.status().progress.get(2);
      leader.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index }));
      expect(leader.node.status().progress.get(2)).to.deep.equal(before);
      expect([leader.node.commit, leader.settle()]).to.deep.equal([1, []]);
      leader.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 3 }));
      expect(leader.node.commit, 'one that fits does').to.equal(3);
    }
  });

  it('field note 14: an acknowledgement of an older term moves nothing', () => {
    const leader = settledLeader();
    leader.proposeAll('a', 'b');
    leader.settle();
    leader.node.step(say('heartbeat', 3, 1, { term: 5 }));
    leader.node.campaign();
    leader.settle();
    leader.node.step(say('requestVoteResponse', 3, 1, { term: 6 }));
    leader.settle();
    const before = leader.node.status().progress.get(2);
    for (const reject of [false, true]) {
      leader.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 3, reject, rejectHint: 1 }));
      expect(leader.node.status().progress.get(2)).to.deep.equal(before);
    }
    expect([leader.node.commit, leader.settle()]).to.deep.equal([1, []]);
  });

  it('field note 21: what waited for a voter that is removed commits with its removal', () => {
    for (const transition of ['auto', 'explicit'] as const) {
      const leader = settledLeader({ size: 2 });
      const proposed = leader.node.proposeConfChange({
        transition,
        changes: [{ kind: 'removeNode', id: 2 }],
        context: bytes(''),
      });
      expect(proposed.ok).to.equal(true);
      const [removal] = leader.settle();
      leader.proposeAll('waiting');
      leader.settle();
      expect(leader.data).to.deep.equal([]);
      leader.node.step(acknowledgement(removal as Message));
      leader.settle();
      if (transition === 'explicit') {
        expect(leader.data, 'the old half still counts').to.deep.equal([]);
        leader.node.applyConfChange({ transition: 'auto', changes: [], context: bytes('') });
        leader.settle();
      }
      expect(leader.data, transition).to.deep.equal(['waiting']);
    }
  });

  it('field note 23: a transfer brings its target up to date, takes no proposals, and is given up in time', () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    network.propose(1, 'missed');
    const one = network.host(1);
    one.settle();
    one.node.reportUnreachable(3);
    expect(one.node.transferLeader(3)).to.equal(undefined);
    const sent = one.settle();
    expect(sent.map(({ type, to, entries }) => [type, to, entries.length])).to.deep.equal([
      ['appendEntries', 3, 1],
    ]);
    const refused = one.node.propose(bytes('meanwhile'));
    if (refused.ok) throw new Error('a proposal was taken during a transfer');
    expect(refused.error).to.include({ code: 'proposal-dropped' });
    expect(refused.error.message).to.contain('it hands over to peer 3');
    for (let tick = 1; tick <= 10; tick++) {
      expect(one.state, `before tick ${tick}`).to.equal('leader.transferring');
      network.tick(1, 1);
    }
    expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.serving', 0]);
    network.propose(1, 'again');
    expect(one.data).to.deep.equal(['missed', 'again']);

    network.recover();
    one.node.transferLeader(3);
    network.tick(2, 1);
    expect(network.host(3).node.role).to.equal('leader');
    expect(network.host(3).data).to.deep.equal(['missed', 'again']);
  });
});

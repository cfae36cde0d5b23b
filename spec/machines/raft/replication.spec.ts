import { expect } from 'chai';
import { type Message, RaftInvariantError, type RaftOptions } from '../../../machines/index.js';
import { bytes, entriesOf, Host, Network, PLAIN, type Start, say, voters } from './network.js';

function leader(options: Partial<RaftOptions> = {}, start: Start = {}): Host {
  const host = new Host({ ...PLAIN, ...options, id: 1 }, { confState: voters(1, 2, 3), ...start });
  host.node.campaign();
  host.settle();
  host.node.step(say('requestVoteResponse', 2, 1, { term: host.node.term }));
  host.settle();
  return host;
}

/** The leader's first entry is committed by 2; what it says to 2 and 3 is thrown away. */
function servingLeader(options: Partial<RaftOptions> = {}): Host {
  const host = leader(options);
  acknowledge(host, 2, host.node.lastIndex);
  return host;
}

function acknowledge(host: Host, from: number, index: number): Message[] {
  host.node.step(say('appendEntriesResponse', from, host.id, { term: host.node.term, index }));
  return host.settle();
}

function appendsTo(messages: readonly Message[], id: number): Message[] {
  return messages.filter(({ type, to }) => type === 'appendEntries' && to === id);
}

describe('replication (Raft 5.3)', () => {
  it('begins a term with an empty entry for everyone', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3), log: [1, 1], term: 1 });
    host.node.campaign();
    host.settle();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 2 }));
    const sent = host.settle().filter(({ type }) => type === 'appendEntries');
    expect(sent.map(({ to, index, logTerm, entries }) => [to, index, logTerm, entries.length])).to.deep.equal(
      [
        [2, 2, 1, 1],
        [3, 2, 1, 1],
      ],
    );
    expect(sent[0]?.entries).to.equal(sent[1]?.entries);
    expect(sent[0]?.entries[0]).to.include({ term: 2, index: 3 });
  });

  it('sends each proposal behind the entry before it, at once to those who keep up', () => {
    const host = servingLeader();
    host.proposeAll('a', 'b');
    const sent = appendsTo(host.settle(), 2);
    expect(sent.map(({ index, entries }) => [index, entries.length])).to.deep.equal([
      [1, 1],
      [2, 1],
    ]);
  });

  it('commits what a majority holds and tells everyone', () => {
    for (const size of [1, 3, 5]) {
      const network = Network.of(size);
      network.campaign(1);
      const half = (size - 1) / 2;
      for (let id = 2; id <= 1 + half; id++) network.isolate(id);
      network.propose(1, 'kept');
      expect(network.host(1).data).to.deep.equal(['kept']);
      if (size > 1) network.isolate(size);
      network.propose(1, 'lost');
      expect(network.host(1).data).to.deep.equal(size === 1 ? ['kept', 'lost'] : ['kept']);
    }
  });

  it('commits entries of earlier terms only along with one of its own (5.4.2)', () => {
    const host = leader({}, { log: [1, 1], term: 1 });
    acknowledge(host, 2, 2);
    expect(host.node.commit).to.equal(0);
    acknowledge(host, 2, 3);
    expect(host.node.commit).to.equal(3);
    expect(host.applied.map(({ index }) => index)).to.deep.equal([1, 2, 3]);
  });

  it('applies in order, up to what the leader has committed', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2) });
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 1, 1, 1), commit: 2 }));
    host.settle();
    expect(host.applied.map(({ index }) => index)).to.deep.equal([1, 2]);
    host.node.step(say('heartbeat', 2, 1, { term: 1, commit: 3 }));
    host.settle();
    expect(host.applied.map(({ index }) => index)).to.deep.equal([1, 2, 3]);
  });

  it('answers an append older than the commit index with that index', () => {
    const host = new Host(
      { ...PLAIN, id: 1 },
      { confState: voters(1, 2), log: [1, 1, 1], commit: 3, term: 1 },
    );
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 1) }));
    expect(host.settle().map(({ index, reject }) => [index, reject])).to.deep.equal([[3, false]]);
  });

  it('stops, loudly, when a leader wants to change or has lost what is committed', () => {
    const make = () =>
      new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2), log: [1, 1], commit: 2, term: 1 });
    const ahead = make();
    expect(() => ahead.node.step(say('heartbeat', 2, 1, { term: 1, commit: 3 }))).to.throw(
      RaftInvariantError,
    );
    expect(() => ahead.node.tick(), 'and stays stopped').to.throw(RaftInvariantError);
    const other = make();
    const change = say('appendEntries', 2, 1, { term: 3, entries: entriesOf(3, 3), index: 2, logTerm: 1 });
    expect(() => other.node.step(change)).to.not.throw();
  });

  it('refuses entries that are no run of a log, before they reach the machine', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2) });
    const gap = say('appendEntries', 2, 1, { term: 1, entries: [...entriesOf(1, 1), ...entriesOf(3, 1)] });
    expect(host.node.step(gap)).to.include({ code: 'malformed-message' });
    const future = say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 2) });
    expect(host.node.step(future)).to.include({ code: 'malformed-message' });
    expect(host.node.step(say('propose', 2, 1))).to.include({ code: 'malformed-message' });
    expect(host.node.lastIndex).to.equal(0);
  });

  it('takes no acknowledgement of entries that the leader does not have', () => {
    const host = servingLeader();
    acknowledge(host, 3, 99);
    expect(host.core.progress.get(3)).to.include({ match: 0 });
    expect(host.node.commit).to.equal(1);
  });

  it('does not count its own entries before they are on its disk, nor after its term is over', () => {
    const host = servingLeader();
    host.proposeAll('a');
    expect(host.core.progress.get(1)?.match).to.equal(1);
    const ready = host.node.ready();
    host.node.step(say('heartbeat', 3, 1, { term: 9 }));
    host.persist(ready);
    host.node.advance();
    expect(host.node.status()).to.include({ role: 'follower', term: 9, commit: 1 });
  });

  it('repairs a divergent follower in a probe per term', () => {
    const one = new Host(
      { ...PLAIN, id: 1 },
      { confState: voters(1, 2, 3), log: [1, 3, 3, 3, 5, 5, 5, 5, 5], term: 5 },
    );
    const two = new Host(
      { ...PLAIN, id: 2 },
      { confState: voters(1, 2, 3), log: [1, 1, 1, 1, 2, 2], term: 5 },
    );
    const three = new Host({ ...PLAIN, id: 3 }, { confState: voters(1, 2, 3), log: [1], term: 5 });
    const network = new Network([one, two, three]);
    let rejections = 0;
    network.hook = ({ type, from, reject }) => {
      if (type === 'appendEntriesResponse' && from === 2 && reject) rejections++;
      return true;
    };
    network.campaign(1);
    expect(two.terms).to.deep.equal(one.terms);
    expect(rejections).to.be.at.most(2);
  });

  it('is not set back by a rejection that comes late', () => {
    const host = servingLeader();
    host.proposeAll('a', 'b');
    host.settle();
    acknowledge(host, 2, 3);
    host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1, reject: true, rejectHint: 0 }));
    expect(host.core.progress.get(2)).to.include({ match: 3, next: 4, state: 'replicate' });
  });

  it('survives loss of anything: a heartbeat’s answer restarts what stands still', () => {
    const network = Network.of(3, { maxInflightMsgs: 2, maxSizePerMsg: 0 });
    network.campaign(1);
    network.drop(1, 2);
    network.propose(1, 'a', 'b', 'c', 'd');
    network.recover();
    network.tick(4, 1);
    expect(network.host(2).data).to.deep.equal(['a', 'b', 'c', 'd']);
  });
});

describe('answers to appends, by the names of raft_test.go', () => {
  it('TestLeaderAppResp: what each answer moves, and what is sent for it', () => {
    const cases: readonly [
      index: number,
      reject: boolean,
      match: number,
      next: number,
      sent: readonly [index: number, commit: number][],
    ][] = [
      // Beyond what was sent, or a late rejection: nothing.
      [3, true, 0, 3, []],
      // The last probe is rejected: the next one goes further back.
      [2, true, 0, 2, [[1, 0]]],
      // It has the entry, which commits; the other member is being probed and is not told yet.
      [2, false, 2, 4, [[2, 2]]],
      // Nothing new is acknowledged.
      [0, false, 0, 4, [[0, 0]]],
    ];
    for (const [index, reject, match, next, sent] of cases) {
      const host = leader({}, { log: [0, 1], term: 0 });
      host.node.step(
        say('appendEntriesResponse', 2, 1, { term: 1, index, reject, rejectHint: index, logTerm: 0 }),
      );
      const progress = host.core.progress.get(2);
      expect([progress?.match, progress?.next], `${index} ${reject}`).to.deep.equal([match, next]);
      const appends = host.settle().filter(({ type }) => type === 'appendEntries');
      expect(appends.map((append) => [append.index, append.commit])).to.deep.equal(sent);
    }
  });

  it('TestLeaderIncreaseNext: what is sent counts as taken by those who keep up, and only by them', () => {
    for (const [state, next] of [
      ['replicate', 6],
      ['probe', 2],
    ] as const) {
      const host = leader({}, { log: [1, 1, 1], term: 1 });
      const progress = host.core.progress.get(2);
      if (progress === undefined) throw new Error('peer 2 is not followed');
      if (state === 'replicate') progress.becomeReplicate();
      else progress.becomeProbe();
      progress.match = 0;
      progress.next = 2;
      host.proposeAll('some data');
      expect(progress.next, state).to.equal(next);
    }
  });

  it('TestCannotCommitWithoutNewTermEntry, TestCommitWithoutNewTermEntry: only what the new leader began', () => {
    const network = Network.of(5);
    network.campaign(1);
    for (const id of [3, 4, 5]) network.cut(1, id);
    network.propose(1, 'some data', 'some data');
    expect(network.host(1).node.commit).to.equal(1);
    network.recover();
    network.ignore('appendEntries');
    network.campaign(2);
    expect(network.host(2).node, 'elected, and nothing is heard of it').to.include({
      role: 'leader',
      commit: 1,
    });
    network.recover();
    network.tick(1, 2);
    expect(network.host(2).node.commit, 'with its own entry all before it').to.equal(4);
    network.propose(2, 'some data');
    expect(network.host(2).node.commit).to.equal(5);
  });
});

describe('flow control', () => {
  it('sends one append while it probes, whatever is proposed', () => {
    const host = leader();
    host.core.progress.get(2)?.becomeProbe();
    host.proposeAll('a', 'b', 'c');
    expect(appendsTo(host.settle(), 2)).to.have.length(1);
    host.node.step(say('heartbeatResponse', 2, 1, { term: 1 }));
    expect(appendsTo(host.settle(), 2), 'one more for a heartbeat’s answer').to.have.length(1);
  });

  it('splits by bytes, and sends on as acknowledgements make room', () => {
    const host = servingLeader({ maxSizePerMsg: 2_048, maxInflightMsgs: 3 });
    host.core.progress.get(2)?.becomeProbe();
    for (let i = 0; i < 10; i++) host.node.propose(new Uint8Array(1_000));
    const probe = appendsTo(host.settle(), 2);
    expect(probe.map(({ entries }) => entries.length)).to.deep.equal([1]);
    const drained = appendsTo(acknowledge(host, 2, 2), 2);
    expect(
      drained.filter(({ entries }) => entries.length > 0).map(({ entries }) => entries.length),
    ).to.deep.equal([2, 2, 2]);
    expect(host.node.status().progress.get(2)).to.include({ paused: true, inflight: 3, inflightFull: true });
    const more = appendsTo(acknowledge(host, 2, 4), 2).filter(({ entries }) => entries.length > 0);
    expect(more.map(({ index }) => index)).to.deep.equal([8]);
  });

  it('lets one empty append out of a full window for each heartbeat’s answer', () => {
    const host = servingLeader({ maxInflightMsgs: 2 });
    host.proposeAll('a', 'b', 'c');
    expect(appendsTo(host.settle(), 2)).to.have.length(2);
    for (let i = 0; i < 3; i++) {
      host.node.step(say('heartbeatResponse', 2, 1, { term: 1 }));
      expect(appendsTo(host.settle(), 2).map(({ entries }) => entries.length)).to.deep.equal([0]);
      host.node.tick();
      expect(appendsTo(host.settle(), 2)).to.have.length(0);
    }
    expect(appendsTo(acknowledge(host, 2, 2), 2).flatMap(({ entries }) => entries)).to.have.length(1);
  });

  it('limits the bytes under way', () => {
    const host = servingLeader({ maxInflightBytes: 2_000, maxSizePerMsg: 1_000 });
    for (let i = 0; i < 5; i++) host.node.propose(new Uint8Array(900));
    expect(appendsTo(host.settle(), 2)).to.have.length(3);
  });

  it('goes back to probing a member that cannot be reached', () => {
    const host = servingLeader();
    host.proposeAll('a');
    host.settle();
    host.node.reportUnreachable(2);
    expect(host.core.progress.get(2)).to.include({ state: 'probe', next: 2 });
    host.node.reportUnreachable(99);
  });

  it('drops proposals at the limit on uncommitted bytes, and takes them again once applied', () => {
    const host = servingLeader({ maxUncommittedEntriesSize: 100 });
    const propose = (size: number) => host.node.propose(new Uint8Array(size));
    for (let i = 0; i < 10; i++) expect(propose(10).ok).to.equal(true);
    const refused = propose(10);
    expect(refused).to.have.nested.include({ ok: false, 'error.code': 'proposal-dropped' });
    expect(propose(0).ok, 'what has no payload is never refused').to.equal(true);
    host.settle();
    acknowledge(host, 2, host.node.lastIndex);
    expect(host.core.uncommittedSize).to.equal(0);
    expect(propose(1_000).ok, 'one large proposal into an empty tail').to.equal(true);
    expect(propose(1).ok).to.equal(false);
  });

  it('forgets what was uncommitted with the term', () => {
    const host = servingLeader({ maxUncommittedEntriesSize: 100 });
    host.node.propose(new Uint8Array(100));
    host.node.step(say('heartbeat', 3, 1, { term: 5 }));
    expect(host.core.uncommittedSize).to.equal(0);
  });

  it('sends the commit index once, and only where it can move something', () => {
    const host = servingLeader();
    host.proposeAll('a');
    host.settle();
    const sent = acknowledge(host, 2, 2);
    expect(appendsTo(sent, 2).map(({ commit, entries }) => [commit, entries.length])).to.deep.equal([[2, 0]]);
    expect(appendsTo(acknowledge(host, 2, 2), 2)).to.deep.equal([]);
  });
});

describe('proposals', () => {
  it('name the place of their entry', () => {
    const host = servingLeader();
    expect(host.node.propose(bytes('a'))).to.deep.equal({ ok: true, index: 2, term: 1 });
    expect(host.node.proposeBatch([bytes('b'), bytes('c')])).to.deep.equal({ ok: true, index: 4, term: 1 });
    expect(appendsTo(host.settle(), 2).map(({ entries }) => entries.length)).to.deep.equal([1, 2]);
  });

  it('are handed on by a follower that knows its leader, and dropped by everyone else', () => {
    const network = Network.of(3);
    expect(network.host(2).node.propose(bytes('x'))).to.have.nested.include({
      ok: false,
      'error.code': 'proposal-dropped',
    });
    network.campaign(1);
    expect(network.host(2).node.propose(bytes('by proxy'))).to.deep.equal({ ok: true, index: 0, term: 0 });
    network.settle();
    for (const host of network.hosts.values()) expect(host.data).to.deep.equal(['by proxy']);
    network.host(3).node.campaign();
    expect(network.host(3).node.propose(bytes('x')).ok).to.equal(false);
  });

  it('are dropped by a follower that may not forward', () => {
    const network = Network.of(3, { disableProposalForwarding: true });
    network.campaign(1);
    expect(network.host(2).node.propose(bytes('x')).ok).to.equal(false);
  });
});

describe('heartbeats', () => {
  it('carry no entries, and a commit index that the member is known to hold', () => {
    const host = servingLeader();
    host.node.tick();
    const beats = host.settle();
    expect(
      beats.map(({ type, to, commit, index, logTerm, entries }) => [
        type,
        to,
        commit,
        index,
        logTerm,
        entries.length,
      ]),
    ).to.deep.equal([
      ['heartbeat', 2, 1, 0, 0, 0],
      ['heartbeat', 3, 0, 0, 0, 0],
    ]);
  });

  it('of an older term are answered with this one, where nothing else would free the sender', () => {
    for (const [options, answers] of [
      [{ preVote: true }, 1],
      [{ checkQuorum: true }, 1],
      [{}, 0],
    ] as const) {
      const host = new Host({ ...PLAIN, ...options, id: 1 }, { confState: voters(1, 2), term: 5 });
      host.node.step(say('heartbeat', 2, 1, { term: 2 }));
      const sent = host.settle();
      expect(sent.map(({ type, term }) => [type, term])).to.deep.equal(
        answers === 1 ? [['appendEntriesResponse', 5]] : [],
      );
    }
  });
});

describe('a commit index that waits for the next message', () => {
  function told(hurry: boolean): number[] {
    const host = servingLeader({ skipBroadcastCommit: true });
    acknowledge(host, 3, host.node.lastIndex);
    const proposed = host.node.propose(bytes('x'));
    const { lastIndex } = host.node;
    if (hurry && proposed.ok) host.node.hurryCommit(proposed.index);
    host.settle();
    const sent = acknowledge(host, 2, lastIndex);
    return sent
      .filter(({ type, commit }) => type === 'appendEntries' && commit === lastIndex)
      .map(({ to }) => to);
  }

  it('goes at once when somebody waits for what is committed', () => {
    expect(told(false)).to.deep.equal([]);
    expect(told(true)).to.deep.equal([2, 3]);
  });
});

describe('appends that stand for heartbeats', () => {
  const heartbeats = (network: Network, ticks: number, answered = true): number[] => {
    const to: number[] = [];
    network.hook = ({ type, to: member }) => {
      if (type === 'heartbeat') to.push(member);
      return answered || type !== 'heartbeatResponse';
    };
    network.tick(ticks, 1);
    network.hook = undefined;
    return to;
  };

  function led(appendsStandForHeartbeats: boolean): Network {
    const network = Network.of(3, {
      heartbeatTick: 2,
      checkQuorum: true,
      appendsStandForHeartbeats,
      skipBroadcastCommit: true,
    });
    network.campaign(1);
    network.tick(4, 1);
    return network;
  }

  it('leave one out for whoever was sent entries since the last one, and no more than one', () => {
    const network = led(true);
    network.propose(1, 'x');
    expect(heartbeats(network, 2)).to.deep.equal([]);
    expect(heartbeats(network, 2)).to.deep.equal([2, 3]);
    const committed = network.host(1).node.status().commit;
    expect(network.host(2).node.status().commit, 'the commit index travels with it').to.equal(committed);
  });

  it('leave none out for a member that lacks what it was sent, nor for one that reads wait for', () => {
    const network = led(true);
    network.isolate(3);
    network.propose(1, 'x');
    network.recover();
    heartbeats(network, 2);
    expect(heartbeats(network, 2)).to.include(3);
    expect(network.host(3).node.lastIndex).to.equal(network.host(1).node.lastIndex);
    network.propose(1, 'y');
    network.host(1).node.readIndex(bytes('a read'));
    // The read's own round, and that of the tick.
    expect(heartbeats(network, 2, false)).to.deep.equal([2, 3, 2, 3]);
  });

  it('leave none out for members that have not spoken since the quorum was checked: their disks may stand still', () => {
    const network = led(true);
    const { node } = network.host(1);
    network.hook = ({ type }) => type !== 'appendEntriesResponse';
    for (let tick = 0; tick < 60; tick++) {
      network.propose(1, `entry ${tick}`);
      network.tick(1, 1);
    }
    expect(node.role).to.equal('leader');
  });

  it('leave none out unless it is asked for', () => {
    const network = led(false);
    network.propose(1, 'x');
    expect(heartbeats(network, 2)).to.deep.equal([2, 3]);
  });
});

import { expect } from 'chai';
import {
  EntryType,
  type Fetch,
  RaftError,
  RaftInvariantError,
  RawNode,
  type Snapshot,
} from '../../../machines/index.js';
import { bytes, entriesOf, Host, Network, PLAIN, say, voters } from './network.js';

function snapshot(index: number, term: number, ...members: number[]): Snapshot {
  return { index, term, confState: voters(...members), data: bytes('state') };
}

/** Three peers of which 3 has missed what 1 and 2 have applied and removed from their logs. */
function lagging(): Network {
  const network = Network.of(3, { maxInflightMsgs: 2 });
  network.campaign(1);
  network.isolate(3);
  network.propose(1, 'a', 'b', 'c');
  for (const id of [1, 2]) network.host(id).compact(3);
  return network;
}

describe('snapshots (Raft 7)', () => {
  it('go to a member whose next entry is gone, and then the log goes on', () => {
    const network = lagging();
    network.recover();
    network.tick(2, 1);
    expect(network.host(3).storage.firstIndex).to.be.greaterThan(3);
    expect(network.host(1).node.status().progress.get(3)).to.include({ state: 'replicate', match: 4 });
    network.propose(1, 'd');
    expect(network.host(3).data).to.deep.equal(['d']);
    expect(network.host(3).node.commit).to.equal(5);
  });

  it('are not made for a member that does not answer', () => {
    const network = lagging();
    const one = network.host(1);
    const member = one.core.progress.get(3);
    if (member !== undefined) member.recentActive = false;
    one.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 4 }));
    expect(one.node.fetches()).to.deep.equal([]);
    expect(one.node.status().progress.get(3)?.state).to.not.equal('snapshot');
  });

  it('hold back everything else until the member answers, and are given up when the host says so', () => {
    for (const delivered of [true, false]) {
      const network = lagging();
      const one = network.host(1);
      network.recover();
      network.ignore('installSnapshot');
      network.tick(1, 1);
      expect(one.node.status().progress.get(3)).to.include({
        state: 'snapshot',
        pendingSnapshot: 4,
        next: 5,
        paused: true,
      });
      one.proposeAll('x');
      expect(one.settle().filter(({ to }) => to === 3)).to.deep.equal([]);
      one.node.reportSnapshot(3, delivered);
      expect(one.node.status().progress.get(3)).to.include({
        state: 'probe',
        next: delivered ? 5 : 2,
        paused: true,
      });
      network.recover();
      network.tick(3, 1);
      expect(network.host(3).node.commit, 'in the end it arrives').to.equal(5);
    }
  });

  it('that cannot be made now are asked for again', () => {
    const network = lagging();
    const one = network.host(1);
    const wanted: Fetch[] = [];
    one.answerFetches = () => {
      for (const fetch of one.node.fetches()) {
        wanted.push(fetch);
        one.node.snapshotFetched(fetch, wanted.length < 3 ? undefined : one.snapshot);
      }
    };
    network.recover();
    for (let i = 0; i < 4; i++) network.tick(1, 1);
    expect(wanted.length).to.be.at.least(3);
    expect(network.host(3).node.commit).to.equal(4);
  });

  it('replace log, membership and everything in memory', () => {
    const host = new Host(
      { ...PLAIN, id: 3 },
      { confState: voters(1, 3), log: [1, 1, 1], term: 1, commit: 1 },
    );
    host.node.step(say('appendEntries', 1, 3, { term: 1, index: 3, logTerm: 1, entries: entriesOf(4, 1) }));
    host.node.step(say('installSnapshot', 1, 3, { term: 2, snapshot: snapshot(10, 2, 1, 2, 3) }));
    const ready = host.node.ready();
    expect(ready.entries, 'stale entries are not written behind it').to.deep.equal([]);
    expect(ready.snapshot?.index).to.equal(10);
    expect(ready.hardState).to.include({ commit: 10, term: 2 });
    expect(ready.messages.map(({ type, index }) => [type, index])).to.deep.equal([
      ['appendEntriesResponse', 4],
      ['appendEntriesResponse', 10],
    ]);
    expect(host.node.campaign(), 'before it is installed').to.include({ code: 'campaign-refused' });
    host.persist(ready);
    host.node.advance();
    expect(host.node.status()).to.include({ applied: 10, lastIndex: 10, firstIndex: 11, commit: 10 });
    expect(host.node.status().configuration.voters).to.deep.equal([1, 2, 3]);
    expect(host.node.campaign()).to.equal(undefined);
  });

  it('at or below the commit index change nothing', () => {
    const host = new Host(
      { ...PLAIN, id: 1 },
      { confState: voters(1, 2), log: [1, 1, 1], term: 1, commit: 3 },
    );
    host.node.step(say('installSnapshot', 2, 1, { term: 1, snapshot: snapshot(3, 1, 1, 2) }));
    const ready = host.node.ready();
    expect(ready.snapshot).to.equal(undefined);
    expect(ready.messages.map(({ index }) => index)).to.deep.equal([3]);
  });

  it('that the log already reaches only move the commit index', () => {
    const host = new Host(
      { ...PLAIN, id: 1 },
      { confState: voters(1, 2), log: [1, 1, 1], term: 1, commit: 1 },
    );
    host.node.step(say('installSnapshot', 2, 1, { term: 1, snapshot: snapshot(3, 1, 1, 2) }));
    expect(host.node.status()).to.include({ commit: 3, lastIndex: 3, firstIndex: 1 });
  });

  it('that know nothing of this peer are refused; one that it is leaving or learning by is not', () => {
    const make = () => new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2) });
    const stranger = make();
    stranger.node.step(say('installSnapshot', 2, 1, { term: 1, snapshot: snapshot(9, 1, 2, 3) }));
    expect(stranger.node.status()).to.include({ commit: 0, lastIndex: 0 });
    for (const part of [{ learners: [1] }, { votersOutgoing: [1, 2] }]) {
      const host = make();
      const confState = { ...voters(2), ...part };
      host.node.step(say('installSnapshot', 2, 1, { term: 1, snapshot: { ...snapshot(9, 1), confState } }));
      expect(host.node.commit).to.equal(9);
    }
  });

  it('TestRestoreVoterToLearner, TestRestoreLearnerPromotion: tell a peer what it has become meanwhile', () => {
    const learning = { ...voters(2, 3), learners: [1] };
    for (const [before, after, promotable] of [
      [voters(1, 2, 3), learning, false],
      [learning, voters(1, 2, 3), true],
    ] as const) {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: before });
      expect(host.core.promotable).to.equal(!promotable);
      host.node.step(
        say('installSnapshot', 2, 1, { term: 11, snapshot: { ...snapshot(11, 11), confState: after } }),
      );
      host.settle();
      expect([host.core.promotable, host.node.applied]).to.deep.equal([promotable, 11]);
    }
  });

  it('TestLearnerReceiveSnapshot: go to learners as to voters', () => {
    const confState = { ...voters(1), learners: [2] };
    const network = Network.of(
      2,
      {},
      {
        1: { snapshot: { ...snapshot(11, 11), confState }, term: 11 },
        2: { confState },
      },
    );
    network.campaign(1);
    network.tick(2, 1);
    expect(network.host(2).node.commit).to.equal(network.host(1).node.commit);
    expect(network.host(2).storage.firstIndex, 'behind the newest applied entry').to.equal(13);
  });

  const impossible: Record<string, Snapshot | undefined> = {
    'is not there': undefined,
    'says that somebody both votes and learns': {
      ...snapshot(9, 1),
      confState: { ...voters(1, 2), learners: [2] },
    },
    'is left by learners of no outgoing half': {
      ...snapshot(9, 1),
      confState: { ...voters(1, 2), learnersNext: [3] },
    },
    'is left by itself although it is not joint': {
      ...snapshot(9, 1),
      confState: { ...voters(1, 2), autoLeave: true },
    },
  };
  for (const [what, content] of Object.entries(impossible)) {
    it(`with a membership that ${what} are refused, and change nothing`, () => {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2) });
      const refused = host.node.step(say('installSnapshot', 2, 1, { term: 3, snapshot: content }));
      expect(refused).to.be.instanceOf(RaftError).and.include({ code: 'malformed-message' });
      expect(host.node.status()).to.include({ term: 0, commit: 0, lead: 0 });
      expect(host.node.hasReady()).to.equal(false);
    });
  }

  it('bring a peer that knows no members into its group', () => {
    const host = new Host({ ...PLAIN, id: 3 }, { confState: voters() });
    for (let i = 0; i < 50; i++) host.node.tick();
    host.node.step(say('heartbeat', 1, 3, { term: 2 }));
    host.node.step(say('installSnapshot', 1, 3, { term: 2, snapshot: snapshot(7, 2, 1, 2, 3) }));
    host.settle();
    expect(host.node.status()).to.include({ term: 2, lead: 1, applied: 7 });
    expect(host.core.promotable).to.equal(true);
  });
});

describe('entries that are no longer in memory', () => {
  it('are read from disk for a follower, once, and sent when they come', () => {
    const network = Network.of(3, { maxCachedBytes: 0 });
    network.campaign(1);
    network.isolate(3);
    network.propose(1, 'a', 'b', 'c');
    const one = network.host(1);
    const { answerFetches } = one;
    const wanted: Fetch[] = [];
    one.answerFetches = () => void wanted.push(...one.node.fetches());
    network.recover();
    network.tick(1, 1);
    network.tick(1, 1);
    expect(wanted.map(({ kind, peer }) => [kind, peer])).to.deep.equal([['entries', 3]]);
    const [fetch] = wanted;
    if (fetch?.kind !== 'entries') throw new Error('nothing was wanted');
    one.answerFetches = answerFetches;
    one.node.entriesFetched(fetch, one.storage.read(fetch.low, fetch.high, fetch.maxBytes));
    network.settle();
    expect(network.host(3).data).to.deep.equal(['a', 'b', 'c']);
  });

  it('are not sent when they have been replaced meanwhile', () => {
    const host = new Host(
      { ...PLAIN, id: 1, maxCachedBytes: 0 },
      { confState: voters(1, 2, 3), log: [1, 1, 1], term: 1 },
    );
    host.node.campaign();
    host.settle();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 2 }));
    host.settle();
    host.node.step(
      say('appendEntriesResponse', 2, 1, { term: 2, index: 3, reject: true, rejectHint: 1, logTerm: 1 }),
    );
    const [fetch] = host.node.fetches();
    expect(fetch).to.include({ kind: 'entries', peer: 2, low: 2 });
    if (fetch === undefined) return;
    host.node.entriesFetched(fetch, [...entriesOf(2, 1), ...entriesOf(3, 2)]);
    const sent = host.settle().filter(({ type, entries }) => type === 'appendEntries' && entries.length > 0);
    expect(sent[0]?.entries.map(({ index, term }) => [index, term])).to.deep.equal([[2, 1]]);
  });

  it('turn into a snapshot when they are gone by the time they are read', () => {
    const network = Network.of(3, { maxCachedBytes: 0 });
    network.campaign(1);
    network.isolate(3);
    network.propose(1, 'a', 'b', 'c');
    const one = network.host(1);
    const wanted: Fetch[] = [];
    const { answerFetches } = one;
    one.answerFetches = () => void wanted.push(...one.node.fetches());
    network.recover();
    network.tick(1, 1);
    one.compact(4);
    one.answerFetches = answerFetches;
    one.node.entriesFetched(wanted[0] as Fetch, []);
    network.settle();
    network.tick(1, 1);
    expect(network.host(3).node.commit).to.equal(4);
  });

  it('are read back for applying after a restart, and nobody campaigns before', () => {
    const host = new Host(
      { ...PLAIN, id: 1, maxCachedBytes: 0, maxCommittedSizePerReady: 30 },
      { confState: voters(1) },
    );
    host.node.campaign();
    host.settle();
    host.proposeAll('a', 'b', 'c', 'd');
    host.settle();
    const before = host.data;
    host.applied.length = 0;
    host.snapshot = snapshot(0, 0, 1);
    host.node = new RawNode(host.options, { ...host.storage.initialState(0), entries: [] });
    expect(host.node.hasReady()).to.equal(false);
    expect(host.node.campaign()).to.include({ code: 'campaign-refused' });
    host.settle();
    expect(host.data).to.deep.equal(before);
    expect(host.node.campaign()).to.equal(undefined);
  });

  it('stop the peer when they are committed and cannot be read back', () => {
    const host = new Host(
      { ...PLAIN, id: 1, maxCachedBytes: 0 },
      { confState: voters(1), log: [1, 1], term: 1, commit: 2 },
    );
    const [fetch] = host.node.fetches();
    if (fetch === undefined) throw new Error('nothing is wanted');
    expect(() => host.node.entriesFetched(fetch, [])).to.throw(RaftInvariantError, 'committed entry 1');
  });

  it('can be let go by a peer that has gone quiet', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1) });
    host.node.campaign();
    host.settle();
    host.proposeAll('a');
    host.node.evictEntries(0);
    expect(host.core.log.cachedBytes, 'what is not on disk stays').to.be.greaterThan(0);
    host.settle();
    host.node.evictEntries(0);
    expect(host.core.log.cachedBytes).to.equal(0);
    expect(host.data).to.deep.equal(['a']);
  });

  it('may not be compacted to another term than the log has', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1), log: [1, 1], term: 1, commit: 2 });
    host.settle();
    expect(() => host.node.compact(1, 9)).to.throw(RaftInvariantError);
    host.compact(1);
    expect(host.node.status()).to.include({ firstIndex: 2, lastIndex: 2 });
  });

  it('may be compacted although the acknowledgement of their write was void', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3) });
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 1, 1), commit: 2 }));
    const ready = host.node.ready();
    host.persist(ready);
    host.apply(ready.committedEntries);
    host.node.step(say('heartbeat', 3, 1, { term: 2 }));
    host.node.advance();
    expect(host.core.log.offset, 'it still takes them for unwritten').to.equal(1);
    host.compact(2);
    host.settle();
    expect(host.node.status()).to.include({ firstIndex: 3, lastIndex: 2, applied: 2 });
    host.node.step(say('appendEntries', 3, 1, { term: 2, index: 2, logTerm: 1, entries: entriesOf(3, 2) }));
    host.settle();
    expect(host.storage.entries.map(({ index }) => index)).to.deep.equal([3]);
  });

  it('keep their membership changes in mind', () => {
    const host = new Host({ ...PLAIN, id: 1, maxCachedBytes: 0 }, { confState: voters(1, 2) });
    const change = { term: 1, index: 1, type: EntryType.confChangeV2, data: Uint8Array.of(18, 2, 16, 3) };
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: [change] }));
    host.settle();
    expect(host.core.log.cachedBytes).to.equal(0);
    host.node.step(say('heartbeat', 2, 1, { term: 1, commit: 1 }));
    expect(host.node.campaign()).to.include({ code: 'campaign-refused' });
  });
});

import { expect } from 'chai';
import { type Message, RaftInvariantError, type RaftOptions, RawNode } from '../../../machines/index.js';
import { bytes, entriesOf, Host, PLAIN, say, voters } from './network.js';

function started(options: Partial<RaftOptions> = {}, ...members: number[]): Host {
  return new Host({ ...PLAIN, ...options, id: 1 }, { confState: voters(...members) });
}

describe('the synchronous Ready', () => {
  it('comes out once, and not again before it is advanced', () => {
    const { node } = started({}, 1);
    expect(node.hasReady()).to.equal(false);
    node.campaign();
    expect(node.hasReady()).to.equal(true);
    const ready = node.ready();
    expect(ready).to.deep.include({
      hardState: { term: 1, vote: 1, commit: 0 },
      softState: { lead: 0, role: 'candidate' },
    });
    expect(ready.mustSync).to.equal(true);
    expect(node.hasReady()).to.equal(false);
    expect(() => node.ready()).to.throw(RaftInvariantError, 'advance');
  });

  it('holds entries to write, then the same entries to apply, and names what needs an fsync', () => {
    const host = started({}, 1);
    const seen: [number, number, boolean, number | undefined][] = [];
    host.onReady = ({ entries, committedEntries, mustSync, hardState }) =>
      seen.push([entries.length, committedEntries.length, mustSync, hardState?.commit]);
    host.node.campaign();
    host.settle();
    host.proposeAll('a', 'b');
    host.settle();
    expect(seen).to.deep.equal([
      [0, 0, true, 0],
      [1, 0, true, undefined],
      [0, 1, false, 1],
      [2, 0, true, undefined],
      [0, 2, false, 3],
    ]);
  });

  it('puts promises behind everything else that is to be sent', () => {
    const host = started({}, 1, 2, 3);
    host.node.step(say('appendEntries', 2, 1, { term: 1, entries: entriesOf(1, 1) }));
    host.node.step(say('heartbeat', 2, 1, { term: 1 }));
    expect(host.node.ready().messages.map(({ type }) => type)).to.deep.equal([
      'heartbeatResponse',
      'appendEntriesResponse',
    ]);
  });

  it('goes on after a restart where it stood, from what is on disk', () => {
    const host = started({}, 1);
    host.node.campaign();
    host.settle();
    host.proposeAll('a', 'b');
    host.settle();
    const { term, vote, commit, applied, lastIndex } = host.node.status();
    host.restart();
    expect(host.node.status()).to.include({ term, vote, commit, applied, lastIndex, role: 'follower' });
    expect(host.node.hasReady()).to.equal(false);
    host.node.campaign();
    host.settle();
    expect(host.node.status()).to.include({ role: 'leader', term: term + 1, commit: commit + 1 });
  });

  it('takes what was applied for committed, when the commit index on disk is older', () => {
    const storage = started({}, 1).storage;
    storage.append(entriesOf(1, 1, 1, 1));
    storage.hardState = { term: 1, vote: 1, commit: 1 };
    const node = new RawNode({ ...PLAIN, id: 1 }, storage.initialState(2));
    expect(node.status()).to.include({ commit: 2, applied: 2 });
    expect(() => new RawNode({ ...PLAIN, id: 1 }, storage.initialState(4))).to.throw(
      RaftInvariantError,
      'outside the log',
    );
    storage.hardState = { term: 1, vote: 1, commit: 9 };
    expect(() => new RawNode({ ...PLAIN, id: 1 }, storage.initialState(0))).to.throw(
      RaftInvariantError,
      'outside the log',
    );
  });
});

describe('the asynchronous Ready', () => {
  /** Group of three; the two others say what the spec makes them say. */
  function follower(): RawNode {
    return new RawNode(
      { ...PLAIN, id: 1, asyncStorageWrites: true },
      started({}, 1, 2, 3).storage.initialState(),
    );
  }

  function append(from: number, term: number, index: number, logTerm: number, ...terms: number[]): Message {
    return say('appendEntries', from, 1, { term, index, logTerm, entries: entriesOf(index + 1, ...terms) });
  }

  it('gives the disk its work with the answers to give when it is done, and never waits', () => {
    const node = follower();
    node.step(append(2, 1, 0, 0, 1, 1));
    const first = node.ready();
    expect(first.messages).to.deep.equal([]);
    expect(first.append?.entries.map(({ index }) => index)).to.deep.equal([1, 2]);
    expect(first.append?.hardState).to.include({ term: 1 });
    expect(first.append?.responses.map(({ type, to }) => [type, to])).to.deep.equal([
      ['appendEntriesResponse', 2],
      ['entriesPersisted', 1],
    ]);
    node.step(append(2, 1, 2, 1, 1));
    const second = node.ready();
    expect(second.append?.entries.map(({ index }) => index)).to.deep.equal([3]);
    expect(() => node.advance()).to.throw(RaftInvariantError);
  });

  it('applies only what is on this disk', () => {
    const node = follower();
    node.step(append(2, 1, 0, 0, 1, 1));
    node.step(say('heartbeat', 2, 1, { term: 1, commit: 2 }));
    const ready = node.ready();
    expect(ready.apply).to.equal(undefined);
    for (const response of ready.append?.responses ?? []) if (response.to === 1) node.step(response);
    const next = node.ready();
    expect(next.apply?.entries.map(({ index }) => index)).to.deep.equal([1, 2]);
    expect(next.append).to.equal(undefined);
    expect(node.applied).to.equal(0);
    for (const response of next.apply?.responses ?? []) node.step(response);
    expect(node.applied).to.equal(2);
  });

  it('does not take an old write for a new one that is still under way, when A, B and A again have led', () => {
    const node = follower();
    const core = node.actor.getSnapshot().context.core;
    node.step(append(2, 1, 0, 0, 1, 1));
    const first = node.ready();
    node.step(append(3, 2, 0, 0, 2, 2));
    const second = node.ready();
    // The leader of term 1 leads term 3 and sends its old entries again: same indexes, same terms, written a third time.
    node.step({ ...append(2, 3, 0, 0, 1, 1), term: 3 });
    const third = node.ready();
    const finish = (responses: readonly Message[] = []) => {
      for (const response of responses) if (response.type === 'entriesPersisted') node.step(response);
    };
    finish(first.append?.responses);
    expect(core.log.offset, 'the first write may yet be replaced by the second').to.equal(1);
    finish(second.append?.responses);
    expect(core.log.offset).to.equal(1);
    finish(third.append?.responses);
    expect(core.log.offset, 'the third is the last one').to.equal(3);
  });

  it('lets go of entries in the end although their own acknowledgement was void', () => {
    const node = follower();
    const core = node.actor.getSnapshot().context.core;
    node.step(append(2, 1, 0, 0, 1, 1));
    const first = node.ready();
    node.step(say('heartbeat', 3, 1, { term: 2 }));
    const second = node.ready();
    expect(second.append?.entries).to.deep.equal([]);
    for (const { append: work } of [first, second]) {
      for (const response of work?.responses ?? []) if (response.to === 1) node.step(response);
    }
    expect(core.log.offset).to.equal(3);
  });

  it('counts a snapshot as installed in whatever term that is reported', () => {
    const node = follower();
    const snapshot = { index: 5, term: 1, confState: voters(1, 2, 3), data: bytes('') };
    node.step(say('installSnapshot', 2, 1, { term: 1, snapshot }));
    const ready = node.ready();
    node.step(say('heartbeat', 3, 1, { term: 2 }));
    for (const response of ready.append?.responses ?? []) if (response.to === 1) node.step(response);
    expect(node.status()).to.include({ term: 2, applied: 5, firstIndex: 6 });
  });

  it('installs a second snapshot that comes before the first is on disk', () => {
    const node = follower();
    const take = (index: number) => {
      const snapshot = { index, term: 1, confState: voters(1, 2, 3), data: bytes('') };
      node.step(say('installSnapshot', 2, 1, { term: 1, snapshot }));
      return node.ready().append;
    };
    const [first, second] = [take(5), take(9)];
    expect([first?.snapshot?.index, second?.snapshot?.index]).to.deep.equal([5, 9]);
    const finish = (responses: readonly Message[] = []) => {
      for (const response of responses) if (response.to === 1) node.step(response);
    };
    finish(first?.responses);
    expect([node.applied, node.campaign()?.code], 'the second is still to come').to.deep.equal([
      5,
      'campaign-refused',
    ]);
    finish(second?.responses);
    expect(node.status()).to.include({ applied: 9, commit: 9, firstIndex: 10 });
    expect(node.campaign()).to.equal(undefined);
  });

  it('lets a leader send its appends before its own write, and count itself only after it', () => {
    const node = new RawNode(
      { ...PLAIN, id: 1, asyncStorageWrites: true },
      started({}, 1).storage.initialState(),
    );
    node.campaign();
    const take = () => {
      const ready = node.ready();
      for (const response of ready.append?.responses ?? []) node.step(response);
      for (const response of ready.apply?.responses ?? []) node.step(response);
      return ready;
    };
    take();
    expect(node.role).to.equal('leader');
    expect(node.commit).to.equal(0);
    take();
    expect(node.commit).to.equal(1);
  });
});

describe('a raw node', () => {
  it('takes acknowledgements from its own host only', () => {
    const { node } = started({}, 1, 2);
    expect(node.step(say('entriesPersisted', 2, 1))).to.include({ code: 'local-message' });
    expect(node.step(say('entriesApplied', 2, 1))).to.include({ code: 'local-message' });
  });

  it('stops for good when an invariant breaks, and says so at every call', () => {
    const { node } = started({}, 1, 2);
    const beyond = say('heartbeat', 2, 1, { term: 1, commit: 7 });
    expect(() => node.step(beyond)).to.throw(RaftInvariantError, 'commit index 7');
    expect(() => node.tick()).to.throw(RaftInvariantError, 'commit index 7');
    expect(node.actor.getSnapshot().status).to.equal('error');
  });

  it('refuses settings that contradict each other', () => {
    const initial = started({}, 1).storage.initialState();
    for (const wrong of [
      { id: 0 },
      { heartbeatTick: 0 },
      { electionTick: 1 },
      { maxInflightMsgs: 0 },
      { maxPendingReads: 0 },
      { maxInflightBytes: 5, maxSizePerMsg: 6 },
    ]) {
      expect(() => new RawNode({ ...PLAIN, id: 1, ...wrong }, initial), JSON.stringify(wrong)).to.throw(
        RaftInvariantError,
      );
    }
  });

  it('bounds what a partitioned leader keeps unwritten and unapplied', () => {
    const host = started({ maxUncommittedEntriesSize: 1_000 }, 1, 2);
    host.node.campaign();
    host.settle();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
    host.settle();
    let accepted = 0;
    for (let i = 0; i < 1_000; i++) if (host.node.propose(new Uint8Array(50)).ok) accepted++;
    expect(accepted).to.equal(20);
  });

  it('shows the same status to everyone who asks, and changes with none of it', () => {
    const host = started({}, 1, 2);
    const before = host.node.status();
    host.node.campaign();
    expect(before).to.include({ role: 'follower', term: 0 });
    expect(host.node.status()).to.include({ role: 'candidate', term: 1, vote: 1 });
  });
});

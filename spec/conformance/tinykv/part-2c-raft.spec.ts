import { expect } from 'chai';
import { RawNode, type Ready, type Snapshot } from '../../../machines/raft/index.js';
import { MemoryStorage } from '../../machines/raft/memory-storage.js';
import { bytes, entriesOf, Network, PLAIN, say, voters } from '../../machines/raft/network.js';
import { Peer } from './peer.js';

function snapshotAt(index: number, term: number, ...members: number[]): Snapshot {
  return { index, term, confState: voters(...members), data: bytes('state') };
}

describe('TinyKV part 2C, raft', () => {
  it('TestRestoreSnapshot2C', () => {
    const peer = new Peer({ members: [1, 2] });
    const [answer] = peer.step(
      say('installSnapshot', 2, 1, { term: 11, snapshot: snapshotAt(11, 11, 1, 2, 3) }),
    );
    expect(answer).to.include({ type: 'appendEntriesResponse', to: 2, index: 11, reject: false });
    expect(peer.node).to.include({ lastIndex: 11, commit: 11, applied: 11 });
    expect(peer.node.termAt(11)).to.equal(11);
    expect(peer.node.status().configuration.voters).to.deep.equal([1, 2, 3]);
    expect(peer.storage.initialState().truncated).to.deep.equal({ index: 11, term: 11 });
  });

  it('TestRestoreIgnoreSnapshot2C', () => {
    const peer = new Peer({ members: [1, 2], log: [1, 1, 1], term: 1, commit: 3 });
    const sent = peer.step(say('installSnapshot', 2, 1, { term: 1, snapshot: snapshotAt(1, 1, 1, 2) }));
    expect(sent).to.deep.equal([say('appendEntriesResponse', 1, 2, { term: 1, index: 3 })]);
    expect(peer.node).to.include({ commit: 3, lastIndex: 3 });
    expect(peer.storage.firstIndex).to.equal(1);
  });

  it("TestProvideSnap2C (etcd's rule: only to a follower that has answered of late)", () => {
    for (const active of [true, false]) {
      const leader = new Peer({ snapshot: snapshotAt(11, 11, 1, 2), term: 11 });
      leader.campaign();
      leader.step(say('requestVoteResponse', 2, 1, { term: 12 }));
      const follower = leader.core.progress.get(2);
      if (follower === undefined) throw new Error('peer 2 is not followed');
      follower.next = 10;
      follower.flowPaused = false;
      follower.recentActive = active;
      const sent = leader.propose('somedata');
      expect(sent.map(({ type, to }) => [type, to])).to.deep.equal(active ? [['installSnapshot', 2]] : []);
    }
  });

  it('TestRestoreFromSnapMsg2C', () => {
    const peer = new Peer({ id: 2, members: [1, 2] });
    peer.step(say('installSnapshot', 1, 2, { term: 2, snapshot: snapshotAt(11, 2, 1, 2) }));
    expect(peer.node).to.include({ lead: 1, term: 2, commit: 11 });
  });

  it('TestRestoreFromSnapWithOverlapingPeersMsg2C', () => {
    const peer = new Peer({ id: 3, members: [1, 2, 3] });
    peer.step(say('installSnapshot', 1, 3, { term: 2, snapshot: snapshotAt(11, 2, 2, 3, 4) }));
    expect(peer.node).to.include({ lead: 1, commit: 11 });
    expect(peer.node.status().configuration.voters).to.deep.equal([2, 3, 4]);
    expect([...peer.core.progress.keys()]).to.deep.equal([2, 3, 4]);
  });

  it('TestSlowNodeRestore2C', () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    for (let i = 0; i <= 100; i++) network.propose(1, `${i}`);
    for (const id of [1, 2]) network.host(id).compact(network.host(id).node.applied);
    network.recover();

    network.tick(1, 1);
    network.propose(1, 'trigger a snapshot');
    network.propose(1, 'trigger a commit');
    const [leader, follower] = [network.host(1), network.host(3)];
    expect(follower.storage.firstIndex, 'it came as a snapshot').to.equal(103);
    expect(follower.node.commit).to.equal(leader.node.commit).and.to.equal(104);
    expect(follower.data).to.deep.equal(['trigger a snapshot', 'trigger a commit']);
  });

  it('TestRawNodeRestartFromSnapshot2C', () => {
    const storage = new MemoryStorage(snapshotAt(2, 1, 1, 2));
    storage.append(entriesOf(3, 1));
    storage.hardState = { term: 1, vote: 0, commit: 3 };
    const node = new RawNode({ ...PLAIN, id: 1 }, storage.initialState(2));
    const expected: Ready = {
      softState: undefined,
      hardState: undefined,
      readStates: [],
      entries: [],
      snapshot: undefined,
      committedEntries: entriesOf(3, 1),
      messages: [],
      mustSync: false,
      append: undefined,
      apply: undefined,
    };
    expect(node.ready()).to.deep.equal(expected);
    node.advance();
    expect(node.hasReady()).to.equal(false);
  });
});

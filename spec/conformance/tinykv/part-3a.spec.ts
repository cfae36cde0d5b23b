import { expect } from 'chai';
import {
  type ConfChange,
  EntryType,
  encodeConfChangeV1,
  type MemberChange,
  RaftInvariantError,
} from '../../../machines/raft/index.js';
import { bytes, Network, say } from '../../machines/raft/network.js';
import { elect, Peer, settledLeader } from './peer.js';

function change(kind: MemberChange['kind'], id: number): ConfChange {
  return { transition: 'auto', changes: [{ kind, id }], context: bytes('') };
}

function votersOf(peer: Peer): readonly number[] {
  return peer.node.status().configuration.voters;
}

/** Three peers that 1 leads. */
function led(): Network {
  const network = Network.of(3);
  network.campaign(1);
  return network;
}

function transfer(network: Network, asked: number, to: number): void {
  network.host(asked).node.transferLeader(to);
  network.settle();
}

function expectLeader(network: Network, id: number): void {
  const roles = [...network.hosts].map(([each, { node }]) => [each, node.role, node.lead]);
  const expected = [1, 2, 3].map((each) => [each, each === id ? 'leader' : 'follower', id]);
  expect(roles).to.deep.equal(expected);
}

/** Of a group of three that 1 leads, 3 misses a proposal and stays cut off. */
function withLaggard(): Network {
  const network = led();
  network.isolate(3);
  network.propose(1, 'missed');
  return network;
}

describe('TinyKV part 3A', () => {
  describe('membership', () => {
    it('TestAddNode3A', () => {
      const peer = new Peer({ members: [1] });
      peer.node.applyConfChange(change('addVoter', 2));
      expect(votersOf(peer)).to.deep.equal([1, 2]);
    });

    it("TestRemoveNode3A (etcd's rule: the last voter cannot be removed)", () => {
      const peer = new Peer({ members: [1, 2] });
      peer.node.applyConfChange(change('removeNode', 2));
      expect(votersOf(peer)).to.deep.equal([1]);
      expect(() => peer.node.applyConfChange(change('removeNode', 1))).to.throw(RaftInvariantError);
      const removed = new Peer({ members: [1, 2] });
      removed.node.applyConfChange(change('removeNode', 1));
      expect(votersOf(removed)).to.deep.equal([2]);
      for (let i = 0; i < 50; i++) expect(removed.tick()).to.deep.equal([]);
    });

    it('TestCommitAfterRemoveNode3A', () => {
      const leader = new Peer({ members: [1, 2] });
      elect(leader);
      const { ok } = leader.node.proposeConfChange(change('removeNode', 2), 'v1');
      expect(ok).to.equal(true);
      leader.settle();
      leader.propose('hello');
      expect(leader.applied).to.deep.equal([]);
      // Peer 2 acknowledges its removal: then peer 1 alone is a majority, and has the rest on its disk.
      leader.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 2 }));
      expect(leader.applied.map(({ type, data }) => [type, new TextDecoder().decode(data)])).to.deep.equal([
        [EntryType.normal, ''],
        [
          EntryType.confChange,
          new TextDecoder().decode(encodeConfChangeV1({ kind: 'removeNode', id: 2 }, bytes(''))),
        ],
        [EntryType.normal, 'hello'],
      ]);
    });
  });

  describe('leader transfer', () => {
    it('TestLeaderTransferToUpToDateNode3A', () => {
      const network = led();
      transfer(network, 1, 2);
      expectLeader(network, 2);
      network.propose(1, 'handed on');
      transfer(network, 2, 1);
      expectLeader(network, 1);
    });

    it('TestLeaderTransferToUpToDateNodeFromFollower3A', () => {
      const network = led();
      transfer(network, 2, 2);
      expectLeader(network, 2);
      network.propose(1, 'handed on');
      transfer(network, 1, 1);
      expectLeader(network, 1);
    });

    it('TestLeaderTransferToSlowFollower3A', () => {
      const network = withLaggard();
      network.recover();
      expect(network.host(1).core.progress.get(3)?.match).to.equal(1);
      transfer(network, 1, 3);
      // What is under way to it counts as sent: the answer to a heartbeat sends the rest again.
      network.tick(1, 1);
      expectLeader(network, 3);
      expect(network.host(3).data).to.deep.equal(['missed']);
    });

    it('TestLeaderTransferAfterSnapshot3A', () => {
      const network = withLaggard();
      network.host(1).compact(network.host(1).node.applied);
      network.recover();
      expect(network.host(1).core.progress.get(3)?.match).to.equal(1);
      transfer(network, 1, 3);
      network.host(1).node.step(say('heartbeatResponse', 3, 1, { term: 1 }));
      network.settle();
      expectLeader(network, 3);
      expect(network.host(3).storage.firstIndex, 'it came as a snapshot').to.equal(3);
    });

    it('TestLeaderTransferToSelf3A', () => {
      const network = led();
      transfer(network, 1, 1);
      expectLeader(network, 1);
    });

    it('TestLeaderTransferToNonExistingNode3A', () => {
      const network = led();
      transfer(network, 1, 4);
      expectLeader(network, 1);
    });

    it('TestLeaderTransferReceiveHigherTermVote3A', () => {
      const network = withLaggard();
      transfer(network, 1, 3);
      expect(network.host(1).node.status().transferee).to.equal(3);
      network.campaign(2);
      expect(network.host(2).node).to.include({ role: 'leader', term: 2 });
      expect(network.host(1).node.status()).to.include({ role: 'follower', lead: 2, transferee: 0 });
    });

    it('TestLeaderTransferRemoveNode3A', () => {
      const network = led();
      network.ignore('timeoutNow');
      transfer(network, 1, 3);
      expect(network.host(1).node.status().transferee).to.equal(3);
      network.host(1).node.applyConfChange(change('removeNode', 3));
      expect(network.host(1).node.status()).to.include({ role: 'leader', transferee: 0 });
    });

    it('TestLeaderTransferBack3A', () => {
      const network = withLaggard();
      transfer(network, 1, 3);
      expect(network.host(1).node.status().transferee).to.equal(3);
      transfer(network, 1, 1);
      expect(network.host(1).node.status()).to.include({ role: 'leader', term: 1, transferee: 0 });
      expect(network.host(1).node.propose(bytes('goes on')).ok).to.equal(true);
    });

    it('TestLeaderTransferSecondTransferToAnotherNode3A', () => {
      const network = withLaggard();
      transfer(network, 1, 3);
      expect(network.host(1).node.status().transferee).to.equal(3);
      transfer(network, 1, 2);
      expect(network.host(2).node).to.include({ role: 'leader', lead: 2 });
      expect(network.host(1).node).to.include({ role: 'follower', lead: 2 });
    });

    it('TestTransferNonMember3A', () => {
      const peer = new Peer({ members: [2, 3, 4] });
      peer.node.step(say('timeoutNow', 2, 1));
      peer.node.step(say('requestVoteResponse', 2, 1));
      peer.node.step(say('requestVoteResponse', 3, 1));
      expect(peer.settle()).to.deep.equal([]);
      expect(peer.node).to.include({ role: 'follower', term: 0 });
    });
  });

  describe('raw node', () => {
    it('TestRawNodeProposeAndConfChange3A', () => {
      const peer = new Peer({ members: [1] });
      expect(peer.node.hasReady()).to.equal(false);
      peer.campaign();
      expect(peer.node.lead).to.equal(1);
      expect(peer.node.propose(bytes('somedata')).ok).to.equal(true);
      expect(peer.node.proposeConfChange(change('addVoter', 2), 'v1').ok).to.equal(true);
      const data = encodeConfChangeV1({ kind: 'addVoter', id: 2 }, bytes(''));
      expect(peer.node.ready().entries).to.deep.equal([
        { term: 1, index: 2, type: EntryType.normal, data: bytes('somedata') },
        { term: 1, index: 3, type: EntryType.confChange, data },
      ]);
    });

    it('TestRawNodeProposeAddDuplicateNode3A', () => {
      const peer = settledLeader({ members: [1] });
      for (const id of [1, 1, 2]) {
        expect(peer.node.proposeConfChange(change('addVoter', id), 'v1').ok).to.equal(true);
        peer.settle();
      }
      const logged = peer.storage.entries.slice(1).map(({ type, data }) => [type, data]);
      const encoded = (id: number) => encodeConfChangeV1({ kind: 'addVoter', id }, bytes(''));
      expect(logged).to.deep.equal([1, 1, 2].map((id) => [EntryType.confChange, encoded(id)]));
      expect(votersOf(peer)).to.deep.equal([1, 2]);
    });
  });
});

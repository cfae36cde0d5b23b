import { expect } from 'chai';
import { RaftError } from '../../../machines/index.js';
import { bytes, Host, Network, PLAIN, say, voters } from './network.js';

function led(count = 3, options = {}): Network {
  const network = Network.of(count, options);
  network.campaign(1);
  return network;
}

/** A leader whose third member is behind, so that a transfer to it takes a while. */
function slow(options = {}): Network {
  const network = led(3, options);
  network.isolate(3);
  network.propose(1, 'a');
  return network;
}

describe('leader transfer (thesis 3.10)', () => {
  it('to a member that is up to date is immediate, whoever asks for it', () => {
    for (const asked of [1, 2]) {
      for (const options of [{}, { preVote: true, checkQuorum: true }]) {
        const network = led(3, options);
        network.host(asked).node.transferLeader(2);
        network.settle();
        expect(network.host(2).node.status()).to.include({ role: 'leader', term: 2 });
        expect(network.host(1).node.status()).to.include({ role: 'follower', lead: 2 });
      }
    }
  });

  it('brings a slow member up to date first and takes no proposals meanwhile', () => {
    const network = slow();
    const one = network.host(1);
    one.node.transferLeader(3);
    expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.transferring', 3]);
    expect(one.node.propose(bytes('x'))).to.have.nested.include({ 'error.code': 'proposal-dropped' });
    network.recover();
    network.tick(1, 1);
    network.settle();
    expect(network.host(3).node.role).to.equal('leader');
    expect(network.host(3).data).to.deep.equal(['a']);
  });

  it('works after a snapshot', () => {
    const network = slow();
    for (const id of [1, 2]) network.host(id).compact(2);
    network.recover();
    network.host(1).node.transferLeader(3);
    network.settle();
    network.tick(2, 1);
    expect(network.host(3).node.role).to.equal('leader');
  });

  it('is given up after one election timeout, and proposals are taken again', () => {
    for (const checkQuorum of [false, true]) {
      const network = slow({ checkQuorum });
      const one = network.host(1);
      one.node.transferLeader(3);
      network.tick(10, 1);
      expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.serving', 0]);
      expect(one.node.propose(bytes('x')).ok).to.equal(true);
    }
  });

  const refusals = { 1: 'peer 1 leads already', 3: 'peer 3 is a learner', 9: 'peer 9 is no member' };
  for (const [target, says] of Object.entries(refusals)) {
    it(`is refused with an error where ${says}, and nothing changes`, () => {
      const confState = { ...voters(1, 2), learners: [3] };
      const network = new Network([1, 2, 3].map((id) => new Host({ ...PLAIN, id }, { confState })));
      network.campaign(1);
      const one = network.host(1);
      const refused = one.node.transferLeader(Number(target));
      expect(refused).to.be.instanceOf(RaftError).and.include({ code: 'transfer-refused' });
      expect(refused?.message).to.contain(says).and.contain('voters 1, 2');
      network.settle();
      expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.serving', 0]);
      expect(one.node.propose(bytes('x')).ok).to.equal(true);
      // A follower cannot know, and hands the question on.
      expect(network.host(2).node.transferLeader(Number(target))).to.equal(undefined);
      network.settle();
      expect(one.state).to.equal('leader.serving');
    });
  }

  it('to one who may not lead does not end one that is under way', () => {
    const network = slow();
    const one = network.host(1);
    expect(one.node.transferLeader(3)).to.equal(undefined);
    expect(one.node.transferLeader(9)).to.include({ code: 'transfer-refused' });
    expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.transferring', 3]);
  });

  it('is dropped, and says so, where no leader is known', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3) });
    expect(host.node.transferLeader(2)).to.include({ code: 'transfer-dropped' });
    host.node.campaign();
    expect([host.node.role, host.node.transferLeader(2)?.code]).to.deep.equal([
      'candidate',
      'transfer-dropped',
    ]);
  });

  it('again to the same member does not gain time; to another starts anew; to the leader itself ends it', () => {
    const network = slow();
    const one = network.host(1);
    one.node.transferLeader(3);
    network.tick(6, 1);
    one.node.transferLeader(3);
    network.tick(4, 1);
    expect(one.state).to.equal('leader.serving');
    one.node.transferLeader(3);
    one.node.transferLeader(1);
    expect([one.state, one.node.status().transferee]).to.deep.equal(['leader.serving', 0]);
    one.node.transferLeader(3);
    one.node.transferLeader(2);
    network.settle();
    expect(network.host(2).node.role).to.equal('leader');
  });

  it('ends with a higher term, and with the target’s membership', () => {
    const network = slow();
    const one = network.host(1);
    one.node.transferLeader(3);
    one.node.step(say('requestVote', 2, 1, { term: 5, index: 9, logTerm: 5 }));
    expect(one.node.status()).to.include({ role: 'follower', term: 5, transferee: 0 });

    for (const kind of ['removeNode', 'addLearner'] as const) {
      const other = slow();
      other.host(1).node.transferLeader(3);
      other
        .host(1)
        .node.applyConfChange({ transition: 'auto', changes: [{ kind, id: 3 }], context: bytes('') });
      expect(other.host(1).state).to.equal('leader.serving');
      expect(other.host(1).node.propose(bytes('x')).ok).to.equal(true);
    }
  });

  it('to one that is no longer a member does nothing there', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(2, 3, 4) });
    host.node.step(say('timeoutNow', 2, 1));
    expect(host.node.role).to.equal('follower');
  });

  it('marks its vote requests, so that a lease does not stand in its way', () => {
    const network = led(3, { checkQuorum: true, preVote: true });
    const contexts: string[] = [];
    network.hook = ({ type, context }) => {
      if (type === 'requestVote' || type === 'requestPreVote')
        contexts.push(`${type} ${new TextDecoder().decode(context)}`);
      return true;
    };
    network.host(1).node.transferLeader(3);
    network.settle();
    expect(contexts).to.deep.equal(['requestVote CampaignTransfer', 'requestVote CampaignTransfer']);
    expect(network.host(3).node.role).to.equal('leader');
  });

  it('keeps a joint membership until the transfer is over', () => {
    const network = slow();
    const one = network.host(1);
    one.node.transferLeader(3);
    one.node.applyConfChange({
      transition: 'implicit',
      changes: [{ kind: 'addLearner', id: 9 }],
      context: bytes(''),
    });
    const last = one.node.lastIndex;
    one.core.pendingConfIndex = 0;
    one.node.step(say('entriesApplied', 1, 1, { index: one.node.applied }));
    expect(one.node.lastIndex).to.equal(last);
    network.tick(10, 1);
    one.node.step(say('entriesApplied', 1, 1, { index: one.node.applied }));
    expect(one.node.lastIndex).to.equal(last + 1);
  });
});

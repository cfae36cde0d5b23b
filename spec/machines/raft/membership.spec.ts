import { expect } from 'chai';
import {
  type ConfChange,
  type ConfState,
  DEFAULT_RAFT_CONFIG,
  EntryType,
  RaftError,
  RaftInvariantError,
} from '../../../machines/index.js';
import { bytes, Host, Network, PLAIN, type Start, say, voters } from './network.js';

function change(text: string, transition: ConfChange['transition'] = 'auto'): ConfChange {
  const kinds = { v: 'addVoter', l: 'addLearner', r: 'removeNode', u: 'update' } as const;
  const changes = text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => ({ kind: kinds[word[0] as keyof typeof kinds], id: Number(word.slice(1)) }));
  return { transition, changes, context: bytes('') };
}

/** A single voter that leads and has committed its first entry. */
function alone(confState: ConfState = voters(1)): Host {
  const host = new Host({ ...PLAIN, id: 1 }, { confState });
  host.node.campaign();
  host.settle();
  return host;
}

/** Peers 1 to `members` vote, from a snapshot on; those up to `total` exist and know nothing yet. */
function group(members: number, total: number, options = {}): Network {
  const confState = voters(...Array.from({ length: members }, (_, i) => i + 1));
  const snapshot = { index: 5, term: 5, confState, data: bytes('') };
  const starts: Record<number, Start> = {};
  for (let id = 1; id <= members; id++) starts[id] = { snapshot, term: 5 };
  for (let id = members + 1; id <= total; id++) starts[id] = { confState: voters() };
  return Network.of(total, options, starts);
}

describe('membership changes', () => {
  it('take effect when they are applied, and bring the new member up to date', () => {
    const network = group(1, 2);
    network.campaign(1);
    network.propose(1, 'before');
    expect(network.host(1).node.proposeConfChange(change('v2'))).to.include({ ok: true });
    expect(network.host(1).node.status().configuration.voters, 'not when they are proposed').to.deep.equal([
      1,
    ]);
    network.settle();
    network.propose(1, 'after');
    expect(network.host(2).node.status().configuration.voters).to.deep.equal([1, 2]);
    expect(network.host(2).data, 'the rest came as a snapshot').to.deep.equal(['after']);
  });

  it('come one at a time: a second one becomes an empty entry, and its proposer is told', () => {
    const host = alone();
    expect(host.node.proposeConfChange(change('l2')).ok).to.equal(true);
    const refused = host.node.proposeConfChange(change('l3'));
    expect(refused).to.have.nested.include({ ok: false, 'error.code': 'conf-change-pending' });
    host.settle();
    expect(host.applied.map(({ type }) => type)).to.deep.equal([
      EntryType.normal,
      EntryType.confChangeV2,
      EntryType.normal,
    ]);
    expect(host.node.status().configuration).to.deep.include({ voters: [1], learners: [2] });
  });

  it('of others in a refused batch keep their places', () => {
    const host = alone();
    host.node.proposeConfChange(change('l2'));
    const entries = ['a', 'b'].map((text) => ({
      term: 0,
      index: 0,
      type: EntryType.normal,
      data: bytes(text),
    }));
    const second = {
      term: 0,
      index: 0,
      type: EntryType.confChangeV2,
      data: Uint8Array.of(18, 4, 8, 2, 16, 3),
    };
    host.node.step(say('propose', 2, 1, { entries: [entries[0] as never, second, entries[1] as never] }));
    host.settle();
    expect(host.data).to.deep.equal(['a', 'b']);
    expect(host.applied.map(({ index }) => index)).to.deep.equal([1, 2, 3, 4, 5]);
  });

  it('wait for a new leader’s log to be applied', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1), log: [1, 1], term: 1 });
    host.node.campaign();
    const ready = host.node.ready();
    host.persist(ready);
    host.node.advance();
    expect([host.node.role, host.node.proposeConfChange(change('v2')).ok]).to.deep.equal(['leader', false]);
  });

  it('that do not decode are refused, and their sender cannot stop the leader', () => {
    const host = alone();
    const garbage = { term: 0, index: 0, type: EntryType.confChangeV2, data: Uint8Array.of(255, 255) };
    expect(host.node.step(say('propose', 2, 1, { entries: [garbage] }))).to.include({
      code: 'conf-change-malformed',
    });
    expect(host.node.propose(bytes('fine')).ok).to.equal(true);
  });

  const refusals = {
    'r1 r2 r3': { code: 'conf-change-no-voter', says: 'removed all voters' },
    'l1 r2 r3': { code: 'conf-change-no-voter', says: 'removed all voters' },
    r9: { code: 'conf-change-unknown-peer', says: 'peer 9 is no member' },
    'v4 r9': { code: 'conf-change-unknown-peer', says: 'peer 9 is no member' },
    u9: { code: 'conf-change-unknown-peer', says: 'peer 9 is no member' },
    'v4 l4': { code: 'conf-change-duplicate-peer', says: 'names peer 4 twice' },
    'v9 v9': { code: 'conf-change-duplicate-peer', says: 'names peer 9 twice' },
    'r2 r2': { code: 'conf-change-duplicate-peer', says: 'names peer 2 twice' },
    '': { code: 'conf-change-not-joint', says: 'no joint membership to leave' },
  };
  for (const [steps, { code, says }] of Object.entries(refusals)) {
    it(`refuses "${steps}" with ${code}, which changes nothing and loses nothing`, () => {
      const network = group(3, 3);
      network.campaign(1);
      const { node } = network.host(1);
      const { configuration } = node.status();
      node.propose(bytes('before'));
      const refused = node.proposeConfChange(change(steps));
      if (refused.ok) throw new Error('it was accepted');
      expect(refused.error).to.be.instanceOf(RaftError).and.include({ code });
      expect(refused.error.message).to.contain(says);
      node.propose(bytes('after'));
      network.settle();
      for (const host of network.hosts.values()) {
        expect(host.node.status().configuration).to.deep.equal(configuration);
        expect(host.data).to.deep.equal(['before', 'after']);
        expect(host.confStates, 'nothing was applied').to.deep.equal([]);
      }
      expect(node.proposeConfChange(change('l9')).ok, 'the next one is taken').to.equal(true);
    });
  }

  it('that leave everything as it is are harmless: who votes already may be added', () => {
    const host = alone();
    for (const steps of ['v1', 'u1', 'l2', 'l2']) {
      expect(host.node.proposeConfChange(change(steps)).ok, steps).to.equal(true);
      host.settle();
    }
    expect(host.node.status().configuration).to.deep.include({ voters: [1], learners: [2] });
  });

  it('that a full leader drops do not stand in the way of the next', () => {
    const host = new Host({ ...PLAIN, id: 1, maxUncommittedEntriesSize: 10 }, { confState: voters(1, 2) });
    host.node.campaign();
    host.settle();
    host.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
    host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1 }));
    host.settle();
    host.node.propose(new Uint8Array(10));
    expect(host.node.proposeConfChange(change('l3'))).to.have.nested.include({
      'error.code': 'proposal-dropped',
    });
    host.settle();
    host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 2 }));
    host.settle();
    expect(host.node.proposeConfChange(change('l3')).ok).to.equal(true);
  });

  it('that cannot follow stop the peer that applies them', () => {
    const host = alone();
    expect(() => host.node.applyConfChange(change('r1'))).to.throw(RaftInvariantError, 'removed all voters');
  });

  it('may be validated by the host instead', () => {
    const host = new Host({ ...PLAIN, id: 1, disableConfChangeValidation: true }, { confState: voters(1) });
    host.node.campaign();
    host.settle();
    expect(host.node.proposeConfChange(change('l2')).ok).to.equal(true);
    expect(host.node.proposeConfChange(change('l3')).ok).to.equal(true);
    host.settle();
    expect(host.node.status().configuration.learners).to.deep.equal([2, 3]);
  });

  it('in a joint configuration must leave it first, and leave nothing that is not joint', () => {
    const host = alone();
    expect(host.node.proposeConfChange(change('')).ok).to.equal(false);
    host.settle();
    host.node.proposeConfChange(change('l2', 'explicit'));
    host.settle();
    expect(host.node.status().configuration.outgoing).to.deep.equal([1]);
    expect(host.node.proposeConfChange(change('l3'))).to.have.nested.include({
      'error.code': 'conf-change-joint',
    });
    host.settle();
    expect(host.node.proposeConfChange(change('')).ok).to.equal(true);
    host.settle();
    expect(host.node.status().configuration).to.deep.include({ voters: [1], outgoing: [], learners: [2] });
  });

  it('leave a joint configuration by themselves, once, whoever leads by then', () => {
    const network = group(3, 4);
    network.campaign(1);
    const leave = () =>
      network
        .host(2)
        .applied.filter(({ type, data }) => type === EntryType.confChangeV2 && data.length === 0);
    network.host(1).node.proposeConfChange(change('v4 r3'));
    network.settle();
    expect(leave()).to.have.length(1);
    for (const id of [1, 2, 4]) {
      expect(network.host(id).node.status().configuration).to.deep.include({
        voters: [1, 2, 4],
        outgoing: [],
        autoLeave: false,
      });
    }
  });

  it('are left by the next leader when the first is lost in between', () => {
    const network = group(3, 4);
    network.campaign(1);
    network.hook = ({ from, entries }) =>
      !(from === 1 && entries.some(({ type, data }) => type === EntryType.confChangeV2 && data.length === 0));
    network.host(1).node.proposeConfChange(change('v4 r3'));
    network.settle();
    expect(network.host(2).node.status().configuration.autoLeave).to.equal(true);
    network.hook = undefined;
    network.isolate(1);
    network.campaign(2);
    expect(network.host(2).node.status()).to.have.nested.include({
      role: 'leader',
      'configuration.autoLeave': false,
    });
  });

  it('that shrink the quorum commit what was waiting for it', () => {
    const network = group(2, 2);
    network.campaign(1);
    network.host(1).node.proposeConfChange(change('r2'));
    network.host(1).settle();
    network.host(1).proposeAll('waiting');
    network.host(1).settle();
    expect(network.host(1).data).to.deep.equal([]);
    network.host(1).node.step(say('appendEntriesResponse', 2, 1, { term: 6, index: 7 }));
    network.host(1).settle();
    expect(network.host(1).data).to.deep.equal(['waiting']);
  });

  // Seed 43: nobody was left to answer, and every later read waited behind these.
  it('that shrink the quorum to those who have confirmed a read answer it', () => {
    const network = group(2, 2);
    network.campaign(1);
    network.host(1).node.proposeConfChange(change('r2'));
    network.host(1).node.readIndex(bytes('waiting'));
    network.host(1).settle();
    expect(network.host(1).readStates).to.deep.equal([]);
    network.host(1).node.step(say('appendEntriesResponse', 2, 1, { term: 6, index: 7 }));
    network.host(1).settle();
    expect(network.host(1).readStates).to.have.length(1);
  });

  it('give a new member time to answer before it counts as missing', () => {
    const network = group(1, 2, { checkQuorum: true });
    network.campaign(1);
    network.isolate(2);
    for (let i = 0; i < 9; i++) network.tick(1, 1);
    network.host(1).node.proposeConfChange(change('v2'));
    network.settle();
    network.tick(1, 1);
    expect(network.host(1).node.role).to.equal('leader');
    network.tick(20, 1);
    expect(network.host(1).node.role).to.equal('follower');
  });

  it('make learners that follow and do not count, and voters of them', () => {
    const network = group(1, 2);
    network.campaign(1);
    network.host(1).node.proposeConfChange(change('l2'));
    network.settle();
    network.isolate(2);
    network.propose(1, 'without it');
    expect(network.host(1).data).to.deep.equal(['without it']);
    network.recover();
    network.tick(2, 1);
    expect(network.host(2).data).to.deep.equal(['without it']);
    network.tick(60, 2);
    expect(network.host(2).node.role, 'a learner never campaigns').to.equal('follower');
    network.host(1).node.proposeConfChange(change('v2'));
    network.settle();
    network.campaign(2);
    expect(network.host(2).node.role).to.equal('leader');
  });

  it('let a learner vote when it is asked: it may be a voter by now', () => {
    const host = new Host(
      { ...PLAIN, id: 1 },
      { confState: { ...voters(2, 3), learners: [1] }, log: [1], term: 1 },
    );
    host.node.step(say('requestVote', 2, 1, { term: 2, index: 1, logTerm: 1 }));
    expect(host.settle().map(({ reject }) => reject)).to.deep.equal([false]);
  });

  it('refuse answers of those who are not members', () => {
    const host = alone();
    for (const type of ['appendEntriesResponse', 'heartbeatResponse', 'requestVoteResponse'] as const) {
      expect(host.node.step(say(type, 9, 1, { term: 1 }))).to.include({ code: 'peer-not-found' });
    }
  });
});

describe('a leader that is removed', () => {
  it('steps down where nothing else is said', () => {
    expect(DEFAULT_RAFT_CONFIG.stepDownOnRemoval).to.equal(true);
  });

  for (const stepDownOnRemoval of [false, true]) {
    it(stepDownOnRemoval ? 'steps down when it applies that' : 'goes on, without a vote of its own', () => {
      const network = group(3, 3, { stepDownOnRemoval });
      network.campaign(1);
      network.host(1).node.proposeConfChange(change('r1'));
      network.settle();
      const removed = network.host(1);
      expect(removed.node.role).to.equal(stepDownOnRemoval ? 'follower' : 'leader');
      expect(removed.node.propose(bytes('x')).ok).to.equal(false);
      expect(network.host(2).node.status().configuration.voters).to.deep.equal([2, 3]);
      network.campaign(2);
      network.propose(2, 'on');
      expect(network.host(3).data).to.deep.equal(['on']);
      // Nobody speaks to it any more: without stepping down it would believe for ever that it leads.
      expect(removed.node.role).to.equal(stepDownOnRemoval ? 'follower' : 'leader');
    });
  }
});

import { expect } from 'chai';
import type { Message, RaftOptions } from '../../../machines/index.js';
import { decodeReadCount, encodeReadCount } from '../../../machines/raft/read-only.js';
import { bytes, Host, Network, PLAIN, say, voters } from './network.js';

function leader(options: Partial<RaftOptions> = {}, commit = true): Host {
  const host = new Host({ ...PLAIN, ...options, id: 1 }, { confState: voters(1, 2, 3) });
  host.node.campaign();
  host.settle();
  host.node.step(say('requestVoteResponse', 2, 1, { term: 1 }));
  host.settle();
  if (commit) host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1 }));
  host.settle();
  return host;
}

function beats(messages: readonly Message[]): Message[] {
  return messages.filter(({ type }) => type === 'heartbeat');
}

function echo(beat: Message | undefined, from: number): Message {
  return say('heartbeatResponse', from, 1, { term: 1, context: beat?.context ?? bytes('') });
}

function contexts(host: Host): string[] {
  return host.readStates.map(({ context }) => new TextDecoder().decode(context));
}

describe('reads without a log entry (thesis 6.4)', () => {
  it('wait for a round of heartbeats, and get the commit index of when they were asked', () => {
    const host = leader();
    expect(host.node.readIndex(bytes('r'))).to.equal(undefined);
    const [beat] = beats(host.settle());
    expect(host.readStates).to.deep.equal([]);
    host.proposeAll('later');
    host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 2 }));
    host.node.step(echo(beat, 3));
    host.settle();
    expect(host.readStates).to.deep.equal([{ index: 1, context: bytes('r') }]);
  });

  it('are counted by the leader: a late answer never confirms a read that was asked after its heartbeat', () => {
    const host = leader();
    host.node.readIndex(bytes('same'));
    const [first] = beats(host.settle());
    host.node.step(echo(first, 2));
    host.settle();
    expect(contexts(host)).to.deep.equal(['same']);
    host.node.readIndex(bytes('same'));
    host.settle();
    host.node.step(echo(first, 3));
    host.node.step(echo(first, 2));
    host.settle();
    expect(contexts(host), 'the second is still unconfirmed').to.have.length(1);
  });

  it('share a round: one answer confirms all that were asked before', () => {
    const host = leader();
    for (const name of ['a', 'b', 'c']) host.node.readIndex(bytes(name));
    const last = beats(host.settle()).at(-1);
    host.node.step(echo(last, last?.to ?? 0));
    host.settle();
    expect(contexts(host)).to.deep.equal(['a', 'b', 'c']);
    expect(host.core.reads.pending).to.equal(0);
  });

  it('take no count that was never asked for', () => {
    const host = leader();
    host.node.step(say('heartbeatResponse', 2, 1, { term: 1, context: encodeReadCount(100) }));
    host.node.step(say('heartbeatResponse', 3, 1, { term: 1, context: bytes('garbage') }));
    host.node.readIndex(bytes('r'));
    host.settle();
    expect(host.readStates).to.deep.equal([]);
  });

  it('are kept until a new leader has committed in its term, and answered then', () => {
    const host = leader({}, false);
    host.node.readIndex(bytes('early'));
    expect(beats(host.settle())).to.deep.equal([]);
    host.node.step(say('appendEntriesResponse', 2, 1, { term: 1, index: 1 }));
    const [beat] = beats(host.settle());
    host.node.step(echo(beat, 2));
    host.settle();
    expect(host.readStates).to.deep.equal([{ index: 1, context: bytes('early') }]);
  });

  it('are kept even by a single voter, whose commit index may lag behind what it once answered', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1), log: [1, 1], term: 1, commit: 1 });
    host.node.campaign();
    host.node.readIndex(bytes('r'));
    const before: number[] = [];
    host.onReady = (ready) => before.push(...ready.readStates.map(({ index }) => index));
    host.settle();
    host.node.readIndex(bytes('r'));
    host.settle();
    expect(before).to.deep.equal([3]);
  });

  it('go through the leader from any member, learners too', () => {
    const confState = { ...voters(1, 2), learners: [3] };
    const network = new Network([1, 2, 3].map((id) => new Host({ ...PLAIN, id }, { confState })));
    network.campaign(1);
    for (const id of [1, 2, 3]) {
      network.host(id).node.readIndex(bytes(`from ${id}`));
      network.settle();
      expect(network.host(id).readStates).to.deep.equal([{ index: 1, context: bytes(`from ${id}`) }]);
    }
  });

  it('are refused, not lost in silence, where nobody could confirm them', () => {
    const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3) });
    expect(host.node.readIndex(bytes('r'))).to.include({ code: 'read-dropped' });
    host.node.campaign();
    expect(host.node.readIndex(bytes('r'))).to.include({ code: 'read-dropped' });
  });

  it('are refused when as many wait as may, before and after the first commit of a term', () => {
    for (const committed of [false, true]) {
      const host = leader({ maxPendingReads: 2 }, committed);
      const ask = () => host.node.readIndex(bytes('r'))?.code;
      expect([ask(), ask(), ask()]).to.deep.equal([undefined, undefined, 'read-dropped']);
    }
  });

  it('are confirmed with the removal of the voters that they waited for', () => {
    const host = leader();
    const remove = (id: number) =>
      host.node.applyConfChange({
        transition: 'auto',
        changes: [{ kind: 'removeNode', id }],
        context: bytes(''),
      });
    host.node.readIndex(bytes('r'));
    host.settle();
    remove(2);
    host.settle();
    expect(contexts(host), 'one of two').to.deep.equal([]);
    remove(3);
    host.settle();
    expect(contexts(host)).to.deep.equal(['r']);
    expect(host.core.reads.pending).to.equal(0);
  });

  it('are not confirmed for a leader that was replaced', () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(1);
    network.campaign(2);
    network.propose(2, 'newer');
    network.host(1).node.readIndex(bytes('stale'));
    network.settle();
    expect(network.host(1).readStates).to.deep.equal([]);
    network.recover();
    network.tick(1, 1, 2);
    expect(network.host(1).readStates).to.deep.equal([]);
    expect(network.host(1).node.role).to.equal('follower');
  });

  it('are answered at once under a lease, which needs CheckQuorum', () => {
    const host = leader({ readOnlyOption: 'leaseBased', checkQuorum: true });
    host.node.readIndex(bytes('r'));
    host.settle();
    expect(host.readStates).to.deep.equal([{ index: 1, context: bytes('r') }]);
    expect(() => leader({ readOnlyOption: 'leaseBased' })).to.throw('checkQuorum');
  });

  it('carry their count as 8 bytes, little endian', () => {
    for (const count of [0, 1, 255, 256, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
      expect(decodeReadCount(encodeReadCount(count))).to.equal(count);
    }
    expect([...encodeReadCount(0x0102)]).to.deep.equal([2, 1, 0, 0, 0, 0, 0, 0]);
    expect(decodeReadCount(new Uint8Array(8).fill(255))).to.equal(0);
  });
});

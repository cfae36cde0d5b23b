import { expect } from 'chai';
import { RawNode, type Ready } from '../../../machines/raft/index.js';
import { MemoryStorage } from '../../machines/raft/memory-storage.js';
import { bytes, entriesOf, PLAIN, voters } from '../../machines/raft/network.js';
import { entry } from './peer.js';

const NOTHING: Ready = {
  softState: undefined,
  hardState: undefined,
  readStates: [],
  entries: [],
  snapshot: undefined,
  committedEntries: [],
  messages: [],
  mustSync: false,
  append: undefined,
  apply: undefined,
};

function singleVoterStorage(): MemoryStorage {
  return new MemoryStorage({ index: 0, term: 0, confState: voters(1), data: bytes('') });
}

describe('TinyKV part 2AC', () => {
  it("TestRawNodeStart2AC (etcd's rule: an entry is on disk in one Ready and committed in the next)", () => {
    const node = new RawNode({ ...PLAIN, id: 1 }, singleVoterStorage().initialState());
    const expectReady = (ready: Partial<Ready>): void => {
      expect(node.hasReady()).to.equal(true);
      expect(node.ready()).to.deep.equal({ ...NOTHING, ...ready });
      node.advance();
    };
    expect(node.hasReady()).to.equal(false);

    expect(node.campaign()).to.equal(undefined);
    expectReady({
      softState: { lead: 0, role: 'candidate' },
      hardState: { term: 1, vote: 1, commit: 0 },
      mustSync: true,
    });
    expectReady({ softState: { lead: 1, role: 'leader' }, entries: [entry(1, 1)], mustSync: true });
    expectReady({ hardState: { term: 1, vote: 1, commit: 1 }, committedEntries: [entry(1, 1)] });
    expect(node.hasReady()).to.equal(false);

    expect(node.propose(bytes('foo'))).to.deep.equal({ ok: true, index: 2, term: 1 });
    expectReady({ entries: [entry(2, 1, 'foo')], mustSync: true });
    expectReady({
      hardState: { term: 1, vote: 1, commit: 2 },
      committedEntries: [entry(2, 1, 'foo')],
    });
    expect(node.hasReady()).to.equal(false);
  });

  it('TestRawNodeRestart2AC', () => {
    const storage = singleVoterStorage();
    storage.hardState = { term: 1, vote: 0, commit: 1 };
    storage.append(entriesOf(1, 1, 1));
    const node = new RawNode({ ...PLAIN, id: 1 }, storage.initialState());
    expect(node.ready()).to.deep.equal({ ...NOTHING, committedEntries: [entry(1, 1)] });
    node.advance();
    expect(node.hasReady()).to.equal(false);
  });

  it('a restart that finds its entries on disk hands them out when they are read', () => {
    const storage = singleVoterStorage();
    storage.hardState = { term: 1, vote: 0, commit: 1 };
    storage.append(entriesOf(1, 1, 1));
    const node = new RawNode({ ...PLAIN, id: 1 }, { ...storage.initialState(), entries: [] });
    expect(node.hasReady()).to.equal(false);
    const [fetch] = node.fetches();
    if (fetch?.kind !== 'entries') throw new Error('no entries are wanted');
    node.entriesFetched(fetch, storage.read(fetch.low, fetch.high, fetch.maxBytes));
    expect(node.ready()).to.deep.equal({ ...NOTHING, committedEntries: [entry(1, 1)] });
    node.advance();
    expect(node.hasReady()).to.equal(false);
    expect(node.fetches()).to.deep.equal([]);
  });
});

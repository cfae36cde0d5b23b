import { expect } from 'chai';
import { type Contact, isInitial, judgeContact } from '../../cluster/store/first-contact.js';
import { StoreMeta } from '../../cluster/store/store-meta.js';
import type { Message, MessageType } from '../../machines/index.js';
import { makeMessage } from '../../machines/raft/message.js';
import type { metapb, RaftEvent } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const STORE = 3;
const vote = makeMessage({ type: 'requestPreVote', term: 7 });
const firstHeartbeat = makeMessage({ type: 'heartbeat', commit: 0, term: 7 });
const heartbeat = makeMessage({ type: 'heartbeat', commit: 5, term: 7 });
const append = makeMessage({ type: 'appendEntries', term: 7 });

interface Said {
  readonly message?: Message;
  readonly from?: number;
  readonly to?: number;
  readonly store?: number;
  readonly confVer?: number;
  readonly version?: number;
  readonly range?: readonly [string, string];
}

/** A message about region 1, from peer 11 to peer 31 on store 3 unless it says otherwise. */
function said({
  message = vote,
  from = 11,
  to = 31,
  store = STORE,
  confVer = 5,
  version = 5,
  range = ['a', 'm'],
}: Said): RaftEvent {
  return {
    type: 'raft',
    regionId: 1,
    fromPeer: { id: from, storeId: 1, role: 0 },
    toPeer: { id: to, storeId: store, role: 0 },
    message,
    regionEpoch: { confVer, version },
    startKey: Buffer.from(range[0]),
    endKey: Buffer.from(range[1]),
  };
}

const member = (id: number): metapb.Peer => ({ id, storeId: STORE, role: 0 });

function judge(event: RaftEvent, prepare: (meta: StoreMeta) => void, present?: metapb.Peer): Contact {
  const meta = new StoreMeta();
  prepare(meta);
  return judgeContact(event, STORE, meta, present);
}

const nothing = () => {};
const region = sampleRegion(1, 'a', 'm', { confVer: 5, version: 5 });
const target = sampleRegion(2, 'm', 'z', { confVer: 5, version: 5 });
const buried = (peer: number, mergedInto?: metapb.Region) => (meta: StoreMeta) =>
  meta.bury({ peer, region, target: mergedInto });

describe('messages for peers that are not here', () => {
  it('field note 1: only a request for votes or a heartbeat with commit 0 makes a peer', () => {
    const types: readonly MessageType[] = [
      'appendEntries',
      'appendEntriesResponse',
      'requestVote',
      'requestVoteResponse',
      'installSnapshot',
      'heartbeat',
      'heartbeatResponse',
      'timeoutNow',
      'readIndex',
      'readIndexResponse',
      'requestPreVote',
      'requestPreVoteResponse',
    ];
    const making = (commit: number) =>
      types.filter((type) => {
        const message = makeMessage({ type, commit, term: 7 });
        const does = judge(said({ message }), nothing).do;
        expect(does === 'create', type).to.equal(isInitial(message));
        return does === 'create';
      });
    expect(making(0)).to.deep.equal(['requestVote', 'heartbeat', 'requestPreVote']);
    expect(making(5)).to.deep.equal(['requestVote', 'requestPreVote']);
  });

  const rows: readonly [
    what: string,
    event: Said,
    meta: (meta: StoreMeta) => void,
    present: metapb.Peer | undefined,
    does: Contact['do'],
  ][] = [
    ['one for another store is dropped', { store: 4 }, nothing, undefined, 'drop'],
    ['a new peer is made', {}, nothing, undefined, 'create'],
    ['a new peer is made by its first heartbeat', { message: firstHeartbeat }, nothing, undefined, 'create'],
    ['a later heartbeat makes none', { message: heartbeat }, nothing, undefined, 'drop'],
    ['an append makes none', { message: append }, nothing, undefined, 'drop'],

    [
      'an older peer than the one here is dropped',
      { to: 30 },
      (meta) => meta.replace([region]),
      member(31),
      'drop',
    ],
    [
      'who asks an older peer for votes and is no member is told',
      { to: 30, from: 9, confVer: 4 },
      (meta) => meta.replace([region]),
      member(31),
      'tellGone',
    ],
    [
      'unless it knows more than is known here',
      { to: 30, from: 9, confVer: 6, version: 6 },
      (meta) => meta.replace([region]),
      member(31),
      'drop',
    ],
    [
      'a newer peer takes the place of the one here',
      { to: 32 },
      (meta) => meta.replace([region]),
      member(31),
      'replace',
    ],
    [
      'but not for an append',
      { to: 32, message: append },
      (meta) => meta.replace([region]),
      member(31),
      'drop',
    ],

    ['a peer that was here does not come back', {}, buried(31), undefined, 'drop'],
    ['nor an older one', { to: 30 }, buried(31), undefined, 'drop'],
    ['a newer one comes', { to: 32 }, buried(31), undefined, 'create'],
    [
      'who was no member any more at the end, and asks for votes, is told',
      { from: 9, confVer: 4 },
      buried(31),
      undefined,
      'tellGone',
    ],
    ['who was one is not', { from: 11, confVer: 4 }, buried(31), undefined, 'drop'],
    ['nor who only sends entries', { from: 9, confVer: 4, message: append }, buried(31), undefined, 'drop'],
    ['nor who knows more', { from: 9, confVer: 6, version: 6 }, buried(31), undefined, 'drop'],
    [
      'whose region was merged is told, member or not',
      { confVer: 5 },
      buried(31, target),
      undefined,
      'tellGone',
    ],
    ['a newer peer of a merged region comes', { to: 32 }, buried(31, target), undefined, 'create'],

    [
      'a peer whose keys are those of another region waits',
      { range: ['a', 'm'] },
      (meta) => meta.replace([sampleRegion(9, '', 'c')]),
      undefined,
      'park',
    ],
    [
      'beside another region it is made',
      { range: ['a', 'm'] },
      (meta) => meta.replace([sampleRegion(9, 'm', '')]),
      undefined,
      'create',
    ],
    [
      'what was merged into its region is not in its way',
      { range: ['a', 'm'] },
      (meta) => {
        meta.replace([sampleRegion(9, 'c', 'm')]);
        meta.noteMerge({ source: 9, target: sampleRegion(1, 'a', 'c', { version: 4 }), done: true });
      },
      undefined,
      'create',
    ],
    [
      'it is, when the message knows no more than the merge',
      { range: ['a', 'm'], version: 4 },
      (meta) => {
        meta.replace([sampleRegion(9, 'c', 'm')]);
        meta.noteMerge({ source: 9, target: sampleRegion(1, 'a', 'c', { version: 4 }), done: true });
      },
      undefined,
      'park',
    ],
    // Seed 1016: what was split had been merged into its part elsewhere, and was not in the way.
    [
      'a part of a split that is being written waits, whatever it was merged into',
      { range: ['a', 'm'] },
      (meta) => {
        meta.replace([sampleRegion(9, 'a', '')]);
        meta.noteSplit(9, [1]);
        meta.noteMerge({ source: 9, target: sampleRegion(1, 'a', 'm', { version: 4 }), done: true });
      },
      undefined,
      'park',
    ],
    [
      'and no longer when what was to be split has ended',
      {},
      (meta) => {
        meta.noteSplit(9, [1]);
        meta.bury({ peer: 91, region: sampleRegion(9, 'a', ''), target: undefined });
      },
      undefined,
      'create',
    ],
    [
      'one below the tombstones that were forgotten has to be confirmed',
      {},
      (meta) => {
        meta.bury({ peer: 31, region: target, target: undefined });
        meta.collect(target.id);
      },
      undefined,
      'confirm',
    ],
    [
      'one above them has not',
      { to: 32 },
      (meta) => {
        meta.bury({ peer: 31, region: target, target: undefined });
        meta.collect(target.id);
      },
      undefined,
      'create',
    ],
  ];
  for (const [what, event, prepare, present, does] of rows) {
    it(`${what}: ${does}`, () => {
      expect(judge(said(event), prepare, present).do).to.equal(does);
    });
  }

  it('tells the target as it was at the merge', () => {
    expect(judge(said({}), buried(31, target))).to.deep.equal({ do: 'tellGone', region, target });
    expect(judge(said({ from: 9, confVer: 4 }), buried(31))).to.deep.equal({
      do: 'tellGone',
      region,
      target: undefined,
    });
  });
});

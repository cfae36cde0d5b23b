import { expect } from 'chai';
import { areAdjacent, haveSameStores, mergedRegion, refuseMerge } from '../../cluster/store/admin/merge.js';
import { refuseGap } from '../../cluster/store/admin/merge-gap.js';
import { isRefusal } from '../../cluster/store/admin/refusal.js';
import { type Entry, EntryType, type RawNode, type Status } from '../../machines/index.js';
import { COMMAND_VERSION, encodeCommand, type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const { AdminCmdType } = raft_cmdpb;
const left = sampleRegion(1, 'a', 'm', { version: 3 });
const right = sampleRegion(2, 'm', 'z', { version: 8 });

describe('what a merge makes', () => {
  it('is the target with both ranges, whichever comes first', () => {
    for (const [source, target] of [
      [left, right],
      [right, left],
    ] as const) {
      const merged = mergedRegion(target, source);
      expect([merged.id, merged.startKey, merged.endKey]).to.deep.equal([
        target.id,
        left.startKey,
        right.endKey,
      ]);
      expect(merged.peers).to.deep.equal(target.peers);
      expect(merged.regionEpoch, 'above both').to.deep.equal({ confVer: 1, version: 9 });
    }
  });

  it('reaches to the ends of the key space where its parts do', () => {
    const first = sampleRegion(1, '', 'm');
    const last = sampleRegion(2, 'm', '');
    for (const merged of [mergedRegion(first, last), mergedRegion(last, first)]) {
      expect([merged.startKey, merged.endKey].map((key) => key.length)).to.deep.equal([0, 0]);
    }
  });

  it('needs regions that touch', () => {
    expect(areAdjacent(left, right)).to.equal(true);
    expect(areAdjacent(right, left)).to.equal(true);
    expect(areAdjacent(left, sampleRegion(3, 'n', 'z'))).to.equal(false);
    expect(areAdjacent(left, sampleRegion(3, 'c', 'z'))).to.equal(false);
    // Two open ends are not one key.
    expect(areAdjacent(sampleRegion(1, '', 'm'), sampleRegion(2, 'n', ''))).to.equal(false);
    expect(areAdjacent(sampleRegion(1, '', ''), sampleRegion(2, '', ''))).to.equal(false);
  });

  it('needs the same stores, in the same roles', () => {
    const learner = (region: metapb.Region, storeId: number) => ({
      ...region,
      peers: region.peers.map((peer) => (peer.storeId === storeId ? { ...peer, role: 1 as const } : peer)),
    });
    expect(haveSameStores(left, right)).to.equal(true);
    expect(haveSameStores(left, { ...right, peers: [...right.peers].reverse() }), 'in any order').to.equal(
      true,
    );
    expect(haveSameStores(left, sampleRegion(2, 'm', 'z', { stores: [1, 2, 4] }))).to.equal(false);
    expect(haveSameStores(left, sampleRegion(2, 'm', 'z', { stores: [1, 2] }))).to.equal(false);
    expect(haveSameStores(left, learner(right, 3))).to.equal(false);
    expect(haveSameStores(learner(left, 3), learner(right, 3))).to.equal(true);
  });

  const joint = {
    ...right,
    peers: right.peers.map((peer, i) => ({ ...peer, role: i === 0 ? 2 : 0 })),
  } as metapb.Region;
  const rows: readonly [
    string,
    metapb.Region,
    metapb.Region,
    metapb.Region | undefined,
    string | undefined,
    boolean?,
  ][] = [
    ['two neighbours', left, right, right, undefined],
    ['itself', left, left, left, 'not-adjacent'],
    ['a region that does not touch it', left, sampleRegion(3, 'n', 'z'), undefined, 'not-adjacent'],
    [
      'a neighbour on other stores',
      left,
      sampleRegion(2, 'm', 'z', { stores: [1, 2, 4] }),
      right,
      'different-stores',
    ],
    ['a neighbour in a joint membership', left, joint, joint, 'pending-change', true],
    ['a neighbour, when it is itself in a joint membership', joint, left, left, 'pending-change', true],
    ['a neighbour that is not here', left, right, undefined, 'target-changed', true],
    [
      'an older description of its neighbour',
      left,
      sampleRegion(2, 'm', 'z', { version: 7 }),
      right,
      'target-changed',
      true,
    ],
    [
      'a newer description of its neighbour',
      left,
      sampleRegion(2, 'm', 'z', { version: 9 }),
      right,
      'target-changed',
      true,
    ],
    [
      'a neighbour whose other end has moved',
      left,
      sampleRegion(2, 'm', 'x', { version: 8 }),
      right,
      'target-changed',
      true,
    ],
  ];
  for (const [what, source, target, local, code, retry = false] of rows) {
    it(`${code === undefined ? 'is taken' : `is refused as ${code}`}: a region into ${what}`, () => {
      const refused = refuseMerge(source, target, local);
      if (code === undefined) expect(refused).to.equal(undefined);
      else expect(refused).to.include({ code, retry });
    });
  }

  it('says which stores differ', () => {
    const message = refuseMerge(left, sampleRegion(2, 'm', 'z', { stores: [1, 2, 4] }), right)?.message;
    expect(message).to.contain('stores 1, 2, 3').and.to.contain('1, 2, 4');
  });
});

describe('what members of a source may lack', () => {
  const NO_BYTES = new Uint8Array(0);

  function entry(index: number, adminKind?: keyof typeof AdminCmdType, size = 0): Entry {
    const adminRequest =
      adminKind === undefined
        ? undefined
        : raft_cmdpb.AdminRequest.from({ cmdType: AdminCmdType[adminKind] });
    const key = new Uint8Array(size);
    const requests =
      size === 0
        ? []
        : [
            raft_cmdpb.Request.from({
              cmdType: raft_cmdpb.CmdType.Put,
              put: { cf: '', key, value: NO_BYTES },
            }),
          ];
    const command = raft_cmdpb.RaftCmdRequest.from({
      header: { regionId: 1, peer: undefined, regionEpoch: undefined, term: 1 },
      requests,
      adminRequest,
      version: COMMAND_VERSION,
    });
    return { index, term: 6, type: EntryType.normal, data: encodeCommand(command) };
  }

  type Member = { match: number; known?: number; state?: 'probe' | 'replicate' | 'snapshot' };

  /** A leader whose log ends at 100 and begins at 20. */
  function judge(
    members: readonly Member[],
    entries: ReadonlyMap<number, Entry> = new Map(),
    maxEntryBytes = 1_000,
  ) {
    const progress = new Map(
      members.map(({ match, known = match, state = 'replicate' }, i) => [
        i + 1,
        { match, knownCommit: known, state },
      ]),
    );
    const status = { lastIndex: 100, firstIndex: 20, progress } as unknown as Status;
    const raft = {
      heldEntries: (low: number, high: number) =>
        low < 50
          ? undefined
          : Array.from({ length: high - low }, (_, i) => entries.get(low + i) ?? entry(low + i)),
    } as unknown as RawNode;
    const gap = refuseGap(left, status, raft, maxEntryBytes);
    return isRefusal(gap) ? gap.message : gap.minIndex;
  }

  const leader = { match: 100 };
  it('is nothing, or a few entries of data', () => {
    expect(judge([leader, leader, leader])).to.equal(101);
    expect(judge([leader, { match: 95 }, { match: 92 }])).to.equal(93);
    expect(judge([leader, { match: 90 }, leader]), 'ten entries').to.equal(91);
    expect(judge([leader, { match: 100, known: 80 }, leader]), 'twenty that it does not know of').to.equal(
      101,
    );
  });

  const refusals: readonly [string, readonly Member[], ReadonlyMap<number, Entry>, string][] = [
    ['eleven entries', [leader, { match: 89 }, leader], new Map(), 'behind'],
    ['knowledge of 21 commits', [leader, { match: 100, known: 79 }, leader], new Map(), 'behind'],
    ['a snapshot', [leader, { match: 100, state: 'snapshot' }, leader], new Map(), 'waits for a snapshot'],
    ['everything', [leader, { match: 0 }, leader], new Map(), 'is new'],
    ['any word of what it knows', [leader, { match: 100, known: 0 }, leader], new Map(), 'is new'],
    ['what the log no longer holds', [leader, { match: 18, known: 18 }, leader], new Map(), 'is new'],
    ...(
      ['CompactLog', 'ChangePeerV2', 'BatchSplit', 'PrepareMerge', 'CommitMerge', 'RollbackMerge'] as const
    ).map((kind): [string, readonly Member[], ReadonlyMap<number, Entry>, string] => [
      `a ${kind}`,
      [leader, { match: 95 }, leader],
      new Map([[97, entry(97, kind)]]),
      'changed just now',
    ]),
    [
      'knowledge that a split is committed',
      [leader, { match: 100, known: 95 }, leader],
      new Map([[97, entry(97, 'BatchSplit')]]),
      'changed just now',
    ],
    [
      'a membership change',
      [leader, { match: 95 }, leader],
      new Map([[97, { ...entry(97), type: EntryType.confChangeV2 }]]),
      'changed just now',
    ],
    [
      'too many bytes',
      [leader, { match: 95 }, leader],
      new Map([[97, entry(97, undefined, 950)]]),
      'too many bytes',
    ],
  ];
  for (const [what, members, entries, why] of refusals) {
    it(`is not ${what}`, () => {
      expect(judge(members, entries)).to.contain(why);
    });
  }

  it('may be hashes that were asked for, and what is in no gap does not count', () => {
    expect(judge([leader, { match: 95 }, leader], new Map([[97, entry(97, 'ComputeHash')]]))).to.equal(96);
    expect(judge([leader, { match: 95 }, leader], new Map([[97, entry(97, 'VerifyHash')]]))).to.equal(96);
    expect(judge([leader, { match: 95 }, leader], new Map([[95, entry(95, 'BatchSplit')]]))).to.equal(96);
  });
});

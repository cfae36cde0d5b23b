import { expect } from 'chai';
import type { troupepb } from '../../cluster/proto/index.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { type ChangedRegion, RegionChanges } from '../../cluster/store/region-changes.js';
import { RegionLeadership } from '../../cluster/store/region-leadership.js';
import type { AdminResult } from '../../cluster/store/region-state-machine.js';
import { keyAfter, rawKey, txnKey, withTimestamp } from '../../storage/index.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { FaultyRegionWorld } from './faulty-region-world.js';
import { sampleRegion } from './region-samples.js';

const { AdminCmdType } = raft_cmdpb;
const { ConfChangeType } = eraftpb;
type Command = Parameters<FaultyRegionWorld['change']>[1];

const key = (text: string) => (text === '' ? new Uint8Array(0) : rawKey(Buffer.from(text)));
const split = (...keys: readonly string[]): Command => ({
  cmdType: AdminCmdType.BatchSplit,
  splits: {
    requests: keys.map((one) => ({ splitKey: key(one), newRegionId: 0, newPeerIds: [] })),
    rightDerive: false,
  },
});
const change = (changeType: eraftpb.ConfChangeType, storeId: number, id = 0): Command => ({
  cmdType: AdminCmdType.ChangePeerV2,
  changePeerV2: { changes: [{ changeType, peer: { id, storeId, role: metapb.PeerRole.Voter } }] },
});
const merge = (target: metapb.Region | undefined): Command => ({
  cmdType: AdminCmdType.PrepareMerge,
  prepareMerge: { minIndex: 0, target },
});
const transfer = (storeId: number): Command => ({
  cmdType: AdminCmdType.TransferLeader,
  transferLeader: { peer: { id: 0, storeId, role: metapb.PeerRole.Voter } },
});

describe('changes of regions that cannot be', () => {
  let world: FaultyRegionWorld;
  /** [, g), [g, p), [p, ): the last has a peer on store 4 too. */
  let first: number;
  let middle: number;
  let last: number;

  before(async () => {
    world = await FaultyRegionWorld.start(4, 3);
    for (const one of ['a', 'h', 'q']) await world.put(one, one);
    [first = 0, middle = 0, last = 0] = (await world.split(1, 'g', 'p')).map(({ id }) => id);
    for (const id of [first, middle, last]) await world.lead(id, 1);
    await world.addPeer(last, 4);
    await world.settle();
  });

  after(() => world.close());

  /** Asks once; whatever is answered, every region is as it was. */
  async function refused(
    id: number,
    command: Command,
    options: Parameters<FaultyRegionWorld['change']>[2] = {},
  ): Promise<troupepb.ChangeRegionResponse> {
    const all = () => [first, middle, last].map((one) => world.leaderRegion(one));
    const before = all();
    const indexes = () => [first, middle, last].map((one) => world.peer(one, 1).raftGroup?.raft.lastIndex);
    const ends = indexes();
    const reply = await world.change(id, command, options);
    await world.rest(300);
    expect(all()).to.deep.equal(before);
    expect(indexes(), 'nothing was proposed').to.deep.equal(ends);
    return reply;
  }

  const splits: readonly [string, readonly string[], string, string][] = [
    ['before the region', ['a'], 'split-key-outside', 'raw "a"'],
    ['behind the region', ['z'], 'split-key-outside', 'raw "z"'],
    ['at its end', ['p'], 'split-key-outside', 'raw "p"'],
    ['at its start', ['g'], 'split-key-at-start', 'raw "g"'],
    ['twice', ['h', 'h'], 'split-key-duplicate', 'raw "h"'],
    ['out of order', ['k', 'h'], 'split-keys-order', 'raw "h"'],
    ['at no key', [], 'nothing-to-split', ''],
  ];
  for (const [what, keys, code, named] of splits) {
    it(`a split ${what}: ${code}`, async () => {
      const { refusal } = await refused(middle, split(...keys));
      expect(refusal).to.include({ code, retry: false });
      expect(refusal?.message)
        .to.contain(named)
        .and.to.contain(code === 'nothing-to-split' ? 'name one' : '"');
    });
  }

  it('a merge of regions that do not touch: not-adjacent', async () => {
    const { refusal } = await refused(first, merge(world.leaderRegion(last)));
    expect(refusal).to.include({ code: 'not-adjacent', retry: false });
    expect(refusal?.message).to.contain(`regions ${first} and ${last}`);
  });

  it('a merge of regions on other stores: different-stores', async () => {
    const { refusal } = await refused(middle, merge(world.leaderRegion(last)));
    expect(refusal).to.include({ code: 'different-stores', retry: false });
    expect(refusal?.message).to.contain('stores 1, 2, 3').and.to.contain('1, 2, 3, 4');
  });

  it('a merge into itself, into nothing, and into what its target no longer is', async () => {
    expect((await refused(middle, merge(world.leaderRegion(middle)))).refusal).to.include({
      code: 'not-adjacent',
    });
    expect((await refused(middle, merge(undefined))).refusal).to.include({ code: 'invalid' });
    const target = world.leaderRegion(first);
    const older = { ...target, regionEpoch: { confVer: 1, version: (target.regionEpoch?.version ?? 0) - 1 } };
    expect((await refused(middle, merge(older))).refusal).to.include({ code: 'target-changed', retry: true });
  });

  it('a peer on a store that nobody knows: store-unknown', async () => {
    for (const type of [ConfChangeType.AddNode, ConfChangeType.AddLearnerNode]) {
      const { refusal } = await refused(middle, change(type, 99));
      expect(refusal).to.include({ code: 'store-unknown', retry: false });
      expect(refusal?.message).to.contain('store 99');
    }
  });

  it('a peer that is there, is not there, or is another', async () => {
    const peer = world.peer(middle, 2).peerId;
    expect((await refused(middle, change(ConfChangeType.AddNode, 2))).refusal).to.include({
      code: 'peer-exists',
    });
    expect((await refused(middle, change(ConfChangeType.RemoveNode, 4, 77))).refusal).to.include({
      code: 'peer-unknown',
    });
    expect((await refused(middle, change(ConfChangeType.AddNode, 2, peer + 500))).refusal).to.include({
      code: 'peer-exists',
    });
    expect((await refused(middle, change(ConfChangeType.AddNode, 4, peer))).refusal).to.include({
      code: 'peer-exists',
    });
  });

  it('joint memberships: a voter is not removed by one, and there is none to leave', async () => {
    const peers = world.leaderRegion(middle).peers;
    const changes = peers.slice(1).map((peer, i) => ({
      changeType: i === 0 ? ConfChangeType.RemoveNode : ConfChangeType.AddLearnerNode,
      peer,
    }));
    const command: Command = { cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes } };
    expect((await refused(middle, command)).refusal).to.include({ code: 'illegal-role', retry: false });
    const leave: Command = { cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes: [] } };
    expect((await refused(middle, leave)).refusal).to.include({ code: 'not-joint', retry: false });
  });

  it('a transfer to a store without a peer: peer-unknown', async () => {
    expect((await refused(middle, transfer(4))).refusal).to.include({ code: 'peer-unknown', retry: false });
    expect((await refused(middle, transfer(99))).refusal?.message).to.contain('store 99');
  });

  it('a command with an old or a future epoch, in whichever half it checks', async () => {
    const { confVer = 0, version = 0 } = world.leaderRegion(middle).regionEpoch ?? {};
    const rows: readonly [Command, checksVersion: boolean][] = [
      [split('h'), true],
      [merge(world.leaderRegion(first)), true],
      [change(ConfChangeType.RemoveNode, 2, world.peer(middle, 2).peerId), false],
    ];
    for (const [command, checksVersion] of rows) {
      for (const off of [-1, 1]) {
        const epochs = [
          { confVer: confVer + off, version },
          ...(checksVersion ? [{ confVer, version: version + off }] : []),
        ];
        for (const epoch of epochs) {
          const { regionError } = await refused(middle, command, { epoch });
          const current = regionError?.epochNotMatch?.currentRegions.find(({ id }) => id === middle);
          expect(current, JSON.stringify(epoch)).to.deep.equal(world.leaderRegion(middle));
        }
      }
    }
  });

  it('ids that do not fit: ids-mismatch', async () => {
    const one = (newRegionId: number, newPeerIds: readonly number[]): Command => ({
      cmdType: AdminCmdType.BatchSplit,
      splits: { requests: [{ splitKey: key('k'), newRegionId, newPeerIds }], rightDerive: true },
    });
    for (const command of [
      one(7_000, [7_001, 7_002]),
      one(7_000, [7_001, 7_001, 7_002]),
      one(middle, [1, 2, 3]),
    ]) {
      expect((await refused(middle, command)).refusal).to.include({ code: 'ids-mismatch', retry: false });
    }
  });

  it('a split within a transactional key, or between its versions: invalid', async () => {
    const stored = txnKey(Buffer.from('k'));
    const at = (splitKey: Uint8Array, newRegionId = 0): Command => ({
      cmdType: AdminCmdType.BatchSplit,
      splits: { requests: [{ splitKey, newRegionId, newPeerIds: [] }], rightDerive: true },
    });
    for (const torn of [withTimestamp(stored, 5n), keyAfter(stored), stored.subarray(0, -1)]) {
      expect((await refused(last, at(torn))).refusal).to.include({ code: 'invalid', retry: false });
      expect((await refused(last, at(torn, 7_000))).refusal).to.include({ code: 'invalid' });
    }
  });

  it('a command that changes no region, and one without a command', async () => {
    const compact: Command = { cmdType: AdminCmdType.CompactLog };
    expect((await refused(middle, compact)).refusal).to.include({ code: 'invalid', retry: false });
  });
});

describe('a peer on a store that is gone for good', () => {
  it('is refused: store-tombstone', async () => {
    const region = sampleRegion(1, '', '');
    const asked: number[] = [];
    // A leader that has applied everything, and would propose.
    const raftGroup = { isLeader: true, appliedInTerm: true, term: 6, wake() {} } as unknown as RaftGroup;
    const changed: ChangedRegion = {
      region,
      mergeState: undefined,
      raftGroup,
      leadership: new RegionLeadership({ region, raftGroup }),
      peerOf: () => undefined,
      proposeAdmin: () => expect.fail('nothing is proposed'),
      proposeMembership: () => expect.fail('nothing is proposed'),
      tell: () => {},
    };
    const changes = new RegionChanges(changed, {
      allocateIds: () => expect.fail('no id is given'),
      askSplitIds: () => expect.fail('no id is given'),
      storeOf: async (id) => {
        asked.push(id);
        return metapb.Store.from({ id, state: metapb.StoreState.Tombstone });
      },
      middleKey: async () => undefined,
      localRegion: () => undefined,
      rightDerive: true,
      maxEntryBytes: 1024,
    });
    const command = raft_cmdpb.AdminRequest.from(change(ConfChangeType.AddNode, 9));
    const context = { regionId: 1, regionEpoch: region.regionEpoch, peer: undefined, term: 0 };
    const result = await new Promise<AdminResult>((done) => {
      changes.request({ context, command, halve: false }, done);
    });
    expect(result.refusal).to.include({ code: 'store-tombstone', retry: false });
    expect(result.refusal?.message).to.contain('store 9');
    expect([asked, result.regions]).to.deep.equal([[9], [region]]);
  });
});

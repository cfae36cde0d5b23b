import { expect } from 'chai';
import fc from 'fast-check';
import {
  changePeers,
  confStateOf,
  isJoint,
  type PeerChange,
  raftChange,
  refuseMembership,
} from '../../cluster/store/admin/change-peer.js';
import { isRefusal } from '../../cluster/store/admin/refusal.js';
import { type ConfState, DEFAULT_RAFT_CONFIG, RawNode, type Status } from '../../machines/index.js';
import { eraftpb, metapb } from '../../storage/proto/index.js';

const { ConfChangeType } = eraftpb;
const { PeerRole } = metapb;
const NO_BYTES = new Uint8Array(0);

type RoleName = 'Voter' | 'Learner' | 'IncomingVoter' | 'DemotingVoter';
type KindName = 'Add' | 'AddLearner' | 'Remove';
const KINDS = {
  Add: ConfChangeType.AddNode,
  AddLearner: ConfChangeType.AddLearnerNode,
  Remove: ConfChangeType.RemoveNode,
} as const;

/** Peer n is on store n. */
function region(...roles: readonly RoleName[]): metapb.Region {
  return {
    id: 1,
    startKey: NO_BYTES,
    endKey: NO_BYTES,
    regionEpoch: { confVer: 5, version: 3 },
    peers: roles.map((role, i) => ({ id: i + 1, storeId: i + 1, role: PeerRole[role] })),
  };
}

function change(kind: KindName, id: number, storeId = id): PeerChange {
  return { changeType: KINDS[kind], peer: { id, storeId, role: PeerRole.Voter } };
}

function roleOf({ peers }: metapb.Region, id: number): RoleName | 'gone' {
  const role = peers.find((peer) => peer.id === id)?.role;
  const named = Object.entries(PeerRole).find(([, value]) => value === role);
  return named === undefined ? 'gone' : (named[0] as RoleName);
}

function changed(before: metapb.Region, ...changes: readonly PeerChange[]): metapb.Region {
  const after = changePeers(before, changes);
  if (isRefusal(after)) throw new Error(`refused: ${after.message}`);
  return after;
}

function refusalOf(before: metapb.Region, ...changes: readonly PeerChange[]): string {
  const after = changePeers(before, changes);
  return isRefusal(after) ? after.code : 'taken';
}

describe('changes of a region’s members', () => {
  // The role table of a change: what a peer was, what is asked, what it is after a simple and after a joint change.
  const table: readonly [
    before: RoleName | 'none',
    kind: KindName,
    simple: RoleName | 'gone' | { refused: string },
    joint: RoleName | 'gone' | { refused: string },
  ][] = [
    ['none', 'Add', 'Voter', 'IncomingVoter'],
    ['none', 'AddLearner', 'Learner', 'Learner'],
    ['none', 'Remove', { refused: 'peer-unknown' }, { refused: 'peer-unknown' }],
    ['Voter', 'Add', { refused: 'peer-exists' }, { refused: 'peer-exists' }],
    ['Voter', 'AddLearner', 'Learner', 'DemotingVoter'],
    ['Voter', 'Remove', 'gone', { refused: 'illegal-role' }],
    ['Learner', 'Add', 'Voter', 'IncomingVoter'],
    ['Learner', 'AddLearner', { refused: 'peer-exists' }, { refused: 'peer-exists' }],
    ['Learner', 'Remove', 'gone', 'gone'],
  ];
  for (const [before, kind, simple, joint] of table) {
    const start = before === 'none' ? region('Voter', 'Voter') : region('Voter', 'Voter', before);
    // Peer 3 is the one; a joint change promotes or demotes another beside it.
    const beside = change('AddLearner', 2);
    for (const [how, expected, changes] of [
      ['simple', simple, [change(kind, 3)]],
      ['joint', joint, [change(kind, 3), beside]],
    ] as const) {
      const outcome = typeof expected === 'string' ? expected : `refused as ${expected.refused}`;
      it(`role table: ${before} + ${kind} in a ${how} change: ${outcome}`, () => {
        if (typeof expected !== 'string') {
          expect(refusalOf(start, ...changes)).to.equal(expected.refused);
          return;
        }
        const after = changed(start, ...changes);
        expect(roleOf(after, 3)).to.equal(expected);
        expect(after.regionEpoch).to.deep.equal({ confVer: 5 + changes.length, version: 3 });
        expect(isJoint(after)).to.equal(how === 'joint');
        expect({ ...after, peers: [], regionEpoch: undefined }).to.deep.equal({
          ...start,
          peers: [],
          regionEpoch: undefined,
        });
      });
    }
  }

  for (const role of ['IncomingVoter', 'DemotingVoter'] as const) {
    for (const kind of ['Add', 'AddLearner', 'Remove'] as const) {
      it(`role table: ${role} + ${kind}: refused, for its membership is joint`, () => {
        const start = region('Voter', 'Voter', role);
        expect(refusalOf(start, change(kind, 3))).to.equal('joint');
        expect(refusalOf(start, change(kind, 3), change('AddLearner', 2))).to.equal('joint');
      });
    }
  }

  it('role table: nothing asked leaves the joint membership: IncomingVoter to Voter, DemotingVoter to Learner', () => {
    const start = region('Voter', 'IncomingVoter', 'DemotingVoter', 'Learner');
    const after = changed(start);
    expect([1, 2, 3, 4].map((id) => roleOf(after, id))).to.deep.equal([
      'Voter',
      'Voter',
      'Learner',
      'Learner',
    ]);
    expect(after.regionEpoch, 'conf_ver grows by the roles that flip').to.deep.equal({
      confVer: 7,
      version: 3,
    });
    expect(refusalOf(after)).to.equal('not-joint');
  });

  it('the membership of each role: voters and both halves', () => {
    expect(confStateOf(region('Voter', 'IncomingVoter', 'DemotingVoter', 'Learner'))).to.deep.equal({
      voters: [1, 2],
      votersOutgoing: [1, 3],
      learners: [4],
      learnersNext: [3],
      autoLeave: false,
    });
    expect(confStateOf(region('Voter', 'Learner'))).to.deep.equal({
      voters: [1],
      votersOutgoing: [],
      learners: [2],
      learnersNext: [],
      autoLeave: false,
    });
  });

  it('what names no peer, one peer twice, or a peer where another is, is refused', () => {
    const start = region('Voter', 'Voter');
    expect(refusalOf(start, { changeType: KINDS.Add, peer: undefined })).to.equal('invalid');
    expect(refusalOf(start, change('Add', 0, 3))).to.equal('invalid');
    expect(refusalOf(start, change('Add', 3, 0))).to.equal('invalid');
    expect(refusalOf(start, change('Add', 3), change('AddLearner', 3))).to.equal('duplicate-peer');
    expect(refusalOf(start, change('Add', 3, 2)), 'store 2 has a peer').to.equal('peer-exists');
    expect(refusalOf(start, change('Add', 2, 3)), 'peer 2 is elsewhere').to.equal('peer-exists');
    expect(refusalOf(start, change('Remove', 9, 2)), 'another peer than is there').to.equal('peer-exists');
  });

  it('the last voter is neither removed nor demoted, nor left behind by a joint change', () => {
    const start = region('Voter', 'Learner', 'Learner');
    expect(refusalOf(start, change('Remove', 1))).to.equal('last-voter');
    expect(refusalOf(start, change('AddLearner', 1))).to.equal('last-voter');
    expect(refusalOf(start, change('AddLearner', 1), change('AddLearner', 4))).to.equal('last-voter');
    expect(refusalOf(start, change('AddLearner', 1), change('Add', 2))).to.equal('taken');
  });

  // The property: the roles say exactly what the core makes of the same change.
  it('the roles amount to the membership that the Raft core has after the same change, whatever the changes', () => {
    const kinds = fc.constantFrom<KindName>('Add', 'AddLearner', 'Remove');
    const one = fc.record({ kind: kinds, id: fc.integer({ min: 1, max: 6 }) });
    const step = fc.array(one, { minLength: 0, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        let current = region('Voter', 'Voter', 'Voter');
        const core = coreWith(confStateOf(current));
        for (const asked of steps) {
          const changes = asked.map(({ kind, id }) => change(kind, id));
          const next = changePeers(current, changes);
          // A leader refuses several changes of learners alone.
          if (isRefusal(next)) continue;
          if (changes.length > 1 && !isJoint(next)) continue;
          const made = core.applyConfChange(raftChange(changes, NO_BYTES));
          expect(sorted(made)).to.deep.equal(sorted(confStateOf(next)));
          current = next;
        }
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});

describe('members that a leader does not let go of, or take', () => {
  /** The leader is peer 1; the others as given, by their ids. */
  function status(
    members: Readonly<
      Record<number, { match: number; live?: boolean; state?: 'probe' | 'replicate' | 'snapshot' }>
    >,
    firstIndex = 10,
  ): Status {
    const progress = new Map(
      Object.entries(members).map(([id, { match, live = true, state = 'replicate' }]) => [
        Number(id),
        { match, next: match + 1, live, state, knownCommit: match },
      ]),
    );
    return { id: 1, progress, firstIndex, lastIndex: 20, commit: 20, applied: 20 } as unknown as Status;
  }
  const ALL_WELL = { 1: { match: 20 }, 2: { match: 20 }, 3: { match: 20 } };

  function judge(start: metapb.Region, changes: readonly PeerChange[], seen: Status): string {
    return refuseMembership(start, changed(start, ...changes), changes, seen)?.code ?? 'taken';
  }

  const three = region('Voter', 'Voter', 'Voter');
  const rows: readonly [string, metapb.Region, readonly PeerChange[], Status, string][] = [
    ['the leader is not removed', three, [change('Remove', 1)], status(ALL_WELL), 'transferring'],
    ['the leader is not demoted', three, [change('AddLearner', 1)], status(ALL_WELL), 'transferring'],
    [
      'the leader may be demoted by a joint change, which keeps it a voter',
      three,
      [change('AddLearner', 1), change('Add', 4)],
      status(ALL_WELL),
      'taken',
    ],
    [
      'a joint membership is not left by a leader that would be a learner',
      region('DemotingVoter', 'Voter', 'IncomingVoter'),
      [],
      status(ALL_WELL),
      'transferring',
    ],
    [
      'a joint membership is left by any other leader',
      region('Voter', 'DemotingVoter', 'IncomingVoter'),
      [],
      status(ALL_WELL),
      'taken',
    ],
    [
      'a joint change is not for learners alone',
      region('Voter', 'Learner', 'Learner'),
      [change('Remove', 2), change('Remove', 3)],
      status(ALL_WELL),
      'invalid',
    ],
    ['a voter that is well is removed', three, [change('Remove', 3)], status(ALL_WELL), 'taken'],
    [
      'a silent voter is removed',
      three,
      [change('Remove', 3)],
      status({ ...ALL_WELL, 3: { match: 5, live: false } }),
      'taken',
    ],
    [
      'more silent voters than others are not left',
      region('Voter', 'Voter', 'Voter', 'Voter'),
      [change('Remove', 2)],
      status({ ...ALL_WELL, 3: { match: 20, live: false }, 4: { match: 20, live: false } }),
      'no-quorum',
    ],
    [
      'one is not removed while those that stay would need a snapshot to commit',
      three,
      [change('Remove', 2)],
      status({ ...ALL_WELL, 3: { match: 4, state: 'snapshot' } }),
      'not-ready',
    ],
    [
      'nobody is promoted before its snapshot has come, where that would stop the group',
      region('Voter', 'Voter', 'Learner'),
      [change('Add', 3)],
      status({ 1: { match: 20 }, 2: { match: 4 }, 3: { match: 0, state: 'snapshot' } }),
      'not-ready',
    ],
    [
      'the same in either half of a joint membership',
      region('Voter', 'Voter', 'Learner'),
      [change('Add', 3), change('AddLearner', 2)],
      status({ 1: { match: 20 }, 2: { match: 20 }, 3: { match: 0, state: 'snapshot' } }),
      'not-ready',
    ],
    [
      'a group of one takes its second member',
      region('Voter'),
      [change('Add', 2)],
      status({ 1: { match: 20 } }),
      'taken',
    ],
    [
      'a learner comes and goes whatever the others lack',
      region('Voter', 'Voter', 'Learner'),
      [change('Remove', 3)],
      status({ 1: { match: 20 }, 2: { match: 4 }, 3: { match: 0 } }),
      'taken',
    ],
  ];
  for (const [what, start, changes, seen, expected] of rows) {
    it(`${what}: ${expected}`, () => {
      expect(judge(start, changes, seen)).to.equal(expected);
    });
  }
});

function coreWith(confState: ConfState): RawNode {
  return new RawNode(
    { ...DEFAULT_RAFT_CONFIG, id: 1, random: () => 0 },
    {
      hardState: { term: 5, vote: 0, commit: 5 },
      confState,
      truncated: { index: 5, term: 5 },
      lastIndex: 5,
      terms: [],
      entries: [],
      applied: 5,
    },
  );
}

function sorted(state: ConfState): ConfState {
  const order = (ids: readonly number[]) => [...ids].sort((a, b) => a - b);
  return {
    voters: order(state.voters),
    votersOutgoing: order(state.votersOutgoing),
    learners: order(state.learners),
    learnersNext: order(state.learnersNext),
    autoLeave: state.autoLeave,
  };
}

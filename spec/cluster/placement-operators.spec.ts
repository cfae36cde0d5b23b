import { expect } from 'chai';
import { type OperatorPlan, Priority } from '../../cluster/scheduler/placement/operator.js';
import type { Step } from '../../cluster/scheduler/placement/steps.js';
import { metapb } from '../../storage/proto/index.js';
import { Idle } from './placement-idle.js';
import { MIB, type PlacementWorld } from './placement-world.js';

const { PeerRole } = metapb;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;

const toStore4: readonly Step[] = [
  { kind: 'addLearner', store: 4 },
  { kind: 'enterJoint', promoted: [4], demoted: [3] },
  { kind: 'leaveJoint', changes: 2 },
  { kind: 'removePeer', store: 3 },
];

describe('an operator', () => {
  it('is the only one of its region, unless another matters more', () => {
    const idle = new Idle();
    expect(idle.add(toStore4)).to.equal(undefined);
    expect(idle.add(toStore4)).to.contain('has an operator already');
    expect(idle.add(toStore4, { priority: Priority.high, by: 'higher' })).to.equal(undefined);
    expect([...idle.operators.all()].map(({ plan }) => plan.by)).to.deep.equal(['higher']);
    expect(idle.operators.ended.map(({ state }) => state)).to.deep.equal(['replaced']);
    expect(idle.operators.count('region')).to.equal(1);
    expect(idle.add(toStore4, { priority: Priority.normal })).to.contain('higher');
  });

  it('is not taken up for a region that has changed, or that nobody has told of', () => {
    const idle = new Idle();
    const report = idle.world.report(idle.id);
    const plan: OperatorPlan = { kind: 'region', by: 'spec', priority: 0, steps: toStore4 };
    idle.tell([[1], [2]], { confVer: 1 });
    expect(idle.operators.add([{ plan, report }])).to.contain('changed meanwhile');
    idle.world.view.remove(idle.id);
    expect(idle.operators.add([{ plan, report }])).to.contain('no leader of region');
  });

  it('is taken up with those that it belongs to, or none is', () => {
    const idle = new Idle();
    const other = idle.world.addRegion({ stores: [1, 2, 3] });
    idle.add(toStore4);
    const plan: OperatorPlan = { kind: 'merge', by: 'spec', priority: 0, steps: toStore4 };
    const refused = idle.operators.add([
      { plan, report: idle.world.report(other) },
      { plan, report: idle.world.report(idle.id) },
    ]);
    expect(refused).to.contain('already');
    expect(idle.operators.of(other)).to.equal(undefined);
  });

  it('is done step by step, as heartbeats show it, and counts until then', () => {
    const idle = new Idle();
    idle.add(toStore4);
    const size = 64 * MIB;
    expect(idle.operators.influence(4)).to.include({ replicas: 1, size });
    expect(idle.operators.influence(3)).to.include({ replicas: -1, size: -size });
    expect(idle.tell([[1], [2], [3]])?.changePeer?.peer).to.include({ storeId: 4, role: PeerRole.Learner });
    // The learner is there, and behind: nothing is told, and it counts still.
    const learner = [4, PeerRole.Learner] as const;
    expect(idle.tell([[1], [2], [3], learner], { confVer: 1 }, { pending: [4] })).to.equal(undefined);
    expect(idle.operators.influence(4).replicas).to.equal(1);
    const joint = idle.tell([[1], [2], [3], learner])?.changePeerV2?.changes;
    expect(joint?.map(({ peer }) => peer?.storeId)).to.deep.equal([4, 3]);
    expect(idle.operators.influence(4).replicas).to.equal(0);
    const entered = [[1], [2], [3, PeerRole.DemotingVoter], [4, PeerRole.IncomingVoter]] as const;
    expect(idle.tell(entered, { confVer: 2 })?.changePeerV2?.changes).to.deep.equal([]);
    const left = [[1], [2], [3, PeerRole.Learner], [4]] as const;
    expect(idle.tell(left, { confVer: 2 })?.changePeer?.peer).to.include({ storeId: 3 });
    expect(idle.operators.influence(3).replicas).to.equal(-1);
    expect(idle.tell([[1], [2], [4]], { confVer: 1 })).to.equal(undefined);
    expect(idle.state).to.equal('success');
    expect(idle.weighs).to.equal(false);
    expect(idle.operators.count('region')).to.equal(0);
  });

  it('passes several steps with one heartbeat, when those between were lost', () => {
    const idle = new Idle();
    idle.add(toStore4);
    const left = [[1], [2], [3, PeerRole.Learner], [4]] as const;
    idle.tell([[1], [2], [3], [4, PeerRole.Learner]], { confVer: 1 });
    idle.tell([[1], [2], [3, PeerRole.DemotingVoter], [4, PeerRole.IncomingVoter]], { confVer: 2 });
    expect(idle.tell(left, { confVer: 2 })?.changePeer?.peer?.storeId).to.equal(3);
    expect(idle.state).to.equal('running');
  });

  describe('is cancelled when the epoch moved for another reason', () => {
    const cases: readonly (readonly [string, (idle: Idle) => void, ended: string])[] = [
      ['the version, by a split', (idle) => idle.tell([[1], [2], [3]], { version: 1 }), 'cancelled'],
      ['another peer came', (idle) => idle.tell([[1], [2], [3], [5]], { confVer: 1 }), 'cancelled'],
      ['another peer went', (idle) => idle.tell([[1], [2]], { confVer: 1 }), 'cancelled'],
      [
        'its own peer came, and another one too',
        (idle) => idle.tell([[1], [2], [3], [4, PeerRole.Learner], [5]], { confVer: 2 }, { pending: [4] }),
        'cancelled',
      ],
      [
        'its own peer came, and nothing else',
        (idle) => idle.tell([[1], [2], [3], [4, PeerRole.Learner]], { confVer: 1 }, { pending: [4] }),
        'running',
      ],
      ['only the leader moved', (idle) => idle.tell([[1], [2], [3]], {}, { leader: 2 }), 'running'],
    ];
    for (const [what, act, ended] of cases) {
      it(`${what}: ${ended}`, () => {
        const idle = new Idle();
        idle.add(toStore4);
        act(idle);
        expect(idle.state).to.equal(ended);
        if (ended === 'cancelled') expect(idle.weighs).to.equal(false);
      });
    }

    it('while it waited for its stores’ limits: it is never begun', async () => {
      const idle = new Idle([1, 2, 3], { storeLimit: 0 });
      idle.world.start();
      idle.add(toStore4);
      expect(idle.state).to.equal('waiting');
      idle.tell([[1], [2]], { confVer: 1 });
      idle.world.view.config = { ...idle.world.view.config, storeLimit: 1_000 };
      await idle.world.clock.advance(SECOND);
      expect(idle.state).to.equal('cancelled');
      expect(idle.reason).to.contain('changed');
      expect(idle.world.story).to.deep.equal([]);
      idle.world.stop();
    });
  });

  describe('is cancelled when a step cannot be done any more', () => {
    const cases: readonly (readonly [string, readonly Step[], (idle: Idle) => void])[] = [
      [
        'the leader stands where a peer is to be removed',
        [{ kind: 'removePeer', store: 3 }],
        (idle) => idle.tell([[1], [2], [3]], {}, { leader: 3 }),
      ],
      [
        'the leader stands where a voter is to become a learner',
        toStore4,
        (idle) => idle.tell([[1], [2], [3], [4, PeerRole.Learner]], { confVer: 1 }, { leader: 3 }),
      ],
      [
        'the leader stands where a voter is about to become a learner',
        [{ kind: 'leaveJoint', changes: 2 }],
        (idle) =>
          idle.tell([[1], [2, PeerRole.IncomingVoter], [3, PeerRole.DemotingVoter]], {}, { leader: 3 }),
      ],
      [
        'the peer that is to lead is gone',
        [{ kind: 'transferLeader', store: 5 }],
        (idle) => idle.tell([[1], [2], [3]]),
      ],
      [
        'the peer that is to vote is gone',
        [{ kind: 'promote', store: 5 }],
        (idle) => idle.tell([[1], [2], [3]]),
      ],
      [
        'the store that is to take a peer is to be left',
        toStore4,
        (idle) => {
          idle.world.states.set(4, 'offline');
          idle.tell([[1], [2], [3]]);
        },
      ],
      [
        'the store that is to take a peer is down',
        toStore4,
        (idle) => {
          idle.world.states.set(4, 'down');
          idle.tell([[1], [2], [3], [4, PeerRole.Learner]], { confVer: 1 }, { pending: [4] });
        },
      ],
    ];
    for (const [what, steps, act] of cases) {
      it(what, () => {
        const idle = new Idle();
        idle.add(steps);
        act(idle);
        expect(idle.state).to.equal('cancelled');
        expect(idle.reason).to.not.equal('');
        expect(idle.weighs).to.equal(false);
      });
    }
  });

  for (const [what, spoil, pending] of [
    ['is behind', () => {}, [4]],
    ['is on a store that fell silent', (world: PlacementWorld) => world.states.set(4, 'disconnected'), []],
  ] as const)
    it(`lets no learner vote that ${what}, but waits for it`, () => {
      const idle = new Idle();
      idle.add([{ kind: 'promote', store: 4 }]);
      const learner = [[1], [2], [3], [4, PeerRole.Learner]] as const;
      spoil(idle.world);
      idle.world.coordinator.operators.cancel(idle.id, 'spec');
      idle.tell(learner, { confVer: 1 }, { pending });
      idle.add([{ kind: 'promote', store: 4 }]);
      expect(idle.tell(learner, {}, { pending })).to.equal(undefined);
      expect(idle.state).to.equal('running');
      idle.world.states.set(4, 'up');
      expect(idle.tell(learner)?.changePeer?.peer?.storeId).to.equal(4);
    });

  it('ends with its region, and leaves nothing behind', () => {
    const idle = new Idle();
    idle.add(toStore4);
    idle.world.coordinator.regionGone(idle.id);
    expect(idle.state).to.equal('cancelled');
    expect(idle.reason).to.contain('no more');
    expect(idle.weighs).to.equal(false);
  });

  describe('has its time', () => {
    for (const [kind, step, limit] of [
      ['a transfer of the leader: a minute', { kind: 'transferLeader', store: 2 }, MINUTE],
      [
        'a new peer: ten minutes and one second a MiB',
        { kind: 'addLearner', store: 4 },
        10 * MINUTE + 64 * SECOND,
      ],
    ] as const) {
      it(kind, async () => {
        const idle = new Idle();
        // The leader does not answer, and does nothing.
        idle.world.tree.remove(idle.id);
        idle.world.start();
        await idle.world.clock.advance(SECOND);
        const plan: OperatorPlan = { kind: 'region', by: 'spec', priority: 0, steps: [step] };
        idle.world.tree.put(idle.world.report(idle.id).region);
        idle.operators.add([{ plan, report: idle.world.report(idle.id) }]);
        idle.world.tree.remove(idle.id);
        await idle.world.clock.advance(limit - SECOND);
        expect(idle.state).to.equal('running');
        await idle.world.clock.advance(2 * SECOND);
        expect(idle.state).to.equal('timedOut');
        expect(idle.weighs).to.equal(false);
        idle.world.stop();
      });
    }

    it('three seconds to be begun', async () => {
      const idle = new Idle([1, 2, 3], { storeLimit: 0 });
      idle.world.start();
      await idle.world.clock.advance(SECOND);
      idle.add(toStore4);
      await idle.world.clock.advance(2_900);
      expect(idle.state).to.equal('waiting');
      await idle.world.clock.advance(500);
      expect(idle.state).to.equal('expired');
      expect(idle.weighs).to.equal(false);
      expect(idle.operators.count('region')).to.equal(0);
      idle.world.stop();
    });
  });

  it('with two transfers of the leader counts each from where the leader is by then', () => {
    const idle = new Idle();
    idle.add([
      { kind: 'transferLeader', store: 2 },
      { kind: 'transferLeader', store: 3 },
    ]);
    const leaders = [1, 2, 3].map((store) => idle.operators.influence(store).leaders);
    expect(leaders).to.deep.equal([-1, 0, 1]);
  });
});

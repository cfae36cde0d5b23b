import { expect } from 'chai';
import type { RegionReport } from '../../cluster/scheduler/placement/region-report.js';
import { metapb } from '../../storage/proto/index.js';
import { mending, stateIn } from './placement-plans.js';
import { PlacementWorld, type SimulatedRegion } from './placement-world.js';

const { Voter, Learner, IncomingVoter, DemotingVoter } = metapb.PeerRole;
const HOUR = 3_600_000;

interface Row {
  readonly what: string;
  readonly stores?: number;
  readonly region?: SimulatedRegion;
  readonly prepare?: (world: PlacementWorld, region: number) => void | Promise<void>;
  readonly state: string;
  readonly mended: string | undefined;
}

function change(
  world: PlacementWorld,
  id: number,
  of: (report: RegionReport) => Partial<RegionReport>,
): void {
  world.tell(id, of(world.report(id)));
}

/** Gives peers their roles, in the order of the region's stores. */
function roles(world: PlacementWorld, id: number, ...to: readonly metapb.PeerRole[]): void {
  const region = world.region(id);
  const peers = region.peers.map((peer, i) => ({ ...peer, role: to[i] ?? peer.role }));
  world.tell(id, { region: { ...region, peers } });
}

function pending(world: PlacementWorld, id: number, store: number): void {
  change(world, id, ({ region }) => ({
    pendingPeers: region.peers.filter(({ storeId }) => storeId === store),
  }));
}

/** Silent for longer than a store may be. */
async function lose(world: PlacementWorld, ...stores: readonly number[]): Promise<void> {
  for (const store of stores) world.kill(store);
  await world.clock.advance(HOUR);
}

const swap = (out: number, into: number) =>
  `add a learner on store ${into}, then swap the votes of stores ${out} for those of ${into}, ` +
  `then leave the joint membership, then remove the peer on store ${out}`;

const ROWS: readonly Row[] = [
  { what: 'three voters', state: 'whole', mended: undefined },
  {
    what: 'a joint membership that nobody works at',
    prepare: (world, id) => roles(world, id, Voter, IncomingVoter, DemotingVoter),
    state: 'joint',
    mended: 'joint-state: leave the joint membership',
  },
  {
    what: 'a joint membership whose leader is not to vote any more',
    prepare: (world, id) => roles(world, id, DemotingVoter, IncomingVoter, Voter),
    state: 'joint',
    mended: 'joint-state: make the peer on store 2 the leader, then leave the joint membership',
  },
  {
    what: 'a learner that has caught up where a voter is missing',
    region: { stores: [1, 2], learners: [3] },
    state: 'learner',
    mended: 'learner: promote the peer on store 3',
  },
  {
    what: 'a learner that is behind where a voter is missing',
    region: { stores: [1, 2], learners: [3] },
    prepare: (world, id) => pending(world, id, 3),
    state: 'learner',
    mended: undefined,
  },
  {
    what: 'a learner that nobody wants',
    region: { stores: [1, 2, 3], learners: [4] },
    state: 'learner',
    mended: 'learner: remove the peer on store 4',
  },
  {
    what: 'a learner that is wanted, on a store that is to be left',
    region: { stores: [1, 2], learners: [3] },
    prepare: (world) => void world.states.set(3, 'offline'),
    state: 'learner',
    mended: 'learner: remove the peer on store 3',
  },
  {
    what: 'a learner that is wanted and behind, on a store that is gone for good',
    region: { stores: [1, 2], learners: [3] },
    prepare: (world, id) => {
      pending(world, id, 3);
      world.states.set(3, 'tombstone');
    },
    state: 'learner',
    mended: 'learner: remove the peer on store 3',
  },
  {
    what: 'a learner that is wanted and behind, on a store that is lost',
    region: { stores: [1, 2], learners: [3] },
    prepare: async (world, id) => {
      pending(world, id, 3);
      await lose(world, 3);
    },
    state: 'learner',
    mended: 'learner: remove the peer on store 3',
  },
  {
    what: 'a learner that has caught up beside a voter that is lost, as another scheduler has left it',
    region: { stores: [1, 2, 3], learners: [4] },
    prepare: (world) => lose(world, 3),
    state: 'learner',
    mended:
      'learner: swap the votes of stores 3 for those of 4, then leave the joint membership, then remove the peer on store 3',
  },
  {
    what: 'a peer on a store that has been silent for long',
    prepare: (world) => lose(world, 3),
    state: 'down',
    mended: `replace-down: ${swap(3, 4)}`,
  },
  {
    what: 'a peer on a store that has been silent for a short time',
    prepare: async (world) => {
      world.kill(3);
      await world.clock.advance(HOUR / 4);
    },
    state: 'whole',
    mended: undefined,
  },
  {
    what: 'a peer on a lost store, with a voter too many',
    region: { stores: [1, 2, 3, 4] },
    prepare: (world) => lose(world, 3),
    state: 'down',
    mended: 'replace-down: remove the peer on store 3',
  },
  {
    what: 'a peer on a lost store, and nowhere to go',
    stores: 3,
    prepare: (world) => lose(world, 3),
    state: 'down',
    mended: undefined,
  },
  {
    what: 'a peer on a store that is to be left',
    prepare: (world) => void world.states.set(2, 'offline'),
    state: 'offline',
    mended: `replace-offline: ${swap(2, 4)}`,
  },
  {
    what: 'its leader on a store that is to be left',
    prepare: (world) => void world.states.set(1, 'offline'),
    state: 'offline',
    mended: `replace-offline: make the peer on store 2 the leader, then ${swap(1, 4)}`,
  },
  {
    what: 'a peer on a store that is gone for good',
    prepare: (world) => void world.states.set(2, 'tombstone'),
    state: 'offline',
    mended: `replace-offline: ${swap(2, 4)}`,
  },
  {
    what: 'a voter too few',
    region: { stores: [1, 2] },
    state: 'missing',
    mended: 'add-missing: add a learner on store 3, then promote the peer on store 3',
  },
  {
    what: 'a voter too few, and no store for it',
    stores: 2,
    region: { stores: [1, 2] },
    state: 'missing',
    mended: undefined,
  },
  {
    what: 'a voter too many: not the leader’s, of the rest the one on the fullest store',
    region: { stores: [1, 2, 3, 4] },
    prepare: (world) => void world.addRegion({ stores: [3] }),
    state: 'extra',
    mended: 'remove-extra: remove the peer on store 3',
  },
  {
    what: 'a voter too many: one that is down goes, though its store is empty',
    region: { stores: [1, 2, 3, 4] },
    prepare: (world, id) => {
      world.addRegion({ stores: [3] });
      change(world, id, ({ region }) => ({ downPeers: [{ peer: region.peers[3], downSeconds: 9 }] }));
    },
    state: 'extra',
    mended: 'remove-extra: remove the peer on store 4',
  },
  {
    what: 'two voters too many, and two on stores that fell silent: these go, for the others are the majority',
    region: { stores: [1, 2, 3, 4, 5] },
    stores: 5,
    prepare: (world) => {
      world.addRegion({ stores: [3] });
      for (const store of [4, 5]) world.states.set(store, 'disconnected');
    },
    state: 'extra',
    mended: 'remove-extra: remove the peer on store 4',
  },
];

describe('a region that is not as it should be', () => {
  for (const { what, stores = 4, region = { stores: [1, 2, 3] }, prepare, state, mended } of ROWS) {
    it(`${what}: ${state}, ${mended ?? 'nothing is done'}`, async () => {
      const world = new PlacementWorld(1, { maxMergeRegionSize: 0 });
      world.addStores(stores);
      const id = world.addRegion(region);
      await prepare?.(world, id);
      expect(stateIn(world, id).replication).to.equal(state);
      expect(mending(world, id)).to.equal(mended);
    });
  }

  it('is left alone when as many are mended as may be', () => {
    const world = new PlacementWorld(1, { replicaScheduleLimit: 0 });
    world.addStores(3);
    expect(mending(world, world.addRegion({ stores: [1, 2] }))).to.equal(undefined);
  });

  it('is urgent when it has lost half of its voters', () => {
    const world = new PlacementWorld(1, { maxReplicas: 5 });
    world.addStores(5);
    const few = world.addRegion({ stores: [1, 2] });
    const enough = world.addRegion({ stores: [1, 2, 3, 4] });
    world.start();
    return world
      .until('both are being mended', () => [few, enough].every((id) => world.coordinator.operators.of(id)))
      .then(() => {
        const priority = (id: number) => world.coordinator.operators.of(id)?.plan.priority ?? 0;
        expect(priority(few)).to.be.above(priority(enough));
        world.stop();
      });
  });

  it('across the border of a rule is split there before anything else is mended', () => {
    const rules = [{ id: 'r', start: 'b', end: 'm', count: 1, constraints: [] }];
    const world = new PlacementWorld(1, { rules });
    world.addStores(3);
    expect(mending(world, world.addRegion({ stores: [1, 2] }))).to.equal('placement-border: split at 2 keys');
  });

  it('across a border and joint leaves the joint membership first', () => {
    const world = new PlacementWorld(1, {
      rules: [{ id: 'r', start: 'b', end: '', count: 1, constraints: [] }],
    });
    world.addStores(3);
    const id = world.addRegion({ stores: [1, 2, 3] });
    roles(world, id, Voter, Voter, Learner);
    roles(world, id, Voter, IncomingVoter, DemotingVoter);
    expect(mending(world, id)).to.equal('joint-state: leave the joint membership');
  });
});

import { expect } from 'chai';
import { seededRandom } from '../../actors/index.js';
import { balanceLeader } from '../../cluster/scheduler/placement/schedulers/balance-leader.js';
import { balanceRegion } from '../../cluster/scheduler/placement/schedulers/balance-region.js';
import { evictLeaders, grantLeaders } from '../../cluster/scheduler/placement/schedulers/leaders-of-store.js';
import { metapb } from '../../storage/proto/index.js';
import { inWords, schedulingOf } from './placement-plans.js';
import { PlacementWorld } from './placement-world.js';

const { Voter, IncomingVoter, DemotingVoter } = metapb.PeerRole;
const HOUR = 3_600_000;

/** Three stores that hold everything, led from the first, and a fourth one that is empty. */
function uneven(regions = 20, config = {}): { world: PlacementWorld; ids: number[] } {
  const world = new PlacementWorld(1, { maxMergeRegionSize: 0, ...config });
  world.addStores(4);
  const ids = Array.from({ length: regions }, () => world.addRegion({ stores: [1, 2, 3] }));
  return { world, ids };
}

function regionMove(world: PlacementWorld): string | undefined {
  return inWords(balanceRegion(schedulingOf(world, seededRandom(5))));
}

describe('field note 27: balance takes nothing from a region that is not whole', () => {
  const roles = (world: PlacementWorld, id: number, ...to: readonly metapb.PeerRole[]) => {
    const region = world.region(id);
    world.tell(id, {
      region: { ...region, peers: region.peers.map((peer, i) => ({ ...peer, role: to[i] ?? peer.role })) },
    });
  };
  const drop = (world: PlacementWorld, id: number, keep: number) => {
    const region = world.region(id);
    world.tell(id, { region: { ...region, peers: region.peers.slice(0, keep) } });
  };
  const states: readonly (readonly [string, (world: PlacementWorld, id: number) => void | Promise<void>])[] =
    [
      ['missing', (world, id) => drop(world, id, 2)],
      [
        'extra',
        (world) => {
          world.view.config = { ...world.view.config, maxReplicas: 2 };
        },
      ],
      ['joint', (world, id) => roles(world, id, Voter, IncomingVoter, DemotingVoter)],
      ['with a learner', (world, id) => roles(world, id, Voter, Voter, metapb.PeerRole.Learner)],
      ['offline', (world) => void world.states.set(3, 'offline')],
      [
        'down',
        async (world) => {
          world.kill(3);
          await world.clock.advance(HOUR);
        },
      ],
      [
        'with a peer that does not answer',
        (world, id) => world.tell(id, { downPeers: [{ peer: world.region(id).peers[2], downSeconds: 1 }] }),
      ],
      [
        'misplaced',
        (world) => {
          const rules = [
            {
              id: 'r',
              start: '',
              end: '',
              count: 3,
              constraints: [{ key: 'disk', op: 'exists', values: [] }],
            },
          ] as const;
          world.view.config = { ...world.view.config, rules };
        },
      ],
    ];
  for (const [what, spoil] of states) {
    it(`${what}: no replica and no leader is moved`, async () => {
      const { world, ids } = uneven();
      expect(regionMove(world)).to.match(/^balance-region/);
      for (const id of ids) await spoil(world, id);
      expect(regionMove(world)).to.equal(undefined);
      const scheduling = schedulingOf(world, seededRandom(5));
      for (const proposals of [
        balanceLeader(scheduling),
        evictLeaders(scheduling, 1),
        grantLeaders(scheduling, 2),
      ])
        expect(proposals).to.deep.equal([]);
    });
  }
});

describe('balance-region', () => {
  it('moves a follower from the fullest store to the emptiest one', () => {
    const { world } = uneven();
    world.addRegion({ stores: [3] });
    expect(regionMove(world)).to.equal(
      'balance-region: add a learner on store 4, then swap the votes of stores 3 for those of 4, ' +
        'then leave the joint membership, then remove the peer on store 3',
    );
  });

  it('hands the leader over first, where all that can be moved is led there', () => {
    const world = new PlacementWorld(1, { maxReplicas: 1, maxMergeRegionSize: 0 });
    world.addStores(2);
    for (let i = 0; i < 10; i++) world.addRegion({ stores: [1] });
    expect(regionMove(world)).to.equal(
      'balance-region: add a learner on store 2, then promote the peer on store 2, ' +
        'then make the peer on store 2 the leader, then remove the peer on store 1',
    );
  });

  it('looks at followers when what is pending cannot be moved, and at leaders when followers cannot', () => {
    const { world, ids } = uneven(20);
    const [first = 0] = ids;
    const [, , third] = world.region(first).peers;
    world.addRegion({ stores: [3] });
    // It is behind on the fullest store, and another one of its peers is down.
    world.tell(first, {
      pendingPeers: third === undefined ? [] : [third],
      downPeers: [{ peer: world.region(first).peers[1], downSeconds: 1 }],
    });
    expect(regionMove(world)).to.match(/^balance-region: .*remove the peer on store 3$/);

    const led = uneven(0);
    led.world.addStores(3);
    led.world.addRegion({ stores: [2, 1], leader: 2 });
    for (let i = 0; i < 10; i++) led.world.addRegion({ stores: [1, 2, 3] });
    for (let i = 0; i < 10; i++) led.world.addRegion({ stores: [1, 5, 6] });
    const only = led.world.tree.all().filter(({ peers }) => peers[0]?.storeId !== 1);
    expect(only).to.have.length(1);
    for (const { id, peers } of led.world.tree.all())
      if (peers[0]?.storeId === 1) expect(led.world.leaderOf(id)).to.equal(1);
    expect(regionMove(led.world)).to.match(/^balance-region: make the peer .*remove the peer on store 1$/);
  });

  const refused: readonly (readonly [string, (world: PlacementWorld) => void])[] = [
    ['is full', (world) => void stat(world, 4, { capacity: 100 * 2 ** 30, available: 19 * 2 ** 30 })],
    ['is busy', (world) => void stat(world, 4, { isBusy: true })],
    ['takes 64 snapshots', (world) => void stat(world, 4, { receivingSnapCount: 64 })],
    ['is disconnected', (world) => void world.states.set(4, 'disconnected')],
    ['is to be left', (world) => void world.states.set(4, 'offline')],
    [
      'may take nothing',
      (world) => {
        world.view.storeLimits = new Map([[4, 0]]);
      },
    ],
  ];
  for (const [what, spoil] of refused) {
    it(`gives nothing to a store that ${what}`, () => {
      const { world } = uneven();
      spoil(world);
      expect(regionMove(world)).to.equal(undefined);
    });
  }

  it('gives nothing when its limit is reached, or the difference does not pay', () => {
    expect(regionMove(uneven(20, { regionScheduleLimit: 0 }).world)).to.equal(undefined);
    // One region against none: after the move they would have changed places.
    expect(regionMove(uneven(1).world)).to.equal(undefined);
    expect(regionMove(uneven(2).world)).to.equal(undefined);
  });

  it('counts what is on its way', () => {
    const { world, ids } = uneven(6);
    const moves = ids.flatMap(() => {
      const found = balanceRegion(schedulingOf(world, seededRandom(1)));
      return found.length > 0 && world.coordinator.operators.add(found) === undefined ? [found] : [];
    });
    // 18 replicas on four stores: with four or five under way the rest would not pay.
    expect(moves.length).to.be.within(2, 4);
  });
});

describe('balance-leader', () => {
  const leaderMove = (world: PlacementWorld) => inWords(balanceLeader(schedulingOf(world, seededRandom(5))));

  it('moves a leader from the store with most to the peer whose store leads least', () => {
    const { world } = uneven();
    world.addRegion({ stores: [2, 1, 3] });
    expect(leaderMove(world)).to.equal('balance-leader: make the peer on store 3 the leader');
  });

  it('moves none for a difference of one, or of two by one, or beyond its limit', () => {
    expect(leaderMove(uneven(1).world)).to.equal(undefined);
    expect(leaderMove(uneven(2).world)).to.match(/^balance-leader/);
    expect(leaderMove(uneven(20, { leaderScheduleLimit: 0 }).world)).to.equal(undefined);
  });

  const unfit: readonly (readonly [string, (world: PlacementWorld, ids: readonly number[]) => void])[] = [
    [
      'disconnected',
      (world) => {
        for (const id of [2, 3]) world.states.set(id, 'disconnected');
      },
    ],
    [
      'busy',
      (world) => {
        for (const id of [2, 3]) stat(world, id, { isBusy: true });
      },
    ],
    [
      'being evicted',
      (world) => {
        world.view.evicted = new Set([2, 3]);
      },
    ],
    [
      'behind',
      (world, ids) => {
        for (const id of ids) world.tell(id, { pendingPeers: world.region(id).peers.slice(1) });
      },
    ],
  ];
  for (const [what, spoil] of unfit) {
    it(`makes no peer the leader that is ${what}`, () => {
      const { world, ids } = uneven();
      spoil(world, ids);
      expect(leaderMove(world)).to.equal(undefined);
    });
  }
});

function stat(world: PlacementWorld, id: number, change: object): void {
  const stats = world.stats.get(id);
  if (stats !== undefined) world.stats.set(id, { ...stats, ...change });
}

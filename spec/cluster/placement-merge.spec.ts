import { expect } from 'chai';
import type { PlacementConfig } from '../../cluster/scheduler/placement/config.js';
import { checked, inWords } from './placement-plans.js';
import { keyOf, MIB, PlacementWorld, type SimulatedRegion } from './placement-world.js';

const SMALL: SimulatedRegion = { stores: [1, 2, 3], size: 10 * MIB, keys: 1_000 };

/** A small region between two neighbours, and what is done about it. */
function between(
  before: SimulatedRegion,
  after: SimulatedRegion,
  config: Partial<PlacementConfig> = {},
  small = SMALL,
) {
  const world = new PlacementWorld(1, config);
  world.addStores(5);
  const ids = [before, small, after].map((region) => world.addRegion(region));
  const [first = 0, middle = 0, last = 0] = ids;
  return { world, first, middle, last };
}

const BIG = { stores: [1, 2, 3], size: 80 * MIB };

describe('a small region is merged', () => {
  it('into the smaller one of its neighbours, which waits for it', () => {
    const { world, first, middle, last } = between({ ...BIG, size: 60 * MIB }, { ...SMALL, size: 20 * MIB });
    const plans = checked(world, middle);
    expect(inWords(plans)).to.equal(`merge: merge into region ${last}`);
    expect(plans.map(({ report }) => report.region.id)).to.deep.equal([middle, last]);
    expect(plans.map(({ report }) => report.region.id)).to.not.include(first);
  });

  it('after its replicas are where those of the neighbour are', () => {
    const { world, middle } = between(BIG, { stores: [1, 4, 3], size: 20 * MIB });
    expect(inWords(checked(world, middle))).to.match(
      /^merge: add a learner on store 4, then swap .* 2 .* 4, then leave .*, then remove the peer on store 2, then merge/,
    );
  });

  const never: readonly (readonly [
    string,
    Partial<PlacementConfig>,
    before: SimulatedRegion,
    after: SimulatedRegion,
    small?: SimulatedRegion,
  ])[] = [
    ['is too large', {}, SMALL, SMALL, { ...SMALL, size: 55 * MIB }],
    ['has too many keys', {}, SMALL, SMALL, { ...SMALL, keys: 540_001 }],
    ['is hot', {}, SMALL, SMALL, { ...SMALL, flow: { bytesWritten: 2 * MIB } }],
    ['would be too large with either neighbour', {}, BIG, { ...BIG, size: 72 * MIB }],
    [
      'would have too many keys with either neighbour',
      {},
      { ...SMALL, keys: 810_000 },
      { ...SMALL, keys: 809_001 },
    ],
    ['has a learner', {}, SMALL, SMALL, { ...SMALL, learners: [4] }],
    ['has neighbours with a learner', {}, { ...SMALL, learners: [4] }, { ...SMALL, learners: [5] }],
    ['is not to be merged by the size that is set', { maxMergeRegionSize: 0 }, SMALL, SMALL],
    ['is one of more than may merge at once', { mergeScheduleLimit: 0 }, SMALL, SMALL],
    [
      'is cut off from both neighbours by the borders of rules',
      { rules: [{ id: 'r', start: keyText(1), end: keyText(2), count: 3, constraints: [] }] },
      SMALL,
      SMALL,
    ],
  ];
  for (const [what, config, before, after, small] of never) {
    it(`unless it ${what}`, () => {
      const { world, middle } = between(before, after, config, small);
      const plans = checked(world, middle);
      expect(plans.filter(({ plan }) => plan.kind === 'merge')).to.deep.equal([]);
    });
  }

  it('as soon as one neighbour is fit, however the other one is', () => {
    const { world, first, middle } = between(SMALL, { ...SMALL, learners: [4] });
    expect(inWords(checked(world, middle))).to.equal(`merge: merge into region ${first}`);
  });

  it('unless a neighbour is down, pending, just split, hot, not whole or under way', () => {
    const { world, first, middle, last } = between(BIG, SMALL);
    const merges = () => checked(world, middle, (id) => !restless.has(id)).length > 0;
    const restless = new Set<number>();
    expect(merges()).to.equal(true);
    restless.add(last);
    expect(merges()).to.equal(false);
    restless.clear();
    const peers = world.region(last).peers.slice(1, 2);
    for (const trouble of [
      { pendingPeers: peers },
      { downPeers: peers.map((peer) => ({ peer, downSeconds: 1 })) },
    ]) {
      world.tell(last, trouble);
      expect(merges()).to.equal(false);
      world.tell(last, { pendingPeers: [], downPeers: [] });
      expect(merges()).to.equal(true);
    }
    const plan = { kind: 'admin', by: 'spec', priority: 3, steps: [{ kind: 'split', keys: [] }] } as const;
    world.coordinator.operators.add([{ plan, report: world.report(last) }]);
    expect(merges()).to.equal(false);
    expect(first).to.not.equal(last);
  });

  it('only when it, and its scheduler, are an hour old; a split counts anew', async () => {
    const { world, middle } = between(BIG, SMALL, { splitMergeInterval: 60_000 });
    world.start();
    await world.clock.advance(58_000);
    expect(world.story.filter((line) => line.includes('goes into'))).to.deep.equal([]);
    world.coordinator.wasSplit([middle]);
    await world.clock.advance(50_000);
    expect(world.tree.size).to.equal(3);
    await world.until('it is merged', () => world.tree.size === 2, 20_000);
    world.stop();
  });

  it('and both operators succeed, though preparing a merge raises both halves of the epoch', async () => {
    const { world, middle, last } = between(BIG, SMALL, { splitMergeInterval: 0 });
    world.schedulers = [];
    world.start();
    const { operators } = world.coordinator;
    await world.until('a merge is under way', () => operators.of(middle)?.state === 'running', 30_000);
    const region = world.region(middle);
    const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
    world.tell(middle, {
      region: { ...region, regionEpoch: { confVer: confVer + 1, version: version + 1 } },
    });
    expect(operators.of(middle)?.state, operators.ended[0]?.operator.reason).to.equal('running');
    await world.until('it is merged', () => world.tree.size === 2, 30_000);
    await world.rest();
    const ended = operators.ended.filter(({ operator }) => [middle, last].includes(operator.regionId));
    expect(ended.map(({ state }) => state)).to.deep.equal(['success', 'success']);
    world.stop();
  });

  for (const side of ['middle', 'last'] as const) {
    it(`with neither operator left when the one of the ${side === 'last' ? 'neighbour' : 'small region'} ends`, async () => {
      const worldOf = between(BIG, { ...SMALL, stores: [1, 2, 4] }, { splitMergeInterval: 0 });
      const { world, middle, last } = worldOf;
      world.start();
      const { operators } = world.coordinator;
      await world.until('a merge is under way', () => operators.of(middle)?.state === 'running', 30_000);
      expect(operators.of(last)?.state).to.equal('running');
      operators.cancel(worldOf[side], 'spec');
      expect([operators.of(middle), operators.of(last)]).to.deep.equal([undefined, undefined]);
      world.stop();
    });
  }
});

function keyText(n: number): string {
  return Buffer.from(keyOf(n)).toString();
}

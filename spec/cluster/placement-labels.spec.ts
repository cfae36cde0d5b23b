import { expect } from 'chai';
import type { PlacementConfig } from '../../cluster/scheduler/placement/config.js';
import { distinctScore, isIsolated } from '../../cluster/scheduler/placement/isolation.js';
import { metapb } from '../../storage/proto/index.js';
import { mending, stateIn } from './placement-plans.js';
import { PlacementWorld } from './placement-world.js';

type Labels = Readonly<Record<string, string>>;
const rack = (...racks: readonly string[]): Labels[] => racks.map((one) => (one === '' ? {} : { rack: one }));

function placed(labels: readonly Labels[], stores: readonly number[], config: Partial<PlacementConfig>) {
  const world = new PlacementWorld(1, { maxMergeRegionSize: 0, locationLabels: ['rack'], ...config });
  for (const one of labels) world.addStore(one);
  const id = world.addRegion({ stores });
  return { world, id, target: () => /learner on store (\d+)/.exec(mending(world, id) ?? '')?.[1] };
}

const RACK = { isolationLevel: 'rack' };

describe('placement by label', () => {
  const rows: readonly (readonly [
    string,
    labels: readonly Labels[],
    stores: readonly number[],
    Partial<PlacementConfig>,
    state: string,
    target: string | undefined,
  ])[] = [
    ['racks that differ', rack('a', 'b', 'c'), [1, 2, 3], RACK, 'whole', undefined],
    ['two in a rack, and another rack', rack('a', 'a', 'b', 'c'), [1, 2, 3], RACK, 'misplaced', '4'],
    ['two in a rack, and no other rack', rack('a', 'a', 'b', 'b'), [1, 2, 3], RACK, 'misplaced', undefined],
    [
      'two in a rack that only should not, and another',
      rack('a', 'a', 'b', 'c'),
      [1, 2, 3],
      {},
      'whole',
      '4',
    ],
    [
      'two in a rack that only should not, and none',
      rack('a', 'a', 'b', 'b'),
      [1, 2, 3],
      {},
      'whole',
      undefined,
    ],
    ['one is missing, and a rack is free', rack('a', 'b', 'b', 'c'), [1, 2], RACK, 'missing', '4'],
    ['one is missing, and too few racks', rack('a', 'b', 'b', 'a'), [1, 2], RACK, 'missing', undefined],
    [
      'one is missing, and too few racks that only should',
      rack('a', 'b', 'b', 'a'),
      [1, 2],
      {},
      'missing',
      '3',
    ],
    ['a store that says nothing is where nobody is', rack('a', 'b', 'b', ''), [1, 2], RACK, 'missing', '4'],
    ['several stores that say nothing', rack('', '', ''), [1, 2, 3], RACK, 'whole', undefined],
  ];
  for (const [what, labels, stores, config, state, target] of rows) {
    it(`${what}: ${state}, ${target === undefined ? 'nothing is done' : `store ${target} takes one`}`, () => {
      const { world, id, target: found } = placed(labels, stores, config);
      expect(stateIn(world, id).replication).to.equal(state);
      expect(found()).to.equal(target);
    });
  }

  const zones: readonly Labels[] = [
    { zone: 'x', rack: '1' },
    { zone: 'y', rack: '1' },
    { zone: 'x', rack: '2' },
    { zone: 'x', rack: '1' },
    { zone: 'z', rack: '1' },
  ];

  it('racks of the same name in two zones are two racks', () => {
    const config = { locationLabels: ['zone', 'rack'], isolationLevel: 'rack' };
    const { world, id } = placed(zones, [1, 2, 3], config);
    expect(stateIn(world, id).replication).to.equal('whole');
    expect(stateIn(world, world.addRegion({ stores: [1, 2, 4] })).replication).to.equal('misplaced');
  });

  it('the widest label counts first: a third zone is better than a second rack', () => {
    const { target } = placed(zones, [1, 2, 3], { locationLabels: ['zone', 'rack'] });
    expect(target()).to.equal('5');
  });

  it('a rule says which stores, and how many', () => {
    const disks: readonly Labels[] = ['ssd', 'ssd', 'hdd', '', 'ssd'].map((disk) =>
      disk === '' ? {} : { disk },
    );
    const of = (op: 'in' | 'notIn' | 'exists' | 'notExists', values: readonly string[], count = 3) => ({
      locationLabels: [],
      rules: [{ id: 'r', start: '', end: '', count, constraints: [{ key: 'disk', op, values }] }],
    });
    const row = (config: Partial<PlacementConfig>, stores: readonly number[]) => {
      const { world, id } = placed(disks, stores, config);
      return [stateIn(world, id).replication, /^[^:]*: .*?store (\d+)/.exec(mending(world, id) ?? '')?.[1]];
    };
    expect(row(of('in', ['ssd']), [1, 2, 3])).to.deep.equal(['misplaced', '5']);
    expect(row(of('in', ['ssd']), [1, 2, 5])).to.deep.equal(['whole', undefined]);
    expect(row(of('notIn', ['hdd']), [1, 2, 4])).to.deep.equal(['whole', undefined]);
    expect(row(of('notIn', ['hdd']), [1, 3, 4])[0]).to.equal('misplaced');
    expect(row(of('exists', []), [1, 2, 4])).to.deep.equal(['misplaced', '3']);
    expect(row(of('notExists', [], 1), [4])).to.deep.equal(['whole', undefined]);
    expect(row(of('in', ['ssd'], 2), [1, 2, 3])).to.deep.equal(['extra', '3']);
    expect(row(of('in', ['ssd'], 5), [1, 2, 5])).to.deep.equal(['missing', undefined]);
  });

  it('ends where it is as good as it can be, and rests', async () => {
    const { world, id } = placed(rack('a', 'a', 'a', 'b', 'c', 'd'), [1, 2, 3], {});
    for (let i = 0; i < 20; i++) world.addRegion({ stores: [1, 2, 3] });
    world.start();
    await world.rest();
    for (const { peers } of world.tree.all())
      expect(new Set(peers.map(({ storeId }) => (storeId <= 3 ? 'a' : storeId))).size).to.equal(3);
    expect(stateIn(world, id).replication).to.equal('whole');
    world.stop();
  });
});

describe('the distance of stores', () => {
  const store = (id: number, labels: Labels) =>
    metapb.Store.from({ id, labels: Object.entries(labels).map(([key, value]) => ({ key, value })) });

  it('is counted by the first label in which they differ', () => {
    const one = store(1, { zone: 'x', rack: '1', host: 'a' });
    const score = (labels: Labels) => distinctScore(['zone', 'rack', 'host'], [one], store(2, labels));
    expect(score({ zone: 'x', rack: '1', host: 'a' })).to.equal(0);
    expect(score({ zone: 'x', rack: '1', host: 'b' })).to.equal(1);
    expect(score({ zone: 'x', rack: '2', host: 'a' })).to.equal(100);
    expect(score({ zone: 'y', rack: '1', host: 'a' })).to.equal(10_000);
    expect(score({ rack: '1', host: 'a' })).to.equal(10_000);
    expect(distinctScore([], [one], store(2, {}))).to.equal(0);
    expect(distinctScore(['zone'], [one], one)).to.equal(0);
  });

  it('is enough when they differ in the isolation level or in a wider one', () => {
    const others = [store(1, { zone: 'x', rack: '1' })];
    const isolated = (level: string, labels: Labels) =>
      isIsolated(level, ['zone', 'rack'], others, store(2, labels));
    expect(isolated('', { zone: 'x', rack: '1' })).to.equal(true);
    expect(isolated('rack', { zone: 'x', rack: '1' })).to.equal(false);
    expect(isolated('rack', { zone: 'y', rack: '1' })).to.equal(true);
    expect(isolated('zone', { zone: 'x', rack: '2' })).to.equal(false);
  });
});

import { expect } from 'chai';
import { pdpb } from '../../cluster/proto/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { bytes, faultOf, miscounts, regionOf, ServiceWorld } from './placement-service-world.js';

const { DUPLICATED_ENTRY, ENTRY_NOT_FOUND, INVALID_VALUE, IDENTITY_MISMATCH } = pdpb.ErrorType;

type Range = readonly [string, string];
type Epoch = readonly [number, number];

/** Three regions: 1 of [, g) with epoch 5/5, 2 of [g, p) with 5/7, 3 of [p, ) with 5/9. */
async function threeRegions(): Promise<{ world: ServiceWorld; stores: number[] }> {
  const world = new ServiceWorld();
  const stores = world.addStores(3);
  await world.heartbeat(regionOf(1, ['', 'g'], [5, 5], stores));
  await world.heartbeat(regionOf(2, ['g', 'p'], [5, 7], stores));
  await world.heartbeat(regionOf(3, ['p', ''], [5, 9], stores));
  return { world, stores };
}

function image(world: ServiceWorld): unknown {
  const { view } = world.placement;
  return view.regions.all().map((region) => [region, view.report(region.id)]);
}

describe('heartbeats of regions at the scheduler', () => {
  describe('are judged by epoch, their own and that of all that they overlap', () => {
    const table: readonly (readonly [
      string,
      id: number,
      Range,
      Epoch,
      term: number,
      left: readonly number[] | 'stale',
    ])[] = [
      ['the same again', 2, ['g', 'p'], [5, 7], 6, [1, 2, 3]],
      ['a newer term', 2, ['g', 'p'], [5, 7], 7, [1, 2, 3]],
      ['an older term', 2, ['g', 'p'], [5, 7], 5, 'stale'],
      ['an older term under a newer epoch', 2, ['g', 'p'], [6, 7], 5, 'stale'],
      ['an older version', 2, ['g', 'p'], [5, 6], 6, 'stale'],
      ['an older membership', 2, ['g', 'p'], [4, 7], 6, 'stale'],
      ['an older version under a newer membership', 2, ['g', 'p'], [9, 6], 9, 'stale'],
      ['an older membership under a newer version', 2, ['g', 'p'], [4, 9], 9, 'stale'],
      ['grown over an older neighbour', 2, ['', 'p'], [5, 8], 6, [2, 3]],
      ['grown over an older neighbour without a newer version of its own', 2, ['', 'p'], [5, 7], 6, [2, 3]],
      ['grown over a newer neighbour', 2, ['g', ''], [5, 8], 6, 'stale'],
      ['grown over a neighbour that is as new', 2, ['g', ''], [5, 9], 6, [1, 2]],
      ['shrunk by a split', 2, ['g', 'k'], [5, 8], 6, [1, 2, 3]],
      ['unknown, over an older one', 9, ['a', 'b'], [1, 6], 6, [9, 2, 3]],
      ['unknown, over one that is as new', 9, ['g', 'h'], [1, 7], 6, [1, 9, 3]],
      ['unknown, over a newer one', 9, ['q', 'r'], [1, 8], 6, 'stale'],
      ['unknown, over a newer one, with a larger membership', 9, ['q', 'r'], [99, 8], 99, 'stale'],
      ['unknown, newer than the first of two that it overlaps only', 9, ['a', 'h'], [1, 6], 6, 'stale'],
      ['unknown, newer than the last of two that it overlaps only', 9, ['a', 'h'], [1, 5], 6, 'stale'],
      ['unknown, newer than two but not the third', 9, ['', ''], [1, 8], 6, 'stale'],
      ['unknown, as new as the newest of all three', 9, ['', ''], [1, 9], 6, [9]],
    ];
    for (const [what, id, range, epoch, term, left] of table) {
      it(`${what}: ${left === 'stale' ? 'refused' : `${left.join(', ')} remain`}`, async () => {
        const { world, stores } = await threeRegions();
        const region = regionOf(id, range, epoch, stores);
        const before = image(world);
        if (left === 'stale') {
          expect((await world.refused(region, { term })).type).to.equal(DUPLICATED_ENTRY);
          expect(image(world)).to.deep.equal(before);
        } else {
          await world.heartbeat(region, { term });
          expect(world.state.regions.all().map((one) => one.id)).to.deep.equal(left);
          expect(world.placement.view.reported).to.equal(left.length);
        }
        expect(miscounts(world.placement.view, stores)).to.deep.equal([]);
      });
    }
  });

  it('of a merged region are refused for ever', async () => {
    const { world, stores } = await threeRegions();
    await world.heartbeat(regionOf(2, ['', 'p'], [5, 8], stores));
    await world.service.answer({ type: 'pd.reportMerged', header: undefined, regionIds: [1] });
    const fault = await world.refused(regionOf(1, ['', 'g'], [50, 50], stores), { term: 50 });
    expect(fault.type).to.equal(DUPLICATED_ENTRY);
  });

  it('replicate nothing when nothing changed', async () => {
    const { world, stores } = await threeRegions();
    const applied = world.applied.length;
    await world.heartbeat(regionOf(2, ['g', 'p'], [5, 7], stores), { approximateSize: 5_000_000 });
    expect(world.applied.length).to.equal(applied);
  });

  describe('with what cannot be are refused, and nothing changes', () => {
    const table: readonly (readonly [
      string,
      (region: metapb.Region) => Partial<pdpb.RegionHeartbeatRequest>,
      pdpb.ErrorType,
    ])[] = [
      ['no region', () => ({ region: undefined }), INVALID_VALUE],
      ['no leader', () => ({ leader: undefined }), INVALID_VALUE],
      ['a leader that is no peer', () => ({ leader: { id: 77, storeId: 1, role: 0 } }), INVALID_VALUE],
      ['another cluster', () => ({ header: { clusterId: 8, senderId: 0 } }), IDENTITY_MISMATCH],
      [
        'a range that ends before it starts',
        (r) => ({ region: { ...r, startKey: bytes('x') } }),
        INVALID_VALUE,
      ],
      ['an empty range', (r) => ({ region: { ...r, startKey: r.endKey } }), INVALID_VALUE],
      ['no epoch', (r) => ({ region: { ...r, regionEpoch: undefined } }), INVALID_VALUE],
      ['the id 0', (r) => ({ region: { ...r, id: 0 } }), INVALID_VALUE],
      ['no peers', (r) => ({ region: { ...r, peers: [] } }), INVALID_VALUE],
      [
        'two peers on a store',
        (r) => ({ region: { ...r, peers: [...r.peers, { id: 999, storeId: 1, role: 0 }] } }),
        INVALID_VALUE,
      ],
      [
        'an unknown store',
        (r) => ({ region: { ...r, peers: [...r.peers, { id: 999, storeId: 99, role: 0 }] } }),
        ENTRY_NOT_FOUND,
      ],
    ];
    for (const [what, change, type] of table) {
      it(what, async () => {
        const { world, stores } = await threeRegions();
        const region = regionOf(2, ['g', 'p'], [6, 8], stores);
        const before = image(world);
        const fault = await faultOf(
          Promise.resolve().then(() => world.heartbeat(region, { term: 9, ...change(region) })),
        );
        expect(fault.type).to.equal(type);
        expect(image(world)).to.deep.equal(before);
      });
    }
  });

  describe('field note 22: no key is without its region', () => {
    it('after a split that is reported at once, and before either half has a heartbeat', async () => {
      const { world, stores } = await threeRegions();
      const regions = [regionOf(9, ['g', 'k'], [5, 8], stores), regionOf(2, ['k', 'p'], [5, 8], stores)];
      await world.service.answer({ type: 'pd.reportBatchSplit', header: undefined, regions });
      for (const [key, id] of [
        ['h', 9],
        ['m', 2],
      ] as const) {
        const found = await world.service.answer({
          type: 'pd.getRegion',
          header: undefined,
          regionKey: bytes(key),
        });
        expect(found.region?.id).to.equal(id);
      }
    });

    it('after a change of leader, whose first heartbeat says who leads', async () => {
      const { world, stores } = await threeRegions();
      const region = regionOf(2, ['g', 'p'], [5, 7], stores);
      await world.heartbeat(region, { leader: region.peers[2], term: 7 });
      const asked = { type: 'pd.getRegionById', header: undefined, regionId: 2 } as const;
      expect((await world.service.answer(asked)).leader).to.deep.equal(region.peers[2]);
      // The old one did not know yet that it is none.
      await world.refused(region, { leader: region.peers[0], term: 6 });
      expect((await world.service.answer(asked)).leader).to.deep.equal(region.peers[2]);
    });
  });

  it('of a report that is older than the region: nothing is planned with it', async () => {
    const { world, stores } = await threeRegions();
    const { view, coordinator } = world.placement;
    const old = view.report(2);
    const regions = [regionOf(9, ['k', 'p'], [5, 8], stores), regionOf(2, ['g', 'k'], [5, 8], stores)];
    await world.service.answer({ type: 'pd.reportBatchSplit', header: undefined, regions });
    if (old === undefined) throw new Error('region 2 has told nothing');
    const plan = {
      kind: 'merge',
      by: 'spec',
      priority: 0,
      steps: [{ kind: 'awaitMerge', source: 3 }],
    } as const;
    expect(coordinator.operators.add([{ plan, report: old }])).to.contain('has changed meanwhile');
  });
});

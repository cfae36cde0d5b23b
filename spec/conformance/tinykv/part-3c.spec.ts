import { expect } from 'chai';
import { seededRandom } from '../../../actors/index.js';
import { pdpb } from '../../../cluster/proto/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import { bytes, miscounts, regionOf, ServiceWorld } from '../../cluster/placement-service-world.js';

const STORES = 3;
const REGIONS = 3;
const MIB = 1024 * 1024;

/** What a region's leader says beside its descriptor. */
type Told = Partial<pdpb.RegionHeartbeatRequest>;

/** Three stores, and what their regions were last told to be. */
class Heartbeats {
  readonly world = new ServiceWorld();
  readonly stores = this.world.addStores(STORES);
  readonly told = new Map<number, { readonly region: metapb.Region; readonly more: Told }>();

  async accept(region: metapb.Region, more: Told = {}): Promise<void> {
    await this.world.heartbeat(region, more);
    this.told.set(region.id, { region, more });
    this.check();
  }

  /** Nothing may have changed. */
  async refuse(region: metapb.Region): Promise<void> {
    const fault = await this.world.refused(region);
    expect(fault.type).to.equal(pdpb.ErrorType.DUPLICATED_ENTRY);
    this.check();
  }

  /** The tree, each region by id and by key, what leaders told, and the counts of every store. */
  check(): void {
    const { view } = this.world.placement;
    expect(view.regions.size).to.equal(this.told.size);
    expect(view.reported).to.equal(this.told.size);
    for (const { region, more } of this.told.values()) {
      expect(view.regions.get(region.id)).to.deep.equal(region);
      expect(view.regions.find(region.startKey)).to.deep.equal(region);
      const report = view.report(region.id);
      expect(report?.region).to.deep.equal(region);
      expect(report?.leader).to.deep.equal(more.leader ?? region.peers[0]);
      expect(report?.pendingPeers).to.deep.equal(more.pendingPeers ?? []);
      expect(report?.approximateSize).to.equal(more.approximateSize ?? 0);
    }
    expect(miscounts(view, this.stores)).to.deep.equal([]);
  }

  /** Region `n` of three, with three peers, under epoch 2/2. */
  region(n: number): metapb.Region {
    const keys = ['', 'b', 'c', ''];
    return regionOf(n, [keys[n - 1] ?? '', keys[n] ?? ''], [2, 2], this.stores);
  }

  get regions(): metapb.Region[] {
    return Array.from({ length: REGIONS }, (_, i) => this.region(i + 1));
  }

  async fill(): Promise<this> {
    for (const region of this.regions) await this.accept(region);
    return this;
  }
}

function withEpoch(region: metapb.Region, confVer: number, version: number): metapb.Region {
  return { ...region, regionEpoch: { confVer, version } };
}

/** Each region by itself, one after the other. */
async function eachRegion(act: (told: Heartbeats, region: metapb.Region) => Promise<void>): Promise<void> {
  const told = await new Heartbeats().fill();
  for (const region of told.regions) await act(told, region);
}

describe('TinyKV part 3C, what the scheduler takes from heartbeats', () => {
  it('TestRegionNotUpdate3C', () => eachRegion((told, region) => told.accept(region)));

  it('TestRegionUpdateVersion3C', () => eachRegion((told, region) => told.accept(withEpoch(region, 2, 3))));

  it('TestRegionWithStaleVersion3C', () =>
    eachRegion(async (told, region) => {
      await told.accept(withEpoch(region, 2, 3));
      await told.refuse(withEpoch(region, 3, 2));
    }));

  it('TestRegionUpdateVersionAndConfver3C', () =>
    eachRegion((told, region) => told.accept(withEpoch(region, 3, 3))));

  it('TestRegionWithStaleConfVer3C', () =>
    eachRegion(async (told, region) => {
      await told.accept(withEpoch(region, 3, 3));
      await told.refuse(withEpoch(region, 2, 3));
    }));

  it('TestRegionAddPendingPeer3C', () =>
    eachRegion((told, region) => told.accept(region, { pendingPeers: region.peers.slice(1, 2) })));

  it('TestRegionRemovePendingPeer3C', () =>
    eachRegion(async (told, region) => {
      const [, second] = region.peers;
      await told.accept(region, { pendingPeers: region.peers.slice(1) });
      await told.accept(region, { pendingPeers: second === undefined ? [] : [second] });
      await told.accept(region);
      for (const id of told.stores) expect(told.world.placement.view.loadOf(id).pending.size).to.equal(0);
    }));

  it('TestRegionRemovePeers3C', () =>
    eachRegion(async (told, region) => {
      await told.accept({ ...region, peers: region.peers.slice(0, 1) });
    }));

  it('TestRegionAddBackPeers3C', () =>
    eachRegion(async (told, region) => {
      await told.accept({ ...region, peers: region.peers.slice(0, 1) });
      await told.accept(region);
    }));

  it('TestRegionChangeLeader3C', () =>
    eachRegion(async (told, region) => {
      for (const leader of region.peers.slice(1)) await told.accept(region, { leader, term: 7 });
    }));

  it('TestRegionChangeApproximateSize3C', () =>
    eachRegion(async (told, region) => {
      await told.accept(region, { approximateSize: 144 * MIB });
      await told.accept(region, { approximateSize: 10 * MIB });
    }));

  it('TestRegionCounts3C', async () => {
    const told = await new Heartbeats().fill();
    const { view } = told.world.placement;
    const counts = () => told.stores.map((id) => view.loadOf(id).regionCount);
    expect(counts()).to.deep.equal([REGIONS, REGIONS, REGIONS]);
    const [first] = told.regions;
    if (first !== undefined) await told.accept({ ...first, peers: first.peers.slice(0, 1) });
    expect(counts()).to.deep.equal([REGIONS, REGIONS - 1, REGIONS - 1]);
  });

  it('TestRegionGetRegions3C', async () => {
    const told = await new Heartbeats().fill();
    const { regions } = await told.world.service.answer({
      type: 'pd.scanRegions',
      header: undefined,
      startKey: bytes(''),
      endKey: bytes(''),
      limit: 0,
    });
    expect(regions.map(({ region }) => region)).to.deep.equal(told.regions);
    for (const region of told.regions) {
      const found = await told.world.service.answer({
        type: 'pd.getRegionById',
        header: undefined,
        regionId: region.id,
      });
      expect(found.region).to.deep.equal(region);
      expect(found.leader).to.deep.equal(region.peers[0]);
    }
  });

  it('TestRegionGetStores3C', async () => {
    const told = await new Heartbeats().fill();
    const { stores } = await told.world.service.answer({
      type: 'pd.getAllStores',
      header: undefined,
      excludeTombstoneStores: true,
    });
    expect(stores.map(({ id }) => id)).to.deep.equal(told.stores);
    for (const store of stores) expect(told.world.placement.view.store(store.id)?.store).to.equal(store);
  });

  it('TestRegionGetStoresInfo3C', async () => {
    const told = await new Heartbeats().fill();
    for (const [i, region] of told.regions.entries())
      await told.accept(region, { leader: region.peers[i], approximateSize: (i + 1) * 10 * MIB, term: 7 });
    for (const [i, id] of told.stores.entries()) {
      const { leaderCount, regionCount, leaderSize, regionSize } = told.world.placement.view.loadOf(id);
      expect([leaderCount, regionCount]).to.deep.equal([1, REGIONS]);
      expect([leaderSize, regionSize]).to.deep.equal([(i + 1) * 10 * MIB, 60 * MIB]);
    }
  });

  it('TestHeartbeatSplit3C', async () => {
    const told = new Heartbeats();
    const { world, stores } = told;
    const found = (key: string) => world.state.regions.find(bytes(key))?.id;
    await world.heartbeat(regionOf(1, ['', ''], [1, 1], stores));
    expect(found('foo')).to.equal(1);
    // The new half comes first: what it overlaps is no more until it tells of itself.
    await world.heartbeat(regionOf(2, ['', 'm'], [1, 1], stores));
    expect(found('a')).to.equal(2);
    expect(found('z')).to.equal(undefined);
    await world.heartbeat(regionOf(1, ['m', ''], [1, 2], stores));
    expect(found('z')).to.equal(1);
    // The half that was there already comes first.
    await world.heartbeat(regionOf(1, ['q', ''], [1, 3], stores));
    expect(found('z')).to.equal(1);
    expect(found('n')).to.equal(undefined);
    await world.heartbeat(regionOf(3, ['m', 'q'], [1, 3], stores));
    expect(found('n')).to.equal(3);
    expect(miscounts(world.placement.view, stores)).to.deep.equal([]);
  });

  it('TestRegionSplitAndMerge3C', async () => {
    const told = new Heartbeats();
    const { world, stores } = told;
    const random = seededRandom(31);
    let id = 1;
    /** Bounds in 0 to 256 and the version. */
    let parts = [{ id, from: 0, to: 256, version: 1 }];
    const key = (bound: number) => (bound % 256 === 0 ? '' : String(bound).padStart(3, '0'));
    const tell = async () => {
      for (const { id: one, from, to, version } of parts)
        await world.heartbeat(regionOf(one, [key(from), key(to)], [1, version], stores));
      expect(world.state.regions.size).to.equal(parts.length);
      for (const part of parts) {
        expect(world.state.regions.get(part.id)?.regionEpoch?.version).to.equal(part.version);
        for (const bound of [part.from, (part.from + part.to) >>> 1, part.to - 1])
          expect(world.state.regions.find(bytes(key(bound)))?.id).to.equal(part.id);
      }
      expect(miscounts(world.placement.view, stores)).to.deep.equal([]);
    };
    const split = () => {
      parts = parts.flatMap((part) => {
        const middle = (part.from + part.to) / 2;
        const version = part.version + 1;
        return [
          { id: ++id, from: part.from, to: middle, version },
          { id: ++id, from: middle, to: part.to, version },
        ];
      });
    };
    const merge = () => {
      parts = parts.flatMap((part, i) => {
        const next = parts[i + 1];
        if (i % 2 === 1) return [];
        if (next === undefined) return [part];
        const version = Math.max(part.version, next.version) + 1;
        return [{ id: ++id, from: part.from, to: next.to, version }];
      });
    };
    await tell();
    for (const act of [...Array(7).fill(split), ...Array(7).fill(merge)]) {
      act();
      await tell();
    }
    for (let round = 0; round < 14; round++) {
      if (parts.length === 1 || (parts.length < 128 && random() < 0.5)) split();
      else merge();
      await tell();
    }
  });
});

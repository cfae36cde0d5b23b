import { expect } from 'chai';
import fc from 'fast-check';
import { troupepb } from '../../cluster/proto/index.js';
import { RegionTree, staleness } from '../../cluster/region-tree.js';
import { IdWindow } from '../../cluster/scheduler/id-window.js';
import { register } from '../../cluster/scheduler/registration.js';
import { type Command, encodeCommand, SchedulerState } from '../../cluster/scheduler/state.js';
import { EntryType } from '../../machines/raft/types.js';
import { SimulatedDisk } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

function region(
  id: number,
  start: string,
  end: string,
  confVer: number,
  version: number,
  stores = [1],
): metapb.Region {
  const peers = stores.map((storeId) => ({ id: id * 10 + storeId, storeId, role: metapb.PeerRole.Voter }));
  return { id, startKey: bytes(start), endKey: bytes(end), regionEpoch: { confVer, version }, peers };
}

function entry(index: number, command: Command) {
  return { term: 6, index, type: EntryType.normal, data: encodeCommand(command) };
}

describe('heartbeats are judged by epoch', () => {
  // Known: region 1 [a,m) 2/3, region 2 [m,t) 2/5, region 3 [t,) 4/4.
  const rows: readonly [string, metapb.Region, boolean][] = [
    ['the same again', region(1, 'a', 'm', 2, 3), true],
    ['own id, newer version', region(1, 'a', 'k', 2, 4), true],
    ['own id, newer membership', region(1, 'a', 'm', 3, 3), true],
    ['own id, older version with newer membership', region(1, 'a', 'm', 3, 2), false],
    ['own id, older membership with newer version', region(1, 'a', 'm', 1, 4), false],
    ['own id, older in both', region(1, 'a', 'm', 1, 2), false],
    ['own id, no epoch', { ...region(1, 'a', 'm', 0, 0), regionEpoch: undefined }, false],
    ['unknown id, nothing overlapped', region(9, '0', 'a', 1, 1), true],
    ['unknown id, newer than the one it overlaps', region(9, 'b', 'c', 1, 4), true],
    ['unknown id, as new as the one it overlaps', region(9, 'b', 'c', 1, 3), true],
    ['unknown id, older than the one it overlaps', region(9, 'b', 'c', 9, 2), false],
    ['unknown id, older than one of those it overlaps', region(9, 'k', 'u', 9, 4), false],
    ['unknown id, newer than all that it overlaps', region(9, '', '', 1, 5), true],
    ['own id, grown over a newer neighbour', region(1, 'a', 'o', 2, 4), false],
    ['own id, grown over a neighbour by a merge', region(1, 'a', 't', 2, 6), true],
  ];
  for (const [what, told, believed] of rows) {
    it(`${what}: ${believed ? 'accepted' : 'refused'}`, () => {
      const tree = new RegionTree();
      for (const known of [region(1, 'a', 'm', 2, 3), region(2, 'm', 't', 2, 5), region(3, 't', '', 4, 4)])
        tree.put(known);
      expect(staleness(tree, told) === undefined).to.equal(believed);
    });
  }

  it('and a split is complete whichever half reports first', () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const tree = new RegionTree();
      tree.put(region(1, '', '', 1, 1));
      const halves = [region(2, '', 'm', 1, 2), region(1, 'm', '', 1, 2)];
      for (const i of order) {
        const half = halves[i];
        if (half === undefined || staleness(tree, half) !== undefined) throw new Error('refused');
        tree.put(half);
      }
      expect(tree.scan(bytes(''), bytes(''), 9).map(({ id }) => id)).to.deep.equal([2, 1]);
      expect(tree.find(bytes('z'))?.id).to.equal(1);
    }
  });
});

describe('the region tree', () => {
  it('is what a list of ranges would be', () => {
    const key: fc.Arbitrary<string> = fc.constantFrom('', 'a', 'b', 'c', 'd', 'e', 'f');
    const put = fc
      .record({ id: fc.integer({ min: 1, max: 6 }), start: key, end: key })
      .filter(({ start, end }) => end === '' || start < end);
    fc.assert(
      fc.property(fc.array(put, { maxLength: 25 }), fc.array(key, { maxLength: 5 }), (puts, probes) => {
        const tree = new RegionTree();
        let model: { id: number; start: string; end: string }[] = [];
        for (const one of puts) {
          const overlaps = (other: typeof one) =>
            (other.end === '' || one.start < other.end) && (one.end === '' || other.start < one.end);
          const expected = model
            .filter((other) => other.id !== one.id && overlaps(other))
            .map(({ id }) => id);
          const gone = tree.put(region(one.id, one.start, one.end, 1, 1)).map(({ id }) => id);
          expect(gone.sort()).to.deep.equal(expected.sort());
          model = [...model.filter((other) => other.id !== one.id && !overlaps(other)), one];
        }
        model.sort((a, b) => (a.start < b.start ? -1 : 1));
        expect(tree.size).to.equal(model.length);
        expect(tree.scan(bytes(''), bytes(''), 99).map(({ id }) => id)).to.deep.equal(
          model.map(({ id }) => id),
        );
        for (const probe of probes) {
          const holder = model.find(({ start, end }) => start <= probe && (end === '' || probe < end));
          expect(tree.find(bytes(probe))?.id).to.equal(holder?.id);
          const from = model.filter(({ end }) => end === '' || end > probe);
          expect(tree.scan(bytes(probe), bytes(''), 2).map(({ id }) => id)).to.deep.equal(
            from.slice(0, 2).map(({ id }) => id),
          );
        }
      }),
      { numRuns: 300, seed: 11 },
    );
  });
});

describe('a registration', () => {
  const { NodeState, StoreState } = metapb;
  const stores = new Map(
    [
      { id: 1, address: 'store-1', nodeState: NodeState.Serving, state: StoreState.Up, incarnation: 10 },
      { id: 2, address: 'store-2', nodeState: NodeState.Preparing, state: StoreState.Up, incarnation: 10 },
      {
        id: 3,
        address: 'store-3',
        nodeState: NodeState.Serving,
        state: StoreState.Tombstone,
        incarnation: 10,
      },
      { id: 5, address: 'b', nodeState: NodeState.Serving, state: StoreState.Offline, incarnation: 10 },
    ].map((store) => [store.id, metapb.Store.from(store)]),
  );
  const rows: readonly [string, Partial<metapb.Store>, number | RegExp][] = [
    ['a new name with a free number', { address: 'kv-4' }, 4],
    ['a new name with a number that is taken', { address: 'kv-2' }, 6],
    ['a new name without a number', { address: 'x' }, 6],
    ['a new name with a number beyond sense', { address: 'x-99999' }, 6],
    ['a known name, empty directory, in use', { address: 'store-1', incarnation: 11 }, /directory is empty/],
    ['a known name, empty directory, never in use', { address: 'store-2', incarnation: 11 }, 2],
    ['the same, by the same start', { address: 'store-2', incarnation: 10 }, 2],
    ['the same, by an earlier start', { address: 'store-2', incarnation: 9 }, /Another process/],
    ['a removed name, empty directory', { address: 'store-3', incarnation: 11 }, /removed from the cluster/],
    ['its own directory, later start', { id: 1, address: 'store-1', incarnation: 11 }, 1],
    ['its own directory, same start', { id: 1, address: 'store-1', incarnation: 10 }, 1],
    ['its own directory, earlier start', { id: 1, address: 'store-1', incarnation: 9 }, /Another process/],
    ['an offline store', { id: 5, address: 'b', incarnation: 11 }, 5],
    ['a removed store', { id: 3, address: 'store-3', incarnation: 11 }, /removed from the cluster/],
    ['the directory of another', { id: 1, address: 'store-2', incarnation: 11 }, /belongs to store 1/],
    ['a directory with an unknown id', { id: 8, address: 'y', incarnation: 11 }, /never had/],
  ];
  for (const [what, asked, result] of rows) {
    it(`of ${what}: ${typeof result === 'number' ? `store ${result}` : 'refused'}`, () => {
      const given = register(stores, metapb.Store.from(asked));
      if (typeof result === 'number') expect(given.ok && given.store.id).to.equal(result);
      else expect(given.ok ? '' : given.refusal.message).to.match(result);
    });
  }

  it('keeps what was decided about a store, and is proof of its identity', () => {
    const given = register(stores, metapb.Store.from({ id: 5, address: 'b', incarnation: 11 }));
    expect(given.ok && [given.store.state, given.store.nodeState]).to.deep.equal([
      StoreState.Offline,
      NodeState.Removing,
    ]);
    const proven = register(stores, metapb.Store.from({ id: 1, address: 'store-1', incarnation: 11 }));
    expect(proven.ok && proven.store.nodeState).to.equal(NodeState.Serving);
  });
});

describe('the replicated state', () => {
  const store = fc.record({
    id: fc.constantFrom(0, 0, 1, 2, 3),
    address: fc.constantFrom('store-1', 'store-2', 'x'),
    incarnation: fc.integer({ min: 1, max: 5 }),
  });
  const key = fc.constantFrom('', 'b', 'd', 'f');
  const told = fc
    .record({
      id: fc.integer({ min: 1, max: 4 }),
      start: key,
      end: key,
      version: fc.integer({ min: 1, max: 6 }),
    })
    .filter(({ start, end }) => end === '' || start < end)
    .map(({ id, start, end, version }) => region(id, start, end, 1, version));
  const command: fc.Arbitrary<Command> = fc.oneof(
    fc.record({
      initializeCluster: fc.record({
        clusterId: fc.integer({ min: 1, max: 99 }),
        cluster: fc.constant('spec'),
        expectedStores: fc.integer({ min: 1, max: 5 }),
        maxEntryBytes: fc.constant(1000),
      }),
    }),
    fc.record({ allocateIds: fc.record({ count: fc.integer({ min: 1, max: 2000 }) }) }),
    fc.record({ registerStore: fc.record({ store: store.map((one) => metapb.Store.from(one)) }) }),
    fc.record({ placeFirstRegion: fc.record({ region: fc.constant(region(1, '', '', 1, 1, [1, 2])) }) }),
    fc.record({ confirmFirstRegion: fc.record({ storeId: fc.integer({ min: 1, max: 3 }) }) }),
    fc.record({
      noteMerged: fc.record({ regionIds: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }) }),
    }),
    fc.record({
      extendTimestamps: fc.record({
        physicalLimit: fc.constantFrom(1_700_000_000_000, 1_700_000_003_000, 2 ** 46 - 1),
      }),
    }),
    fc.record({ putRegions: fc.record({ regions: fc.array(told, { maxLength: 3 }) }) }),
  );

  function visible(state: SchedulerState) {
    const { cluster, nextId, timestampLimit, stores, regions, merged, firstRegion, confirmed, phase } = state;
    const byId = [...stores].sort(([a], [b]) => a - b);
    const tree = regions.scan(bytes(''), bytes(''), 99);
    const sorted = { confirmed: [...confirmed].sort(), merged: [...merged].sort() };
    return { cluster, nextId, timestampLimit, byId, tree, firstRegion, phase, ...sorted };
  }

  it('is after a restart what it was, and the same on every member', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), async (commands) => {
        const engine = await new SimulatedDisk({ random: () => 0.5 }).open();
        const [one, other] = [new SchedulerState(), new SchedulerState()];
        const ignored = engine.batch();
        let index = 6;
        for (const each of commands) {
          const batch = engine.batch();
          const entries = [entry(index++, each)];
          expect(one.apply(entries, batch)).to.deep.equal(other.apply(entries, ignored));
          await engine.write(batch);
        }
        expect(visible(other)).to.deep.equal(visible(one));
        expect(visible(await SchedulerState.load(engine))).to.deep.equal(visible(one));
        await engine.close();
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  it('keeps a cluster its id for good, and its size once the first region is placed', async () => {
    const engine = await new SimulatedDisk({ random: () => 0.5 }).open();
    const state = new SchedulerState();
    const apply = (each: Command) => state.apply([entry(6, each)], engine.batch());
    const cluster = (clusterId: number, expectedStores: number) => ({
      initializeCluster: { clusterId, expectedStores, cluster: 'spec', maxEntryBytes: 5 },
    });
    apply(cluster(7, 3));
    apply(cluster(8, 1));
    expect([state.cluster?.clusterId, state.cluster?.expectedStores]).to.deep.equal([7, 1]);
    apply({ placeFirstRegion: { region: region(1, '', '', 1, 1) } });
    apply(cluster(9, 5));
    apply({ placeFirstRegion: { region: region(1, '', '', 1, 1, [2]) } });
    expect([state.cluster?.clusterId, state.cluster?.expectedStores]).to.deep.equal([7, 1]);
    expect(state.firstRegion?.peers[0]?.storeId).to.equal(1);
  });

  it('never takes the limit of timestamps back', async () => {
    const engine = await new SimulatedDisk({ random: () => 0.5 }).open();
    const state = new SchedulerState();
    const batch = engine.batch();
    const limits = [0, 5_000, 2 ** 46 - 1, 8_000].map((physicalLimit, i) => {
      state.apply([entry(6 + i, { extendTimestamps: { physicalLimit } })], batch);
      return state.timestampLimit;
    });
    expect(limits).to.deep.equal([0, 5_000, 2 ** 46 - 1, 2 ** 46 - 1]);
    await engine.write(batch);
    expect((await SchedulerState.load(engine)).timestampLimit).to.equal(2 ** 46 - 1);
  });

  it('believes nobody who still speaks of a region that was merged', async () => {
    const engine = await new SimulatedDisk({ random: () => 0.5 }).open();
    const state = new SchedulerState();
    const apply = (each: Command) => state.apply([entry(6, each)], engine.batch());
    apply({ noteMerged: { regionIds: [4] } });
    apply({ putRegions: { regions: [region(4, 'a', 'b', 9, 9), region(5, 'b', 'c', 1, 1)] } });
    expect(state.regions.scan(bytes(''), bytes(''), 9).map(({ id }) => id)).to.deep.equal([5]);
    expect(state.staleness(region(4, 'a', 'b', 9, 9))).to.match(/merged/);
  });

  it('stops at a command that it does not know', async () => {
    const engine = await new SimulatedDisk({ random: () => 0.5 }).open();
    const newer = troupepb.SchedulerCommand.encode({ version: 2, allocateIds: { count: 1 } });
    const unknown = troupepb.SchedulerCommand.encode({ version: 1 });
    for (const data of [newer, unknown, Uint8Array.of(255)]) {
      const state = new SchedulerState();
      expect(() =>
        state.apply([{ term: 6, index: 6, type: EntryType.normal, data }], engine.batch()),
      ).to.throw();
    }
    expect(
      new SchedulerState().apply(
        [{ term: 6, index: 6, type: EntryType.normal, data: new Uint8Array(0) }],
        engine.batch(),
      ),
    ).to.deep.equal([undefined]);
  });
});

describe('the id window', () => {
  it('hands every id out once, however requests of any size interleave', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 1500 }), { maxLength: 40 }),
        fc.nat(),
        async (counts, gap) => {
          let next = 1000;
          const windows = new IdWindow(async (count) => {
            const first = next;
            next += count + (gap % 3);
            return first;
          });
          const firsts = await Promise.all(counts.map((count) => windows.allocate(count)));
          const seen = new Set<number>();
          firsts.forEach((first, i) => {
            for (let id = first; id < first + (counts[i] ?? 0); id++) {
              expect(seen.has(id)).to.equal(false);
              expect(id).to.be.within(1000, next - 1);
              seen.add(id);
            }
          });
        },
      ),
      { numRuns: 100, seed: 5 },
    );
  });
});

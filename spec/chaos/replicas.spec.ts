import { expect } from 'chai';
import { seededRandom } from '../../actors/index.js';
import type { Entry } from '../../machines/raft/types.js';
import { type Engine, RaftLog, rawKey, SimulatedDisk, saveRegionState } from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { type Comparison, compareReplicas, type FinalRegion } from './replicas.js';

const REGION = 7;

describe('comparison of replicas', () => {
  it('finds nothing where all stores hold the same', async () => {
    const disk = [
      { end: 'm', values: ['a', 'b'] },
      { id: 8, start: 'm', values: ['x'], data: { n: 'x' } },
    ];
    expect(await compare(disk, disk, disk)).deep.equals({ differences: [], orphans: [] });
  });

  it('lets one be behind, and have entries that are not committed', async () => {
    const ahead = [{ values: ['a', 'b', 'c'] }];
    expect(await differences(ahead, [{ values: ['a'] }], [{ values: ['a', 'x'], committed: 1 }])).deep.equals(
      [],
    );
  });

  it('finds committed entries that differ', async () => {
    expect(await differences([{ values: ['a', 'b', 'c'] }], [{ values: ['a', 'x'] }])).deep.equals([
      'store-1 and store-2 committed different entries 2 of region 7',
    ]);
  });

  it('finds them between any two stores, whatever the first one has', async () => {
    const disks = [[], [{ values: ['a', 'b'] }], [{ values: ['a', 'x'], data: { k: 'b' } }]];
    expect(await differences(...disks)).deep.equals([
      'store-2 and store-3 committed different entries 2 of region 7',
    ]);
  });

  it('finds data that differs though as much is applied, in the region where it does', async () => {
    const same = { id: 8, start: 'm', values: ['x'], data: { n: 'x' } };
    expect(
      await differences(
        [{ end: 'm', values: ['a'] }, same],
        [{ end: 'm', values: ['a'], data: { k: 'other' } }, same],
      ),
    ).deep.equals(['store-1 and store-2 have applied 1 entries of region 7, and hold different data']);
  });

  it('finds a region that is another one though as much is applied', async () => {
    expect(await differences([{ values: ['a'] }], [{ values: ['a'], version: 2 }])).deep.equals([
      'store-1 and store-2 have applied 1 entries of region 7, and have it at epoch 1/1 and epoch 1/2',
    ]);
  });

  it('finds regions of one store that have keys in common', async () => {
    const disk = [{ values: ['a'] }, { id: 8, start: 'l', values: [], data: {} }];
    expect(await differences(disk)).deep.equals(['regions 7 and 8 have keys in common on store-1']);
  });

  it('finds data before, between and behind the regions of a store', async () => {
    const between = { id: 8, start: 'o', end: 'p', values: [], data: { n: 'stray', o: 'x' } };
    const strays = [{ start: 'b', end: 'm', values: ['a'], data: { k: 'a', a: 'stray' } }, between];
    expect(await differences(strays, [{ ...between, data: { o: 'x', z: 'stray' } }])).deep.equals([
      'store-1 has "ra" in the family default, and no region for it',
      'store-1 has "rn" in the family default, and no region for it',
      'store-2 has "rz" in the family default, and no region for it',
    ]);
  });

  it('takes no notice of tombstones', async () => {
    const tombstone = { id: 8, start: 'a', values: [], data: {}, gone: true };
    expect(await compare([{ values: ['a'] }, tombstone])).deep.equals({ differences: [], orphans: [] });
  });

  it('finds peers that are on no disk', async () => {
    const disks = [[{ values: ['a'] }], []];
    const regions = [{ id: REGION, epoch: { confVer: 1, version: 1 }, peers: [{ id: 71 }, { id: 72 }] }];
    expect((await compareWith(regions, disks)).differences).deep.equals([
      'peer 72 of region 7 is on no disk',
    ]);
  });

  it('tells peers that have missed their end from those that should not be', async () => {
    const disks = [[{ values: ['a'] }], [{ values: ['a'] }]];
    const known = (confVer: number): FinalRegion[] => [
      { id: REGION, epoch: { confVer, version: 1 }, peers: [{ id: 71 }] },
    ];
    const unwanted = 'store-2 has peer 72 of region 7 at epoch 1/1, which goes on without it';
    expect(await compareWith(known(2), disks)).deep.equals({ differences: [], orphans: [unwanted] });
    expect(await compareWith(known(1), disks)).deep.equals({ differences: [unwanted], orphans: [] });
    expect(await compareWith([], [[], [{ values: ['a'] }]])).deep.equals({
      differences: [],
      orphans: ['store-2 has peer 72 of region 7 at epoch 1/1, which is no more'],
    });
  });
});

/** A peer on a disk. */
interface Peer {
  readonly id?: number;
  readonly start?: string;
  readonly end?: string;
  readonly version?: number;
  /** What its entries hold. */
  readonly values: readonly string[];
  /** How many of them are committed and applied; all of them where nothing is said. */
  readonly committed?: number;
  /** What is in the store; where nothing is said, a key with the last applied value. */
  readonly data?: Readonly<Record<string, string>>;
  readonly gone?: boolean;
}

type Disk = readonly Peer[];

async function differences(...disks: readonly Disk[]): Promise<readonly string[]> {
  return (await compare(...disks)).differences;
}

/** All peers are wanted. */
function compare(...disks: readonly Disk[]): Promise<Comparison> {
  const regions = new Map<number, FinalRegion>();
  for (const [i, disk] of disks.entries()) {
    for (const { id = REGION, gone = false } of disk) {
      const peers = regions.get(id)?.peers ?? [];
      if (!gone)
        regions.set(id, {
          id,
          epoch: { confVer: 1, version: 1 },
          peers: [...peers, { id: peerId(id, i + 1) }],
        });
    }
  }
  return compareWith([...regions.values()], disks);
}

async function compareWith(regions: readonly FinalRegion[], disks: readonly Disk[]): Promise<Comparison> {
  const engines = await Promise.all(disks.map((disk, i) => written(i + 1, disk)));
  return compareReplicas(new Map(engines.map((engine, i) => [`store-${i + 1}`, engine])), regions);
}

function peerId(region: number, store: number): number {
  return 10 * region + store;
}

async function written(store: number, disk: Disk): Promise<Engine> {
  const engine = await new SimulatedDisk({ random: seededRandom(1) }).open();
  const log = new RaftLog(engine);
  const batch = engine.batch();
  const voters = { voters: [1, 2, 3], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  for (const { id = REGION, start, end, version = 1, values, gone = false, ...peer } of disk) {
    const { committed = values.length } = peer;
    const { data = { k: values[committed - 1] ?? '' } } = peer;
    const entries: Entry[] = values.map((value, i) => ({
      term: 1,
      index: i + 1,
      type: 0,
      data: Buffer.from(value),
    }));
    saveRegionState(batch, id, {
      state: gone ? raft_serverpb.PeerState.Tombstone : raft_serverpb.PeerState.Normal,
      region: metapb.Region.from({
        id,
        startKey: start === undefined ? new Uint8Array(0) : rawKey(Buffer.from(start)),
        endKey: end === undefined ? new Uint8Array(0) : rawKey(Buffer.from(end)),
        regionEpoch: { confVer: 1, version },
      }),
      peerId: peerId(id, store),
    });
    if (!gone) {
      log.create(batch, id, { index: 0, term: 0 }, voters);
      log.append(batch, id, entries, 0);
      log.saveState(batch, id, {
        hardState: { term: 1, vote: 0, commit: committed },
        apply: { applied: committed, truncated: { index: 0, term: 0 } },
      });
    }
    for (const [key, value] of Object.entries(data))
      batch.put('default', rawKey(Buffer.from(key)), Buffer.from(value));
  }
  await engine.write(batch);
  return engine;
}

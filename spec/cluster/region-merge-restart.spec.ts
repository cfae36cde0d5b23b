import { expect } from 'chai';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { loadRegionState } from '../../storage/index.js';
import { raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import { type FaultyRegionWorld, storeName } from './faulty-region-world.js';
import { type Halves, halves, oneRegion, rolledBack, serves, version } from './merge-world.js';
import { QUICK } from './region-world.js';

const { PeerState } = raft_serverpb;

describe('merges through power failures', () => {
  it('restart at each stage: prepared everywhere and not yet in the target’s log', async () => {
    const { world, left, right } = await halves();
    const pass = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge everywhere', () =>
      [1, 2, 3].every((store) => world.peer(right, store).mergeState !== undefined),
    );
    for (const store of [1, 2, 3]) world.cut(store);
    pass();
    for (const store of [1, 2, 3]) await world.restart(store);
    await oneRegion(world, left);
    await serves(world);
  });

  it('restart at each stage: the target waits for its source when the power fails', async () => {
    const { world, left, right } = await halves();
    const hear = world.lose(({ to, event }) => event.regionId === right && to === 'store-3');
    await world.put('n', 'n');
    await world.informed(left);
    // The target's log has the merge on its disk, and store 3 does not know that it is committed.
    const known = world.peer(left, 3).raftGroup?.raft.commit ?? 0;
    const wait = world.lose(
      ({ to, event }) => event.regionId === left && to === 'store-3' && event.message.commit > known,
    );
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await world.when('the merge in the log of store 3', () => {
      return (world.peer(left, 3).raftGroup?.raft.lastIndex ?? 0) > known;
    });
    await world.restart(3);
    wait();
    await oneRegion(world, left);
    hear();
    await serves(world, ['a', 'm', 'n', 'z']);
  });

  /** Store 3 hears nothing of a region from its leader, and learns of its end from its target alone. */
  const lagsBehind = (world: FaultyRegionWorld, region: number) =>
    world.lose(({ from, to, event }) => event.regionId === region && from === 'store-1' && to === 'store-3');

  /** The power of a store fails after each of its writes of a merge. */
  async function cutAfterEachWrite(
    store: number,
    tuning: StoreTuning,
    before: (halves: Halves) => Promise<Halves>,
  ) {
    let cuts = 0;
    for (let write = 1; ; write++) {
      const { world, left, right } = await before(await halves(3, 3, tuning));
      let cut = false;
      const callOff = world.onWrite(store, write, () => {
        cut = true;
        world.cut(store);
      });
      // The one who is asked may be the one who dies.
      await world.merge(right, left).catch(() => {});
      await world.when('an end of it', () => cut || world.replica(right, store) === undefined);
      callOff();
      if (cut) {
        cuts++;
        await world.restart(store, tuning);
      }
      await serves(world);
      if (!cut) break;
    }
    expect(cuts, 'writes of a merge').to.be.greaterThan(2);
  }

  for (const store of [1, 2, 3]) {
    it(`restart at each stage: the power of store ${store} fails after each of its writes`, async () => {
      await cutAfterEachWrite(store, QUICK, async (both) => both);
    });
  }

  it('restart at each stage: with a source whose log takes its time to be opened', async () => {
    const keepLogs = { ...QUICK, logGc: { interval: 200, threshold: 10_000, countLimit: 10_000 } };
    await cutAfterEachWrite(3, keepLogs, async ({ world, left, right: other }) => {
      const right = (await world.split(left, 'g'))[1]?.id ?? 0;
      await world.lead(right, 1);
      for (const id of [right, other]) for (let i = 0; i < 300; i++) world.peer(id, 1).compactLog(1, 1);
      await world.settle();
      await world.informed(right);
      lagsBehind(world, right);
      return { world, left, right };
    });
  });

  it('restart at each stage: with a source that has to catch up first', async () => {
    await cutAfterEachWrite(3, QUICK, async ({ world, left, right }) => {
      await world.informed(right);
      lagsBehind(world, right);
      return { world, left, right };
    });
  });

  it('restart may lose merging state: a peer that is to be merged knows so after its restart', async () => {
    const { world, left, right } = await halves();
    const pass = world.lose(({ event }) => event.regionId === left && event.message.entries.length > 0);
    await world.prepareMerge(right, world.leaderRegion(left));
    await world.when('PrepareMerge on store 2', () => world.peer(right, 2).mergeState !== undefined);
    const state = world.peer(right, 2).mergeState;
    await world.whenRead('it on disk', async () => {
      const engine = world.engines.get(storeName(2));
      const disk = engine && (await loadRegionState(engine, right));
      return disk?.state === PeerState.Merging && disk.mergeState?.commit === state?.commit;
    });
    await world.restart(2);
    expect(world.peer(right, 2).mergeState).to.deep.equal(state);
    expect(version(world.peer(right, 2).region)).to.equal(version(world.leaderRegion(right)));
    pass();
    await oneRegion(world, left);
    await serves(world);
  });

  it('restart may lose merging state: a merge that was taken back is not resumed', async () => {
    const { world, right } = await halves();
    await rolledBack(world, right, 'c');
    await world.settle();
    const before = version(world.leaderRegion(right));
    for (const store of [1, 2, 3]) await world.restart(store);
    // What was applied and not synced is applied again.
    await world.settle();
    for (const store of [1, 2, 3]) expect(world.peer(right, store).mergeState).to.equal(undefined);
    expect(version(world.leaderRegion(right))).to.equal(before);
    await serves(world);
  });

  it('async-io apply before leader persist: a merge that is applied before its leader’s own disk has it', async () => {
    const { world, left, right } = await halves();
    await world.informed(right);
    // The disk of the leader hangs; the others are a majority without it.
    await world.lead(left, 2);
    world.hangDisk(1);
    const context = {
      regionId: right,
      regionEpoch: world.peer(right, 1).region.regionEpoch,
      peer: undefined,
      term: 0,
    };
    const command = raft_cmdpb.AdminRequest.from({
      cmdType: raft_cmdpb.AdminCmdType.PrepareMerge,
      prepareMerge: { minIndex: 0, target: world.leaderRegion(left) },
    });
    let answered = false;
    world.peer(right, 1).changes.request({ context, command, halve: false }, () => {
      answered = true;
    });
    await world.when('the merge on the others', () => !world.replica(right, 2) && !world.replica(right, 3));
    // Committed, and nothing of it is applied by the one who has it in memory alone.
    const { applied = 0, commit = 0 } = world.peer(right, 1).raftGroup?.status() ?? {};
    expect([answered, commit - applied, world.peer(right, 1).mergeState]).to.deep.equal([
      false,
      1,
      undefined,
    ]);
    await world.restart(1);
    await oneRegion(world, left);
    await serves(world);
  });

  it('crash before snapshot: the store dies when the target’s snapshot has come, and before it is written', async () => {
    const { world, left, right } = await halves();
    const join = world.isolate(3);
    await world.merge(right, left);
    await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
    await world.outrun(left, 3, 'b');
    join();
    await world.when(
      'a snapshot that is taken in',
      () => world.peer(left, 3).raftGroup?.raft.pendingSnapshot !== undefined,
    );
    await world.restart(3);
    await oneRegion(world, left);
    await serves(world);
  });

  it('crash when snapshot: the power fails after each write of its installation', async () => {
    let cuts = 0;
    for (let write = 1; ; write++) {
      const { world, left, right } = await halves();
      const join = world.isolate(3);
      await world.merge(right, left);
      await world.when('the merge', () => !world.replica(right, 1) && !world.replica(right, 2));
      await world.outrun(left, 3, 'b');
      let cut = false;
      const callOff = world.onWrite(3, write, () => {
        cut = true;
        world.cut(3);
      });
      join();
      await world.when(
        'an end of it',
        () => cut || (world.stores.get('store-3')?.counters.snapshotsInstalled ?? 0) > 0,
      );
      callOff();
      if (cut) {
        cuts++;
        await world.restart(3);
      }
      await oneRegion(world, left);
      await serves(world);
      if (!cut) break;
    }
    expect(cuts, 'writes of an installation').to.be.greaterThan(1);
  });
});

import { expect } from 'chai';
import type { SchedulerNode, SchedulerOptions } from '../../cluster/scheduler/index.js';
import { regionStateKey, SCHEDULER_MEMBER_KEY } from '../../storage/raft-keys.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

const THREE = ['scheduler-1', 'scheduler-2', 'scheduler-3'];
const SHORT_LOG: Partial<SchedulerOptions> = {
  tuning: { logGc: { interval: 500, threshold: 10, countLimit: 40, bytesLimit: 1024 * 1024 } },
};

describe("the schedulers' directories", () => {
  let world: SchedulerWorld;

  afterEach(() => world.close());

  function at(index: number): FakeStore {
    const store = world.stores[index];
    if (store === undefined) throw new Error(`no store ${index}`);
    return store;
  }

  const follower = (): string => THREE.find((name) => name !== world.leader?.name) ?? '';

  const rejoined = (name: string, options: Partial<SchedulerOptions> = {}) =>
    world.scheduler({ ...options, rejoin: true }, name);

  const ids = (count: number) => world.settle(at(0).scheduler.allocIds(count, { timeout: 30_000 }));

  function fail(): never {
    throw new Error('it has no disk');
  }

  /** The directory is gone, not only what was not synced. */
  function lose(name: string): void {
    world.crash(name);
    world.disks.delete(name);
  }

  it('are made when all three have come up for the first time, in whatever order', async () => {
    world = new SchedulerWorld(1, THREE);
    let up = 0;
    const starts = THREE.slice(0, 2).map((name) =>
      world.scheduler({}, name).then(() => {
        up++;
      }),
    );
    await world.clock.advance(30_000);
    expect(up).to.equal(0);
    await world.settle(world.scheduler({}, 'scheduler-3'));
    await world.settle(Promise.all(starts));
    await world.elected();
  });

  it('are made although a member dies while it waits for the others', async () => {
    for (let step = 0; step < 30; step++) {
      world = new SchedulerWorld(step, THREE);
      const others = THREE.slice(0, 2).map((name) => world.scheduler({}, name));
      void world.scheduler({}, 'scheduler-3').catch(() => {});
      await world.clock.advance(step / 4);
      world.crash('scheduler-3');
      await world.settle(world.scheduler({}, 'scheduler-3'));
      await world.settle(Promise.all(others));
      await world.elected();
      if (step < 29) await world.close();
    }
  });

  it('that are lost are noticed: an empty one under a known name is refused, with the way out', async () => {
    world = await SchedulerWorld.three(2);
    const lost = follower();
    lose(lost);
    const error = await world.failure(world.scheduler({}, lost));
    expect([error.code, error.message]).to.deep.equal([
      'identity',
      `"${lost}" has taken part with another data directory, and this one is empty: start it with the directory it had. If that is lost, start "${lost}" once with --rejoin while the other schedulers run.`,
    ]);
    // Also when it is tried again.
    expect((await world.failure(world.scheduler({}, lost))).code).to.equal('identity');
    await ids(1);
  });

  it('with other names in them are noticed, by the member itself and by the others', async () => {
    world = await SchedulerWorld.three(3);
    const one = follower();
    world.crash(one);
    const own = await world.failure(world.scheduler({ schedulers: [one] }, one));
    expect([own.code, own.message]).to.deep.equal([
      'identity',
      `The data directory of "${one}" belongs to a group of scheduler-1,scheduler-2,scheduler-3, and --schedulers says ${one}: give every scheduler the same names in the same order.`,
    ]);
    const order = await world.failure(world.scheduler({ schedulers: [...THREE].reverse() }, one));
    expect(order.code).to.equal('identity');
    await world.close();

    world = new SchedulerWorld(4, THREE);
    const starts = [
      world.scheduler({}, 'scheduler-1'),
      world.scheduler({ schedulers: ['scheduler-2', 'scheduler-1', 'scheduler-3'] }, 'scheduler-2'),
    ];
    for (const start of starts) start.catch(() => {});
    // Whichever asks first; the other one waits for it.
    const other = await world.failure(Promise.race(starts));
    expect(other.code).to.equal('identity');
    expect(other.message).to.match(
      /^"(scheduler-\d)" was started with --schedulers \1,scheduler-\d,scheduler-3, and "(scheduler-\d)" with \2,scheduler-\d,scheduler-3: give every scheduler the same names in the same order\.$/,
    );
    const [twice, many] = [
      ['a', 'b', 'a'],
      ['b', ...Array.from({ length: 7 }, (_, i) => `scheduler-${i}`)],
    ];
    expect((await world.failure(world.scheduler({ schedulers: twice }, 'a'))).code).to.equal('usage');
    expect((await world.failure(world.scheduler({ schedulers: many }, 'b'))).code).to.equal('usage');
  });

  it('from before they were told apart go on, with as many schedulers as they had', async () => {
    world = await SchedulerWorld.serving(7, SHORT_LOG);
    const first = await ids(1_500);
    await world.settle(world.schedulers.get('scheduler-1')?.close() ?? Promise.resolve());
    const engine = await world.settle((world.disks.get('scheduler-1') ?? fail()).open());
    const batch = engine.batch();
    batch.delete('raft', SCHEDULER_MEMBER_KEY);
    batch.delete('raft', regionStateKey(1));
    await world.settle(engine.write(batch));
    await world.settle(engine.sync());
    await world.settle(engine.close());
    const three = await world.failure(world.scheduler({ schedulers: THREE }));
    expect([three.code, three.message]).to.deep.equal([
      'identity',
      'The data directory of "scheduler-1" belongs to a group of one scheduler, and --schedulers says scheduler-1,scheduler-2,scheduler-3: give every scheduler the same names in the same order.',
    ]);
    await world.settle(world.scheduler(SHORT_LOG));
    expect(await ids(1)).to.be.greaterThan(first);
  });

  for (const [what, options] of [
    ['the log', {}],
    ['a snapshot', SHORT_LOG],
  ] as const) {
    it(`that are lost may be taken the place of with --rejoin, while the others run: by ${what}`, async () => {
      world = await SchedulerWorld.three(5, options);
      const seen = new Set<number>();
      for (let round = 0; round < 6; round++) {
        // By turns a follower's, and that of the leader.
        const lost = round % 2 === 0 ? follower() : (world.leader?.name ?? '');
        for (let i = 0; i < 25; i++) {
          const first = await ids(1_001);
          expect(seen.has(first)).to.equal(false);
          seen.add(first);
        }
        await world.clock.advance(1_500);
        lose(lost);
        const node: SchedulerNode = await world.settle(rejoined(lost, options));
        await ids(1);
        await world.clock.runUntil(
          () =>
            (node.raftGroup?.applied ?? 0) >= (world.leader?.raftGroup?.applied ?? Number.POSITIVE_INFINITY),
          20_000,
        );
        expect(node.raftGroup?.applied).to.equal(world.leader?.raftGroup?.applied);
        // It counts again: the group goes on with it when another one dies.
        const dead = THREE.find((name) => name !== lost && name === world.leader?.name) ?? follower();
        if (dead !== lost) {
          world.crash(dead);
          await ids(1);
          await world.settle(world.scheduler(options, dead));
        }
      }
    }).timeout(20_000);
  }

  it('elect nobody before they have what may have been acknowledged from the lost one', async () => {
    world = await SchedulerWorld.three(6);
    const leader = world.leader?.name ?? '';
    const [lost = '', lagging = ''] = THREE.filter((name) => name !== leader);
    // The last ids are on two directories: the leader's, and the one that is going to be lost.
    world.network.partition([lagging], [leader, lost]);
    const before = await ids(1_500);
    lose(lost);
    world.network.heal();
    // As soon as it is noted the leader dies: the empty one and the one that lags must not make a leader of theirs.
    const stop = world.network.filterEnvelopes(({ to, from }, { kind }) => {
      const entries = kind === 'raft' && (to === lagging || (to === lost && from !== lagging));
      return !entries;
    });
    const node = await world.settle(rejoined(lost));
    stop();
    // In the terms that have been, its name has had its vote.
    const { term, vote, id } = node.raftGroup?.status() ?? { term: 0, vote: 0, id: 0 };
    expect([term >= (world.leader?.raftGroup?.term ?? 0), vote]).to.deep.equal([true, id]);
    world.crash(leader);
    await world.clock.advance(30_000);
    expect(world.leader).to.equal(undefined);
    expect(node.raftGroup?.isLeader).to.equal(false);
    await world.settle(world.scheduler({}, leader));
    expect(await ids(1)).to.be.greaterThan(before);
  });
});

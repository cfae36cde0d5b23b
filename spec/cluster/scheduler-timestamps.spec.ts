import { expect } from 'chai';
import { pdpb } from '../../cluster/proto/index.js';
import { MAX_TIMESTAMPS_AT_ONCE, physicalOf } from '../../cluster/timestamp.js';
import { type FakeStore, SchedulerWorld } from './scheduler-world.js';

const NAMES = ['scheduler-1', 'scheduler-2', 'scheduler-3'];
const HOUR = 3_600_000;

describe('the scheduler gives timestamps', () => {
  let world: SchedulerWorld;

  afterEach(() => world.close());

  function at(index: number): FakeStore {
    const store = world.stores[index];
    if (store === undefined) throw new Error(`no store ${index}`);
    return store;
  }

  /** From whoever leads. */
  function ask(count = 1, store = at(0)): Promise<bigint> {
    return world.settle(store.scheduler.timestamps(count, { timeout: 30_000 }));
  }

  /** From this one and no other, by a store that sends nothing again. */
  function askOne(name: string, count: number, store: FakeStore, clusterId = 0): Promise<pdpb.TsoResponse> {
    const event = { type: 'pd.tso', header: { clusterId }, count };
    return store.system.ref(`${name}/pd`).ask(event, { timeout: 5_000 }) as Promise<pdpb.TsoResponse>;
  }

  async function leader(store = at(0)): Promise<string> {
    const status = await world.settle(store.scheduler.status({ timeout: 30_000 }));
    return status.leader?.name ?? '';
  }

  /** Three schedulers, three stores. */
  async function three(seed: number): Promise<void> {
    world = new SchedulerWorld(seed, NAMES);
    await world.settle(Promise.all(NAMES.map((name) => world.scheduler({}, name))));
    for (const name of ['store-1', 'store-2', 'store-3']) {
      await world.settle((await world.settle(world.store(name))).join());
    }
    await world.bootstrapped();
  }

  describe('with one member', () => {
    it('that are of the wall clock, each one once, in ranges as long as asked for', async () => {
      world = await SchedulerWorld.serving();
      const wall = world.wall();
      const first = await ask(10);
      expect(physicalOf(first)).to.be.within(Math.floor(wall), world.wall());
      expect((await ask(MAX_TIMESTAMPS_AT_ONCE)) > first + 9n).to.equal(true);
      const last = await ask();
      expect((await ask()) > last).to.equal(true);
    });

    it('before it has its first stores', async () => {
      world = new SchedulerWorld();
      await world.settle(world.scheduler());
      const client = await world.settle(world.store('store-1'));
      expect(physicalOf(await ask(1, client))).to.be.closeTo(world.wall(), 10);
    });

    it('with the last of them in the reply, as PD does', async () => {
      world = await SchedulerWorld.serving();
      const { count, timestamp } = await world.settle(askOne('scheduler-1', 7, at(0)));
      expect([count, timestamp?.logical]).to.deep.equal([7, 6]);
    });

    it('at no message beyond request and reply, and no entry of the log', async () => {
      world = await SchedulerWorld.serving();
      await ask();
      const [node] = world.schedulers.values();
      const frames: string[] = [];
      const stop = world.network.trace(({ from, to }) => frames.push(`${from} ${to}`));
      const entries = node?.counters.entries;
      await world.settle(Promise.all(Array.from({ length: 100 }, () => askOne('scheduler-1', 1, at(0)))));
      stop();
      expect([...new Set(frames)]).to.deep.equal(['store-1 scheduler-1', 'scheduler-1 store-1']);
      expect(node?.counters.entries).to.equal(entries);
    });

    it('without a wait for the disk, once it has begun', async () => {
      world = await SchedulerWorld.serving();
      await ask();
      let longest = 0;
      for (let i = 0; i < 200; i++) {
        const from = world.clock.now();
        await ask();
        longest = Math.max(longest, world.clock.now() - from);
        await world.clock.advance(100);
      }
      // Two frames of at most half a millisecond; a sync takes up to 1.1 ms.
      expect(longest).to.be.lessThan(1.1);
    });

    it('that grow across crashes and restarts, wherever the wall clock has gone meanwhile', async () => {
      world = await SchedulerWorld.serving();
      let last = await ask();
      for (const [i, skew] of [0, -HOUR, 50, HOUR, -HOUR, -2 * HOUR].entries()) {
        if (i % 2 === 0) world.crash();
        else await world.settle(world.schedulers.get('scheduler-1')?.close() ?? Promise.resolve());
        world.wallSkew.set('scheduler-1', skew);
        await world.settle(world.scheduler());
        for (let n = 0; n < 5; n++) {
          const next = await ask(3);
          expect(next > last, `${next} after ${last}`).to.equal(true);
          last = next + 2n;
        }
      }
      expect(physicalOf(last)).to.be.greaterThan(world.wall() + HOUR);
    });

    it('but refuses what is no request for any', async () => {
      world = await SchedulerWorld.serving();
      const before = await ask();
      for (const count of [0, MAX_TIMESTAMPS_AT_ONCE + 1, 2 ** 32 - 1]) {
        const error = await world.failure(at(0).scheduler.timestamps(count));
        expect([error.code, error.message]).to.deep.equal([
          'invalid-argument',
          `${count} timestamps at once; ask for 1 to ${MAX_TIMESTAMPS_AT_ONCE}.`,
        ]);
      }
      at(0).clusterId = 77;
      at(0).renewClient();
      const stranger = await world.failure(at(0).scheduler.timestamps(1));
      expect(stranger.code).to.equal('identity');
      expect(stranger.message).to.match(/^"store-1" belongs to another cluster \(id 77\)/);
      const after = await ask(1, at(1));
      expect(after > before).to.equal(true);
    });
  });

  describe('with three members', () => {
    it('under one confirmation for all requests of a turn', async () => {
      await three(7);
      await ask();
      const name = await leader();
      let messages = 0;
      const stop = world.network.filterEnvelopes(({ from, to }) => {
        if (from === name && NAMES.includes(to)) messages++;
        return true;
      });
      const replies = await world.settle(
        Promise.all(Array.from({ length: 200 }, () => askOne(name, 1, at(0)))),
      );
      stop();
      expect(new Set(replies.map(({ timestamp }) => timestamp?.logical)).size).to.equal(200);
      // One heartbeat to each of the others, and perhaps one of the clock's.
      expect(messages).to.be.within(2, 4);
    });

    it('none from a follower, which names the leader', async () => {
      await three(8);
      const name = await leader();
      for (const follower of NAMES.filter((one) => one !== name)) {
        const { header, timestamp } = await world.settle(askOne(follower, 1, at(0)));
        expect([header?.error?.type, header?.error?.leader, timestamp]).to.deep.equal([
          pdpb.ErrorType.NOT_LEADER,
          name,
          undefined,
        ]);
      }
    });

    for (const skew of [0, -10_000, 10_000]) {
      it(`none from a leader that is cut off, and larger ones from the next, whose clock is ${skew} ms ahead`, async () => {
        await three(9);
        const deposed = await leader();
        const others = NAMES.filter((name) => name !== deposed);
        for (const name of others) world.wallSkew.set(name, skew);
        let last = 0n;
        const grows = (next: bigint) => {
          expect(next > last, `${next} after ${last}`).to.equal(true);
          last = next;
        };
        for (let i = 0; i < 3; i++) grows(await ask());
        // It believes that it leads, and has a window that is not used up; store-1 hears only it.
        world.network.partition([deposed, 'store-1'], [...others, 'store-2', 'store-3']);
        const answers: (pdpb.TsoResponse | undefined)[] = [];
        let asked = 0;
        for (let i = 0; i < 60; i++) {
          asked++;
          askOne(deposed, 1, at(0)).then(
            (reply) => answers.push(reply),
            () => answers.push(undefined),
          );
          await world.clock.advance(100);
          if (i % 10 === 0) grows(await ask(1, at(1)));
        }
        await world.clock.advance(6_000);
        const given = answers.filter((reply) => reply?.timestamp !== undefined);
        const refused = answers.filter((reply) => reply?.header?.error?.type === pdpb.ErrorType.NOT_LEADER);
        expect([answers.length, given.length]).to.deep.equal([asked, 0]);
        expect(refused.length).to.be.greaterThan(0);
        expect(others).to.include(await leader(at(1)));
        world.network.heal();
        await world.clock.advance(2_000);
        for (const store of world.stores) grows(await ask(1, store));
      });
    }

    it('that never go back over ten changes of the leader, with clocks that disagree', async () => {
      await three(10);
      let last = 0n;
      const leaders = new Set<string>();
      for (let change = 0; change < 10; change++) {
        for (let i = 0; i < 3; i++) {
          const next = await ask(5, at(i));
          expect(next > last, `${next} after ${last}`).to.equal(true);
          last = next + 4n;
        }
        const dead = await leader();
        leaders.add(dead);
        world.crash(dead);
        const asked = await ask(1, at(1));
        expect(asked > last, `${asked} after ${last}`).to.equal(true);
        last = asked;
        world.wallSkew.set(dead, Math.round((world.random() - 0.5) * 20_000));
        await world.settle(world.scheduler({}, dead));
        await world.clock.advance(1_000);
      }
      expect(leaders.size).to.be.greaterThan(1);
    });
  });
});

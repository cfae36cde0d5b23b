import { expect } from 'chai';
import { type AnyActor, createActor, setup } from 'xstate';
import {
  type ActorSystemOptions,
  type Clock,
  DEFAULT_WANTED,
  type InspectionBatch,
  InspectionObserver,
  type Wanted,
} from '../../actors/index.js';
import { QuietTransitions } from '../../actors/quiet-transitions.js';
import { TestCluster } from './fixtures.js';

type XStateSystem = AnyActor['system'];

/** Knocks leave it as it is, pushes do not. */
const door = setup({
  types: {
    context: {} as { note: string; seen: (system: XStateSystem) => void },
    events: {} as { type: 'knock' } | { type: 'push' },
    input: {} as { readonly seen: (system: XStateSystem) => void } | undefined,
  },
  actions: { listen: ({ context, self }) => context.seen(self.system) },
}).createMachine({
  id: 'door',
  context: ({ input }) => ({ note: 'oak', seen: input?.seen ?? (() => {}) }),
  initial: 'closed',
  states: {
    closed: { on: { knock: { actions: 'listen' }, push: 'opened' } },
    opened: { on: { push: 'closed' } },
  },
});

/** Counts those who observe what XState does. */
class Observers {
  count = 0;

  of(system: XStateSystem): void {
    const inspect = system.inspect.bind(system);
    system.inspect = (observer) => {
      this.count++;
      const subscription = inspect(observer);
      return {
        unsubscribe: () => {
          this.count--;
          subscription.unsubscribe();
        },
      };
    };
  }
}

/** Its time moves while something is computed, as far as a spec says how long that takes. */
class BusyClock implements Clock {
  timers = 0;
  #worked = 0;

  constructor(private readonly inner: Clock) {}

  /** Computes for so many milliseconds. */
  work(milliseconds: number): void {
    this.#worked += milliseconds;
  }

  now(): number {
    return this.inner.now() + this.#worked;
  }

  setTimeout(fn: () => void, ms: number) {
    this.timers++;
    return this.inner.setTimeout(fn, ms);
  }

  clearTimeout(handle: object): void {
    this.inner.clearTimeout(handle);
  }

  immediate(fn: () => void): void {
    this.inner.immediate(fn);
  }
}

class Looked {
  readonly cluster = new TestCluster();
  readonly clock = new BusyClock(this.cluster.clock);
  readonly batches: { readonly at: number; readonly batch: InspectionBatch }[] = [];

  node(inspection: ActorSystemOptions['inspection'] = {}) {
    return this.cluster.node('store-1', { clock: this.clock, inspection });
  }

  async look(wanted: Wanted = DEFAULT_WANTED): Promise<InspectionObserver> {
    const observer = await InspectionObserver.open({
      watcher: 'spec',
      clock: this.cluster.clock,
      open: this.cluster.network.observer,
      onBatch: (batch) => this.batches.push({ at: this.cluster.clock.now(), batch }),
    });
    observer.want('all', wanted);
    await this.pass(10);
    return observer;
  }

  pass(milliseconds: number): Promise<void> {
    return this.cluster.clock.advance(milliseconds);
  }

  /** Records of a kind since the last call. */
  take(kind: string): number {
    return this.batches.splice(0).flatMap(({ batch }) => batch.records.filter((one) => one.kind === kind))
      .length;
  }
}

describe('what inspection costs', () => {
  const { take } = QuietTransitions.prototype;
  afterEach(() => {
    QuietTransitions.prototype.take = take;
  });

  /** Counts the events that go the short way from now on. */
  const short = (): { count: number } => {
    const seen = { count: 0 };
    QuietTransitions.prototype.take = function (this: QuietTransitions, snapshot, event, scope) {
      const taken = take.call(this, snapshot, event, scope);
      if (taken) seen.count++;
      return taken;
    };
    return seen;
  };

  it('is nothing while nobody looks: no observer, no timer, no message, before and after somebody did', async () => {
    const run = async (inspection: ActorSystemOptions['inspection'], attach: boolean) => {
      const world = new Looked();
      const system = await world.node(inspection);
      const guest = createActor(door).start();
      let asked = 0;
      const observers = new Observers();
      observers.of(guest.system);
      system.inspection.addGuests(() => {
        asked++;
        return [{ path: 'guest', actor: guest }];
      });
      let known: XStateSystem | undefined;
      const seen = (found: XStateSystem) => {
        if (known === undefined) observers.of(found);
        known = found;
      };
      const actor = system.spawn(door, { path: 'door', input: { seen } });
      actor.tell({ type: 'knock' });
      await world.pass(10);
      if (attach) {
        const observer = await world.look({ ...DEFAULT_WANTED, every: 2 });
        await world.pass(3_000);
        expect(system.inspection.attached).to.equal(true);
        expect(observers.count).to.equal(1);
        await observer.close();
        await world.pass(10);
      }
      const before = { asked, timers: world.clock.timers, shown: world.cluster.network.counts.shown };
      const quiet = short();
      for (let i = 0; i < 500; i++) actor.tell({ type: 'knock' });
      for (let i = 0; i < 4; i++) actor.tell({ type: 'push' });
      system.inspection.note('thing', () => asked++);
      await world.pass(30_000);
      return {
        observers: observers.count,
        quiet: quiet.count,
        asked: asked - before.asked,
        timers: world.clock.timers - before.timers,
        shown: world.cluster.network.counts.shown - before.shown,
      };
    };
    const off = await run(false, false);
    expect(off).to.include({ observers: 0, quiet: 500, asked: 0, shown: 0 });
    expect(await run({}, false)).to.deep.equal(off);
    expect(await run({}, true)).to.deep.equal(off);
  });

  it('is the long way for samples only, with what an inspector looks at where nobody says more', async () => {
    const world = new Looked();
    const system = await world.node();
    const actor = system.spawn(door, { path: 'door' });
    await world.look();
    world.take('@xstate.event');
    const quiet = short();
    const events = 8 * DEFAULT_WANTED.every;
    for (let i = 0; i < events; i++) {
      actor.tell({ type: 'knock' });
      if (i % 512 === 0) await world.pass(10);
    }
    await world.pass(100);
    expect(events - quiet.count).to.equal(8);
    expect(world.take('@xstate.event')).to.equal(8);
  });

  it('is a small share of the time: the longer a look takes, the rarer it is', async () => {
    // Milliseconds of a look, and how many there may be in a minute.
    for (const [milliseconds, least, most] of [
      [0, 235, 245],
      [0.1, 230, 245],
      [0.5, 110, 125],
      [5, 55, 65],
      [100, 10, 14],
    ] as const) {
      const world = new Looked();
      const system = await world.node();
      let looks = 0;
      system.inspection.addState('things', function* () {
        looks++;
        world.clock.work(milliseconds);
        yield { key: 'a', seen: looks, item: () => looks };
      });
      await world.look();
      looks = 0;
      const from = world.cluster.clock.now();
      world.batches.length = 0;
      await world.pass(60_000);
      expect(looks, `looks of ${milliseconds} ms`).to.be.within(least, most);
      // However rarely it looks, a node that lives says so.
      let last = from;
      for (const { at } of world.batches) {
        expect(at - last, `silence with looks of ${milliseconds} ms`).to.be.below(1_500);
        last = at;
      }
    }
  });

  it('shows a later inspector everything at once, however rarely it looks', async () => {
    const world = new Looked();
    const system = await world.node();
    system.inspection.addState('things', function* () {
      world.clock.work(1_000);
      yield { key: 'a', seen: 1, item: () => 1 };
    });
    await world.look();
    await world.pass(7_000);
    world.take('state');
    await world.look({ ...DEFAULT_WANTED, every: 7 });
    await world.pass(50);
    expect(world.take('state')).to.be.at.least(1);
  });

  it('introduces as many actors as fit into a moment, and the others later', async () => {
    const world = new Looked();
    const contexts = new Map([['door', () => world.clock.work(1)]]);
    const system = await world.node({ contexts });
    for (let i = 0; i < 100; i++) system.spawn(door, { path: `door/${i}` });
    await world.pass(10);
    await world.look();
    await world.pass(50);
    expect(world.take('@xstate.actor')).to.be.within(1, 6);
    await world.pass(10_000);
    expect(world.take('@xstate.actor')).to.be.within(94, 99);
  });

  it('describes nothing for which there is no room', async () => {
    const world = new Looked();
    let described = 0;
    let remarks = 0;
    const contexts = new Map([['door', () => described++]]);
    const system = await world.node({ contexts });
    const actor = system.spawn(door, { path: 'door' });
    await world.look({ ...DEFAULT_WANTED, perSecond: 20 });
    await world.pass(2_000);
    world.batches.length = 0;
    described = 0;
    for (let i = 0; i < 500; i++) {
      actor.tell({ type: 'push' });
      system.inspection.note('thing', () => remarks++);
    }
    await world.pass(100);
    expect(described + remarks).to.be.within(1, 25);
    const left = world.batches.reduce(
      (sum, { batch }) => sum + (batch.leftOut['spec-all']?.['@xstate.snapshot'] ?? 0),
      0,
    );
    await world.pass(1_000);
    expect(left + world.take('@xstate.snapshot')).to.be.at.least(480);
  });
});

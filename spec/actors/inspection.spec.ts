import { expect } from 'chai';
import { assign, createActor, setup } from 'xstate';
import {
  type ActorSystem,
  DEFAULT_WANTED,
  type InspectionBatch,
  InspectionObserver,
  type InspectionOptions,
  type InspectionRecord,
  MACHINE_KINDS,
  type MachineRecord,
  type Wanted,
} from '../../actors/index.js';
import { counter, TestCluster } from './fixtures.js';

/** A door that keeps a secret, with everything that inspection has to show: guards, actions, context. */
const door = setup({
  types: {
    context: {} as { opened: number; password: string; note: string },
    events: {} as { type: 'open'; key: number } | { type: 'close' } | { type: 'knock' },
  },
  guards: { fits: ({ event }) => event.type === 'open' && event.key === 7, isOld: () => false },
  actions: { creak: () => {}, listen: () => {} },
}).createMachine({
  id: 'door',
  context: { opened: 0, password: 'sesame', note: 'oak' },
  initial: 'closed',
  states: {
    closed: {
      on: {
        open: [
          { guard: 'isOld', target: 'broken' },
          {
            guard: 'fits',
            target: 'opened',
            actions: ['creak', assign({ opened: ({ context }) => context.opened + 1 })],
          },
        ],
        knock: { actions: 'listen' },
      },
    },
    opened: { on: { close: 'closed' } },
    broken: {},
  },
});

class Watching {
  readonly cluster = new TestCluster();
  readonly batches: InspectionBatch[] = [];
  observer: InspectionObserver | undefined;

  node(name: string, inspection: InspectionOptions = { wallClock: () => 1000 }): Promise<ActorSystem> {
    return this.cluster.node(name, { inspection });
  }

  async look(wanted: Wanted, watcher = 'spec'): Promise<InspectionObserver> {
    const observer = await InspectionObserver.open({
      watcher,
      clock: this.cluster.clock,
      open: this.cluster.network.observer,
      onBatch: (batch) => this.batches.push(batch),
    });
    observer.want('all', wanted);
    await this.pass(600);
    this.observer ??= observer;
    return observer;
  }

  pass(milliseconds: number): Promise<void> {
    return this.cluster.clock.advance(milliseconds);
  }

  /** What was told since the last call. */
  take(): InspectionRecord[] {
    return this.batches.splice(0).flatMap(({ records }) => records);
  }

  machine(path: string): MachineRecord[] {
    return this.take().filter(
      (record): record is MachineRecord => 'path' in record && record.path === path && record.kind !== 'life',
    );
  }
}

const ALL: Wanted = { paths: [''], every: 1, perSecond: 1000 };

describe('inspection over the network', () => {
  it('tells nothing, and asks nothing, while nobody looks', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    let asked = 0;
    system.inspection.addState('things', function* () {
      asked++;
      yield { key: 'a', seen: 1, item: () => 1 };
    });
    system.inspection.note('thing', () => asked++);
    const actor = system.spawn(door, { path: 'door' });
    for (let i = 0; i < 100; i++) actor.tell({ type: 'knock' });
    await world.pass(10_000);
    expect({ asked, shown: world.cluster.network.counts.shown }).to.deep.equal({ asked: 0, shown: 0 });
  });

  it('tells all six kinds of a step, the guards that said no, and the state after it', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const actor = system.spawn(door, { path: 'door' });
    await world.look(ALL);
    const [hello] = world.machine('door');
    expect(hello).to.deep.include({ kind: '@xstate.actor', machine: 'door' });
    expect(hello?.snapshot).to.deep.include({ value: 'closed', status: 'active' });
    actor.tell({ type: 'open', key: 7 });
    await world.pass(100);
    const told = world.machine('door');
    expect(new Set(told.map(({ kind }) => kind))).to.deep.equal(
      new Set(MACHINE_KINDS.filter((kind) => kind !== '@xstate.actor')),
    );
    expect(told.find(({ kind }) => kind === '@xstate.event')?.event).to.deep.include({
      type: 'open',
      key: 7,
    });
    expect(told.filter(({ kind }) => kind === '@xstate.action').map(({ action }) => action?.type)).to.include(
      'creak',
    );
    const step = told.find(({ kind }) => kind === '@xstate.transition');
    expect(step?.transitions).to.deep.equal([
      { source: 'door.closed', event: 'open', targets: ['door.opened'], guard: 'fits' },
    ]);
    expect(step?.refused?.map(({ guard }) => guard)).to.deep.equal(['isOld']);
    expect(told.at(-1)?.snapshot).to.deep.equal({
      value: 'opened',
      status: 'active',
      context: { opened: 1, password: '<redacted>', note: 'oak' },
    });
    actor.tell({ type: 'close' });
    await world.pass(100);
    world.take();
    actor.tell({ type: 'open', key: 1 });
    await world.pass(100);
    const refused = world.machine('door').find(({ kind }) => kind === '@xstate.transition');
    expect(refused?.refused?.map(({ guard }) => guard)).to.deep.equal(['isOld', 'fits']);
    expect(refused?.transitions).to.deep.equal([]);
  });

  it('shows every change of state and a sample of the rest, and counts what it leaves out', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const quiet = system.spawn(door, { path: 'door' });
    const loud = system.spawn(counter, { path: 'counter' });
    await world.look({ ...ALL, every: 50 });
    world.take();
    for (let i = 0; i < 1000; i++) {
      quiet.tell({ type: 'knock' });
      loud.tell({ type: 'add', by: 1 });
    }
    quiet.tell({ type: 'open', key: 7 });
    await world.pass(1000);
    const left = world.batches.reduce(
      (sum, { leftOut }) => sum + (leftOut['spec-all']?.['@xstate.event'] ?? 0),
      0,
    );
    const told = world.take();
    const events = (path: string) =>
      told.filter((record) => record.kind === '@xstate.event' && record.path === path).length;
    expect({ door: events('door'), counter: events('counter') }).to.deep.equal({ door: 21, counter: 20 });
    expect(left).to.equal(2000 - 40);
  });

  it('changes nothing in what actors do, however much of them is shown', async () => {
    const run = async (wanted: Wanted | undefined): Promise<unknown> => {
      const world = new Watching();
      const system = await world.node('store-1');
      const actor = system.spawn(counter, { path: 'counter' });
      if (wanted !== undefined) await world.look(wanted);
      for (let i = 0; i < 300; i++) actor.tell({ type: 'add', by: i });
      return world.cluster.settle(actor.ask({ type: 'get' }));
    };
    const plain = await run(undefined);
    for (const every of [0, 1, 7]) expect(await run({ ...ALL, every })).to.equal(plain);
  });

  it('shows the actors and kinds that were asked for, and no others', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const far = await world.node('store-2');
    for (const one of [system, far])
      for (const path of ['region/1/peer/2', 'region/12/peer/3']) one.spawn(door, { path });
    await world.look({ ...ALL, paths: ['region/1/'], kinds: ['@xstate.snapshot'], nodes: ['store-1'] });
    for (const one of [system, far])
      for (const path of ['region/1/peer/2', 'region/12/peer/3'])
        one.ref(`${one.node}/${path}`).tell({ type: 'open', key: 7 });
    await world.pass(100);
    const nodes = new Set(world.batches.map(({ node }) => node));
    const told = world.take().map((record) => [record.kind, 'path' in record ? record.path : '']);
    expect([...nodes]).to.deep.equal(['store-1']);
    expect(told).to.deep.equal([['@xstate.snapshot', 'region/1/peer/2']]);
  });

  it('sends no more than it may in a second, and says how much it did not', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const actor = system.spawn(door, { path: 'door' });
    await world.look({ ...ALL, perSecond: 20 });
    await world.pass(2000);
    world.take();
    for (let i = 0; i < 500; i++) actor.tell({ type: 'knock' });
    await world.pass(500);
    const left = world.batches.reduce(
      (sum, { leftOut }) => sum + Object.values(leftOut['spec-all'] ?? {}).reduce((a, b) => a + b, 0),
      0,
    );
    const told = world.machine('door').length;
    expect(told).to.be.within(15, 40);
    // An event, a microstep, an action, a transition and a snapshot each.
    expect(told + left).to.equal(500 * 5);
  });

  it('stops when its inspector is silent, or says so', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const observer = await world.look(DEFAULT_WANTED);
    await world.pass(20_000);
    expect(system.inspection.attached).to.equal(true);
    await observer.close();
    await world.pass(10);
    expect(system.inspection.attached).to.equal(false);
    // One that dies without a word.
    const link = await world.cluster.network.observer(() => {});
    link.announce(new TextEncoder().encode(JSON.stringify({ watcher: 'dead', ttl: 3000, ...ALL })));
    await world.pass(100);
    expect(system.inspection.attached).to.equal(true);
    await world.pass(3200);
    expect(system.inspection.attached).to.equal(false);
    const before = world.cluster.network.counts.shown;
    system.spawn(door, { path: 'door' });
    await world.pass(5000);
    expect(world.cluster.network.counts.shown).to.equal(before);
  });

  it('takes in no lease that is none, and no more watchers than it can bear', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const link = await world.cluster.network.observer(() => {});
    const good = { watcher: 'a', ttl: 1000, ...ALL };
    const bad = [
      'garbage',
      '[]',
      'null',
      ...[
        { ...good, watcher: 'a b' },
        { ...good, ttl: 30_001 },
        { ...good, ttl: 1.5 },
        { ...good, every: -1 },
        { ...good, perSecond: 1e9 },
        { ...good, paths: Array.from({ length: 65 }, () => '') },
        { ...good, paths: [1] },
        { ...good, kinds: ['@xstate.secrets'] },
        { ...good, nodes: 'store-1' },
      ].map((lease) => JSON.stringify(lease)),
    ];
    for (const text of bad) link.announce(new TextEncoder().encode(text));
    await world.pass(10);
    expect(system.inspection.attached).to.equal(false);
    for (let i = 0; i < 40; i++)
      link.announce(new TextEncoder().encode(JSON.stringify({ ...good, watcher: `w${i}`, ttl: 30_000 })));
    await world.pass(10);
    for (let i = 0; i < 16; i++)
      link.announce(new TextEncoder().encode(JSON.stringify({ ...good, watcher: `w${i}`, ttl: 0 })));
    await world.pass(10);
    expect(system.inspection.attached).to.equal(false);
  });

  it('shows machines that are no actors of the node, with the depth that is asked for', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const guest = createActor(door).start();
    const depths: boolean[] = [];
    const guests = [{ path: 'guest', actor: guest, showAll: (all: boolean) => depths.push(all) }];
    system.inspection.addGuests(() => guests);
    const observer = await world.look(ALL);
    expect(world.machine('guest').map(({ kind }) => kind)).to.deep.equal(['@xstate.actor']);
    guest.send({ type: 'open', key: 7 });
    await world.pass(100);
    expect(world.machine('guest').at(-1)?.snapshot?.value).to.equal('opened');
    observer.want('all', { ...ALL, every: 10 });
    await world.pass(10);
    expect(depths).to.deep.equal([true, false]);
    guests.length = 0;
    await world.pass(600);
    expect(world.take().filter(({ kind }) => kind === 'life')).to.have.length(1);
  });

  it('tells of life, dead letters, states and remarks', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const things = new Map([['a', 1]]);
    system.inspection.addState('things', function* () {
      for (const [key, n] of things) yield { key, seen: n, item: () => ({ key, n }) };
    });
    await world.look(ALL);
    const states = (topic: string) =>
      world.take().flatMap((record) => (record.kind === 'state' && record.topic === topic ? [record] : []));
    expect(states('things').map(({ items }) => items)).to.deep.equal([[{ key: 'a', n: 1 }]]);
    things.set('b', 2);
    things.delete('a');
    await world.pass(300);
    expect(states('things').map(({ items, gone }) => ({ items, gone }))).to.deep.equal([
      { items: [{ key: 'b', n: 2 }], gone: ['a'] },
    ]);
    const actor = system.spawn(counter, { path: 'counter', supervision: { onFailure: 'stop' } });
    system.ref('store-1/nobody').tell({ type: 'hello' });
    system.inspection.note('txn', () => ({ startTs: 7n, value: new Uint8Array(9) }));
    actor.tell({ type: 'fail' });
    await world.pass(300);
    const told = world.take();
    expect(
      told.flatMap((record) => (record.kind === 'life' ? [`${record.path} ${record.what}`] : [])),
    ).to.deep.equal(['counter spawned', 'counter failed', 'counter stopped']);
    expect(told.find(({ kind }) => kind === 'letter')).to.deep.include({
      reason: 'no-such-actor',
      event: 'hello',
    });
    expect(told.find(({ kind }) => kind === 'note')).to.deep.include({
      topic: 'txn',
      detail: { startTs: '7', value: '<9 bytes>' },
    });
  });

  it('tells the definition of a machine to who asks for that actor alone', async () => {
    for (const [paths, told] of [
      [['door'], 'door'],
      [[''], undefined],
    ] as const) {
      const world = new Watching();
      const chart = (logic: unknown) => (logic as { readonly id: string }).id;
      const system = await world.node('store-1', { chart });
      system.spawn(door, { path: 'door' });
      await world.look({ ...ALL, paths });
      expect(world.machine('door').map((record) => record.chart)).to.deep.equal([told]);
    }
  });

  it("tells a machine's configuration to who asks for what Stately's viewer reads", async () => {
    for (const stately of [true, false]) {
      const world = new Watching();
      const system = await world.node('store-1');
      system.spawn(door, { path: 'door' });
      await world.look({ ...ALL, stately });
      const [hello] = world.machine('door');
      if (stately) expect(hello?.definition).to.include('"guard":"fits"').and.not.include('sesame');
      else expect(hello?.definition).to.equal(undefined);
    }
  });

  it('harms nobody who cannot be shown', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    const actor = system.spawn(counter, { path: 'counter' });
    await world.look(ALL);
    const hostile = new Proxy(
      {},
      {
        getPrototypeOf() {
          throw new Error('nobody looks at me');
        },
      },
    );
    actor.tell({ type: 'add', by: 2, hostile } as unknown as { type: 'add'; by: number });
    expect(await world.cluster.settle(actor.ask({ type: 'get' }))).to.equal(2);
    expect(system.actor('counter')).to.deep.include({ status: 'active', restarts: 0 });
  });

  it('copes with many actors: what does not fit a tick follows', async () => {
    const world = new Watching();
    const system = await world.node('store-1');
    for (let i = 0; i < 2000; i++) system.spawn(door, { path: `door/${i}` });
    await world.look({ ...ALL, every: 0 });
    await world.pass(4000);
    const hellos = world.take().filter(({ kind }) => kind === '@xstate.actor');
    expect(new Set(hellos.map((record) => ('path' in record ? record.path : ''))).size).to.equal(2000);
  });
});

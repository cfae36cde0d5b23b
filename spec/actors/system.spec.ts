import { expect } from 'chai';
import { fromPromise, fromTransition, setup } from 'xstate';
import {
  ActorSystem,
  ActorSystemError,
  type DeadLetter,
  type InspectionEvent,
  type ReplyTo,
} from '../../actors/index.js';
import { type CounterEvent, counter, errorOf, TestCluster } from './fixtures.js';

describe('actor system', () => {
  it('refuses names that cannot be subjects, and roles that do not fit the name', async () => {
    const cluster = new TestCluster();
    for (const name of ['', 'a.b', 'a b', 'a*', 'ä', 'x'.repeat(65)]) {
      const error = await errorOf(cluster.node(name, { role: 'server' }));
      expect(error).to.be.instanceOf(ActorSystemError).and.include({ code: 'invalid-argument' });
    }
    expect((await errorOf(cluster.node('client-1', { role: 'server' }))).message).to.match(
      /begin with client-/,
    );
    expect((await errorOf(cluster.node('shop', { role: 'client' }))).message).to.match(/begin with client-/);
    expect((await errorOf(cluster.node('store-1', { cluster: 'a.b' }))).message).to.match(/name a cluster/);
  });

  it('refuses addresses, paths and parents that cannot be', async () => {
    const system = await new TestCluster().node('store-1');
    const code = (fn: () => unknown): string => {
      try {
        fn();
      } catch (error) {
        if (error instanceof ActorSystemError) return error.code;
      }
      return 'none';
    };
    expect(code(() => system.ref('a b/c'))).to.equal('invalid-argument');
    expect(code(() => system.ref(`store-1/${'x'.repeat(600)}`))).to.equal('invalid-argument');
    expect(code(() => system.spawn(counter, { path: '' }))).to.equal('invalid-argument');
    expect(code(() => system.spawn(counter, { path: 'a', mailbox: { capacity: 0 } }))).to.equal(
      'invalid-argument',
    );
    expect(code(() => system.spawn(counter, { path: 'a', parent: system.ref('store-1/b') }))).to.equal(
      'invalid-argument',
    );
    system.spawn(counter, { path: 'a' });
    expect(code(() => system.spawn(counter, { path: 'a' }))).to.equal('path-taken');
    system.registerCodec('k', { encode: () => new Uint8Array(0), decode: () => ({ type: 'k' }) });
    expect(
      code(() =>
        system.registerCodec('k', { encode: () => new Uint8Array(0), decode: () => ({ type: 'k' }) }),
      ),
    ).to.equal('invalid-argument');
    await system.close();
    expect(code(() => system.spawn(counter, { path: 'b' }))).to.equal('closed');
    expect(system.ref('store-2/x').tell({ type: 'late' })).to.equal(false);
  });

  it('hosts any XState logic', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const sum = system.spawn(
      fromTransition(
        (
          state: { n: number },
          event: { type: 'add'; by: number } | { type: 'get'; replyTo: ReplyTo<number> },
        ) => {
          if (event.type === 'add') return { n: state.n + event.by };
          event.replyTo.send(state.n);
          return state;
        },
        { n: 0 },
      ),
      { path: 'sum' },
    );
    sum.tell({ type: 'add', by: 5 });
    expect(await cluster.settle(sum.ask({ type: 'get' }))).to.equal(5);
    const reasons: string[] = [];
    system
      .spawn(
        fromPromise(async () => 'done'),
        { path: 'job' },
      )
      .watch(({ reason }) => reasons.push(reason));
    await cluster.clock.advance(10);
    expect(reasons).to.deep.equal(['done']);
  });

  it('gives an actor its own ref and the system when it makes its input', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const machine = setup({
      types: {
        context: {} as { address: string; node: string },
        input: {} as { address: string; node: string },
      },
    }).createMachine({ context: ({ input }) => input });
    system.spawn(machine, {
      path: 'self',
      input: ({ self, system: own }) => ({ address: self.address, node: own.node }),
    });
    await cluster.clock.advance(1);
    expect(system.actors()[0]?.snapshot).to.have.property('context').that.deep.equals({
      address: 'store-1/self',
      node: 'store-1',
    });
  });

  it('runs delayed events of machines on its own clock, in a turn', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const hooks: number[] = [];
    const machine = setup({}).createMachine({
      initial: 'a',
      states: { a: { after: { 1000: 'b' } }, b: { on: { back: 'a' } } },
    });
    const ref = system.spawn(machine, { path: 'timer' });
    await cluster.clock.advance(10);
    system.onTurnEnd(1, () => hooks.push(cluster.clock.now()));
    await cluster.clock.advance(989);
    expect(system.actors()[0]?.snapshot).to.include({ value: 'a' });
    await cluster.clock.advance(1);
    expect(system.actors()[0]?.snapshot).to.include({ value: 'b' });
    expect(hooks).to.deep.equal([1000]);
    ref.stop();
    await cluster.clock.advance(1);
    expect(system.actors()).to.deep.equal([]);
  });

  it('cancels a delayed event that has fired but still waits in the mailbox', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const machine = setup({}).createMachine({
      initial: 'a',
      states: { a: { after: { 100: 'late' }, on: { leave: 'b' } }, b: { on: { back: 'a' } }, late: {} },
    });
    const ref = system.ref('store-1/timer');
    cluster.clock.setTimeout(() => {
      ref.tell({ type: 'leave' });
      ref.tell({ type: 'back' });
    }, 100);
    system.spawn(machine, { path: 'timer' });
    await cluster.clock.advance(110);
    expect(system.actors()[0]?.snapshot).to.include({ value: 'a' });
  });

  it('in development takes local messages through their codecs', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1', { development: true });
    const seen: unknown[] = [];
    const machine = setup({
      types: { events: {} as { type: 'show'; value: unknown; replyTo?: ReplyTo } },
    }).createMachine({
      on: {
        show: {
          actions: ({ event }) => {
            seen.push(event.value);
            event.replyTo?.send({ when: new Date(0) });
          },
        },
      },
    });
    const ref = system.spawn(machine, { path: 'actor' });
    expect(ref.tell({ type: 'show', value: new Date(0) })).to.equal(true);
    expect(ref.tell({ type: 'show', value: 5n })).to.equal(false);
    const answer = await cluster.settle(ref.ask({ type: 'show', value: 1 }));
    expect(seen).to.deep.equal(['1970-01-01T00:00:00.000Z', 1]);
    expect(answer).to.deep.equal({ when: '1970-01-01T00:00:00.000Z' });
    expect(system.deadLetters.counts['not-encodable']).to.equal(1);
  });

  it('says who sent an event, and does not touch the sender’s own object', async () => {
    const cluster = new TestCluster();
    const senders: unknown[] = [];
    const machine = setup({}).createMachine({
      on: { hi: { actions: ({ event }) => senders.push(event.sender) } },
    });
    const store = await cluster.node('store-1');
    store.spawn(machine, { path: 'actor' });
    const event = Object.freeze({ type: 'hi' });
    for (const system of [store, await cluster.node('store-2'), await cluster.node('client-a')]) {
      system.ref('store-1/actor').tell(event);
    }
    await cluster.clock.advance(10);
    expect(senders).to.have.members(['store-1', 'store-2', 'client-a']);
  });

  it('counts dead letters by reason and keeps the last ones', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1', { keepDeadLetters: 3 });
    const heard: DeadLetter[] = [];
    system.deadLetters.listen((letter) => heard.push(letter));
    for (let i = 0; i < 5; i++) system.ref(`store-1/nobody/${i}`).tell({ type: 'hello' });
    expect(system.deadLetters.counts['no-such-actor']).to.equal(5);
    expect(system.deadLetters.total).to.equal(5);
    expect(system.deadLetters.last().map(({ to }) => to)).to.deep.equal(
      [2, 3, 4].map((i) => `store-1/nobody/${i}`),
    );
    expect(heard[0]).to.deep.include({
      reason: 'no-such-actor',
      from: 'store-1',
      to: 'store-1/nobody/0',
      kind: 'hello',
    });
  });

  it('shows an inspector what happens, and nothing after it is detached', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const early = system.spawn(counter, { path: 'early' });
    await cluster.clock.advance(1);
    const events: InspectionEvent[] = [];
    const detach = system.inspect((event) => events.push(event));
    const late = system.spawn(counter, { path: 'late' });
    early.tell({ type: 'add', by: 1 });
    late.tell({ type: 'fail' });
    await cluster.clock.advance(1000);
    const types = (address: string): string[] => [
      ...new Set(
        events
          .filter((event) => event.address === address)
          .map((event) => (event.type === 'machine' ? event.event.type : event.type)),
      ),
    ];
    expect(types('store-1/early')).to.include.members(['@xstate.event', '@xstate.snapshot']);
    expect(types('store-1/late')).to.include.members(['spawned', 'failed', 'restarted', '@xstate.snapshot']);
    detach();
    const count = events.length;
    early.tell({ type: 'add', by: 1 });
    await cluster.clock.advance(10);
    expect(events.length).to.equal(count);
  });

  it('can be closed by one of its own actors, and twice', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let closing: Promise<void> | undefined;
    const machine = setup({}).createMachine({
      on: {
        end: {
          actions: () => {
            system.ref('store-2/counter').tell({ type: 'add', by: 9 });
            closing = system.close();
          },
        },
      },
    });
    const other = await cluster.node('store-2');
    other.spawn(counter, { path: 'counter' });
    system.spawn(machine, { path: 'actor' }).tell({ type: 'end' });
    await cluster.clock.advance(10);
    await closing;
    await system.close();
    expect(await cluster.settle(other.ref<CounterEvent>('store-2/counter').ask({ type: 'get' }))).to.equal(9);
  });

  it('keeps the names of one actor and of what is written about it together', async () => {
    const system = await new TestCluster().node('store-1');
    const ref = system.spawn(counter, { path: 'a/b' });
    expect(`${ref}`).to.equal('store-1/a/b');
    expect(JSON.stringify({ ref })).to.equal('{"ref":"store-1/a/b"}');
    expect(system).to.be.instanceOf(ActorSystem);
  });
});

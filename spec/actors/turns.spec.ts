import { expect } from 'chai';
import { fromCallback, setup } from 'xstate';
import { type ActorRef, ActorSystem, MemoryNetwork, realClock, seededRandom } from '../../actors/index.js';
import { counter, TestCluster } from './fixtures.js';

describe('turns', () => {
  it('run hooks in their order after the messages, and frames leave after the hooks', async () => {
    const cluster = new TestCluster();
    const a = await cluster.node('store-1');
    const b = await cluster.node('store-2');
    const order: string[] = [];
    a.onTurnEnd(20, () => order.push('second'));
    a.onTurnEnd(10, () => order.push('first'));
    a.onTurnEnd(15, () => {
      order.push('between');
      if (order.length < 5) a.ref('store-2/counter').tell({ type: 'add', by: 1 });
    });
    cluster.network.filter(({ from }) => {
      if (from === 'store-1') order.push('frame');
      return true;
    });
    const actor = a.spawn(setup({}).createMachine({ on: { go: { actions: () => order.push('message') } } }), {
      path: 'actor',
    });
    actor.tell({ type: 'go' });
    await cluster.clock.advance(0);
    expect(order).to.deep.equal(['message', 'first', 'between', 'second', 'frame']);
    expect(a.metrics.turns).to.equal(1);
    await b.close();
  });

  it('run their hooks when asked to, once for any number of requests', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let runs = 0;
    const remove = system.onTurnEnd(1, () => runs++);
    system.requestTurn();
    system.requestTurn();
    await cluster.clock.advance(1);
    expect(runs).to.equal(1);
    remove();
    system.requestTurn();
    await cluster.clock.advance(1);
    expect(runs).to.equal(1);
  });

  it('run again when a hook asks for it', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let runs = 0;
    system.onTurnEnd(1, () => {
      if (++runs < 4) system.requestTurn();
    });
    system.requestTurn();
    await cluster.clock.advance(1);
    expect(runs).to.equal(4);
  });

  it('never run an actor on the stack of another', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let depth = 0;
    let deepest = 0;
    let volleys = 0;
    const player = setup({
      types: { context: {} as { other: string }, input: {} as { other: string } },
    }).createMachine({
      context: ({ input }) => input,
      on: {
        ball: {
          actions: ({ context }) => {
            deepest = Math.max(deepest, ++depth);
            if (++volleys < 5000) system.ref(`store-1/${context.other}`).tell({ type: 'ball' });
            depth--;
          },
        },
      },
    });
    system.spawn(player, { path: 'ping', input: { other: 'pong' } });
    system.spawn(player, { path: 'pong', input: { other: 'ping' } }).tell({ type: 'ball' });
    await cluster.clock.advance(1);
    expect(volleys).to.equal(5000);
    expect(deepest).to.equal(1);
  });

  it('start actors in a turn, not on the stack of whoever spawns them', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let started = false;
    system.spawn(
      fromCallback(() => {
        started = true;
      }),
      { path: 'actor' },
    );
    expect(started).to.equal(false);
    await cluster.clock.advance(0);
    expect(started).to.equal(true);
  });

  it('yield to the event loop when their budget is spent', async () => {
    const system = await ActorSystem.start({
      cluster: 'test',
      node: 'store-1',
      role: 'server',
      transport: new MemoryNetwork(realClock, seededRandom(1)).transport('store-1'),
    });
    const endless = setup({ types: { input: {} as ActorRef } }).createMachine({
      on: {
        spin: {
          actions: () => {
            const end = performance.now() + 0.5;
            while (performance.now() < end);
            system.ref('store-1/endless').tell({ type: 'spin' });
          },
        },
      },
    });
    system.spawn(endless, { path: 'endless' }).tell({ type: 'spin' });
    let fired = 0;
    const start = performance.now();
    while (fired < 5) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      fired++;
    }
    expect(performance.now() - start).to.be.below(1000);
    expect(system.metrics.turns).to.be.above(3);
    await system.close();
  });

  it('survive a hook that throws, and report it', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(counter, { path: 'counter' });
    const remove = system.onTurnEnd(1, () => {
      throw new Error('a broken hook');
    });
    ref.tell({ type: 'add', by: 1 });
    await cluster.clock.advance(1);
    remove();
    expect(await cluster.settle(ref.ask({ type: 'get' }))).to.equal(1);
    const failure = await cluster.settle(system.failed);
    expect(failure.code).to.equal('actor-failed');
    expect(failure.message).to.match(/a broken hook/);
  });
});

import { expect } from 'chai';
import { assign, fromCallback, fromPromise, setup } from 'xstate';
import type { ActorInfo, ActorSystem, ReplyTo } from '../../actors/index.js';
import { DEFAULT_SUPERVISION, Supervisor } from '../../actors/supervision.js';
import { counter, TestCluster } from './fixtures.js';

function info(system: ActorSystem, path = 'counter'): ActorInfo | undefined {
  return system.actors().find((actor) => actor.path === path);
}

describe('supervision', () => {
  it('backs off exponentially with jitter, up to a bound and a limit within the window', () => {
    const chance = [0, 0.5, 1, 0, 0, 0];
    const policy = {
      ...DEFAULT_SUPERVISION,
      minBackoff: 100,
      maxBackoff: 500,
      jitter: 0.2,
      limit: 5,
      window: 1000,
    };
    const supervisor = new Supervisor(policy, () => chance.shift() ?? 0);
    expect([1, 2, 3, 4, 5].map((at) => supervisor.judge(at))).to.deep.equal([
      { directive: 'restart', delay: 100 },
      { directive: 'restart', delay: 180 },
      { directive: 'restart', delay: 320 },
      { directive: 'restart', delay: 500 },
      { directive: 'restart', delay: 500 },
    ]);
    expect(supervisor.judge(6)).to.deep.equal({ directive: 'stop' });
    expect(supervisor.judge(1004)).to.deep.equal({ directive: 'restart', delay: 200 });
  });

  it('restarts from the last good snapshot and keeps the messages that wait', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(counter, { path: 'counter' });
    ref.tell({ type: 'add', by: 5 });
    ref.tell({ type: 'fail' });
    ref.tell({ type: 'add', by: 2 });
    const answer = ref.ask({ type: 'get' });
    await cluster.clock.advance(1);
    expect(info(system)).to.include({ status: 'restarting', queued: 2 });
    expect(await cluster.settle(answer)).to.equal(7);
    expect(info(system)).to.include({ status: 'active', restarts: 1 });
    expect(system.metrics).to.include({ failures: 1, restarts: 1 });
  });

  it('rebuilds from fresh input where the truth lies elsewhere', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let disk = 10;
    const ref = system.spawn(counter, {
      path: 'counter',
      input: () => ({ start: disk }),
      supervision: { onFailure: 'rebuild' },
    });
    ref.tell({ type: 'add', by: 5 });
    await cluster.clock.advance(1);
    disk = 20;
    ref.tell({ type: 'fail' });
    expect(await cluster.settle(ref.ask({ type: 'get' }))).to.equal(20);
  });

  it('holds waiting messages to the bound of the mailbox', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(counter, { path: 'counter', mailbox: { capacity: 3 } });
    ref.tell({ type: 'fail' });
    await cluster.clock.advance(1);
    const accepted = [1, 2, 3, 4].map((by) => ref.tell({ type: 'add', by }));
    expect(accepted).to.deep.equal([true, true, true, false]);
    await cluster.clock.advance(1000);
    expect(await cluster.settle(ref.ask({ type: 'get' }))).to.equal(6);
  });

  it('answers the asker of the message that failed', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const error = await cluster.failure(system.spawn(counter, { path: 'counter' }).ask({ type: 'fail' }));
    expect(error).to.include({ code: 'stopped', handled: 'maybe' });
    expect(error.message).to.match(/told to fail/);
  });

  it('stops an actor that is told to stop on failure, and answers those who wait', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(counter, { path: 'counter', supervision: { onFailure: 'stop' } });
    const reasons: string[] = [];
    ref.watch(({ reason }) => reasons.push(reason));
    ref.tell({ type: 'fail' });
    const error = await cluster.failure(ref.ask({ type: 'get' }));
    expect(error.code).to.equal('stopped');
    await cluster.clock.advance(1);
    expect(reasons).to.deep.equal(['failed']);
    expect(system.actors()).to.deep.equal([]);
    expect((await cluster.failure(ref.ask({ type: 'get' }))).code).to.equal('no-such-actor');
  });

  it('gives up after the limit within the window', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(counter, { path: 'counter', supervision: { limit: 2, window: 60_000 } });
    for (let i = 0; i < 3; i++) ref.tell({ type: 'fail' });
    await cluster.clock.advance(10_000);
    expect(system.metrics).to.include({ failures: 3, restarts: 2, actorsStopped: 1 });
  });

  it('escalates to the parent, which restarts; its children stop', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const parent = system.spawn(counter, { path: 'parent' });
    const supervision = { onFailure: 'escalate' as const };
    const child = system.spawn(counter, { path: 'parent/child', parent, supervision });
    const sibling = system.spawn(counter, { path: 'parent/sibling', parent });
    parent.tell({ type: 'add', by: 3 });
    child.tell({ type: 'fail' });
    await cluster.clock.advance(1000);
    expect(info(system, 'parent')).to.include({ status: 'active', restarts: 1 });
    expect(info(system, 'parent/child')).to.equal(undefined);
    expect((await cluster.failure(sibling.ask({ type: 'get' }))).code).to.equal('no-such-actor');
    expect(await cluster.settle(parent.ask({ type: 'get' }))).to.equal(3);
  });

  it('escalates to the system where no parent is left', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    system.spawn(counter, { path: 'counter', supervision: { onFailure: 'escalate' } }).tell({ type: 'fail' });
    const failure = await cluster.settle(system.failed);
    expect(failure.code).to.equal('actor-failed');
    expect(failure.message).to.match(/store-1\/counter failed: Error: told to fail/);
  });

  it('keeps the timers of the state that an actor goes back to', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const machine = setup({}).createMachine({
      initial: 'waiting',
      states: {
        waiting: {
          after: { 500: 'late' },
          on: {
            fail: {
              actions: () => {
                throw new Error('told to fail');
              },
            },
          },
        },
        late: {},
      },
    });
    const ref = system.spawn(machine, { path: 'actor', supervision: { jitter: 0 } });
    await cluster.clock.advance(300);
    ref.tell({ type: 'fail' });
    await cluster.clock.advance(199);
    expect(info(system, 'actor')?.snapshot).to.include({ value: 'waiting' });
    await cluster.clock.advance(1);
    expect(info(system, 'actor')?.snapshot).to.include({ value: 'late' });
  });

  it('survives failures everywhere: at the start, in guards, in promises, in endless loops', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const broken = (): never => {
      throw new Error('broken');
    };
    let starts = 0;
    const loop = setup({}).createMachine({
      initial: 'a',
      states: { a: { always: 'b' }, b: { always: 'a' } },
    });
    const machines = {
      entry: setup({}).createMachine({ entry: broken }),
      context: setup({ types: { context: {} as object } }).createMachine({
        context: () => {
          starts++;
          return broken();
        },
      }),
      guard: setup({}).createMachine({ on: { '*': { guard: broken, actions: () => {} } } }),
      promise: setup({
        actors: { reject: fromPromise(() => Promise.reject(new Error('broken'))) },
      }).createMachine({
        invoke: { src: 'reject' },
      }),
      loop,
      invokedLoop: setup({ actors: { loop } }).createMachine({ invoke: { src: 'loop' } }),
    };
    for (const [path, machine] of Object.entries(machines)) {
      system.spawn(machine, { path, supervision: { limit: 2 } }).tell({ type: 'anything' });
    }
    await cluster.clock.advance(60_000);
    expect(system.actors().map(({ path, status }) => `${path} ${status}`)).to.deep.equal(['guard active']);
    expect(starts).to.equal(3);
    expect(info(system, 'guard')?.restarts).to.equal(1);
  });

  it('stops what a failed machine had invoked', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    let running = 0;
    const machine = setup({
      types: { context: {} as { replyTo: ReplyTo | undefined } },
      actors: {
        child: fromCallback(() => {
          running++;
          return () => running--;
        }),
      },
    }).createMachine({
      context: { replyTo: undefined },
      invoke: { src: 'child', id: 'child' },
      on: {
        fail: {
          actions: [
            assign({}),
            () => {
              throw new Error('told to fail');
            },
          ],
        },
      },
    });
    const ref = system.spawn(machine, { path: 'actor' });
    await cluster.clock.advance(1);
    expect(running).to.equal(1);
    ref.tell({ type: 'fail' });
    await cluster.clock.advance(1);
    expect(running).to.equal(0);
  });
});

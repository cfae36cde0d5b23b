import { expect } from 'chai';
import { type AnyEventObject, assign, emit, fromPromise, setup } from 'xstate';
import type { ActorSystem, Persistence, Restorable, Step } from '../../actors/index.js';
import { counter, TestCluster } from './fixtures.js';

/** Keeps what a disk would: JSON, and nothing else. */
class Memory implements Persistence {
  kept: string | undefined;
  readonly steps: unknown[] = [];
  readonly emitted: AnyEventObject[] = [];
  readonly failures: (readonly [string, number | undefined])[] = [];
  readonly turnedAway = new Set<string>();
  refuses: (state: Restorable) => boolean = () => false;

  restore(): Restorable | undefined {
    return this.kept === undefined ? undefined : (JSON.parse(this.kept) as Restorable);
  }

  admit(event: AnyEventObject): boolean {
    return !this.turnedAway.has(event.type);
  }

  advanced(step: Step): void {
    const state = step.persist();
    if (this.refuses(state)) throw new Error('no place for this');
    this.kept = JSON.stringify(state);
    this.steps.push((step.snapshot as { value: unknown }).value);
    this.emitted.push(...step.takeEmitted());
  }

  failed(error: unknown, restartIn: number | undefined): void {
    this.failures.push([(error as Error).message, restartIn]);
  }
}

const lamp = setup({
  types: {
    context: {} as { flashes: number },
    events: {} as { type: 'on' } | { type: 'off' } | { type: 'spoil' },
  },
  actors: {
    timer: setup({}).createMachine({
      id: 'timer',
      initial: 'ticking',
      states: { ticking: { after: { 5000: 'rung' } }, rung: { type: 'final' } },
    }),
  },
}).createMachine({
  id: 'lamp',
  context: { flashes: 0 },
  initial: 'dark',
  states: {
    dark: { on: { on: 'lit' } },
    lit: {
      entry: [assign({ flashes: ({ context }) => context.flashes + 1 }), emit({ type: 'shines' })],
      invoke: { src: 'timer', id: 'egg', onDone: 'boiled' },
      after: { 10000: 'dark' },
      on: {
        off: 'dark',
        spoil: {
          actions: ({ context }) => {
            context.flashes = 99;
            throw new Error('spoilt');
          },
        },
      },
    },
    boiled: { after: { 60000: 'dark' } },
  },
});

const stateOf = (system: ActorSystem, path: string): { value: unknown; context: unknown } =>
  system.actor(path)?.snapshot as { value: unknown; context: unknown };

describe('an actor whose state outlives it', () => {
  it('tells of its start and of every step, with what it emitted', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const memory = new Memory();
    const ref = system.spawn(lamp, { path: 'lamp', persistence: memory });
    ref.tell({ type: 'on' });
    ref.tell({ type: 'off' });
    await cluster.clock.advance(1);
    expect(memory.steps).to.deep.equal(['dark', 'lit', 'dark']);
    expect(memory.emitted).to.deep.equal([{ type: 'shines' }]);
  });

  it('goes on in another process, with every timer at its first deadline, those of children too', async () => {
    const cluster = new TestCluster();
    const memory = new Memory();
    const first = await cluster.node('host-1');
    first.spawn(lamp, { path: 'lamp', persistence: memory }).tell({ type: 'on' });
    await cluster.clock.advance(3000);
    cluster.network.crash('host-1');
    await cluster.clock.advance(1000);
    const second = await cluster.node('host-1');
    second.spawn(lamp, { path: 'lamp', persistence: memory });
    await cluster.clock.advance(990);
    expect(stateOf(second, 'lamp')).to.include({ value: 'lit' });
    await cluster.clock.advance(20);
    expect(stateOf(second, 'lamp')).to.include({ value: 'boiled' });
  });

  it('fires at once what fell due meanwhile', async () => {
    const cluster = new TestCluster();
    const memory = new Memory();
    const first = await cluster.node('host-1');
    first.spawn(lamp, { path: 'lamp', persistence: memory }).tell({ type: 'on' });
    await cluster.clock.advance(1);
    cluster.network.crash('host-1');
    await cluster.clock.advance(20_000);
    const second = await cluster.node('host-1');
    second.spawn(lamp, { path: 'lamp', persistence: memory });
    await cluster.clock.advance(1);
    expect(memory.steps).to.deep.equal(['dark', 'lit', 'lit', 'boiled']);
  });

  it('restarts from what was kept, not from what a half-run action has touched', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const memory = new Memory();
    const ref = system.spawn(lamp, { path: 'lamp', persistence: memory });
    for (const type of ['on', 'spoil', 'off'] as const) ref.tell({ type });
    await cluster.clock.advance(1);
    expect(memory.failures).to.have.length(1);
    expect(memory.failures[0]?.[0]).to.equal('spoilt');
    expect(memory.failures[0]?.[1]).to.be.within(80, 100);
    await cluster.clock.advance(200);
    expect(stateOf(system, 'lamp')).to.deep.include({ value: 'dark', context: { flashes: 1 } });
  });

  it('does not handle what is turned away', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const memory = new Memory();
    memory.turnedAway.add('on');
    system.spawn(lamp, { path: 'lamp', persistence: memory }).tell({ type: 'on' });
    await cluster.clock.advance(1);
    expect(stateOf(system, 'lamp')).to.include({ value: 'dark' });
  });

  it('fails where its state cannot be kept, and goes on from the one before', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const memory = new Memory();
    const ref = system.spawn(counter, { path: 'counter', persistence: memory });
    memory.refuses = ({ snapshot }) => (snapshot as unknown as { context: { n: number } }).context.n === 2;
    for (const by of [1, 1, 5]) ref.tell({ type: 'add', by });
    await cluster.clock.advance(200);
    expect(memory.failures.map(([why]) => why)).to.deep.equal(['no place for this']);
    expect(stateOf(system, 'counter').context).to.deep.equal({ n: 6 });
  });

  it('tells of what a child answers outside of any message', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const memory = new Memory();
    let answer: (value: number) => void = () => {};
    const asking = setup({
      actors: {
        question: fromPromise<number>(
          () =>
            new Promise((resolve) => {
              answer = resolve;
            }),
        ),
      },
    }).createMachine({
      initial: 'waiting',
      states: { waiting: { invoke: { src: 'question', onDone: 'told' } }, told: {} },
    });
    system.spawn(asking, { path: 'asking', persistence: memory });
    await cluster.clock.advance(1);
    answer(1);
    await cluster.clock.advance(1);
    expect(memory.steps).to.deep.equal(['waiting', 'told']);
  });

  it('waits for a timer that is longer than the clock reaches', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('host-1');
    const day = 86_400_000;
    const patient = setup({}).createMachine({
      initial: 'waiting',
      states: { waiting: { after: { [30 * day]: 'over' } }, over: {} },
    });
    const waits: number[] = [];
    const { setTimeout } = cluster.clock;
    cluster.clock.setTimeout = (fn, ms) => {
      waits.push(ms);
      return setTimeout.call(cluster.clock, fn, ms);
    };
    system.spawn(patient, { path: 'patient' });
    await cluster.clock.advance(30 * day - 1);
    expect(stateOf(system, 'patient').value).to.equal('waiting');
    await cluster.clock.advance(2);
    expect(stateOf(system, 'patient').value).to.equal('over');
    expect(Math.max(...waits)).to.be.below(2 ** 31);
  });
});

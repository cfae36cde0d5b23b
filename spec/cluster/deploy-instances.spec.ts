import { expect } from 'chai';
import fc from 'fast-check';
import { assign, emit, fromPromise, setup } from 'xstate';
import { DeployedActor } from '../../cluster/deploy/deployed-actor.js';
import type { Answer } from '../../cluster/deploy/protocol.js';
import { DeployWorld } from './deploy-world.js';

type OrderEvent = { type: 'add' | 'pay' | 'ask' | 'work'; order: string | number };

const order = setup({
  types: { context: {} as { items: number }, events: {} as OrderEvent },
  actors: { work: fromPromise(() => new Promise(() => {})) },
}).createMachine({
  id: 'order',
  context: { items: 0 },
  initial: 'open',
  states: {
    open: {
      on: {
        add: { actions: assign({ items: ({ context }) => context.items + 1 }) },
        pay: 'paying',
        work: 'working',
      },
    },
    working: { invoke: { src: 'work', id: 'work' } },
    paying: { after: { 600000: { target: 'lapsed', actions: emit({ type: 'lapsed' }) } } },
    lapsed: {},
  },
});

/** Counts what is added in every state, and tells when the time to pay has run out. */
const counting = setup({
  types: { context: {} as { items: number; key: unknown }, events: {} as OrderEvent },
}).createMachine({
  id: 'counting',
  context: { items: 0, key: 0 },
  initial: 'open',
  on: { add: { actions: assign({ items: ({ context }) => context.items + 1 }) } },
  states: {
    open: { on: { pay: { target: 'paying', actions: assign({ key: ({ event }) => event.order }) } } },
    paying: {
      after: {
        600000: {
          target: 'lapsed',
          actions: emit(({ context }) => ({ type: 'lapsed', order: context.key })),
        },
      },
    },
    lapsed: {},
  },
});

const IDLE = 60_000;

async function orders(most = 100): Promise<DeployWorld> {
  const world = new DeployWorld({ machine: order, instances: { member: 'order', idleMs: IDLE, most } });
  await world.start();
  return world;
}

const items = (answer: Answer): unknown =>
  answer.ok ? (answer.state?.context as { items: number } | undefined)?.items : answer.code;
const stateOf = (answer: Answer): unknown => (answer.ok ? answer.state?.value : answer.code);

describe('instances of a deployed actor', () => {
  it('begin with the first event of their key, and are apart', async () => {
    const it = await orders();
    expect(it.family.size).to.equal(0);
    it.send({ type: 'add', order: 'a' });
    it.send({ type: 'add', order: 'a' });
    expect(items(await it.ask({ type: 'add', order: 7 }))).to.equal(1);
    expect(items(await it.ask({ type: 'add', order: 'a' }))).to.equal(3);
    expect(items(await it.ask({ type: 'ask', order: '7' }))).to.equal(1);
    expect(it.family.size).to.equal(2);
  });

  for (const key of [undefined, '', null, 1.5, {}, 'x'.repeat(257), 'a\0b', '\ud800']) {
    it(`refuse an event with the key ${JSON.stringify(key)?.slice(0, 20)}`, async () => {
      const it = await orders();
      const answer = await it.ask({ type: 'add', order: key });
      expect(answer).to.include({ ok: false, code: 'bad-event' });
      expect(it.family.size).to.equal(0);
    });
  }

  it('leave the memory when they are idle, and go on with the next event, ids included', async () => {
    const it = await orders();
    const first = it.send({ type: 'add', order: 'a' }, 'one');
    await it.clock.advance(IDLE * 2);
    expect(first[0]).to.include({ duplicate: false });
    expect(it.family.size).to.equal(0);
    const again = it.send({ type: 'add', order: 'a' }, 'one');
    expect(items(await it.ask({ type: 'add', order: 'a' }))).to.equal(2);
    expect(again[0]).to.include({ duplicate: true });
  });

  it('take an event that comes while they leave', async () => {
    const it = await orders();
    await it.ask({ type: 'add', order: 'a' });
    const { passivate } = DeployedActor.prototype;
    const late: Answer[][] = [];
    DeployedActor.prototype.passivate = function (before) {
      const leaves = passivate.call(this, before);
      if (leaves) late.push(it.send({ type: 'add', order: 'a' }), it.send({ type: 'add', order: 'a' }));
      return leaves;
    };
    try {
      await it.clock.advance(IDLE * 1.4);
    } finally {
      DeployedActor.prototype.passivate = passivate;
    }
    expect(late.flat().map(({ ok }) => ok)).to.deep.equal([true, true]);
    expect(items(await it.ask({ type: 'ask', order: 'a' }))).to.equal(3);
  });

  it('are woken for their timers, at the first deadline', async () => {
    const it = await orders();
    await it.ask({ type: 'pay', order: 'a' });
    await it.clock.advance(IDLE * 2);
    expect(it.family.size).to.equal(0);
    await it.clock.advance(600_000 - IDLE * 2 - 1000);
    expect(it.carried).to.deep.equal([]);
    await it.clock.advance(1100);
    expect(it.carried.map(({ event }) => event.type)).to.deep.equal(['lapsed']);
  });

  it('are woken in time for a timer that is shorter than the looks at the disk are apart', async () => {
    const machine = setup({}).createMachine({
      initial: 'raw',
      states: {
        raw: { on: { cook: 'cooking' } },
        cooking: { after: { 10000: { target: 'hard', actions: emit({ type: 'hard' }) } } },
        hard: {},
      },
    });
    const it = new DeployWorld({ machine, instances: { member: 'egg', idleMs: 1000, most: 10 } });
    await it.start();
    await it.ask({ type: 'cook', egg: 1 });
    await it.clock.advance(5000);
    expect(it.family.size).to.equal(0);
    await it.clock.advance(4900);
    expect(it.carried).to.deep.equal([]);
    await it.clock.advance(200);
    expect(it.carried.map(({ event }) => event.type)).to.deep.equal(['hard']);
  });

  it('are woken after a crash that outlasted their deadline, many of them too', async () => {
    const it = await orders(1000);
    for (let i = 0; i < 350; i++) it.send({ type: 'pay', order: `o${i}` });
    await it.clock.advance(100);
    it.crash();
    await it.clock.advance(700_000);
    await it.start();
    await it.clock.advance(10_000);
    expect(it.carried).to.have.length(350);
    const rows = await it.clock
      .advance(0)
      .then(() => it.engine.scan('default', { start: Buffer.from('w'), end: Buffer.from('x'), limit: 10 }));
    expect(rows.keys).to.have.length(0);
  });

  it('stay while a child of theirs works', async () => {
    const it = await orders();
    await it.ask({ type: 'work', order: 'a' });
    await it.clock.advance(IDLE * 5);
    expect(it.family.size).to.equal(1);
  });

  it('make room for each other: the one that was idle longest leaves', async () => {
    const it = await orders(10);
    for (let i = 0; i < 30; i++) {
      const answer = await it.ask({ type: 'add', order: `o${i}` });
      expect(items(answer)).to.equal(1);
      await it.clock.advance(5);
    }
    expect(it.family.size).to.be.at.most(11);
    expect(items(await it.ask({ type: 'add', order: 'o0' }))).to.equal(2);
  });

  it('are refused where all others are busy', async () => {
    const it = await orders(10);
    for (let i = 0; i < 10; i++) await it.ask({ type: 'work', order: `o${i}` });
    await it.clock.advance(10);
    expect(stateOf(await it.ask({ type: 'add', order: 'one-more' }))).to.equal('overloaded');
  });

  it('go on with effects that had not left when the power went', async () => {
    const it = await orders();
    it.arrives = () => false;
    await it.ask({ type: 'pay', order: 'a' });
    await it.clock.advance(610_000);
    it.crash();
    it.arrives = () => true;
    await it.start();
    await it.clock.advance(100);
    expect(it.carried.map(({ event }) => event.type)).to.deep.equal(['lapsed']);
  });

  it('have every event once and every timer, wherever they are when the power goes', async () => {
    const act = fc.record({
      order: fc.integer({ min: 1, max: 6 }),
      pay: fc.boolean(),
      wait: fc.constantFrom(0, 1, 3, 50, IDLE / 4, IDLE, 2 * IDLE, 200_000),
      crash: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(act, { minLength: 5, maxLength: 30 }),
        async (seed, acts) => {
          const instances = { member: 'order', idleMs: IDLE, most: 3 };
          const it = new DeployWorld({ machine: counting, instances }, seed);
          await it.start();
          const open = new Map<string, { readonly event: OrderEvent; answers: Answer[] }>();
          const counts = new Map<number, number>();
          const paid = new Set<number>();
          const settle = (): void => {
            for (const [id, { answers }] of [...open]) {
              if (answers[0]?.ok) open.delete(id);
              else if (answers[0] !== undefined) answers.pop();
            }
          };
          /** What a client does that has heard nothing, or is told to come again. */
          const repeat = (): void => {
            for (const [id, one] of open) if (one.answers.length === 0) one.answers = it.send(one.event, id);
          };
          for (const [i, { order: key, pay, wait, crash }] of acts.entries()) {
            const event: OrderEvent = pay ? { type: 'pay', order: key } : { type: 'add', order: key };
            if (pay) paid.add(key);
            else counts.set(key, (counts.get(key) ?? 0) + 1);
            open.set(`id${i}`, { event, answers: it.send(event, `id${i}`) });
            await it.clock.advance(wait);
            settle();
            if (crash) await it.restart();
            repeat();
          }
          for (let i = 0; i < 200 && open.size > 0; i++) {
            await it.clock.advance(1000);
            settle();
            repeat();
          }
          expect([...open.keys()]).to.deep.equal([]);
          await it.clock.advance(700_000);
          const lapsed = new Set(it.carried.map(({ event }) => Number(event.order)));
          expect([...lapsed].sort()).to.deep.equal([...paid].sort());
          for (const [key, count] of counts) {
            expect(items(await it.ask({ type: 'ask', order: key }))).to.equal(count);
          }
        },
      ),
      { numRuns: 30, seed: 11 },
    );
  });
});

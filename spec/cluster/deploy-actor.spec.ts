import { expect } from 'chai';
import fc from 'fast-check';
import { assign, emit, fromPromise, setup } from 'xstate';
import { type ReplyTo, seededRandom } from '../../actors/index.js';
import { type Answer, KNOWN_IDS } from '../../cluster/deploy/protocol.js';
import { DeployWorld } from './deploy-world.js';

type CounterEvent =
  | { type: 'add'; by: number }
  | { type: 'tell'; replyTo: ReplyTo }
  | { type: 'break' }
  | { type: 'note'; what: unknown }
  | { type: 'announce' }
  | { type: 'finish' };

const notable: { value: unknown } = { value: undefined };

/** Counts, announces, and breaks in every way that a user's machine can. */
const counter = setup({
  types: { context: {} as { n: number; note?: unknown }, events: {} as CounterEvent },
}).createMachine({
  id: 'counter',
  context: { n: 0 },
  initial: 'counting',
  states: {
    counting: {
      on: {
        add: { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
        tell: { actions: ({ context, event }) => event.replyTo.send({ n: context.n }) },
        break: {
          actions: ({ context }) => {
            context.n = -1;
            throw new Error('told to');
          },
        },
        note: { actions: assign({ note: () => notable.value }) },
        announce: {
          actions: [
            assign({ n: ({ context }) => context.n + 1 }),
            emit(({ context }) => ({ type: 'at', n: context.n })),
          ],
        },
        finish: 'finished',
      },
    },
    finished: { type: 'final' },
  },
});

const egg = setup({ types: { events: {} as { type: 'cook' } | { type: 'lift' } } }).createMachine({
  id: 'egg',
  initial: 'raw',
  states: {
    raw: { on: { cook: 'cooking' } },
    cooking: { after: { 10000: 'hard' }, on: { lift: 'soft' } },
    soft: {},
    hard: {},
  },
});

async function world(
  machine: DeployWorld | typeof counter | typeof egg = counter,
  seed = 1,
): Promise<DeployWorld> {
  const made = machine instanceof DeployWorld ? machine : new DeployWorld({ machine }, seed);
  await made.start();
  return made;
}

const value = (answer: Answer | undefined): unknown => (answer?.ok ? answer.state?.value : answer);
const count = (answer: Answer | undefined): unknown =>
  answer?.ok ? (answer.reply as { n: number } | undefined)?.n : answer;

describe('a deployed actor', () => {
  it('acknowledges an event when state and id are durable, not before', async () => {
    const it = await world();
    await it.clock.advance(5);
    const answers = it.send({ type: 'add', by: 5 }, 'one');
    await it.clock.advance(1.9);
    expect(answers).to.deep.equal([]);
    await it.clock.advance(0.2);
    expect(answers).to.deep.equal([{ ok: true, id: 'one', seq: 2, duplicate: false, taken: true }]);
    await it.restart();
    expect(count(await it.ask({ type: 'tell' }))).to.equal(5);
  });

  it('applies an event that carries an id once: waiting, unsynced, durable, and after a crash', async () => {
    const it = await world();
    const first = it.send({ type: 'add', by: 5 }, 'one');
    const waiting = it.send({ type: 'add', by: 5 }, 'one');
    await it.clock.advance(1);
    const unsynced = it.send({ type: 'add', by: 5 }, 'one');
    await it.clock.advance(0.5);
    expect([...waiting, ...unsynced]).to.deep.equal([]);
    await it.clock.advance(5);
    const durable = it.send({ type: 'add', by: 5 }, 'one');
    await it.clock.advance(5);
    await it.restart();
    const later = it.send({ type: 'add', by: 5 }, 'one');
    await it.clock.advance(5);
    expect(first).to.deep.equal([{ ok: true, id: 'one', seq: 2, duplicate: false, taken: true }]);
    for (const again of [waiting, unsynced, durable, later]) {
      expect(again).to.deep.equal([{ ok: true, id: 'one', seq: 2, duplicate: true, taken: true }]);
    }
    expect(count(await it.ask({ type: 'tell' }))).to.equal(5);
  });

  it('answers a repeated question as it did the first time', async () => {
    const it = await world();
    await it.ask({ type: 'tell' }, 'q');
    await it.ask({ type: 'add', by: 3 });
    expect(count(await it.ask({ type: 'tell' }, 'q'))).to.equal(0);
    await it.restart();
    expect(count(await it.ask({ type: 'tell' }, 'q'))).to.equal(0);
    expect(count(await it.ask({ type: 'tell' }))).to.equal(3);
  });

  it('answers with its state where the machine says nothing', async () => {
    const it = await world();
    const answer = await it.ask({ type: 'add', by: 1 });
    expect(answer).to.deep.equal({
      ok: true,
      seq: 2,
      duplicate: false,
      taken: true,
      state: { value: 'counting', context: { n: 1 }, status: 'active' },
    });
  });

  it('writes and syncs once for all that a turn brought', async () => {
    const it = await world();
    await it.clock.advance(5);
    const [batches, syncs] = [it.batches, it.syncs];
    const answers = Array.from({ length: 500 }, (_, i) => it.send({ type: 'add', by: 1 }, `id${i}`));
    await it.clock.advance(10);
    expect(answers.flat().filter(({ ok }) => ok)).to.have.length(500);
    expect([it.batches - batches, it.syncs - syncs]).to.deep.equal([1, 1]);
  });

  it('forgets the oldest ids, on the disk too', async () => {
    const it = await world();
    for (let i = 0; i <= KNOWN_IDS; i++) {
      it.send({ type: 'add', by: 1 }, `id${i}`);
      if (i % 1000 === 0) await it.clock.advance(5);
    }
    await it.clock.advance(5);
    await it.restart();
    const [oldest, second] = [it.send({ type: 'add', by: 1 }, 'id0'), it.send({ type: 'add', by: 1 }, 'id1')];
    await it.clock.advance(5);
    expect(oldest[0]).to.include({ duplicate: false });
    // The first one came in again, and took the place of the second.
    expect(second[0]).to.include({ duplicate: false });
    const third = it.send({ type: 'add', by: 1 }, 'id3');
    await it.clock.advance(5);
    expect(third[0]).to.include({ duplicate: true });
    const rows = await it.engine.scan('default', {
      start: Buffer.from('i'),
      end: Buffer.from('j'),
      limit: 10_000,
    });
    expect(rows.keys).to.have.length(KNOWN_IDS);
  });

  it('keeps a timer at its first deadline through crashes', async () => {
    const it = await world(egg);
    await it.ask({ type: 'cook' });
    await it.clock.advance(4000);
    await it.restart();
    await it.clock.advance(3000);
    await it.restart();
    expect(value(await it.ask({ type: 'nothing' }))).to.equal('cooking');
    await it.clock.advance(3000);
    expect(value(await it.ask({ type: 'nothing' }))).to.equal('hard');
  });

  it('does at once what fell due while it was down, and nothing of what was cancelled', async () => {
    const it = await world(egg);
    await it.ask({ type: 'cook' });
    it.crash();
    await it.clock.advance(60_000);
    await it.start();
    expect(value(await it.ask({ type: 'nothing' }))).to.equal('hard');
    const other = await world(egg);
    await other.ask({ type: 'cook' });
    await other.ask({ type: 'lift' });
    await other.restart();
    await other.clock.advance(60_000);
    expect(value(await other.ask({ type: 'nothing' }))).to.equal('soft');
  });

  it('goes on from the step before when its machine throws, keeps what waits, and takes the event again', async () => {
    const it = await world();
    const before = it.send({ type: 'add', by: 1 }, 'a');
    const broken = it.send({ type: 'break' }, 'b');
    const after = it.send({ type: 'add', by: 2 }, 'c');
    await it.clock.advance(50);
    expect(before[0]).to.include({ ok: true });
    expect(broken).to.deep.equal([
      {
        ok: false,
        code: 'failed',
        message: 'it failed on break (told to): the event was not applied, it goes on as it was before',
      },
    ]);
    expect(after).to.deep.equal([]);
    await it.clock.advance(100);
    expect(after[0]).to.include({ ok: true });
    expect(count(await it.ask({ type: 'tell' }))).to.equal(3);
    const again = it.send({ type: 'break' }, 'b');
    await it.clock.advance(1000);
    expect(again[0]).to.include({ code: 'failed' });
  });

  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const flaws: readonly (readonly [string, unknown, string])[] = [
    ['a function', () => {}, 'context.note is a function'],
    ['a date', { when: [new Date(0)] }, 'context.note.when[0] is a Date'],
    ['a map', new Map(), 'context.note is a Map'],
    ['a big integer', 1n, 'context.note is a bigint'],
    ['no number', Number.NaN, 'context.note is NaN'],
    ['a circle', cycle, 'it refers to itself, or is nested too deeply'],
    ['too much', 'x'.repeat(600_000), 'more than 524288'],
  ];
  for (const [what, flaw, sentence] of flaws) {
    it(`refuses an event that makes its context hold ${what}, and goes on`, async () => {
      const it = await world();
      await it.ask({ type: 'add', by: 1 });
      notable.value = flaw;
      const answer = await it.ask({ type: 'note' });
      expect(answer).to.include({ ok: false, code: 'failed' });
      expect(answer.ok ? '' : answer.message).to.include(sentence);
      await it.clock.advance(200);
      expect(count(await it.ask({ type: 'tell' }))).to.equal(1);
    });
  }

  it('sends its effects when their cause is durable, in order, until they have arrived, with the same ids', async () => {
    const it = await world();
    await it.clock.advance(5);
    let down = true;
    const tried: string[] = [];
    it.arrives = ({ id }) => {
      tried.push(id);
      return !down;
    };
    it.send({ type: 'announce' });
    it.send({ type: 'announce' });
    await it.clock.advance(1.5);
    expect(tried).to.deep.equal([]);
    await it.clock.advance(5000);
    expect(new Set(tried)).to.deep.equal(new Set(['it.life1.2.0']));
    await it.restart();
    down = false;
    await it.clock.advance(20_000);
    expect(it.carried.map(({ id, event }) => [id, event.n])).to.deep.equal([
      ['it.life1.2.0', 1],
      ['it.life1.3.0', 2],
    ]);
    await it.restart();
    await it.clock.advance(20_000);
    expect(it.carried).to.have.length(2);
  });

  it('takes nothing after its end but repeats, whatever happened meanwhile', async () => {
    const it = await world();
    const [end, late] = [it.send({ type: 'finish' }, 'end'), it.send({ type: 'add', by: 1 }, 'late')];
    await it.clock.advance(10);
    for (const restart of [false, true]) {
      if (restart) await it.restart();
      const again = it.send({ type: 'finish' }, 'end');
      const more = it.send({ type: 'add', by: 1 });
      await it.clock.advance(10);
      expect(again).to.deep.equal([{ ok: true, id: 'end', seq: 2, duplicate: true, taken: true }]);
      expect(more[0]).to.include({ ok: false, code: 'done' });
    }
    expect(end[0]).to.include({ ok: true, duplicate: false });
    expect(late[0]).to.include({ ok: false, code: 'done' });
  });

  it('shows what a machine has to show at its end', async () => {
    const machine = setup({}).createMachine({
      initial: 'open',
      output: { total: 7 },
      states: { open: { on: { close: 'closed' } }, closed: { type: 'final' } },
    });
    const it = new DeployWorld({ machine });
    await it.start();
    const answer = await it.ask({ type: 'close' });
    expect(answer.ok && answer.state).to.deep.include({ status: 'done', output: { total: 7 } });
  });

  it('fails on an event that would never end', async () => {
    const machine = setup({}).createMachine({
      initial: 'still',
      states: { still: { on: { spin: 'a' } }, a: { always: 'b' }, b: { always: 'a' } },
    });
    const it = new DeployWorld({ machine });
    await it.start();
    expect(await it.ask({ type: 'spin' })).to.include({ ok: false, code: 'failed' });
    expect(value(await it.ask({ type: 'nothing' }))).to.equal('still');
  });

  it('asks its promises anew', async () => {
    let asked = 0;
    const machine = setup({
      actors: { question: fromPromise(() => (asked++ === 0 ? new Promise(() => {}) : Promise.resolve())) },
    }).createMachine({
      initial: 'asking',
      states: { asking: { invoke: { src: 'question', id: 'q', onDone: 'told' } }, told: {} },
    });
    const it = new DeployWorld({ machine });
    await it.start();
    await it.clock.advance(10);
    await it.restart();
    expect(value(await it.ask({ type: 'nothing' }))).to.equal('told');
  });

  it('acknowledges nothing when the disk refuses', async () => {
    const it = await world();
    await it.clock.advance(5);
    it.disk.failNext('sync');
    const answers = it.send({ type: 'add', by: 1 }, 'one');
    await it.clock.advance(1000);
    expect(answers).to.deep.equal([]);
    expect(it.diskFailures).to.have.length(1);
  });

  it('refuses what is too much, and says so', async () => {
    const it = await world();
    const answers = Array.from({ length: 5000 }, (_, i) => it.send({ type: 'add', by: 1 }, `id${i}`));
    await it.clock.advance(100);
    const refused = answers.flat().filter(({ ok }) => !ok);
    expect(answers.flat()).to.have.length(5000);
    expect(refused).to.have.length(5000 - 4096);
    expect(refused[0]).to.include({ code: 'overloaded' });
  });

  it('has every event once and every effect, whenever the power goes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.array(fc.record({ wait: fc.integer({ min: 0, max: 6 }), crash: fc.boolean() }), {
          minLength: 5,
          maxLength: 25,
        }),
        async (seed, acts) => {
          const it = await world(counter, seed);
          const random = seededRandom(seed);
          it.arrives = () => random() < 0.7;
          const unacknowledged = new Map<string, Answer[]>();
          let sent = 0;
          const settle = (): void => {
            for (const [id, answers] of [...unacknowledged]) if (answers[0]?.ok) unacknowledged.delete(id);
          };
          for (const { wait, crash } of acts) {
            const id = `id${sent++}`;
            unacknowledged.set(id, it.send({ type: 'announce' }, id));
            await it.clock.advance(wait);
            settle();
            if (!crash) continue;
            await it.restart();
            // What a client does that has heard nothing.
            for (const open of unacknowledged.keys())
              unacknowledged.set(open, it.send({ type: 'announce' }, open));
          }
          await it.clock.advance(100);
          settle();
          expect([...unacknowledged]).to.deep.equal([]);
          expect(count(await it.ask({ type: 'tell' }))).to.equal(sent);
          await it.clock.advance(60_000);
          // Every effect at least once, and what has the same id is the same.
          const byId = new Map(it.carried.map(({ id: effect, event }) => [effect, event.n]));
          for (const { id: effect, event } of it.carried) expect(event.n).to.equal(byId.get(effect));
          expect([...byId.values()]).to.deep.equal(Array.from({ length: sent }, (_, i) => i + 1));
        },
      ),
      { numRuns: 30, seed: 7 },
    );
  });
});

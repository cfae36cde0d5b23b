import { expect } from 'chai';
import fc from 'fast-check';
import { assign, createActor, raise, setup, stateIn } from 'xstate';
import { VirtualClock } from '../../actors/index.js';
import { QuietTransitions } from '../../actors/quiet-transitions.js';
import { Machine } from '../../actors/xstate-port.js';

type Event = { readonly type: string; readonly n: number };

/** Everything that a chart may do with an event, beside each other; what it does is written into `log`. */
const chart = setup({
  types: {
    context: {} as { count: number; readonly log: string[] },
    events: {} as Event,
    input: {} as string[],
  },
  guards: {
    isEven: ({ event }) => event.n % 2 === 0,
    isFirst: ({ context }) => context.count === 0,
    breaks: ({ event }) => {
      if (event.n === 7) throw new Error('a guard that fails');
      return event.n > 7;
    },
    above: ({ event }, limit: number) => event.n > limit,
  },
  actions: {
    note: ({ context, event }) => {
      context.log.push(`${event.type} ${event.n}`);
    },
    noteAgain: ({ context }) => {
      context.log.push('again');
    },
    fails: ({ event }) => {
      if (event.n === 9) throw new Error('an action that fails');
    },
    sendsItself: ({ context, self, event }) => {
      if (event.n > 0) self.send({ type: 'note', n: event.n - 1 });
      context.log.push('sent');
    },
    count: assign({ count: ({ context }) => context.count + 1 }),
  },
}).createMachine({
  id: 'quiet',
  context: ({ input }) => ({ count: 0, log: input }),
  initial: 'one',
  on: {
    root: { actions: ['note', 'noteAgain'] },
    count: { actions: 'count' },
    hidden: { actions: 'note' },
  },
  states: {
    one: {
      entry: ({ context }) => context.log.push('enter one'),
      exit: ({ context }) => context.log.push('exit one'),
      initial: 'inner',
      on: {
        note: [{ guard: 'isEven', actions: 'note' }, { actions: 'noteAgain' }],
        go: { target: 'two' },
        again: { target: 'one', reenter: true },
        own: { target: 'one' },
        inline: {
          guard: ({ context }) => context.count > 1,
          actions: ({ context }) => context.log.push('inline'),
        },
        limited: { guard: { type: 'above', params: 3 }, actions: 'note' },
        inside: { guard: stateIn({ one: 'inner' }), actions: 'note' },
        raises: { actions: ['note', raise({ type: 'root', n: 1 })] },
        sends: { actions: ['sendsItself', 'noteAgain'] },
        breaks: [{ guard: 'breaks', actions: 'note' }, { actions: 'noteAgain' }],
        fails: { actions: ['note', 'fails', 'noteAgain'] },
        hidden: { guard: 'isFirst' },
      },
      states: {
        inner: {
          on: {
            deeper: { target: 'other' },
            note: { guard: ({ event }) => event.n > 4, actions: 'noteAgain' },
          },
        },
        other: { on: { deeper: { target: 'inner' }, '*': { actions: 'noteAgain' } } },
      },
    },
    two: {
      on: { note: { actions: 'note' }, go: { target: 'three' } },
      always: { guard: ({ context }) => context.count > 3, target: 'one' },
    },
    three: {
      type: 'parallel',
      states: {
        left: { on: { note: { actions: 'note' } } },
        right: { on: { note: { actions: 'noteAgain' }, go: { target: '#quiet.one' } } },
      },
    },
  },
});

const TYPES = [
  'root',
  'count',
  'hidden',
  'note',
  'go',
  'again',
  'own',
  'inline',
  'limited',
  'inside',
  'raises',
  'sends',
];
const events: fc.Arbitrary<Event[]> = fc.array(
  fc.record({
    type: fc.constantFrom(...TYPES, 'breaks', 'fails', 'deeper', 'unknown'),
    n: fc.integer({ min: 0, max: 9 }),
  }),
  { maxLength: 40 },
);

/** What becomes of the chart: after each event its state and context, and what its actions did. */
function run(given: readonly Event[], look: boolean): unknown[] {
  const log: string[] = [];
  const seen: unknown[] = [];
  const machine = new Machine(chart, 'one', log, {
    clock: new VirtualClock(),
    enqueue: (fn) => fn(),
    keepsSteps: false,
    advanced: () => {},
    failed: (error) => seen.push(String(error)),
    done: () => seen.push('done'),
  });
  const unlook = look ? machine.inspect(() => {}) : undefined;
  machine.start();
  for (const event of given) {
    machine.send(event);
    const { value, context, status } = machine.snapshot as {
      value: unknown;
      context: { count: number };
      status: string;
    };
    seen.push(JSON.stringify([value, context.count, status, log]));
  }
  unlook?.();
  return seen;
}

describe('transitions that leave the state as it is', () => {
  it('do what XState does with them', () => {
    fc.assert(
      // Who looks at a machine is shown all that XState does: nothing goes the short way then.
      fc.property(events, (given) => {
        expect(run(given, false)).to.deep.equal(run(given, true));
      }),
      { numRuns: 500, seed: 17 },
    );
  });

  it('are those that only call functions', () => {
    const quiet = new QuietTransitions(chart);
    const actor = createActor(chart, { input: [] }).start();
    const takes = (type: string, n = 0) =>
      quiet.take(actor.getSnapshot(), { type, n }, { self: actor, system: actor.system } as never);
    const short = TYPES.concat('breaks', 'fails', 'deeper', 'unknown').filter((type) => takes(type));
    expect(short).to.deep.equal(['root', 'hidden', 'note', 'inline', 'sends', 'breaks', 'fails', 'unknown']);
    // A guard that fails is left to XState, which says where.
    expect(takes('breaks', 7)).to.equal(false);
    actor.send({ type: 'go', n: 0 });
    expect(takes('note'), 'a state that may leave by itself').to.equal(false);
    actor.send({ type: 'go', n: 0 });
    expect(takes('note'), 'a parallel state').to.equal(false);
  });
});

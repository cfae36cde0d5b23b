import { assign, setup } from 'xstate';
import {
  ActorSystem,
  type ActorSystemOptions,
  type AskError,
  type LinkFaults,
  MemoryNetwork,
  type ReplyTo,
  seededRandom,
  VirtualClock,
} from '../../actors/index.js';

export type CounterEvent =
  | { type: 'add'; by: number }
  | { type: 'fail'; replyTo?: ReplyTo<never> }
  | { type: 'get'; replyTo: ReplyTo<number> }
  | { type: 'refuse'; replyTo: ReplyTo<never> }
  | { type: 'ignore'; replyTo: ReplyTo<never> }
  | { type: 'finish' };

/** Adds, answers, refuses, fails and ends, as it is told. */
export const counter = setup({
  types: {
    context: {} as { n: number },
    events: {} as CounterEvent,
    input: {} as { start?: number } | undefined,
  },
}).createMachine({
  id: 'counter',
  context: ({ input }) => ({ n: input?.start ?? 0 }),
  initial: 'counting',
  states: {
    counting: {
      on: {
        add: { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
        get: { actions: ({ context, event }) => event.replyTo.send(context.n) },
        refuse: { actions: ({ event }) => event.replyTo.fail('not-today', 'come back tomorrow') },
        ignore: {},
        fail: {
          actions: () => {
            throw new Error('told to fail');
          },
        },
        finish: 'finished',
      },
    },
    finished: { type: 'final' },
  },
});

/** A simulated cluster: nodes on one virtual clock and one memory network. */
export class TestCluster {
  readonly clock = new VirtualClock();
  readonly network: MemoryNetwork;
  readonly #incarnations = new Map<string, number>();

  constructor(
    readonly seed = 1,
    faults: Partial<LinkFaults> = { delay: [1, 3] },
  ) {
    this.network = new MemoryNetwork(this.clock, seededRandom(seed), faults);
  }

  node(name: string, options: Partial<ActorSystemOptions> = {}): Promise<ActorSystem> {
    const incarnation = (this.#incarnations.get(name) ?? 0) + 1;
    this.#incarnations.set(name, incarnation);
    return ActorSystem.start({
      cluster: 'test',
      node: name,
      role: name.startsWith('client-') ? 'client' : 'server',
      incarnation,
      transport: this.network.transport(name),
      clock: this.clock,
      random: seededRandom(this.seed),
      ...options,
    });
  }

  /** Lets virtual time pass until the promise is settled. */
  async settle<T>(promise: Promise<T>, limit = 60_000): Promise<T> {
    let settled = false;
    const done = promise.finally(() => {
      settled = true;
    });
    done.catch(() => {});
    await this.clock.runUntil(() => settled, limit);
    if (!settled) throw new Error(`not settled within ${limit} virtual ms`);
    return done;
  }

  /** The error with which the ask fails. */
  failure(promise: Promise<unknown>): Promise<AskError> {
    return this.settle(errorOf(promise));
  }
}

/** The error with which a promise is rejected. */
export function errorOf(promise: Promise<unknown>): Promise<AskError> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: AskError) => error,
  );
}

/** Resolves when the condition holds; for specs on real time. */
export async function until(condition: () => boolean, what: string, limit = 10_000): Promise<void> {
  const end = Date.now() + limit;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

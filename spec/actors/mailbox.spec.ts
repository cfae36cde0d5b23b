import { expect } from 'chai';
import fc from 'fast-check';
import { assign, setup } from 'xstate';
import type { ActorSystem, AskError, Overflow, ReplyTo } from '../../actors/index.js';
import { RingQueue } from '../../actors/mailbox.js';
import { TestCluster } from './fixtures.js';

const recorder = setup({
  types: {
    context: {} as { seen: number[] },
    events: {} as { type: 'note'; n: number; replyTo?: ReplyTo<number> },
  },
}).createMachine({
  context: { seen: [] },
  on: {
    note: {
      actions: [
        assign({ seen: ({ context, event }) => [...context.seen, event.n] }),
        ({ event }) => event.replyTo?.send(event.n),
      ],
    },
  },
});

function seen(system: ActorSystem): number[] {
  const [actor] = system.actors();
  return (actor as unknown as { snapshot: { context: { seen: number[] } } }).snapshot.context.seen;
}

describe('mailboxes', () => {
  it('are queues, first in first out, whatever is pushed and taken when', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (pushes) => {
        const queue = new RingQueue<number>(2);
        const model: number[] = [];
        pushes.forEach((push, i) => {
          if (push) {
            queue.push(i);
            model.push(i);
          } else {
            expect(queue.shift()).to.equal(model.shift());
          }
          expect(queue.length).to.equal(model.length);
        });
      }),
      { seed: 1 },
    );
  });

  async function flood(overflow: Overflow): Promise<{
    system: ActorSystem;
    accepted: boolean[];
    answers: (number | string)[];
  }> {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ref = system.spawn(recorder, { path: 'recorder', mailbox: { capacity: 3, overflow } });
    const answers: (number | string)[] = [];
    const accepted = [1, 2].map((n) => ref.tell({ type: 'note', n }));
    for (const n of [3, 4, 5]) {
      ref.ask({ type: 'note', n }).then(
        (reply) => answers.push(reply),
        (error: AskError) => answers.push(`${n} ${error.code} ${error.handled}`),
      );
    }
    accepted.push(ref.tell({ type: 'note', n: 6 }));
    await cluster.clock.advance(1);
    return { system, accepted, answers };
  }

  it('that reject refuse what comes when they are full, and say so', async () => {
    const { system, accepted, answers } = await flood('reject');
    expect(seen(system)).to.deep.equal([1, 2, 3]);
    expect(accepted).to.deep.equal([true, true, false]);
    expect(answers).to.have.members([3, '4 overloaded no', '5 overloaded no']);
    expect(system.deadLetters.counts['mailbox-full']).to.equal(3);
  });

  it('that drop the newest keep what waits', async () => {
    const { system, accepted, answers } = await flood('dropNewest');
    expect(seen(system)).to.deep.equal([1, 2, 3]);
    expect(accepted).to.deep.equal([true, true, true]);
    expect(answers).to.have.members([3, '4 overloaded no', '5 overloaded no']);
    expect(system.deadLetters.counts['mailbox-full']).to.equal(3);
  });

  it('that drop the oldest keep what is new', async () => {
    const { system, accepted, answers } = await flood('dropOldest');
    expect(seen(system)).to.deep.equal([4, 5, 6]);
    expect(accepted).to.deep.equal([true, true, true]);
    expect(answers).to.have.members(['3 overloaded no', 4, 5]);
    expect(system.deadLetters.counts['mailbox-full']).to.equal(3);
  });

  it('answer askers on other nodes that they are full', async () => {
    const cluster = new TestCluster();
    const server = await cluster.node('store-1');
    const client = await cluster.node('client-a');
    server.spawn(recorder, { path: 'recorder', mailbox: { capacity: 2 } });
    const ref = client.ref('store-1/recorder');
    const results = await cluster.settle(
      Promise.allSettled([1, 2, 3, 4].map((n) => ref.ask({ type: 'note', n }))),
    );
    expect(results.map(({ status }) => status)).to.deep.equal([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    expect((results[3] as PromiseRejectedResult).reason).to.include({ code: 'overloaded', handled: 'no' });
  });
});

import { expect } from 'chai';
import { assign, setup } from 'xstate';
import {
  ActorSystem,
  MemoryNetwork,
  natsTransport,
  type ReplyTo,
  seededRandom,
  VirtualClock,
} from '../../actors/index.js';
import { TestNatsServer } from '../nats-server.js';

const counter = setup({
  types: {
    context: {} as { n: number },
    events: {} as { type: 'add'; by: number } | { type: 'get'; replyTo: ReplyTo<number> },
  },
}).createMachine({
  context: { n: 0 },
  on: {
    add: { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
    get: { actions: ({ context, event }) => event.replyTo.send(context.n) },
  },
});

describe('smoke', () => {
  it('memory', async () => {
    const clock = new VirtualClock();
    const network = new MemoryNetwork(clock, seededRandom(1), { delay: [1, 5] });
    const a = await ActorSystem.start({
      cluster: 'c',
      node: 'a',
      role: 'server',
      transport: network.transport('a'),
      clock,
      incarnation: 1,
    });
    const b = await ActorSystem.start({
      cluster: 'c',
      node: 'b',
      role: 'server',
      transport: network.transport('b'),
      clock,
      incarnation: 1,
    });
    const local = b.spawn(counter, { path: 'counter' });
    local.tell({ type: 'add', by: 2 });
    const ref = a.ref<{ type: 'add'; by: number } | { type: 'get'; replyTo: ReplyTo<number> }>('b/counter');
    ref.tell({ type: 'add', by: 40 });
    let n = 0;
    ref.ask({ type: 'get' }).then((r) => {
      n = r;
    });
    await clock.advance(100);
    expect(n).to.equal(42);
  });
  it('nats', async () => {
    const server = await TestNatsServer.start();
    const a = await ActorSystem.start({
      cluster: 'c',
      node: 'a',
      role: 'server',
      transport: natsTransport({ servers: server.url }),
    });
    const b = await ActorSystem.start({
      cluster: 'c',
      node: 'client-1',
      role: 'client',
      transport: natsTransport({ servers: server.url }),
    });
    a.spawn(counter, { path: 'counter' });
    const ref = b.ref('a/counter');
    ref.tell({ type: 'add', by: 41 });
    expect(await ref.ask({ type: 'get' })).to.equal(41);
    const error = await b
      .ref('zz/counter')
      .ask({ type: 'get' })
      .catch((e: unknown) => e);
    expect((error as { code: string }).code).to.equal('unreachable');
    const error2 = await b
      .ref('a/zz')
      .ask({ type: 'get' })
      .catch((e: unknown) => e);
    expect((error2 as { code: string }).code).to.equal('no-such-actor');
    await a.close();
    await b.close();
    await server.stop();
  });
});

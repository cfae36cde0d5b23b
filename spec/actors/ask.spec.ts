import { expect } from 'chai';
import { fromTransition, setup } from 'xstate';
import type { ActorSystem, AskError, Codec, ReplyTo } from '../../actors/index.js';
import { type CounterEvent, counter, errorOf, TestCluster } from './fixtures.js';

type Keeper = { type: 'keep'; replyTo: ReplyTo<string> };

/** Keeps the way back instead of answering. */
function keeper(kept: ReplyTo<string>[]) {
  return setup({ types: { events: {} as Keeper } }).createMachine({
    on: { keep: { actions: ({ event }) => kept.push(event.replyTo) } },
  });
}

for (const place of ['here', 'on another node'] as const) {
  describe(`an ask of an actor ${place}`, () => {
    let cluster: TestCluster;
    let asker: ActorSystem;
    let host: ActorSystem;

    beforeEach(async () => {
      cluster = new TestCluster();
      host = await cluster.node('store-1');
      asker = place === 'here' ? host : await cluster.node('client-a');
    });

    it('is answered', async () => {
      host.spawn(counter, { path: 'counter', input: { start: 4 } });
      const ref = asker.ref<CounterEvent>('store-1/counter');
      const answer: number = await cluster.settle(ref.ask({ type: 'get' }));
      expect(answer).to.equal(4);
    });

    it('of nobody fails at once', async () => {
      const error = await cluster.failure(asker.ref('store-1/nobody').ask({ type: 'get' }));
      expect(error).to.include({ code: 'no-such-actor', handled: 'no' });
      expect(cluster.clock.now()).to.be.below(10);
    });

    it('fails at its deadline when no answer comes', async () => {
      host.spawn(counter, { path: 'counter' });
      const error = await cluster.failure(
        asker.ref('store-1/counter').ask({ type: 'ignore' }, { timeout: 250 }),
      );
      expect(error).to.include({ code: 'timeout', handled: 'maybe' });
      expect(cluster.clock.now()).to.be.closeTo(250, 11);
    });

    it('can be refused by the actor, with a reason for programs and a sentence for people', async () => {
      host.spawn(counter, { path: 'counter' });
      const error = await cluster.failure(asker.ref('store-1/counter').ask({ type: 'refuse' }));
      expect(error).to.include({
        code: 'refused',
        reason: 'not-today',
        message: 'come back tomorrow',
        handled: 'maybe',
      });
    });

    it('can be aborted by its caller, before and after it left', async () => {
      host.spawn(counter, { path: 'counter' });
      const ref = asker.ref('store-1/counter');
      const controller = new AbortController();
      const answer = cluster.failure(ref.ask({ type: 'ignore' }, { signal: controller.signal }));
      cluster.clock.setTimeout(() => controller.abort(), 20);
      const error = await answer;
      expect(error).to.include({ code: 'aborted', handled: 'maybe' });
      expect(error.cause).to.equal(controller.signal.reason);
      const late = await cluster.failure(ref.ask({ type: 'get' }, { signal: controller.signal }));
      expect(late).to.include({ code: 'aborted', handled: 'no' });
    });

    it('tells the actor what time is left, and counts answers that come too late or twice', async () => {
      const kept: ReplyTo<string>[] = [];
      host.spawn(keeper(kept), { path: 'keeper' });
      const ref = asker.ref<Keeper>('store-1/keeper');
      const failed = cluster.failure(ref.ask({ type: 'keep' }, { timeout: 100 }));
      await failed;
      const [first] = kept;
      expect(first?.remaining()).to.be.below(10);
      first?.send('too late');
      await cluster.clock.advance(50);
      expect(first?.remaining()).to.equal(0);
      expect(asker.deadLetters.counts['late-reply']).to.equal(1);
      const answer = ref.ask({ type: 'keep' });
      await cluster.clock.advance(50);
      kept[1]?.send('in time');
      kept[1]?.send('again');
      kept[1]?.fail('again', 'and again');
      expect(await cluster.settle(answer)).to.equal('in time');
      expect(host.deadLetters.counts['second-reply']).to.equal(2);
    });

    it('fails when the actor stops before it was handled', async () => {
      const ref = host.spawn(counter, { path: 'counter' });
      await cluster.clock.advance(1);
      ref.stop();
      const error = await cluster.failure(asker.ref('store-1/counter').ask({ type: 'get' }));
      expect(['stopped', 'no-such-actor']).to.include(error.code);
    });

    it('fails when its own node is closed', async () => {
      host.spawn(counter, { path: 'counter' });
      const answer = errorOf(asker.ref('store-1/counter').ask({ type: 'ignore' }));
      await cluster.clock.advance(10);
      await asker.close();
      expect((await answer).code).to.equal('stopped');
      expect((await cluster.failure(asker.ref('store-1/counter').ask({ type: 'get' }))).code).to.equal(
        'stopped',
      );
    });

    it('of a kind whose bytes its codec refuses fails and reaches nobody', async () => {
      const codec: Codec = {
        encode: () => Uint8Array.of(1),
        decode: () => {
          throw new Error('not mine');
        },
      };
      for (const system of new Set([asker, host])) system.registerCodec('get', codec);
      host.spawn(counter, { path: 'counter' });
      if (place === 'here') return;
      const error = await cluster.failure(asker.ref('store-1/counter').ask({ type: 'get' }));
      expect(error).to.include({ code: 'refused', handled: 'no' });
      expect(error.message).to.match(/not mine/);
      expect(host.deadLetters.counts.malformed).to.equal(1);
    });
  });
}

describe('asks between nodes', () => {
  it('of a node that is not there fail at once and may be sent again', async () => {
    const cluster = new TestCluster();
    const client = await cluster.node('client-a');
    const error = await cluster.failure(client.ref('store-9/counter').ask({ type: 'get' }));
    expect(error).to.include({ code: 'unreachable', handled: 'no' });
    expect(cluster.clock.now()).to.be.below(10);
  });

  it('fail at once while there is no connection', async () => {
    const cluster = new TestCluster();
    await cluster.node('store-1');
    const client = await cluster.node('client-a');
    cluster.network.disconnect('client-a');
    const error = await cluster.failure(client.ref('store-1/counter').ask({ type: 'get' }));
    expect(error).to.include({ code: 'unreachable', handled: 'no' });
    expect(client.metrics).to.include({ framesDropped: 1, disconnects: 1 });
  });

  it('that cannot wait are not sent', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const ask = (timeout: number): Promise<AskError> =>
      cluster.failure(system.ref('store-2/a').ask({ type: 'get' }, { timeout }));
    for (const timeout of [0, -1]) expect(await ask(timeout)).to.include({ code: 'timeout', handled: 'no' });
    for (const timeout of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(await ask(timeout)).to.include({ code: 'refused', handled: 'no' });
    }
  });

  it('that are too large are refused with both figures', async () => {
    const cluster = new TestCluster();
    cluster.network.maxFrame = 20_000;
    const host = await cluster.node('store-1');
    const client = await cluster.node('client-a');
    const big = 'x'.repeat(17_000);
    host.spawn(
      fromTransition((state: object, event: { type: 'echo'; replyTo: ReplyTo<string> }) => {
        event.replyTo.send(big);
        return state;
      }, {}),
      { path: 'echo' },
    );
    const tooBig = await cluster.failure(client.ref('store-1/echo').ask({ type: 'echo', big }));
    expect(tooBig).to.include({ code: 'refused', handled: 'no' });
    expect(client.deadLetters.last()[0]).to.include({ reason: 'too-large' });
    expect(client.deadLetters.last()[0]?.detail).to.match(/170\d\d bytes, more than the 11808 of a message/);
    const bigReply = await cluster.failure(client.ref('store-1/echo').ask({ type: 'echo' }));
    expect(bigReply).to.include({ code: 'refused', reason: 'too-large', handled: 'maybe' });
  });

  it('of which thousands wait are swept with few timers', async () => {
    const cluster = new TestCluster();
    const host = await cluster.node('store-1');
    host.spawn(counter, { path: 'counter', mailbox: { capacity: 10_000 } });
    const client = await cluster.node('client-a');
    const ref = client.ref('store-1/counter');
    const errors: AskError[] = [];
    for (let i = 0; i < 5000; i++) {
      ref
        .ask({ type: 'ignore' }, { timeout: 1000 + (i % 10) })
        .catch((error: AskError) => errors.push(error));
    }
    await cluster.clock.advance(500);
    const before = cluster.clock.executed;
    await cluster.clock.advance(600);
    expect(errors.length).to.equal(5000);
    expect(cluster.clock.executed - before).to.be.below(10);
  });

  it('from an earlier life of the asker are not answered to the later one', async () => {
    const cluster = new TestCluster();
    const kept: ReplyTo<string>[] = [];
    const host = await cluster.node('store-1');
    host.spawn(keeper(kept), { path: 'keeper' });
    const first = await cluster.node('client-a');
    first
      .ref('store-1/keeper')
      .ask({ type: 'keep' })
      .catch(() => {});
    await cluster.clock.advance(10);
    cluster.network.crash('client-a');
    const second = await cluster.node('client-a');
    const answer = second.ref<Keeper>('store-1/keeper').ask({ type: 'keep' });
    await cluster.clock.advance(10);
    kept[0]?.send('for the first');
    kept[1]?.send('for the second');
    expect(await cluster.settle(answer)).to.equal('for the second');
    expect(host.deadLetters.counts.stale).to.equal(1);
  });
});

import { expect } from 'chai';
import { setup } from 'xstate';
import {
  type ActorRef,
  ActorSystem,
  type ActorSystemOptions,
  type AskError,
  type Down,
  isName,
  type ReplyTo,
  type Transport,
} from '../../actors/index.js';
import { type CounterEvent, counter, errorOf, until } from './fixtures.js';

/** One cluster's worth of a transport. */
export interface TransportBench {
  /** A transport for one start of a node. */
  transport(node: string): Transport;
  /** Options that every node needs for this transport (a clock). */
  readonly options: Partial<ActorSystemOptions>;
  stop(): Promise<void>;
}

type BlobEvent = { type: 'blob'; bytes: Uint8Array; replyTo: ReplyTo<number> };

/** What every transport must do, whatever carries its frames. */
export function transportCompliance(name: string, start: () => Promise<TransportBench>): void {
  describe(`${name} transport`, () => {
    let bench: TransportBench;
    let systems: ActorSystem[];

    beforeEach(async () => {
      bench = await start();
      systems = [];
    });

    afterEach(async () => {
      await Promise.all(systems.map((system) => system.close()));
      await bench.stop();
    });

    async function node(name: string, options: Partial<ActorSystemOptions> = {}): Promise<ActorSystem> {
      expect(isName(name)).to.equal(true);
      const system = await ActorSystem.start({
        cluster: 'test',
        node: name,
        role: name.startsWith('client-') ? 'client' : 'server',
        transport: bench.transport(name),
        ...bench.options,
        ...options,
      });
      systems.push(system);
      return system;
    }

    it('carries tells and asks between servers, and between clients and servers', async () => {
      const store = await node('store-1');
      store.spawn(counter, { path: 'counter' });
      for (const from of [store, await node('store-2'), await node('client-a')]) {
        const ref = from.ref<CounterEvent>('store-1/counter');
        expect(ref.tell({ type: 'add', by: 7 })).to.equal(true);
        await ref.ask({ type: 'get' });
      }
      expect(await store.ref<CounterEvent>('store-1/counter').ask({ type: 'get' })).to.equal(21);
    });

    it('keeps the order of messages between two nodes', async () => {
      const seen: number[] = [];
      const machine = setup({ types: { events: {} as { type: 'note'; n: number } } }).createMachine({
        on: { note: { actions: ({ event }) => seen.push(event.n) } },
      });
      (await node('store-1')).spawn(machine, { path: 'notes', mailbox: { capacity: 100_000 } });
      const ref = (await node('store-2')).ref('store-1/notes');
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 500; i++) ref.tell({ type: 'note', n: 500 * round + i });
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => seen.length === 10_000, '10,000 notes');
      expect(seen.every((n, i) => n === i)).to.equal(true);
    });

    it('puts what a turn has for a node into one frame', async () => {
      const store = await node('store-1');
      store.spawn(counter, { path: 'counter' });
      const client = await node('client-a');
      const ref = client.ref<CounterEvent>('store-1/counter');
      await Promise.all(Array.from({ length: 100 }, () => ref.ask({ type: 'get' })));
      expect(client.metrics).to.include({ framesSent: 1, envelopesSent: 100 });
      expect(store.metrics.framesSent).to.be.at.most(2);
    });

    it('splits what is too much for one frame, in order', async () => {
      const store = await node('store-1');
      const sizes: number[] = [];
      const machine = setup({ types: { events: {} as BlobEvent } }).createMachine({
        on: { blob: { actions: ({ event }) => event.replyTo.send(sizes.push(event.bytes.length)) } },
      });
      store.spawn(machine, { path: 'blobs' });
      const client = await node('client-a');
      for (const system of [store, client]) {
        system.registerCodec<{ type: 'blob'; bytes: Uint8Array }>('blob', {
          encode: ({ bytes }) => bytes,
          decode: (bytes) => ({ type: 'blob', bytes }),
        });
      }
      const ref = client.ref<BlobEvent>('store-1/blobs');
      const counts = await Promise.all(
        [100_000, 200_000, client.maxBody, 1, 300_000].map((size) =>
          ref.ask({ type: 'blob', bytes: new Uint8Array(size) }),
        ),
      );
      expect(sizes).to.deep.equal([100_000, 200_000, client.maxBody, 1, 300_000]);
      expect(counts).to.deep.equal([1, 2, 3, 4, 5]);
      expect(client.metrics.framesSent).to.be.within(4, 5);
      const error = await errorOf(ref.ask({ type: 'blob', bytes: new Uint8Array(client.maxBody + 1) }));
      expect(error).to.include({ code: 'refused', handled: 'no' });
    });

    it('tells at once that a node is not there', async () => {
      const client = await node('client-a');
      const start = performance.now();
      const error = await errorOf(client.ref('store-9/counter').ask({ type: 'get' }));
      expect(error).to.include({ code: 'unreachable', handled: 'no' });
      expect(performance.now() - start).to.be.below(2000);
    });

    it('gives every refusal its code', async () => {
      const store = await node('store-1', { codecs: 'registered-only' });
      store.registerCodec('get', {
        encode: () => new Uint8Array(0),
        decode: () => ({ type: 'get' }),
        lanes: ['peer'],
      });
      store.spawn(counter, { path: 'counter' });
      const client = await node('client-a');
      const ask = (path: string, type: string): Promise<AskError> =>
        errorOf(client.ref(`store-1/${path}`).ask({ type }));
      expect(await ask('counter', 'unheard-of')).to.include({ code: 'refused', handled: 'no' });
      expect(await ask('counter', 'get')).to.include({ code: 'refused', handled: 'no' });
      expect(store.deadLetters.counts).to.include({ 'unknown-kind': 1, lane: 1 });
      expect(await errorOf(client.ref('client-b/actor').ask({ type: 'get' }))).to.include({
        code: 'refused',
      });
    });

    it('stops an actor on another node, when it may', async () => {
      const store = await node('store-1');
      const client = await node('client-a');
      const other = await node('store-2');
      store.spawn(counter, { path: 'kept' });
      store.spawn(counter, { path: 'open', stoppableBy: 'clients' });
      const downs: Down[] = [];
      for (const path of ['kept', 'open']) {
        client.ref(`store-1/${path}`).watch((down) => downs.push(down));
        client.ref(`store-1/${path}`).stop();
      }
      await until(() => downs.length === 1, 'the end of the open one');
      expect(downs).to.deep.equal([{ address: 'store-1/open', reason: 'stopped' }]);
      expect(store.deadLetters.counts.lane).to.equal(1);
      other.ref('store-1/kept').stop();
      await until(() => downs.length === 2, 'the end of the kept one');
    });

    it('refuses a second node with the name of a live one, which goes on', async () => {
      const first = await node('store-1');
      first.spawn(counter, { path: 'counter' });
      const error = await errorOf(node('store-1'));
      expect(error).to.include({ name: 'ActorSystemError', code: 'name-taken' });
      const client = await node('client-a');
      expect(await client.ref<CounterEvent>('store-1/counter').ask({ type: 'get' })).to.equal(0);
      await first.close();
      await node('store-1');
    });

    it('sends messages below a prefix to the actor that stands in, with the address that was meant', async () => {
      const store = await node('store-1');
      const machine = setup({
        types: { events: {} as { type: 'where'; address?: string; replyTo: ReplyTo<string> } },
      }).createMachine({
        on: { where: { actions: ({ event }) => event.replyTo.send(event.address ?? 'me') } },
      });
      store.spawn(machine, { path: 'regions' });
      store.fallback('region/', 'regions');
      const client = await node('client-a');
      for (const system of [store, client]) {
        expect(await system.ref('store-1/region/17').ask({ type: 'where' })).to.equal('store-1/region/17');
        expect(await system.ref('store-1/regions').ask({ type: 'where' })).to.equal('me');
      }
    });

    it('carries large things beside the messages', async () => {
      const a = await node('store-1');
      const b = await node('store-2');
      const received: number[] = [];
      const channel = await a.openBulk(() => {});
      await b.openBulk((chunk) => received.push(chunk.length));
      for (const size of [10, 1_000_000, 20])
        expect(channel.send('store-2', new Uint8Array(size))).to.equal(true);
      await until(() => received.length === 3, 'three chunks');
      expect(received).to.deep.equal([10, 1_000_000, 20]);
    });

    it('gives chunks to the listener of the last call', async () => {
      const a = await node('store-1');
      const b = await node('store-2');
      const received: string[] = [];
      const channel = await a.openBulk(() => {});
      await b.openBulk(() => received.push('first'));
      const last = await b.openBulk(() => received.push('last'));
      channel.send('store-2', new Uint8Array(10));
      await until(() => received.length > 0, 'a chunk');
      expect(received).to.deep.equal(['last']);
      await last.close();
    });

    it('hands over what was sent before a node closed', async () => {
      const store = await node('store-1');
      const ref: ActorRef = store.spawn(counter, { path: 'counter' });
      const client = await node('client-a');
      client.ref('store-1/counter').tell({ type: 'add', by: 3 });
      await client.close();
      await until(() => store.metrics.messages === 1, 'the message');
      expect(await ref.ask({ type: 'get' })).to.equal(3);
    });
  });
}

import { Svcm } from '@nats-io/services';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect } from 'chai';
import { FrameWriter } from '../../actors/frame-writer.js';
import {
  ActorSystem,
  ActorSystemError,
  type ActorSystemOptions,
  type NatsTransportOptions,
  natsTransport,
} from '../../actors/index.js';
import { freePort, hasNatsServer, TestNatsServer } from '../nats-server.js';
import { type CounterEvent, counter, errorOf, until } from './fixtures.js';

const describeNats = hasNatsServer() ? describe : describe.skip;

describeNats('NATS transport, on a real server', () => {
  let server: TestNatsServer;
  const systems: ActorSystem[] = [];

  beforeEach(async () => {
    server = await TestNatsServer.start();
  });

  afterEach(async () => {
    await Promise.all(systems.splice(0).map((system) => system.close()));
    await server.stop();
  });

  async function node(
    name: string,
    transport: NatsTransportOptions = {},
    options: Partial<ActorSystemOptions> = {},
  ): Promise<ActorSystem> {
    const system = await ActorSystem.start({
      cluster: 'test',
      node: name,
      role: name.startsWith('client-') ? 'client' : 'server',
      transport: natsTransport({ servers: server.url, ...transport }),
      ...options,
    });
    systems.push(system);
    return system;
  }

  /** Asks until an answer comes. */
  async function answered(system: ActorSystem): Promise<number> {
    for (;;) {
      try {
        return await system.ref<CounterEvent>('store-1/counter').ask({ type: 'get' }, { timeout: 500 });
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }

  it('comes back after the server was killed and started again, and tells the truth meanwhile', async () => {
    const store = await node('store-1');
    const client = await node('client-a');
    store.spawn(counter, { path: 'counter' });
    expect(await answered(client)).to.equal(0);
    const statuses: string[] = [];
    client.onStatus(({ type }) => statuses.push(type));
    await server.kill();
    await until(
      () => store.metrics.disconnects === 1 && client.metrics.disconnects === 1,
      'both disconnects',
    );
    const error = await errorOf(client.ref('store-1/counter').ask({ type: 'get' }));
    expect(error).to.include({ code: 'unreachable', handled: 'no' });
    expect(client.ref('store-1/counter').tell({ type: 'add', by: 1 })).to.equal(true);
    await until(() => client.metrics.framesDropped === 2, 'the dropped frame');
    expect(client.deadLetters.counts.unreachable).to.equal(2);
    await server.restart();
    expect(await answered(client)).to.equal(0);
    expect(statuses.filter((type) => type.endsWith('connected'))).to.deep.equal([
      'disconnected',
      'reconnected',
    ]);
    expect(store.metrics.reconnects).to.equal(1);
  }).timeout(20_000);

  it('keeps asks that were under way waiting for their deadline when the server goes', async () => {
    const store = await node('store-1');
    const client = await node('client-a');
    store.spawn(counter, { path: 'counter' });
    await answered(client);
    const answer = errorOf(client.ref('store-1/counter').ask({ type: 'ignore' }, { timeout: 300 }));
    await until(() => store.metrics.messages === 2, 'its arrival');
    await server.kill();
    expect(await answer).to.include({ code: 'timeout', handled: 'maybe' });
  });

  it('tells that the server is about to go', async () => {
    const store = await node('store-1');
    const statuses: string[] = [];
    store.onStatus(({ type }) => statuses.push(type));
    process.kill(server.pid, 'SIGUSR2');
    await until(() => statuses.includes('lameDuck'), 'the lame duck');
    await server.kill();
  });

  it('notices a server that hangs, and can be closed meanwhile', async () => {
    const store = await node('store-1', { pingInterval: 50 });
    const other = await node('store-2');
    server.pause();
    await until(() => store.metrics.disconnects === 1, 'the disconnect');
    expect(await errorOf(store.ref('store-2/counter').ask({ type: 'get' }))).to.include({
      code: 'unreachable',
    });
    const start = performance.now();
    await other.close();
    expect(performance.now() - start).to.be.below(4000);
    server.resume();
    await until(() => store.metrics.reconnects === 1, 'the reconnect');
  }).timeout(20_000);

  it('takes no chunks while the connection for them is lost, and takes them again', async () => {
    const sender = await node('store-1');
    const received: number[] = [];
    const bulk = await sender.openBulk(() => {});
    await (await node('store-2')).openBulk((chunk) => received.push(chunk.length));
    expect(bulk.send('store-2', new Uint8Array(1))).to.equal(true);
    await until(() => received.length === 1, 'a chunk');
    await server.kill();
    await until(() => !bulk.send('store-2', new Uint8Array(2)), 'the loss of the connection');
    expect(bulk.send('store-2', new Uint8Array(2))).to.equal(false);
    await server.restart();
    await until(() => bulk.send('store-2', new Uint8Array(3)) && received.includes(3), 'a chunk again');
    await sender.close();
    expect(bulk.send('store-2', new Uint8Array(4))).to.equal(false);
  }).timeout(20_000);

  it('takes no chunks by a connection that is somebody else’s while it is lost', async () => {
    const connection = await connect({
      servers: server.url,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1,
    });
    const sender = await node('store-1', { connection });
    const bulk = await sender.openBulk(() => {});
    expect(bulk.send('store-2', new Uint8Array(1))).to.equal(true);
    await server.kill();
    await until(() => !bulk.send('store-2', new Uint8Array(1)), 'the loss of the connection');
    await server.restart();
    await until(() => bulk.send('store-2', new Uint8Array(1)), 'its return');
    await sender.close();
    await connection.close();
  }).timeout(20_000);

  it('says in one sentence that no server is there', async () => {
    const port = await freePort();
    const error = await errorOf(node('store-1', { servers: `nats://127.0.0.1:${port}` }));
    expect(error).to.be.instanceOf(ActorSystemError).and.include({ code: 'unavailable' });
    expect(error.message).to.include(`nats://127.0.0.1:${port}`);
  });

  it('waits for the first server when it is told to', async () => {
    await server.kill();
    const starting = node('store-1', { waitOnFirstConnect: true });
    await server.restart();
    expect((await starting).node).to.equal('store-1');
  }).timeout(10_000);

  it('says in one sentence that the credentials are refused', async () => {
    const guarded = await TestNatsServer.start({
      config: 'authorization { users = [ { user: troupe, password: secret } ] }',
    });
    try {
      const servers = guarded.url;
      for (const options of [
        { servers },
        { servers, user: 'troupe', pass: 'wrong', waitOnFirstConnect: true },
      ]) {
        const error = await errorOf(node('store-1', options));
        expect(error).to.be.instanceOf(ActorSystemError).and.include({ code: 'unauthorized' });
        expect(error.message).to.match(/refuses the credentials/);
      }
      expect((await node('store-1', { servers, user: 'troupe', pass: 'secret' })).node).to.equal('store-1');
    } finally {
      await Promise.all(systems.splice(0).map((system) => system.close()));
      await guarded.stop();
    }
  });

  it('works within permissions that keep clients out of the lane between servers', async () => {
    const guarded = await TestNatsServer.start({
      config: `authorization {
        users = [
          { user: server, password: s, permissions: {
            publish: ["troupe.test.>", "_INBOX.>"], subscribe: ["troupe.test.>", "_INBOX.>"] } }
          { user: client, password: c, permissions: {
            publish: ["troupe.test.req.>"], subscribe: ["troupe.test.res.client-a", "_INBOX.>"] } }
        ] }`,
    });
    try {
      const servers = guarded.url;
      const refused = await errorOf(node('store-9', { servers, user: 'client', pass: 'c' }));
      expect(refused).to.include({ name: 'ActorSystemError', code: 'unauthorized' });
      const store = await node('store-1', { servers, user: 'server', pass: 's' });
      store.spawn(counter, { path: 'counter' });
      const client = await node('client-a', { servers, user: 'client', pass: 'c' });
      expect(await answered(client)).to.equal(0);
    } finally {
      await Promise.all(systems.splice(0).map((system) => system.close()));
      await guarded.stop();
    }
  });

  it('refuses a server that carries too little, with both figures', async () => {
    const small = await TestNatsServer.start({ config: 'max_payload: 65536' });
    try {
      const error = await errorOf(node('store-1', { servers: small.url }));
      expect(error).to.include({ code: 'payload-too-small' });
      expect(error.message).to.match(/65536 bytes, this node needs 1048576/);
      const system = await node('store-1', { servers: small.url, maxPayload: 65_536 });
      expect(system.maxBody).to.be.below(65_536);
    } finally {
      await Promise.all(systems.splice(0).map((system) => system.close()));
      await small.stop();
    }
  });

  it('lets the earlier of two holders of a name give way', async () => {
    // Both ask whether the name is free before either holds it: what happens when they start in the same moment.
    const attempts = await Promise.allSettled([
      node('store-1', {}, { incarnation: 1 }),
      node('store-1', {}, { incarnation: 2 }),
    ]);
    const started = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []));
    expect(started.length).to.be.within(1, 2);
    if (started.length === 2) {
      const failure = await started[0]?.failed;
      expect(failure).to.include({ code: 'name-taken' });
    }
    const client = await node('client-a');
    started.at(-1)?.spawn(counter, { path: 'counter' });
    expect(await answered(client)).to.equal(0);
  });

  it('drops the frames of an incarnation that is gone', async () => {
    const store = await node('store-1');
    store.spawn(counter, { path: 'counter' });
    const nc = await connect({ servers: server.url });
    const add = (incarnation: number, by: number): void => {
      const writer = new FrameWriter();
      writer.begin('store-2', incarnation, 0);
      writer.tell('counter', 'add', Buffer.from(JSON.stringify({ by })));
      nc.publish('troupe.test.peer.store-1', writer.take());
    };
    for (const [incarnation, by] of [
      [5, 1],
      [6, 10],
      [5, 100],
      [6, 1000],
    ] as const)
      add(incarnation, by);
    await nc.flush();
    await until(() => store.metrics.framesReceived === 4, 'four frames');
    expect(await store.ref<CounterEvent>('store-1/counter').ask({ type: 'get' })).to.equal(1011);
    expect(store.metrics.framesStale).to.equal(1);
    await nc.close();
  });

  it('counts garbage on every subject, and goes on', async () => {
    const store = await node('store-1');
    store.spawn(counter, { path: 'counter' });
    const client = await node('client-a');
    const nc = await connect({ servers: server.url });
    const subjects = ['peer.store-1', 'req.store-1', 'res.client-a', 'peer.store-1.claim'].map(
      (s) => `troupe.test.${s}`,
    );
    let sent = 0;
    for (let i = 0; i < 200; i++) {
      const bytes = Uint8Array.from({ length: i }, (_, n) =>
        n === 0 ? 0xa7 : n === 1 ? 1 : (i * 31 + n * 17) % 256,
      );
      for (const subject of subjects) nc.publish(subject, bytes);
      sent += 3;
    }
    await forge(nc);
    await nc.flush();
    await until(
      () => store.metrics.framesReceived + client.metrics.framesReceived >= sent + 2,
      'the arrival of the garbage',
    );
    expect(store.metrics.framesRefused + client.metrics.framesRefused).to.be.at.least(sent * 0.9);
    expect(store.metrics.messages).to.equal(0);
    expect(await answered(client)).to.equal(0);
    await nc.close();
  });

  /** A client that passes for a server, and a server on the lane of clients. */
  async function forge(nc: NatsConnection): Promise<void> {
    for (const [sender, subject] of [
      ['client-z', 'troupe.test.peer.store-1'],
      ['store-7', 'troupe.test.req.store-1'],
    ] as const) {
      const writer = new FrameWriter();
      writer.begin(sender, 1, 0);
      writer.tell('counter', 'add', Buffer.from('{"by":1}'));
      nc.publish(subject, writer.take());
    }
  }

  it('is shown by the NATS services API', async () => {
    const store = await node('store-1', {
      service: { name: 'troupe-store', version: '1.2.3', metadata: { host: 'rack-1' } },
    });
    store.spawn(counter, { path: 'counter' });
    await store.ref('store-1/counter').ask({ type: 'get' });
    const nc = await connect({ servers: server.url });
    const services = new Svcm(nc).client();
    const infos = [];
    for await (const info of await services.info('troupe-store')) infos.push(info);
    expect(infos.length).to.equal(1);
    expect(infos[0]?.metadata).to.include({
      cluster: 'test',
      node: 'store-1',
      role: 'server',
      host: 'rack-1',
    });
    const stats = [];
    for await (const one of await services.stats('troupe-store')) stats.push(one);
    expect(JSON.stringify(stats[0]?.endpoints)).to.include('"actors":1');
    const status = await nc.request('troupe.test.api.store-1.status');
    expect(status.json()).to.include({ node: 'store-1', actors: 1 });
    await nc.close();
  });

  it('works over a connection of your own, which stays open', async () => {
    const nc = await connect({ servers: server.url, noEcho: true });
    const store = await node('store-1', { connection: nc });
    store.spawn(counter, { path: 'counter' });
    expect(await answered(await node('client-a'))).to.equal(0);
    expect(await errorOf(node('store-1'))).to.include({ code: 'name-taken' });
    await store.close();
    expect(nc.isClosed()).to.equal(false);
    await nc.close();
  });

  it('reports the end of a connection that is not its own', async () => {
    const nc = await connect({ servers: server.url });
    const store = await node('store-1', { connection: nc });
    await nc.close();
    expect(await store.failed).to.include({ code: 'closed' });
  });

  it('is no slow consumer under a flood, because turns leave the loop to the socket', async () => {
    const store = await node('store-1');
    const slow = 0.05;
    const busy = counter.provide({});
    store.spawn(busy, { path: 'counter', mailbox: { capacity: 1000 } });
    store.onTurnEnd(1, () => {
      const end = performance.now() + slow;
      while (performance.now() < end);
    });
    const client = await node('client-a');
    const ref = client.ref('store-1/counter');
    for (let i = 0; i < 100; i++) {
      for (let n = 0; n < 500; n++) ref.tell({ type: 'add', by: 1 });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => store.metrics.envelopesReceived === 50_000, 'everything');
    expect(store.metrics.disconnects).to.equal(0);
    const handled = await store.ref<CounterEvent>('store-1/counter').ask({ type: 'get' });
    expect(handled + store.deadLetters.counts['mailbox-full']).to.equal(50_000);
  }).timeout(20_000);
});

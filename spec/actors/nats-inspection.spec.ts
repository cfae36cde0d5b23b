import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect } from 'chai';
import {
  ActorSystem,
  type InspectionBatch,
  InspectionObserver,
  type NatsTransportOptions,
  natsObserver,
  natsTransport,
  realClock,
} from '../../actors/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { counter, until } from './fixtures.js';

const describeNats = hasNatsServer() ? describe : describe.skip;

describeNats('inspection over NATS', () => {
  let server: TestNatsServer;
  const open: { close(): Promise<unknown> }[] = [];

  beforeEach(async () => {
    server = await TestNatsServer.start({
      config: `authorization {
        users = [
          { user: server, password: s, permissions: {
            publish: ["troupe.test.>", "_INBOX.>"], subscribe: ["troupe.test.>", "_INBOX.>"] } }
          { user: client, password: c, permissions: {
            publish: ["troupe.test.req.>"], subscribe: ["troupe.test.res.client-a", "_INBOX.>"] } }
        ] }`,
    });
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
    await server.stop();
  });

  const as = (user: 'server' | 'client') => ({ servers: server.url, user, pass: user.slice(0, 1) });

  async function node(name: string, transport: NatsTransportOptions): Promise<ActorSystem> {
    const system = await ActorSystem.start({
      cluster: 'test',
      node: name,
      role: name.startsWith('client-') ? 'client' : 'server',
      transport: natsTransport({ service: false, ...transport }),
      inspection: {},
    });
    open.push(system);
    return system;
  }

  async function connection(user: 'server' | 'client'): Promise<NatsConnection> {
    const made = await connect(as(user));
    open.push(made);
    return made;
  }

  async function observer(by: NatsConnection, batches: InspectionBatch[]): Promise<InspectionObserver> {
    const made = await InspectionObserver.open({
      watcher: 'spec',
      clock: realClock,
      open: natsObserver(by, 'test'),
      onBatch: (batch) => batches.push(batch),
    });
    open.push(made);
    return made;
  }

  it('publishes on its own subject while somebody looks, and nothing before and after', async () => {
    const system = await node('store-1', as('server'));
    const subjects: string[] = [];
    const ear = await connection('server');
    ear.subscribe('troupe.test.events.>', { callback: (_, { subject }) => void subjects.push(subject) });
    await ear.flush();
    const actor = system.spawn(counter, { path: 'counter' });
    await actor.ask({ type: 'get' });
    await ear.flush();
    expect(subjects).to.deep.equal([]);
    const batches: InspectionBatch[] = [];
    const looking = await observer(await connection('server'), batches);
    looking.want('all', { paths: [''], every: 1, perSecond: 1000 });
    const seen = (kind: string) =>
      batches.flatMap(({ records }) => records).some((record) => record.kind === kind);
    await until(() => seen('@xstate.actor'), 'the introduction of the actor');
    await actor.ask({ type: 'get' });
    await until(() => seen('@xstate.event'), 'its event');
    expect(new Set(subjects)).to.deep.equal(new Set(['troupe.test.events.store-1.records']));
    expect(batches.map(({ sequence }) => sequence)).to.deep.equal(batches.map((_, index) => index + 1));
    await looking.close();
    await until(() => !system.inspection.attached, 'the end of the look');
    await ear.flush();
    const before = subjects.length;
    await actor.ask({ type: 'get' });
    await ear.flush();
    expect(subjects).to.have.length(before);
  });

  it('is out of reach for clients, who go on without it', async () => {
    const system = await node('store-1', as('server'));
    const client = await node('client-a', as('client'));
    system.spawn(counter, { path: 'counter' });
    const stranger = await connection('client');
    const looking = await observer(stranger, []);
    looking.want('all', { paths: [''], every: 1, perSecond: 1000 });
    // The server has it, and what it lets through is on its way before the answer to what is asked next.
    await stranger.flush();
    expect(await client.ref('store-1/counter').ask({ type: 'get' })).to.equal(0);
    expect(system.inspection.attached).to.equal(false);
  });
});

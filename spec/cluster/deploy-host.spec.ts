import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { connect } from '@nats-io/transport-node';
import { expect } from 'chai';
import { assign, emit, setup } from 'xstate';
import { silentLogger } from '../../actors/index.js';
import { ActorClient } from '../../cluster/deploy/client.js';
import type { DeployHost } from '../../cluster/deploy/host.js';
import { NodeMetrics } from '../../cluster/operations/index.js';
import type { SimulatedDisk } from '../../storage/index.js';
import { eventually } from '../integration/command.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { codeOf, deployable, emptyDisk, HostStage, refusalOf } from './host-stage.js';
import { hasFailed, outline, SpanBook } from './tracing-world.js';

const order = setup({
  types: { context: {} as { items: number }, events: {} as { type: 'add' } | { type: 'pay' } },
}).createMachine({
  id: 'order',
  context: { items: 0 },
  initial: 'open',
  states: {
    open: { on: { add: { actions: assign({ items: ({ context }) => context.items + 1 }) }, pay: 'paying' } },
    paying: { after: { 60000: 'lapsed' } },
    lapsed: {},
  },
});
const other = setup({}).createMachine({ id: 'other', initial: 'a', states: { a: {} } });

const teller = setup({ types: { events: {} as { type: 'tell'; to?: string } } }).createMachine({
  id: 'teller',
  on: { tell: { actions: emit(({ event }) => ({ type: 'tell', ...(event.to ? { to: event.to } : {}) })) } },
});

const MANUAL = fileURLToPath(new URL('../../../docs/decisions/deployed-actors.md', import.meta.url));

/** Each on a simulated disk, with a real server between it and its clients. */
describe('a host of deployed actors', () => {
  let stage: HostStage;
  let actors: ActorClient;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    stage = await HostStage.open();
    actors = stage.actors;
  });
  afterEach(() => stage?.clear());
  after(() => stage?.close());

  it('does not accept a machine that cannot take its first step, and keeps nothing of it', async () => {
    const host = await stage.start();
    const broken = setup({}).createMachine({
      id: 'broken',
      entry: () => {
        throw new Error('there is no database');
      },
    });
    const refused = await refusalOf(host.deploy(deployable('it', broken)));
    expect(refused).to.equal(
      'failed: it cannot take its first step (there is no database): mend the machine broken of file.ts, and deploy it again',
    );
    expect((await host.info()).actors).to.deep.equal([]);
    await host.deploy(deployable('it', order));
    expect(await actors.state('it', undefined)).to.include({ value: 'open', seq: 1 });
  });

  const INSTANCES = { member: 'id', idleMs: 60_000, most: 10 };

  it('serves one actor for each key, and shows each where it is asleep too', async () => {
    const disk = emptyDisk();
    const host = await stage.start({ disk });
    await host.deploy(deployable('order', order, { instances: INSTANCES }));
    await actors.deliver('order', 'send', { type: 'add', id: 'a' }, '1');
    await actors.deliver('order', 'send', { type: 'pay', id: 7 }, '1');
    expect(await actors.state('order', 'a')).to.deep.include({
      key: 'a',
      value: 'open',
      context: { items: 1 },
    });
    expect(await codeOf(actors.state('order', undefined))).to.equal('usage');
    expect(await codeOf(actors.state('order', 'nobody'))).to.equal('not-found');
    expect(await codeOf(actors.deliver('order', 'send', { type: 'add' }, '2'))).to.equal('usage');
    await stage.stop(host);
    const again = await stage.start({ disk });
    await again.deploy(deployable('order', order, { instances: INSTANCES }));
    const asleep = await actors.state('order', '7');
    expect(asleep).to.include({ value: 'paying', life: 'passive' });
    expect(asleep.timers).to.have.length(1);
    expect(
      (await actors.hosts()).map(({ actors: own }) => own.map(({ instances }) => instances)),
    ).to.deep.equal([[{ member: 'id', inMemory: 0, failed: 0 }]]);
  });

  it('joins the trace of who sends, and tells neither events nor keys', async () => {
    const book = new SpanBook();
    const tracerProvider = book.provider;
    const host = await stage.start({ name: 'host-t', tracerProvider });
    await host.deploy(deployable('order', order, { instances: INSTANCES }));
    const shop = await ActorClient.connect({
      nats: stage.server,
      cluster: 'c',
      timeoutMs: 5000,
      tracerProvider,
    });
    try {
      await shop.deliver('order', 'send', { type: 'add', id: 'customer-7' }, 'first');
      expect(await codeOf(shop.deliver('order', 'ask', { type: 'add' }, 'second'))).to.equal('usage');
      // Without a trace, from who has none.
      await actors.deliver('order', 'send', { type: 'add', id: 'customer-7' }, 'third');
    } finally {
      await shop.close();
    }
    const [sent, asked] = ['send order', 'ask order'].map((name) => book.named(name)[0]);
    if (sent === undefined || asked === undefined) throw new Error('the sender has no span');
    expect(outline(book, sent)).to.deep.equal({ 'send order': ['process order'] });
    expect(outline(book, asked)).to.deep.equal({ 'ask order': ['process order'] });
    expect(book.spans).to.have.length(4);
    const [handled] = book.childrenOf(sent);
    expect(handled?.attributes).to.include({
      'messaging.system': 'nats',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'troupe.c.api.actor.order.send',
      'messaging.message.id': 'first',
      'troupe.node': 'host-t',
    });
    expect(book.childrenOf(asked).map(({ attributes }) => attributes['error.type'])).to.deep.equal([
      'bad-event',
    ]);
    expect(hasFailed(sent)).to.equal(false);
    expect(hasFailed(asked)).to.equal(true);
    expect(JSON.stringify(book.spans.map(({ attributes, events }) => [attributes, events]))).not.to.include(
      'customer-7',
    );
    expect(host.measures).to.include({ openSpans: 0, droppedSpans: 0 });
  });

  it('counts what it does', async () => {
    const host = await stage.start();
    const metrics = new NodeMetrics({ cluster: 'c', node: host.node, role: 'host', version: '1' });
    metrics.attach(host);
    await host.deploy(deployable('it', order));
    for (const id of ['1', '2', '2']) await actors.deliver('it', 'send', { type: 'add' }, id);
    const page = await metrics.text();
    for (const line of [
      'deployments 1',
      'deployed_actors 1',
      'events_applied_total 2',
      'events_repeated_total 1',
      'effects_pending 0',
    ]) {
      expect(page).to.include(`\ntroupe_host_${line}\n`);
    }
    expect(page).to.match(/^troupe_host_batches_total [1-9]/m);
    expect(host.unready).to.equal(undefined);
    await stage.stop(host);
    expect(host.unready).to.equal('the host is stopping');
  });

  it('refuses a state that is not one of the machine, unless it is to be forgotten', async () => {
    const disk = emptyDisk();
    const host = await stage.start({ disk });
    await host.deploy(deployable('it', order));
    await actors.deliver('it', 'send', { type: 'add' }, '1');
    await host.undeploy('it', false);
    const refused = await refusalOf(host.deploy(deployable('it', other)));
    expect(refused).to.include(
      'conflict: the state that this host has of it is not one of the machine other',
    );
    await host.deploy(deployable('it', other, { fresh: true }));
    expect(await actors.state('it', undefined)).to.include({ value: 'a', seq: 1 });
    await host.undeploy('it', true);
    const engineKeys = (await (await reopened(host, disk)).scan('default', { limit: 100 })).keys;
    // What is left is whose directory it is.
    expect(engineKeys.map((key) => Buffer.from(key).toString())).to.deep.equal(['h']);
  });

  async function reopened(host: DeployHost, disk: SimulatedDisk) {
    await stage.stop(host);
    return disk.open();
  }

  it('has a name of its own, which the directory keeps', async () => {
    const disk = emptyDisk();
    const host = await stage.start({ disk });
    const { node } = host;
    expect(node).to.match(/^host-[0-9a-f]{8}$/);
    await stage.stop(host);
    const again = await stage.start({ disk });
    expect(again.node).to.equal(node);
    await stage.stop(again);
    expect(await codeOf(stage.start({ disk, name: 'host-1' }))).to.equal('identity');
  });

  it('ends a deployment whose name another host has taken', async () => {
    const [first, second] = [await stage.start(), await stage.start()];
    const { ended } = await first.deploy(deployable('x', order));
    expect(await codeOf(second.deploy(deployable('x', order)))).to.equal('conflict');
    expect(await codeOf(first.deploy(deployable('x', order)))).to.equal('conflict');
    // Another one that could not hear it announces itself, with a later incarnation.
    const connection = await connect({ servers: stage.nats.url });
    const claim = { type: 'started', incarnation: Date.now() + 1_000_000, instance: 'z' };
    connection.publish('troupe.c.peer.actor.x.claim', JSON.stringify(claim));
    expect((await ended)?.code).to.equal('conflict');
    await connection.close();
    expect((await first.info()).actors).to.deep.equal([]);
    await second.deploy(deployable('x', order));
  });

  it('acknowledges nothing and ends when its disk refuses', async () => {
    const disk = emptyDisk();
    const host = await stage.start({ disk });
    await host.deploy(deployable('it', order));
    await eventually('it has begun', async () =>
      (await actors.state('it', undefined)).seq === 1 ? true : undefined,
    );
    disk.failNext('sync');
    const answers: unknown[] = [];
    const sent = actors.deliver('it', 'send', { type: 'add' }, '1').then(
      (answer) => answers.push(answer),
      () => {},
    );
    expect((await host.failed).message).to.include('Input/output error');
    await stage.clear();
    await sent;
    expect(answers).to.deep.equal([]);
  });

  it('says in its log when it begins to stop, when all is on its disk, and when it is closed', async () => {
    const lines: string[] = [];
    const logger = { ...silentLogger, info: (_: object, line?: string) => void lines.push(line ?? '') };
    const stops = 'the host stops';
    const atRest = 'its actors have stopped: all that they did is on its disk';
    const closed = 'the host is closed';
    const host = await stage.start({ logger });
    await host.deploy(deployable('it', order));
    lines.length = 0;
    await Promise.all([host.close(), host.close()]);
    expect(lines).to.deep.equal([stops, atRest, closed]);
    // What a broken disk has not taken is not said to be on it.
    const disk = emptyDisk();
    const broken = await stage.start({ logger, disk });
    await broken.deploy(deployable('it', order));
    disk.failNext('sync');
    const sender = await connect({ servers: stage.nats.url });
    sender.publish('troupe.c.api.actor.it.send', '{"type":"add"}');
    await broken.failed;
    await sender.close();
    lines.length = 0;
    await stage.clear();
    expect(lines).to.include(stops).and.not.to.include(atRest);
  });

  it('needs no more than the permissions of the manual, and neither do those who use its actors', async () => {
    const users = /^```conf\n(authorization \{[\s\S]*?)^```$/m.exec(readFileSync(MANUAL, 'utf8'))?.[1] ?? '';
    const variables = 'TROUPE_HOST_PASSWORD: "h"\nTROUPE_APP_PASSWORD: "a"\n';
    const config = `${variables}${users.replaceAll('troupe.demo.', 'troupe.c.')}`;
    const guarded = await TestNatsServer.start({ config });
    const app = { servers: guarded.url, user: 'troupe-app', pass: 'a', inboxPrefix: '_INBOX_APP' };
    const user = await ActorClient.connect({ nats: app, cluster: 'c', timeoutMs: 3000 });
    const listener = await connect(app);
    try {
      const effects: string[] = [];
      listener.subscribe('troupe.c.emit.>', { callback: (_, message) => void effects.push(message.subject) });
      await listener.flush();
      const host = await stage.start({ nats: { servers: guarded.url, user: 'troupe-host', pass: 'h' } });
      await Promise.all([host.deploy(deployable('a', teller)), host.deploy(deployable('b', teller))]);
      await user.deliver('a', 'send', { type: 'tell' }, '1');
      await user.deliver('a', 'send', { type: 'tell', to: 'b' }, '2');
      await eventually('b was told', async () =>
        (await user.state('b', undefined)).seq === 2 ? true : undefined,
      );
      await eventually('all were told', () => (effects.length >= 2 ? true : undefined));
      expect(effects.sort()).to.deep.equal(['troupe.c.emit.a.tell', 'troupe.c.emit.b.tell']);
      expect((await user.hosts()).map(({ node }) => node)).to.deep.equal([host.node]);
      const said = await refusalOf(user.undeploy('a', false));
      expect(said).to.include(
        'unavailable: this NATS user may not publish on troupe.c.api.actor.a.undeploy: give other credentials',
      );
      expect(await codeOf(user.purge('a'))).to.equal('unavailable');
    } finally {
      await Promise.all([user.close(), listener.close()]);
      await stage.clear();
      await guarded.stop();
    }
  });

  it('is refused where another one of its name is', async () => {
    await stage.start({ name: 'host-1' });
    expect(await codeOf(stage.start({ name: 'host-1' }))).to.equal('conflict');
  });
});

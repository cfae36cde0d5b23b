import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { headers, type NatsConnection, connect as natsConnect } from '@nats-io/transport-node';
import { expect } from 'chai';
import { ActorClient } from '../../cluster/deploy/client.js';
import type { TroupeError } from '../../cluster/errors.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

const COUNTER = `import { assign, emit, setup } from 'xstate';
type Event =
  | { type: 'add'; by: number }
  | { type: 'arm' }
  | { type: 'get'; replyTo: { send(reply: number): void } }
  | { type: 'break' }
  | { type: 'pass'; to?: string };
export const counter = setup({ types: { context: {} as { n: number; firedAt: number }, events: {} as Event } }).createMachine({
  id: 'counter',
  context: { n: 0, firedAt: 0 },
  initial: 'idle',
  on: {
    add: { actions: assign({ n: ({ context, event }) => context.n + event.by }) },
    get: { actions: ({ context, event }) => event.replyTo.send(context.n) },
    break: { actions: () => { throw new Error('told to'); } },
    pass: { actions: emit(({ event }) => ({ type: 'add', by: 100, ...(event.to ? { to: event.to } : {}) })) },
  },
  states: {
    idle: { on: { arm: 'armed' } },
    armed: { after: { 3000: 'fired' } },
    fired: { entry: assign({ firedAt: () => Date.now() }) },
  },
});
`;

/** How it is refused. */
const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'not at all',
    (error: TroupeError) => error.code,
  );

describe('deployed actors on a real server, with real disks', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  const closers: (() => Promise<void>)[] = [];

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
  });
  beforeEach(async () => {
    place = new Workplace();
    nats = await TestNatsServer.start();
    symlinkSync(
      fileURLToPath(new URL('../../../node_modules', import.meta.url)),
      place.path('node_modules'),
      'junction',
    );
    writeFileSync(place.path('counter.ts'), COUNTER);
  });
  afterEach(async () => {
    await Promise.all(closers.splice(0).map((close) => close()));
    await place?.close();
    await nats?.stop();
  });

  async function deploy(name: string, ...words: string[]): Promise<RunningCommand> {
    const command = place.start([
      'deploy',
      place.path('counter.ts'),
      '--name',
      name,
      '--nats',
      nats.url,
      ...words,
    ]);
    await command.printed(/is served by/);
    return command;
  }

  async function client(): Promise<ActorClient> {
    const made = await ActorClient.connect({
      nats: { servers: nats.url },
      cluster: 'demo',
      timeoutMs: 30_000,
    });
    closers.push(() => made.close());
    return made;
  }

  async function raw(): Promise<NatsConnection> {
    const connection = await natsConnect({ servers: nats.url });
    closers.push(() => connection.close());
    return connection;
  }

  it('survive SIGKILL and a restart of the server, with state and timers, and apply an event with an id once', async () => {
    let host = await deploy('counter');
    const actors = await client();
    const armedAt = Date.now();
    await actors.deliver('counter', 'send', { type: 'arm' }, 'arm');
    const events = Array.from({ length: 60 }, (_, i) => i);
    const acknowledged: string[] = [];
    const lane = async (): Promise<void> => {
      for (let i = events.shift(); i !== undefined; i = events.shift()) {
        // Every one twice: it counts once.
        for (let twice = 0; twice < 2; twice++)
          await actors.deliver('counter', 'send', { type: 'add', by: 1 }, `e${i}`);
        acknowledged.push(`e${i}`);
      }
    };
    const sending = Promise.all([lane(), lane(), lane(), lane()]);
    for (const until of [10, 30]) {
      await eventually(`${until} are acknowledged`, () => (acknowledged.length >= until ? true : undefined));
      if (until === 30) {
        await nats.kill();
        await nats.restart();
      }
      host.signal('SIGKILL');
      await host.ended;
      host = await deploy('counter');
    }
    await sending;
    expect(acknowledged).to.have.length(60);
    expect((await actors.deliver('counter', 'ask', { type: 'get' }, 'get')).reply).to.equal(60);
    const fired = await eventually('the timer has fired', async () => {
      const state = await actors.state('counter', undefined);
      return state.value === 'fired' ? (state.context as { firedAt: number }) : undefined;
    });
    // At its first deadline, or as soon as the host was back.
    expect(fired.firedAt - armedAt).to.be.at.least(2900);
    const again = await actors.deliver('counter', 'send', { type: 'arm' }, 'arm');
    expect(again.duplicate).to.equal(true);
  });

  it('answer anybody with a NATS client, in JSON, and stand among the services', async () => {
    await deploy('counter');
    const connection = await raw();
    const request = async (endpoint: string, body: string, id?: string): Promise<Record<string, unknown>> => {
      const header = headers();
      if (id !== undefined) header.set('Nats-Msg-Id', id);
      const subject = `troupe.demo.api.actor.counter.${endpoint}`;
      const reply = await connection.request(subject, body, { headers: header, timeout: 5000 });
      const code = reply.headers?.get('Nats-Service-Error-Code');
      return { ...reply.json<object>(), ...(code ? { code } : {}) };
    };
    expect(await request('send', '{"type":"add","by":5}', 'one')).to.deep.equal({
      ok: true,
      id: 'one',
      seq: 2,
      duplicate: false,
      taken: true,
    });
    expect(await request('send', '{"type":"add","by":5}', 'one')).to.deep.equal({
      ok: true,
      id: 'one',
      seq: 2,
      duplicate: true,
      taken: true,
    });
    expect(await request('ask', '{"type":"get"}')).to.include({ reply: 5 });
    expect(await request('ask', '{"type":"add","by":1}')).to.deep.include({
      state: { value: 'idle', context: { n: 6, firedAt: 0 }, status: 'active' },
    });
    expect(await request('state', '')).to.include({ name: 'counter', value: 'idle', life: 'running' });
    for (const [body, code] of [
      ['{"type"', '400'],
      ['{"by":5}', '400'],
      ['{"type":"xstate.after.3000.counter.armed"}', '400'],
      ['{"type":"break"}', '500'],
    ] as const) {
      expect(await request('send', body)).to.include({ code });
    }
    expect(await request('send', '{"type":"add","by":1}', 'x'.repeat(200))).to.include({ code: '400' });
    expect(await request('ask', '{"type":"get"}')).to.include({ reply: 6 });
    const infos = await connection.request('$SRV.INFO.counter', '', { timeout: 2000 });
    expect(infos.json<{ metadata: object }>().metadata).to.include({
      kind: 'deployed-actor',
      cluster: 'demo',
      machine: 'counter',
    });
  });

  it('send their effects to subjects and to each other, once', async () => {
    await Promise.all([deploy('a'), deploy('b')]);
    const connection = await raw();
    const published: string[] = [];
    connection.subscribe('troupe.demo.emit.>', {
      callback: (_, message) => {
        published.push(
          `${message.subject} ${message.headers?.get('Nats-Msg-Id').replace(/\.[0-9a-f]{16}\./, '.LIFE.')} ${message.string()}`,
        );
      },
    });
    await connection.flush();
    const actors = await client();
    await actors.deliver('a', 'send', { type: 'pass' }, '1');
    await actors.deliver('a', 'send', { type: 'pass', to: 'b' }, '2');
    const sum = await eventually('b has it', async () => {
      const { context } = await actors.state('b', undefined);
      return (context as { n: number }).n || undefined;
    });
    expect(sum).to.equal(100);
    await eventually('it is published', () => (published.length > 0 ? true : undefined));
    expect(published).to.deep.equal(['troupe.demo.emit.a.add a.LIFE.2.0 {"type":"add","by":100}']);
  });

  it('are handed to a host, which serves them again after SIGKILL and goes on whatever it is given', async () => {
    const start = async (): Promise<RunningCommand> => {
      const command = place.start([
        'host',
        '--name',
        'host-1',
        '--data',
        place.path('host'),
        '--nats',
        nats.url,
      ]);
      await command.printed(/serves the cluster/);
      return command;
    };
    const troupe = (...words: string[]) => place.run([...words, '--nats', nats.url]);
    let host = await start();
    const counter = place.path('counter.ts');
    const handed = await troupe('deploy', counter, '--name', 'one', '--host', 'host-1');
    expect([handed.code, handed.stderr]).to.deep.equal([0, 'one is served by host-1.\n']);
    const taken = await troupe('deploy', counter, '--name', 'one', '--data', place.path('elsewhere'));
    expect(taken.code).to.equal(4);
    expect(taken.stderr).to.include('troupe: an actor named one is deployed already');
    const actors = await client();
    const source = readFileSync(counter, 'utf8');
    const again = { name: 'one', file: 'counter.ts', source, fresh: false };
    expect(await codeOf(actors.deploy('host-1', again))).to.equal('conflict');
    expect(await codeOf(actors.deploy('host-2', again))).to.equal('not-found');
    const connection = await raw();
    const flawed = await connection.request(
      'troupe.demo.api.host.host-1.deploy',
      JSON.stringify({ name: 'bad', file: 'bad.mjs', source: 'throw new Error("no")' }),
      { timeout: 10_000 },
    );
    expect(flawed.json())
      .to.have.nested.property('error.message')
      .that.includes('threw when it was loaded: no');
    const nonsense = await connection.request('troupe.demo.api.host.host-1.deploy', '{"name":"../x"}', {
      timeout: 10_000,
    });
    expect(nonsense.json()).to.have.nested.property('error.code', 'invalid-argument');

    await actors.deliver('one', 'send', { type: 'add', by: 7 }, 'seven');
    host.signal('SIGKILL');
    await host.ended;
    host = await start();
    expect((await actors.deliver('one', 'ask', { type: 'get' }, 'get')).reply).to.equal(7);
    const listed = await troupe('actors', '--json');
    expect(JSON.parse(listed.stdout)).to.include({
      name: 'one',
      host: 'host-1',
      machine: 'counter',
      file: 'counter.ts',
      life: 'running',
    });
    await actors.undeploy('one', true);
    expect(await codeOf(actors.deliver('one', 'send', { type: 'get' }, 'late'))).to.equal('not-found');
    host.signal('SIGTERM');
    expect((await host.ended).code).to.equal(0);
  });

  it('leave nothing anywhere when they are purged, on whichever hosts they have been', async () => {
    const troupe = (...words: string[]) => place.run([...words, '--nats', nats.url]);
    const hosts = ['host-1', 'host-2'].map((name) =>
      place.start(['host', '--name', name, '--data', place.path(name), '--nats', nats.url]),
    );
    await Promise.all(hosts.map((host) => host.printed(/serves the cluster/)));
    const here = await deploy('one');
    here.signal('SIGINT');
    expect((await here.ended).code).to.equal(0);
    for (const host of ['host-1', 'host-2']) {
      const handed = await troupe('deploy', place.path('counter.ts'), '--name', 'one', '--host', host);
      expect(handed.code).to.equal(0);
      if (host === 'host-1') await troupe('undeploy', 'one');
    }
    const purged = await troupe('undeploy', 'one', '--purge');
    const sentence =
      'one is no more, nor are its states on host-2, on host-1 and in the usual directory here.\n';
    expect([purged.code, purged.stderr]).to.deep.equal([0, sentence]);
    const again = await troupe('undeploy', 'one', '--purge');
    expect([again.code, again.stderr.trimEnd().split('\n').length]).to.deep.equal([3, 1]);
    // Its own directory is in use while its command ends, and has nothing of it any more.
    const other = await deploy('other');
    const ended = await troupe('undeploy', 'other', '--purge');
    expect([ended.code, ended.stderr]).to.deep.equal([0, 'other is no more, nor is its state.\n']);
    expect((await other.ended).code).to.equal(0);
    expect((await troupe('undeploy', 'other', '--purge')).code).to.equal(3);
    hosts[0]?.signal('SIGTERM');
    const { code, stderr } = (await hosts[0]?.ended) ?? {};
    expect(code).to.equal(0);
    expect(stderr).to.match(/the host stops.*\n.*all that they did is on its disk.*\n.*the host is closed/);
  });

  it('end with their command, by undeploy, and are refused with a wrong token', async () => {
    const host = await deploy('counter');
    const ended = await place.run(['undeploy', 'counter', '--nats', nats.url]);
    expect([ended.code, ended.stderr]).to.deep.equal([0, 'counter is no more; its host keeps its state.\n']);
    expect((await host.ended).code).to.equal(0);

    const guarded = await TestNatsServer.start({ args: ['--auth', 'secret'] });
    try {
      const words = ['--nats', guarded.url, '--user', 'wrong'];
      const attempts = await Promise.all([
        place.run(['send', 'counter', 'get', ...words]),
        place.run(['deploy', place.path('counter.ts'), '--name', 'counter', ...words]),
      ]);
      for (const { code, stderr } of attempts) {
        expect([code, stderr.trimEnd().split('\n').length]).to.deep.equal([5, 1]);
        expect(stderr).to.include('refuses the credentials');
      }
    } finally {
      await guarded.stop();
    }
  });
});

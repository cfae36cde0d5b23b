import { connect, type NatsConnection } from '@nats-io/transport-node';
import { expect } from 'chai';
import {
  type LocalStore,
  ScaleClient,
  type ScaleService,
  serveScaling,
} from '../../cluster/cli/scale-channel.js';
import { connectionSettings } from '../../cluster/cli/settings.js';
import { TroupeError } from '../../cluster/errors.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';

describe('between troupe up and a second terminal', () => {
  let nats: TestNatsServer;
  let other: NatsConnection;
  const open: { close(): Promise<void> }[] = [];

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    nats = await TestNatsServer.start();
  });
  beforeEach(async () => {
    other = await connect({ servers: nats.url });
    open.push(other);
  });
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });
  after(async () => {
    await nats?.stop();
  });

  const settings = (cluster: string, timeout = '10s', more = {}) =>
    connectionSettings({ nats: nats.url, cluster, timeout, ...more }, {});

  async function client(cluster: string, timeout?: string): Promise<ScaleClient> {
    const made = await ScaleClient.connect(settings(cluster, timeout));
    open.push(made);
    return made;
  }

  async function serve(cluster: string, service: Partial<ScaleService>): Promise<void> {
    const none: ScaleService = { stores: () => [], addStore: () => Promise.reject(new Error('not asked')) };
    open.push(await serveScaling(settings(cluster), { ...none, ...service }));
  }

  async function failure(promise: Promise<unknown>): Promise<TroupeError> {
    const error = await promise.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (error instanceof TroupeError) return error;
    return expect.fail(`not refused: ${String(error)}`);
  }

  it('the up of the cluster answers, and no other', async () => {
    const store: LocalStore = { node: 'store-1', pid: 7 };
    await serve('one', { stores: () => [store] });
    await serve('two', { stores: () => [] });
    expect(await (await client('one')).stores()).to.deep.equal([store]);
    expect(await (await client('two')).stores()).to.deep.equal([]);
  });

  it('nobody answers: unavailable, at once, with what to do', async () => {
    const error = await failure((await client('nobody')).addStore());
    expect(error.code).to.equal('unavailable');
    expect(error.message).to.match(/no `troupe up` runs the cluster "nobody".*start it with `troupe up`/);
  });

  it('what went wrong there is told here', async () => {
    await serve('full', {
      addStore: () => Promise.reject(new TroupeError('conflict', 'there are too many')),
    });
    const error = await failure((await client('full')).addStore());
    expect([error.code, error.message]).to.deep.equal(['conflict', 'there are too many']);
  });

  it('one store is started at a time', async () => {
    let begun = (): void => {};
    let serves = (_: LocalStore): void => {};
    const starting = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const addStore = () => {
      begun();
      return new Promise<LocalStore>((resolve) => {
        serves = resolve;
      });
    };
    await serve('slow', { addStore });
    const first = (await client('slow')).addStore();
    await starting;
    const error = await failure((await client('slow')).addStore());
    expect([error.code, error.message]).to.deep.equal([
      'conflict',
      'another store is being started: try again when it serves',
    ]);
    serves({ node: 'store-4', pid: 8 });
    expect(await first).to.deep.equal({ node: 'store-4', pid: 8 });
  });

  it('who stays silent is waited for as long as --timeout says', async () => {
    other.subscribe('troupe.mute.api.up.stores', { callback: () => {} });
    await other.flush();
    const error = await failure((await client('mute', '50ms')).stores());
    expect([error.code, error.message]).to.deep.equal([
      'timeout',
      '`troupe up` did not answer within 50 ms: look at its terminal, or give it longer with --timeout',
    ]);
  });

  for (const answer of ['', '{', 'null', '{}', '{"stores":[1]}', '{"stores":[{"node":1,"pid":"x"}]}']) {
    it(`an answer that is none is refused: ${answer || 'nothing'}`, async () => {
      other.subscribe('troupe.odd.api.up.stores', { callback: (_, message) => void message.respond(answer) });
      await other.flush();
      const error = await failure((await client('odd')).stores());
      expect(error.code).to.equal('failed');
      expect(error.message).to.match(/gave an answer that is none/);
    });
  }

  it('a user who may not ask is told so', async () => {
    const guarded = await TestNatsServer.start({
      config:
        'authorization { users = [ { user: ann, password: a, permissions: { publish: ["troupe.demo.req.>"], subscribe: ["_INBOX.>"] } } ] }',
    });
    open.push({ close: () => guarded.stop() });
    const up = await ScaleClient.connect(
      settings('demo', '5s', { nats: guarded.url, user: 'ann', password: 'a' }),
    );
    open.unshift(up);
    const error = await failure(up.addStore());
    expect(error.code).to.equal('unavailable');
    expect(error.message).to.match(/cannot be asked \(.*[Pp]ermission.*\): use the credentials/);
  });
});

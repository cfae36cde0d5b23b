import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { connect } from '../../cluster/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

const PERMISSIONS = new URL('../../../deploy/nats/troupe.conf', import.meta.url);
const PASSWORDS = { TROUPE_NODE_PASSWORD: 'n', TROUPE_CLIENT_PASSWORD: 'c', TROUPE_OPERATOR_PASSWORD: 'o' };

/** A deployment as `deploy/` describes it: nodes on their own, and a NATS server that gives each no more than it needs. */
describe('A deployment under least privilege', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  const nodes = new Map<string, RunningCommand>();
  const urls = new Map<string, string>();

  const as = (user: string, password: string, inbox?: string): NodeJS.ProcessEnv => ({
    NATS_USER: user,
    NATS_PASSWORD: password,
    ...(inbox === undefined ? {} : { NATS_INBOX_PREFIX: inbox }),
  });
  const client = (words: readonly string[]) =>
    place.run(
      [...words, '--cluster', 'prod', '--nats', nats.url],
      undefined,
      as('troupe-client', 'c', '_INBOX_CLIENT'),
    );
  const page = async (node: string, path: string): Promise<[number, string]> => {
    const response = await fetch(`${urls.get(node)}${path}`);
    return [response.status, await response.text()];
  };

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    const variables = Object.entries(PASSWORDS).map(([name, value]) => `${name}: "${value}"`);
    nats = await TestNatsServer.start({
      config: [...variables, readFileSync(PERMISSIONS, 'utf8').replace(/^port:.*$/m, '')].join('\n'),
    });
    for (const node of ['scheduler-1', 'store-1', 'store-2', 'store-3']) {
      const [role = ''] = node.split('-');
      const where = ['--cluster', 'prod', '--nats', nats.url, '--http', '0'];
      const command = place.start(
        [role, '--name', node, '--data', place.path(node), ...where],
        as('troupe-node', 'n'),
      );
      nodes.set(node, command);
      urls.set(node, (await command.printed(/"url":"([^"]+)"/))[1] ?? '');
    }
    for (const node of nodes.keys())
      await eventually(`${node} is ready`, async () => (await page(node, '/readyz'))[0] === 200 || undefined);
  });

  after(async () => {
    await place?.close();
    await nats?.stop();
  });

  it('serves clients, and shows how it does', async () => {
    const put = await client(['kv', 'put', 'hello', 'world']);
    expect(put, put.stderr).to.have.property('code', 0);
    expect((await client(['kv', 'get', 'hello'])).stdout).to.equal('world\n');
    const [status, text] = await page('store-1', '/metrics');
    expect(status).to.equal(200);
    expect(text).to.match(/^troupe_store_peers 1$/m);
    expect(text).to.include('# TYPE troupe_request_duration_seconds histogram\n');
    const safePoint = /^troupe_gc_safe_point_seconds (\S+)$/m.exec(text)?.[1];
    if (safePoint !== undefined)
      expect(Date.now() / 1000 - Number(safePoint), safePoint).to.be.lessThan(3600);
    expect(text).to.match(/^troupe_disk_sync_duration_seconds_count [1-9]/m);
    expect(text).to.match(/^troupe_rocksdb_memtable_bytes [1-9]/m);
    expect(text).to.match(/^nodejs_eventloop_lag_p99_seconds /m);
    expect(await page('scheduler-1', '/healthz')).to.deep.equal([200, 'ok\n']);
    expect((await page('scheduler-1', '/metrics'))[1]).to.match(/^troupe_scheduler_stores 3$/m);
  });

  it('serves a program that says who it is', async () => {
    const who = { user: 'troupe-client', pass: 'c', inboxPrefix: '_INBOX_CLIENT' };
    const db = await connect({ servers: nats.url, cluster: 'prod', ...who });
    await db.raw.put('from', 'a program');
    expect(Buffer.from((await db.raw.get('from')) ?? []).toString()).to.equal('a program');
    await db.close();
  });

  it('shows itself to an operator', async () => {
    const inspect = (user: NodeJS.ProcessEnv) =>
      place.start(['inspect', '--port', '0', '--cluster', 'prod', '--nats', nats.url], user);
    const page = inspect(as('troupe-operator', 'o', '_INBOX_OPERATOR'));
    const [, url] = await page.printed(/(http:\/\/127\.0\.0\.1:\d+)/);
    const events = await fetch(`${url}/api/stream?view=actors`);
    const reader = events.body?.getReader();
    let seen = '';
    while (!/store-3\/region\/1\/peer\/\d+/.test(seen)) {
      const { value, done } = (await reader?.read()) ?? { value: undefined, done: true };
      if (done) throw new Error(`the page's events ended:\n${seen.slice(0, 2000)}`);
      seen += Buffer.from(value ?? []).toString();
    }
    await reader?.cancel();
    page.signal('SIGINT');
    await page.ended;
  });

  it('lets nobody with a client’s password be a node', async () => {
    const forged = await place.run(
      [
        'store',
        '--name',
        'store-9',
        '--data',
        place.path('store-9'),
        '--cluster',
        'prod',
        '--nats',
        nats.url,
      ],
      undefined,
      as('troupe-client', 'c', '_INBOX_CLIENT'),
    );
    expect(forged).to.have.property('code', 5);
    expect(forged.stderr).to.include('the credentials do not allow store-9');
  });

  it('has the leaders of a store that is told to stop elsewhere before it is gone', async () => {
    const leaders = async () => {
      const { stdout } = await client(['status', '--json']);
      const { stores } = JSON.parse(stdout) as { stores: { node: string; leaders: number }[] };
      return stores.find(({ leaders: led }) => led > 0)?.node;
    };
    const leader = (await eventually('a leader is reported', leaders)) ?? '';
    const command = nodes.get(leader);
    expect((await page(leader, '/readyz'))[0]).to.equal(200);
    command?.signal('SIGTERM');
    // It says that it is not ready for as long as there is a process: to refuse connections is to be gone.
    let unready = 0;
    for (;;) {
      const look = await page(leader, '/readyz').catch(() => undefined);
      if (look === undefined) break;
      if (look[0] === 503) unready++;
      else expect(unready, 'ready again').to.equal(0);
    }
    const end = await command?.ended;
    expect(end?.code).to.equal(0);
    expect(unready).to.be.greaterThan(0);
    const lines = end?.stderr.split('\n').filter((line) => line.startsWith('{')) ?? [];
    const told = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 30);
    expect(told.slice(-3).map(({ msg }) => msg)).to.deep.equal([
      'asked to stop',
      'not ready any more; 1 of 1 leaderships handed over',
      'the store is closed: everything that it acknowledged is on its disk',
    ]);
    expect(told.at(-2)).to.include({ led: 1, handedOver: 1 }).and.to.have.property('ms').that.is.a('number');
    const survivors = [...nodes.keys()].filter((node) => node.startsWith('store') && node !== leader);
    const leading = await Promise.all(
      survivors.map(
        async (node) => /^troupe_store_leaders (\d+)$/m.exec((await page(node, '/metrics'))[1])?.[1],
      ),
    );
    expect(leading.toSorted()).to.deep.equal(['0', '1']);
    const put = await client(['kv', 'put', 'hello', 'again']);
    expect(put, put.stderr).to.have.property('code', 0);
  });
});

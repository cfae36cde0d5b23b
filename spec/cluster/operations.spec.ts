import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { VirtualClock } from '../../actors/virtual-clock.js';
import { parseAddress } from '../../cluster/cli/settings.js';
import { TroupeError } from '../../cluster/errors.js';
import { NodeMetrics, type OperationsServer, serveOperations } from '../../cluster/operations/index.js';
import { measuresOfRole } from '../../cluster/operations/measures.js';
import { requestLines } from '../../cluster/operations/request-lines.js';
import type { errorpb, troupepb } from '../../cluster/proto/index.js';
import { REQUEST_BOUNDS_MS, RequestTimes } from '../../cluster/store/request-times.js';
import { RegionWorld } from './region-world.js';
import { StoreWorld } from './store-world.js';

/** A scrape's families: name to type, and the sum of the samples. */
function families(page: string): Map<string, { type: string; help: string; values: number[] }> {
  const found = new Map<string, { type: string; help: string; values: number[] }>();
  for (const line of page.split('\n')) {
    const [, what, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (what === 'HELP') found.set(name, { type: '', help: rest, values: [] });
    const family = found.get(name);
    if (what === 'TYPE' && family !== undefined) family.type = rest;
    const [, sample = '', value] = /^([a-z_]+)(?:\{[^}]*\})? (\S+)$/.exec(line) ?? [];
    if (value !== undefined) found.get(sample)?.values.push(Number(value));
  }
  return found;
}

/** Without a sample until old versions have been removed for the first time. */
const UNTIL_GC = new Set(['troupe_gc_safe_point_seconds', 'troupe_txn_safe_point_seconds']);

describe('The metrics of a node', () => {
  const labels = { cluster: 'spec', node: 'store-1', role: 'store', version: '0' } as const;

  it('are named by the conventions, explained, and what a store says of itself', async () => {
    const world = await RegionWorld.start(1);
    const [store] = world.stores.values();
    if (store === undefined) throw new Error('no store');
    const metrics = new NodeMetrics(labels);
    metrics.attach(store);
    await world.until(world.db.raw.put('k', 'v'));
    const page = families(await world.until(metrics.text()));
    const own = [...page].filter(([name]) => name.startsWith('troupe_'));
    expect(own).to.have.length.greaterThan(50);
    for (const [name, { help }] of own) {
      expect(name).to.match(/^troupe_[a-z][a-z_]*[a-z]$/);
      expect(help, name).to.match(/[.]$/);
    }
    for (const [name, { type }] of page)
      if (name !== 'nodejs_version_info') expect(name.endsWith('_total'), name).to.equal(type === 'counter');
    const value = (name: string) => page.get(`troupe_${name}`)?.values[0];
    expect(value('store_peers')).to.equal(1);
    expect(value('store_leaders')).to.equal(1);
    expect(value('raft_entries_applied_total')).to.be.greaterThan(1);
    expect(value('store_written_keys_total')).to.equal(1);
    expect(value('rocksdb_memtable_bytes')).to.be.greaterThan(0);
    const silent = own.filter(([, { values, type }]) => values.length === 0 && type !== 'histogram');
    expect(silent.map(([name]) => name).filter((name) => !UNTIL_GC.has(name))).to.deep.equal([]);
    await world.close();
  });

  it('have no row that a scheduler does not say', async () => {
    const world = new StoreWorld();
    const scheduler = await world.scheduler(1);
    await world.store('store-1');
    const metrics = new NodeMetrics({ ...labels, role: 'scheduler' });
    metrics.attach(scheduler);
    const page = families(await world.until(metrics.text()));
    const silent = [...page].filter(
      ([name, { values, type }]) => name.startsWith('troupe_') && values.length === 0 && type !== 'histogram',
    );
    expect(silent.map(([name]) => name).filter((name) => !UNTIL_GC.has(name))).to.deep.equal([]);
    expect(page.get('troupe_scheduler_leads')?.values).to.deep.equal([1]);
    expect(page.get('troupe_scheduler_stores')?.values).to.deep.equal([1]);
  });

  it('say no safe point before there is one, whose age would be that of 1970', async () => {
    const now = 1_700_000_000_000;
    const measures = (numbers: Readonly<Record<string, number>>) =>
      measuresOfRole('store', () => numbers).filter(({ name }) => UNTIL_GC.has(name));
    expect(measures({})).to.have.length(2);
    for (const { read } of measures({ txnSafePoint: 0, gcSafePoint: 0 }))
      expect(await read()).to.deep.equal([]);
    for (const { read } of measures({ txnSafePoint: now, gcSafePoint: now }))
      expect(await read()).to.deep.equal([[now / 1000, {}]]);
    // 0 stores led, for all others, is a number like any other.
    const [leaders] = measuresOfRole('store', () => ({ leaders: 0 })).filter(({ name }) =>
      name.endsWith('leaders'),
    );
    expect(await leaders?.read()).to.deep.equal([[0, {}]]);
  });

  it('tell how long requests take, by kind, and how they end', async () => {
    const world = await RegionWorld.start(3);
    const key = (i: number) => `k${i}`;
    await world.until(Promise.all(Array.from({ length: 5 }, (_, i) => world.db.raw.put(key(i), 'v'))));
    await world.until(world.db.raw.get(key(0)));
    await world.until(world.db.raw.compareAndSwap(key(1), 'v', 'w'));
    const sums = new Map<string, number>();
    for (const store of world.stores.values()) {
      const metrics = new NodeMetrics(labels);
      metrics.attach(store);
      const page = await world.until(metrics.text());
      const lines = page.matchAll(/^(troupe_request(?:s_total|_duration_seconds_\w+)\{.*\}) (\S+)$/gm);
      for (const [, sample = '', value] of lines) sums.set(sample, (sums.get(sample) ?? 0) + Number(value));
    }
    const of = (sample: string) => sums.get(`troupe_request${sample}`);
    expect(of('s_total{kind="raw_write",outcome="ok"}')).to.equal(5);
    expect(of('_duration_seconds_count{kind="raw_write"}')).to.equal(5);
    expect(of('_duration_seconds_bucket{le="+Inf",kind="raw_write"}')).to.equal(5);
    expect(of('_duration_seconds_count{kind="raw_get"}')).to.equal(1);
    expect(of('_duration_seconds_count{kind="raw_cas"}')).to.equal(1);
    expect(of('_duration_seconds_count{kind="txn_get"}')).to.equal(0);
    await world.close();
  });

  it('count a batch of requests one by one, in the bucket of its time, and refusals as what they are', async () => {
    const clock = new VirtualClock();
    const times = new RequestTimes(clock);
    const since = times.now();
    await clock.advance(3);
    const put = { rawPut: {} } as troupepb.RegionRequest;
    times.answered([put, put, { rawScan: {} } as troupepb.RegionRequest], undefined, since);
    await clock.advance(60_000);
    times.answered([put], undefined, since);
    times.answered([put], { notLeader: {} } as errorpb.Error, since);
    times.answered([put], { undeterminedResult: {} } as errorpb.Error, since);
    const histogram = times.histograms().find(({ kind }) => kind === 'raw_write');
    expect(histogram?.count).to.equal(3);
    expect(histogram?.sum).to.equal(3 + 3 + 60_003);
    const at = (bound: number) => histogram?.atMost[REQUEST_BOUNDS_MS.indexOf(bound)];
    expect([at(2), at(4), at(10_000)]).to.deep.equal([0, 2, 2]);
    const ends = times.outcomes().filter(({ kind, count }) => kind === 'raw_write' && count > 0);
    expect(ends.map(({ outcome, count }) => [outcome, count])).to.deep.equal([
      ['ok', 3],
      ['not_leader', 1],
      ['undetermined', 1],
    ]);
    const page = requestLines(times);
    expect(page).to.include('troupe_request_duration_seconds_bucket{le="0.004",kind="raw_write"} 2\n');
    expect(page).to.include('troupe_request_duration_seconds_sum{kind="raw_scan"} 0.003\n');
  });

  it('are taken by one look a scrape', async () => {
    let looks = 0;
    const measures = measuresOfRole('store', () => ({ peers: ++looks }));
    const scrape = () => Promise.all(measures.map(({ read }) => read()));
    await scrape();
    expect(looks).to.equal(1);
    const again = (await scrape()).flat();
    expect(again).to.deep.equal([[2, {}]]);
  });

  it('tell in seconds how long the disk took', async () => {
    const metrics = new NodeMetrics(labels);
    metrics.written(3, 1000);
    metrics.synced(40);
    const page = await metrics.text();
    expect(page).to.include('troupe_disk_sync_duration_seconds_sum 0.04\n');
    expect(page).to.include('troupe_disk_write_duration_seconds_sum 0.003\n');
    expect(page).to.include('troupe_disk_batch_bytes_sum 1000\n');
  });
});

describe("A node's pages", () => {
  let unready: string | undefined;
  let server: OperationsServer;
  let fails = false;

  before(async () => {
    const metrics = async () => {
      if (fails) throw new Error('no numbers');
      return 'a_metric 1\n';
    };
    const contentType = 'text/plain; version=0.0.4';
    const pages = { metrics, contentType, unready: () => unready };
    server = await serveOperations({ host: '127.0.0.1', port: 0 }, pages);
  });

  after(() => server.close());

  const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
    const response = await fetch(`${server.url}${path}`, { method });
    return [response.status, await response.text()];
  };

  it('say whether it lives, and whether it serves', async () => {
    expect(await get('/healthz')).to.deep.equal([200, 'ok\n']);
    expect(await get('/readyz')).to.deep.equal([200, 'ok\n']);
    unready = 'the store is starting';
    expect(await get('/readyz')).to.deep.equal([503, 'the store is starting\n']);
    expect(await get('/healthz')).to.deep.equal([200, 'ok\n']);
  });

  it('are refused with a sentence where there is none, and for anything but a look', async () => {
    expect(await get('/')).to.deep.equal([404, '/metrics, /healthz and /readyz are served here\n']);
    expect(await get('/metrics', 'POST')).to.deep.equal([405, 'GET is all that is served here\n']);
    expect(await get('//')).to.have.property('0', 404);
  });

  it('outlive metrics that cannot be had', async () => {
    expect(await get('/metrics')).to.deep.equal([200, 'a_metric 1\n']);
    fails = true;
    expect(await get('/metrics')).to.deep.equal([500, 'no numbers\n']);
    fails = false;
    expect((await get('/metrics'))[0]).to.equal(200);
  });

  it('are there as long as the process is, and keep none', () => {
    const module = new URL('../../cluster/operations/server.js', import.meta.url);
    const program = `
      import { serveOperations } from ${JSON.stringify(module.href)};
      const pages = { metrics: async () => '', contentType: '', unready: () => 'the store is stopping' };
      const server = await serveOperations({ host: '127.0.0.1', port: 0 }, pages);
      server.serveToTheEnd();
      const { status } = await fetch(server.url + '/readyz', { headers: { connection: 'close' } });
      console.log(status);`;
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    expect({ stdout, status }).to.deep.equal({ stdout: '503\n', status: 0 });
  }).timeout(15_000);

  it('need an address that is free', async () => {
    const port = Number(new URL(server.url).port);
    const pages = { metrics: async () => '', contentType: '', unready: () => undefined };
    const error = await serveOperations({ host: '127.0.0.1', port }, pages).catch((reason) => reason);
    expect(error).to.be.instanceOf(TroupeError).with.property('code', 'conflict');
    expect(error.message).to.include(`127.0.0.1:${port} is in use`);
  });

  it('stand where an option says', () => {
    expect(parseAddress('--http', '9464')).to.deep.equal({ host: '127.0.0.1', port: 9464 });
    expect(parseAddress('--http', '0.0.0.0:80')).to.deep.equal({ host: '0.0.0.0', port: 80 });
    expect(parseAddress('--http', '[::1]:9464')).to.deep.equal({ host: '::1', port: 9464 });
    for (const wrong of ['', 'x', '70000', 'localhost', 'a b:1', ':9464', '1:2:3'])
      expect(() => parseAddress('--http', wrong), wrong).to.throw(TroupeError, 'is not an address such as');
  });
});

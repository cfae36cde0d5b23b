import { expect } from 'chai';
import { parseAddress } from '../../cluster/cli/settings.js';
import { TroupeError } from '../../cluster/errors.js';
import { NodeMetrics, type OperationsServer, serveOperations } from '../../cluster/operations/index.js';
import { measuresOfRole } from '../../cluster/operations/measures.js';
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
    for (const [name, { type, help }] of own) {
      expect(name).to.match(/^troupe_[a-z][a-z_]*[a-z]$/);
      expect(help, name).to.match(/[.]$/);
      expect(name.endsWith('_total'), name).to.equal(type === 'counter');
    }
    const value = (name: string) => page.get(`troupe_${name}`)?.values[0];
    expect(value('store_peers')).to.equal(1);
    expect(value('store_leaders')).to.equal(1);
    expect(value('raft_entries_applied_total')).to.be.greaterThan(1);
    expect(value('store_written_keys_total')).to.equal(1);
    expect(value('rocksdb_memtable_bytes')).to.be.greaterThan(0);
    const silent = own.filter(([, { values, type }]) => values.length === 0 && type !== 'histogram');
    expect(silent.map(([name]) => name)).to.deep.equal([]);
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
    expect(silent.map(([name]) => name)).to.deep.equal([]);
    expect(page.get('troupe_scheduler_leads')?.values).to.deep.equal([1]);
    expect(page.get('troupe_scheduler_stores')?.values).to.deep.equal([1]);
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

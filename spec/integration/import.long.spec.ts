import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { type ClusterStatus, connect, type Database } from '../../cluster/index.js';
import { openRocksEngine } from '../../storage/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

/** Real records beside the project, or where the variable says. */
const SOURCE = process.env.TROUPE_SPEC_RECORDS ?? resolve('../shared/data/debian-packages.ndjson.gz');

interface SourceRecord {
  readonly key: string;
  readonly value: string;
}

describe('importing real records', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;
  let db: Database;
  let source: SourceRecord[];

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    if (!existsSync(SOURCE)) skip(this, `the records are not at ${SOURCE}`);
    source = gunzipSync(readFileSync(SOURCE))
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as SourceRecord);
    place = new Workplace();
    nats = await TestNatsServer.start();
    cluster = place.start(['up', '--nats', nats.url, '--data', place.path('data')]);
    await cluster.printed(/Ctrl-C stops the cluster/);
    db = await connect({ servers: nats.url, cluster: 'demo' });
  });
  after(async () => {
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  /** Waits until the import has come to this record. */
  async function imported(number: number): Promise<void> {
    const key = source[number]?.key ?? '';
    await eventually(`record ${number} is imported`, async () => {
      const value = await db.raw.get(key, { timeout: 2000 }).catch(() => undefined);
      return value === undefined ? undefined : true;
    });
  }

  async function killLeader(): Promise<void> {
    const pid = await eventually('the region has a leader that is up', async () => {
      const status: ClusterStatus | undefined = await db.cluster.status().catch(() => undefined);
      const leader = status?.regions[0]?.leader;
      return status?.stores.find(({ id, state }) => id === leader && state === 'Up')?.pid;
    });
    process.kill(pid, 'SIGKILL');
  }

  it('comes through two crashes of the leader and a restart of nats-server', async function () {
    this.timeout(180_000);
    const running = place.start(['kv', 'import', SOURCE, '--nats', nats.url, '--json']);
    await imported(5_000);
    await killLeader();
    await imported(20_000);
    await nats.restart();
    await imported(35_000);
    await killLeader();
    const { code, stdout, stderr } = await running.ended;
    expect(code, stderr).to.equal(0);
    expect(JSON.parse(stdout)).to.include({ records: source.length });
    expect(cluster.stderr.match(/died \(SIGKILL\)/g)).to.have.length(2);
  });

  it('exports what was imported, record for record', async () => {
    const file = place.path('export.ndjson.gz');
    const { code, stderr } = await place.run([
      'kv',
      'export',
      file,
      '--prefix',
      'package/',
      '--nats',
      nats.url,
    ]);
    expect(code, stderr).to.equal(0);
    const exported = gunzipSync(readFileSync(file)).toString().trimEnd().split('\n');
    expect(exported.length).to.equal(source.length);
    for (const [index, line] of exported.entries()) {
      const { key, value } = JSON.parse(line) as SourceRecord;
      if (key !== source[index]?.key || value !== source[index]?.value)
        expect.fail(`line ${index + 1} differs: ${key}`);
    }
  });

  it('left the same data on every store', async () => {
    cluster.signal('SIGINT');
    expect((await cluster.ended).code).to.equal(0);
    const digests: { readonly keys: number; readonly digest: string }[] = [];
    for (const store of ['store-1', 'store-2', 'store-3'])
      digests.push(await digestOf(place.path('data', store)));
    expect(digests[0]?.keys).to.equal(source.length);
    expect(digests[1]).to.deep.equal(digests[0]);
    expect(digests[2]).to.deep.equal(digests[0]);
  });
});

/** Every key and value of a store's data, in order, as one hash. */
async function digestOf(path: string): Promise<{ keys: number; digest: string }> {
  const engine = await openRocksEngine({ path });
  const hash = createHash('sha256');
  let keys = 0;
  let start: Uint8Array | undefined;
  try {
    for (let more = true; more; ) {
      const page = await engine.scan('default', { limit: 1000, ...(start === undefined ? {} : { start }) });
      for (const [index, key] of page.keys.entries()) {
        hash
          .update(`${key.length} `)
          .update(key)
          .update(page.values[index] ?? new Uint8Array(0));
        keys++;
      }
      const last = page.keys.at(-1);
      more = page.more && last !== undefined;
      start = last === undefined ? undefined : Buffer.concat([last, Buffer.of(0)]);
    }
  } finally {
    await engine.close();
  }
  return { keys, digest: hash.digest('hex') };
}

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { ClusterStatus, RegionCheckReport } from '../../cluster/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

const KEYS = 30;

/** Flips a bit in every file of a directory whose name matches: in its middle, or `offset` bytes from its beginning. */
function flipBits(directory: string, files: RegExp, offset?: number): void {
  for (const name of readdirSync(directory).filter((one) => files.test(one))) {
    const path = join(directory, name);
    if (statSync(path).size === 0) continue;
    const bytes = readFileSync(path);
    const at = offset ?? Math.floor(bytes.length / 2);
    bytes[at] = (bytes[at] ?? 0) ^ 0x04;
    writeFileSync(path, bytes);
  }
}

describe('troupe store repair, to the end', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let data: string;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
  });
  beforeEach(async () => {
    place = new Workplace();
    nats = await TestNatsServer.start();
    data = place.path('data');
  });
  afterEach(async () => {
    await place?.close();
    await nats?.stop();
  });

  const troupe = (...words: string[]) => place.run([...words, '--nats', nats.url]);

  async function up(): Promise<RunningCommand> {
    const command = place.start(['up', '--nats', nats.url, '--data', data]);
    await command.printed(/Ctrl-C stops the cluster/);
    return command;
  }

  function store(name: string): RunningCommand {
    return place.start(['store', '--name', name, '--data', join(data, name), '--nats', nats.url]);
  }

  async function status(): Promise<ClusterStatus> {
    return JSON.parse((await troupe('status', '--json')).stdout) as ClusterStatus;
  }

  async function checks(): Promise<RegionCheckReport[]> {
    const { stdout } = await troupe('region', 'check', '--json');
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as RegionCheckReport);
  }

  /** All replicas of all regions are there and alike. */
  const whole = () =>
    eventually('all replicas are equal', async () => {
      const reports = await checks();
      const replicas = reports.flatMap((report) => report.replicas);
      return replicas.length === 3 && replicas.every(({ state }) => state === 'equal') ? true : undefined;
    });

  async function putAll(from: number): Promise<void> {
    const lines = Array.from({ length: KEYS }, (_, i) => ({
      key: `key-${from + i}`,
      value: `value-${from + i}`,
    }));
    const file = place.path(`rows-${from}.ndjson`);
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const { code, stderr } = await troupe('kv', 'import', file, '--timeout', '30s');
    expect(code, stderr).to.equal(0);
  }

  async function expectAll(count: number): Promise<void> {
    const { stdout } = await troupe('kv', 'scan', '--prefix', 'key-', '--json', '--timeout', '30s');
    const found = stdout.split('\n').filter((line) => line !== '');
    expect(found).to.have.length(count);
  }

  async function kill(name: string): Promise<void> {
    const found = (await status()).stores.find(({ node }) => node === name);
    process.kill(found?.pid ?? 0, 'SIGKILL');
  }

  it('brings a store back whose write-ahead file was damaged, with all that was acknowledged', async () => {
    const first = await up();
    await putAll(0);
    first.signal('SIGINT');
    await first.ended;
    flipBits(join(data, 'store-2'), /^\d+\.log$/);
    const second = await up();
    expect(second.stderr).to.match(/The others go on without store-2/);
    await putAll(KEYS);
    const repaired = await troupe(
      'store',
      'repair',
      '--name',
      'store-2',
      '--data',
      join(data, 'store-2'),
      '--yes',
    );
    expect(repaired.code, repaired.stderr).to.equal(0);
    const returned = store('store-2');
    await returned.printed(/the store serves/);
    await whole();
    await expectAll(2 * KEYS);
  });

  it('brings it back so that it counts: the others may then fail one by one', async () => {
    const first = await up();
    await putAll(0);
    first.signal('SIGINT');
    await first.ended;
    flipBits(join(data, 'store-3'), /^\d+\.log$/);
    const second = await up();
    await troupe('store', 'repair', '--name', 'store-3', '--data', join(data, 'store-3'), '--yes');
    const returned = store('store-3');
    await returned.printed(/the store serves/);
    await whole();
    await kill('store-1');
    await putAll(KEYS);
    await expectAll(2 * KEYS);
    expect(second.running).to.equal(true);
  });

  it('leaves a region alone that has no majority, and recovers when one is back', async () => {
    const first = await up();
    await putAll(0);
    first.signal('SIGINT');
    await first.ended;
    // The scheduler, one whole store and the repaired one: nobody may be elected.
    const scheduler = place.start([
      'scheduler',
      '--name',
      'scheduler-1',
      '--data',
      join(data, 'scheduler-1'),
      '--nats',
      nats.url,
    ]);
    await scheduler.printed(/the scheduler serves/);
    flipBits(join(data, 'store-2'), /^\d+\.log$/);
    const repaired = await troupe(
      'store',
      'repair',
      '--name',
      'store-2',
      '--data',
      join(data, 'store-2'),
      '--yes',
    );
    expect(repaired.code, repaired.stderr).to.equal(0);
    const recovering = store('store-2');
    const one = store('store-1');
    await Promise.all([recovering.printed(/the store serves/), one.printed(/the store serves/)]);
    const put = await troupe('kv', 'put', 'too', 'early', '--timeout', '5s');
    expect(put.code).to.be.oneOf([5, 6]);
    const three = store('store-3');
    await three.printed(/the store serves/);
    await whole();
    await expectAll(KEYS);
  });

  it('is wanted when a block is damaged while the store runs, which is noticed when it is read', async () => {
    const first = await up();
    await putAll(0);
    // Started again, what was in the write-ahead file is in tables.
    first.signal('SIGINT');
    await first.ended;
    const command = await up();
    // A table begins with its data.
    flipBits(join(data, 'store-2'), /^\d+\.sst$/, 20);
    // The check reads everything on every replica.
    // What it has read before is in its memory: started again, it reads from the disk.
    await kill('store-2');
    let told = false;
    const checking = (async () => {
      while (!told) await troupe('region', 'check', '--timeout', '5s');
    })();
    try {
      await eventually('the damage is told', async () =>
        /✘ store-2: .*(checksum|damaged)/.test(command.stderr) ? true : undefined,
      );
    } finally {
      told = true;
      await checking;
    }
    // RocksDB would open it: what was found is kept.
    const again = store('store-2');
    expect(await again.ended).to.include({ code: 1 });
    expect(again.stderr).to.match(/troupe store repair --name store-2/);
    await putAll(KEYS);
    await troupe('store', 'repair', '--name', 'store-2', '--data', join(data, 'store-2'), '--yes');
    const returned = store('store-2');
    await returned.printed(/the store serves/);
    await whole();
    await expectAll(2 * KEYS);
  });
});

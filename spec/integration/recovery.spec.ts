import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadIdentity, openRocksEngine } from '../../storage/index.js';
import { loadRepair } from '../../storage/repair-record.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { type RunningCommand, Workplace } from './command.js';

/** Flips a bit in the middle of the largest file of a directory whose name matches. Returns its name. */
function flipBit(directory: string, files: RegExp): string {
  const names = readdirSync(directory).filter((name) => files.test(name));
  names.sort((a, b) => statSync(join(directory, b)).size - statSync(join(directory, a)).size);
  const [name] = names;
  if (name === undefined) throw new Error(`${directory} has no file like ${files}`);
  const bytes = readFileSync(join(directory, name));
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 0x04;
  writeFileSync(join(directory, name), bytes);
  return name;
}

/** What a repaired directory holds. */
async function remembered(path: string) {
  const engine = await openRocksEngine({ path });
  const identity = await loadIdentity(engine);
  const repair = await loadRepair(engine);
  await engine.close();
  return { identity, watermark: repair?.watermark };
}

describe('a store whose disk is damaged', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let data: string;
  /** Data of a cluster that ran, holds some keys, and was stopped. */
  const written = new Workplace();

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    await begin();
    const command = await up();
    const pairs = Array.from({ length: 5 }, (_, i) => ({ key: `key-${i}`, value: `value-${i}` }));
    const lines = pairs.map((pair) => `${JSON.stringify(pair)}\n`).join('');
    expect((await place.run(['kv', 'import', '-', '--nats', nats.url], lines)).code).to.equal(0);
    command.signal('SIGINT');
    expect((await command.ended).code).to.equal(0);
    cpSync(data, written.directory, { recursive: true });
    await end();
  });
  beforeEach(begin);
  afterEach(end);
  after(() => written.close());

  async function begin(): Promise<void> {
    place = new Workplace();
    nats = await TestNatsServer.start();
    data = place.path('data');
  }

  async function end(): Promise<void> {
    await place?.close();
    await nats?.stop();
  }

  async function up(): Promise<RunningCommand> {
    const command = place.start(['up', '--nats', nats.url, '--data', data]);
    await command.printed(/Ctrl-C stops the cluster/);
    return command;
  }

  const troupe = (...words: string[]) => place.run([...words, '--nats', nats.url]);
  const repair = (name: string, directory: string, ...more: string[]) =>
    troupe('store', 'repair', '--name', name, '--data', directory, ...more);

  it('does not start, and says which file, what it means and what to do', async () => {
    cpSync(written.directory, data, { recursive: true });
    const directory = join(data, 'store-2');
    const file = flipBit(directory, /^\d+\.log$/);
    const { code, stdout, stderr } = await troupe('store', '--name', 'store-2', '--data', directory);
    expect([code, stdout]).to.deep.equal([1, '']);
    expect(stderr).to.include(file);
    expect(stderr).to.match(/at byte \d+/);
    expect(stderr).to.match(/none of its peers takes part until it is repaired/);
    expect(stderr).to.include(
      `troupe store repair --name store-2 --data ${directory} --cluster demo --nats ${nats.url}`,
    );
    expect(stderr).not.to.match(/rejoin with an empty one|fault of the program/);
  });

  it('is left out by `troupe up`, which says so, offers the repair and goes on with the others', async () => {
    cpSync(written.directory, data, { recursive: true });
    flipBit(join(data, 'store-2'), /^\d+\.log$/);
    const command = await up();
    expect(command.stderr).to.match(/✘ store-2: .*\.log at byte \d+/);
    expect(command.stderr).to.match(/The others go on without store-2\. Repair it/);
    const line = /troupe store repair --name store-2 --data (\S+) --cluster demo --nats \S+/.exec(
      command.stderr,
    );
    expect(line?.[1]).to.equal(join(data, 'store-2'));
    expect((await troupe('kv', 'get', 'key-3')).stdout).to.equal('value-3\n');
    expect((await troupe('kv', 'put', 'after', 'the damage')).code).to.equal(0);
    // It is not started again and again.
    expect(command.stderr).not.to.match(/store-2 died/);

    // The line works as it stands.
    const words = (line?.[0] ?? '').split(' ').slice(1);
    const { code, stderr } = await place.run([...words, '--yes']);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.match(/Store 2, "store-2": its data directory is damaged/);
    expect(stderr).to.match(/is ready: start the store/);
    const aside = readdirSync(data).filter((name) => /^store-2\.damaged-\d{8}T\d{6}Z$/.test(name));
    expect(aside).to.have.length(1);
    const first = await remembered(join(data, 'store-2'));
    expect(first.identity).to.include({ cluster: 'demo', node: 'store-2', storeId: 2 });
    expect(first.watermark).to.be.at.least(1_000);

    // A repair that was interrupted when nothing was there any more is repeated.
    rmSync(join(data, 'store-2'), { recursive: true });
    const again = await place.run([...words, '--yes']);
    expect(again.code, again.stderr).to.equal(0);
    expect(again.stderr).to.match(/is empty, or not there/);
    const second = await remembered(join(data, 'store-2'));
    expect(second.identity?.storeId).to.equal(2);
    expect(second.watermark).to.be.greaterThan(first.watermark ?? 0);
    expect(second.identity?.incarnation).to.be.greaterThan(first.identity?.incarnation ?? 0);
  });

  it('is not repaired while anything about it is in doubt, and nothing is changed then', async () => {
    const command = await up();
    await troupe('kv', 'put', 'k', 'v');
    const directory = join(data, 'store-2');
    const untouched = async (
      words: Promise<{ code: number | null; stderr: string }>,
      code: number,
      says: RegExp,
    ) => {
      const ended = await words;
      expect(ended.stderr).to.match(says);
      expect(ended.code, ended.stderr).to.equal(code);
      expect(readdirSync(data).filter((name) => name.includes('damaged'))).to.deep.equal([]);
    };
    await untouched(repair('store-2', directory), 2, /add --yes/);
    await untouched(repair('store-2', directory, '--yes'), 4, /in use by process \d+/);
    await untouched(repair('store-2', place.path('elsewhere'), '--yes'), 4, /store-2/);
    await untouched(repair('store-9', place.path('elsewhere'), '--yes'), 3, /has no store "store-9"/);
    writeFileSync(place.path('notes.txt'), 'mine');
    await untouched(repair('store-9', place.directory, '--yes'), 2, /holds no data of a store/);
    await untouched(troupe('store', 'repair', '--name', 'store-2'), 2, /--data/);
    command.signal('SIGINT');
    await command.ended;
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
    await untouched(repair('store-1', directory, '--yes'), 4, /belongs to "store-2"/);
    await untouched(repair('store-2', directory, '--yes', '--cluster', 'other'), 4, /of the cluster "demo"/);
    scheduler.signal('SIGKILL');
    await scheduler.ended;
    await untouched(repair('store-2', directory, '--yes'), 5, /No scheduler/);
  });
});

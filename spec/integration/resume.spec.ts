import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { connect, type Database } from '../../cluster/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, Workplace } from './command.js';

describe('an interrupted transfer', () => {
  const RECORDS = 150_000;
  let place: Workplace;
  let nats: TestNatsServer;
  let db: Database;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    await place.start(['up', '--stores', '1', '--nats', nats.url]).printed(/Ctrl-C stops the cluster/);
    db = await connect({ servers: nats.url, cluster: 'demo' });
  });
  after(async () => {
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  function records(prefix: string): string {
    const file = place.path(`${prefix}.ndjson`);
    const lines = Array.from({ length: RECORDS }, (_, index) =>
      JSON.stringify({ key: `${prefix}/${String(index).padStart(6, '0')}`, value: `value ${index}` }),
    );
    writeFileSync(file, `${lines.join('\n')}\n`);
    return file;
  }

  /** Starts an import and interrupts it once its first record is there. */
  async function interrupted(file: string, prefix: string): Promise<void> {
    const command = place.start(['kv', 'import', file, '--nats', nats.url]);
    await eventually('the first record is imported', () => db.raw.get(`${prefix}/000000`));
    command.signal('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code, stderr).to.equal(130);
    expect(stderr).to.match(/interrupted: [\d,]+ records were imported and stay; to go on, give --resume/);
  }

  it('goes on behind the last acknowledged line, and ends with every record', async () => {
    const file = records('a');
    await interrupted(file, 'a');
    const { code, stderr, stdout } = await place.run([
      'kv',
      'import',
      file,
      '--resume',
      '--json',
      '--nats',
      nats.url,
    ]);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.match(/resuming after line [1-9]/);
    const result = JSON.parse(stdout) as { records: number; skippedLines: number };
    expect(result.skippedLines).to.be.greaterThan(0);
    expect(result.records + result.skippedLines).to.equal(RECORDS);

    const copy = place.path('copy.ndjson');
    const exported = await place.run(['kv', 'export', copy, '--prefix', 'a/', '--nats', nats.url]);
    expect(exported.code, exported.stderr).to.equal(0);
    expect(readFileSync(copy, 'utf8') === readFileSync(file, 'utf8'), 'the copy equals the file').to.equal(
      true,
    );
  });

  it('does not go on with a file that has changed', async () => {
    const file = records('b');
    await interrupted(file, 'b');
    appendFileSync(file, '{"key":"b/more","value":""}\n');
    const { code, stderr } = await place.run(['kv', 'import', file, '--resume', '--nats', nats.url]);
    expect(code).to.equal(4);
    expect(stderr).to.match(/has changed since its import stopped/);
  });

  it('goes on with an export', async () => {
    const file = place.path('export.ndjson');
    const words = ['kv', 'export', file, '--prefix', 'a/', '--nats', nats.url];
    const command = place.start(words);
    await eventually('the export has begun', () => {
      try {
        return readFileSync(`${file}.partial`).length > 0 || undefined;
      } catch {
        return undefined;
      }
    });
    command.signal('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code, stderr).to.equal(130);
    expect(stderr).to.match(/interrupted: .*export\.ndjson\.partial: go on with --resume/);
    const resumed = await place.run([...words, '--resume']);
    expect(resumed.code, resumed.stderr).to.equal(0);
    expect(readFileSync(file, 'utf8') === readFileSync(place.path('a.ndjson'), 'utf8')).to.equal(true);
  });
});

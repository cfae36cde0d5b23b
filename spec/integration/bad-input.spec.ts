import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { connect as connectNats } from '@nats-io/transport-node';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { type Ended, eventually, type RunningCommand, Workplace } from './command.js';

describe('bad input', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    cluster = place.start(['up', '--nats', nats.url, '--data', place.path('data')]);
    await cluster.printed(/Ctrl-C stops the cluster/);
  });
  after(async () => {
    await place?.close();
    await nats?.stop();
  });

  function troupe(...words: string[]): Promise<Ended> {
    return place.run([...words, '--nats', nats.url]);
  }

  /** One sentence on standard error, nothing on standard output, no trace. */
  function expectRefusal(ended: Ended, code: number, sentence: RegExp): void {
    expect(ended.stderr).to.match(sentence);
    expect(ended.code, ended.stderr).to.equal(code);
    expect(ended.stdout).to.equal('');
    expect(ended.stderr).not.to.match(/\n {4}at |fault of the program/);
  }

  describe('on the command line', () => {
    const cases: readonly (readonly [words: string[], code: number, sentence: RegExp])[] = [
      [['kv', 'put', '', 'v'], 2, /key is empty.*1 to 4096 bytes/],
      [['kv', 'put', 'k'.repeat(4097), 'v'], 2, /4097 bytes.*1 to 4096 bytes/],
      [['kv', 'get', 'nothing'], 3, /key "nothing" not found/],
      [['kv', 'cas', 'nothing', 'a', 'b'], 4, /key "nothing" has no value: it was not changed/],
      [['kv', 'put', 'a\\q', 'v'], 2, /backslash/],
      [['kv', 'put', 'only-a-key'], 2, /missing required argument 'value'/],
      [['kv', 'gte', 'k'], 2, /unknown command 'gte'.*Did you mean get\?/],
      [['kv', 'get', 'k', '--jsn'], 2, /unknown option '--jsn'.*Did you mean --json\?/],
      [['kv', 'scan', '--limit', 'many'], 2, /--limit: "many" is not a whole number/],
      [['kv', 'delete-range', 'b', 'a'], 2, /START must come before END/],
      [['kv', 'import', '/does/not/exist'], 2, /\/does\/not\/exist cannot be read: there is no such file/],
      [['kv', 'get', 'k', '--cluster', 'a.b'], 2, /"a\.b" is not a cluster name/],
      [['region', 'split', '1', '--key', 'a', '--half'], 2, /--key, once or more often, or --half, not both/],
      [['region', 'show', '--key', ''], 2, /key is empty.*1 to 4096 bytes/],
      [['region', 'merge', '1', '1'], 2, /Region 1 cannot be merged into itself/],
      [['region', 'show', '4711'], 3, /no region 4711/],
      [['region', 'split', '4711', '--half'], 3, /no region 4711/],
      [['region', 'add-peer', '1', '4711'], 3, /no store 4711/],
      [['region', 'transfer-leader', '1', '4711'], 3, /no peer on store 4711/],
      [['up', '--stores', '0'], 2, /--stores: "0" is not a whole number/],
      [['up', '--standalone'], 2, /add --stores 1/],
    ];
    for (const [words, code, sentence] of cases) {
      it(words.join(' ').slice(0, 60), async () => expectRefusal(await troupe(...words), code, sentence));
    }

    it('a value above the entry limit', async () => {
      const ended = await place.run(['kv', 'put', 'k', '-', '--nats', nats.url], Buffer.alloc(1 << 20));
      expectRefusal(ended, 2, /1048577 bytes.*limit of 983040 bytes/);
    });
  });

  describe('in a file to import', () => {
    it('a line that is no record: its number is told, what was imported stays', async () => {
      const file = place.path('bad.ndjson');
      const lines = Array.from({ length: 1000 }, (_, index) => `{"key":"bad/${index}","value":"${index}"}`);
      writeFileSync(file, [...lines.slice(0, 600), '{"key":', ...lines.slice(600)].join('\n'));
      const ended = await troupe('kv', 'import', file);
      expectRefusal(ended, 1, /line 601 is not a record: it is not JSON/);
      expect(ended.stderr).to.match(/600 records were imported and stay\n/);
      expect((await troupe('kv', 'get', 'bad/599')).stdout).to.equal('599\n');

      writeFileSync(file, lines.join('\n'));
      expect((await troupe('kv', 'import', file)).code).to.equal(0);
      expect((await troupe('kv', 'get', 'bad/999')).stdout).to.equal('999\n');
    });

    it('a key that is too long', async () => {
      const file = place.path('long.ndjson');
      writeFileSync(file, `{"key":"fine","value":""}\n{"key":"${'k'.repeat(5000)}","value":""}\n`);
      expectRefusal(await troupe('kv', 'import', file), 1, /line 2 is not a record: .*5000 bytes/);
    });

    it('gzip that is cut off', async () => {
      const file = place.path('cut.ndjson.gz');
      const packed = gzipSync(
        Array.from({ length: 5000 }, (_, i) => `{"key":"cut/${i}","value":"${i * i}"}`).join('\n'),
      );
      writeFileSync(file, packed.subarray(0, packed.length - 100));
      expectRefusal(await troupe('kv', 'import', file), 1, /is not whole gzip/);
    });

    it('bytes that are no text', async () => {
      const ended = await place.run(
        ['kv', 'import', '-', '--nats', nats.url],
        Buffer.from([0xff, 0xfe, 0x0a]),
      );
      expectRefusal(ended, 1, /line 1 is not a record: it is not UTF-8/);
    });
  });

  describe('about nodes', () => {
    it('a data directory that another process holds', async () => {
      const ended = await troupe('store', '--name', 'store-9', '--data', place.path('data', 'store-1'));
      expectRefusal(ended, 4, /store-1|another process|in use/);
    });

    it('a live name', async () => {
      const ended = await troupe('store', '--name', 'store-1', '--data', place.path('fresh-1'));
      expectRefusal(ended, 4, /live node named store-1/);
    });

    it('a second cluster of the same name on the same NATS server', async () => {
      expectRefusal(await troupe('up', '--stores', '1'), 4, /live node named/);
    });
  });

  describe('about NATS', () => {
    it('an absent server', async () => {
      const ended = await place.run(['kv', 'get', 'k', '--nats', 'nats://127.0.0.1:1', '--timeout', '2s']);
      expectRefusal(ended, 5, /nats:\/\/127\.0\.0\.1:1/);
    });

    it('a server that refuses the credentials', async () => {
      const guarded = await TestNatsServer.start({ config: 'authorization { user: ann, password: secret }' });
      try {
        expectRefusal(await place.run(['kv', 'get', 'k', '--nats', guarded.url]), 5, /credentials|authori/i);
        const wrong = ['kv', 'get', 'k', '--nats', guarded.url, '--user', 'ann', '--password', 'wrong'];
        const ended = await place.run(wrong);
        expectRefusal(ended, 5, /credentials|authori/i);
        expect(ended.stderr).not.to.include('wrong');
      } finally {
        await guarded.stop();
      }
    });

    it('a cluster that is not there', async () => {
      expectRefusal(await troupe('kv', 'get', 'k', '--cluster', 'nobody', '--timeout', '1s'), 5, /nobody/);
    });

    it('garbage on every subject: nothing crashes and nothing is lost', async () => {
      expect((await troupe('kv', 'put', 'before', 'garbage')).code).to.equal(0);
      const connection = await connectNats({ servers: nats.url });
      for (const node of ['scheduler-1', 'store-1', 'store-2', 'store-3']) {
        for (const lane of ['peer', 'req', 'res', 'bulk']) {
          for (const size of [0, 1, 7, 64, 4096]) {
            const bytes = Uint8Array.from({ length: size }, (_, index) => (index * 197 + size) & 0xff);
            connection.publish(`troupe.demo.${lane}.${node}`, bytes);
          }
        }
      }
      await connection.flush();
      await connection.close();
      expect((await troupe('kv', 'get', 'before')).stdout).to.equal('garbage\n');
      expect(cluster.stderr).not.to.match(/died/);
    });

    it('a server that goes away: unavailable while it is gone, all there when it is back', async () => {
      expect((await troupe('kv', 'put', 'before', 'the outage')).code).to.equal(0);
      await nats.kill();
      const ended = await troupe('kv', 'get', 'before', '--timeout', '1s');
      expect(ended.code).to.equal(5);
      await nats.restart();
      await eventually('the cluster serves again', async () => {
        const { stdout } = await troupe('kv', 'get', 'before', '--timeout', '5s');
        return stdout === 'the outage\n' ? true : undefined;
      });
      expect(cluster.stderr).not.to.match(/died/);
    });
  });

  describe('about data directories', () => {
    it('one of another cluster, of another store, or empty under a known name', async () => {
      cluster.signal('SIGINT');
      await cluster.ended;
      expectRefusal(
        await troupe('up', '--cluster', 'other', '--data', place.path('data')),
        4,
        /holds cluster "demo", not "other"/,
      );
      const foreign = await troupe(
        'store',
        '--cluster',
        'other',
        '--name',
        'store-1',
        '--data',
        place.path('data', 'store-1'),
      );
      expectRefusal(foreign, 4, /belongs to the cluster "demo"/);
      const misnamed = await troupe('store', '--name', 'store-2', '--data', place.path('data', 'store-1'));
      expectRefusal(misnamed, 4, /belongs to the node "store-1"/);

      const scheduler = place.start([
        ...[
          'scheduler',
          '--name',
          'scheduler-1',
          '--data',
          place.path('data', 'scheduler-1'),
          '--nats',
          nats.url,
        ],
      ]);
      const empty = await eventually('the scheduler serves', async () => {
        const tried = await troupe('store', '--name', 'store-1', '--data', place.path('fresh-2'));
        return tried.code === 5 ? undefined : tried;
      });
      expectRefusal(empty, 4, /store-1/);
      scheduler.signal('SIGTERM');
      expect((await scheduler.ended).code).to.equal(0);
    });
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Random, realClock, seededRandom } from '../../actors/index.js';
import { connect, type Database } from '../../cluster/index.js';
import { type Engine, openRocksEngine } from '../../storage/index.js';
import { checkRegions, type MendOptions, mendRegions } from '../chaos/region-health.js';
import { compareReplicas } from '../chaos/replicas.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { type Ended, eventually, type RunningCommand, Workplace } from './command.js';
import { type Fate, killedAt } from './killed-client.js';
import { TxnClients } from './txn-clients.js';
import { TxnTrouble } from './txn-trouble.js';

const SEED = 11;
const STORES = [1, 2, 3];
const NODES = ['scheduler-1', ...STORES.map((id) => `store-${id}`)];
/** Client processes at once, and messages that the longest commit of these keys may take. */
const AT_ONCE = 6;
const MOST_MESSAGES = 40;
/** What a small transaction's locks live, and what two cores with more to do may take to clean up. */
const LOCK_TTL_MS = 3_000;
const GRACE_MS = 8_000;
/** What its last heartbeat gives to a client that took longer. */
const HEARTBEAT_TTL_MS = 8_000;
const LEAST_KILLS = 6;
const LEAST_TRANSACTIONS = 500;
const MEND_LIMIT_MS = 90_000;
/** So many of the last lines of each node, and of what happened, are printed when something fails. */
const STORY_TOLD = 60;

describe('transactions with real processes', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;
  let db: Database;
  let clients: TxnClients;
  let trouble: TxnTrouble | undefined;
  /** When the clients had begun to work. */
  let beginning = 0n;
  const story: string[] = [];
  const said = (line: string): void => void story.push(`${new Date().toISOString()} ${line}`);

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    const small = ['--region-split-size', '128KiB', '--split-check-interval', '1s'];
    cluster = place.start(['up', '--nats', nats.url, ...small, '--data', place.path('data')]);
    await cluster.printed(/Ctrl-C stops the cluster/);
    db = await connect({ servers: nats.url, cluster: 'demo' });
    await db.cluster.placement.set('gc-life-time', '1m');
    await db.cluster.placement.set('gc-interval', '10s');
    await db.cluster.splitRegion(['crash/h', 'crash/p'], { space: 'txn', timeout: 30_000 });
    clients = new TxnClients({ servers: nats.url, cluster: 'demo', random: seededRandom(SEED), said });
    await clients.start();
    await eventually('all clients are at work', () => (clients.counts.returned > 20 ? true : undefined));
    beginning = await db.cluster.timestamp();
  });
  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return;
    console.error([cluster.stdout, cluster.stderr, ...story.slice(-STORY_TOLD)].join('\n'));
    for (const node of NODES) {
      const logged = readFileSync(place.path('data', 'logs', `${node}.log`), 'utf8').trimEnd();
      console.error([`== ${node}`, ...logged.split('\n').slice(-STORY_TOLD)].join('\n'));
    }
  });
  after(async () => {
    await trouble?.stop();
    await clients?.close();
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  describe('of a client that is killed', () => {
    for (const [way, options, names] of [
      ['one phase', { onePc: true, asyncCommit: true }, ['a', 'b']],
      ['an async commit', { onePc: false, asyncCommit: true }, ['a', 'k', 't']],
      ['two phases', { onePc: false, asyncCommit: false }, ['a', 'k', 't']],
    ] as const) {
      it(`are there as a whole or not at all, and in nobody's way for longer than their locks live: ${way}`, async () => {
        const seen: string[] = [];
        const died = async (messages: number): Promise<Fate> => {
          const keys = names.map((name) => `crash/${name}/${way}/${messages}`);
          await putAll(keys, 'old');
          const errand = { servers: nats.url, cluster: 'demo', keys, value: 'new', options, messages };
          const fate = await killedAt(errand);
          const from = realClock.now();
          const read = await db.transaction((txn) => txn.batchGet(keys), { timeout: 60_000 });
          await putAll(keys, 'after');
          const took = realClock.now() - from;
          expect(took, `after message ${messages}`).below(LOCK_TTL_MS + GRACE_MS);
          const [value = '', ...others] = new Set(read.map(textOf));
          expect(others, `after message ${messages}`).deep.equal([]);
          if (fate.told === 'committed' || !fate.killed)
            expect([fate.told, value]).deep.equal(['committed', 'new']);
          seen.push(value);
          said(
            `killed at message ${messages} of ${way} (${fate.last.join()}): ${value}, ${Math.round(took)} ms`,
          );
          return fate;
        };
        for (let first = 0; ; first += AT_ONCE) {
          expect(first).below(MOST_MESSAGES);
          const fates = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => died(first + i)));
          if (fates.some(({ killed }) => !killed)) break;
        }
        // Somewhere in between it was committed, and not with its last message only.
        expect(seen.indexOf('new'), seen.join()).within(1, seen.length - 2);
      });
    }
  });

  describe('as commands', () => {
    const troupe = (...words: string[]): Promise<Ended> => place.run([...words, '--nats', nats.url]);
    const run = (operations: unknown): Promise<Ended> =>
      place.run(['txn', 'run', '-', '--json', '--nats', nats.url], JSON.stringify(operations));
    /** All that was printed; nothing was said. */
    const printed = ({ code, stdout, stderr }: Ended): string => {
      expect(code, stderr).equal(0);
      expect(stderr).equal('');
      return stdout;
    };

    it('put, get, scan and delete keys', async () => {
      expect(printed(await troupe('txn', 'put', 'user/1', 'Ann'))).equal('');
      expect(
        printed(await place.run(['txn', 'put', 'user/2', '-', '--nats', nats.url], Buffer.of(0xff, 10))),
      ).equal('');
      expect(printed(await troupe('txn', 'get', 'user/1'))).equal('Ann\n');
      expect(printed(await troupe('txn', 'get', 'user/2', '--json'))).equal(
        '{"key":"user/2","value64":"/wo="}\n',
      );
      expect(printed(await troupe('txn', 'scan', '--prefix', 'user/'))).equal(
        'user/1\tAnn\nuser/2\t\\xff\\x0a\n',
      );
      const backwards = ['txn', 'scan', '--start', 'user/', '--end', 'user0', '--reverse', '--limit', '1'];
      expect(printed(await troupe(...backwards, '--keys-only', '--json'))).equal('{"key":"user/2"}\n');
      expect(await troupe('kv', 'get', 'user/1')).include({ code: 3, stdout: '' });
      expect(printed(await troupe('txn', 'delete', 'user/1'))).equal('');
      expect(printed(await troupe('txn', 'delete', 'user/1'))).equal('');
      const gone = await troupe('txn', 'get', 'user/1', '--json');
      expect(gone).deep.equal({ code: 3, stdout: '', stderr: 'troupe: key "user/1" not found\n' });
    });

    it('run a list of operations as one transaction', async () => {
      const first = JSON.parse(
        printed(
          await run([
            { op: 'insert', key: 'acct/a', value: '5' },
            { op: 'put', key64: 'YWNjdC//', value64: '/w==' },
            { op: 'get', key: 'acct/a' },
            { op: 'get', key: 'acct/none' },
            { op: 'scan', prefix: 'acct/', keysOnly: true },
          ]),
        ),
      );
      expect(first.results).deep.equal([
        { op: 'get', key: 'acct/a', value: '5' },
        { op: 'get', key: 'acct/none', value: null },
        { op: 'scan', pairs: [{ key: 'acct/a' }, { key64: 'YWNjdC//' }] },
      ]);
      expect(BigInt(first.commitTimestamp) > BigInt(first.startTimestamp)).equal(true);

      const file = place.path('operations.json');
      writeFileSync(
        file,
        '[{"op":"get","key":"acct/a"},{"op":"get","key":"acct/none"},{"op":"scan","start":"acct/","limit":1}]',
      );
      const shown = await troupe('txn', 'run', file);
      expect(shown).deep.equal({
        code: 0,
        stdout: 'acct/a\t5\nacct/a\t5\n',
        stderr: 'troupe: key "acct/none" not found\n',
      });
      expect(JSON.parse(printed(await run([])))).include({ commitTimestamp: null });

      const there = await run([
        { op: 'put', key: 'acct/b', value: '1' },
        { op: 'insert', key: 'acct/a', value: '6' },
      ]);
      expect(there).include({ code: 4, stdout: '' });
      expect(there.stderr).match(/acct\/a/);
      expect(await troupe('txn', 'get', 'acct/b')).include({ code: 3 });
    });

    it('show the versions of a key', async () => {
      for (const value of ['one', 'two']) printed(await troupe('txn', 'put', 'versions', value));
      printed(await troupe('txn', 'delete', 'versions'));
      const { key, lock, versions, more } = JSON.parse(printed(await troupe('mvcc', 'versions', '--json')));
      expect({ key, lock, more }).deep.equal({ key: 'versions', lock: null, more: false });
      expect(versions.map(({ kind, value }: Record<string, unknown>) => [kind, value])).deep.equal([
        ['delete', undefined],
        ['put', 'two'],
        ['put', 'one'],
      ]);
      expect(printed(await troupe('mvcc', 'versions'))).match(
        /^commit +kind +start +value\n\d+ +delete +\d+ *\n/,
      );
      const none = await troupe('mvcc', 'nothing', '--json');
      expect(none).include({ code: 3, stderr: 'troupe: key "nothing" has no version\n' });
      expect(JSON.parse(none.stdout)).deep.equal({ key: 'nothing', lock: null, versions: [], more: false });
    });

    it('collect garbage, and tell how far', async () => {
      const before = JSON.parse(printed(await troupe('gc', 'safe-point', '--json')));
      const run = JSON.parse(printed(await troupe('gc', 'run', '--json', '--timeout', '60s')));
      expect(run).include({ round: null });
      expect(run.last).include({ failure: null });
      expect(BigInt(run.gcSafePoint) >= BigInt(before.gcSafePoint)).equal(true);
      const status = JSON.parse(printed(await troupe('gc', 'status', '--json')));
      expect(BigInt(status.gcSafePoint) >= BigInt(run.gcSafePoint)).equal(true);
      expect(printed(await troupe('gc', 'status'))).match(/^collector +\S[\s\S]*^GC safe point +\d+/m);
      expect(BigInt(printed(await troupe('gc', 'safe-point'))) >= BigInt(run.gcSafePoint)).equal(true);
      expect(JSON.parse(printed(await troupe('gc', 'pause', '--json')))).include({ state: 'paused' });
      const paused = await troupe('gc', 'run');
      expect(paused).include({ code: 4, stdout: '' });
      expect(paused.stderr).match(/troupe gc resume/);
      expect(JSON.parse(printed(await troupe('gc', 'resume', '--json'))).state).not.equal('paused');
    });

    const bad: readonly (readonly [words: string[], code: number, sentence: RegExp, input?: string])[] = [
      [['txn', 'get', ''], 2, /key is empty.*1 to 4096 bytes/],
      [['txn', 'put', 'k'.repeat(4097), 'v'], 2, /4097 bytes.*1 to 4096 bytes/],
      [['txn', 'put', 'k', '-'], 2, /entry limit/, 'v'.repeat(1 << 20)],
      [['txn', 'put', 'a\\q', 'v'], 2, /backslash/],
      [['txn', 'put', 'only-a-key'], 2, /missing required argument 'value'/],
      [['txn', 'get', 'k', '--timeout', 'soon'], 2, /--timeout: "soon"/],
      [['txn', 'gte', 'k'], 2, /unknown command 'gte'.*Did you mean get\?/],
      [['txn', 'scan', '--limit', 'many'], 2, /--limit: "many" is not a whole number/],
      [['txn', 'scan', '--prefix', 'a', '--start', 'b'], 2, /--prefix, or --start and --end, not both/],
      [['txn', 'run', '/does/not/exist'], 2, /\/does\/not\/exist cannot be read: there is no such file/],
      [['txn', 'run', '-'], 2, /the operations are not JSON/, '[{"op":'],
      [['txn', 'run', '-'], 2, /not JSON/, ''],
      [
        ['txn', 'run', '-'],
        2,
        /operation 2: there is no op "gte".*Did you mean get\?/,
        '[{"op":"get","key":"a"},{"op":"gte"}]',
      ],
      [['txn', 'run', '-'], 2, /key is empty/, '[{"op":"put","key":"","value":""}]'],
      [['mvcc', ''], 2, /key is empty.*1 to 4096 bytes/],
      [['mvcc', 'nothing'], 3, /key "nothing" has no version/],
      [['gc', 'rnu'], 2, /unknown command 'rnu'.*Did you mean run\?/],
      [['gc', 'run', 'now'], 2, /too many arguments/],
      [['scheduler', 'config', 'gc-life-time', '1s'], 2, /gc-life-time.*1m/],
      [['gc', 'status', '--cluster', 'nobody', '--timeout', '1s'], 5, /nobody/],
      [['txn', 'put', 'k', 'v', '--cluster', 'nobody', '--timeout', '1s'], 5, /nobody/],
    ];
    for (const [words, code, sentence, input] of bad) {
      const shown = [...words.map((word) => word || "''"), ...(input === undefined ? [] : ['<', input])].join(
        ' ',
      );
      it(`refuse ${shown.slice(0, 80)}`, async () => {
        const ended = await place.run([...words, '--nats', nats.url], input);
        expect(ended.stderr).match(sentence);
        expect(ended.code, ended.stderr).equal(code);
        expect(ended.stdout).equal('');
        expect(ended.stderr).not.match(/\n {4}at |fault of the program/);
      });
    }
  });

  describe('while nodes and clients die, regions change and garbage is collected', () => {
    it('go on', async function () {
      this.timeout(300_000);
      clients.becomeMortal();
      const storm = new TxnTrouble({ db, seed: SEED, key: workloadKey, said });
      trouble = storm;
      storm.start();
      // Not before versions of the workload itself were removed under it.
      await eventually('enough has happened', async () => {
        const enough =
          storm.undone.length === 0 &&
          storm.kills.store + storm.kills.scheduler >= LEAST_KILLS &&
          storm.kills.store > 0 &&
          storm.kills.scheduler > 0 &&
          clients.counts.deaths >= 3 &&
          clients.counts.returned > LEAST_TRANSACTIONS &&
          clients.workload.banked > LEAST_TRANSACTIONS / 10;
        if (!enough) return undefined;
        const gc = await db.cluster.gc.status().catch(() => undefined);
        return BigInt(gc?.gcSafePoint ?? 0) > beginning ? true : undefined;
      });
      await storm.stop();
      said(JSON.stringify([clients.counts, storm.kills, storm.rounds, storm.acts.counts]));
      expect(storm.faults, story.join('\n')).deep.equal([]);
      expect(storm.rounds).above(0);
    });

    it('keep snapshot isolation, and the money', async function () {
      this.timeout(200_000);
      const verdict = await clients.stop(60_000 + HEARTBEAT_TTL_MS);
      const told = [...verdict.violations.slice(0, 5), verdict.evidence.slice(0, 4_000)].join('\n');
      expect(verdict.violations, told).deep.equal([]);
      expect(verdict.isolation.dependencies).above(LEAST_TRANSACTIONS / 5);
    });

    it('leave no lock behind that nobody can resolve, and no garbage', async function () {
      this.timeout(200_000);
      const keys = [...clients.workload.lists.keys(), ...accounts()];
      const from = realClock.now();
      await db.transaction((txn) => txn.lock(...keys), { timeout: 90_000 });
      expect(realClock.now() - from).below(HEARTBEAT_TTL_MS + GRACE_MS);
      for (const key of keys) {
        await eventually(`${key} is clean`, async () => {
          const { gcSafePoint } = await db.cluster.gc.status();
          const { lock, versions } = await db.versions(key);
          const old = versions.filter(({ commitTimestamp }) => commitTimestamp <= BigInt(gcSafePoint));
          return lock === undefined && old.length <= 1 ? true : undefined;
        });
      }
    });

    it('leave regions that are whole, and the same on each store', async function () {
      this.timeout(2 * MEND_LIMIT_MS + 10_000);
      const mending = (): MendOptions => {
        const { now } = realClock;
        return { cluster: db.cluster, stores: STORES, now, deadline: now() + MEND_LIMIT_MS };
      };
      await mendRegions(mending());
      await checkRegions(mending());
    });

    it('leave nothing else on any disk', async () => {
      const final = await db.cluster.regions();
      cluster.signal('SIGINT');
      expect((await cluster.ended).code).equal(0);
      const engines = new Map<string, Engine>();
      try {
        for (const store of STORES.map((id) => `store-${id}`))
          engines.set(store, await openRocksEngine({ path: place.path('data', store) }));
        expect((await compareReplicas(engines, final)).differences).deep.equal([]);
      } finally {
        for (const engine of engines.values()) await engine.close();
      }
    });
  });

  async function putAll(keys: readonly string[], value: string): Promise<void> {
    await db.transaction(
      (txn) => {
        for (const key of keys) txn.put(key, value);
      },
      { timeout: 60_000 },
    );
  }
});

const ACCOUNTS = 6;

function accounts(): string[] {
  return Array.from({ length: ACCOUNTS }, (_, i) => `bank/${i}`);
}

/** A key of the workload, or one near it. */
function workloadKey(random: Random): string {
  const [place, turn] = [Math.floor(5 * random()), Math.floor(30 * random())];
  return random() < 0.3 ? `bank/${place}` : `list/${place}/${Math.floor(turn / 3)}/${turn}`;
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : Buffer.from(bytes).toString();
}

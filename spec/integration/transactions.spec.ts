import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Random, realClock, seededRandom } from '../../actors/index.js';
import { connect, type Database } from '../../cluster/index.js';
import { type Engine, openRocksEngine } from '../../storage/index.js';
import { checkRegions, type MendOptions, mendRegions } from '../chaos/region-health.js';
import { compareReplicas } from '../chaos/replicas.js';
import type { IsolationVerdict } from '../isolation/workload.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';
import { type Fate, killedAt } from './killed-client.js';
import { TxnClients } from './txn-clients.js';
import { TxnTrouble } from './txn-trouble.js';

const SEED = 11;
const STORES = [1, 2, 3];
const NODES = ['scheduler-1', ...STORES.map((id) => `store-${id}`)];
/** Client processes at once, and messages that the longest commit of these keys may take. */
const AT_ONCE = 4;
const MOST_MESSAGES = 40;
/** What a small transaction's locks live, and what two cores with more to do may take to clean up. */
const LOCK_TTL_MS = 3_000;
const GRACE_MS = 8_000;
/** What its last heartbeat gives to a client that took longer. */
const HEARTBEAT_TTL_MS = 20_000;
const LEAST_KILLS = 6;
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
    this.timeout(60_000);
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
      it(`are there as a whole or not at all, and in nobody's way for longer than their locks live: ${way}`, async function () {
        this.timeout(120_000);
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

  describe('while nodes and clients die, regions change and garbage is collected', () => {
    let verdict: IsolationVerdict;

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
          clients.counts.deaths >= 3;
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
      verdict = await clients.stop(60_000 + HEARTBEAT_TTL_MS);
      expect(verdict.violations, verdict.evidence.slice(0, 4_000)).deep.equal([]);
      expect(verdict.isolation.dependencies).above(200);
      expect(clients.counts.returned).above(300);
      expect(clients.workload.banked).above(50);
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

    it('leave nothing else on any disk', async function () {
      this.timeout(60_000);
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

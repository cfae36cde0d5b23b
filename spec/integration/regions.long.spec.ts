import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { type Random, realClock, seededRandom } from '../../actors/index.js';
import { connect, type Database, type RegionInfo } from '../../cluster/index.js';
import { type Engine, openRocksEngine } from '../../storage/index.js';
import { firstRawKey, type RegionAct, RegionActs } from '../chaos/region-acts.js';
import { checkRegions, type MendOptions, mendRegions } from '../chaos/region-health.js';
import { compareReplicas } from '../chaos/replicas.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

/** Real records beside the project, or where the variable says: 20 MiB. */
const SOURCE = process.env.TROUPE_SPEC_RECORDS ?? resolve('../shared/data/debian-packages.ndjson.gz');
const SEED = 3;
const STORES = [1, 2, 3, 4];
/** The file comes in so many parts, each when another act on a region has ended. */
const PARTS = 40;
const LEAST_KILLS = 6;
/** Acts that must be done at least once, and how often one that was not is preferred to a random one. */
const WANTED: readonly RegionAct[] = ['merge', 'move', 'split', 'transfer'];
const INSISTENCE = 0.5;
/** What the size of the records and of regions comes to: acts split and merge beside that. */
const REGIONS = 80;
const MEND_LIMIT_MS = 90_000;
/** So many of the last lines of each node, and of what happened, are printed when something fails. */
const STORY_TOLD = 60;

describe('regions of real records', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;
  let db: Database;
  let trouble: Trouble;
  let lines: string[];
  let final: readonly RegionInfo[];

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    if (!existsSync(SOURCE)) skip(this, `the records are not at ${SOURCE}`);
    lines = gunzipSync(readFileSync(SOURCE)).toString().trimEnd().split('\n');
    place = new Workplace();
    nats = await TestNatsServer.start();
    const small = ['--region-split-size', '256KiB', '--split-check-interval', '1s'];
    cluster = place.start([
      'up',
      '--nats',
      nats.url,
      '--stores',
      '4',
      '--halt-scheduling',
      ...small,
      '--data',
      place.path('data'),
    ]);
    await cluster.printed(/Ctrl-C stops the cluster/);
    db = await connect({ servers: nats.url, cluster: 'demo' });
    trouble = new Trouble(db, lines);
  });
  afterEach(function () {
    if (this.currentTest?.state !== 'failed') return;
    console.error([cluster.stdout, cluster.stderr, ...trouble.story.slice(-STORY_TOLD)].join('\n'));
    for (const node of ['scheduler-1', ...STORES.map((id) => `store-${id}`)]) {
      const logged = readFileSync(place.path('data', 'logs', `${node}.log`), 'utf8').trimEnd();
      console.error([`== ${node}`, ...logged.split('\n').slice(-STORY_TOLD)].join('\n'));
    }
  });
  after(async () => {
    await trouble?.stop();
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  it('are imported while regions split, merge and move, and stores are killed', async function () {
    this.timeout(300_000);
    trouble.start();
    const running = place.start(['kv', 'import', '-', '--json', '--timeout', '60s', '--nats', nats.url]);
    for (let part = 0; part < PARTS && running.running; part++) {
      const [from, to] = [part, part + 1].map((n) => Math.floor((n * lines.length) / PARTS));
      running.write(`${lines.slice(from, to).join('\n')}\n`);
      await trouble.another('act');
    }
    while (running.running && trouble.kills < LEAST_KILLS) await trouble.another('kill');
    while (trouble.undone.length > 0) await trouble.another('act');
    running.end();
    const { code, stdout, stderr } = await running.ended;
    expect(code, stderr).to.equal(0);
    expect(JSON.parse(stdout)).to.include({ records: lines.length });
    expect(trouble.kills).least(LEAST_KILLS);
  });

  it('are exported meanwhile, record for record', async function () {
    this.timeout(200_000);
    const enough = trouble.kills + 2;
    do {
      const { code, stdout, stderr } = await place.run([
        'kv',
        'export',
        '--prefix',
        'package/',
        '--timeout',
        '60s',
        '--nats',
        nats.url,
      ]);
      expect(code, stderr).to.equal(0);
      expectSameRecords(stdout.trimEnd().split('\n'), lines);
    } while (trouble.kills < enough);
    await trouble.stop();
    expect(trouble.faults, trouble.story.join('\n')).deep.equal([]);
  });

  it('lie in regions that are whole, and the same on each store', async function () {
    this.timeout(2 * MEND_LIMIT_MS + 10_000);
    const mending = (): MendOptions => {
      const { now } = realClock;
      return { cluster: db.cluster, stores: STORES, now, deadline: now() + MEND_LIMIT_MS };
    };
    const regions = await mendRegions(mending());
    expect(regions.length).within(REGIONS / 2, REGIONS * 1.5);
    await checkRegions(mending());
  });

  it('are moved about by every command that there is', async function () {
    this.timeout(200_000);
    const troupe = async (...words: readonly (string | number)[]): Promise<RegionInfo[]> => {
      const command = ['region', ...words.map(String), '--json', '--timeout', '60s', '--nats', nats.url];
      const { code, stdout, stderr } = await place.run(command);
      expect(code, `${command.join(' ')}\n${stderr}`).to.equal(0);
      return stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as RegionInfo);
    };
    const voters = ({ peers }: RegionInfo | undefined = nothing()): number[] =>
      peers.filter(({ role }) => role === 'voter').map(({ store }) => store);

    const before = await troupe('list');
    const { id } =
      before.find(({ peers, approximateKeys }) => peers.length === 3 && approximateKeys > 100) ?? nothing();
    const [left, right] = await troupe('split', id, '--half');
    expect(right?.id).to.equal(id);
    expect(left?.end).to.equal(right?.start);
    const sibling = left?.id ?? 0;
    const [shown] = await troupe('show', id);
    expect(shown?.start).to.equal(right?.start);
    const [one = 0, two = 0, three = 0] = voters(shown);
    const four = STORES.find((store) => !voters(shown).includes(store)) ?? 0;

    const [learning] = await troupe('add-learner', id, four);
    expect(learning?.peers).to.deep.include({ ...learning?.peers.at(-1), store: four, role: 'learner' });
    expect(voters((await troupe('promote', id, four))[0])).to.have.members(STORES);
    expect(voters((await troupe('remove-peer', id, one))[0])).to.have.members([two, three, four]);
    expect(voters((await troupe('add-peer', id, one))[0])).to.have.members(STORES);
    expect(voters((await troupe('remove-peer', id, two))[0])).to.have.members([one, three, four]);
    expect((await troupe('transfer-leader', id, four))[0]?.leader).to.equal(four);
    expect(voters((await troupe('move', id, four, two))[0])).to.have.members([one, two, three]);

    const [merged] = await troupe('merge', sibling, id);
    expect(merged).to.include({ id, start: left?.start, end: right?.end });
    expect(await troupe('list')).to.have.length(before.length);
    final = await db.cluster.regions();
  });

  it('left nothing else on any disk', async () => {
    cluster.signal('SIGINT');
    expect((await cluster.ended).code).to.equal(0);
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

/** Random acts on regions, and stores that are killed, until it is stopped. */
class Trouble {
  readonly acts: RegionActs;
  /** What happened, in lines. */
  readonly story: string[] = [];
  readonly faults: string[] = [];
  kills = 0;
  readonly #db: Database;
  readonly #random = seededRandom(SEED);
  readonly #ended: Record<'act' | 'kill', number> = { act: 0, kill: 0 };
  #stopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(db: Database, lines: readonly string[]) {
    this.#db = db;
    this.acts = new RegionActs({
      cluster: db.cluster,
      firstKey: firstRawKey(db.raw),
      clock: realClock,
      key: (random) => recordKey(lines, random),
      mostRegions: REGIONS,
      began: (act, sentence) => this.#began(act, sentence),
    });
  }

  start(): void {
    this.#running = Promise.all([this.#act(), this.#act(), this.#kill()]);
  }

  /** What was to be done at least once and was not yet. */
  get undone(): RegionAct[] {
    return WANTED.filter((act) => this.acts.counts[act].done === 0);
  }

  /** Resolves when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Waits until another act has ended, or another store that was killed is up again. */
  async another(what: 'act' | 'kill'): Promise<void> {
    const seen = this.#ended[what];
    await eventually(`another ${what} has ended`, () => (this.#ended[what] > seen ? true : undefined));
  }

  async #act(): Promise<void> {
    while (!this.#stopped) {
      const [undone] = this.#random() < INSISTENCE ? this.undone : [];
      await this.acts.one(this.#random, undone).catch((error: unknown) => this.faults.push(String(error)));
      // Where there was nothing to do it with, the stores have a turn all the same.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #kill(): Promise<void> {
    while (!this.#stopped) {
      // A second one at once would take a majority from regions that the first one has left without a leader.
      const store = await eventually('everything is up', async () => {
        const { stores = [], regions = [] } = (await this.#db.cluster.status().catch(() => undefined)) ?? {};
        const whole =
          stores.every(({ state, pid }) => state === 'Up' && pid > 0) &&
          regions.every(({ leader }) => leader !== null);
        return whole ? stores[Math.floor(this.#random() * stores.length)] : undefined;
      });
      process.kill(store.pid, 'SIGKILL');
      this.kills++;
      this.story.push(`${store.node} is killed`);
      await eventually(`${store.node} is back`, async () =>
        (await this.#stores()).find(
          ({ id, pid, state }) => id === store.id && pid !== store.pid && state === 'Up',
        ),
      );
      this.#ended.kill++;
    }
  }

  async #stores() {
    return (await this.#db.cluster.status().catch(() => undefined))?.stores ?? [];
  }

  #began(act: RegionAct, sentence: string): ReturnType<ConstructorParameters<typeof RegionActs>[0]['began']> {
    this.story.push(sentence);
    return (fate, how) => {
      this.story.push(`${act}: ${sentence}: ${fate} ${how}`);
      this.#ended.act++;
    };
  }
}

/** A key of the source, or one behind it. */
function recordKey(lines: readonly string[], random: Random): string {
  const line = lines[Math.floor(random() * lines.length)] ?? '';
  return `${keyOf(line)}${random() < 0.5 ? '' : '!'}`;
}

function keyOf(line: string): string {
  return (JSON.parse(line) as { readonly key: string }).key;
}

function expectSameRecords(exported: readonly string[], source: readonly string[]): void {
  expect(exported.length).to.equal(source.length);
  for (const [index, line] of exported.entries()) {
    const other = source[index] ?? '';
    if (line !== other && JSON.stringify(JSON.parse(line)) !== JSON.stringify(JSON.parse(other)))
      expect.fail(`line ${index + 1} differs: ${keyOf(line)}`);
  }
}

function nothing(): never {
  throw new Error('there is none');
}

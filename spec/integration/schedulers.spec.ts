import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { ActorSystem, natsTransport, realClock } from '../../actors/index.js';
import { type ClusterStatus, connect, type Database } from '../../cluster/index.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import { codecs } from '../../cluster/protocol.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { eventually, type RunningCommand, Workplace } from './command.js';

const NAMES = ['scheduler-1', 'scheduler-2', 'scheduler-3'];
/** Milliseconds: 20 ticks of 100 ms each. */
const ELECTION_TIMEOUT = 2_000;
const KILLS = 4;
const WRITERS = 8;
/** Milliseconds between two splits. */
const SPLIT_INTERVAL = 250;
const LEAST_SPLITS = 6;

describe('three schedulers', function () {
  this.timeout(180_000);
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;
  let db: Database;
  let system: ActorSystem;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    cluster = place.start(['up', '--schedulers', '3', '--nats', nats.url, '--data', place.path('data')]);
    await cluster.printed(/Ctrl-C stops the cluster/);
    db = await connect({ servers: nats.url, cluster: 'demo', schedulers: NAMES });
    system = await ActorSystem.start({
      cluster: 'demo',
      node: 'probe',
      role: 'server',
      transport: natsTransport({ servers: [nats.url] }),
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
  });
  after(async () => {
    await system?.close();
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  const client = () =>
    new SchedulerClient({
      system,
      cluster: 'demo',
      schedulers: NAMES,
      clock: realClock,
      random: Math.random,
    });

  /** Once all three answer. */
  const whole = (): Promise<ClusterStatus> =>
    eventually('three schedulers answer, and one leads', async () => {
      const status = await db.cluster.status();
      const { schedulers } = status;
      const up = schedulers.length === 3 && schedulers.every(({ state }) => state === 'Up');
      return up && schedulers.filter(({ leader }) => leader).length === 1 ? status : undefined;
    });

  it('route regions and hand out ids within two election timeouts whenever their leader is killed', async () => {
    const acknowledged = new Map<string, string>();
    const ids = new Set<number>();
    let over = false;
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      for (let n = 0; !over; n++) {
        const key = `k${String(n % 500).padStart(3, '0')}/${writer}`;
        await db.raw.put(key, `${n}`, { timeout: 20_000 });
        acknowledged.set(key, `${n}`);
        expect(Buffer.from((await db.raw.get(key, { timeout: 20_000 })) ?? []).toString()).to.equal(`${n}`);
      }
    });
    let splits = 0;
    const splitting = (async () => {
      for (let n = 0; !over || splits < LEAST_SPLITS; n++) {
        await new Promise((resolve) => setTimeout(resolve, SPLIT_INTERVAL));
        // One that is lost with a scheduler, or comes twice, is none that anybody waits for.
        await db.cluster.splitRegion(`k${String((n * 137) % 500).padStart(3, '0')}`).then(
          () => splits++,
          () => {},
        );
      }
    })();
    const take = async (from: SchedulerClient) => {
      const first = await from.allocIds(400);
      for (let id = first; id < first + 400; id++) {
        expect(ids.has(id), `id ${id} a second time`).to.equal(false);
        ids.add(id);
      }
    };
    const took: number[] = [];
    const told: number[] = [];
    const known = client();
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        const { schedulers } = await whole();
        await take(known);
        const leader = schedulers.find((one) => one.leader);
        process.kill(leader?.pid ?? 0, 'SIGKILL');
        const from = Date.now();
        const fresh = client();
        await Promise.all([
          take(known),
          take(fresh),
          known.getRegion(Buffer.from('rk100')),
          fresh.getRegion(Buffer.from('rk400')),
        ]);
        took.push(Date.now() - from);
        fresh.close();
        // What is not replicated the new one asks of the stores at once.
        const { regions } = await eventually('every region has a leader again', async () => {
          const status = await db.cluster.status();
          return status.regions.every((one) => one.leader !== null) ? status : undefined;
        });
        told.push(Date.now() - from);
        expect(regions.length).to.be.greaterThan(0);
      }
    } finally {
      over = true;
      await Promise.all([...writers, splitting]);
      known.close();
    }

    expect(Math.max(...took), `milliseconds: ${took.join(', ')}`).to.be.below(2 * ELECTION_TIMEOUT);
    expect(Math.max(...told), `milliseconds: ${told.join(', ')}`).to.be.below(3 * ELECTION_TIMEOUT);
    for (const [key, value] of acknowledged) {
      expect(Buffer.from((await db.raw.get(key)) ?? []).toString(), key).to.equal(value);
    }
    const { regions, stores } = await whole();
    expect(stores).to.have.length(3);
    expect(regions.length).to.be.greaterThan(LEAST_SPLITS);
    const used = regions.flatMap(({ id, peers }) => [id, ...peers.map((peer) => peer.id)]);
    expect(new Set(used).size).to.equal(used.length);
    for (const id of used) expect(ids.has(id), `id ${id} given twice`).to.equal(false);
  });

  it('show themselves, keep their number, and take back one that has lost its directory', async () => {
    const lines = [...cluster.stdout.matchAll(/^ {2}.*?((?:kv|status) .*)$/gm)].map(
      (match) => match[1] ?? '',
    );
    expect(lines).to.have.length(3);
    for (const line of lines) {
      const { code, stdout, stderr } = await place.run(line.split(' '));
      expect(code, stderr).to.equal(0);
      if (!line.startsWith('status')) continue;
      for (const name of NAMES) expect(stdout).to.match(new RegExp(`^${name} +\\d+ +Up +(yes|no)$`, 'm'));
      expect(stdout.match(/Up +yes$/gm)).to.have.length(1);
    }
    cluster.signal('SIGINT');
    await cluster.ended;

    const up = (...words: string[]) => ['up', '--nats', nats.url, '--data', place.path('data'), ...words];
    const fewer = await place.run(up('--schedulers', '1'));
    expect(fewer.code).to.equal(4);
    expect(fewer.stderr).to.match(/was made with --schedulers 3, which is fixed for the cluster's life/);

    rmSync(place.path('data', 'scheduler-2'), { recursive: true });
    const again = place.start(up('--rejoin', 'scheduler-2'));
    await again.printed(/Ctrl-C stops the cluster/);
    await whole();
    expect((await place.run(['kv', 'get', 'hello', '--nats', nats.url])).stdout).to.equal('world\n');
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { natsTransport, realClock, seededRandom } from '../../actors/index.js';
import { openRocksEngine } from '../../storage/index.js';
import { until } from '../actors/fixtures.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { regionOn, SnapshotStore, someValues } from './snapshots-world.js';

const describeNats = hasNatsServer() ? describe : describe.skip;
const REGION = regionOn(1, [1, 2]);

describeNats('snapshots between stores on RocksDB, by a real nats-server', () => {
  let server: TestNatsServer;
  let directory: string;
  const stores: SnapshotStore[] = [];

  beforeEach(async () => {
    server = await TestNatsServer.start();
    directory = await mkdtemp(join(tmpdir(), 'troupe-snapshots-'));
  });

  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });

  async function start(id: number): Promise<SnapshotStore> {
    const store = await SnapshotStore.start({
      id,
      clock: realClock,
      random: seededRandom(id),
      transport: natsTransport({ servers: server.url, reconnectWait: 50, reconnectJitter: 10 }),
      incarnation: 1,
      engine: await openRocksEngine({ path: join(directory, `store-${id}`) }),
    });
    stores.push(store);
    return store;
  }

  it('arrive, though the server is killed on the way', async () => {
    const sender = await start(1);
    const receiver = await start(2);
    await sender.makeRegion(REGION, 10, someValues(seededRandom(3), 4_000));
    const sending = await sender.send(REGION, 102);
    if (sending === undefined) throw new Error('no snapshot could be taken');
    await until(() => receiver.snapshots.counters.chunksReceived > 50, 'some chunks');
    await server.kill();
    await sender.put(REGION, 11, 'key 000007', Buffer.from('written meanwhile'));
    await server.restart();
    await until(() => sending.reports.length > 0, 'the report', 30_000);
    await until(() => receiver.installed.length > 0, 'the installation', 30_000);
    expect(sending.reports).to.deep.equal([true]);
    expect(receiver.failure).to.equal(undefined);
    expect(await receiver.hashOf(REGION)).to.equal(sending.hash);
    expect(sender.snapshots.counters.chunksResent).to.be.below(64);
    for (const store of [sender, receiver]) {
      await until(() => store.snapshots.held.transfers === 0, 'the end');
      expect(await store.leftovers()).to.deep.equal([]);
    }
  }).timeout(60_000);
});

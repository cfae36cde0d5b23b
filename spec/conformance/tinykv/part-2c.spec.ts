import { expect } from 'chai';
import { hasNatsServer } from '../../nats-server.js';
import { skip } from '../../skip.js';
import { ON_REAL_GROUND, type TestCluster, withCluster } from './cluster.js';
import { genericTest, must, type Trouble } from './generic-test.js';
import { mustHaveShortLogs } from './stored-regions.js';

/** Rounds of put and scan of all clients together that each test must get through at least. */
const ENOUGH = { puts: 100, scans: 100 };

const generic: Readonly<Record<string, Trouble>> = {
  TestSnapshotRecover2C: { clients: 1, crash: true, logLimit: 100 },
  TestSnapshotRecoverManyClients2C: { clients: 20, crash: true, logLimit: 100 },
  TestSnapshotUnreliable2C: { clients: 5, unreliable: true, logLimit: 100 },
  TestSnapshotUnreliableRecover2C: { clients: 5, unreliable: true, crash: true, logLimit: 100 },
  TestSnapshotUnreliableRecoverConcurrentPartition2C: {
    clients: 5,
    unreliable: true,
    partitions: true,
    crash: true,
    logLimit: 100,
  },
};

const ground = ON_REAL_GROUND
  ? 'over a nats-server and RocksDB, where stores are stopped and links are cut in their transport'
  : 'on virtual time, where stores lose their power with what they had not synced';

describe(`TinyKV part 2C ${ground}`, () => {
  before(function () {
    if (ON_REAL_GROUND && !hasNatsServer()) skip(this, 'no nats-server is installed');
  });

  it('TestOneSnapshot2C', () => withCluster(300, oneSnapshot, { stores: 3, logLimit: 10 }));

  Object.entries(generic).forEach(([title, trouble], i) => {
    it(title, async () => {
      const { puts, scans } = await genericTest(200 + i, trouble);
      expect(puts).at.least(ENOUGH.puts);
      expect(scans).at.least(ENOUGH.scans);
    });
  });
});

/** A store that was cut off gets, by snapshot, what was put and what was deleted meanwhile. */
async function oneSnapshot(cluster: TestCluster): Promise<void> {
  const cf = 'lock';
  const client = await cluster.connect();
  const { raw } = client;
  const put = (key: string, value: string): Promise<void> =>
    must(cluster, (timeout) => raw.put(key, value, { cf, timeout }));
  const get = async (key: string): Promise<string | undefined> => {
    const value = await must(cluster, (timeout) => raw.get(key, { cf, timeout }));
    return value && Buffer.from(value).toString();
  };
  for (const store of cluster.stores) expect((await cluster.log(store)).truncated).equals(5);
  await put('k1', 'v1');
  await put('k2', 'v2');
  const [first, ...others] = cluster.stores;
  if (first === undefined) throw new Error('there is no store');
  for (const store of cluster.stores) await cluster.mustHave(store, 'k1', 'v1', cf);
  for (const store of cluster.stores) await cluster.mustHave(store, 'k2', 'v2', cf);

  cluster.links.partition(others.map(({ name }) => name));
  for (let i = 100; i < 115; i++) await put(`k${i}`, `v${i}`);
  await must(cluster, (timeout) => raw.delete('k2', { cf, timeout }));
  // Cut off for longer than followers count as live: the log is not kept for it.
  await cluster.sleep(2_000);
  await put('k115', 'v115');
  expect(await cluster.stored(first, 'k100', cf)).equals(undefined);
  const missed = (await cluster.log(first)).applied;
  cluster.links.heal();

  await cluster.mustHave(first, 'k1', 'v1', cf);
  await cluster.mustHave(first, 'k100', 'v100', cf);
  await cluster.mustHave(first, 'k2', undefined, cf);
  expect(await get('k100')).equals('v100');
  expect((await cluster.log(first)).truncated, 'its log begins behind a snapshot').greaterThan(missed);

  await cluster.restart(first);
  await cluster.mustHave(first, 'k1', 'v1', cf);
  await cluster.mustHave(first, 'k100', 'v100', cf);
  await cluster.mustHave(first, 'k2', undefined, cf);
  await mustHaveShortLogs(cluster, 20);
}

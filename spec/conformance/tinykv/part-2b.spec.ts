import { expect } from 'chai';
import { hasNatsServer } from '../../nats-server.js';
import { skip } from '../../skip.js';
import { ON_REAL_GROUND, type TestCluster, withCluster } from './cluster.js';
import { genericTest, must, type Trouble } from './generic-test.js';

/** Rounds of put and scan of all clients together that each test must get through at least. */
const ENOUGH = { puts: 100, scans: 100 };

const generic: Readonly<Record<string, Trouble>> = {
  TestBasic2B: { clients: 1 },
  TestConcurrent2B: { clients: 5 },
  TestUnreliable2B: { clients: 5, unreliable: true },
  TestManyPartitionsOneClient2B: { clients: 1, partitions: true },
  TestManyPartitionsManyClients2B: { clients: 5, partitions: true },
  TestPersistOneClient2B: { clients: 1, crash: true },
  TestPersistConcurrent2B: { clients: 5, crash: true },
  TestPersistConcurrentUnreliable2B: { clients: 5, unreliable: true, crash: true },
  TestPersistPartition2B: { clients: 5, partitions: true, crash: true },
  TestPersistPartitionUnreliable2B: { clients: 5, unreliable: true, partitions: true, crash: true },
};

const ground = ON_REAL_GROUND
  ? 'over a nats-server and RocksDB, where stores are stopped and links are cut in their transport'
  : 'on virtual time, where stores lose their power with what they had not synced';

describe(`TinyKV part 2B ${ground}`, () => {
  before(function () {
    if (ON_REAL_GROUND && !hasNatsServer()) skip(this, 'no nats-server is installed');
  });

  Object.entries(generic).forEach(([title, trouble], i) => {
    it(title, async () => {
      const { puts, scans } = await genericTest(i + 1, trouble);
      expect(puts).at.least(ENOUGH.puts);
      expect(scans).at.least(ENOUGH.scans);
    });
  });

  it('TestOnePartition2B', () => withCluster(100, onePartition));
});

async function onePartition(cluster: TestCluster): Promise<void> {
  const client = await cluster.connect();
  const { raw } = client;
  const put = (key: string, value: string): Promise<void> =>
    must(cluster, (timeout) => raw.put(key, value, { timeout }));
  const get = async (key: string): Promise<string | undefined> => {
    const value = await must(cluster, (timeout) => raw.get(key, { timeout }));
    return value && Buffer.from(value).toString();
  };
  const leader = await cluster.leader(client);
  const [first, second, ...rest] = cluster.stores.filter((store) => store !== leader);
  if (first === undefined || second === undefined) throw new Error('there are not five stores');

  // The leader is in the majority: nothing is to be noticed, and the minority learns nothing.
  cluster.links.partition(rest.map(({ name }) => name));
  await put('k1', 'v1');
  expect(await get('k1')).equals('v1');
  for (const store of rest) expect(await cluster.stored(store, 'k1')).equals(undefined);
  cluster.links.heal();

  // It is in the minority: the others elect a leader, and what it has stays as it was.
  cluster.links.partition([leader.name, first.name]);
  expect(await get('k1')).equals('v1');
  await put('k1', 'changed');
  expect(await get('k1')).equals('changed');
  for (const store of [leader, first]) await cluster.mustHave(store, 'k1', 'v1');
  cluster.links.heal();

  // The old leader catches up.
  await put('k2', 'v2');
  await cluster.mustHave(leader, 'k2', 'v2');
  await cluster.mustHave(leader, 'k1', 'changed');
}

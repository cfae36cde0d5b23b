import { expect } from 'chai';
import { equalBytes } from '../../../storage/keys.js';
import { hasNatsServer } from '../../nats-server.js';
import { skip } from '../../skip.js';
import { ON_REAL_GROUND, type TestCluster, withCluster } from './cluster.js';
import { must } from './generic-test.js';
import { Regions } from './regions.js';

const ground = ON_REAL_GROUND ? 'over a nats-server and RocksDB' : 'on virtual time';

describe(`TinyKV part 3B, one region at a time, ${ground}`, () => {
  before(function () {
    if (ON_REAL_GROUND && !hasNatsServer()) skip(this, 'no nats-server is installed');
  });

  it('TestTransferLeader3B', () => withCluster(500, transferLeader));
  it("TestBasicConfChange3B (TiKV's rule: the id of a removed peer does not come back)", () =>
    withCluster(501, basicConfChange));
  it("TestConfChangeRemoveLeader3B (TiKV's rule: the id of a removed peer does not come back)", () =>
    withCluster(502, removeLeader));
  it('TestOneSplit3B', () => withCluster(503, oneSplit, { split: { maxBytes: 800, splitBytes: 500 } }));
});

/** Puts and gets as a client does, and the five stores, from the first one on. */
async function begin(cluster: TestCluster) {
  const { raw } = await cluster.connect();
  const [s1, s2, s3, s4, s5] = cluster.stores;
  if (s1 === undefined || s2 === undefined || s3 === undefined || s4 === undefined || s5 === undefined)
    throw new Error('there are not five stores');
  return {
    regions: await Regions.of(cluster),
    stores: [s1, s2, s3, s4, s5] as const,
    put: (key: string, value: string): Promise<void> =>
      must(cluster, (timeout) => raw.put(key, value, { timeout })),
    get: async (key: string): Promise<string | undefined> => {
      const value = await must(cluster, (timeout) => raw.get(key, { timeout }));
      return value && Buffer.from(value).toString();
    },
  };
}

async function transferLeader(cluster: TestCluster): Promise<void> {
  const { regions, stores } = await begin(cluster);
  const region = await regions.get('k1');
  for (const store of stores) {
    const replies = await regions.mustTransferLeader(region.id, store);
    for (const { refusal } of replies) expect(refusal?.retry, refusal?.message).not.equals(false);
    expect(await regions.leaderOf(region.id)).equals(store);
  }
  expect(cluster.heartbeats.taken).at.least(stores.length);
}

/** Members come with all of the data, by snapshot, and go with it. */
async function basicConfChange(cluster: TestCluster): Promise<void> {
  const { regions, stores, put, get } = await begin(cluster);
  const [s1, s2, s3, s4, s5] = stores;
  const { id } = await regions.get('k1');
  await regions.mustTransferLeader(id, s1);
  for (const store of [s2, s3, s4, s5]) await regions.mustRemovePeer(id, await regions.peerOn(id, store));

  await put('k1', 'v1');
  await cluster.mustHave(s2, 'k1', undefined);

  await regions.mustAddPeer(id, s2);
  await put('k2', 'v2');
  expect(await get('k2')).equals('v2');
  await cluster.mustHave(s2, 'k1', 'v1');
  await cluster.mustHave(s2, 'k2', 'v2');
  expect((await regions.get('k1')).regionEpoch?.confVer).greaterThan(1);
  await cluster.mustHave(s5, 'k1', undefined);

  await regions.mustAddPeer(id, s3);
  await regions.mustRemovePeer(id, await regions.peerOn(id, s2));
  await put('k3', 'v3');
  expect(await get('k3')).equals('v3');
  for (const i of [1, 2, 3]) await cluster.mustHave(s3, `k${i}`, `v${i}`);
  for (const i of [1, 2]) await cluster.mustHave(s2, `k${i}`, undefined);

  const again = await regions.mustAddPeer(id, s2);
  for (const i of [1, 2, 3]) await cluster.mustHave(s2, `k${i}`, `v${i}`);

  await regions.mustRemovePeer(id, again);
  const another = await regions.mustAddPeer(id, s2);
  expect(another.id).greaterThan(again.id);
  await regions.mustRemovePeer(id, await regions.peerOn(id, s3));
  await put('k4', 'v4');
  expect(await get('k4')).equals('v4');
  for (const i of [1, 4]) await cluster.mustHave(s2, `k${i}`, `v${i}`);
  for (const i of [1, 4]) await cluster.mustHave(s3, `k${i}`, undefined);
}

/** A leader hands over before it goes, also where only one is left to take over. */
async function removeLeader(cluster: TestCluster): Promise<void> {
  const { regions, stores, put, get } = await begin(cluster);
  const [s1, s2, s3, s4, s5] = stores;
  const { id } = await regions.get('k1');
  await regions.mustTransferLeader(id, s1);
  await put('k0', 'v0');
  await cluster.mustHave(s1, 'k0', 'v0');

  await regions.mustRemovePeer(id, await regions.peerOn(id, s1));
  await put('k1', 'v1');
  expect(await get('k1')).equals('v1');
  for (const i of [0, 1]) await cluster.mustHave(s1, `k${i}`, undefined);

  await regions.mustAddPeer(id, s1);
  await regions.mustTransferLeader(id, s1);
  for (const i of [0, 1]) await cluster.mustHave(s1, `k${i}`, `v${i}`);

  for (const store of [s2, s3, s4]) await regions.mustRemovePeer(id, await regions.peerOn(id, store));
  await put('k2', 'v2');
  await regions.mustRemovePeer(id, await regions.peerOn(id, s1));
  await put('k3', 'v3');
  expect(await get('k3')).equals('v3');
  for (const i of [0, 1, 2, 3]) await cluster.mustHave(s5, `k${i}`, `v${i}`);
  for (const i of [0, 1, 2, 3]) await cluster.mustHave(s1, `k${i}`, undefined);

  await regions.mustAddPeer(id, s1);
  await put('k4', 'v4');
  for (const i of [0, 1, 2, 3, 4]) await cluster.mustHave(s1, `k${i}`, `v${i}`);
  for (const i of [0, 1, 2, 3, 4]) await cluster.mustHave(s3, `k${i}`, undefined);
}

/** A region that grows too large becomes two, also for a store that was not there. */
async function oneSplit(cluster: TestCluster): Promise<void> {
  const { regions, stores, put } = await begin(cluster);
  const [s1, , , , s5] = stores;
  await put('k1', 'v1');
  await put('k2', 'v2');
  await cluster.mustHave(s1, 'k1', 'v1');
  await cluster.mustHave(s1, 'k2', 'v2');
  const whole = await regions.get('k1');
  expect((await regions.get('k2')).id).equals(whole.id);

  cluster.links.partition([s5.name]);
  for (let i = 100; i < 200; i++) await put(`k${i}`, `v${i}`);
  await cluster.sleep(200);
  cluster.links.heal();

  const [left, right] = [await regions.get('k1'), await regions.get('k2')];
  expect(left.id).not.equals(right.id);
  expect(equalBytes(left.startKey, whole.startKey)).equals(true);
  expect(equalBytes(left.endKey, right.startKey)).equals(true);
  expect(equalBytes(right.endKey, whole.endKey)).equals(true);

  const { regionError } = await regions.readOnLeader(left, { rawGet: { key: Buffer.from('k2'), cf: '' } });
  expect(regionError?.keyNotInRegion?.regionId).equals(left.id);

  await cluster.mustHave(s5, 'k100', 'v100');
}

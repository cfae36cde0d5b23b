import { expect } from 'chai';
import { silentLogger } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import type { troupepb } from '../../cluster/proto/index.js';
import type { StoreNode } from '../../cluster/store/index.js';
import { loadIdentity, loadRegionState, RaftLog, rawKey, saveIdentity } from '../../storage/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import { loadRecoveryFloor, loadRepair, saveRepair } from '../../storage/repair-record.js';
import { StoreWorld } from './store-world.js';

const REGION = 1;
const STORES = ['store-1', 'store-2', 'store-3'];
/** Ids from before the repairs: those of the first region's peers. */
const WATERMARK = 1_000;
const logger = { ...silentLogger };

describe('A repaired store', () => {
  let world: StoreWorld;
  let db: Database;
  let nodes: Map<string, StoreNode>;
  let written: number;

  beforeEach(async () => {
    world = new StoreWorld();
    await world.scheduler(3);
    nodes = new Map();
    for (const name of STORES) nodes.set(name, await world.store(name, { logger }));
    db = await world.client();
    written = 0;
    await put(50);
  });

  async function put(count: number): Promise<void> {
    const from = written;
    written += count;
    const pairs = Array.from({ length: count }, (_, i) => [`k${from + i}`, `v${from + i}`] as const);
    await world.until(db.raw.batchPut(pairs));
  }

  /** Its disk is gone; a fresh one knows whose it is and that everything was forgotten, as `troupe store repair` leaves it. */
  async function erase(name: string): Promise<void> {
    const disk = world.disk(name);
    world.crash(name);
    const old = await disk.open();
    const identity = await world.until(loadIdentity(old));
    if (identity === undefined) throw new Error('no identity');
    await world.until(old.close());
    world.disks.delete(name);
    const fresh = await world.disk(name).open();
    const batch = fresh.batch();
    saveIdentity(batch, { ...identity, incarnation: identity.incarnation + 1 });
    saveRepair(batch, { watermark: WATERMARK });
    await world.until(fresh.write(batch).then(() => fresh.sync()));
    await world.until(fresh.close());
  }

  const restart = async (name: string) => {
    nodes.set(name, await world.store(name, { logger }));
  };

  /** Everything that was acknowledged is on the store's own disk. */
  async function hasAll(name: string): Promise<boolean> {
    const engine = world.engines.get(name);
    if (engine === undefined) return false;
    const keys = Array.from({ length: written }, (_, i) => rawKey(Buffer.from(`k${i}`)));
    const values = await world.until(engine.multiGet('default', keys));
    return values.every(
      (value, i) => value !== undefined && Buffer.from(value).toString().startsWith(`v${i}`),
    );
  }

  async function comesBack(name: string): Promise<void> {
    for (let waited = 0; waited < 60_000; waited += 500) {
      if (await hasAll(name)) return;
      await world.clock.advance(500);
    }
    throw new Error(`${name} did not get its data back`);
  }

  const leader = () =>
    STORES.find((name) => {
      const group = nodes.get(name)?.replicas.get(REGION)?.raftGroup;
      return group?.isLeader === true;
    });

  const asleep = () => [...nodes].every(([, node]) => node.replicas.get(REGION)?.raftGroup?.asleep ?? false);

  for (const quick of [true, false]) {
    it(`comes back although its region sleeps, ${quick ? 'and nobody missed it' : 'and had left it out'}`, async () => {
      const erased = STORES.find((name) => name !== leader());
      if (erased === undefined) throw new Error('nobody leads');
      await world.clock.runUntil(asleep, 10_000);
      await erase(erased);
      nodes.delete(erased);
      if (!quick) {
        await world.clock.advance(3_000);
        await put(1);
        await world.clock.runUntil(asleep, 10_000);
      }
      expect(asleep()).to.equal(true);
      await restart(erased);
      await comesBack(erased);
    });
  }

  for (const role of ['a follower', "the leader's store"]) {
    it(`gets everything back by snapshot when it was ${role}, and counts again afterwards`, async () => {
      const led = leader();
      const erased = role === 'a follower' ? STORES.find((name) => name !== led) : led;
      if (erased === undefined) throw new Error('nobody leads');
      await erase(erased);
      await world.clock.advance(5_000);
      await put(50);
      await restart(erased);
      await comesBack(erased);
      const engine = world.engines.get(erased);
      if (engine === undefined) throw new Error('no engine');
      const log = await world.until(new RaftLog(engine).load(REGION));
      expect(log?.truncated.index, 'its log begins behind a snapshot').to.be.greaterThan(5);
      expect((await world.until(loadRegionState(engine, REGION)))?.state).to.equal(
        raft_serverpb.PeerState.Normal,
      );
      const own = nodes.get(erased)?.replicas.get(REGION)?.peer.id ?? 0;
      expect(await world.until(loadRecoveryFloor(engine, REGION, own))).to.equal(undefined);
      expect(await world.until(loadRepair(engine))).to.deep.equal({ watermark: WATERMARK });
      // With another store gone, it makes up the majority.
      const gone = STORES.find((name) => name !== erased);
      if (gone !== undefined) world.crash(gone);
      await world.clock.advance(5_000);
      await put(20);
      expect((await hasAll(erased)) || (await comesBack(erased)) === undefined).to.equal(true);
    });
  }

  it('neither votes nor acknowledges before: a majority that would need it stays away', async () => {
    const [erased, gone] = STORES.filter((name) => name !== leader());
    if (erased === undefined || gone === undefined) throw new Error('no followers');
    await erase(erased);
    world.crash(gone);
    await restart(erased);
    const refused = await world.until(
      db.raw.put('needs a majority', 'x', { timeout: 20_000 }).then(
        () => undefined,
        (error: unknown) => error,
      ),
    );
    expect(refused).to.be.instanceOf(Error);
    expect(nodes.get(erased)?.replicas.get(REGION)?.raftGroup).to.equal(undefined);
    const question = { type: 'store.peerTerm', regionId: REGION, peerId: 0 };
    const peer = nodes.get(erased)?.replicas.get(REGION)?.peer.id ?? 0;
    const told = world.ask<troupepb.PeerTermResponse>(`${erased}/store`, { ...question, peerId: peer });
    await told.then(
      () => expect.fail('clients may not ask for terms'),
      () => {},
    );
    // Whoever asks it is sent away, and it still comes back.
    const context = { regionId: REGION, regionEpoch: undefined, peer: undefined, term: 0 };
    const refusal = await world.ask<troupepb.RegionResponses>(`${erased}/region/${REGION}/peer/${peer}`, {
      type: 'read',
      context,
      requests: [],
    });
    expect(refusal.regionError?.regionNotInitialized?.regionId).to.equal(REGION);
    // The third comes back, and with it everything.
    await restart(gone);
    await comesBack(erased);
    await put(10);
  });

  it('goes on where it was when it is restarted, or loses power, on its way', async () => {
    const erased = STORES.find((name) => name !== leader());
    if (erased === undefined) throw new Error('no follower');
    await erase(erased);
    await put(30);
    for (let life = 0; life < 12; life++) {
      await restart(erased);
      await world.clock.advance(40 + 97 * life);
      world.crash(erased);
    }
    await restart(erased);
    await comesBack(erased);
    await put(10);
    await comesBack(erased);
  });

  it('comes back twice', async () => {
    for (let round = 0; round < 2; round++) {
      const erased = STORES.find((name) => name !== leader());
      if (erased === undefined) throw new Error('no follower');
      await erase(erased);
      await restart(erased);
      await comesBack(erased);
      await put(10);
    }
  });
});

import { expect } from 'chai';
import { silentLogger } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { majorityOf } from '../../cluster/store/region-checker.js';
import { encodeRawValue, rawKey } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { StoreWorld } from './store-world.js';

const REGION = 1;
const STORES = ['store-1', 'store-2', 'store-3'];
const bytes = (text: string) => Buffer.from(text);

describe('Comparing the replicas of a region', () => {
  let world: StoreWorld;
  let db: Database;
  let errors: string[];

  beforeEach(async () => {
    world = new StoreWorld();
    errors = [];
    const logger = { ...silentLogger, error: (_: object, message?: string) => errors.push(message ?? '') };
    await world.scheduler(3);
    for (const name of STORES) await world.store(name, { logger });
    db = await world.client();
    await world.until(db.raw.batchPut(Array.from({ length: 200 }, (_, i) => [`k${i}`, `v${i}`] as const)));
  });

  /** Asks every store until the leader answers. */
  async function check(): Promise<troupepb.CheckRegionResponse> {
    for (const name of STORES) {
      const reply = await world.ask<troupepb.CheckRegionResponse>(`${name}/store`, {
        type: 'store.checkRegion',
        regionId: REGION,
      });
      if (reply.regionError === undefined) return reply;
      expect(reply.regionError.notLeader).not.to.equal(undefined);
    }
    throw new Error('nobody leads');
  }

  const states = ({ replicas }: troupepb.CheckRegionResponse) => replicas.map(({ state }) => state);

  it('finds them equal at one index of the log, whatever is being written', async () => {
    let writing = true;
    const load = (async () => {
      for (let i = 0; writing; i++) await db.raw.put(`load${i % 50}`, `${i}`);
    })();
    for (let round = 0; round < 5; round++) {
      const reply = await check();
      expect(states(reply)).to.deep.equal(['equal', 'equal', 'equal']);
      expect(reply.hash).to.have.length(32);
    }
    writing = false;
    await world.until(load);
    expect(errors).to.deep.equal([]);
  });

  for (const damaged of STORES) {
    it(`stops ${damaged} when its disk has something else than the others, leader or not`, async () => {
      const engine = world.engines.get(damaged);
      if (engine === undefined) throw new Error('no engine');
      const batch = engine.batch();
      batch.put('default', rawKey(bytes('k7')), encodeRawValue(bytes('rotten')));
      await world.until(engine.write(batch));
      const reply = await check();
      expect(states(reply).sort()).to.deep.equal(['different', 'equal', 'equal']);
      await world.clock.advance(5_000);
      expect(errors.at(-1)).to.equal('the peer stopped');
      expect(errors[0]).to.match(
        /^The data of region 1 at log index \d+ differs from what the other replicas/,
      );
      // The healthy majority goes on.
      expect(Buffer.from((await world.until(db.raw.get('k7'))) ?? []).toString()).to.equal('v7');
    });
  }

  it('says which one could not be asked', async () => {
    world.crash('store-3');
    await world.clock.advance(5_000);
    const reply = await (async () => {
      for (const name of ['store-1', 'store-2']) {
        const one = await world.ask<troupepb.CheckRegionResponse>(
          `${name}/store`,
          { type: 'store.checkRegion', regionId: REGION },
          100_000,
        );
        if (one.regionError === undefined) return one;
      }
      throw new Error('nobody leads');
    })();
    expect(states(reply)).to.deep.equal(['equal', 'equal', 'missing']);
  });

  it('believes a majority of all, not of those who answered', () => {
    const peer = metapb.Peer.from({ id: 1, storeId: 1 });
    const hashes = (...texts: (string | undefined)[]) =>
      texts.map((text) => ({ peer, hash: text === undefined ? undefined : bytes(text) }));
    expect(majorityOf(hashes('a', 'a', 'b'))).to.deep.equal(bytes('a'));
    expect(majorityOf(hashes('b', 'a', 'a'))).to.deep.equal(bytes('a'));
    expect(majorityOf(hashes('a', 'b', undefined))).to.equal(undefined);
    expect(majorityOf(hashes('a', undefined, undefined))).to.equal(undefined);
    expect(majorityOf(hashes('a', 'b', 'c'))).to.equal(undefined);
    expect(majorityOf(hashes('a'))).to.deep.equal(bytes('a'));
  });
});

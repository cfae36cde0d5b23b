import { expect } from 'chai';
import fc from 'fast-check';
import { VirtualClock } from '../../actors/index.js';
import { kvrpcpb, type troupepb } from '../../cluster/proto/index.js';
import { SAFE_POINT_LEASE_MS } from '../../cluster/safe-point-lease.js';
import { StoreSafePoints } from '../../cluster/store/safe-points.js';
import { requestOf } from '../../cluster/store/txn/replicated-changes.js';
import { txnKey, withTimestamp } from '../../storage/keys.js';
import { GcWorld } from './gc-world.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

function prewrite(key: string, value: string, primary: string, startVersion: bigint) {
  return prewriteAll([key], value, primary, startVersion);
}

function prewriteAll(keys: readonly string[], value: string, primary: string, startVersion: bigint) {
  const mutations = keys.map((key) => ({ op: kvrpcpb.Op.Put, key: bytes(key), value: bytes(value) }));
  return {
    prewrite: kvrpcpb.PrewriteRequest.from({
      mutations,
      primaryLock: bytes(primary),
      startVersion,
      lockTtl: 3_000,
      txnSize: 2,
    }),
  };
}

describe('old versions', () => {
  let world: GcWorld;
  beforeEach(async () => {
    world = await GcWorld.start(1);
  });
  afterEach(() => world.close());

  it('go, with deletes and what they deleted, and the newest stay', async () => {
    for (const value of ['1', '2', '3']) await world.put('kept', value);
    await world.put('long', 'x'.repeat(300));
    await world.put('long', 'y'.repeat(300));
    await world.put('gone', '1');
    await world.delete('gone');
    const then = await world.now();
    expect(await world.records('kept')).to.equal('put put put');
    await world.collected(then);
    expect(await world.records('kept')).to.equal('put');
    expect(await world.records('long')).to.equal('put');
    expect(await world.records('gone')).to.equal('');
    expect(await world.at(await world.now())).to.deep.equal({ first: 'v', kept: '3', long: 'y'.repeat(300) });
  });

  it('stay as long as somebody holds them, and go when that time is over', async () => {
    await world.put('a', 'old');
    const held = await world.now();
    await world.put('a', 'new');
    const then = await world.now();
    const renew = () =>
      world.until(world.pd.updateServiceSafePoint(bytes('snapshot'), 20, held, { timeout: 20_000 }));
    for (let i = 0; i < 10; i++) {
      expect((await renew()) <= held).to.equal(true);
      await world.pass(10_000);
      expect(await world.at(held)).to.deep.equal({ first: 'v', a: 'old' });
    }
    expect(await world.records('a')).to.equal('put put');
    // It says nothing more.
    await world.collected(then);
    expect(await world.records('a')).to.equal('put');
    expect((await renew()) > held).to.equal(true);
  });

  it('that a snapshot sees stay until it is closed, whatever its age', async () => {
    await world.put('a', 'old');
    const view = await world.until(world.db.snapshot());
    await world.put('a', 'new');
    const then = await world.now();
    await world.pass(180_000);
    expect(Buffer.from((await world.until(view.get('a'))) ?? []).toString()).to.equal('old');
    const held = await world.until(world.db.cluster.gc.status());
    expect(held.transactionSafePoint).to.equal(String(view.timestamp));
    expect(held.services).to.have.length(1);
    await world.until(view.close());
    await world.collected(then);
    expect(await world.records('a')).to.equal('put');
    expect((await world.until(world.db.cluster.gc.run())).last?.failure).to.equal(null);
  });

  it('cannot be read any more, nor built upon', async () => {
    await world.put('a', 'old');
    const past = await world.now();
    await world.put('a', 'new');
    await world.collected(await world.now());
    const { get } = await world.send('a', {
      get: { context: undefined, key: bytes('a'), version: past },
    });
    expect(get?.error?.belowSafePoint?.timestamp).to.equal(past);
    const { prewrite: reply } = await world.send('a', prewrite('a', 'late', 'a', past));
    expect(reply?.errors[0]?.abort).to.match(/may be gone/);
    expect(reply?.errors[0]?.belowSafePoint?.timestamp).to.equal(past);
    expect(await world.records('a')).to.equal('put');
  });

  it('end a transaction that takes longer than they are kept, which is told why', async () => {
    await world.put('a', 'old');
    const begin = { timeout: 600_000 };
    const [reader, writer] = [
      await world.until(world.db.begin(begin)),
      await world.until(world.db.begin(begin)),
    ];
    writer.put('a', 'late');
    await world.collected(await world.now());
    for (const late of [
      () => reader.get('a'),
      () => reader.batchGet(['a']),
      () => reader.scan().next(),
      () => writer.commit(),
    ]) {
      const error = await world.until(
        late().then(
          () => undefined,
          (cause: unknown) => cause,
        ),
      );
      expect(error).to.deep.include({ code: 'failed', reason: 'below-safe-point' });
      expect(String(error)).to.match(/is not kept any more .*gc-life-time/);
    }
    reader.rollback();
  });

  it('wait for the locks of clients that have died: rolled back without a commit, committed with one', async () => {
    const start = await world.now();
    await world.send('p', prewrite('p', '1', 'p', start));
    await world.send('s', prewrite('s', '1', 'p', start));
    const other = await world.now();
    await world.send('q', prewrite('q', '2', 'q', other));
    await world.send('t', prewrite('t', '2', 'q', other));
    const commitVersion = await world.now();
    await world.send('q', { commit: { startVersion: other, keys: [bytes('q')], commitVersion } });
    expect([await world.records('s'), await world.records('t')]).to.deep.equal(['locked', 'locked']);
    await world.collected(await world.now());
    expect(await world.at(await world.now())).to.deep.equal({ first: 'v', q: '2', t: '2' });
    for (const [key, records] of [
      ['p', ''],
      ['s', ''],
      ['q', 'put'],
      ['t', 'put'],
    ] as const)
      expect(await world.records(key), key).to.equal(records);
    // What comes late of the dead transaction finds nothing that it could build upon.
    const { prewrite: late } = await world.send('p', prewrite('p', '1', 'p', start));
    expect(late?.errors).to.have.length(1);
  });

  it('go while a large transaction is under way: its many locks are younger, and are gone past', async () => {
    const start = await world.now();
    await world.send('z', prewrite('z', '1', 'z', start));
    await world.pass(50_000);
    const large = await world.now();
    // As many as one look at the locks goes through, and some more.
    for (let batch = 10; batch < 13; batch++) {
      const keys = Array.from({ length: 1_000 }, (_, i) => `large ${batch}/${1_000 + i}`);
      await world.send('large', prewriteAll(keys, '2', 'large 10/1000', large));
    }
    await world.collected(start);
    expect(await world.records('z')).to.equal('');
    expect(await world.records('large 12/1999')).to.equal('locked');
    const { last } = await world.until(world.db.cluster.gc.status());
    expect(last?.failure).to.equal(null);
  });

  it('of the other regions go, too, when one holds a record that cannot be read', async () => {
    await world.until(world.db.cluster.splitRegion('m', { space: 'txn', timeout: 30_000 }));
    for (const key of ['a', 'p', 'a', 'p']) await world.put(key, String(world.clock.now()));
    const store = world.stores[0] ?? expect.fail('no store');
    const [first] = [...store.replicas.values()].filter(
      ({ region }) => region.endKey.length > 0 || region.startKey.length > 0,
    );
    if (first === undefined) return expect.fail('no region');
    const key = first.region.endKey.length > 0 ? 'a' : 'p';
    const damage = {
      cf: 'write',
      key: withTimestamp(txnKey(bytes(key)), await world.now()),
      value: bytes('?'),
    } as const;
    first.proposeChanges(
      [requestOf(damage)],
      first.group.term,
      () => {},
      () => {},
    );
    await world.collected(await world.now());
    await world.pass(15_000);
    expect(await world.records(key === 'a' ? 'p' : 'a')).to.equal('put');
  });

  it('of more than one step go in several, and a region is not looked at again without need', async () => {
    for (const round of ['1', '2'])
      await world.until(
        world.db.transaction((txn) => {
          for (let i = 0; i < 700; i++) txn.put(`key ${1000 + i}`, round);
        }),
      );
    const then = await world.now();
    await world.collected(then);
    await world.pass(15_000);
    for (const i of [1000, 1255, 1256, 1512, 1699]) expect(await world.records(`key ${i}`)).to.equal('put');
    const store = world.stores[0] ?? expect.fail('no store');
    const replica = [...store.replicas.values()][0] ?? expect.fail('no region');
    expect(replica.garbage.mayHold(then, replica.region.regionEpoch?.version ?? 0)).to.equal(false);
    const index = replica.raftGroup?.raft.lastIndex;
    const { gc: before } = await world.until(world.pd.safePoints({ timeout: 20_000 }));
    await world.pass(60_000);
    const { gc: after } = await world.until(world.pd.safePoints({ timeout: 20_000 }));
    expect(after > before).to.equal(true);
    expect(replica.raftGroup?.raft.lastIndex).to.equal(index);
    await world.put('key 1000', '3');
    await world.collected(await world.now());
    expect(await world.records('key 1000')).to.equal('put');
  });
});

describe('old versions in a cluster of several regions and stores', function () {
  this.timeout(240_000);

  it('go, and every read at or above the safe point sees what it saw before', async () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), key, long: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key, long: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('split' as const), key, long: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), key, long: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('wait' as const), key, long: fc.boolean() }) },
    );
    let checked = 0;
    let refused = 0;
    let removed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 14, maxLength: 22 }), async (steps) => {
        const world = await GcWorld.start(3);
        const model: { readonly at: bigint; readonly state: Record<string, string> }[] = [];
        let state: Record<string, string> = { first: 'v' };
        const note = async () => {
          model.push({ at: await world.now(), state });
        };
        const check = async () => {
          for (const { at, state: seen } of model) {
            const found = await world.at(at).catch((error: unknown) => error);
            const { transaction } = await world.until(world.pd.safePoints({ timeout: 20_000 }));
            if (found instanceof Error) {
              expect(at < transaction, String(found)).to.equal(true);
              refused++;
            } else {
              expect(found).to.deep.equal(seen);
              checked++;
            }
          }
        };
        let written = 0;
        await note();
        for (const [i, { kind, key, long }] of steps.entries()) {
          const value = `${i}${long ? '-'.repeat(300) : ''}`;
          if (kind === 'put') {
            await world.put(key, value);
            state = { ...state, [key]: value };
            written++;
          } else if (kind === 'delete') {
            await world.delete(key);
            const { [key]: _, ...rest } = state;
            state = rest;
            written++;
          } else if (kind === 'split') {
            await world.until(
              world.db.cluster.splitRegion(key, { space: 'txn', timeout: 30_000 }).catch(() => undefined),
            );
          } else if (kind === 'die') await world.send(key, prewrite(key, value, key, await world.now()));
          else await world.pass(long ? 25_000 : 8_000);
          await note();
        }
        await check();
        const half = model[Math.floor(model.length / 2)] ?? expect.fail('no history');
        await world.collected(half.at);
        await check();
        await world.collected(await world.now());
        await note();
        await check();
        let left = 0;
        for (const one of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
          const records = await world.records(one);
          expect(records, one).to.equal(state[one] === undefined ? '' : 'put');
          if (records !== '') left++;
        }
        removed += written - left;
        await world.close();
      }),
      { numRuns: 2, seed: 11, endOnFailure: true },
    );
    expect(checked).to.be.greaterThan(30);
    expect(refused).to.be.greaterThan(5);
    expect(removed).to.be.greaterThan(5);
  });
});

describe('a store that is cut off from the scheduler', () => {
  it('serves no snapshot after a while, and does again when it is heard', async () => {
    const world = await GcWorld.start(1);
    await world.put('a', '1');
    const version = await world.now();
    const get = { get: { context: undefined, key: bytes('a'), version } };
    world.network.partition(['store-1'], ['scheduler-1']);
    await world.pass(10_000);
    const { region, leader } = await world.until(world.pd.getRegion(bytes('x')));
    const address = `store-1/region/${region?.id}/peer/${leader?.id}`;
    const context = { regionId: region?.id ?? 0, regionEpoch: region?.regionEpoch, peer: undefined, term: 0 };
    const read = () =>
      world.ask<troupepb.RegionResponses>(address, { type: 'read', context, requests: [get] });
    const within = await read();
    expect(Buffer.from(within.responses[0]?.get?.value ?? []).toString()).to.equal('1');
    await world.pass(SAFE_POINT_LEASE_MS);
    expect((await read()).regionError?.serverIsBusy?.reason).to.equal('no safe points of the scheduler');
    world.network.heal();
    await world.pass(10_000);
    expect((await read()).regionError).to.equal(undefined);
    await world.close();
  });
});

describe('the safe points of a store', () => {
  it('are trusted for a while from when they were asked for, and not before', async () => {
    const clock = new VirtualClock();
    const points = new StoreSafePoints(clock);
    expect(points.trusted).to.equal(false);
    await clock.advance(1_000);
    expect(points.heard({ transaction: 9n, gc: 5n }, 400)).to.equal(true);
    expect(points.trusted).to.equal(true);
    await clock.advance(SAFE_POINT_LEASE_MS - 601);
    expect(points.trusted).to.equal(true);
    await clock.advance(1);
    expect(points.trusted).to.equal(false);
  });

  it('never go back, and what is late takes no trust away', async () => {
    const clock = new VirtualClock();
    const points = new StoreSafePoints(clock);
    await clock.advance(5_000);
    points.heard({ transaction: 9n, gc: 5n }, 5_000);
    expect(points.heard({ transaction: 8n, gc: 4n }, 100)).to.equal(false);
    expect([points.transaction, points.gc]).to.deep.equal([9n, 5n]);
    await clock.advance(SAFE_POINT_LEASE_MS - 1);
    expect(points.trusted).to.equal(true);
  });
});

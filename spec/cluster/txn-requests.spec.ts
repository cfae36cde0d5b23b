import { expect } from 'chai';
import fc from 'fast-check';
import { kvrpcpb, type troupepb } from '../../cluster/proto/index.js';
import { MAX_TIMESTAMP } from '../../storage/index.js';
import { StoreWorld } from './store-world.js';
import {
  commitRequest,
  kindOf,
  prewriteRequest,
  rollbackRequest,
  show,
  TxnWorld,
  txnGet,
  watch,
} from './txn-world.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('transactional requests', () => {
  it('are safe to deliver twice, at once and later', async () => {
    const world = await TxnWorld.start(3);
    const twice = async (request: troupepb.RegionRequest) => {
      const [a, b] = await world.until(Promise.all([world.post(1, [request]), world.post(1, [request])]));
      const c = await world.send(1, [request]);
      expect([b, c], Object.keys(request)[0]).to.deep.equal([a, a]);
      return a?.responses[0] ?? {};
    };
    await world.at(await world.ts(), 'a');
    const [one, two, three, four] = [await world.ts(), await world.ts(), await world.ts(), await world.ts()];
    expect((await twice(prewriteRequest(one, { a: '1', b: '2' }))).prewrite?.errors).to.deep.equal([]);
    await twice({ txnHeartBeat: { primaryLock: bytes('a'), startVersion: one, adviseLockTtl: 9_000 } });
    const commitTs = await world.ts();
    const committed = commitRequest(one, commitTs, ['a', 'b']);
    expect((await twice(committed)).commit?.commitVersion).to.equal(commitTs);
    // Late, when all is over.
    expect((await twice(prewriteRequest(one, { a: '1', b: '2' }))).prewrite?.errors).to.deep.equal([]);
    const onePc = await twice(prewriteRequest(two, { c: '1', d: '2' }, { onePc: true }));
    expect((onePc.prewrite?.onePcCommitTs ?? 0n) > two).to.equal(true);
    const isAsync = { asyncCommit: true, secondaries: ['f'] };
    const asynchronous = await twice(prewriteRequest(three, { e: '1', f: '2' }, isAsync));
    const minCommitTs = asynchronous.prewrite?.minCommitTs ?? 0n;
    expect(minCommitTs > three).to.equal(true);
    const checked = await twice({ checkSecondaryLocks: { keys: [bytes('f')], startVersion: three } });
    expect(checked.checkSecondaryLocks?.locks).to.have.length(1);
    await twice({
      resolveLock: {
        startKey: new Uint8Array(0),
        startVersion: three,
        commitVersion: minCommitTs,
        txnInfos: [],
        keys: [bytes('e'), bytes('f')],
      },
    });
    await twice(rollbackRequest(four, 'g'));
    expect((await twice(prewriteRequest(four, { g: 'x' }))).prewrite?.errors[0]?.conflict).not.to.equal(
      undefined,
    );
    const ts = await world.ts();
    const found: string[] = [];
    for (const key of 'abcdefg') found.push(await world.at(ts, key));
    expect(found).to.deep.equal(['1', '2', '1', '2', '1', '2', '-']);
    await world.close();
  });

  it('of any content are answered in their own form, and hurt nobody', async () => {
    const world = await TxnWorld.start(1);
    const now = await world.ts();
    const ts = fc.constantFrom(0n, 1n, now, now - 1n, now + (1n << 50n), MAX_TIMESTAMP - 1n, MAX_TIMESTAMP);
    const key = fc.oneof(
      fc.constantFrom(
        bytes(''),
        bytes('k'),
        Buffer.alloc(4_096, 1),
        Buffer.alloc(4_097, 1),
        Buffer.of(0, 255),
      ),
      fc.uint8Array({ maxLength: 20 }),
    );
    const keys = fc.array(key, { maxLength: 4 });
    const number = fc.constantFrom(0, 1, 300, 2 ** 32 - 1);
    const op = fc.constantFrom(...Object.values(kvrpcpb.Op));
    const context = fc.option(fc.record({ resolvedLocks: fc.array(ts), committedLocks: fc.array(ts) }), {
      nil: undefined,
    });
    const read = fc.oneof(
      fc.record({ get: fc.record({ key, version: ts, context }) }),
      fc.record({ batchGet: fc.record({ keys, version: ts, context }) }),
      fc.record({ scanLock: fc.record({ maxVersion: ts, startKey: key, endKey: key, limit: number }) }),
      fc.record({ mvccGetByKey: fc.record({ key, beforeTs: ts }) }),
      fc.record({
        scan: fc.record({
          startKey: key,
          endKey: key,
          version: ts,
          limit: number,
          keyOnly: fc.boolean(),
          reverse: fc.boolean(),
          context,
        }),
      }),
    );
    const mutations = fc.array(fc.record({ op, key, value: key }), { maxLength: 4 });
    const statuses = fc.array(fc.record({ txn: ts, status: ts }), { maxLength: 3 });
    const write = fc.oneof(
      fc
        .record({
          mutations,
          primaryLock: key,
          startVersion: ts,
          lockTtl: number,
          txnSize: number,
          minCommitTs: ts,
          maxCommitTs: ts,
          useAsyncCommit: fc.boolean(),
          secondaries: keys,
          tryOnePc: fc.boolean(),
          skipConstraintCheck: fc.boolean(),
        })
        .map((one) => ({ prewrite: kvrpcpb.PrewriteRequest.from(one) })),
      fc.record({ commit: fc.record({ startVersion: ts, commitVersion: ts, keys }) }),
      fc.record({ batchRollback: fc.record({ startVersion: ts, keys }) }),
      fc.record({ checkSecondaryLocks: fc.record({ startVersion: ts, keys }) }),
      fc.record({ txnHeartBeat: fc.record({ primaryLock: key, startVersion: ts, adviseLockTtl: number }) }),
      fc.record({
        resolveLock: fc.record({
          startVersion: ts,
          commitVersion: ts,
          keys,
          txnInfos: statuses,
          startKey: fc.constant(new Uint8Array(0)),
        }),
      }),
      fc.record({ gc: fc.record({ safePoint: ts, startKey: key }) }),
      fc.record({
        checkTxnStatus: fc.record({
          primaryKey: key,
          lockTs: ts,
          callerStartTs: ts,
          currentTs: ts,
          rollbackIfNotExist: fc.boolean(),
          forceSyncCommit: fc.boolean(),
          verifyIsPrimary: fc.boolean(),
        }),
      }),
    );
    for (const kind of [read, write]) {
      for (const requests of fc.sample(
        fc.array<troupepb.RegionRequest>(kind, { minLength: 1, maxLength: 5 }),
        {
          numRuns: 150,
          seed: 7,
        },
      )) {
        const { regionError, responses } = await world.send(1, requests);
        expect(regionError, regionError?.message).to.equal(undefined);
        const kinds = requests.map((one) => Object.keys(one));
        expect(responses.map((one) => Object.keys(one))).to.deep.equal(kinds);
      }
    }
    expect(world.errors).to.deep.equal([]);
    await world.close();
  });

  it('are refused as busy when too many are under way', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    const startTs = await world.ts();
    await world.at(startTs, 'k');
    const heal = world.isolate(1);
    const proposed = watch(world.post(1, [prewriteRequest(startTs, { k: 'v' })], { store: 1 }));
    await world.rest(20);
    const requests = Array.from({ length: 17_000 }, () => rollbackRequest(startTs, 'k'));
    const busy = watch(world.post(1, requests, { store: 1 }));
    await world.when('an answer', () => busy.reply !== undefined);
    expect(kindOf(busy.reply?.regionError)).to.equal('serverIsBusy');
    expect(proposed.reply).to.equal(undefined);
    await world.when('another leader', () => world.leaderOf(1) > 1);
    heal();
    await world.when('all of it over', () => world.stores.get('store-1')?.txn.writes.size === 0);
    await world.close();
  });

  it('wait for the scheduler when a timestamp is in doubt, and are refused as busy without it', async () => {
    const world = await TxnWorld.start(1);
    const ts = await world.ts();
    const back = world.network.filter(({ from, to }) => from !== 'scheduler-1' && to !== 'scheduler-1');
    const { regionError } = await world.send(1, [txnGet(ts, 'k')]);
    expect(kindOf(regionError)).to.equal('serverIsBusy');
    back();
    expect(await world.at(ts, 'k')).to.equal('-');
    expect(await world.at(MAX_TIMESTAMP, 'k')).to.equal('-');
    await world.close();
  });

  it('are served by a store that stands alone', async () => {
    const world = new StoreWorld();
    await world.scheduler(1);
    const store = await world.store('store-1', { standalone: true });
    await world.clock.runUntil(() => [...store.replicas.values()].some(({ attached }) => attached), 5_000);
    const [replica] = store.replicas.values();
    const ask = (type: 'read' | 'write', request: troupepb.RegionRequest) =>
      world.ask<troupepb.RegionResponses>(`store-1/region/1/peer/${replica?.peerId}`, {
        type,
        context: { regionId: 1, regionEpoch: replica?.region.regionEpoch, peer: undefined, term: 0 },
        requests: [request],
      });
    const startTs = 1n << 18n;
    const written = await ask('write', prewriteRequest(startTs, { k: 'v' }, { onePc: true }));
    const commitTs = written.responses[0]?.prewrite?.onePcCommitTs ?? 0n;
    expect(commitTs > startTs).to.equal(true);
    expect(show((await ask('read', txnGet(commitTs, 'k'))).responses[0]?.get?.value)).to.equal('v');
    expect((await ask('read', txnGet(startTs, 'k'))).responses[0]?.get?.notFound).to.equal(true);
    await world.until(store.close());
  });
});

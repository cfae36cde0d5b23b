import { expect } from 'chai';
import type { errorpb, troupepb } from '../../cluster/proto/index.js';
import { requestOf } from '../../cluster/store/txn/replicated-changes.js';
import { MAX_TIMESTAMP, txnKey } from '../../storage/index.js';
import { StoreWorld } from './store-world.js';
import {
  commitRequest,
  prewriteRequest,
  rollbackRequest,
  scanTxn,
  show,
  TxnWorld,
  txnGet,
} from './txn-world.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);

/** The kind of a region error. */
function kindOf(error: errorpb.Error | undefined): string | undefined {
  if (error === undefined) return undefined;
  return Object.entries(error).find(([name, value]) => name !== 'message' && value !== undefined)?.[0];
}

/** What came of a call, once it has come. */
function watch(reply: Promise<troupepb.RegionResponses>): { reply?: troupepb.RegionResponses } {
  const seen: { reply?: troupepb.RegionResponses } = {};
  reply.then(
    (came) => {
      seen.reply = came;
    },
    () => {},
  );
  return seen;
}

describe('transactions in a store while regions and leaders change', function () {
  this.timeout(30_000);

  it('evaluate a command when those before it are visible, however slow the disk is', async () => {
    const world = await TxnWorld.start(3);
    const startTs = await world.ts();
    const commitTs = await world.ts();
    world.latencies.set(`store-${world.leaderOf(1)}`, 40);
    const replies = await world.until(
      Promise.all([
        world.post(1, [prewriteRequest(startTs, { k: 'v' })]),
        world.post(1, [commitRequest(startTs, commitTs, ['k'])]),
        world.post(1, [rollbackRequest(startTs, 'k')]),
      ]),
    );
    expect(replies[0]?.responses[0]?.prewrite?.errors).to.deep.equal([]);
    expect(replies[1]?.responses[0]?.commit?.error).to.equal(undefined);
    expect(replies[2]?.responses[0]?.batchRollback?.error?.abort).to.contain('committed');
    expect(await world.at(commitTs, 'k')).to.equal('v');
    await world.close();
  });

  it('wait for a new leader to have applied what the old one acknowledged', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    const startTs = await world.ts();
    await world.prewrite(startTs, { k: 'v' });
    // Store 2 is slow to apply: it leads before it sees what it leads.
    world.latencies.set('store-2', 60);
    await world.transfer(1, 2);
    await world.when('store 2 to lead', () => world.leaderOf(1) === 2);
    const isBehind = !world.peer(1, 2).isCurrent;
    const commitTs = startTs + 1n;
    const reply = await world.send(1, [commitRequest(startTs, commitTs, ['k'])], { store: 2 });
    expect([isBehind, kindOf(reply.regionError)]).to.deep.equal([true, undefined]);
    expect(reply.responses[0]?.commit?.error).to.equal(undefined);
    world.latencies.clear();
    expect(await world.at(commitTs, 'k')).to.equal('v');
    await world.close();
  });

  it('refuse at apply what was evaluated in another term', async () => {
    const world = await TxnWorld.start(3);
    const replica = world.peer(1, world.leaderOf(1));
    const change = { cf: 'lock', key: txnKey(bytes('k')), value: bytes('no lock') } as const;
    const outcomes: unknown[] = [];
    let visible = 0;
    replica.proposeChanges(
      [requestOf(change)],
      replica.group.term - 1,
      (outcome) => outcomes.push(outcome.ok && outcome.result),
      () => visible++,
    );
    await world.when('an outcome', () => outcomes.length === 1 && visible === 1);
    const [result] = outcomes as { regionError: errorpb.Error }[];
    expect(kindOf(result?.regionError)).to.equal('staleCommand');
    expect(await world.at(await world.ts(), 'k')).to.equal('-');
    await world.close();
  });

  it('let a deposed leader change nothing, and answer all who wait there', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    const [first, second] = [await world.ts(), await world.ts()];
    await world.at(first, 'k');
    const heal = world.isolate(1);
    const proposed = watch(world.post(1, [prewriteRequest(first, { k: 'old' })], { store: 1 }));
    await world.rest(20);
    const queued = watch(world.post(1, [prewriteRequest(second, { k: 'behind' })], { store: 1 }));
    const unconfirmed = watch(world.post(1, [commitRequest(first, second, ['other'])], { store: 1 }));
    await world.when('another leader', () => world.leaderOf(1) > 1);
    const leader = world.leaderOf(1);
    await world.when('its first entry', () => world.peer(1, leader).isCurrent);
    const reply = await world.send(1, [prewriteRequest(second, { k: 'new' })], { store: leader });
    expect(reply.responses[0]?.prewrite?.errors).to.deep.equal([]);
    await world.when('the queued one refused', () => queued.reply !== undefined);
    expect(kindOf(queued.reply?.regionError)).to.equal('notLeader');
    // What would have changed nothing is not answered from what a deposed leader knows.
    await world.when('the unconfirmed one refused', () => unconfirmed.reply !== undefined);
    expect(kindOf(unconfirmed.reply?.regionError)).to.equal('notLeader');
    heal();
    await world.when('the proposed one refused', () => proposed.reply !== undefined);
    expect(kindOf(proposed.reply?.regionError)).to.be.oneOf(['staleCommand', 'notLeader']);
    expect(await world.at(await world.ts(), 'k')).to.equal(`locked by ${second}`);
    await world.close();
  });

  it('say that the outcome is unknown when the store stops, and keep nothing', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    const startTs = await world.ts();
    await world.at(startTs, 'k');
    const store = world.stores.get('store-1');
    const heal = world.isolate(1);
    const proposed = watch(world.post(1, [prewriteRequest(startTs, { k: 'v' })], { store: 1 }));
    await world.rest(20);
    const queued = watch(world.post(1, [rollbackRequest(startTs, 'k')], { store: 1 }));
    await world.rest(20);
    store?.replicas.get(1)?.stop();
    await world.when('answers', () => proposed.reply !== undefined && queued.reply !== undefined);
    expect(kindOf(proposed.reply?.regionError)).to.equal('undeterminedResult');
    expect(kindOf(queued.reply?.regionError)).to.equal('regionNotFound');
    world.expectIdle();
    heal();
  });

  it('are no failure of a store that closes while they are under way', async () => {
    for (let ms = 0; ms < 60; ms += 10) {
      const world = await TxnWorld.start(1);
      const startTs = await world.ts();
      await world.transact({ a: '1', z: '1' });
      const ts = await world.ts();
      world.latencies.set('store-1', 8);
      const calls = [
        world.post(1, [prewriteRequest(startTs, { k: 'v' }), prewriteRequest(startTs + 1n, { k: 'w' })]),
        world.post(1, [txnGet(ts, 'a'), scanTxn(ts, 'a', 'zz')]),
        world.post(1, [
          { resolveLock: { startVersion: startTs, commitVersion: 0n, txnInfos: [], keys: [] } },
        ]),
      ].map(watch);
      await world.rest(ms);
      const store = world.stores.get('store-1');
      if (store !== undefined) await world.until(store.close());
      await world.rest(100);
      expect(world.errors, `closed after ${ms} ms`).to.deep.equal([]);
      for (const { reply } of calls) expect(reply, `closed after ${ms} ms`).not.to.equal(undefined);
      world.expectIdle();
    }
  });

  it('meet a split and a merge between the two phases', async () => {
    const world = await TxnWorld.start(3);
    const startTs = await world.ts();
    await world.prewrite(startTs, { a: '1', z: '2' });
    const commitTs = await world.ts();
    const before = world.leaderRegion(1).regionEpoch?.version ?? 0;
    const parts = await world.splitTxn(1, 'm');
    const [left = 0, right = 0] = parts.map(({ id }) => id);
    await world.settle();
    const stale = await world.send(left, [commitRequest(startTs, commitTs, ['a'])], { version: before });
    expect(kindOf(stale.regionError)).to.equal('epochNotMatch');
    expect(stale.regionError?.epochNotMatch?.currentRegions.map(({ id }) => id)).to.have.members([
      left,
      right,
    ]);
    const astray = await world.send(left, [commitRequest(startTs, commitTs, ['a', 'z'])]);
    expect(kindOf(astray.regionError)).to.equal('keyNotInRegion');
    await world.commit(startTs, commitTs, ['a'], left);
    await world.when('a leader on the right', () => world.leaderOf(right) > 0);
    await world.settle();
    const source = world.leaderRegion(right).regionEpoch?.version ?? 0;
    await world.merge(right, left);
    await world.when('the merge', () => world.stores.get('store-1')?.replicas.has(right) === false);
    await world.settle();
    const gone = await world.send(left, [commitRequest(startTs, commitTs, ['z'])], { version: source });
    expect(kindOf(gone.regionError)).to.equal('epochNotMatch');
    await world.commit(startTs, commitTs, ['z'], left);
    expect([await world.at(commitTs, 'a', left), await world.at(commitTs, 'z', left)]).to.deep.equal([
      '1',
      '2',
    ]);
    await world.close();
  });

  it('answer with the new regions what is evaluated while a split is under way', async () => {
    const world = await TxnWorld.start(3);
    await world.at(await world.ts(), 'a');
    const starts: bigint[] = [];
    for (let i = 0; i < 40; i++) starts.push(await world.ts());
    const split = world.post(1, [prewriteRequest(starts[0] ?? 0n, { a0: 'x' })]);
    const parts = world.splitTxn(1, 'm');
    const replies: ReturnType<typeof watch>[] = [];
    for (const [i, ts] of starts.entries()) {
      if (i > 0)
        world.clock.setTimeout(() => {
          replies.push(watch(world.post(1, [prewriteRequest(ts, { [`a${i}`]: 'x', [`z${i}`]: 'x' })])));
        }, i);
    }
    await parts;
    await split;
    await world.when('all answers', () => replies.length === 39 && replies.every(({ reply }) => reply));
    const kinds = new Set(replies.map(({ reply }) => kindOf(reply?.regionError)));
    expect(
      [...kinds].every((kind) => kind === undefined || kind === 'epochNotMatch' || kind === 'keyNotInRegion'),
    ).to.equal(true);
    expect(kinds.has('epochNotMatch') || kinds.has('keyNotInRegion')).to.equal(true);
    await world.close();
  });
});

describe('commit timestamps that stores choose', function () {
  this.timeout(30_000);

  it('are above what was read on the leader before', async () => {
    const world = await TxnWorld.start(3);
    for (const store of [2, 1]) {
      await world.lead(1, store);
      await world.at(await world.ts(), 'k');
    }
    const startTs = await world.ts();
    const readTs = await world.ts();
    expect(await world.at(readTs, 'k')).to.equal('-');
    await world.lead(1, 2);
    const first = await world.prewrite(startTs, { k: 'v' }, { asyncCommit: true });
    // It knows that it does not know.
    expect(first).to.deep.include({ errors: [], minCommitTs: 0n });
    await world.one(rollbackRequest(startTs, 'k'));
    const again = await world.prewrite(startTs + 1n, { k: 'v' }, { asyncCommit: true });
    expect(again.errors).to.deep.equal([]);
    expect(again.minCommitTs > readTs, `${again.minCommitTs} above ${readTs}`).to.equal(true);
    await world.one(rollbackRequest(startTs + 1n, 'k'));
    await world.close();
  });

  it('are above what was read in a region that was merged into this one', async () => {
    const world = await TxnWorld.start(3);
    const parts = await world.splitTxn(1, 'm');
    const [left = 0, right = 0] = parts.map(({ id }) => id);
    await world.lead(left, 1);
    await world.lead(right, 2);
    await world.at(await world.ts(), 'a', left);
    const covered = await world.prewrite(await world.ts(), { a: 'v' }, { onePc: true }, left);
    expect(covered.onePcCommitTs > 0n).to.equal(true);
    const startTs = await world.ts();
    const readTs = await world.ts();
    expect(await world.at(readTs, 'z', right)).to.equal('-');
    await world.merge(right, left);
    await world.when('the merge', () => world.peer(left, 1).region.endKey.length === 0);
    await world.when('it to be visible', () => world.peer(left, 1).isCurrent);
    for (const ts of [startTs, startTs + 1n, startTs + 2n]) {
      const { errors, onePcCommitTs } = await world.prewrite(ts, { z: 'v' }, { onePc: true }, left);
      expect(errors).to.deep.equal([]);
      expect(onePcCommitTs === 0n || onePcCommitTs > readTs, `${onePcCommitTs} above ${readTs}`).to.equal(
        true,
      );
      if (onePcCommitTs === 0n) await world.one(rollbackRequest(ts, 'z'), left);
      else return world.close();
    }
    throw new Error('no commit in one phase after the merge');
  });

  it('are above what was read here, and what was looked for and found absent', async () => {
    const world = await TxnWorld.start(1);
    const startTs = await world.ts();
    await world.at(await world.ts(), 'k');
    for (const [i, read] of [
      (ts: bigint) => txnGet(ts, 'k'),
      (ts: bigint) => scanTxn(ts, 'a', 'z'),
      (ts: bigint) => ({ batchGet: { keys: [bytes('k')], version: ts } }),
      (ts: bigint) => ({ checkSecondaryLocks: { keys: [bytes('other')], startVersion: ts } }),
    ].entries()) {
      const readTs = await world.ts();
      await world.one(read(readTs));
      const { minCommitTs } = await world.prewrite(startTs + BigInt(i), { k: 'v' }, { asyncCommit: true });
      expect(minCommitTs, `read ${i}`).to.equal(readTs + 1n);
      await world.one(rollbackRequest(startTs + BigInt(i), 'k'));
    }
    await world.one(txnGet(MAX_TIMESTAMP, 'k'));
    expect((world.stores.get('store-1')?.txn.timestamps.max ?? MAX_TIMESTAMP) < MAX_TIMESTAMP).to.equal(true);
    await world.close();
  });

  it('make reads at or above them wait until they are visible', async () => {
    const world = await TxnWorld.start(3);
    await world.transact({ k: 'old' });
    const startTs = await world.ts();
    const readTs = await world.ts();
    const scanTs = await world.ts();
    for (const name of world.stores.keys()) world.latencies.set(name, 30);
    const [written, read, scanned] = await world.until(
      Promise.all([
        world.post(1, [prewriteRequest(startTs, { k: 'new' }, { onePc: true })]),
        world.post(1, [txnGet(readTs, 'k')]),
        world.post(1, [scanTxn(scanTs, 'a', 'z')]),
      ]),
    );
    const commitTs = written?.responses[0]?.prewrite?.onePcCommitTs ?? 0n;
    expect(commitTs > 0n).to.equal(true);
    // Read before the prewrite was evaluated it pushes the commit above it; else it waits.
    const expected = commitTs <= readTs ? 'new' : 'old';
    expect(show(read?.responses[0]?.get?.value)).to.equal(expected);
    expect(show(scanned?.responses[0]?.scan?.pairs[0]?.value)).to.equal(commitTs <= scanTs ? 'new' : 'old');
    expect(commitTs <= readTs, 'the read came while the prewrite was under way').to.equal(true);
    await world.close();
  });

  it('are those of all keys or of none, wherever the power fails', async () => {
    for (let writes = 1; writes <= 2; writes++) {
      const world = await TxnWorld.start(3);
      await world.lead(1, 1);
      await world.at(await world.ts(), 'a');
      const startTs = await world.ts();
      let cut = false;
      world.onWrite(1, writes, () => {
        cut = true;
        world.cut(1);
      });
      const seen = watch(
        world.post(1, [prewriteRequest(startTs, { a: '1', b: 'x'.repeat(300), c: '3' }, { onePc: true })]),
      );
      await world.when('the power to fail', () => cut);
      await world.restart(1);
      await world.when('a leader', () => world.leaderOf(1) > 0 && world.peer(1, world.leaderOf(1)).isCurrent);
      const ts = await world.ts();
      const found = [];
      for (const key of ['a', 'b', 'c']) found.push((await world.getAt(ts, key)).notFound);
      expect(new Set(found).size, `after ${writes} writes: ${found}`).to.equal(1);
      if (seen.reply?.responses[0]?.prewrite?.onePcCommitTs) expect(found[0]).to.equal(false);
      await world.close();
    }
  });
});

describe('transactional requests', function () {
  this.timeout(30_000);

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

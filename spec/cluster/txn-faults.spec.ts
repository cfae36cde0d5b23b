import { expect } from 'chai';
import type { errorpb } from '../../cluster/proto/index.js';
import { MemoryLock } from '../../cluster/store/txn/memory-locks.js';
import { requestOf } from '../../cluster/store/txn/replicated-changes.js';
import { txnKey } from '../../storage/index.js';
import {
  commitRequest,
  kindOf,
  prewriteRequest,
  rollbackRequest,
  scanTxn,
  TxnWorld,
  txnGet,
  watch,
} from './txn-world.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('transactions in a store while regions and leaders change', () => {
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

  it('do not say that nothing was done when a part of a call was', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    const [startTs, first, second] = [await world.ts(), await world.ts(), await world.ts()];
    await world.prewrite(startTs, { k: 'v' });
    const commitTs = await world.ts();
    world.latencies.set('store-1', 200);
    const ahead = watch(world.post(1, [prewriteRequest(first, { hot: '1' })]));
    const behind = prewriteRequest(second, { hot: '2' });
    const both = watch(world.post(1, [commitRequest(startTs, commitTs, ['k']), behind]));
    const mixed = watch(
      world.post(1, [behind, { rawPut: { key: bytes('raw'), value: bytes('v'), cf: '' } }]),
    );
    const last = watch(world.post(1, [prewriteRequest(await world.ts(), { other: '1' })]));
    // The commit and the raw write are applied; the prewrites beside them wait until what is ahead is visible.
    await world.when('the others applied', () => ahead.reply !== undefined && last.reply !== undefined);
    expect([both.reply, mixed.reply]).to.deep.equal([undefined, undefined]);
    world.stores.get('store-1')?.replicas.get(1)?.stop();
    await world.when('answers', () => both.reply !== undefined && mixed.reply !== undefined);
    expect(kindOf(both.reply?.regionError)).to.equal('undeterminedResult');
    expect(kindOf(mixed.reply?.regionError)).to.equal('undeterminedResult');
    world.latencies.clear();
    await world.when('another leader', () => world.leaderOf(1) > 1);
    expect(await world.at(await world.ts(), 'k')).to.equal('v');
    expect(await world.at(await world.ts(), 'hot')).to.equal(`locked by ${first}`);
    world.expectIdle();
  });

  it('let a deposed leader answer no read that has waited there for a prewrite', async () => {
    const world = await TxnWorld.start(3);
    await world.lead(1, 1);
    await world.transact({ k: 'v' });
    const readTs = await world.ts();
    const locks = world.stores.get('store-1')?.txn.memoryLocks;
    const lock = new MemoryLock(['k'], readTs - 1n, readTs);
    locks?.add(lock);
    const read = watch(world.post(1, [txnGet(readTs, 'k')], { store: 1 }));
    await world.when('the read to wait', () => lock.waiting.length === 1);
    const heal = world.isolate(1);
    await world.when('another leader', () => world.leaderOf(1) > 1);
    await world.when('it to know', () => !world.peer(1, 1).group.isLeader);
    locks?.remove(lock);
    await world.when('an answer', () => read.reply !== undefined);
    expect(kindOf(read.reply?.regionError)).to.equal('notLeader');
    heal();
    await world.close();
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
          {
            resolveLock: {
              startVersion: startTs,
              commitVersion: 0n,
              txnInfos: [],
              keys: [],
              startKey: new Uint8Array(0),
            },
          },
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

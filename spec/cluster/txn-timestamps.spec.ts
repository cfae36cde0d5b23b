import { expect } from 'chai';
import { MAX_TIMESTAMP } from '../../storage/index.js';
import { prewriteRequest, rollbackRequest, scanTxn, show, TxnWorld, txnGet, watch } from './txn-world.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('commit timestamps that stores choose', () => {
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

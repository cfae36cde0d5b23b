import { expect } from 'chai';
import type { kvrpcpb } from '../../cluster/proto/index.js';
import { keyErrorOf, lockOn, TxnWorld } from './client-txn-world.js';
import { name, text } from './client-world.js';

const VALUE = { value: Buffer.from('v'), notFound: false };
const NO_VALUE = new Uint8Array(0);

describe('a read that meets a lock', () => {
  let world: TxnWorld;

  beforeEach(async () => {
    world = await TxnWorld.start();
  });

  afterEach(async () => {
    await world.close();
  });

  /** Every get meets the lock until the reader says that it goes past it, or takes it for committed. */
  function lockKey(lock: kvrpcpb.LockInfo): void {
    world.script.get = ({ context }) => {
      const known = [...(context?.resolvedLocks ?? []), ...(context?.committedLocks ?? [])];
      if (known.includes(lock.lockVersion)) return VALUE;
      return { value: NO_VALUE, notFound: false, error: keyErrorOf({ locked: lock }) };
    };
  }

  async function read(timeout = 10_000): Promise<string | undefined> {
    const view = await world.db.snapshot();
    try {
      return text(await view.get('a', { timeout }));
    } finally {
      await view.close();
    }
  }

  /** What the last get said about the locks that it had met. */
  function verdicts(): { resolved: readonly bigint[]; committed: readonly bigint[] } {
    const context = world.of('get').at(-1)?.context;
    return { resolved: context?.resolvedLocks ?? [], committed: context?.committedLocks ?? [] };
  }

  it('goes past one whose transaction it has pushed above itself', async () => {
    const start = world.ago(100);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = ({ callerStartTs }) => ({
      lockTtl: 3_000,
      commitVersion: 0n,
      action: 3,
      lockInfo: lockOn('primary', start, { minCommitTs: callerStartTs + 1n }),
    });
    expect(await world.settle(read())).to.equal('v');
    expect(world.log).to.deep.equal(['get a', 'checkTxnStatus primary', 'get a']);
    expect(verdicts()).to.deep.equal({ resolved: [start], committed: [] });
    expect(world.of('checkTxnStatus')[0]?.callerStartTs).to.equal(world.of('get')[0]?.version);
  });

  it('takes one for committed whose primary is, below it, and has it resolved', async () => {
    const start = world.ago(5_000);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = () => ({ lockTtl: 0, commitVersion: start + 7n, action: 0 });
    expect(await world.settle(read())).to.equal('v');
    expect(verdicts()).to.deep.equal({ resolved: [], committed: [start] });
    await world.world.clock.advance(200);
    expect(world.of('resolveLock')[0]).to.deep.include({ startVersion: start, commitVersion: start + 7n });
  });

  it('goes past one whose primary is committed above it', async () => {
    const start = world.ago(5_000);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = ({ callerStartTs }) => ({
      lockTtl: 0,
      commitVersion: callerStartTs + 9n,
      action: 0,
    });
    expect(await world.settle(read())).to.equal('v');
    expect(verdicts()).to.deep.equal({ resolved: [start], committed: [] });
  });

  it('has the locks resolved that it met, once, and no others, however large their transaction is', async () => {
    const start = world.ago(5_000);
    lockKey(lockOn('a', start, { txnSize: 100_000 }));
    world.script.resolveLock = () => ({ nextKey: NO_VALUE });
    expect(await world.settle(Promise.all([read(), read(), read()]))).to.deep.equal(['v', 'v', 'v']);
    await world.world.clock.advance(200);
    expect(world.of('resolveLock').map(({ keys }) => keys.map(name))).to.deep.equal([['a']]);
  });

  it('waits while the transaction is alive, and no longer', async () => {
    const start = world.ago(0);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = ({ currentTs }) =>
      currentTs - start < 2_000n << 18n
        ? { lockTtl: 2_000, commitVersion: 0n, action: 0 }
        : { lockTtl: 0, commitVersion: 0n, action: 1 };
    const began = world.world.clock.now();
    expect(await world.settle(read())).to.equal('v');
    expect(world.world.clock.now() - began).to.be.within(1_900, 2_400);
  });

  it('names the lock, how old its transaction is and how long it lives, when its time runs out', async () => {
    const start = world.ago(2_000);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = () => ({ lockTtl: 600_000, commitVersion: 0n, action: 0 });
    const named =
      /Key "a" is locked by the transaction that began at (\d+) \(primary "primary"\), [2-6]\.\d s ago; its time to live ends in 59[3-8]\.\d s/;
    for (const late of [
      () => read(1_000),
      () => world.db.transaction((txn) => txn.get('a'), { timeout: 1_000 }),
      () => world.db.transaction((txn) => txn.batchGet(['a']), { timeout: 1_000 }),
    ]) {
      world.script.batchGet = ({ keys }) => ({
        pairs: keys.map((key) => ({
          key,
          value: NO_VALUE,
          error: keyErrorOf({ locked: lockOn('a', start) }),
        })),
        answered: 0,
      });
      const error = await world.failure(late());
      expect([error.code, error.reason]).to.deep.equal(['timeout', 'key-is-locked']);
      expect(error.message).to.match(named);
      expect(named.exec(error.message)?.[1]).to.equal(String(start));
    }
  });

  it('is late, and nothing worse, when nobody can tell what became of the transaction', async () => {
    lockKey(lockOn('a', world.ago(0)));
    world.script.checkTxnStatus = () => 'silence';
    for (const timeout of [1_000, 4_000, 12_000]) {
      const error = await world.failure(read(timeout));
      expect([error.code, error.reason], String(timeout)).to.deep.equal(['timeout', 'key-is-locked']);
      expect(error.message).to.match(/^Key "a" is locked by the transaction/);
    }
  });

  it('tells as much of the lock as it was told before, when the time runs out on a question', async () => {
    const start = world.ago(1_000);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = (_, nth) =>
      nth === 1 ? { lockTtl: 600_000, commitVersion: 0n, action: 0 } : 'silence';
    const error = await world.failure(read(3_000));
    expect(error.reason).to.equal('key-is-locked');
    expect(error.message).to.match(/, [34]\.\d s ago; its time to live ends in 59[56]\.\d s/);
  });

  it('goes on asking as long as it may, also when one answer takes longer than a check does', async () => {
    lockKey(lockOn('a', world.ago(5_000)));
    const began = world.world.clock.now();
    world.script.checkTxnStatus = () =>
      world.world.clock.now() - began < 8_000 ? 'silence' : { lockTtl: 0, commitVersion: 0n, action: 1 };
    expect(await world.settle(read(20_000))).to.equal('v');
  });

  for (const lockTtl of [1_000, 8_000])
    it(`gives a primary that is not there the ${lockTtl} ms of the lock before it rolls it back`, async () => {
      const start = world.ago(0);
      lockKey(lockOn('a', start, { lockTtl }));
      world.script.checkTxnStatus = ({ rollbackIfNotExist }) =>
        rollbackIfNotExist
          ? { lockTtl: 0, commitVersion: 0n, action: 2 }
          : {
              lockTtl: 0,
              commitVersion: 0n,
              action: 0,
              error: keyErrorOf({ txnNotFound: { startTs: start, primaryKey: Buffer.from('primary') } }),
            };
      const began = world.world.clock.now();
      expect(await world.settle(read(20_000))).to.equal('v');
      expect(world.world.clock.now() - began).to.be.within(lockTtl, lockTtl + 500);
      expect(world.of('checkTxnStatus').filter((one) => one.rollbackIfNotExist)).to.have.length(1);
    });

  describe('of an async commit whose client is gone', () => {
    const secondaries = ['b', 'k', 't'].map((key) => Buffer.from(key));
    let start: bigint;

    beforeEach(() => {
      world.cutAt('h');
      start = world.ago(10_000);
      lockKey(lockOn('a', start, { useAsyncCommit: true }));
      const lockInfo = lockOn('primary', start, {
        useAsyncCommit: true,
        minCommitTs: start + 2n,
        secondaries,
      });
      world.script.checkTxnStatus = ({ forceSyncCommit }) =>
        forceSyncCommit
          ? { lockTtl: 0, commitVersion: 0n, action: 1 }
          : { lockTtl: 3_000, commitVersion: 0n, action: 0, lockInfo };
    });

    function locksOf(keys: readonly Uint8Array[], more: Partial<kvrpcpb.LockInfo>): kvrpcpb.LockInfo[] {
      return keys.map((key) => lockOn(name(key), start, { useAsyncCommit: true, ...more }));
    }

    it('commits it when all its keys are locked, at the largest of their timestamps', async () => {
      world.script.checkSecondaryLocks = ({ keys }) => ({
        locks: locksOf(keys, { minCommitTs: start + BigInt(keys.length) + 3n }),
        commitTs: 0n,
      });
      expect(await world.settle(read())).to.equal('v');
      expect(verdicts()).to.deep.equal({ resolved: [], committed: [start] });
      await world.world.clock.advance(200);
      const resolved = world.of('resolveLock').filter(({ keys }) => keys.length > 0);
      expect(new Set(resolved.flatMap(({ keys }) => keys.map(name)))).to.deep.equal(
        new Set(['a', 'b', 'k', 'primary', 't']),
      );
      expect(new Set(resolved.map(({ commitVersion }) => commitVersion))).to.deep.equal(
        new Set([start + 5n]),
      );
    });

    it('rolls it back when one of its keys is not', async () => {
      world.script.checkSecondaryLocks = ({ keys }) => ({ locks: locksOf(keys.slice(1), {}), commitTs: 0n });
      expect(await world.settle(read())).to.equal('v');
      expect(verdicts()).to.deep.equal({ resolved: [start], committed: [] });
      expect(new Set(world.of('resolveLock').map(({ commitVersion }) => commitVersion))).to.deep.equal(
        new Set([0n]),
      );
    });

    it('believes a key that is committed already', async () => {
      world.script.checkSecondaryLocks = ({ keys }) => ({
        locks: locksOf(keys.slice(1), {}),
        commitTs: start + 4n,
      });
      await world.settle(read());
      expect(world.of('resolveLock')[0]?.commitVersion).to.equal(start + 4n);
    });

    it('lets the primary decide when one of its locks is of two phases', async () => {
      world.script.checkSecondaryLocks = ({ keys }) => ({
        locks: locksOf(keys, { useAsyncCommit: keys.length > 1 }),
        commitTs: 0n,
      });
      expect(await world.settle(read())).to.equal('v');
      expect(world.of('checkTxnStatus').map((one) => one.forceSyncCommit)).to.deep.equal([false, true]);
      expect(verdicts().resolved).to.deep.equal([start]);
    });
  });

  it('asks once for all who meet the same transaction, and never again when it has ended', async () => {
    const start = world.ago(5_000);
    lockKey(lockOn('a', start));
    const view = await world.settle(world.db.snapshot());
    await world.settle(Promise.all(Array.from({ length: 20 }, () => view.get('a'))));
    await world.settle(view.close());
    await world.settle(read());
    expect(world.of('checkTxnStatus')).to.have.length(1);
  });

  it('does not fail others when the reader who asked first gives up', async () => {
    const start = world.ago(5_000);
    lockKey(lockOn('a', start));
    world.script.checkTxnStatus = (_, nth) =>
      nth === 1 ? 'silence' : { lockTtl: 0, commitVersion: 0n, action: 1 };
    const view = await world.settle(world.db.snapshot());
    const gone = new AbortController();
    const first = view.get('a', { signal: gone.signal });
    const second = view.get('a');
    await world.world.clock.advance(500);
    gone.abort(new Error('enough'));
    expect((await world.failure(first)).message).to.equal('enough');
    expect(text(await world.settle(second))).to.equal('v');
    await world.settle(view.close());
  });

  it('reads what a scan and a batch find locked in its place', async () => {
    const start = world.ago(5_000);
    const locked = {
      key: Buffer.from('b'),
      value: NO_VALUE,
      error: keyErrorOf({ locked: lockOn('b', start) }),
    };
    const pair = (key: string) => ({ key: Buffer.from(key), value: Buffer.from(`v${key}`) });
    world.script.scan = () => ({ pairs: [pair('a'), locked, pair('c')], more: false, lastKey: NO_VALUE });
    world.script.batchGet = ({ keys }, nth) => ({
      pairs: nth === 1 ? [locked] : keys.map((key) => pair(name(key))),
      answered: 0,
    });
    const view = await world.settle(world.db.snapshot());
    const found: string[] = [];
    await world.settle(
      (async () => {
        for await (const { value } of view.scan()) found.push(text(value) ?? '');
      })(),
    );
    expect(found).to.deep.equal(['va', 'vb', 'vc']);
    const values = await world.settle(view.batchGet(['c', 'b', 'c']));
    expect(values.map(text)).to.deep.equal(['vc', 'vb', 'vc']);
    await world.settle(view.close());
  });
});

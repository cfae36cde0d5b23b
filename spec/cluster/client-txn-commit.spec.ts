import { expect } from 'chai';
import type { TransactionOptions } from '../../cluster/client/txn/transactions.js';
import { keyErrorOf, lockOn, TxnWorld } from './client-txn-world.js';
import { name, text } from './client-world.js';

const TWO_PHASES = { onePc: false, asyncCommit: false };
const ASYNC = { onePc: false };

/** The safe point has passed what is read. */
const collectedAt: NonNullable<TxnWorld['script']['get']> = ({ version: timestamp }) => ({
  value: new Uint8Array(0),
  notFound: false,
  error: keyErrorOf({ belowSafePoint: { timestamp, safePoint: timestamp + 1n } }),
});

describe('the commit of a transaction', () => {
  let world: TxnWorld;

  beforeEach(async () => {
    world = await TxnWorld.start();
  });

  afterEach(async () => {
    await world.close();
  });

  function putAll(keys: readonly string[], options: TransactionOptions = {}): Promise<void> {
    return world.db.transaction((txn) => {
      for (const key of keys) txn.put(key, `v${key}`);
    }, options);
  }

  /** The orders of the background come after the caller's answer. */
  async function later(): Promise<void> {
    await world.world.clock.advance(500);
  }

  it('sends nothing where nothing is written', async () => {
    await world.settle(world.db.transaction((txn) => txn.get('a')));
    expect(world.log).to.deep.equal(['get a']);
  });

  it('takes its timestamp after all prewrites, commits the primary, and the others in the background', async () => {
    world.cutAt('h', 'p');
    await world.settle(putAll(['a', 'b', 'k', 't'], TWO_PHASES));
    await later();
    expect(world.log.slice(0, 3).sort()).to.deep.equal(['prewrite a b', 'prewrite k', 'prewrite t']);
    expect(world.log[3]).to.equal('commit a b');
    expect(world.log.slice(4).sort()).to.deep.equal(['commit k', 'commit t']);
    const [prewrite] = world.of('prewrite');
    const commits = world.of('commit');
    expect(new Set(commits.map(({ commitVersion }) => commitVersion)).size).to.equal(1);
    expect(commits[0]?.commitVersion).to.satisfy((ts: bigint) => ts > (prewrite?.startVersion ?? ts));
    expect(world.of('prewrite').map((one) => name(one.primaryLock))).to.deep.equal(['a', 'a', 'a']);
    expect(prewrite).to.deep.include({ txnSize: 4, useAsyncCommit: false, tryOnePc: false, minCommitTs: 0n });
  });

  it('is one message where all keys lie in one region, and the store agrees', async () => {
    world.script.prewrite = ({ startVersion }) => ({
      errors: [],
      minCommitTs: 0n,
      onePcCommitTs: startVersion + 9n,
    });
    const txn = await world.settle(world.db.begin());
    txn.put('a', '1');
    const committed = await world.settle(txn.commit());
    await later();
    expect(world.log).to.deep.equal(['prewrite a']);
    expect(committed).to.equal(txn.startTimestamp + 9n);
    const [prewrite] = world.of('prewrite');
    expect(prewrite).to.deep.include({ tryOnePc: true, useAsyncCommit: true });
    expect(prewrite?.minCommitTs).to.satisfy((ts: bigint) => ts > txn.startTimestamp);
  });

  it('asks for one phase only when the whole transaction is in the request', async () => {
    world.cutAt('h');
    await world.settle(putAll(['a', 'k']));
    expect(world.of('prewrite').map(({ tryOnePc }) => tryOnePc)).to.deep.equal([false, false]);
  });

  it('does not ask for one phase any more when the region was cut before it locked', async () => {
    await world.settle(world.db.transaction((txn) => txn.get('a')));
    world.cutAt('c');
    await world.settle(putAll(['a', 'k']));
    await later();
    expect(world.log.slice(1)).to.deep.equal(['prewrite a', 'prewrite k', 'commit a', 'commit k']);
    expect(world.of('prewrite').some(({ tryOnePc }) => tryOnePc)).to.equal(false);
  });

  it('only reads the keys that it demands to be absent where it writes nothing', async () => {
    const check = () =>
      world.db.transaction((txn) => {
        txn.insert('a', '1');
        txn.delete('a');
      });
    await world.settle(check());
    expect(world.log).to.deep.equal(['batchGet a']);
    world.script.batchGet = ({ keys }) => ({
      pairs: keys.map((key) => ({ key, value: Buffer.from('1') })),
      answered: 0,
    });
    const error = await world.failure(check());
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'already-exists']);
  });

  it('goes on in two phases where the store commits neither in one phase nor asynchronously', async () => {
    await world.settle(putAll(['a', 'b']));
    expect(world.log).to.deep.equal(['prewrite a b', 'commit a b']);
  });

  it('commits asynchronously at the largest of the least timestamps, and names the secondaries to the primary', async () => {
    world.cutAt('h');
    world.script.prewrite = ({ startVersion, mutations }) => ({
      errors: [],
      minCommitTs: startVersion + (mutations.length === 2 ? 5n : 7n),
      onePcCommitTs: 0n,
    });
    const txn = await world.settle(world.db.begin(ASYNC));
    for (const key of ['a', 'b', 'k']) txn.put(key, '1');
    expect(await world.settle(txn.commit())).to.equal(txn.startTimestamp + 7n);
    await later();
    const named = world.of('prewrite').map(({ secondaries }) => secondaries.map(name).join());
    expect(named.sort()).to.deep.equal(['', 'b,k']);
    expect(world.of('commit').map(({ commitVersion }) => commitVersion - txn.startTimestamp)).to.deep.equal([
      7n,
      7n,
    ]);
  });

  it('falls back to two phases when one store of several does not commit asynchronously', async () => {
    world.cutAt('h');
    world.script.prewrite = ({ startVersion, mutations }) => ({
      errors: [],
      minCommitTs: name(mutations[0]?.key ?? Buffer.of()) === 'k' ? 0n : startVersion + 5n,
      onePcCommitTs: 0n,
    });
    await world.settle(putAll(['a', 'k'], ASYNC));
    await later();
    expect(world.log.slice(2)).to.deep.equal(['commit a', 'commit k']);
    const [commit] = world.of('commit');
    expect(commit?.commitVersion).to.satisfy((ts: bigint) => ts > (commit?.startVersion ?? ts) + 5n);
  });

  it('is not asynchronous beyond 256 keys, or 4 KiB of them', async () => {
    const many = Array.from({ length: 257 }, (_, i) => `k${i}`);
    await world.settle(putAll(many, ASYNC));
    await world.settle(putAll(['x'.repeat(2_100), 'y'.repeat(2_100)], ASYNC));
    expect(world.of('prewrite').some(({ useAsyncCommit }) => useAsyncCommit)).to.equal(false);
  });

  it('cuts a large transaction into batches, which no commit in one phase covers', async () => {
    const keys = Array.from({ length: 40 }, (_, i) => `k${String(i).padStart(2, '0')}`);
    await world.settle(
      world.db.transaction((txn) => {
        for (const key of keys) txn.put(key, 'x'.repeat(2_000));
      }),
    );
    const batches = world.of('prewrite');
    expect(batches.length).to.be.above(2);
    expect(batches.every(({ tryOnePc }) => !tryOnePc)).to.equal(true);
    expect(batches.flatMap(({ mutations }) => mutations.map(({ key }) => name(key))).sort()).to.deep.equal(
      keys,
    );
  });

  it('asks each region for its own keys when regions have changed before it locks, and before it commits', async () => {
    await world.settle(world.db.transaction((txn) => txn.get('a')));
    world.cutAt('c');
    await world.settle(putAll(['a', 'b', 'k', 't'], TWO_PHASES));
    await later();
    world.script.prewrite = (_, nth) => {
      if (nth === 3) world.cutAt('b', 'm');
      return { errors: [], minCommitTs: 0n, onePcCommitTs: 0n };
    };
    world.asked.length = 0;
    await world.settle(putAll(['a', 'b', 'k', 't'], TWO_PHASES));
    await later();
    expect(
      world
        .of('commit')
        .flatMap(({ keys }) => keys.map(name))
        .sort(),
    ).to.deep.equal(['a', 'b', 'k', 't']);
    expect(name(world.of('commit')[0]?.keys[0] ?? Buffer.of())).to.equal('a');
  });

  it('sends a prewrite again when its reply was lost', async () => {
    world.script.prewrite = (_, nth) =>
      nth === 1 ? 'silence' : { errors: [], minCommitTs: 0n, onePcCommitTs: 0n };
    await world.settle(putAll(['a'], TWO_PHASES));
    const log = world.log.filter((one) => !one.startsWith('txnHeartBeat'));
    expect(log).to.deep.equal(['prewrite a', 'prewrite a', 'commit a']);
  });

  it('gives each further try of a prewrite twice the time: a store may be late because it has much to do', async () => {
    const tries: number[] = [];
    world.script.prewrite = () => {
      tries.push(world.world.clock.now());
      return 'silence';
    };
    await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 40_000 }));
    const gaps = tries.slice(1).map((at, i) => Math.round((at - (tries[i] ?? 0)) / 1_000));
    expect(gaps.map((gap, i) => gap - Math.min(2 ** (i + 1), 16))).to.satisfy((more: number[]) =>
      more.every((seconds) => seconds >= 0 && seconds <= 3),
    );
    expect(tries).to.have.length(5);
  });

  it('sends the commit of the primary again when its reply was lost, at the same timestamp', async () => {
    world.script.commit = ({ commitVersion }, nth) => (nth === 1 ? 'silence' : { commitVersion });
    await world.settle(putAll(['a'], TWO_PHASES));
    const [first, second] = world.of('commit');
    expect(second).to.deep.equal(first);
  });

  it('is undetermined when no reply to the commit of the primary ever comes, and removes nothing', async () => {
    world.script.commit = () => 'silence';
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 5_000 }));
    await later();
    expect(error.code).to.equal('undetermined');
    expect(world.of('batchRollback')).to.have.length(0);
  });

  it('is rolled back when the lost commit turns out to have been refused', async () => {
    world.script.commit = ({ keys }, nth) =>
      nth === 1
        ? 'silence'
        : { commitVersion: 0n, error: keyErrorOf({ txnLockNotFound: { key: keys[0] ?? Buffer.of() } }) };
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, retries: 0 }));
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'write-conflict']);
  });

  it('is undetermined when the lost commit finds nothing, and what it would find may have been collected', async () => {
    world.script.commit = ({ keys }, nth) =>
      nth === 1
        ? 'silence'
        : { commitVersion: 0n, error: keyErrorOf({ txnLockNotFound: { key: keys[0] ?? Buffer.of() } }) };
    world.script.get = collectedAt;
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, retries: 0 }));
    expect(error.code).to.equal('undetermined');
  });

  it('is undetermined when the prewrite that may have committed it is refused as too old, and its primary knows nothing', async () => {
    world.script.prewrite = ({ startVersion: timestamp }, nth) =>
      nth === 1
        ? 'silence'
        : {
            errors: [keyErrorOf({ belowSafePoint: { timestamp, safePoint: timestamp + 1n } })],
            minCommitTs: 0n,
            onePcCommitTs: 0n,
          };
    world.script.get = collectedAt;
    const error = await world.failure(putAll(['a']));
    expect(error.code).to.equal('undetermined');
  });

  it('is refused with a reason of its own when it is older than old versions are kept', async () => {
    world.script.prewrite = ({ startVersion: timestamp }) => ({
      errors: [keyErrorOf({ belowSafePoint: { timestamp, safePoint: timestamp + 1n } })],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    const error = await world.failure(putAll(['a']));
    expect([error.code, error.reason]).to.deep.equal(['failed', 'below-safe-point']);
    expect(world.of('prewrite')).to.have.length(1);
  });

  it('is not committed when its commit never left, and removes its locks', async () => {
    world.script.commit = () => ({ regionError: { serverIsBusy: { reason: 'full', backoffMs: 0 } } });
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 1_500 }));
    await later();
    expect(error.code).to.be.oneOf(['timeout', 'unavailable']);
    expect(world.of('batchRollback')).to.have.length(1);
  });

  it('takes another timestamp when readers have pushed it', async () => {
    world.script.commit = ({ commitVersion, startVersion }, nth) =>
      nth > 1
        ? { commitVersion }
        : {
            commitVersion: 0n,
            error: keyErrorOf({
              commitTsExpired: {
                startTs: startVersion,
                attemptedCommitTs: commitVersion,
                key: Buffer.from('a'),
                minCommitTs: commitVersion + 1n,
              },
            }),
          };
    await world.settle(putAll(['a'], TWO_PHASES));
    const [first, second] = world.of('commit').map(({ commitVersion }) => commitVersion);
    expect(second).to.satisfy((ts: bigint) => ts > (first ?? ts));
  });

  it('begins anew after a conflict, with a new timestamp, so often and no more', async () => {
    world.script.prewrite = ({ startVersion }) => ({
      errors: [conflictOf(startVersion, startVersion + 1n)],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    const error = await world.failure(putAll(['a'], { retries: 3 }));
    await later();
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'write-conflict']);
    const starts = world.of('prewrite').map(({ startVersion }) => startVersion);
    expect(new Set(starts).size).to.equal(4);
    expect([...starts].sort()).to.deep.equal(starts);
    // A batch that was refused as a whole has locked nothing.
    expect(world.of('batchRollback')).to.have.length(0);
  });

  it('removes the locks of the other batches when one is refused', async () => {
    world.cutAt('h');
    world.script.prewrite = ({ startVersion, mutations }) => ({
      errors:
        name(mutations[0]?.key ?? Buffer.of()) === 'k' ? [conflictOf(startVersion, startVersion + 1n)] : [],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    await world.failure(putAll(['a', 'k'], { ...TWO_PHASES, retries: 0 }));
    await later();
    expect(world.log.slice(2).sort()).to.deep.equal(['batchRollback a', 'batchRollback k']);
  });

  it('tells that a key to be inserted is there, and does not begin anew for it', async () => {
    world.script.prewrite = ({ mutations }) => ({
      errors: [keyErrorOf({ alreadyExist: { key: mutations[0]?.key ?? Buffer.of() } })],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    const error = await world.failure(world.db.transaction((txn) => txn.insert('a', '1')));
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'already-exists']);
    expect(world.of('prewrite')).to.have.length(1);
  });

  for (const options of [{}, ASYNC]) {
    const way = options === ASYNC ? 'async commit' : 'one phase';

    it(`finds out from its primary that its lost ${way} was committed`, async () => {
      world.script.prewrite = ({ startVersion }, nth) =>
        nth === 1
          ? 'silence'
          : { errors: [conflictOf(startVersion, startVersion)], minCommitTs: 0n, onePcCommitTs: 0n };
      world.script.checkTxnStatus = ({ lockTs }) => ({ lockTtl: 0, commitVersion: lockTs + 3n, action: 0 });
      const txn = await world.settle(world.db.begin(options));
      txn.put('a', '1');
      expect(await world.settle(txn.commit())).to.equal(txn.startTimestamp + 3n);
      expect(world.of('checkTxnStatus')[0]).to.deep.include({ rollbackIfNotExist: true });
    });

    it(`finds out from its primary that its lost ${way} was not committed`, async () => {
      world.script.prewrite = ({ startVersion }, nth) =>
        nth === 1
          ? 'silence'
          : { errors: [conflictOf(startVersion, startVersion + 1n)], minCommitTs: 0n, onePcCommitTs: 0n };
      const error = await world.failure(putAll(['a'], { ...options, retries: 0 }));
      expect([error.code, error.reason]).to.deep.equal(['conflict', 'write-conflict']);
      expect(world.of('checkTxnStatus')).to.have.length(1);
    });

    it(`asks its primary, too, when a lock stood in the way of the ${way} that was sent again`, async () => {
      for (const timeout of [10_000, 2_500]) {
        const start = world.ago(1_000);
        let first = true;
        world.script.prewrite = () => {
          if (first) {
            first = false;
            return 'silence';
          }
          const errors = [keyErrorOf({ locked: lockOn('a', start) })];
          return { errors, minCommitTs: 0n, onePcCommitTs: 0n };
        };
        // What was sent first has arrived after all.
        world.script.checkTxnStatus = ({ lockTs }) =>
          lockTs === start
            ? { lockTtl: 60_000, commitVersion: 0n, action: 0 }
            : { lockTtl: 0, commitVersion: lockTs + 3n, action: 0 };
        const txn = await world.settle(world.db.begin({ ...options, timeout }));
        txn.put('a', '1');
        expect(await world.settle(txn.commit())).to.equal(txn.startTimestamp + 3n);
      }
    });

    it(`asks its primary, too, when its signal is aborted before the ${way} is sent again`, async () => {
      world.script.checkTxnStatus = ({ lockTs }) => ({ lockTtl: 0, commitVersion: lockTs + 3n, action: 0 });
      // A try without a reply is given up after 2 s.
      for (let ms = 1_996; ms < 2_012; ms += 2) {
        const abort = new AbortController();
        world.script.prewrite = () => 'silence';
        const txn = await world.settle(world.db.begin({ ...options, signal: abort.signal }));
        txn.put('a', '1');
        const committed = txn.commit();
        world.world.clock.setTimeout(() => abort.abort(new Error('not wanted any more')), ms);
        expect(await world.settle(committed), `${ms} ms`).to.equal(txn.startTimestamp + 3n);
      }
    });

    it(`is undetermined when nobody ever answers its ${way}`, async () => {
      world.script.prewrite = () => 'silence';
      world.script.checkTxnStatus = () => 'silence';
      const error = await world.failure(putAll(['a'], { ...options, timeout: 5_000 }));
      expect(error.code).to.equal('undetermined');
    });
  }

  it('is a timeout when nobody ever answers a prewrite of two phases', async () => {
    world.script.prewrite = () => 'silence';
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 5_000 }));
    expect(error.code).to.equal('timeout');
  });

  it('keeps its locks alive while a prewrite takes long', async () => {
    world.cutAt('h');
    const until = world.world.clock.now() + 12_000;
    world.script.prewrite = ({ mutations }) =>
      name(mutations[0]?.key ?? Buffer.of()) === 'k' && world.world.clock.now() < until
        ? { regionError: { serverIsBusy: { reason: 'full', backoffMs: 500 } } }
        : { errors: [], minCommitTs: 0n, onePcCommitTs: 0n };
    await world.settle(putAll(['a', 'k'], { ...TWO_PHASES, timeout: 60_000 }));
    const beats = world.of('txnHeartBeat');
    expect(beats.length).to.be.within(4, 8);
    expect(beats.map(({ primaryLock }) => name(primaryLock))).to.include('a');
    expect(beats[0]?.adviseLockTtl).to.be.within(9_000, 10_500);
    const before = beats.length;
    await world.world.clock.advance(30_000);
    expect(world.of('txnHeartBeat')).to.have.length(before);
  });

  it('gives a heartbeat up when later ones say more', async () => {
    world.cutAt('h');
    world.script.prewrite = ({ mutations }) =>
      name(mutations[0]?.key ?? Buffer.of()) === 'k'
        ? { regionError: { serverIsBusy: { reason: 'full', backoffMs: 500 } } }
        : { errors: [], minCommitTs: 0n, onePcCommitTs: 0n };
    world.script.txnHeartBeat = () => 'silence';
    await world.failure(putAll(['a', 'k'], { ...TWO_PHASES, timeout: 60_000 }));
    const tries = new Map<number, number>();
    for (const { adviseLockTtl } of world.of('txnHeartBeat'))
      tries.set(adviseLockTtl, (tries.get(adviseLockTtl) ?? 0) + 1);
    expect(tries.size).to.be.above(20);
    // At once, after two seconds and after four more; the life of a lock is eight.
    expect(Math.max(...tries.values())).to.equal(3);
  });

  it('removes the lock of a transaction that has ended, and locks again', async () => {
    const start = world.ago(10_000);
    world.script.prewrite = (_, nth) => ({
      errors: nth === 1 ? [keyErrorOf({ locked: lockOn('a', start) })] : [],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    await world.settle(putAll(['a'], TWO_PHASES));
    expect(world.log).to.deep.equal([
      'prewrite a',
      'checkTxnStatus primary',
      'resolveLock a',
      'prewrite a',
      'commit a',
    ]);
    expect(world.of('checkTxnStatus')[0]).to.deep.include({ lockTs: start, callerStartTs: 0n });
    expect(world.of('resolveLock')[0]).to.deep.include({ startVersion: start, commitVersion: 0n });
  });

  it('resolves each lock of a large transaction once, whichever of its batches met it', async () => {
    const start = world.ago(10_000);
    const keys = Array.from({ length: 2_500 }, (_, i) => `key ${10_000 + i}`);
    const locked = new Set(keys);
    world.script.prewrite = ({ mutations }) => {
      const met = mutations.map(({ key }) => name(key)).filter((key) => locked.has(key));
      return {
        errors: met
          .slice(0, 800)
          .map((key) => keyErrorOf({ locked: lockOn(key, start, { txnSize: 2_500 }) })),
        minCommitTs: 0n,
        onePcCommitTs: 0n,
      };
    };
    world.script.checkTxnStatus = () => ({ lockTtl: 0, commitVersion: start + 1n, action: 0 });
    world.script.resolveLock = ({ keys: asked }) => {
      for (const key of asked) locked.delete(name(key));
      return { nextKey: Buffer.of() };
    };
    await world.settle(putAll(keys, TWO_PHASES));
    const resolved = world.of('resolveLock').flatMap(({ keys: asked }) => asked.map(name));
    expect(resolved.sort()).to.deep.equal(keys);
    expect(world.of('checkTxnStatus')).to.have.length(1);
  });

  it('does not wait for ever for a transaction that began before it', async () => {
    const start = world.ago(1_000);
    world.script.prewrite = () => ({
      errors: [keyErrorOf({ locked: lockOn('a', start) })],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    world.script.checkTxnStatus = () => ({ lockTtl: 60_000, commitVersion: 0n, action: 0 });
    const began = world.world.clock.now();
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, retries: 0 }));
    expect([error.code, error.reason]).to.deep.equal(['conflict', 'write-conflict']);
    expect(world.world.clock.now() - began).to.be.within(900, 2_000);
  });

  it('waits for a transaction that began after it, until its own time is over', async () => {
    world.script.prewrite = ({ startVersion }) => ({
      errors: [keyErrorOf({ locked: lockOn('a', startVersion + 1n) })],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    world.script.checkTxnStatus = () => ({ lockTtl: 60_000, commitVersion: 0n, action: 0 });
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 4_000 }));
    expect([error.code, error.message]).to.satisfy(
      ([code, message]: string[]) => code === 'timeout' && /is locked by the transaction/.test(message ?? ''),
    );
    expect(error.reason).to.equal('key-is-locked');
  });

  it('names the lock when all of its tries have met it, and the time is over', async () => {
    const start = world.ago(1_000);
    world.script.prewrite = () => ({
      errors: [keyErrorOf({ locked: lockOn('a', start) })],
      minCommitTs: 0n,
      onePcCommitTs: 0n,
    });
    world.script.checkTxnStatus = () => ({ lockTtl: 60_000, commitVersion: 0n, action: 0 });
    const error = await world.failure(putAll(['a'], { ...TWO_PHASES, timeout: 5_000 }));
    expect(error.code).to.be.oneOf(['conflict', 'timeout']);
    expect(error.message).to.match(
      /^Key "a" is locked by the transaction that began at \d+ \(primary "primary"\), \d\.\d s ago; its time to live ends in 5\d\.\d s/,
    );
  });

  it('reads its own writes', async () => {
    world.script.get = () => ({ value: Buffer.from('stored'), notFound: false });
    const seen = await world.settle(
      world.db.transaction(async (txn) => {
        txn.put('a', 'own');
        txn.delete('b');
        return [await txn.get('a'), await txn.get('b'), await txn.get('c')].map(text);
      }),
    );
    expect(seen).to.deep.equal(['own', undefined, 'stored']);
    expect(world.log.slice(0, 1)).to.deep.equal(['get c']);
  });
});

function conflictOf(startTs: bigint, conflictTs: bigint) {
  const key = Buffer.from('a');
  return keyErrorOf({
    conflict: { startTs, conflictTs, key, primary: key, conflictCommitTs: startTs + 3n, reason: 1 },
  });
}

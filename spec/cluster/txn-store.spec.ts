import { expect } from 'chai';
import type { troupepb } from '../../cluster/proto/index.js';
import { requestOf } from '../../cluster/store/txn/replicated-changes.js';
import { MAX_TIMESTAMP, txnKey } from '../../storage/index.js';
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

describe('transactions in a store', () => {
  let world: TxnWorld;

  before(async () => {
    world = await TxnWorld.start(3);
  });

  afterEach(async () => {
    await world.when('no command under way', () =>
      [...world.stores.values()].every(({ txn }) => txn.writes.size === 0),
    );
    world.expectIdle();
  });

  after(() => world.close());

  it('commit in two phases: nothing is there before, everything from the commit timestamp on', async () => {
    const before = await world.ts();
    const startTs = await world.ts();
    expect((await world.prewrite(startTs, { a: '1', b: '2' })).errors).to.deep.equal([]);
    const between = await world.ts();
    expect(await world.at(before, 'a')).to.equal('-');
    expect(await world.at(between, 'a')).to.equal(`locked by ${startTs}`);
    const commitTs = await world.ts();
    expect((await world.commit(startTs, commitTs, ['a', 'b'])).commitVersion).to.equal(commitTs);
    for (const [ts, found] of [
      [between, ['-', '-']],
      [commitTs - 1n, ['-', '-']],
      [commitTs, ['1', '2']],
      [MAX_TIMESTAMP, ['1', '2']],
    ] as const)
      expect([await world.at(ts, 'a'), await world.at(ts, 'b')], `${ts}`).to.deep.equal(found);
  });

  it('take one of two prewrites of a key in one turn, in the order in which they came', async () => {
    const [first, second] = [await world.ts(), await world.ts()];
    const { responses } = await world.send(1, [
      prewriteRequest(second, { two: 's' }),
      prewriteRequest(first, { two: 'f' }),
    ]);
    expect(responses[0]?.prewrite?.errors).to.deep.equal([]);
    expect(responses[1]?.prewrite?.errors.map(({ locked }) => locked?.lockVersion)).to.deep.equal([second]);
    await world.one(rollbackRequest(second, 'two'));
  });

  it('queue many commands of one key, each of which sees what those before it have done', async () => {
    const starts: bigint[] = [];
    for (let i = 0; i < 20; i++) starts.push(await world.ts());
    const { responses } = await world.send(
      1,
      starts.flatMap((ts) => [prewriteRequest(ts, { hot: `${ts}` }), rollbackRequest(ts, 'hot')]),
    );
    for (const [i, response] of responses.entries()) {
      if (i % 2 === 0) expect(response.prewrite?.errors, `prewrite ${i}`).to.deep.equal([]);
      else expect(response.batchRollback?.error, `rollback ${i}`).to.equal(undefined);
    }
    expect(await world.at(await world.ts(), 'hot')).to.equal('-');
  });

  it('answer raw and transactional requests of one call, and keep the two spaces apart', async () => {
    const startTs = await world.ts();
    const { responses } = await world.send(1, [
      { rawPut: { key: bytes('both'), value: bytes('raw'), cf: '' } },
      prewriteRequest(startTs, { both: 'txn' }),
      { rawPut: { key: bytes('other'), value: bytes('raw'), cf: '' } },
    ]);
    expect(responses.map((one) => Object.keys(one)[0])).to.deep.equal(['rawPut', 'prewrite', 'rawPut']);
    const commitTs = await world.ts();
    await world.commit(startTs, commitTs, ['both']);
    const reads = await world.send(1, [
      { rawGet: { key: bytes('both'), cf: '' } },
      txnGet(commitTs, 'both'),
      { rawGet: { key: bytes('nothing'), cf: '' } },
      txnGet(commitTs, 'nothing'),
    ]);
    expect(
      reads.responses.map(({ rawGet, get }) => [
        show(rawGet?.value ?? get?.value),
        (rawGet ?? get)?.notFound,
      ]),
    ).to.deep.equal([
      ['raw', false],
      ['txn', false],
      ['', true],
      ['', true],
    ]);
    await world.one({ rawDeleteRange: { startKey: bytes(''), endKey: bytes(''), cf: 'write' } });
    await world.one({ rawDeleteRange: { startKey: bytes(''), endKey: bytes(''), cf: '' } });
    expect(await world.at(commitTs, 'both')).to.equal('txn');
    expect(await world.get('both')).to.equal(undefined);
  });

  it('scan in both directions, with locks in their places', async () => {
    await world.transact({ 's/1': 'a', 's/2': 'b', 's/4': 'd' });
    const startTs = await world.ts();
    await world.prewrite(startTs, { 's/3': 'c' });
    const ts = await world.ts();
    const line = ({ scan }: troupepb.RegionResponse) =>
      scan?.pairs.map(({ key, value, error }) => `${show(key)}=${error?.locked?.lockVersion ?? show(value)}`);
    const forward = ['s/1=a', 's/2=b', `s/3=${startTs}`, 's/4=d'];
    expect(line(await world.one(scanTxn(ts, 's/', 's0')))).to.deep.equal(forward);
    expect(line(await world.one(scanTxn(ts, 's0', 's/', { reverse: true })))).to.deep.equal(
      [...forward].reverse(),
    );
    const page = await world.one(scanTxn(ts, 's/', 's0', { limit: 2 }));
    expect([line(page), page.scan?.more, show(page.scan?.lastKey)]).to.deep.equal([
      forward.slice(0, 2),
      true,
      's/2',
    ]);
    const scanLock = { maxVersion: ts, startKey: bytes('s/'), endKey: bytes('s0'), limit: 0 };
    const { scanLock: found } = await world.one({ scanLock });
    expect(found?.locks.map(({ key, lockVersion }) => [show(key), lockVersion])).to.deep.equal([
      ['s/3', startTs],
    ]);
    expect([found?.more, show(found?.lastKey)]).to.deep.equal([false, 's/3']);
    const { scanLock: younger } = await world.one({ scanLock: { ...scanLock, maxVersion: startTs - 1n } });
    expect([younger?.locks, show(younger?.lastKey)]).to.deep.equal([[], 's/3']);
    const { mvccGetByKey } = await world.one({ mvccGetByKey: { key: bytes('s/3'), beforeTs: 0n } });
    expect(mvccGetByKey?.info?.lock?.startTs).to.equal(startTs);
    await world.one(rollbackRequest(startTs, 's/3'));
  });

  it('read a bounded number of keys in one turn, and the others in the next ones', async () => {
    const engine = world.engines.get('store-1') ?? expect.fail('no engine');
    const multiGet = engine.multiGet.bind(engine);
    const looked: number[] = [];
    engine.multiGet = (cf, keys, snapshot) => {
      looked.push(keys.length);
      return multiGet(cf, keys, snapshot);
    };
    const ts = await world.ts();
    const keys = Array.from({ length: 1_500 }, (_, i) => bytes(`many/${i}`));
    const calls = Array.from({ length: 8 }, (_, i) =>
      i % 2 === 0 ? keys.map((key) => ({ rawGet: { key, cf: '' } })) : [{ batchGet: { keys, version: ts } }],
    );
    const replies = await world.until(Promise.all(calls.map((requests) => world.post(1, requests))));
    expect(replies.map(({ responses }) => responses.length)).to.deep.equal(calls.map(({ length }) => length));
    expect(Math.max(...looked)).to.be.within(1_500, 4_096 + 1_500);
  });

  it('cut a reply where it is full, and say where', async () => {
    const value = 'x'.repeat(300_000);
    for (const key of ['big/1', 'big/2', 'big/3', 'big/4', 'big/5']) await world.transact({ [key]: value });
    const keys = [1, 2, 3, 4, 5].map((i) => bytes(`big/${i}`));
    const ts = await world.ts();
    const { batchGet } = await world.one({ batchGet: { keys, version: ts } });
    expect([batchGet?.pairs.length, batchGet?.answered]).to.deep.equal([3, 3]);
    const rest = await world.one({ batchGet: { keys: keys.slice(3), version: ts } });
    expect([rest.batchGet?.pairs.length, rest.batchGet?.answered]).to.deep.equal([2, 0]);
    const { scan } = await world.one(scanTxn(ts, 'big/', 'big0'));
    expect(scan?.more).to.equal(true);
    expect(scan?.pairs.length).to.be.within(1, 3);
    expect(show(scan?.lastKey)).to.equal(show(scan?.pairs.at(-1)?.key));
  });

  it('resolve the locks of a region by their transactions, and say where to go on', async () => {
    const [one, two, other] = [await world.ts(), await world.ts(), await world.ts()];
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`r/${1000 + i}`, `${i}`]));
    await world.prewrite(one, many, { primary: 'r/1000' });
    await world.prewrite(two, { 'r/two': 'x' });
    await world.prewrite(other, { 'r/other': 'y' });
    const commitTs = await world.ts();
    const resolveLock = {
      startVersion: 0n,
      commitVersion: 0n,
      keys: [],
      startKey: new Uint8Array(0),
      txnInfos: [
        { txn: one, status: commitTs },
        { txn: two, status: 0n },
      ],
    };
    const first = await world.one({ resolveLock });
    expect([first.resolveLock?.error, show(first.resolveLock?.nextKey)]).to.deep.equal([
      undefined,
      'r/1255\0',
    ]);
    const startKey = first.resolveLock?.nextKey ?? expect.fail('no key');
    const second = await world.one({ resolveLock: { ...resolveLock, startKey } });
    expect([second.resolveLock?.error, second.resolveLock?.nextKey.length]).to.deep.equal([undefined, 0]);
    const ts = await world.ts();
    for (const [key, value] of [
      ['r/1000', '0'],
      ['r/1299', '299'],
      ['r/two', '-'],
      ['r/other', `locked by ${other}`],
    ] as const)
      expect(await world.at(ts, key)).to.equal(value);
    await world.one(rollbackRequest(other, 'r/other'));
  });

  it('tell what became of a transaction', async () => {
    const startTs = await world.ts();
    await world.prewrite(startTs, { status: '1' }, { ttl: 1_000 });
    const check = async (currentTs: bigint, callerStartTs = currentTs) => {
      const { checkTxnStatus } = await world.one({
        checkTxnStatus: {
          primaryKey: bytes('status'),
          lockTs: startTs,
          callerStartTs,
          currentTs,
          rollbackIfNotExist: true,
          forceSyncCommit: false,
          verifyIsPrimary: true,
        },
      });
      return checkTxnStatus;
    };
    const now = await world.ts();
    expect((await check(now))?.lockTtl).to.equal(1_000);
    const beat = await world.one({
      txnHeartBeat: { primaryLock: bytes('status'), startVersion: startTs, adviseLockTtl: 1_500 },
    });
    expect(beat.txnHeartBeat?.lockTtl).to.equal(1_500);
    await world.rest(2_000);
    const rolledBack = await check(await world.ts());
    expect([rolledBack?.lockTtl, rolledBack?.commitVersion, rolledBack?.action]).to.deep.equal([0, 0n, 1]);
    const { error } = await world.commit(startTs, await world.ts(), ['status']);
    expect(error?.txnLockNotFound).not.to.equal(undefined);
  });

  it('refuse what cannot be, request by request', async () => {
    const startTs = await world.ts();
    const future = startTs + (1n << 40n);
    const { responses } = await world.send(1, [
      prewriteRequest(startTs, { '': 'empty' }),
      prewriteRequest(0n, { g: 'no timestamp' }),
      prewriteRequest(MAX_TIMESTAMP, { g: 'never' }),
      prewriteRequest(future, { g: 'to come' }),
      commitRequest(startTs, startTs, ['g']),
      prewriteRequest(startTs, { g: 'fine' }),
    ]);
    const errors = responses.map(({ prewrite, commit }) => (prewrite?.errors[0] ?? commit?.error)?.invalid);
    expect(errors.map((one) => (one ? 'invalid' : one))).to.deep.equal([
      'invalid',
      'invalid',
      'invalid',
      'invalid',
      'invalid',
      undefined,
    ]);
    expect((await world.getAt(future, 'g')).error?.invalid).to.contain('was not given');
    const scan = await world.one(scanTxn(MAX_TIMESTAMP, 'g', 'h'));
    expect(scan.scan?.error?.invalid).to.contain('point reads');
    expect((await world.getAt(startTs, '')).error?.invalid).to.contain('empty key');
    await world.one(rollbackRequest(startTs, 'g'));
  });

  it('refuse a command that takes more than an entry, and answer those beside it', async () => {
    const [startTs, other] = [await world.ts(), await world.ts()];
    const reply = await world.send(1, [prewriteRequest(startTs, { large: 'x'.repeat(1_000_000), l2: 'y' })]);
    expect(reply.regionError?.raftEntryTooLarge?.entrySize).to.be.greaterThan(1_000_000);
    const beside = await world.until(
      Promise.all([
        world.post(1, [prewriteRequest(other, { beside: 'z' })]),
        world.post(1, [prewriteRequest(startTs, { large: 'x'.repeat(1_000_000) })]),
      ]),
    );
    expect(beside[0]?.responses[0]?.prewrite?.errors).to.deep.equal([]);
    expect(beside[1]?.regionError?.raftEntryTooLarge).not.to.equal(undefined);
    await world.one(rollbackRequest(other, 'beside'));
  });

  it('put several large commands of a turn into several entries', async () => {
    const starts = [await world.ts(), await world.ts(), await world.ts()];
    const requests = starts.map((ts, i) => prewriteRequest(ts, { [`wide/${i}`]: 'w'.repeat(250_000) }));
    const replies = await world.until(Promise.all(requests.map((one) => world.post(1, [one]))));
    for (const { responses } of replies) expect(responses[0]?.prewrite?.errors).to.deep.equal([]);
    for (const [i, ts] of starts.entries()) await world.one(rollbackRequest(ts, `wide/${i}`));
  });

  it('read at a start timestamp what a transaction of its time sees, below the safe point nothing', async () => {
    const old = await world.transact({ sp: '1' });
    const safePoint = await world.transact({ sp: '2' });
    for (const { txn } of world.stores.values())
      txn.safePoints.heard({ transaction: safePoint, gc: safePoint }, world.clock.now());
    expect((await world.getAt(old, 'sp')).error?.abort).to.contain('safe point');
    expect((await world.prewrite(old, { sp: '3' })).errors[0]?.abort).to.contain('safe point');
    expect(await world.at(safePoint, 'sp')).to.equal('2');
    const early = await world.one({ gc: { safePoint: (await world.ts()) + 1n, startKey: bytes('') } });
    expect(early.gc?.error?.abort).to.contain('safe point');
    let startKey: Uint8Array = bytes('');
    for (;;) {
      const { gc } = await world.one({ gc: { safePoint, startKey } });
      expect(gc?.error).to.equal(undefined);
      if (gc === undefined || gc.nextKey.length === 0) break;
      startKey = gc.nextKey;
    }
    const { mvccGetByKey } = await world.one({ mvccGetByKey: { key: bytes('sp'), beforeTs: 0n } });
    expect(mvccGetByKey?.info?.writes.map(({ commitTs }) => commitTs)).to.deep.equal([safePoint]);
    expect(await world.at(safePoint, 'sp')).to.equal('2');
  });

  it('write nothing late that began at the safe point: that they were rolled back is forgotten', async () => {
    const startTs = await world.ts();
    const status = { primaryKey: bytes('late'), lockTs: startTs, callerStartTs: 0n, currentTs: startTs };
    const { checkTxnStatus } = await world.one({
      checkTxnStatus: { ...status, rollbackIfNotExist: true, forceSyncCommit: false, verifyIsPrimary: false },
    });
    expect(checkTxnStatus?.error).to.equal(undefined);
    for (const { txn } of world.stores.values())
      txn.safePoints.heard({ transaction: startTs, gc: startTs }, world.clock.now());
    await world.one({ gc: { safePoint: startTs, startKey: bytes('late') } });
    const { mvccGetByKey } = await world.one({ mvccGetByKey: { key: bytes('late'), beforeTs: 0n } });
    expect(mvccGetByKey?.info?.writes).to.deep.equal([]);
    expect((await world.prewrite(startTs, { late: 'v' })).errors[0]?.abort).to.contain('safe point');
    expect(await world.at(startTs, 'late')).to.equal('-');
  });

  it('leave garbage to the next pass where a command is at the key', async () => {
    await world.transact({ 'gc/a': '1', 'gc/b': '1' });
    await world.transact({ 'gc/a': '2', 'gc/b': '2' });
    const safePoint = await world.ts();
    for (const { txn } of world.stores.values())
      txn.safePoints.heard({ transaction: safePoint, gc: safePoint }, world.clock.now());
    const startTs = await world.ts();
    for (const name of world.stores.keys()) world.latencies.set(name, 30);
    const gc = { safePoint, startKey: bytes('gc/') };
    await world.until(
      Promise.all([world.post(1, [prewriteRequest(startTs, { 'gc/a': '3' })]), world.post(1, [{ gc }])]),
    );
    world.latencies.clear();
    const versions = async (key: string) =>
      (await world.one({ mvccGetByKey: { key: bytes(key), beforeTs: 0n } })).mvccGetByKey?.info?.writes
        .length;
    expect([await versions('gc/a'), await versions('gc/b')]).to.deep.equal([2, 1]);
    await world.one({ gc });
    expect([await versions('gc/a'), await versions('gc/b')]).to.deep.equal([1, 1]);
    await world.one(rollbackRequest(startTs, 'gc/a'));
  });

  it('answer a record that cannot be read to those who ask for it, and serve the others', async () => {
    const [startTs, other, ts] = [await world.ts(), await world.ts(), await world.ts()];
    const replica = world.peer(1, world.leaderOf(1));
    const damage = { cf: 'lock', key: txnKey(bytes('damaged')), value: bytes('?') } as const;
    let visible = false;
    replica.proposeChanges(
      [requestOf(damage)],
      replica.group.term,
      () => {},
      () => {
        visible = true;
      },
    );
    await world.when('the damage', () => visible);
    const { responses } = await world.send(1, [
      prewriteRequest(startTs, { damaged: 'x' }),
      prewriteRequest(other, { whole: 'x' }),
    ]);
    expect(responses[0]?.prewrite?.errors[0]?.abort).not.to.equal('');
    expect(responses[1]?.prewrite?.errors).to.deep.equal([]);
    const reads = await world.send(1, [txnGet(ts, 'damaged'), txnGet(ts, 'a'), scanTxn(ts, 'd', 'e')]);
    expect(reads.responses[0]?.get?.error?.abort).to.be.a('string').that.is.not.equal('');
    expect(reads.responses[1]?.get?.error).to.equal(undefined);
    expect(reads.responses[2]?.scan?.error?.abort).to.be.a('string').that.is.not.equal('');
    visible = false;
    replica.proposeChanges(
      [requestOf({ ...damage, value: undefined })],
      replica.group.term,
      () => {},
      () => {
        visible = true;
      },
    );
    await world.when('the end of the damage', () => visible);
    await world.one(rollbackRequest(other, 'whole'));
  });
});

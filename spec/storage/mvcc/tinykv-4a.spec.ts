/**
 * TinyKV's tests of project 4A, by name.
 *
 * TinyKV has a transaction object that gathers changes; here commands do. So what it puts and deletes is compared as the
 * changes of the command that does it, in TiKV's bytes, with the lock under the encoded key.
 */
import { expect } from 'chai';
import {
  type CommittedWrite,
  decodeLock,
  encodeLock,
  encodeWrite,
  MAX_TIMESTAMP,
  type MvccChange,
  type Timestamp,
  txnKey,
  withTimestamp,
} from '../../../storage/index.js';
import { ReadPlan } from '../../../storage/mvcc/read-plan.js';
import {
  bytes,
  del,
  describeOnEngines,
  lockOf,
  long,
  type MvccWorld,
  prewriteOf,
  put,
  type Row,
  writeOf,
} from './mvcc-world.js';

const KEY = bytes(16, 240);
const FIRST = long(1, 2, 3);
const SECOND = long(255, 0, 255);

const singleEntry: Row[] = [
  { cf: 'default', key: KEY, ts: 40n, value: FIRST },
  { cf: 'write', key: KEY, ts: 42n, write: writeOf('put', 40n) },
];
const twoEntries: Row[] = [
  ...singleEntry,
  { cf: 'default', key: KEY, ts: 50n, value: SECOND },
  { cf: 'write', key: KEY, ts: 52n, write: writeOf('put', 50n) },
];
const deleted: Row[] = [...singleEntry, { cf: 'write', key: KEY, ts: 52n, write: writeOf('delete', 50n) }];

describeOnEngines('TinyKV 4A', (world) => {
  const changesIn = (changes: readonly MvccChange[], cf: string) =>
    changes.filter((change) => change.cf === cf);

  async function value(ts: Timestamp, key = KEY) {
    return world().get(key, ts);
  }

  it('TestPutLock4A', async () => {
    const key = bytes(1);
    const { changes } = await world().run(prewriteOf(100n, bytes(16), [del(key)], { ttl: 100_000 }));
    const lock = lockOf({ kind: 'delete', primary: bytes(16), startTs: 100n, ttl: 100_000, txnSize: 1 });
    expect(changes).to.deep.equal([{ cf: 'lock', key: txnKey(key), value: encodeLock(lock) }]);
  });

  it('TestPutWrite4A', async () => {
    await world().init([
      { cf: 'lock', key: KEY, lock: lockOf({ kind: 'delete', primary: KEY, startTs: 100n }) },
    ]);
    const { changes } = await world().run({ kind: 'commit', keys: [KEY], startTs: 100n, commitTs: 101n });
    expect(changesIn(changes, 'write')).to.deep.equal([
      { cf: 'write', key: withTimestamp(txnKey(KEY), 101n), value: encodeWrite(writeOf('delete', 100n)) },
    ]);
  });

  it('TestPutValue4A', async () => {
    const key = bytes(32);
    const stored = long(1, 1, 2, 3, 5, 8, 13);
    const { changes } = await world().run(prewriteOf(453_325_345n, key, [put(key, stored)]));
    expect(changesIn(changes, 'default')).to.deep.equal([
      { cf: 'default', key: withTimestamp(txnKey(key), 453_325_345n), value: stored },
    ]);
  });

  it('TestGetLock4A', async () => {
    const lock = lockOf({ kind: 'lock', primary: bytes(16), startTs: 100n, ttl: 100_000 });
    await world().init([{ cf: 'lock', key: bytes(1), lock }]);
    const locks = await world().read((reader) => reader.locks([txnKey(bytes(1)), txnKey(bytes(2))]));
    expect(locks.map((found) => found && decodeLock(encodeLock(found)))).to.deep.equal([
      decodeLock(encodeLock(lock)),
      undefined,
    ]);
    expect(locks[0]).to.include({ kind: 'lock', startTs: 100n, ttl: 100_000 });
  });

  it('TestDeleteLock4A', async () => {
    const key = bytes(1);
    await world().init([{ cf: 'lock', key, lock: lockOf({ primary: key, startTs: 42n, kind: 'lock' }) }]);
    const { changes } = await world().run({ kind: 'commit', keys: [key], startTs: 42n, commitTs: 43n });
    expect(changesIn(changes, 'lock')).to.deep.equal([{ cf: 'lock', key: txnKey(key), value: undefined }]);
  });

  it('TestDeleteValue4A', async () => {
    const key = bytes(17, 255, 0);
    await world().run(prewriteOf(63_454_245n, key, [put(key, long(9))]));
    const { changes } = await world().run({ kind: 'rollback', keys: [key], startTs: 63_454_245n });
    expect(changesIn(changes, 'default')).to.deep.equal([
      { cf: 'default', key: withTimestamp(txnKey(key), 63_454_245n), value: undefined },
    ]);
  });

  it('TestGetValueSimple4A', async () => {
    await world().init(singleEntry);
    expect(await value(43n)).to.deep.equal({ value: FIRST });
  });

  it('TestGetValueMissing4A', async () => {
    await world().init(singleEntry);
    expect(await value(43n, bytes(16, 241))).to.deep.equal({ value: undefined });
  });

  it('TestGetValueTooEarly4A', async () => {
    await world().init(singleEntry);
    expect(await value(41n)).to.deep.equal({ value: undefined });
  });

  it('TestGetValueOverwritten4A', async () => {
    await world().init(twoEntries);
    expect(await value(52n)).to.deep.equal({ value: SECOND });
  });

  it('TestGetValueNotOverwritten4A', async () => {
    await world().init(twoEntries);
    expect(await value(50n)).to.deep.equal({ value: FIRST });
  });

  it('TestGetValueDeleted4A', async () => {
    await world().init(deleted);
    expect(await value(500n)).to.deep.equal({ value: undefined });
  });

  it('TestGetValueNotDeleted4A', async () => {
    await world().init(deleted);
    expect(await value(45n)).to.deep.equal({ value: FIRST });
  });

  it('TestCurrentWrite4A', async () => {
    await world().init(twoEntries);
    expect(await recordOf(world(), 50n)).to.deep.equal({ state: 'committed', commitTs: 52n });
    expect(await recordOf(world(), 40n)).to.deep.equal({ state: 'committed', commitTs: 42n });
    expect((await recordOf(world(), 41n)).state).to.equal('none');
  });

  it('TestMostRecentWrite4A', async () => {
    expect(await newestOf(world(), KEY)).to.equal(undefined);
    await world().init(twoEntries);
    expect(await newestOf(world(), KEY)).to.include({ kind: 'put', startTs: 50n, commitTs: 52n });
    expect(await newestOf(world(), bytes(16))).to.equal(undefined);
    await world().clear();
    await world().init(deleted);
    expect(await newestOf(world(), KEY)).to.include({ kind: 'delete', startTs: 50n, commitTs: 52n });
  });
});

function recordOf(world: MvccWorld, startTs: Timestamp) {
  return world.read(async (reader) => {
    const plan = new ReadPlan(reader);
    const record = plan.record(txnKey(KEY), startTs);
    await plan.read();
    return record.value;
  });
}

function newestOf(world: MvccWorld, key: Uint8Array): Promise<CommittedWrite | undefined> {
  return world.read(async (reader) => {
    const plan = new ReadPlan(reader);
    const newest = plan.newest(txnKey(key), MAX_TIMESTAMP);
    await plan.read();
    return newest.value;
  });
}

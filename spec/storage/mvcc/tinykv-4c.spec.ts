/**
 * TinyKV's tests of project 4C, by name.
 *
 * As in 4B values are long, records are compared by what they say, and a lock has a primary. TinyKV's ResolveLock walks
 * over all locks by itself; here a store does so, with the two calls that this spec makes.
 */
import { expect } from 'chai';
import { MAX_TIMESTAMP, type MvccOutcome, type Timestamp, txnKey } from '../../../storage/index.js';
import { bytes, describeOnEngines, lockOf, long, type Row, writeOf } from './mvcc-world.js';

const PRIMARY = bytes(1);
/** Physical times far apart, as in TinyKV: the fifth byte from the left counts in steps of more than an hour. */
const LOCK_TS = (5n << 40n) + 100n;
const CURRENT_TS = (6n << 40n) + 100n;

const value = (key: Uint8Array, ts: Timestamp, ...content: number[]): Row => ({
  cf: 'default',
  key,
  ts,
  value: long(...content),
});
const written = (
  key: Uint8Array,
  ts: Timestamp,
  startTs: Timestamp,
  kind: 'put' | 'delete' | 'rollback' = 'put',
): Row => ({
  cf: 'write',
  key,
  ts,
  write: writeOf(kind, startTs),
});
const locked = (key: Uint8Array, startTs: Timestamp, ttl = 0, primary = PRIMARY): Row => ({
  cf: 'lock',
  key,
  lock: lockOf({ primary, startTs, ttl }),
});

describeOnEngines('TinyKV 4C', (world) => {
  /** The record under a commit timestamp. */
  function record(key: Uint8Array, commitTs: Timestamp) {
    return world().read(async (reader) => (await reader.writesAt([{ stored: txnKey(key), commitTs }]))[0]);
  }

  describe('Rollback', () => {
    const rollback = (...keys: Uint8Array[]): Promise<MvccOutcome> =>
      world().run({ kind: 'rollback', keys, startTs: 100n });
    const prewritten = (key: Uint8Array, ...content: number[]): Row[] => [
      value(key, 100n, ...content),
      locked(key, 100n),
    ];

    it('TestEmptyRollback4C', async () => {
      expect((await rollback()).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([0, 0, 0]);
    });

    it('TestRollback4C', async () => {
      await world().init(prewritten(bytes(3), 42));
      expect((await rollback(bytes(3))).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([0, 0, 1]);
      expect(await record(bytes(3), 100n)).to.include({ kind: 'rollback', startTs: 100n });
    });

    it('TestRollbackDuplicateKeys4C', async () => {
      await world().init([...prewritten(bytes(3), 42), ...prewritten(bytes(15), 0)]);
      expect((await rollback(bytes(3), bytes(15), bytes(3))).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([0, 0, 2]);
      for (const key of [bytes(3), bytes(15)]) {
        expect(await record(key, 100n)).to.include({ kind: 'rollback', startTs: 100n });
      }
    });

    it('TestRollbackMissingPrewrite4C', async () => {
      expect((await rollback(bytes(3))).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([0, 0, 1]);
      expect(await record(bytes(3), 100n)).to.include({ kind: 'rollback', startTs: 100n });
    });

    it('TestRollbackCommitted4C', async () => {
      await world().init([value(bytes(3), 100n, 42), written(bytes(3), 110n, 100n)]);
      const before = await world().dump();
      expect((await rollback(bytes(3))).errors).to.deep.equal([
        { code: 'committed', startTs: 100n, commitTs: 110n },
      ]);
      expect(await world().lens()).to.deep.equal([1, 0, 1]);
      expect(await world().dump()).to.equal(before);
    });

    it('TestRollbackDuplicate4C', async () => {
      await world().init([written(bytes(3), 100n, 100n, 'rollback')]);
      const { errors, changes } = await rollback(bytes(3));
      expect({ errors, changes }).to.deep.equal({ errors: [], changes: [] });
    });

    it('TestRollbackOtherTxn4C', async () => {
      await world().init([value(bytes(3), 80n, 42), locked(bytes(3), 80n)]);
      expect((await rollback(bytes(3))).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([1, 1, 1]);
      expect((await world().locks(MAX_TIMESTAMP)).map(({ startTs }) => startTs)).to.deep.equal([80n]);
      expect(await record(bytes(3), 100n)).to.include({ kind: 'rollback', startTs: 100n });
    });
  });

  describe('CheckTxnStatus', () => {
    async function check() {
      const { reply, errors } = await world().run({
        kind: 'checkTxnStatus',
        primary: bytes(3),
        lockTs: LOCK_TS,
        callerStartTs: 0n,
        currentTs: CURRENT_TS,
        rollbackIfNotExist: true,
        forceSyncCommit: false,
        verifyIsPrimary: false,
      });
      expect(errors).to.deep.equal([]);
      return reply.kind === 'checkTxnStatus' ? reply.status : undefined;
    }

    it('TestCheckTxnStatusTtlExpired4C', async () => {
      await world().init([value(bytes(3), LOCK_TS, 42), locked(bytes(3), LOCK_TS, 8, bytes(3))]);
      expect(await check()).to.deep.equal({ state: 'rolled-back', action: 'ttl-expired' });
      expect(await world().lens()).to.deep.equal([0, 0, 1]);
      expect(await record(bytes(3), LOCK_TS)).to.include({ kind: 'rollback', startTs: LOCK_TS });
    });

    it('TestCheckTxnStatusTtlNotExpired4C', async () => {
      await world().init([value(bytes(3), LOCK_TS, 42), locked(bytes(3), LOCK_TS, 2 ** 32 + 8, bytes(3))]);
      const before = await world().dump();
      expect(await check()).to.include({ state: 'locked', action: 'none' });
      expect(await world().lens()).to.deep.equal([1, 1, 0]);
      expect(await world().dump()).to.equal(before);
    });

    it('TestCheckTxnStatusRolledBack4C', async () => {
      await world().init([
        value(bytes(3), LOCK_TS, 42),
        written(bytes(3), LOCK_TS, LOCK_TS, 'rollback'),
        locked(bytes(3), (8n << 40n) + 100n, 8, bytes(3)),
      ]);
      const before = await world().dump();
      expect(await check()).to.deep.equal({ state: 'rolled-back', action: 'none' });
      expect(await world().dump()).to.equal(before);
    });

    it('TestCheckTxnStatusCommitted4C', async () => {
      // TinyKV's record is committed at the timestamp at which it began, which no oracle would give.
      await world().init([value(bytes(3), LOCK_TS, 42), written(bytes(3), LOCK_TS, LOCK_TS)]);
      const before = await world().dump();
      expect(await check()).to.deep.equal({ state: 'committed', commitTs: LOCK_TS });
      expect(await world().dump()).to.equal(before);
    });

    it('TestCheckTxnStatusNoLockNoWrite4C', async () => {
      expect(await check()).to.deep.equal({ state: 'rolled-back', action: 'lock-not-exist' });
      expect(await world().lens()).to.deep.equal([0, 0, 1]);
      expect(await record(bytes(3), LOCK_TS)).to.include({ kind: 'rollback', isProtected: true });
    });
  });

  describe('ResolveLock', () => {
    /** All locks of a transaction, as a store does it. */
    async function resolve(startTs: Timestamp, commitTs: Timestamp): Promise<MvccOutcome> {
      const locks = await world().locks(startTs);
      const keys = locks.filter((lock) => lock.startTs === startTs).map(({ key }) => key);
      return world().run({ kind: 'resolveLock', keys, statuses: new Map([[startTs, commitTs]]) });
    }

    const threeLocks = [
      value(bytes(3), 100n, 42),
      locked(bytes(3), 100n),
      value(bytes(7), 100n, 43),
      locked(bytes(7), 100n),
      value(bytes(200), 110n, 44),
      locked(bytes(200), 110n),
    ];
    const noneLeft = [
      value(bytes(3), 100n, 42),
      written(bytes(201), 120n, 100n),
      value(bytes(7), 100n, 43),
      written(bytes(201), 100n, 100n, 'rollback'),
      value(bytes(200), 110n, 44),
      locked(bytes(200), 110n),
    ];

    it('TestEmptyResolve4C', async () => {
      expect((await resolve(0n, 0n)).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([0, 0, 0]);
    });

    it('TestResolveCommit4C', async () => {
      await world().init(threeLocks);
      expect((await resolve(100n, 120n)).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([3, 1, 2]);
      for (const key of [bytes(3), bytes(7)]) {
        expect(await record(key, 120n)).to.include({ kind: 'put', startTs: 100n });
      }
      expect((await world().locks(MAX_TIMESTAMP)).map(({ key }) => [...key])).to.deep.equal([[200]]);
    });

    it('TestResolveRollback4C', async () => {
      await world().init(threeLocks);
      expect((await resolve(100n, 0n)).errors).to.deep.equal([]);
      expect(await world().lens()).to.deep.equal([1, 1, 2]);
      for (const key of [bytes(3), bytes(7)]) {
        expect(await record(key, 100n)).to.include({ kind: 'rollback', startTs: 100n });
      }
      expect((await world().locks(MAX_TIMESTAMP)).map(({ key }) => [...key])).to.deep.equal([[200]]);
    });

    for (const [name, commitTs] of [
      ['TestResolveCommitWritten4C', 120n],
      ['TestResolveRollbackWritten4C', 0n],
    ] as const) {
      it(name, async () => {
        await world().init(noneLeft);
        const before = await world().dump();
        expect((await resolve(100n, commitTs)).errors).to.deep.equal([]);
        expect(await world().lens()).to.deep.equal([3, 1, 2]);
        expect(await world().dump()).to.equal(before);
      });
    }
  });

  describe('Scan', () => {
    const committed = (key: Uint8Array, content: number, startTs: Timestamp, commitTs: Timestamp): Row[] => [
      value(key, startTs, content),
      written(key, commitTs, startTs),
    ];
    const rows = [
      ...committed(bytes(1), 50, 80n, 99n),
      ...committed(bytes(1, 23), 55, 80n, 99n),
      ...committed(bytes(3), 51, 80n, 99n),
      ...committed(bytes(3, 45), 56, 80n, 99n),
      ...committed(bytes(3, 46), 57, 80n, 99n),
      ...committed(bytes(3, 47), 58, 80n, 99n),
      ...committed(bytes(3, 48), 59, 80n, 99n),
      ...committed(bytes(4), 52, 80n, 99n),
      ...committed(bytes(120), 53, 80n, 99n),
      ...committed(bytes(199), 54, 80n, 99n),
      ...[45, 46, 47, 48].flatMap((second) => committed(bytes(4, second), second, 110n, 116n)),
      ...[45, 46, 47, 48].flatMap((second) => committed(bytes(5, second), second, 97n, 101n)),
      ...committed(bytes(150), 42, 80n, 99n),
      written(bytes(150), 101n, 97n, 'delete'),
      ...committed(bytes(150), 64, 110n, 116n),
    ];

    async function scan(
      start: Uint8Array,
      limit: number,
      ts = 100n,
    ): Promise<[number[], number | undefined][]> {
      const { pairs } = await world().scan({ start, limit, ts });
      return pairs.map((pair) => [[...pair.key], 'value' in pair ? pair.value[0] : undefined]);
    }

    beforeEach(() => world().init(rows));

    it('TestScanEmpty4C', async () => {
      expect(await scan(bytes(200), 10_000)).to.deep.equal([]);
    });

    it('TestScanLimitZero4C', async () => {
      expect(await scan(bytes(3), 0)).to.deep.equal([]);
    });

    it('TestScanAll4C', async () => {
      const pairs = await scan(bytes(0), 10_000);
      expect(pairs).to.have.length(11);
      expect(pairs[0]).to.deep.equal([[1], 50]);
      expect(pairs[10]).to.deep.equal([[199], 54]);
    });

    it('TestScanLimit4C', async () => {
      const pairs = await scan(bytes(2), 6);
      expect(pairs).to.have.length(6);
      expect(pairs[0]).to.deep.equal([[3], 51]);
      expect(pairs[5]).to.deep.equal([[4], 52]);
    });

    it('TestScanDeleted4C', async () => {
      expect(await scan(bytes(100), 10_000, 100n)).to.deep.equal([
        [[120], 53],
        [[150], 42],
        [[199], 54],
      ]);
      expect(await scan(bytes(100), 10_000, 105n)).to.deep.equal([
        [[120], 53],
        [[199], 54],
      ]);
      expect(await scan(bytes(100), 10_000, 120n)).to.deep.equal([
        [[120], 53],
        [[150], 64],
        [[199], 54],
      ]);
    });
  });
});

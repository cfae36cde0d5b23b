/**
 * What every implementation of Percolator must show, by name, as far as records and commands show it. Regions and clients
 * have the rest: resolving across a region's boundary, a transaction larger than an entry of the log.
 */
import { expect } from 'chai';
import {
  type CheckTxnStatusCommand,
  MAX_TIMESTAMP,
  type Mutation,
  type MvccCommand,
  type MvccOutcome,
  type Timestamp,
  type TxnStatus,
} from '../../../storage/index.js';
import { bytes, del, describeOnEngines, long, prewriteOf, put, text } from './mvcc-world.js';

const [A, B, C] = [text('a'), text('b'), text('c')];
/** A timestamp by its milliseconds. */
const at = (milliseconds: number, logical = 0n): Timestamp => (BigInt(milliseconds) << 18n) + logical;

const codes = ({ errors }: MvccOutcome): string[] => errors.map(({ code }) => code);

describeOnEngines('Percolator', (world) => {
  const run = (command: MvccCommand, commitFloor?: Timestamp) => world().run(command, commitFloor);
  const commit = (startTs: Timestamp, commitTs: Timestamp, ...keys: Uint8Array[]) =>
    run({ kind: 'commit', keys, startTs, commitTs });
  const rollback = (startTs: Timestamp, ...keys: Uint8Array[]) => run({ kind: 'rollback', keys, startTs });
  const value = async (key: Uint8Array, ts: Timestamp): Promise<string | undefined> => {
    const read = await world().get(key, ts);
    if ('error' in read) return read.error.code;
    return read.value && Buffer.from(read.value).toString();
  };

  async function check(
    primary: Uint8Array,
    lockTs: Timestamp,
    more: Partial<CheckTxnStatusCommand> = {},
  ): Promise<TxnStatus | string | undefined> {
    const outcome = await run({
      kind: 'checkTxnStatus',
      primary,
      lockTs,
      callerStartTs: 0n,
      currentTs: lockTs,
      rollbackIfNotExist: true,
      forceSyncCommit: false,
      verifyIsPrimary: true,
      ...more,
    });
    if (outcome.errors.length > 0) return outcome.errors[0]?.code;
    return outcome.reply.kind === 'checkTxnStatus' ? outcome.reply.status : undefined;
  }

  it('lost-update race: the first committer wins', async () => {
    await run(prewriteOf(1n, A, [put(A, text('0'))]));
    await commit(1n, 2n, A);
    expect(await value(A, 10n)).to.equal('0');
    expect(await value(A, 11n)).to.equal('0');
    expect(codes(await run(prewriteOf(10n, A, [put(A, text('ten'))])))).to.deep.equal([]);
    expect(codes(await run(prewriteOf(11n, A, [put(A, text('eleven'))])))).to.deep.equal(['key-is-locked']);
    await commit(10n, 12n, A);
    expect(codes(await run(prewriteOf(11n, A, [put(A, text('eleven'))])))).to.deep.equal(['write-conflict']);
    expect(await value(A, 20n)).to.equal('ten');
  });

  it('write skew is permitted, as snapshot isolation has it', async () => {
    // Each reads the other's key and writes its own.
    await run(prewriteOf(10n, A, [put(A, text('x'))]));
    expect(await value(A, 9n)).to.equal(undefined);
    expect(codes(await run(prewriteOf(11n, B, [put(B, text('y'))])))).to.deep.equal([]);
    expect(codes(await commit(10n, 12n, A))).to.deep.equal([]);
    expect(codes(await commit(11n, 13n, B))).to.deep.equal([]);
  });

  it('a read between start and commit of a locked key waits until it is resolved', async () => {
    await run(prewriteOf(10n, A, [put(A, text('v'))]));
    expect(await value(A, 15n)).to.equal('key-is-locked');
    expect(await value(A, 9n)).to.equal(undefined);
    await commit(10n, 20n, A);
    expect(await value(A, 15n)).to.equal(undefined);
    expect(await value(A, 20n)).to.equal('v');
  });

  it('commit is idempotent, three times', async () => {
    await run(prewriteOf(10n, A, [put(A, long(1)), del(B)]));
    for (let i = 0; i < 3; i++) {
      const outcome = await commit(10n, 20n, A, B);
      expect(codes(outcome)).to.deep.equal([]);
      if (i > 0) expect(outcome.changes).to.deep.equal([]);
    }
    expect(await world().lens()).to.deep.equal([1, 0, 2]);
  });

  it('rollback is idempotent, three times', async () => {
    await run(prewriteOf(10n, A, [put(A, long(1)), put(B, long(2))]));
    for (let i = 0; i < 3; i++) expect(codes(await rollback(10n, A, B))).to.deep.equal([]);
    expect(await world().lens()).to.deep.equal([0, 0, 2]);
  });

  it('prewrite after rollback fails', async () => {
    await rollback(10n, A);
    const { errors } = await run(prewriteOf(10n, A, [put(A, text('v'))]));
    expect(errors[0]).to.include({ code: 'write-conflict', reason: 'self-rolled-back' });
    expect(await world().lens()).to.deep.equal([0, 0, 1]);
    const skipping = prewriteOf(10n, A, [put(A, text('v'))], { skipConstraintCheck: true });
    expect(codes(await run(skipping))).to.deep.equal(['write-conflict']);
  });

  it('late prewrite after a rollback by CheckTxnStatus fails', async () => {
    expect(await check(A, 10n)).to.deep.equal({ state: 'rolled-back', action: 'lock-not-exist' });
    expect(codes(await run(prewriteOf(10n, A, [put(A, text('v'))])))).to.deep.equal(['write-conflict']);
    // It is protected: a later rollback does not collapse it.
    await rollback(11n, A);
    expect(await world().lens()).to.deep.equal([0, 0, 2]);
    expect(await check(A, 10n)).to.deep.equal({ state: 'rolled-back', action: 'none' });
    expect(await check(A, 12n, { rollbackIfNotExist: false })).to.equal('txn-not-found');
  });

  it('rollbacks that nobody needs are collapsed', async () => {
    for (const ts of [10n, 11n, 12n]) await rollback(ts, A);
    expect(await world().lens()).to.deep.equal([0, 0, 1]);
    for (const ts of [10n, 11n, 12n]) {
      expect(codes(await run(prewriteOf(ts, A, [put(A, text('v'))])))).to.deep.equal(['write-conflict']);
    }
  });

  it('overlapped rollback, the commit first: commit_ts == start_ts of another', async () => {
    await run(prewriteOf(10n, A, [put(A, long(1))]));
    await commit(10n, 20n, A);
    await rollback(20n, A);
    expect((await world().describe(A)).writes).to.have.length(1);
    expect((await world().describe(A)).writes[0]).to.include({ commitTs: 20n, hasOverlappedRollback: true });
    expect(await world().get(A, 20n)).to.deep.equal({ value: long(1) });
    const { errors } = await run(prewriteOf(20n, A, [put(A, text('v'))]));
    expect(errors[0]).to.include({ code: 'write-conflict', reason: 'self-rolled-back' });
    // Repeats change nothing; the first transaction stays committed.
    expect((await rollback(20n, A)).changes).to.deep.equal([]);
    expect(codes(await rollback(10n, A))).to.deep.equal(['committed']);
  });

  it('primary rolled back while secondaries are locked', async () => {
    await run(prewriteOf(at(1), A, [put(A, text('1')), put(B, text('2')), put(C, long(3))], { ttl: 10 }));
    expect(await check(A, at(1), { currentTs: at(100) })).to.include({
      state: 'rolled-back',
      action: 'ttl-expired',
    });
    expect((await world().describe(A)).writes[0]).to.include({ kind: 'rollback', isProtected: true });
    expect(await value(B, at(200))).to.equal('key-is-locked');
    expect(codes(await commit(at(1), at(2), A))).to.deep.equal(['txn-lock-not-found']);
    await run({ kind: 'resolveLock', keys: [B, C], statuses: new Map([[at(1), 0n]]) });
    expect(await value(B, at(200))).to.equal(undefined);
    expect(await world().lens()).to.deep.equal([0, 0, 3]);
  });

  it('a secondary does not answer for the primary', async () => {
    await run(prewriteOf(10n, A, [put(A, text('1')), put(B, text('2'))]));
    expect(await check(B, 10n)).to.equal('primary-mismatch');
  });

  it('time to live exactly over: not expired', async () => {
    await run(prewriteOf(at(1000), A, [put(A, text('v'))], { ttl: 500 }));
    expect(await check(A, at(1000), { currentTs: at(1500, 99n) })).to.include({ state: 'locked' });
    expect(await check(A, at(1000), { currentTs: at(1501) })).to.include({ action: 'ttl-expired' });
  });

  it('a heartbeat makes a lock last longer, and never shorter', async () => {
    await run(prewriteOf(at(1000), A, [put(A, text('v'))], { ttl: 500 }));
    for (const [adviseTtl, ttl] of [
      [800, 800],
      [100, 800],
    ] as const) {
      const { reply } = await run({ kind: 'txnHeartBeat', primary: A, startTs: at(1000), adviseTtl });
      expect(reply).to.deep.equal({ kind: 'txnHeartBeat', ttl });
    }
    expect(await check(A, at(1000), { currentTs: at(1800) })).to.include({ state: 'locked' });
    const gone = await run({ kind: 'txnHeartBeat', primary: B, startTs: at(1000), adviseTtl: 1 });
    expect(codes(gone)).to.deep.equal(['txn-lock-not-found']);
  });

  it('min_commit_ts pushed, then a commit below it: CommitTsExpired', async () => {
    await run(prewriteOf(10n, A, [put(A, text('v'))], { minCommitTs: 11n }));
    const status = await check(A, 10n, { callerStartTs: 30n, currentTs: 25n });
    expect(status).to.include({ state: 'locked', action: 'min-commit-ts-pushed' });
    expect(await value(A, 30n)).to.equal(undefined);
    expect(await value(A, 31n)).to.equal('key-is-locked');
    const { errors, changes } = await commit(10n, 20n, A);
    expect(changes).to.deep.equal([]);
    expect(errors).to.deep.equal([
      { code: 'commit-ts-expired', key: A, startTs: 10n, attemptedCommitTs: 20n, minCommitTs: 31n },
    ]);
    expect(codes(await commit(10n, 31n, A))).to.deep.equal([]);
  });

  it('min_commit_ts is pushed to the current timestamp where that is larger, and not where its client knows of none', async () => {
    await run(prewriteOf(10n, A, [put(A, text('v'))], { minCommitTs: 11n }));
    await check(A, 10n, { callerStartTs: 30n, currentTs: 50n });
    expect((await world().describe(A)).lock?.minCommitTs).to.equal(50n);
    await run(prewriteOf(10n, B, [put(B, text('v'))]));
    expect(await check(B, 10n, { callerStartTs: 30n, currentTs: 50n })).to.include({
      state: 'locked',
      action: 'none',
    });
  });

  it('a read knows locks whose transactions were looked up', async () => {
    await run(prewriteOf(10n, A, [put(A, text('new')), del(B), { kind: 'lock', key: C, value: bytes() }]));
    await world().init([]);
    expect(await world().get(A, 20n, { bypass: new Set([10n]) })).to.deep.equal({ value: undefined });
    const seen = await world().get(A, 20n, { access: new Set([10n]) });
    expect('value' in seen && Buffer.from(seen.value ?? []).toString()).to.equal('new');
    expect(await world().get(B, 20n, { access: new Set([10n]) })).to.deep.equal({ value: undefined });
    // A lock that changes nothing stands in nobody's way; the newest of a primary is what is committed.
    expect(await value(C, 20n)).to.equal(undefined);
    expect(await value(A, MAX_TIMESTAMP)).to.equal(undefined);
    expect(await value(B, MAX_TIMESTAMP)).to.equal('key-is-locked');
  });

  it('short and long values: 255 and 256 bytes', async () => {
    const [short, longer] = [new Uint8Array(255).fill(7), new Uint8Array(256).fill(8)];
    await run(prewriteOf(10n, A, [put(A, short), put(B, longer), put(C, bytes())]));
    expect(await world().lens()).to.deep.equal([1, 3, 0]);
    await commit(10n, 20n, A, B, C);
    expect(await world().lens()).to.deep.equal([1, 0, 3]);
    for (const [key, expected] of [
      [A, short],
      [B, longer],
      [C, bytes()],
    ] as const) {
      expect(await world().get(key, 20n)).to.deep.equal({ value: expected });
    }
    const { pairs } = await world().scan({ ts: 20n });
    expect(pairs.map((pair) => 'value' in pair && pair.value.length)).to.deep.equal([255, 256, 0]);
  });

  it('keys with 0x00 and 0xff, and prefixes of each other, stay apart and in order', async () => {
    const keys = [
      bytes(0),
      bytes(0, 0),
      bytes(0, 0xff),
      bytes(1),
      bytes(1, 0, 0, 0, 0, 0, 0),
      bytes(1, 0, 0, 0, 0, 0, 0, 0),
      bytes(1, 0, 0, 0, 0, 0, 0, 0, 0),
      bytes(0xff),
      bytes(0xff, 0),
      bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
      new Uint8Array(4096).fill(0xff),
    ];
    await run(
      prewriteOf(
        10n,
        bytes(0),
        keys.map((key, i) => put(key, bytes(i))),
      ),
    );
    await commit(10n, 20n, ...keys);
    for (const [i, key] of keys.entries())
      expect(await world().get(key, 20n)).to.deep.equal({ value: bytes(i) });
    for (const [from, key] of keys.entries()) {
      const { pairs } = await world().scan({ ts: 20n, start: key });
      expect(pairs.map((pair) => Uint8Array.from(pair.key))).to.deep.equal(keys.slice(from));
      const back = await world().scan({ ts: 20n, end: key, reverse: true });
      expect(back.pairs.map((pair) => Uint8Array.from(pair.key))).to.deep.equal(
        keys.slice(0, from).reverse(),
      );
    }
  });

  it('duplicate delivery of every request is safe', async () => {
    const requests: MvccCommand[] = [
      prewriteOf(10n, A, [put(A, long(1)), put(B, text('2'))]),
      { kind: 'txnHeartBeat', primary: A, startTs: 10n, adviseTtl: 9000 },
      { kind: 'commit', keys: [A, B], startTs: 10n, commitTs: 20n },
      { kind: 'resolveLock', keys: [A, B], statuses: new Map([[10n, 20n]]) },
      { kind: 'checkSecondaryLocks', keys: [A, B], startTs: 10n },
      { kind: 'rollback', keys: [C], startTs: 30n },
      { kind: 'checkSecondaryLocks', keys: [C], startTs: 31n },
    ];
    for (const request of requests) {
      const first = await run(request);
      const after = await world().dump();
      const again = await run(request);
      expect(codes(again)).to.deep.equal(codes(first));
      expect(again.reply).to.deep.equal(first.reply);
      expect(await world().dump()).to.equal(after);
    }
    // The very first one, long after: the transaction is committed, and that is success.
    expect(codes(await run(requests[0] as MvccCommand))).to.deep.equal([]);
    expect(await value(B, 25n)).to.equal('2');
  });

  it('insert and checkNotExists', async () => {
    const insert = (key: Uint8Array): Mutation => ({ kind: 'insert', key, value: text('v') });
    const absent = (key: Uint8Array): Mutation => ({ kind: 'checkNotExists', key, value: bytes() });
    expect(codes(await run(prewriteOf(10n, A, [insert(A), absent(B)])))).to.deep.equal([]);
    expect(await world().lens()).to.deep.equal([0, 1, 0]);
    await commit(10n, 11n, A);
    await rollback(12n, A);
    for (const mutation of [insert(A), absent(A)]) {
      const { errors } = await run(prewriteOf(20n, B, [put(B, text('v')), mutation]));
      expect(errors).to.deep.equal([{ code: 'already-exists', key: A }]);
    }
    expect((await world().locks(MAX_TIMESTAMP)).length).to.equal(0);
    await run(prewriteOf(20n, A, [del(A)]));
    await commit(20n, 21n, A);
    expect(codes(await run(prewriteOf(30n, A, [insert(A)])))).to.deep.equal([]);
  });

  it('errors come one per key, and nothing is written when there are any', async () => {
    await run(prewriteOf(10n, A, [put(A, text('v'))]));
    await run(prewriteOf(5n, B, [put(B, text('v'))]));
    await commit(5n, 15n, B);
    const before = await world().dump();
    const outcome = await run(prewriteOf(12n, C, [put(C, text('v')), put(A, text('v')), put(B, text('v'))]));
    expect(codes(outcome).sort()).to.deep.equal(['key-is-locked', 'write-conflict']);
    expect(await world().dump()).to.equal(before);
  });

  it('commands of one turn are evaluated together', async () => {
    const outcomes = await world().runAll([
      { command: prewriteOf(10n, A, [put(A, text('1'))]), commitFloor: 0n },
      { command: { kind: 'rollback', keys: [B], startTs: 11n }, commitFloor: 0n },
      { command: { kind: 'commit', keys: [C], startTs: 12n, commitTs: 13n }, commitFloor: 0n },
    ]);
    expect(outcomes.map(codes)).to.deep.equal([[], [], ['txn-lock-not-found']]);
    expect(await world().lens()).to.deep.equal([0, 1, 1]);
  });
});

import { expect } from 'chai';
import { kvrpcpb, type troupepb } from '../../cluster/proto/index.js';
import { keyError } from '../../cluster/store/txn/key-errors.js';
import {
  commandOf,
  isTxnRead,
  isTxnWrite,
  newestTimestamp,
  refused,
  responseTo,
} from '../../cluster/store/txn/messages.js';
import {
  type LockInfo,
  MAX_TIMESTAMP,
  type MvccError,
  type MvccOutcome,
  type MvccReply,
} from '../../storage/index.js';
import { commitRequest, prewriteRequest, rollbackRequest, scanTxn, txnGet } from './txn-world.js';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const lock: LockInfo = {
  key: bytes('k'),
  kind: 'put',
  primary: bytes('p'),
  startTs: 5n,
  ttl: 7,
  shortValue: bytes('v'),
  txnSize: 2,
  minCommitTs: 9n,
  useAsyncCommit: true,
  secondaries: [bytes('s')],
  rollbackTs: [],
};
const outcome = (reply: MvccReply, errors: readonly MvccError[] = []): MvccOutcome => ({
  changes: [],
  errors,
  reply,
});
const status: troupepb.RegionRequest = {
  checkTxnStatus: {
    primaryKey: bytes('p'),
    lockTs: 5n,
    callerStartTs: MAX_TIMESTAMP,
    currentTs: 8n,
    rollbackIfNotExist: true,
    forceSyncCommit: true,
    verifyIsPrimary: true,
  },
};
const secondaries: troupepb.RegionRequest = { checkSecondaryLocks: { keys: [bytes('s')], startVersion: 5n } };
const heartbeat: troupepb.RegionRequest = {
  txnHeartBeat: { primaryLock: bytes('p'), startVersion: 5n, adviseLockTtl: 99 },
};
const resolve = (keys: readonly string[]): troupepb.RegionRequest => ({
  resolveLock: {
    startKey: new Uint8Array(0),
    startVersion: 5n,
    commitVersion: 6n,
    txnInfos: [{ txn: 7n, status: 0n }],
    keys: keys.map(bytes),
  },
});

describe('transactional messages', () => {
  it('become commands', () => {
    expect(
      commandOf(prewriteRequest(5n, { a: '1' }, { asyncCommit: true, secondaries: ['b'] })),
    ).to.deep.equal({
      kind: 'prewrite',
      mutations: [{ kind: 'put', key: bytes('a'), value: bytes('1') }],
      primary: bytes('a'),
      startTs: 5n,
      ttl: 3_000,
      txnSize: 1,
      minCommitTs: 0n,
      maxCommitTs: 0n,
      skipConstraintCheck: false,
      asyncCommit: { secondaries: [bytes('b')] },
      tryOnePc: false,
    });
    expect(commandOf(commitRequest(5n, 6n, ['a']))).to.deep.equal({
      kind: 'commit',
      keys: [bytes('a')],
      startTs: 5n,
      commitTs: 6n,
    });
    expect(commandOf(rollbackRequest(5n, 'a'))).to.deep.equal({
      kind: 'rollback',
      keys: [bytes('a')],
      startTs: 5n,
    });
    expect(commandOf(status)).to.deep.equal({
      kind: 'checkTxnStatus',
      primary: bytes('p'),
      lockTs: 5n,
      callerStartTs: MAX_TIMESTAMP,
      currentTs: 8n,
      rollbackIfNotExist: true,
      forceSyncCommit: true,
      verifyIsPrimary: true,
    });
    expect(commandOf(secondaries)).to.deep.equal({
      kind: 'checkSecondaryLocks',
      keys: [bytes('s')],
      startTs: 5n,
    });
    expect(commandOf(heartbeat)).to.deep.equal({
      kind: 'txnHeartBeat',
      primary: bytes('p'),
      startTs: 5n,
      adviseTtl: 99,
    });
    const statuses = new Map([
      [7n, 0n],
      [5n, 6n],
    ]);
    expect(commandOf(resolve(['a']))).to.deep.equal({ kind: 'resolveLock', keys: [bytes('a')], statuses });
    // What it is about has to be looked up.
    expect(commandOf(resolve([]))).to.equal(undefined);
  });

  it('are told apart, whatever they ask', () => {
    const writes = [prewriteRequest(1n, { a: '' }), commitRequest(1n, 2n, []), rollbackRequest(1n)];
    for (const one of [...writes, status, secondaries, heartbeat, resolve([])])
      expect([isTxnWrite(one), isTxnRead(one)]).to.deep.equal([true, false]);
    for (const one of [txnGet(1n, 'a'), scanTxn(1n, 'a', 'b')])
      expect([isTxnWrite(one), isTxnRead(one)]).to.deep.equal([false, true]);
    expect(isTxnWrite({ rawPut: { key: bytes('a'), value: bytes(''), cf: '' } })).to.equal(false);
  });

  it('of pessimistic transactions and of unknown mutations are invalid', () => {
    const { prewrite } = prewriteRequest(5n, { a: '1' });
    for (const change of [
      { forUpdateTs: 7n },
      { isPessimisticLock: [true] },
      { mutations: [{ op: kvrpcpb.Op.Rollback, key: bytes('a'), value: bytes('') }] },
      { mutations: [{ op: kvrpcpb.Op.PessimisticLock, key: bytes('a'), value: bytes('') }] },
    ])
      expect(commandOf({ prewrite: kvrpcpb.PrewriteRequest.from({ ...prewrite, ...change }) })).to.include({
        code: 'invalid',
      });
  });

  it('name the timestamps that the oracle must have given, and no others', () => {
    expect(newestTimestamp(status)).to.equal(8n);
    expect(newestTimestamp(txnGet(MAX_TIMESTAMP, 'a'))).to.equal(0n);
    expect(newestTimestamp(scanTxn(MAX_TIMESTAMP, 'a', 'b'))).to.equal(MAX_TIMESTAMP);
    expect(newestTimestamp(prewriteRequest(5n, { a: '' }, { minCommitTs: 6n }))).to.equal(6n);
    expect(newestTimestamp(commitRequest(5n, 6n, []))).to.equal(6n);
    expect(newestTimestamp(resolve([]))).to.equal(7n);
  });

  it('tell what commands came to', () => {
    const prewrite = prewriteRequest(5n, { a: '1' });
    expect(
      responseTo(prewrite, outcome({ kind: 'prewrite', minCommitTs: 6n, onePcCommitTs: 0n })).prewrite,
    ).to.deep.equal({ errors: [], minCommitTs: 6n, onePcCommitTs: 0n });
    const info = {
      primaryLock: bytes('p'),
      lockVersion: 5n,
      key: bytes('k'),
      lockTtl: 7,
      txnSize: 2,
      lockType: kvrpcpb.Op.Put,
      lockForUpdateTs: 0n,
      useAsyncCommit: true,
      minCommitTs: 9n,
      secondaries: [bytes('s')],
    };
    const told = (state: Extract<MvccReply, { kind: 'checkTxnStatus' }>['status']) =>
      responseTo(status, outcome({ kind: 'checkTxnStatus', status: state })).checkTxnStatus;
    expect(told({ state: 'locked', lock, action: 'min-commit-ts-pushed' })).to.deep.equal({
      lockTtl: 7,
      commitVersion: 0n,
      action: kvrpcpb.Action.MinCommitTSPushed,
      lockInfo: info,
    });
    // A lock without time to live is a lock.
    expect(told({ state: 'locked', lock: { ...lock, ttl: 0 }, action: 'none' })?.lockTtl).to.equal(1);
    expect(told({ state: 'committed', commitTs: 8n })).to.include({ lockTtl: 0, commitVersion: 8n });
    expect(told({ state: 'rolled-back', action: 'ttl-expired' })).to.include({
      lockTtl: 0,
      commitVersion: 0n,
      action: kvrpcpb.Action.TTLExpireRollback,
    });
    expect(
      responseTo(secondaries, outcome({ kind: 'checkSecondaryLocks', locks: [lock], commitTs: 0n })),
    ).to.deep.equal({ checkSecondaryLocks: { locks: [info], commitTs: 0n } });
    expect(responseTo(heartbeat, outcome({ kind: 'txnHeartBeat', ttl: 99 }))).to.deep.equal({
      txnHeartBeat: { lockTtl: 99 },
    });
  });

  it('carry each error as what it is, through bytes and back', () => {
    const errors: readonly [MvccError, keyof kvrpcpb.KeyError][] = [
      [{ code: 'key-is-locked', lock }, 'locked'],
      [
        {
          code: 'write-conflict',
          reason: 'self-rolled-back',
          key: bytes('k'),
          primary: bytes('p'),
          startTs: 5n,
          conflictStartTs: 6n,
          conflictCommitTs: 7n,
        },
        'conflict',
      ],
      [{ code: 'already-exists', key: bytes('k') }, 'alreadyExist'],
      [{ code: 'txn-lock-not-found', key: bytes('k'), startTs: 5n }, 'txnLockNotFound'],
      [{ code: 'txn-not-found', primary: bytes('p'), startTs: 5n }, 'txnNotFound'],
      [{ code: 'committed', startTs: 5n, commitTs: 6n }, 'abort'],
      [
        {
          code: 'commit-ts-expired',
          key: bytes('k'),
          startTs: 5n,
          attemptedCommitTs: 6n,
          minCommitTs: 7n,
        },
        'commitTsExpired',
      ],
      [{ code: 'commit-ts-too-large', commitTs: 6n }, 'commitTsTooLarge'],
      [{ code: 'primary-mismatch', lock }, 'primaryMismatch'],
      [{ code: 'invalid', message: 'no' }, 'invalid'],
    ];
    for (const [error, kind] of errors) {
      const { errors: sent } = responseTo(
        prewriteRequest(5n, { a: '1' }),
        outcome({ kind: 'prewrite', minCommitTs: 1n, onePcCommitTs: 1n }, [error, error]),
      ).prewrite ?? { errors: [] };
      expect(sent).to.deep.equal([keyError(error), keyError(error)]);
      const [back] = kvrpcpb.PrewriteResponse.decode(
        kvrpcpb.PrewriteResponse.encode(kvrpcpb.PrewriteResponse.from({ errors: sent })),
      ).errors;
      const kinds = Object.entries(back ?? {}).filter(([, value]) => value !== undefined && value !== '');
      expect(kinds.map(([name]) => name)).to.deep.equal([kind]);
    }
  });

  it('say no in the form of their own answer', () => {
    const error = keyError({ code: 'invalid', message: 'no' });
    const requests: readonly troupepb.RegionRequest[] = [
      txnGet(1n, 'a'),
      scanTxn(1n, 'a', 'b'),
      { batchGet: { keys: [], version: 1n } },
      { scanLock: { maxVersion: 1n, startKey: bytes(''), endKey: bytes(''), limit: 1 } },
      { mvccGetByKey: { key: bytes('a'), beforeTs: 0n } },
      prewriteRequest(1n, { a: '' }),
      commitRequest(1n, 2n, []),
      rollbackRequest(1n),
      status,
      secondaries,
      heartbeat,
      resolve([]),
      { gc: { safePoint: 1n, startKey: bytes('') } },
    ];
    for (const request of requests) {
      const response = refused(request, error);
      expect(Object.keys(response)).to.deep.equal(Object.keys(request));
      expect(
        JSON.stringify(response, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
      ).to.contain('no');
    }
  });

  it('do not grow with the number of locks that a prewrite has met', () => {
    const wide = { ...lock, secondaries: Array.from({ length: 256 }, () => new Uint8Array(100)) };
    const errors = Array.from({ length: 1_000 }, (): MvccError => ({ code: 'key-is-locked', lock: wide }));
    const reply: MvccReply = { kind: 'prewrite', minCommitTs: 0n, onePcCommitTs: 0n };
    const { prewrite } = responseTo(prewriteRequest(5n, { a: '1' }), outcome(reply, errors));
    expect(prewrite?.errors.length).to.be.within(1, 5);
  });
});

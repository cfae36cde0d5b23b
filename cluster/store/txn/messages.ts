/** Transactional commands as the wire has them, and as storage/mvcc does: requests in, responses out. */
import {
  MAX_TIMESTAMP,
  type Mutation,
  type MutationKind,
  type MvccCommand,
  type MvccError,
  type MvccOutcome,
  type MvccReply,
  type PrewriteCommand,
  type Timestamp,
} from '../../../storage/index.js';
import { kvrpcpb, type troupepb } from '../../proto/index.js';
import { errorBytes, keyError, lockInfo } from './key-errors.js';

const { Action, Op } = kvrpcpb;

/**
 * Bytes of the errors of one prewrite: as many as its keys might be, each with a lock of any size. What does not fit costs another
 * prewrite of all its keys; a few large ones share a reply.
 */
const MAX_ERROR_BYTES = 128 * 1024;

type Request = troupepb.RegionRequest;
type Response = troupepb.RegionResponse;

const MUTATIONS: Readonly<Record<number, MutationKind>> = {
  [Op.Put]: 'put',
  [Op.Del]: 'delete',
  [Op.Lock]: 'lock',
  [Op.Insert]: 'insert',
  [Op.CheckNotExists]: 'checkNotExists',
};
const ACTIONS = {
  none: Action.NoAction,
  'ttl-expired': Action.TTLExpireRollback,
  'lock-not-exist': Action.LockNotExistRollback,
  'min-commit-ts-pushed': Action.MinCommitTSPushed,
} as const;

/** Whether a write of a region is a transactional one. */
export function isTxnWrite(request: Request): boolean {
  if (request.rawPut !== undefined) return false;
  return (
    request.prewrite !== undefined ||
    request.commit !== undefined ||
    request.batchRollback !== undefined ||
    request.resolveLock !== undefined ||
    request.checkTxnStatus !== undefined ||
    request.checkSecondaryLocks !== undefined ||
    request.txnHeartBeat !== undefined ||
    request.gc !== undefined
  );
}

export function isTxnRead(request: Request): boolean {
  return (
    request.get !== undefined ||
    request.batchGet !== undefined ||
    request.scan !== undefined ||
    request.scanLock !== undefined ||
    request.mvccGetByKey !== undefined
  );
}

/**
 * What a request asks for. Of a command without keys (a pass over a whole region, garbage collection) there is none: what it is
 * about has to be looked up first.
 */
export function commandOf(request: Request): MvccCommand | MvccError | undefined {
  const { prewrite, commit, batchRollback, resolveLock, checkTxnStatus, checkSecondaryLocks, txnHeartBeat } =
    request;
  if (prewrite !== undefined) return prewriteCommand(prewrite);
  if (commit !== undefined) {
    const { keys, startVersion: startTs, commitVersion: commitTs } = commit;
    return { kind: 'commit', keys, startTs, commitTs };
  }
  if (checkTxnStatus !== undefined) {
    const { primaryKey: primary, ...rest } = checkTxnStatus;
    const { lockTs, callerStartTs, currentTs, rollbackIfNotExist, forceSyncCommit, verifyIsPrimary } = rest;
    return {
      kind: 'checkTxnStatus',
      primary,
      lockTs,
      callerStartTs,
      currentTs,
      rollbackIfNotExist,
      forceSyncCommit,
      verifyIsPrimary,
    };
  }
  if (batchRollback !== undefined)
    return { kind: 'rollback', keys: batchRollback.keys, startTs: batchRollback.startVersion };
  if (txnHeartBeat !== undefined) {
    const { primaryLock: primary, startVersion: startTs, adviseLockTtl: adviseTtl } = txnHeartBeat;
    return { kind: 'txnHeartBeat', primary, startTs, adviseTtl };
  }
  if (checkSecondaryLocks !== undefined) {
    const { keys, startVersion: startTs } = checkSecondaryLocks;
    return { kind: 'checkSecondaryLocks', keys, startTs };
  }
  if (resolveLock !== undefined && resolveLock.keys.length > 0)
    return { kind: 'resolveLock', keys: resolveLock.keys, statuses: statusesOf(resolveLock) };
  return undefined;
}

function prewriteCommand(request: kvrpcpb.PrewriteRequest): PrewriteCommand | MvccError {
  if (request.forUpdateTs !== 0n || request.isPessimisticLock.some(Boolean))
    return unfit('this store knows no pessimistic transactions: begin an optimistic one');
  const mutations: Mutation[] = [];
  for (const { op, key, value } of request.mutations) {
    const kind = MUTATIONS[op];
    if (kind === undefined) return unfit(`a prewrite cannot contain a mutation of kind ${op}`);
    mutations.push({ kind, key, value });
  }
  return {
    kind: 'prewrite',
    mutations,
    primary: request.primaryLock,
    startTs: request.startVersion,
    ttl: request.lockTtl,
    txnSize: request.txnSize,
    minCommitTs: request.minCommitTs,
    maxCommitTs: request.maxCommitTs,
    skipConstraintCheck: request.skipConstraintCheck,
    asyncCommit: request.useAsyncCommit ? { secondaries: request.secondaries } : undefined,
    tryOnePc: request.tryOnePc,
  };
}

function unfit(message: string): MvccError {
  return { code: 'invalid', message };
}

/** Commit timestamp by start timestamp, 0 for a rollback. */
export function statusesOf(request: kvrpcpb.ResolveLockRequest): ReadonlyMap<Timestamp, Timestamp> {
  const statuses = new Map(request.txnInfos.map(({ txn, status }) => [txn, status]));
  if (request.startVersion !== 0n) statuses.set(request.startVersion, request.commitVersion);
  return statuses;
}

/** Where the newest version is asked for, no timestamp of the oracle is meant. */
function counted(ts: Timestamp): Timestamp {
  return ts === MAX_TIMESTAMP ? 0n : ts;
}

export function largest(...timestamps: readonly Timestamp[]): Timestamp {
  let found: Timestamp = 0n;
  for (const ts of timestamps) if (ts > found) found = ts;
  return found;
}

/** The largest of a request's timestamps that must have been given by the oracle. */
export function newestTimestamp(request: Request): Timestamp {
  const { get, batchGet, scan, scanLock, prewrite, commit, batchRollback } = request;
  const { resolveLock, checkTxnStatus, checkSecondaryLocks, txnHeartBeat } = request;
  if (get !== undefined) return counted(get.version);
  if (prewrite !== undefined) return largest(prewrite.startVersion, prewrite.minCommitTs);
  if (commit !== undefined) return largest(commit.startVersion, commit.commitVersion);
  if (batchGet !== undefined) return counted(batchGet.version);
  if (scan !== undefined) return scan.version;
  if (scanLock !== undefined) return counted(scanLock.maxVersion);
  if (batchRollback !== undefined) return batchRollback.startVersion;
  if (checkTxnStatus !== undefined) {
    const { lockTs, callerStartTs, currentTs } = checkTxnStatus;
    return largest(lockTs, counted(callerStartTs), counted(currentTs));
  }
  if (checkSecondaryLocks !== undefined) return checkSecondaryLocks.startVersion;
  if (txnHeartBeat !== undefined) return txnHeartBeat.startVersion;
  if (resolveLock !== undefined) {
    const statuses = statusesOf(resolveLock);
    return largest(...statuses.keys(), ...statuses.values());
  }
  return 0n;
}

/** The timestamp of the snapshot that a request reads or is based on: below the transaction safe point it is refused. */
export function snapshotTimestamp(request: Request): Timestamp | undefined {
  return (
    request.get?.version ??
    request.batchGet?.version ??
    request.scan?.version ??
    request.prewrite?.startVersion
  );
}

/** What a command came to. `request` is the one that the outcome is of. */
export function responseTo(request: Request, { errors, reply }: MvccOutcome): Response {
  const [first] = errors;
  if (first === undefined) return replied(reply);
  return request.prewrite === undefined
    ? refused(request, keyError(first))
    : { prewrite: { errors: fitting(errors), minCommitTs: 0n, onePcCommitTs: 0n } };
}

/** The errors that a reply has room for, and at least one: the client meets the others when it comes again. */
function fitting(errors: readonly MvccError[]): readonly kvrpcpb.KeyError[] {
  const found: kvrpcpb.KeyError[] = [];
  let bytes = 0;
  for (const one of errors) {
    const error = keyError(one);
    bytes += errorBytes(error);
    if (bytes > MAX_ERROR_BYTES && found.length > 0) break;
    found.push(error);
  }
  return found;
}

function replied(reply: MvccReply): Response {
  switch (reply.kind) {
    case 'prewrite':
      return { prewrite: { errors: [], minCommitTs: reply.minCommitTs, onePcCommitTs: reply.onePcCommitTs } };
    case 'commit':
      return { commit: { commitVersion: reply.commitTs } };
    case 'rollback':
      return { batchRollback: {} };
    case 'resolveLock':
      return { resolveLock: { nextKey: NO_BYTES } };
    case 'txnHeartBeat':
      return { txnHeartBeat: { lockTtl: reply.ttl } };
    case 'checkSecondaryLocks':
      return { checkSecondaryLocks: { locks: reply.locks.map(lockInfo), commitTs: reply.commitTs } };
    case 'checkTxnStatus': {
      const { status } = reply;
      switch (status.state) {
        case 'locked':
          return {
            checkTxnStatus: {
              // 0 would say that there is no lock.
              lockTtl: Math.max(1, status.lock.ttl),
              commitVersion: 0n,
              action: ACTIONS[status.action],
              lockInfo: lockInfo(status.lock),
            },
          };
        case 'committed':
          return {
            checkTxnStatus: { lockTtl: 0, commitVersion: status.commitTs, action: Action.NoAction },
          };
        case 'rolled-back':
          return { checkTxnStatus: { lockTtl: 0, commitVersion: 0n, action: ACTIONS[status.action] } };
      }
    }
  }
}

const NO_BYTES = new Uint8Array(0);

/** The answer to a request that nothing was done for. */
export function refused(request: Request, error: kvrpcpb.KeyError): Response {
  if (request.get !== undefined) return { get: { error, value: NO_BYTES, notFound: false } };
  if (request.batchGet !== undefined) return { batchGet: { error, pairs: [], answered: 0 } };
  if (request.scan !== undefined) return { scan: { error, pairs: [], more: false, lastKey: NO_BYTES } };
  if (request.scanLock !== undefined)
    return { scanLock: { error, locks: [], more: false, lastKey: NO_BYTES } };
  if (request.mvccGetByKey !== undefined)
    return { mvccGetByKey: { error: error.invalid || error.abort, more: false } };
  if (request.prewrite !== undefined)
    return { prewrite: { errors: [error], minCommitTs: 0n, onePcCommitTs: 0n } };
  if (request.commit !== undefined) return { commit: { error, commitVersion: 0n } };
  if (request.batchRollback !== undefined) return { batchRollback: { error } };
  if (request.resolveLock !== undefined) return { resolveLock: { error, nextKey: NO_BYTES } };
  if (request.checkTxnStatus !== undefined)
    return { checkTxnStatus: { error, lockTtl: 0, commitVersion: 0n, action: Action.NoAction } };
  if (request.checkSecondaryLocks !== undefined)
    return { checkSecondaryLocks: { error, locks: [], commitTs: 0n } };
  if (request.txnHeartBeat !== undefined) return { txnHeartBeat: { error, lockTtl: 0 } };
  return { gc: { error, nextKey: NO_BYTES } };
}

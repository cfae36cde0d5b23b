import { kvrpcpb } from '../../proto/index.js';

/**
 * What a version says of its key: a value, its removal, a lock that wrote nothing, or a transaction that was rolled
 * back.
 */
export type VersionKind = 'put' | 'delete' | 'lock' | 'rollback';

/** A lock that stands on a key. */
export interface KeyLock {
  readonly kind: 'put' | 'delete' | 'lock' | 'pessimistic';
  /** When its transaction began, by the oracle. */
  readonly startTimestamp: bigint;
  /** The key that decides whether its transaction is committed. */
  readonly primary: Uint8Array;
  /** Milliseconds from the start of its transaction. */
  readonly ttl: number;
  /** Keys that its transaction writes. */
  readonly txnSize: number;
  /** Its transaction cannot be committed at an earlier one. */
  readonly minCommitTimestamp: bigint;
  /** Its transaction is committed as soon as all of its keys are locked. */
  readonly useAsyncCommit: boolean;
  /** The other keys of such a transaction, where this lock stands on its primary. */
  readonly secondaries: readonly Uint8Array[];
}

/** What a transaction did to a key. */
export interface KeyVersion {
  readonly kind: VersionKind;
  /** Of a rollback: that of its start. */
  readonly commitTimestamp: bigint;
  readonly startTimestamp: bigint;
  /** Of a put. */
  readonly value: Uint8Array | undefined;
  /** A transaction that began at `commitTimestamp` is rolled back, too. */
  readonly hasOverlappedRollback: boolean;
}

/** What a store has under one transactional key. */
export interface KeyVersions {
  readonly lock: KeyLock | undefined;
  /** The newest first. */
  readonly versions: readonly KeyVersion[];
  /** There are older ones, which did not fit into the reply. */
  readonly more: boolean;
}

/** @param response of a store; its bytes are copied */
export function keyVersions({ info, more }: kvrpcpb.MvccGetByKeyResponse): KeyVersions {
  const values = new Map(info?.values.map(({ startTs, value }) => [startTs, value]));
  const { lock } = info ?? {};
  return {
    lock:
      lock === undefined
        ? undefined
        : {
            kind: lockKind(lock.type),
            startTimestamp: lock.startTs,
            primary: new Uint8Array(lock.primary),
            ttl: lock.ttl,
            txnSize: lock.txnSize,
            minCommitTimestamp: lock.minCommitTs,
            useAsyncCommit: lock.useAsyncCommit,
            secondaries: lock.secondaries.map((key) => new Uint8Array(key)),
          },
    versions: (info?.writes ?? []).map(({ type, startTs, commitTs, shortValue, hasOverlappedRollback }) => ({
      kind: versionKind(type),
      commitTimestamp: commitTs,
      startTimestamp: startTs,
      value: type === kvrpcpb.Op.Put ? new Uint8Array(values.get(startTs) ?? shortValue) : undefined,
      hasOverlappedRollback,
    })),
    more,
  };
}

function versionKind(op: kvrpcpb.Op): VersionKind {
  if (op === kvrpcpb.Op.Put) return 'put';
  if (op === kvrpcpb.Op.Del) return 'delete';
  return op === kvrpcpb.Op.Lock ? 'lock' : 'rollback';
}

function lockKind(op: kvrpcpb.Op): KeyLock['kind'] {
  if (op === kvrpcpb.Op.PessimisticLock) return 'pessimistic';
  if (op === kvrpcpb.Op.Put) return 'put';
  return op === kvrpcpb.Op.Del ? 'delete' : 'lock';
}

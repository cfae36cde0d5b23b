/**
 * The first phase (TiKV's `commands/prewrite.rs` and `actions/prewrite.rs`): every key is locked, or none.
 *
 * In one phase keys are not locked at all but committed at once; with async commit their locks say when at the earliest.
 * Both need a timestamp above every read that has been answered. Without one, and above the client's limit, the request
 * is answered as one of two phases, which is always right.
 */
import { equalBytes, nameOfKey, withTimestamp } from '../keys.js';
import { encodeLock } from './lock-record.js';
import { done, type Evaluation, type LockedSubject, lockInfo, refused, subjectOf } from './outcome.js';
import { type Answer, isRollbackOf, type ReadPlan, type TxnRecord } from './read-plan.js';
import {
  type CommittedWrite,
  type Lock,
  MAX_SHORT_VALUE_BYTES,
  MAX_TIMESTAMP,
  type Mutation,
  type MvccChange,
  type MvccError,
  type MvccOutcome,
  type PrewriteCommand,
  type Timestamp,
} from './types.js';
import { encodeWrite } from './write-record.js';

interface Target extends LockedSubject {
  readonly mutation: Mutation;
  /** The newest record of the key; with constraint checks skipped, the one under the start timestamp or below. */
  readonly newest: Answer<CommittedWrite | undefined>;
}

/**
 * Errors come one per key. A transaction that is found committed already succeeds: the request was delivered again, or
 * its reply was lost.
 */
export function* prewrite(command: PrewriteCommand, commitFloor: Timestamp, plan: ReadPlan): Evaluation {
  const targets = targetsOf(command, plan);
  if (targets.length > 0) yield;
  const doubts = yield* doubtsOf(targets, command, plan);
  if (doubts.length > 0) {
    const committed = doubts.find(({ record }) => record.value.state === 'committed')?.record.value;
    if (committed?.state === 'committed') return committedAlready(command, committed.commitTs);
    return refused(
      NOT_COMMITTED,
      doubts.map(({ error }) => error),
    );
  }
  return lockAll(targets, command, commitFloor);
}

const NOT_COMMITTED = { kind: 'prewrite', minCommitTs: 0n, onePcCommitTs: 0n } as const;

function committedAlready({ asyncCommit, tryOnePc }: PrewriteCommand, commitTs: Timestamp): MvccOutcome {
  return done({
    kind: 'prewrite',
    minCommitTs: asyncCommit ? commitTs : 0n,
    onePcCommitTs: tryOnePc ? commitTs : 0n,
  });
}

/** Of mutations with the same key the last counts (such a list is refused at the edge). */
function targetsOf({ mutations, startTs, skipConstraintCheck }: PrewriteCommand, plan: ReadPlan): Target[] {
  const last = new Map(mutations.map((mutation) => [nameOfKey(mutation.key), mutation]));
  const from = skipConstraintCheck ? startTs : MAX_TIMESTAMP;
  return [...last.values()].map((mutation) => {
    const subject = subjectOf(mutation.key, plan);
    return { ...subject, mutation, newest: plan.newest(subject.stored, from) };
  });
}

interface Doubt {
  readonly error: MvccError;
  readonly record: Answer<TxnRecord>;
}

/** What stands against the prewrite, and whether the transaction is committed at that key already. */
function* doubtsOf(
  targets: readonly Target[],
  command: PrewriteCommand,
  plan: ReadPlan,
): Generator<undefined, Doubt[], undefined> {
  const { startTs } = command;
  const doubts: Doubt[] = [];
  const uncertain: { readonly target: Target; readonly version: Answer<CommittedWrite | undefined> }[] = [];
  for (const target of targets) {
    const error = conflictOf(target, command);
    if (error) doubts.push({ error, record: plan.record(target.stored, startTs) });
    else if (mustNotExist(target, startTs)) {
      // Locks and rollbacks stand before the version that tells.
      uncertain.push({ target, version: plan.version(target.stored, MAX_TIMESTAMP) });
    }
  }
  if (doubts.length > 0 || uncertain.length > 0) yield;
  const existing = uncertain.filter(({ version }) => version.value?.kind === 'put');
  for (const { target } of existing) {
    doubts.push({
      error: { code: 'already-exists', key: target.key },
      record: plan.record(target.stored, startTs),
    });
  }
  if (existing.length > 0) yield;
  return doubts;
}

function conflictOf(
  { key, lock, newest }: Target,
  { startTs, primary, skipConstraintCheck }: PrewriteCommand,
): MvccError | undefined {
  const found = lock.value;
  if (found)
    return found.startTs === startTs ? undefined : { code: 'key-is-locked', lock: lockInfo(key, found) };
  const write = newest.value;
  if (!write) return undefined;
  const isRolledBack = isRollbackOf(write, startTs);
  if (!isRolledBack && (write.commitTs <= startTs || skipConstraintCheck)) return undefined;
  return {
    code: 'write-conflict',
    reason: isRolledBack ? 'self-rolled-back' : 'optimistic',
    key,
    primary,
    startTs,
    conflictStartTs: write.startTs,
    conflictCommitTs: write.commitTs,
  };
}

/** A key that its own transaction has locked was looked at when that was done. */
function mustNotExist({ mutation, lock, newest }: Target, startTs: Timestamp): boolean {
  if (mutation.kind !== 'insert' && mutation.kind !== 'checkNotExists') return false;
  if (lock.value?.startTs === startTs) return false;
  const write = newest.value;
  return write !== undefined && write.kind !== 'delete';
}

/** Nothing stands against it. */
function lockAll(targets: readonly Target[], command: PrewriteCommand, commitFloor: Timestamp): MvccOutcome {
  const { asyncCommit, tryOnePc, startTs } = command;
  const own = targets.flatMap(({ lock }) => lock.value ?? []);
  const unlocked = targets.filter(({ mutation, lock }) => mutation.kind !== 'checkNotExists' && !lock.value);
  const earliest =
    unlocked.length > 0 ? earliestCommitTs(command, commitFloor, own) : standingCommitTs(command, own);
  const changes: MvccChange[] = [];
  const onePcCommitTs = tryOnePc && own.length === 0 ? earliest : 0n;
  if (onePcCommitTs > 0n) {
    for (const target of unlocked) writeCommitted(target, startTs, onePcCommitTs, changes);
    return done({ kind: 'prewrite', minCommitTs: asyncCommit ? onePcCommitTs : 0n, onePcCommitTs }, changes);
  }
  const minCommitTs = asyncCommit ? earliest : 0n;
  for (const target of unlocked) writeLock(target, command, minCommitTs, changes);
  return done({ kind: 'prewrite', minCommitTs, onePcCommitTs: 0n }, changes);
}

/** Of a request that writes something. 0 when the transaction has to be committed in two phases. */
function earliestCommitTs(command: PrewriteCommand, commitFloor: Timestamp, own: readonly Lock[]): Timestamp {
  const { asyncCommit, tryOnePc, startTs, minCommitTs, maxCommitTs } = command;
  if ((!asyncCommit && !tryOnePc) || commitFloor === 0n) return 0n;
  // A key that was locked for two phases before stays so, and the transaction with it.
  if (own.some((lock) => !lock.useAsyncCommit)) return 0n;
  let earliest = larger(commitFloor, larger(startTs + 1n, minCommitTs));
  for (const lock of own) earliest = larger(earliest, lock.minCommitTs);
  return maxCommitTs > 0n && earliest > maxCommitTs ? 0n : earliest;
}

/**
 * Of a request that leaves everything as it is: one that was delivered again, or that only demands absence. Whoever finds an
 * async commit without its client commits it at what its locks say. So its client must not be told anything else: neither a
 * later timestamp, for it would commit some keys at another one than the others; nor that it takes two phases.
 */
function standingCommitTs(
  { asyncCommit, tryOnePc, startTs, minCommitTs }: PrewriteCommand,
  own: readonly Lock[],
): Timestamp {
  if ((!asyncCommit && !tryOnePc) || own.some((lock) => !lock.useAsyncCommit)) return 0n;
  if (own.length > 0) return own.reduce((earliest, lock) => larger(earliest, lock.minCommitTs), 0n);
  // No lock of the transaction is below that.
  return larger(startTs + 1n, minCommitTs);
}

function larger(a: Timestamp, b: Timestamp): Timestamp {
  return a > b ? a : b;
}

function writeLock(
  target: Target,
  command: PrewriteCommand,
  asyncMinCommitTs: Timestamp,
  changes: MvccChange[],
): void {
  const { primary, startTs, ttl, txnSize, asyncCommit } = command;
  const { mutation, stored, key } = target;
  const useAsyncCommit = asyncMinCommitTs > 0n;
  const lock: Lock = {
    kind: kindOf(mutation),
    primary,
    startTs,
    ttl,
    shortValue: placeValue(target, startTs, changes),
    txnSize,
    minCommitTs: useAsyncCommit ? asyncMinCommitTs : command.minCommitTs,
    useAsyncCommit,
    secondaries: useAsyncCommit && asyncCommit && equalBytes(key, primary) ? asyncCommit.secondaries : [],
    rollbackTs: [],
  };
  changes.push({ cf: 'lock', key: stored, value: encodeLock(lock) });
}

function writeCommitted(
  target: Target,
  startTs: Timestamp,
  commitTs: Timestamp,
  changes: MvccChange[],
): void {
  const shortValue = placeValue(target, startTs, changes);
  const value = encodeWrite({
    kind: kindOf(target.mutation),
    startTs,
    shortValue,
    hasOverlappedRollback: false,
    isProtected: false,
  });
  changes.push({ cf: 'write', key: withTimestamp(target.stored, commitTs), value });
}

/** The value, where it is short enough to stand in the record; a longer one goes to its own family. */
function placeValue(
  { mutation, stored }: Target,
  startTs: Timestamp,
  changes: MvccChange[],
): Uint8Array | undefined {
  if (kindOf(mutation) !== 'put') return undefined;
  if (mutation.value.length <= MAX_SHORT_VALUE_BYTES) return mutation.value;
  changes.push({ cf: 'default', key: withTimestamp(stored, startTs), value: mutation.value });
  return undefined;
}

function kindOf({ kind }: Mutation): 'put' | 'delete' | 'lock' {
  return kind === 'delete' || kind === 'lock' ? kind : 'put';
}

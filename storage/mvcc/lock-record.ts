/**
 * The bytes of a lock, TiKV's (`components/txn_types/src/lock.rs`): kind, primary, start timestamp and time to live, then
 * what there is of short value, transaction size, earliest commit timestamp, secondaries and rollbacks, each behind its
 * letter and in this order.
 */
import { compactCapacity, RecordReader, RecordWriter } from './record-bytes.js';
import { type Lock, type LockKind, MAX_SHORT_VALUE_BYTES, type Timestamp } from './types.js';

const KINDS: Readonly<Record<LockKind, number>> = { put: 0x50, delete: 0x44, lock: 0x4c, pessimistic: 0x53 };

const SHORT_VALUE = 0x76;
const TXN_SIZE = 0x74;
const MIN_COMMIT_TS = 0x63;
const ASYNC_COMMIT = 0x61;
const ROLLBACK_TS = 0x72;

/** A lock as its family stores it, in TiKV's format. */
export function encodeLock(lock: Lock): Uint8Array {
  const writer = new RecordWriter(capacity(lock));
  writer.byte(KINDS[lock.kind]);
  writer.compactBytes(lock.primary);
  writer.varint(lock.startTs);
  writer.varint(BigInt(lock.ttl));
  if (lock.shortValue) {
    writer.byte(SHORT_VALUE);
    writer.byte(lock.shortValue.length);
    writer.bytes(lock.shortValue);
  }
  if (lock.txnSize > 0) {
    writer.byte(TXN_SIZE);
    writer.uint64(BigInt(lock.txnSize));
  }
  if (lock.minCommitTs > 0n) {
    writer.byte(MIN_COMMIT_TS);
    writer.uint64(lock.minCommitTs);
  }
  if (lock.useAsyncCommit) {
    writer.byte(ASYNC_COMMIT);
    writer.varint(BigInt(lock.secondaries.length));
    for (const key of lock.secondaries) writer.compactBytes(key);
  }
  if (lock.rollbackTs.length > 0) {
    writer.byte(ROLLBACK_TS);
    writer.varint(BigInt(lock.rollbackTs.length));
    for (const ts of lock.rollbackTs) writer.uint64(ts);
  }
  return writer.finish();
}

function capacity(lock: Lock): number {
  let bytes = 64 + lock.primary.length + MAX_SHORT_VALUE_BYTES;
  for (const key of lock.secondaries) bytes += compactCapacity(key);
  return bytes + 11 + 8 * lock.rollbackTs.length;
}

/**
 * Byte strings are views of `bytes`.
 * @throws StorageError `corruption` when the bytes are no lock, `format` when a newer version wrote them.
 */
export function decodeLock(bytes: Uint8Array): Lock {
  const reader = new RecordReader(bytes, 'lock');
  const kind = kindOf(reader.byte()) ?? reader.fail('it is of no kind');
  const primary = reader.compactBytes();
  if (primary.length === 0) reader.fail('it has no primary');
  const startTs = reader.varint();
  if (startTs === 0n) reader.fail('it has no start timestamp');
  const ttl = reader.safeVarint();
  const shortValue = reader.flag(SHORT_VALUE) ? reader.bytes(reader.byte()) : undefined;
  if (shortValue && kind !== 'put') reader.fail('it has a value, and puts none');
  const txnSize = reader.flag(TXN_SIZE) ? reader.safeUint64() : 0;
  const minCommitTs = reader.flag(MIN_COMMIT_TS) ? reader.uint64() : 0n;
  const useAsyncCommit = reader.flag(ASYNC_COMMIT);
  const secondaries: Uint8Array[] = [];
  if (useAsyncCommit)
    for (let left = reader.count(); left > 0; left--) secondaries.push(reader.compactBytes());
  const rollbackTs: Timestamp[] = [];
  if (reader.flag(ROLLBACK_TS))
    for (let left = reader.count(); left > 0; left--) rollbackTs.push(reader.uint64());
  reader.end();
  return {
    kind,
    primary,
    startTs,
    ttl,
    shortValue,
    txnSize,
    minCommitTs,
    useAsyncCommit,
    secondaries,
    rollbackTs,
  };
}

function kindOf(byte: number): LockKind | undefined {
  switch (byte) {
    case KINDS.put:
      return 'put';
    case KINDS.delete:
      return 'delete';
    case KINDS.lock:
      return 'lock';
    case KINDS.pessimistic:
      return 'pessimistic';
    default:
      return undefined;
  }
}

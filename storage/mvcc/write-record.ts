/**
 * The bytes of a write record, TiKV's (`components/txn_types/src/write.rs`): kind and start timestamp, then what there is
 * of short value and overlapped rollback. A protected rollback has the short value "p".
 */
import { RecordReader, RecordWriter } from './record-bytes.js';
import type { Write, WriteKind } from './types.js';

const KINDS: Readonly<Record<WriteKind, number>> = { put: 0x50, delete: 0x44, lock: 0x4c, rollback: 0x52 };

const SHORT_VALUE = 0x76;
const OVERLAPPED_ROLLBACK = 0x52;
const PROTECTED = Uint8Array.of(0x70);

/** A record as the family `write` stores it, in TiKV's format. */
export function encodeWrite(write: Write): Uint8Array {
  const shortValue = write.isProtected ? PROTECTED : write.shortValue;
  const writer = new RecordWriter(14 + (shortValue?.length ?? 0));
  writer.byte(KINDS[write.kind]);
  writer.varint(write.startTs);
  if (shortValue) {
    writer.byte(SHORT_VALUE);
    writer.byte(shortValue.length);
    writer.bytes(shortValue);
  }
  if (write.hasOverlappedRollback) writer.byte(OVERLAPPED_ROLLBACK);
  return writer.finish();
}

/**
 * The short value is a view of `bytes`.
 * @throws StorageError `corruption` when the bytes are no write record, `format` when a newer version wrote them.
 */
export function decodeWrite(bytes: Uint8Array): Write {
  const reader = new RecordReader(bytes, 'write record');
  const kind = kindOf(reader.byte()) ?? reader.fail('it is of no kind');
  const startTs = reader.varint();
  if (startTs === 0n) reader.fail('it has no start timestamp');
  const shortValue = reader.flag(SHORT_VALUE) ? reader.bytes(reader.byte()) : undefined;
  const hasOverlappedRollback = reader.flag(OVERLAPPED_ROLLBACK);
  reader.end();
  if (kind === 'rollback') {
    if (hasOverlappedRollback) reader.fail('it is a rollback with another one upon it');
    if (shortValue && (shortValue.length !== 1 || shortValue[0] !== PROTECTED[0])) {
      reader.fail('it is a rollback with a value');
    }
    return {
      kind,
      startTs,
      shortValue: undefined,
      hasOverlappedRollback: false,
      isProtected: shortValue !== undefined,
    };
  }
  if (shortValue && kind !== 'put') reader.fail('it has a value, and puts none');
  return { kind, startTs, shortValue, hasOverlappedRollback, isProtected: false };
}

function kindOf(byte: number): WriteKind | undefined {
  switch (byte) {
    case KINDS.put:
      return 'put';
    case KINDS.delete:
      return 'delete';
    case KINDS.lock:
      return 'lock';
    case KINDS.rollback:
      return 'rollback';
    default:
      return undefined;
  }
}

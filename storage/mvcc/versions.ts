/** Stored keys of the families `write` and `default`: a transactional key and a descending timestamp. */
import { keyAfter, timestampOf, withTimestamp } from '../keys.js';
import type { CommittedWrite } from './types.js';
import { decodeWrite } from './write-record.js';

const TIMESTAMP_BYTES = 8;

/** A user key, and how it is stored without a timestamp. */
export interface Subject {
  readonly key: Uint8Array;
  readonly stored: Uint8Array;
}

/** The key of a version without its timestamp (a view). */
export function keyOfVersion(version: Uint8Array): Uint8Array {
  return version.subarray(0, version.length - TIMESTAMP_BYTES);
}

/** The first stored key behind every version of this one. */
export function afterVersions(stored: Uint8Array): Uint8Array {
  return keyAfter(withTimestamp(stored, 0n));
}

/** @throws StorageError when the bytes are no write record. */
export function committedWrite(version: Uint8Array, record: Uint8Array): CommittedWrite {
  return { ...decodeWrite(record), commitTs: timestampOf(version) };
}

import type { Write } from './types.js';

export function encodeWrite(_write: Write): Uint8Array {
  throw new Error('to come');
}

/** @throws StorageError `corruption` when the bytes are no write record. */
export function decodeWrite(_bytes: Uint8Array): Write {
  throw new Error('to come');
}

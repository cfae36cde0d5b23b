import type { Lock } from './types.js';

export function encodeLock(_lock: Lock): Uint8Array {
  throw new Error('to come');
}

/** @throws StorageError `corruption` when the bytes are no lock. */
export function decodeLock(_bytes: Uint8Array): Lock {
  throw new Error('to come');
}

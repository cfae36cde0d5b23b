/**
 * What is stored under a raw key: the value, then eight bytes of expiry if there is one, then one byte of flags
 * (bit 0: expiry present).
 */
import { StorageError } from './errors.js';

const EXPIRES = 1;

/** A raw value as it was stored. */
export interface RawValue {
  /** A view of the stored bytes. */
  readonly value: Uint8Array;
  /** Seconds since 1970 at which the key is gone; `undefined` for never. */
  readonly expiresAt: number | undefined;
}

/**
 * A raw value as it is stored: its bytes, an expiry where it has one, a flag byte.
 * @param expiresAt seconds since 1970; for ever when absent
 */
export function encodeRawValue(value: Uint8Array, expiresAt?: number): Buffer {
  if (expiresAt === undefined) {
    const stored = Buffer.allocUnsafe(value.length + 1);
    stored.set(value);
    stored[value.length] = 0;
    return stored;
  }
  const stored = Buffer.allocUnsafe(value.length + 9);
  stored.set(value);
  stored.writeBigUInt64BE(BigInt(expiresAt), value.length);
  stored[value.length + 8] = EXPIRES;
  return stored;
}

/** @throws StorageError `format` for flags that this version does not know. */
export function decodeRawValue(stored: Uint8Array): RawValue {
  const end = stored.length - 1;
  const flags = stored[end];
  if (flags === 0) return { value: stored.subarray(0, end), expiresAt: undefined };
  if (flags !== EXPIRES || end < 8) {
    throw new StorageError(
      'format',
      `A raw value of ${stored.length} bytes carries the unknown flags ${flags ?? 'none'}.`,
    );
  }
  const expiry = new DataView(stored.buffer, stored.byteOffset + end - 8, 8).getBigUint64(0);
  return { value: stored.subarray(0, end - 8), expiresAt: Number(expiry) };
}

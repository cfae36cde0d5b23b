/**
 * Stored keys.
 *
 * The first byte says whose a key is: `r` and the raw key as it is, or `x` and the memory-comparable encoding of a
 * transactional key (then the descending timestamp in the families `write` and `default`). Regions are ranges of stored
 * keys.
 */
import { StorageError } from './errors.js';

/** Whose keys they are: `raw` of single operations, `txn` of transactions. The two never meet. */
export type KeySpace = 'raw' | 'txn';

/** Bytes of a user key, in both spaces. */
export const MAX_USER_KEY_BYTES = 4096;

const RAW = 0x72;
const TXN = 0x78;

const EMPTY = new Uint8Array(0);

const GROUP = 8;
const MARKER = 0xff;

/** Order of unsigned bytes; a proper prefix comes first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whether both hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0;
}

/** Bytes as the key of a map: a character each, so that such names sort as the bytes do. */
export function nameOfKey({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
}

/** @throws StorageError `invalid-key` unless it has 1 to 4096 bytes. */
export function checkUserKey(key: Uint8Array): void {
  if (key.length >= 1 && key.length <= MAX_USER_KEY_BYTES) return;
  throw new StorageError(
    'invalid-key',
    key.length === 0
      ? 'The empty key is not allowed: a key has 1 to 4096 bytes.'
      : `A key of ${key.length} bytes is too long: a key has 1 to ${MAX_USER_KEY_BYTES} bytes.`,
  );
}

/** The stored form of a raw user key. @throws StorageError `invalid-key` */
export function rawKey(userKey: Uint8Array): Buffer {
  checkUserKey(userKey);
  return prefixed(RAW, userKey);
}

/** The stored form of a transactional user key, without a timestamp. @throws StorageError `invalid-key` */
export function txnKey(userKey: Uint8Array): Buffer {
  checkUserKey(userKey);
  return prefixed(TXN, encodeBytes(userKey));
}

/** Whether a stored key is in the transactional space. */
export function isTxnKey(stored: Uint8Array): boolean {
  return stored[0] === TXN;
}

/** A space as a range of stored keys. */
export function spaceRange(space: KeySpace): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const first = space === 'raw' ? RAW : TXN;
  return { start: Uint8Array.of(first), end: Uint8Array.of(first + 1) };
}

/**
 * A range of raw user keys as a range of stored keys. An absent or empty bound stands for the edge of the space.
 */
export function rawRange(
  start?: Uint8Array,
  end?: Uint8Array,
): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const space = spaceRange('raw');
  return {
    start: start?.length ? prefixed(RAW, start) : space.start,
    end: end?.length ? prefixed(RAW, end) : space.end,
  };
}

/**
 * A range of transactional user keys as a range of stored keys, versions included. An absent or empty bound stands for
 * the edge of the space.
 */
export function txnRange(
  start?: Uint8Array,
  end?: Uint8Array,
): { readonly start: Uint8Array; readonly end: Uint8Array } {
  const space = spaceRange('txn');
  return {
    start: start?.length ? prefixed(TXN, encodeBytes(start)) : space.start,
    end: end?.length ? prefixed(TXN, encodeBytes(end)) : space.end,
  };
}

/**
 * The transactional user keys of a region, or of any range of stored keys whose bounds are whole keys: the other way round of
 * `txnRange`. Empty bounds are open, as in regions; `undefined` when the range holds none.
 * @throws StorageError `invalid-key` for a bound in the middle of a key
 */
export function txnKeysWithin({
  startKey,
  endKey,
}: {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}): { readonly start: Uint8Array; readonly end: Uint8Array } | undefined {
  const space = spaceRange('txn');
  const endsBefore = endKey.length > 0 && compareBytes(endKey, space.start) <= 0;
  if (endsBefore || compareBytes(startKey, space.end) >= 0) return undefined;
  const keyOf = (bound: Uint8Array): Uint8Array =>
    bound[0] === TXN && bound.length > 1 ? userKey(bound).key : EMPTY;
  return { start: keyOf(startKey), end: keyOf(endKey) };
}

/**
 * Space and user key of a stored key; a timestamp behind a transactional key is left out.
 * The raw key is a view. @throws StorageError `invalid-key` when it is in neither space.
 */
export function userKey(stored: Uint8Array): { readonly space: KeySpace; readonly key: Uint8Array } {
  if (stored[0] === RAW && stored.length > 1) return { space: 'raw', key: stored.subarray(1) };
  if (stored[0] === TXN) return { space: 'txn', key: decodeBytes(stored.subarray(1)).bytes };
  throw new StorageError('invalid-key', `"${escapeKey(stored)}" is not a stored key.`);
}

/** The smallest key above every key with this prefix; `undefined` when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const byte = prefix[i] as number;
    if (byte === 0xff) continue;
    const end = new Uint8Array(prefix.subarray(0, i + 1));
    end[i] = byte + 1;
    return end;
  }
  return undefined;
}

/** The next key in order. */
export function keyAfter(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/**
 * Memory-comparable encoding (TiKV's codec): groups of eight bytes, padded with zeros, each followed by 0xff less the
 * number of padding bytes. The order of the encodings is the order of the keys, and none is a prefix of another.
 */
export function encodeBytes(bytes: Uint8Array): Buffer {
  const groups = Math.floor(bytes.length / GROUP) + 1;
  const encoded = Buffer.alloc(groups * (GROUP + 1));
  for (let group = 0; group < groups; group++) {
    const from = group * GROUP;
    const length = Math.min(GROUP, bytes.length - from);
    const to = group * (GROUP + 1);
    encoded.set(bytes.subarray(from, from + length), to);
    encoded[to + GROUP] = MARKER - (GROUP - length);
  }
  return encoded;
}

/**
 * Reads one memory-comparable encoding from the beginning of `encoded`.
 * @returns the bytes, and how many bytes of `encoded` they took.
 * @throws StorageError `invalid-key` when it is not such an encoding.
 */
export function decodeBytes(encoded: Uint8Array): { readonly bytes: Uint8Array; readonly length: number } {
  const length = encodedLength(encoded, 0);
  if (length === 0) return notComparable(encoded);
  const padding = MARKER - (encoded[length - 1] as number);
  const bytes = new Uint8Array((length / (GROUP + 1)) * GROUP - padding);
  for (let from = 0, to = 0; to < bytes.length; from += GROUP + 1, to += GROUP) {
    bytes.set(encoded.subarray(from, from + Math.min(GROUP, bytes.length - to)), to);
  }
  return { bytes, length };
}

/** How many bytes a memory-comparable encoding at `from` takes; 0 when there is none. */
function encodedLength(encoded: Uint8Array, from: number): number {
  for (let at = from; at + GROUP < encoded.length; at += GROUP + 1) {
    const padding = MARKER - (encoded[at + GROUP] as number);
    if (padding === 0) continue;
    if (padding > GROUP) return 0;
    for (let i = GROUP - padding; i < GROUP; i++) if (encoded[at + i] !== 0) return 0;
    return at + GROUP + 1 - from;
  }
  return 0;
}

function notComparable(encoded: Uint8Array): never {
  throw new StorageError('invalid-key', `"${escapeKey(encoded)}" is not a memory-comparable key.`);
}

const TIMESTAMP_BITS = (1n << 64n) - 1n;

/** Appends a timestamp so that the newest version of a key sorts first. */
export function withTimestamp(encodedKey: Uint8Array, timestamp: bigint): Buffer {
  const key = Buffer.allocUnsafe(encodedKey.length + 8);
  key.set(encodedKey);
  key.writeBigUInt64BE(timestamp ^ TIMESTAMP_BITS, encodedKey.length);
  return key;
}

/**
 * A stored key as all versions of its user key begin, which is where a region may: a transactional key without the
 * timestamp behind it (a view), any other key as it is.
 * @returns `undefined` when it is in the transactional space and no key of it.
 */
export function withoutTimestamp(stored: Uint8Array): Uint8Array | undefined {
  if (stored[0] !== TXN) return stored;
  const length = encodedLength(stored, 1);
  return length === 0 ? undefined : stored.subarray(0, 1 + length);
}

/** Whether a stored key is `key`, a stored key without a timestamp, or one of its versions. */
export function isVersionOf(stored: Uint8Array, key: Uint8Array): boolean {
  if (stored.length !== key.length && (key[0] !== TXN || stored.length < key.length)) return false;
  // Backwards: neighbours differ late.
  for (let i = key.length - 1; i >= 0; i--) if (stored[i] !== key[i]) return false;
  return true;
}

/** The timestamp in the last eight bytes. */
export function timestampOf(key: Uint8Array): bigint {
  if (key.length < 8) throw new StorageError('invalid-key', `"${escapeKey(key)}" carries no timestamp.`);
  return new DataView(key.buffer, key.byteOffset + key.length - 8, 8).getBigUint64(0) ^ TIMESTAMP_BITS;
}

/** A stored key for people, who know their own keys: `raw "m"`, `txn "m"`; what is no key of either space as it is stored. */
export function describeStoredKey(stored: Uint8Array): string {
  try {
    const { space, key } = userKey(stored);
    return `${space} "${escapeKey(key)}"`;
  } catch {
    return `"${escapeKey(stored)}"`;
  }
}

const BACKSLASH = 0x5c;
const HEX = '0123456789abcdef';

/** Printable form: bytes outside 0x20 to 0x7e and the backslash become `\xNN`. */
export function escapeKey(key: Uint8Array): string {
  let text = '';
  for (const byte of key) {
    if (byte >= 0x20 && byte <= 0x7e && byte !== BACKSLASH) text += String.fromCharCode(byte);
    else text += `\\x${HEX[byte >> 4]}${HEX[byte & 15]}`;
  }
  return text;
}

/**
 * Reads the printable form; text outside ASCII stands for its UTF-8 bytes.
 * @throws StorageError `invalid-key` at a backslash that is not `\xNN`.
 */
export function unescapeKey(text: string): Buffer {
  const source = Buffer.from(text, 'utf8');
  const bytes = Buffer.allocUnsafe(source.length);
  let size = 0;
  for (let i = 0; i < source.length; i++) {
    const byte = source[i] as number;
    if (byte !== BACKSLASH) {
      bytes[size++] = byte;
      continue;
    }
    const escaped = source.toString('latin1', i, i + 4);
    if (!/^\\x[0-9a-fA-F]{2}$/.test(escaped)) {
      throw new StorageError('invalid-key', `"${text}" has a backslash that is not the beginning of \\xNN.`);
    }
    bytes[size++] = Number.parseInt(escaped.slice(2), 16);
    i += 3;
  }
  return bytes.subarray(0, size);
}

function prefixed(first: number, rest: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(rest.length + 1);
  key[0] = first;
  key.set(rest, 1);
  return key;
}

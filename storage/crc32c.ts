/** CRC-32C (Castagnoli), eight bytes a step, and RocksDB's masked form of it. */

const POLYNOMIAL = 0x82f63b78;

/** `TABLES[k][b]`: the checksum of byte `b` followed by `k` zero bytes. */
const TABLES: readonly Int32Array[] = Array.from({ length: 8 }, () => new Int32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  (TABLES[0] as Int32Array)[byte] = crc;
}
for (let step = 1; step < 8; step++) {
  const before = TABLES[step - 1] as Int32Array;
  for (let byte = 0; byte < 256; byte++) {
    const crc = before[byte] as number;
    (TABLES[step] as Int32Array)[byte] = (crc >>> 8) ^ ((TABLES[0] as Int32Array)[crc & 0xff] as number);
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

/** Checksum of `bytes[from, to)`, as an unsigned number. `previous` continues an earlier checksum. */
export function crc32c(bytes: Uint8Array, from = 0, to: number = bytes.length, previous = 0): number {
  let crc = ~previous;
  let i = from;
  for (; i + 8 <= to; i += 8) {
    const low =
      crc ^
      ((bytes[i] as number) |
        ((bytes[i + 1] as number) << 8) |
        ((bytes[i + 2] as number) << 16) |
        ((bytes[i + 3] as number) << 24));
    crc =
      (T7[low & 0xff] as number) ^
      (T6[(low >>> 8) & 0xff] as number) ^
      (T5[(low >>> 16) & 0xff] as number) ^
      (T4[low >>> 24] as number) ^
      (T3[bytes[i + 4] as number] as number) ^
      (T2[bytes[i + 5] as number] as number) ^
      (T1[bytes[i + 6] as number] as number) ^
      (T0[bytes[i + 7] as number] as number);
  }
  for (; i < to; i++) crc = (crc >>> 8) ^ (T0[(crc ^ (bytes[i] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

/** RocksDB stores checksums rotated and shifted, because they cover bytes that hold checksums themselves. */
export function maskedCrc32c(bytes: Uint8Array, from: number, to: number): number {
  const crc = crc32c(bytes, from, to);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

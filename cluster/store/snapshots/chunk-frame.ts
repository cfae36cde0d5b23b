/**
 * A chunk of a snapshot on the bulk channel, behind a header that says which chunk of which transfer it is. Numbers are
 * little endian:
 *
 * | bytes | what |
 * | --- | --- |
 * | 0..4 | `TSC` and the version of this layout |
 * | 4..8 | CRC-32C of everything behind it |
 * | 8..32 | the transfer: the sender's store id, incarnation and number |
 * | 32..36 | the chunk's number, counted from 0 |
 * | 36.. | the chunk |
 */
import { crc32c } from '../../../storage/crc32c.js';
import type { TransferId } from '../../snapshot-protocol.js';

const MAGIC = 0x01435354;
const CHECKSUM = 4;
const CHECKED = 8;
export const CHUNK_FRAME_HEADER_BYTES = 36;

export interface ChunkFrame {
  readonly transfer: TransferId;
  readonly sequence: number;
  /** A view of the frame. */
  readonly chunk: Uint8Array;
}

export function encodeChunkFrame(transfer: TransferId, sequence: number, chunk: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(CHUNK_FRAME_HEADER_BYTES + chunk.length);
  frame.writeUInt32LE(MAGIC, 0);
  frame.writeBigUInt64LE(BigInt(transfer.storeId), 8);
  frame.writeBigUInt64LE(BigInt(transfer.incarnation), 16);
  frame.writeBigUInt64LE(BigInt(transfer.number), 24);
  frame.writeUInt32LE(sequence, 32);
  frame.set(chunk, CHUNK_FRAME_HEADER_BYTES);
  frame.writeUInt32LE(crc32c(frame, CHECKED), CHECKSUM);
  return frame;
}

/** `undefined` for anything that is not a whole frame of this version: anybody may have sent anything. */
export function decodeChunkFrame(bytes: Uint8Array): ChunkFrame | undefined {
  if (bytes.length < CHUNK_FRAME_HEADER_BYTES) return undefined;
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (frame.readUInt32LE(0) !== MAGIC) return undefined;
  if (frame.readUInt32LE(CHECKSUM) !== crc32c(frame, CHECKED)) return undefined;
  const [storeId, incarnation, number] = [8, 16, 24].map((at) => Number(frame.readBigUInt64LE(at)));
  if (!isId(storeId) || !isId(incarnation) || !isId(number)) return undefined;
  return {
    transfer: { storeId, incarnation, number },
    sequence: frame.readUInt32LE(32),
    chunk: bytes.subarray(CHUNK_FRAME_HEADER_BYTES),
  };
}

function isId(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value);
}

/**
 * What a store remembers of its repair: that everything it had on disk is gone, and how far its peers have come back.
 *
 * In the family `raft`: `01 04` holds the watermark, `01 04 <region> 11` the floor of a peer that recovers.
 */
import type { RecoveryFloor } from '../machines/recovering-peer.machine.js';
import type { Engine, WriteBatch } from './engine.js';
import { StorageError } from './errors.js';
import { REPAIR_KEY, recoveryFloorKey } from './raft-keys.js';

/** Version of both records, their first byte. */
const VERSION = 1;
const NUMBER_BYTES = 8;

export interface RepairRecord {
  /**
   * Ids below it were given away before the repair: a peer with such an id that has no state on disk has forgotten its
   * votes. It may not start as a new peer would.
   */
  readonly watermark: number;
}

/** Kept for good: a message to a forgotten peer may come at any time. */
export function saveRepair(batch: WriteBatch, { watermark }: RepairRecord): void {
  batch.put('raft', REPAIR_KEY, encode([watermark]));
}

/** `undefined` for a store that was never repaired. @throws StorageError `format` */
export async function loadRepair(engine: Engine): Promise<RepairRecord | undefined> {
  const bytes = await engine.get('raft', REPAIR_KEY);
  if (bytes === undefined) return undefined;
  const [watermark] = decode(bytes, 1);
  return { watermark: watermark ?? 0 };
}

/** Keeps what a recovering peer has learnt. Must be durable before the peer believes any leader. */
export function saveRecoveryFloor(
  batch: WriteBatch,
  region: number,
  peer: number,
  { floor, answered }: RecoveryFloor,
): void {
  batch.put('raft', recoveryFloorKey(region), encode([peer, floor, ...answered]));
}

/** With the batch that brings the peer's snapshot. */
export function deleteRecoveryFloor(batch: WriteBatch, region: number): void {
  batch.delete('raft', recoveryFloorKey(region));
}

/** What this peer had learnt before a restart; what another peer of the region left does not count. @throws StorageError `format` */
export async function loadRecoveryFloor(
  engine: Engine,
  region: number,
  peer: number,
): Promise<RecoveryFloor | undefined> {
  const bytes = await engine.get('raft', recoveryFloorKey(region));
  if (bytes === undefined) return undefined;
  const [owner, floor = 0, ...answered] = decode(bytes, 2);
  return owner === peer ? { floor, answered } : undefined;
}

function encode(numbers: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(1 + numbers.length * NUMBER_BYTES);
  bytes[0] = VERSION;
  for (const [i, number] of numbers.entries()) {
    bytes.writeBigUInt64BE(BigInt(number), 1 + i * NUMBER_BYTES);
  }
  return bytes;
}

function decode(bytes: Uint8Array, least: number): readonly number[] {
  if (bytes[0] !== undefined && bytes[0] > VERSION) {
    throw new StorageError(
      'format',
      `The record of the store's repair has version ${bytes[0]}, this program reads up to ${VERSION}: start a newer one.`,
    );
  }
  const numbers: number[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 1; at + NUMBER_BYTES <= bytes.length; at += NUMBER_BYTES) {
    numbers.push(Number(view.getBigUint64(at)));
  }
  const whole = bytes.length === 1 + numbers.length * NUMBER_BYTES && bytes[0] === VERSION;
  if (!whole || numbers.length < least || !numbers.every(Number.isSafeInteger)) {
    throw new StorageError(
      'format',
      "The record of the store's repair cannot be read: repair the store again with `troupe store repair`.",
    );
  }
  return numbers;
}

/**
 * Keys of what a store knows of itself and its Raft groups, in the families `raft` and `log`.
 *
 * The family `raft` has TiKV's layout: `01 01` the store's identity, `01 02 <group> <kind>` the states of a Raft group,
 * `01 03 <region> 01` a region's state; what TiKV leaves free, `01 04`, what a repaired store must remember,
 * `01 04 <region> 11` how far its peer has recovered, and `01 05` which tombstones are forgotten; in a scheduler's directory `01 06`, what it knows of its group. The family `log` holds entries at `<group> <index>`. Numbers are 64
 * bits, big endian, so that keys sort as numbers do.
 */

const LOCAL = 0x01;

export const IDENTITY_KEY: Uint8Array = Uint8Array.of(LOCAL, 0x01);
const GROUP = 0x02;
const REGION = 0x03;

/** What a group's record holds. */
export const GroupRecord = { hardState: 0x02, applyState: 0x03, confState: 0x05 } as const;
export type GroupRecord = (typeof GroupRecord)[keyof typeof GroupRecord];

/** All records of all groups. */
export const GROUP_RECORDS = { start: Uint8Array.of(LOCAL, GROUP), end: Uint8Array.of(LOCAL, GROUP + 1) };
/** The states of all regions. */
export const REGION_RECORDS = { start: Uint8Array.of(LOCAL, REGION), end: Uint8Array.of(LOCAL, REGION + 1) };

const REGION_STATE = 0x01;
const REPAIR = 0x04;
const RECOVERY_FLOOR = 0x11;
const RECORD_LENGTH = 11;

function record(space: number, id: number, kind: number): Buffer {
  const key = Buffer.allocUnsafe(RECORD_LENGTH);
  key[0] = LOCAL;
  key[1] = space;
  writeNumber(key, 2, id);
  key[10] = kind;
  return key;
}

export function groupKey(group: number, kind: GroupRecord): Buffer {
  return record(GROUP, group, kind);
}

export function regionStateKey(region: number): Buffer {
  return record(REGION, region, REGION_STATE);
}

const COLLECTED = 0x05;
/** What is left of the tombstones that this store has forgotten. */
export const COLLECTED_TOMBSTONES_KEY: Uint8Array = Uint8Array.of(LOCAL, COLLECTED);

const SCHEDULERS = 0x06;
/** What a scheduler knows of its group. */
export const SCHEDULER_MEMBER_KEY: Uint8Array = Uint8Array.of(LOCAL, SCHEDULERS);

/** The record of the store's repair. */
export const REPAIR_KEY: Uint8Array = Uint8Array.of(LOCAL, REPAIR);

export function recoveryFloorKey(region: number): Buffer {
  return record(REPAIR, region, RECOVERY_FLOOR);
}

/** Id and kind of a key in the family `raft` made by the functions above; `undefined` for any other key. */
export function parseRecordKey(key: Uint8Array): { readonly id: number; readonly kind: number } | undefined {
  if (key.length !== RECORD_LENGTH || key[0] !== LOCAL) return undefined;
  return { id: readNumber(key, 2), kind: key[10] as number };
}

export const ENTRY_KEY_BYTES = 16;

/** The place of an entry in the family `log`. */
export function entryKey(group: number, index: number): Buffer {
  const key = Buffer.allocUnsafe(ENTRY_KEY_BYTES);
  writeNumber(key, 0, group);
  writeNumber(key, 8, index);
  return key;
}

/** The entries [low, high) of a group; all of them without bounds. */
export function entryRange(
  group: number,
  low = 0,
  high?: number,
): { readonly start: Buffer; readonly end: Buffer } {
  return {
    start: entryKey(group, low),
    end: high === undefined ? entryKey(group + 1, 0) : entryKey(group, high),
  };
}

export function parseEntryKey(key: Uint8Array): { readonly group: number; readonly index: number } {
  return { group: readNumber(key, 0), index: readNumber(key, 8) };
}

export function indexOfEntryKey(key: Uint8Array): number {
  return readNumber(key, 8);
}

const TWO_TO_32 = 2 ** 32;

function writeNumber(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32BE(Math.floor(value / TWO_TO_32), at);
  buffer.writeUInt32BE(value % TWO_TO_32, at + 4);
}

function readNumber(bytes: Uint8Array, at: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, 8);
  return view.getUint32(0) * TWO_TO_32 + view.getUint32(4);
}

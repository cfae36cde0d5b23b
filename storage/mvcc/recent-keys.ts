/**
 * What the engine holds of transactional keys that were lately read: their newest write record, that they are not locked,
 * and the value that was written last. A read that is answered from here costs a look into a map, where an iterator set
 * to the key costs about 100 µs.
 *
 * It is a cache of the engine's content, as RocksDB's block cache is, and knows nothing of regions, terms and leaders: it
 * sees every change on its way to the engine, whoever makes it. Why it cannot be wrong:
 *
 * - Batches that touch transactional keys are numbered when they are handed to the engine, which applies them in that order.
 *   A snapshot bears the number up to which all of them were visible when it was taken; those behind may show in it or not.
 * - A `RecentKey` says what its key is from one batch (`since`) to the next that touches the key, which puts another in
 *   its place when it is handed over. So a snapshot of a number at or above `since` shows the key just so: no batch
 *   behind `since` that could show in it has touched the key.
 * - A key that is not here is taken up only for the newest snapshot, and only while no batch under way touches it; what that
 *   snapshot shows is filled in later. Should a batch touch the key meanwhile, what is filled in lands in the `RecentKey`
 *   that was replaced, and is lost.
 * - Deleting a range forgets everything, and nothing is taken up until that is visible.
 */
import { compareBytes, nameOfKey, spaceRange, timestampOf } from '../keys.js';
import type { CommittedWrite, Timestamp } from './types.js';
import { committedWrite, keyOfVersion } from './versions.js';

/** Bytes of all that is remembered, roughly. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Of one key, without key and values: objects and places in the map. */
const KEY_BYTES = 256;
/** Longer values are read from the engine. */
const MAX_VALUE_BYTES = 4096;

/** Families that hold records of transactional keys. */
export type RecordFamily = 'default' | 'lock' | 'write';

/** A change to a record of a transactional key; without a value it is deleted. */
export interface RecordChange {
  readonly cf: RecordFamily;
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** What is known of a key; nothing may change what is said once. */
export interface RecentKey {
  /** The number of the batch that made it so. */
  readonly since: number;
  /** There is no lock; false where that is not known. */
  isUnlocked: boolean;
  /** The newest record of any kind, `null` where there is none; `undefined` where that is not known. */
  newest: CommittedWrite | null | undefined;
  /** A value in the family `default`, and the timestamp under which it stands. */
  value: { readonly startTs: Timestamp; readonly bytes: Uint8Array } | undefined;
  /** It was asked for since it came, or since it was last spared. */
  isUsed: boolean;
}

/** The newest records of keys lately read, in 32 MiB at most; why that is safe stands at the head of this file. */
export class RecentKeys {
  /** By the stored key's bytes as latin1. Those at the beginning go first, unless they were used since they came there. */
  readonly #keys = new Map<string, RecentKey>();
  /** Keys that batches under way touch, with the number of the last of those. */
  readonly #touched = new Map<string, number>();
  /** Batches under way, in their order. */
  readonly #underWay = new Map<number, Iterable<string>>();
  #submitted = 0;
  #visible = 0;
  /** The last batch that deleted a range. */
  #cleared = 0;
  #bytes = 0;

  constructor(private readonly maxBytes: number = MAX_BYTES) {}

  /** All batches up to this number show in a snapshot that is taken now. */
  get visible(): number {
    return this.#visible;
  }

  /** Keys that something is known of, or is going to be. */
  get size(): number {
    return this.#keys.size;
  }

  /** Bytes, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A batch that is being handed to the engine.
   * @param deletesRange it deletes transactional keys by their range
   * @returns its number
   */
  submit(changes: readonly RecordChange[], deletesRange: boolean): number {
    const batch = ++this.#submitted;
    const names = new Set<string>();
    if (deletesRange) {
      this.#keys.clear();
      this.#bytes = 0;
      this.#cleared = batch;
    }
    for (const change of changes) {
      const name = nameOfKey(change.cf === 'lock' ? change.key : keyOfVersion(change.key));
      names.add(name);
      this.#touched.set(name, batch);
      this.#advance(name, batch, change);
    }
    this.#underWay.set(batch, names);
    return batch;
  }

  /** The batch is visible. */
  settled(batch: number): void {
    const names = this.#underWay.get(batch) ?? [];
    this.#underWay.delete(batch);
    for (const name of names) if (this.#touched.get(name) === batch) this.#touched.delete(name);
    const [first = this.#submitted + 1] = this.#underWay.keys();
    this.#visible = first - 1;
  }

  /**
   * What is known of a key as a snapshot of the number `visible` shows it; `undefined` where nothing is, and nothing that is read
   * from this snapshot may be remembered.
   */
  at(stored: Uint8Array, visible: number): RecentKey | undefined {
    const name = nameOfKey(stored);
    const known = this.#keys.get(name);
    if (known === undefined) return this.#takeUp(name, visible);
    if (known.since > visible) return undefined;
    known.isUsed = true;
    return known;
  }

  /** What a snapshot shows of the value under a timestamp. */
  keepValue(stored: Uint8Array, known: RecentKey, startTs: Timestamp, bytes: Uint8Array): void {
    const name = nameOfKey(stored);
    if (this.#keys.get(name) !== known || bytes.length > MAX_VALUE_BYTES) return;
    this.#bytes -= valueBytes(known);
    known.value = { startTs, bytes };
    this.#bytes += valueBytes(known);
    this.#evict();
  }

  /** What a snapshot shows of the newest record; `null` for none. */
  keepNewest(stored: Uint8Array, known: RecentKey, newest: CommittedWrite | null): void {
    if (this.#keys.get(nameOfKey(stored)) !== known) return;
    this.#bytes -= valueBytes(known);
    known.newest = newest && own(newest);
    this.#bytes += valueBytes(known);
    this.#evict();
  }

  #takeUp(name: string, visible: number): RecentKey | undefined {
    if (visible !== this.#visible || visible < this.#cleared || this.#touched.has(name)) return undefined;
    const known = { since: visible, isUnlocked: false, newest: undefined, value: undefined, isUsed: false };
    this.#keys.set(name, known);
    this.#bytes += KEY_BYTES + name.length;
    this.#evict();
    return known;
  }

  #advance(name: string, batch: number, change: RecordChange): void {
    const before = this.#keys.get(name);
    if (before === undefined) return;
    // Nobody has seen what this batch itself has made.
    const known = before.since === batch ? before : { ...before, since: batch };
    this.#bytes -= valueBytes(before);
    changeKnown(known, change);
    this.#bytes += valueBytes(known);
    if (known !== before) this.#keys.set(name, known);
    this.#evict();
  }

  #evict(): void {
    for (const [name, known] of this.#keys) {
      if (this.#bytes <= this.maxBytes) return;
      this.#keys.delete(name);
      if (known.isUsed) {
        known.isUsed = false;
        this.#keys.set(name, known);
        continue;
      }
      this.#bytes -= KEY_BYTES + name.length + valueBytes(known);
    }
  }
}

/** Whether deleting this range may delete records of transactional keys; an absent or empty bound is open. */
export function reachesTxnKeys(start: Uint8Array, end: Uint8Array): boolean {
  const space = spaceRange('txn');
  return (end.length === 0 || compareBytes(end, space.start) > 0) && compareBytes(start, space.end) < 0;
}

function changeKnown(known: RecentKey, { cf, key, value }: RecordChange): void {
  if (cf === 'lock') {
    known.isUnlocked = value === undefined;
    return;
  }
  const ts = timestampOf(key);
  if (cf === 'default') {
    if (value !== undefined && value.length <= MAX_VALUE_BYTES)
      known.value = { startTs: ts, bytes: value.slice() };
    else if (value !== undefined || known.value?.startTs === ts) known.value = undefined;
    return;
  }
  const { newest } = known;
  if (newest === undefined) return;
  if (newest === null || ts >= newest.commitTs) {
    // What is below the newest, should that be deleted, is not known.
    if (value !== undefined) known.newest = writeOf(key, value);
    else if (newest !== null && ts === newest.commitTs) known.newest = undefined;
  }
}

/** What cannot be read is not known: whoever reads it from the engine is told. */
function writeOf(key: Uint8Array, record: Uint8Array): CommittedWrite | undefined {
  try {
    return own(committedWrite(key, record));
  } catch {
    return undefined;
  }
}

/** Without the memory around a view. */
function own(write: CommittedWrite): CommittedWrite {
  const { shortValue } = write;
  return shortValue === undefined ? write : { ...write, shortValue: shortValue.slice() };
}

function valueBytes({ newest, value }: RecentKey): number {
  return (newest?.shortValue?.length ?? 0) + (value?.bytes.length ?? 0);
}

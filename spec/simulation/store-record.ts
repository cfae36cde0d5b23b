import type { ColumnFamily, Engine, WriteBatch } from '../../storage/index.js';
import { decodeEntry, eraftpb, raft_serverpb } from '../../storage/proto/index.js';
import {
  GroupRecord,
  groupKey,
  indexOfEntryKey,
  parseRecordKey,
  regionStateKey,
} from '../../storage/raft-keys.js';
import { ForwardingEngine } from './disk-record.js';

/** What a batch does to the Raft groups and regions of a store. */
export type StoreChange =
  | {
      readonly kind: 'entry';
      readonly group: number;
      readonly index: number;
      readonly term: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: 'remove'; readonly group: number; readonly low: number; readonly high: number }
  | { readonly kind: 'hardState'; readonly group: number; readonly term: number; readonly vote: number }
  | {
      readonly kind: 'applyState';
      readonly group: number;
      readonly applied: number;
      readonly truncated: { readonly index: number; readonly term: number };
    }
  | { readonly kind: 'region'; readonly region: number; readonly state: RegionImage }
  | { readonly kind: 'other' };

export interface RegionImage {
  readonly confVer: number;
  readonly version: number;
  readonly state: raft_serverpb.PeerState;
  /** Stored keys; an empty end is open. */
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

/** A Raft group as it stands on a disk. */
export class GroupImage {
  readonly terms = new Map<number, number>();
  truncated = { index: 0, term: 0 };
  applied = 0;
  term = 0;
  vote = 0;

  /** The term of the entry at `index`, `undefined` where that is not known here. */
  termAt(index: number): number | undefined {
    return index === this.truncated.index ? this.truncated.term : this.terms.get(index);
  }

  /** The entry is here, or what it did is part of what a snapshot or compaction left. */
  holds(index: number, term: number): boolean {
    return this.terms.get(index) === term || index <= this.truncated.index;
  }
}

/** All groups and regions of a store, as they stand on its disk. */
export class StoreImage {
  readonly groups = new Map<number, GroupImage>();
  readonly regions = new Map<number, RegionImage>();

  group(id: number): GroupImage {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = new GroupImage();
      this.groups.set(id, group);
    }
    return group;
  }

  change(change: StoreChange): void {
    if (change.kind === 'other') return;
    if (change.kind === 'region') {
      this.regions.set(change.region, change.state);
      return;
    }
    const group = this.group(change.group);
    if (change.kind === 'entry') group.terms.set(change.index, change.term);
    else if (change.kind === 'hardState') {
      group.term = change.term;
      group.vote = change.vote;
    } else if (change.kind === 'applyState') {
      group.applied = change.applied;
      group.truncated = change.truncated;
    } else {
      for (const index of group.terms.keys()) {
        if (index >= change.low && index < change.high) group.terms.delete(index);
      }
    }
  }

  /** What an engine holds, read without the product's own readers. */
  static async read(engine: Engine): Promise<StoreImage> {
    const image = new StoreImage();
    for (const cf of ['raft', 'log'] as const) {
      const { keys, values } = await engine.scan(cf, { limit: Number.MAX_SAFE_INTEGER });
      for (const [i, key] of keys.entries()) image.change(putChange(cf, key, values[i] ?? NO_BYTES));
    }
    return image;
  }
}

export interface RecordListener {
  /** Before the images change. */
  readonly writes: (change: StoreChange, before: StoreImage) => void;
  /** It can no longer be lost. */
  readonly durable: (change: StoreChange) => void;
}

/**
 * What a store's disk holds: everything written, and the part of it that no power loss can take. Kept by an engine of its
 * own between the product (or the bug planted in it) and the simulated disk, so it cannot be lied to.
 */
export class StoreRecord {
  stored = new StoreImage();
  durable = new StoreImage();
  readonly #listener: RecordListener;
  #unsynced: StoreChange[] = [];

  constructor(listener: RecordListener) {
    this.#listener = listener;
  }

  /** What is on disk at a start is durable. */
  async reset(engine: Engine): Promise<void> {
    this.#unsynced = [];
    this.stored = await StoreImage.read(engine);
    this.durable = await StoreImage.read(engine);
  }

  observe(engine: Engine): Engine {
    return new ObservedEngine(engine, this);
  }

  get unsynced(): number {
    return this.#unsynced.length;
  }

  wrote(changes: readonly StoreChange[]): void {
    for (const change of changes) {
      this.#listener.writes(change, this.stored);
      this.stored.change(change);
    }
    this.#unsynced.push(...changes);
  }

  synced(changes: number): void {
    for (const change of this.#unsynced.splice(0, changes)) {
      this.durable.change(change);
      this.#listener.durable(change);
    }
  }
}

class ObservedBatch implements WriteBatch {
  readonly changes: StoreChange[] = [];

  constructor(readonly inner: WriteBatch) {}

  get count(): number {
    return this.inner.count;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  put(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void {
    this.inner.put(cf, key, value);
    this.changes.push(putChange(cf, key, value));
  }

  delete(cf: ColumnFamily, key: Uint8Array): void {
    this.inner.delete(cf, key);
    const index = cf === 'log' ? indexOfEntryKey(key) : 0;
    this.changes.push(
      cf === 'log' ? { kind: 'remove', group: groupOfEntryKey(key), low: index, high: index + 1 } : OTHER,
    );
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    const before = this.inner.count;
    this.inner.deleteRange(cf, start, end);
    if (this.inner.count === before) return;
    this.changes.push(cf === 'log' ? removal(start, end) : OTHER);
  }

  truncate(count: number): void {
    this.inner.truncate(count);
    this.changes.length = count;
  }
}

class ObservedEngine extends ForwardingEngine {
  readonly #record: StoreRecord;

  constructor(inner: Engine, record: StoreRecord) {
    super(inner);
    this.#record = record;
  }

  override batch(): WriteBatch {
    return new ObservedBatch(this.inner.batch());
  }

  override async write(batch: WriteBatch): Promise<void> {
    if (!(batch instanceof ObservedBatch)) throw new TypeError('the batch belongs to another engine');
    await this.inner.write(batch.inner);
    this.#record.wrote(batch.changes);
  }

  override async sync(): Promise<void> {
    const { unsynced } = this.#record;
    await this.inner.sync();
    this.#record.synced(unsynced);
  }
}

const OTHER: StoreChange = { kind: 'other' };
const NO_BYTES = new Uint8Array(0);
const REGION_STATE_KIND = parseRecordKey(regionStateKey(1))?.kind;
/** The byte of a key that tells records of groups from those of regions. */
const SPACE_AT = 1;
const GROUP_SPACE = groupKey(1, GroupRecord.hardState)[SPACE_AT];

/** Group ids of a simulation are small: the lower half of the first eight bytes tells them. */
function groupOfEntryKey(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(4);
}

/** Entries of one group; a range that ends at the next group's beginning takes all of them. */
function removal(start: Uint8Array, end: Uint8Array): StoreChange {
  const group = groupOfEntryKey(start);
  const high = groupOfEntryKey(end) === group ? indexOfEntryKey(end) : Number.POSITIVE_INFINITY;
  return { kind: 'remove', group, low: indexOfEntryKey(start), high };
}

function putChange(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): StoreChange {
  if (cf === 'log') {
    const { index, term, data } = decodeEntry(value);
    return { kind: 'entry', group: groupOfEntryKey(key), index, term, data };
  }
  const record = cf === 'raft' ? parseRecordKey(key) : undefined;
  if (record === undefined) return OTHER;
  const { id, kind } = record;
  if (key[SPACE_AT] === GROUP_SPACE) return groupChange(id, kind, value);
  if (kind !== REGION_STATE_KIND) return OTHER;
  const { state, region } = raft_serverpb.RegionLocalState.decode(value);
  const { confVer = 0, version = 0 } = region?.regionEpoch ?? {};
  const { startKey = NO_BYTES, endKey = NO_BYTES } = region ?? {};
  return { kind: 'region', region: id, state: { confVer, version, state, startKey, endKey } };
}

function groupChange(group: number, kind: number, value: Uint8Array): StoreChange {
  if (kind === GroupRecord.hardState) {
    const { term, vote } = eraftpb.HardState.decode(value);
    return { kind: 'hardState', group, term, vote };
  }
  if (kind === GroupRecord.applyState) {
    const { appliedIndex, truncatedState } = raft_serverpb.RaftApplyState.decode(value);
    const { index = 0, term = 0 } = truncatedState ?? {};
    return { kind: 'applyState', group, applied: appliedIndex, truncated: { index, term } };
  }
  return OTHER;
}

import type {
  ColumnFamily,
  Engine,
  EngineSnapshot,
  EngineStatistics,
  KeyRange,
  ScanOptions,
  ScanResult,
  SideFiles,
  WriteBatch,
} from '../../storage/index.js';
import { decodeEntry, raft_serverpb } from '../../storage/proto/index.js';
import { GroupRecord, indexOfEntryKey, parseRecordKey } from '../../storage/raft-keys.js';

/** An engine that stands before another one and changes nothing: observers and planted bugs override what they need. */
export class ForwardingEngine implements Engine {
  constructor(protected readonly inner: Engine) {}

  get failed(): Promise<Error> {
    return this.inner.failed;
  }

  get files(): SideFiles {
    return this.inner.files;
  }

  batch(): WriteBatch {
    return this.inner.batch();
  }

  write(batch: WriteBatch): Promise<void> {
    return this.inner.write(batch);
  }

  sync(): Promise<void> {
    return this.inner.sync();
  }

  multiGet(cf: ColumnFamily, keys: readonly Uint8Array[], snapshot?: EngineSnapshot) {
    return this.inner.multiGet(cf, keys, snapshot);
  }

  get(cf: ColumnFamily, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    return this.inner.get(cf, key, snapshot);
  }

  scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    return this.inner.scan(cf, options);
  }

  snapshot(): EngineSnapshot {
    return this.inner.snapshot();
  }

  approximateSize(cf: ColumnFamily, range: KeyRange): Promise<number> {
    return this.inner.approximateSize(cf, range);
  }

  statistics(): Promise<EngineStatistics> {
    return this.inner.statistics();
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

/** What a batch does to the one Raft group of a simulated node. */
type Change =
  | { readonly kind: 'entry'; readonly index: number; readonly term: number; readonly data: Uint8Array }
  | { readonly kind: 'remove'; readonly low: number; readonly high: number }
  | { readonly kind: 'applied'; readonly index: number }
  | { readonly kind: 'other' };

/** Terms by index, and the applied index, as they stand somewhere. */
export class LogImage {
  readonly terms: (number | undefined)[] = [];
  applied = 0;

  change(change: Change): void {
    if (change.kind === 'entry') this.terms[change.index] = change.term;
    else if (change.kind === 'remove') this.terms.fill(undefined, change.low, change.high);
    else if (change.kind === 'applied') this.applied = change.index;
  }
}

/** Sees every entry that is written. `previousTerm` is that of the entry before it in the same log. */
export type EntryWritten = (index: number, term: number, previousTerm: number, data: Uint8Array) => void;

/**
 * What a node's disk holds of its log: everything written, and the part of it that no power loss can take. Kept by an
 * engine of its own between the product (or the bug planted in it) and the simulated disk, so it cannot be lied to.
 */
export class DiskRecord {
  readonly stored = new LogImage();
  readonly durable = new LogImage();
  #unsynced: Change[] = [];
  /** Changes since the start that are durable. */
  #durableCount = 0;

  constructor(private readonly written: EntryWritten) {}

  /** What is on disk at a start is durable. `log` begins with the position before the first entry. */
  reset(log: readonly { readonly index: number; readonly term: number }[], applied: number): void {
    this.#unsynced = [];
    this.#durableCount = 0;
    for (const image of [this.stored, this.durable]) {
      image.terms.length = 0;
      for (const { index, term } of log) image.terms[index] = term;
      image.applied = applied;
    }
  }

  observe(engine: Engine): Engine {
    return new ObservedEngine(engine, this);
  }

  wrote(changes: readonly Change[]): void {
    for (const change of changes) {
      this.stored.change(change);
      if (change.kind !== 'entry') continue;
      this.written(change.index, change.term, this.stored.terms[change.index - 1] ?? 0, change.data);
    }
    this.#unsynced.push(...changes);
  }

  /** Number of changes since the start. */
  get position(): number {
    return this.#durableCount + this.#unsynced.length;
  }

  /** What was written up to here is durable. Another sync, begun later, may have said so already. */
  synced(position: number): void {
    const changes = this.#unsynced.splice(0, Math.max(0, position - this.#durableCount));
    this.#durableCount += changes.length;
    for (const change of changes) this.durable.change(change);
  }
}

class ObservedBatch implements WriteBatch {
  readonly changes: Change[] = [];

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
    this.changes.push(cf === 'log' ? { kind: 'remove', low: index, high: index + 1 } : OTHER);
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    const before = this.inner.count;
    this.inner.deleteRange(cf, start, end);
    if (this.inner.count === before) return;
    const range = { low: indexOfEntryKey(start), high: indexOfEntryKey(end) };
    this.changes.push(cf === 'log' ? { kind: 'remove', ...range } : OTHER);
  }

  truncate(count: number): void {
    this.inner.truncate(count);
    this.changes.length = count;
  }
}

const OTHER: Change = { kind: 'other' };

function putChange(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): Change {
  if (cf === 'log') {
    const { index, term, data } = decodeEntry(value);
    return { kind: 'entry', index, term, data };
  }
  if (cf === 'raft' && parseRecordKey(key)?.kind === GroupRecord.applyState) {
    return { kind: 'applied', index: raft_serverpb.RaftApplyState.decode(value).appliedIndex };
  }
  return OTHER;
}

class ObservedEngine extends ForwardingEngine {
  constructor(
    inner: Engine,
    private readonly record: DiskRecord,
  ) {
    super(inner);
  }

  override batch(): WriteBatch {
    return new ObservedBatch(this.inner.batch());
  }

  override async write(batch: WriteBatch): Promise<void> {
    if (!(batch instanceof ObservedBatch)) throw new TypeError('the batch belongs to another engine');
    await this.inner.write(batch.inner);
    this.record.wrote(batch.changes);
  }

  override async sync(): Promise<void> {
    const { position } = this.record;
    await this.inner.sync();
    this.record.synced(position);
  }
}

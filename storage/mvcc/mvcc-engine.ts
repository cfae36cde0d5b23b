/** An engine that remembers what it holds of transactional keys lately read (recent-keys.ts). */
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
} from '../engine.js';
import { isTxnKey } from '../keys.js';
import { type RecentKey, RecentKeys, type RecordChange, reachesTxnKeys } from './recent-keys.js';

/** Stands before another engine, through which every change has to come. */
export class MvccEngine implements Engine {
  readonly #inner: Engine;
  readonly recent: RecentKeys;

  /** @param inner nothing was written to it that is not visible, and nobody else writes to it */
  constructor(inner: Engine, recent: RecentKeys = new RecentKeys()) {
    this.#inner = inner;
    this.recent = recent;
  }

  get failed(): Promise<Error> {
    return this.#inner.failed;
  }

  get files(): SideFiles {
    return this.#inner.files;
  }

  /** As `Engine.batch`; what it changes of transactional keys is remembered. */
  batch(): WriteBatch {
    return new WatchedBatch(this.#inner.batch());
  }

  async write(batch: WriteBatch): Promise<void> {
    if (!(batch instanceof WatchedBatch)) throw new TypeError('The batch belongs to another engine.');
    const { inner, changes, deletesRange } = batch;
    if (changes.length === 0 && !deletesRange) return this.#inner.write(inner);
    const number = this.recent.submit(changes, deletesRange);
    // One that fails is never settled: nobody knows what shows of it, and the engine takes no more.
    await this.#inner.write(inner);
    this.recent.settled(number);
  }

  sync(): Promise<void> {
    return this.#inner.sync();
  }

  multiGet(
    cf: ColumnFamily,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<(Uint8Array | undefined)[]> {
    return this.#inner.multiGet(cf, keys, innerOf(snapshot));
  }

  /** As `Engine.get`. */
  get(cf: ColumnFamily, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    return this.#inner.get(cf, key, innerOf(snapshot));
  }

  /** As `Engine.scan`. */
  scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    const { snapshot } = options;
    if (snapshot === undefined) return this.#inner.scan(cf, options);
    return this.#inner.scan(cf, { ...options, snapshot: openOf(snapshot) });
  }

  /** As `Engine.snapshot`, with the number up to which it shows all batches. */
  snapshot(): EngineSnapshot {
    return new NumberedSnapshot(this.#inner.snapshot(), this.recent.visible);
  }

  approximateSize(cf: ColumnFamily, range: KeyRange): Promise<number> {
    return this.#inner.approximateSize(cf, range);
  }

  statistics(): Promise<EngineStatistics> {
    return this.#inner.statistics();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  /** What is known of a key as the snapshot shows it. */
  recall(stored: Uint8Array, snapshot: EngineSnapshot): RecentKey | undefined {
    return snapshot instanceof NumberedSnapshot ? this.recent.at(stored, snapshot.visible) : undefined;
  }
}

class NumberedSnapshot implements EngineSnapshot {
  constructor(
    readonly inner: EngineSnapshot,
    /** All batches up to this one show in it. */
    readonly visible: number,
  ) {}

  release(): void {
    this.inner.release();
  }
}

function openOf(snapshot: EngineSnapshot): EngineSnapshot {
  if (snapshot instanceof NumberedSnapshot) return snapshot.inner;
  throw new TypeError('The snapshot belongs to another engine.');
}

function innerOf(snapshot: EngineSnapshot | undefined): EngineSnapshot | undefined {
  return snapshot && openOf(snapshot);
}

/** Notes what concerns transactional keys. */
class WatchedBatch implements WriteBatch {
  readonly inner: WriteBatch;
  readonly changes: RecordChange[] = [];
  /** How many changes of the batch stood before each of them. */
  readonly #places: number[] = [];
  /** How many stood before the first range that reaches transactional keys. */
  #range = Number.POSITIVE_INFINITY;

  constructor(inner: WriteBatch) {
    this.inner = inner;
  }

  get count(): number {
    return this.inner.count;
  }

  get bytes(): number {
    return this.inner.bytes;
  }

  get deletesRange(): boolean {
    return this.#range < this.inner.count;
  }

  put(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void {
    this.#note(cf, key, value);
    this.inner.put(cf, key, value);
  }

  delete(cf: ColumnFamily, key: Uint8Array): void {
    this.#note(cf, key, undefined);
    this.inner.delete(cf, key);
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    if (cf !== 'log' && cf !== 'raft' && reachesTxnKeys(start, end))
      this.#range = Math.min(this.#range, this.inner.count);
    this.inner.deleteRange(cf, start, end);
  }

  truncate(count: number): void {
    while ((this.#places.at(-1) ?? -1) >= count) {
      this.#places.pop();
      this.changes.pop();
    }
    if (this.#range >= count) this.#range = Number.POSITIVE_INFINITY;
    this.inner.truncate(count);
  }

  #note(cf: ColumnFamily, key: Uint8Array, value: Uint8Array | undefined): void {
    if (cf === 'log' || cf === 'raft' || !isTxnKey(key)) return;
    this.changes.push({ cf, key, value });
    this.#places.push(this.inner.count);
  }
}

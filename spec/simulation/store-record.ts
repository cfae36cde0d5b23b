import type { ColumnFamily, Engine, WriteBatch } from '../../storage/index.js';
import { ForwardingEngine } from './disk-record.js';
import {
  entriesDeleted,
  entryDeleted,
  entryPut,
  OTHER,
  recordDeleted,
  recordPut,
  type StoreChange,
  StoreImage,
} from './store-image.js';

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
  /** Changes since the start that are durable. */
  #durableCount = 0;

  constructor(listener: RecordListener) {
    this.#listener = listener;
  }

  /** What is on disk at a start is durable. */
  async reset(engine: Engine): Promise<void> {
    this.#unsynced = [];
    this.#durableCount = 0;
    this.stored = await StoreImage.read(engine);
    this.durable = await StoreImage.read(engine);
  }

  observe(engine: Engine): Engine {
    return new ObservedEngine(engine, this);
  }

  /** Number of changes since the start. */
  get position(): number {
    return this.#durableCount + this.#unsynced.length;
  }

  wrote(changes: readonly StoreChange[]): void {
    for (const change of changes) {
      this.#listener.writes(change, this.stored);
      this.stored.change(change);
    }
    this.#unsynced.push(...changes);
  }

  /** What was written up to here is durable. Another sync, begun later, may have said so already. */
  synced(position: number): void {
    const changes = this.#unsynced.splice(0, Math.max(0, position - this.#durableCount));
    this.#durableCount += changes.length;
    for (const change of changes) {
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
    this.changes.push(cf === 'log' ? entryPut(key, value) : cf === 'raft' ? recordPut(key, value) : OTHER);
  }

  delete(cf: ColumnFamily, key: Uint8Array): void {
    this.inner.delete(cf, key);
    this.changes.push(cf === 'log' ? entryDeleted(key) : cf === 'raft' ? recordDeleted(key) : OTHER);
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    const before = this.inner.count;
    this.inner.deleteRange(cf, start, end);
    if (this.inner.count === before) return;
    this.changes.push(cf === 'log' ? entriesDeleted(start, end) : OTHER);
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
    const { position } = this.#record;
    await this.inner.sync();
    this.#record.synced(position);
  }
}

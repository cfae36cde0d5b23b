/**
 * One node without Raft (TinyKV's first part): writes that are durable when they are answered, reads from a consistent
 * snapshot, and the raw operations on top.
 */
import type { ColumnFamily, Engine, EngineSnapshot, WriteBatch } from './engine.js';
import { StorageError } from './errors.js';
import { loadIdentity, saveIdentity } from './identity.js';
import { keyAfter } from './keys.js';

/** One change of a batch. */
export type Modify =
  | { readonly kind: 'put'; readonly cf: ColumnFamily; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly cf: ColumnFamily; readonly key: Uint8Array };

/** A view of the data at one moment. Must be closed. */
export interface StorageReader {
  /** `undefined` for an absent key. */
  getCF(cf: ColumnFamily, key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Values in the order of the keys; `undefined` where there is none. */
  multiGetCF(cf: ColumnFamily, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /** Stands nowhere until `seek`. */
  iterCF(cf: ColumnFamily): StorageIterator;
  /** Lets go of the view. */
  close(): void;
}

/** A key and its value, as an iterator stands on it. */
export interface StorageItem {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Reads ahead, so that most steps wait for nothing. */
export interface StorageIterator {
  /** Goes to the first key at or above `key`. */
  seek(key: Uint8Array): Promise<void>;
  /** Whether it stands on a key. */
  valid(): boolean;
  /** @throws StorageError `closed` when it stands on no key. */
  item(): StorageItem;
  /** Goes to the next key; at the end `valid()` is false. */
  next(): Promise<void>;
}

/** A reader and its writer, as later parts put Raft between them. */
export interface Storage {
  /** All of them or none; durable when it resolves. Calls take effect in order. */
  write(modifies: readonly Modify[]): Promise<void>;
  /** A view of this moment. Close it. */
  reader(): StorageReader;
  /** Ends it: every later call is refused. */
  close(): Promise<void>;
}

/**
 * Makes a storage of an engine alone.
 * @throws StorageError `identity` when the data belongs to a store of a cluster.
 */
export async function openStandalone(engine: Engine): Promise<StandaloneStorage> {
  const identity = await loadIdentity(engine);
  if (identity && identity.storeId !== 0) {
    throw new StorageError(
      'identity',
      `The data directory belongs to store ${identity.storeId} (${identity.node}) of cluster ${identity.cluster}: a node that stands alone needs one of its own.`,
    );
  }
  const storage = new StandaloneStorage(engine);
  if (!identity) {
    const batch = engine.batch();
    saveIdentity(batch, { clusterId: 0, storeId: 0, node: '', cluster: '', incarnation: 0 });
    await storage.commit(batch);
  }
  return storage;
}

export class StandaloneStorage implements Storage {
  readonly engine: Engine;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  write(modifies: readonly Modify[]): Promise<void> {
    const batch = this.engine.batch();
    for (const modify of modifies) {
      if (modify.kind === 'put') batch.put(modify.cf, modify.key, modify.value);
      else batch.delete(modify.cf, modify.key);
    }
    return this.commit(batch);
  }

  /** Writes a batch and makes it durable; concurrent calls share the sync. */
  async commit(batch: WriteBatch): Promise<void> {
    await this.engine.write(batch);
    await this.engine.sync();
  }

  reader(): StorageReader {
    return new SnapshotReader(this.engine);
  }

  close(): Promise<void> {
    return this.engine.close();
  }
}

class SnapshotReader implements StorageReader {
  readonly #engine: Engine;
  readonly #snapshot: EngineSnapshot;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#snapshot = engine.snapshot();
  }

  getCF(cf: ColumnFamily, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#engine.get(cf, key, this.#snapshot);
  }

  multiGetCF(cf: ColumnFamily, keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return this.#engine.multiGet(cf, keys, this.#snapshot);
  }

  iterCF(cf: ColumnFamily): StorageIterator {
    return new SnapshotIterator(this.#engine, this.#snapshot, cf);
  }

  close(): void {
    this.#snapshot.release();
  }
}

/** Keys and bytes that an iterator reads at once. */
const PAGE_KEYS = 128;
const PAGE_BYTES = 64 * 1024;

class SnapshotIterator implements StorageIterator {
  readonly #engine: Engine;
  readonly #snapshot: EngineSnapshot;
  readonly #cf: ColumnFamily;
  #keys: readonly Uint8Array[] = [];
  #values: readonly Uint8Array[] = [];
  #at = 0;
  #more = false;

  constructor(engine: Engine, snapshot: EngineSnapshot, cf: ColumnFamily) {
    this.#engine = engine;
    this.#snapshot = snapshot;
    this.#cf = cf;
  }

  async seek(key: Uint8Array): Promise<void> {
    const page = await this.#engine.scan(this.#cf, {
      start: key,
      limit: PAGE_KEYS,
      maxBytes: PAGE_BYTES,
      snapshot: this.#snapshot,
    });
    this.#keys = page.keys;
    this.#values = page.values;
    this.#more = page.more;
    this.#at = 0;
  }

  valid(): boolean {
    return this.#at < this.#keys.length;
  }

  item(): StorageItem {
    const key = this.#keys[this.#at];
    const value = this.#values[this.#at];
    if (!key || !value) throw new StorageError('closed', 'The iterator stands on no key.');
    return { key, value };
  }

  async next(): Promise<void> {
    const last = this.#keys[this.#at];
    if (!last) return;
    this.#at++;
    if (!this.valid() && this.#more) await this.seek(keyAfter(last));
  }
}

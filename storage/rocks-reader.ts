/** Reads: many keys in one native call with one callback, and scans by the iterator calls. */
import type { ColumnFamily, EngineSnapshot, ScanOptions, ScanResult } from './engine.js';
import { StorageError } from './errors.js';
import type { Handle, NativeCalls, ReadOperation } from './rocksdb-binding.js';

const NONE = new Uint8Array(0);
/** Read handles kept for reuse; each has room for `READ_CAPACITY` keys. */
const POOLED_READS = 16;
const READ_CAPACITY = 256;
/** Keys of a scan's first native read when it is bounded by bytes, and at most of any. */
const FIRST_READ = 16;
const LARGEST_READ = 512;

class GetOperation implements ReadOperation {
  constructor(
    readonly type: number,
    readonly key: Uint8Array,
    readonly columnFamily: Handle,
  ) {}
}

/** Released when its owner says so and no read that was asked for before still needs it. */
class RocksSnapshot implements EngineSnapshot {
  readonly #calls: NativeCalls;
  readonly #open: Set<RocksSnapshot>;
  #handle: Handle | undefined;
  #uses = 0;
  #released = false;

  constructor(calls: NativeCalls, db: Handle, open: Set<RocksSnapshot>) {
    this.#calls = calls;
    this.#open = open;
    this.#handle = calls.snapshotCreate(db);
    open.add(this);
  }

  /** Native code reads the handle later, on another thread: `done` must follow. */
  use(): Handle {
    if (this.#released || !this.#handle) throw new StorageError('closed', 'The snapshot was released.');
    this.#uses++;
    return this.#handle;
  }

  done(): void {
    this.#uses--;
    if (this.#released) this.#destroy();
  }

  release(): void {
    this.#released = true;
    this.#destroy();
  }

  #destroy(): void {
    if (!this.#handle || this.#uses > 0) return;
    this.#calls.snapshotDestroy(this.#handle);
    this.#handle = undefined;
    this.#open.delete(this);
  }
}

function rocksSnapshot(snapshot: EngineSnapshot | undefined): RocksSnapshot | undefined {
  if (snapshot === undefined || snapshot instanceof RocksSnapshot) return snapshot;
  throw new TypeError('The snapshot belongs to another engine.');
}

export class RocksReader {
  readonly calls: NativeCalls;
  readonly db: Handle;
  readonly #families: Readonly<Record<ColumnFamily, Handle>>;
  readonly #pool: PooledRead[] = [];
  readonly #snapshots = new Set<RocksSnapshot>();
  #underWay = 0;
  readonly #onIdle: (() => void)[] = [];

  constructor(calls: NativeCalls, db: Handle, families: Readonly<Record<ColumnFamily, Handle>>) {
    this.calls = calls;
    this.db = db;
    this.#families = families;
  }

  snapshot(): EngineSnapshot {
    return new RocksSnapshot(this.calls, this.db, this.#snapshots);
  }

  multiGet(
    cf: ColumnFamily,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<(Uint8Array | undefined)[]> {
    const view = rocksSnapshot(snapshot);
    const handle = view?.use();
    const family = this.#families[cf];
    const operations = new Array<GetOperation>(keys.length);
    for (let i = 0; i < keys.length; i++)
      operations[i] = new GetOperation(this.calls.GET, keys[i] as Uint8Array, family);
    return new Promise((resolve, reject) => {
      const read = keys.length <= READ_CAPACITY ? this.#pool.pop() : undefined;
      this.started();
      (read ?? new PooledRead(this, Math.max(keys.length, READ_CAPACITY))).start(
        operations,
        handle,
        view,
        resolve,
        reject,
      );
    });
  }

  scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    const snapshot = rocksSnapshot(options.snapshot);
    if (options.limit <= 0) return Promise.resolve({ keys: [], values: [], more: true });
    return new Promise((resolve, reject) => {
      new Scan(this, this.#families[cf], options, snapshot, resolve, reject).open();
      this.started();
    });
  }

  /** Resolves when no native read is under way. */
  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** RocksDB does not close while a snapshot is held, and a release after the close would touch freed memory. */
  releaseSnapshots(): void {
    for (const snapshot of [...this.#snapshots]) snapshot.release();
  }

  started(): void {
    this.#underWay++;
  }

  finished(): void {
    if (--this.#underWay > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  recycle(read: PooledRead): void {
    if (read.capacity === READ_CAPACITY && this.#pool.length < POOLED_READS) this.#pool.push(read);
  }
}

type Values = (Uint8Array | undefined)[];

/** A native read with its memory, used again and again. */
class PooledRead {
  readonly capacity: number;
  readonly #reader: RocksReader;
  readonly #handle: Handle;
  /** Keeps the native memory behind `#handle` alive. */
  readonly buffer: Handle;
  /** Keeps the keys alive while native code reads them. */
  operations: readonly GetOperation[] = [];
  #view: RocksSnapshot | undefined;
  #resolve: (values: Values) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(reader: RocksReader, capacity: number) {
    this.#reader = reader;
    this.capacity = capacity;
    this.#handle = reader.calls.readInit();
    this.buffer = reader.calls.readBuffer(this.#handle, capacity);
  }

  start(
    operations: readonly GetOperation[],
    snapshot: Handle | undefined,
    view: RocksSnapshot | undefined,
    resolve: (values: Values) => void,
    reject: (error: Error) => void,
  ): void {
    this.operations = operations;
    this.#view = view;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#reader.calls.read(
      this.#reader.db,
      this.#handle,
      operations,
      snapshot,
      false,
      true,
      this,
      this.#onRead,
    );
  }

  #onRead(errors: (Error | undefined)[], buffers: (ArrayBuffer | null)[]): void {
    const count = this.operations.length;
    const values: Values = new Array(count);
    let failure: Error | undefined;
    for (let i = 0; i < count; i++) {
      const buffer = buffers[i];
      values[i] = buffer ? new Uint8Array(buffer) : undefined;
      if (errors[i]) failure ??= errors[i];
    }
    const resolve = this.#resolve;
    const reject = this.#reject;
    this.operations = [];
    this.#view?.done();
    this.#view = undefined;
    this.#reader.recycle(this);
    this.#reader.finished();
    if (failure) reject(failure);
    else resolve(values);
  }
}

/** One scan: opens a native iterator, reads in growing steps until a bound is reached, and closes it. */
class Scan {
  readonly #reader: RocksReader;
  readonly #family: Handle;
  readonly #options: ScanOptions;
  readonly #snapshot: RocksSnapshot | undefined;
  readonly #resolve: (result: ScanResult) => void;
  readonly #reject: (error: Error) => void;
  readonly #iterator: Handle;
  #capacity = 0;
  /** Keeps the native memory behind `#iterator` alive. */
  buffer: Handle | undefined;
  /** Keeps the bounds alive while native code compares with them. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly #keys: Uint8Array[] = [];
  readonly #values: Uint8Array[] = [];
  #bytes = 0;
  #asked = 0;

  constructor(
    reader: RocksReader,
    family: Handle,
    options: ScanOptions,
    snapshot: RocksSnapshot | undefined,
    resolve: (result: ScanResult) => void,
    reject: (error: Error) => void,
  ) {
    this.#reader = reader;
    this.#family = family;
    this.#options = options;
    this.#snapshot = snapshot;
    this.#resolve = resolve;
    this.#reject = reject;
    this.start = options.start ?? NONE;
    this.end = options.end ?? NONE;
    this.#iterator = reader.calls.iteratorInit();
  }

  open(): void {
    this.#reserve(this.#nextRead());
    this.#reader.calls.iteratorOpen(
      this.#reader.db,
      this.#iterator,
      this.#family,
      NONE,
      this.start,
      this.end,
      NONE,
      this.#options.reverse === true,
      this.#options.keysOnly === true,
      this.#snapshot?.use(),
      this,
      this.#onOpen,
      this.#onClose,
      this.#onRead,
    );
  }

  /** One key more than wanted, which tells whether anything follows. */
  #nextRead(): number {
    const wanted = this.#options.limit - this.#keys.length + 1;
    const { maxBytes } = this.#options;
    if (maxBytes === undefined) return Math.min(wanted, LARGEST_READ);
    if (this.#keys.length === 0) return Math.min(wanted, FIRST_READ);
    const average = Math.max(1, this.#bytes / this.#keys.length);
    return Math.min(wanted, LARGEST_READ, Math.max(1, Math.ceil((maxBytes - this.#bytes) / average) + 1));
  }

  #reserve(count: number): void {
    this.#asked = count;
    if (count <= this.#capacity) return;
    this.#capacity = count;
    this.buffer = this.#reader.calls.iteratorBuffer(this.#iterator, count);
  }

  #onOpen(error: Error | undefined): void {
    // The iterator holds what it reads from now on.
    this.#snapshot?.done();
    if (error) this.#finish(error, false);
    else this.#reader.calls.iteratorRead(this.#iterator, this.#asked);
  }

  #onRead(error: Error | undefined, keys: ArrayBuffer[], values: ArrayBuffer[]): void {
    if (error) {
      this.#finish(error, false);
      return;
    }
    const { limit, maxBytes = Number.POSITIVE_INFINITY, keysOnly = false } = this.#options;
    for (let i = 0; i < keys.length; i++) {
      if (this.#keys.length === limit || this.#bytes >= maxBytes) {
        this.#finish(undefined, true);
        return;
      }
      const key = new Uint8Array(keys[i] as ArrayBuffer);
      const value = keysOnly ? NONE : new Uint8Array(values[i] as ArrayBuffer);
      this.#keys.push(key);
      this.#values.push(value);
      this.#bytes += key.length + value.length;
    }
    if (keys.length < this.#asked) {
      this.#finish(undefined, false);
      return;
    }
    this.#reserve(this.#nextRead());
    this.#reader.calls.iteratorRead(this.#iterator, this.#asked);
  }

  #finish(error: Error | undefined, more: boolean): void {
    this.#reader.calls.iteratorClose(this.#iterator);
    if (error) this.#reject(error);
    else this.#resolve({ keys: this.#keys, values: this.#values, more });
  }

  #onClose(): void {
    this.#reader.finished();
  }
}

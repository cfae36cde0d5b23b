/** Batches, and the one queue through which they reach RocksDB. */
import type { WalDurability } from './durability.js';
import type { ColumnFamily, WriteBatch } from './engine.js';
import { compareBytes } from './keys.js';
import type { Handle, NativeCalls, WriteOperation } from './rocksdb-binding.js';

/** A native write takes several batches when they queue up, until they hold this many bytes. */
const MERGED_BYTES = 4 * 1024 * 1024;

const NONE = new Uint8Array(0);

/** One class for all kinds keeps the array of operations monomorphic. */
class Operation implements WriteOperation {
  constructor(
    readonly type: number,
    readonly columnFamily: Handle,
    readonly key: Uint8Array,
    readonly value: Uint8Array,
    readonly start: Uint8Array,
    readonly end: Uint8Array,
  ) {}
}

/** Collects operations; the native library copies keys and values when the batch is written. */
export class RocksBatch implements WriteBatch {
  readonly #writer: RocksWriter;
  /** The first place is kept for the record of what is durable. */
  readonly operations: Operation[];
  bytes = 0;

  constructor(writer: RocksWriter) {
    this.#writer = writer;
    this.operations = [writer.syncedOperation];
  }

  get count(): number {
    return this.operations.length - 1;
  }

  put(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void {
    const writer = this.#writer;
    this.operations.push(new Operation(writer.calls.PUT, writer.families[cf], key, value, NONE, NONE));
    this.bytes += key.length + value.length;
  }

  delete(cf: ColumnFamily, key: Uint8Array): void {
    const writer = this.#writer;
    this.operations.push(new Operation(writer.calls.DELETE, writer.families[cf], key, NONE, NONE, NONE));
    this.bytes += key.length;
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    // RocksDB logs a backward range first and refuses it afterwards, which would fail the database.
    if (end.length === 0) throw new RangeError('deleteRange needs an end.');
    if (compareBytes(start, end) >= 0) return;
    const writer = this.#writer;
    this.operations.push(
      new Operation(writer.calls.DELETE_RANGE, writer.families[cf], NONE, NONE, start, end),
    );
    this.bytes += start.length + end.length;
  }

  truncate(count: number): void {
    for (const taken of this.operations.splice(count + 1)) {
      this.bytes -= taken.key.length + taken.value.length + taken.start.length + taken.end.length;
    }
  }
}

interface Waiting {
  readonly batch: RocksBatch;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes in call order. The native library runs calls on a pool of threads, which keeps no order among them, so only
 * one is under way; batches that arrive meanwhile go together in the next one.
 */
export class RocksWriter {
  readonly calls: NativeCalls;
  readonly families: Readonly<Record<ColumnFamily, Handle>>;
  readonly #db: Handle;
  readonly #durability: WalDurability;
  readonly #handle: Handle;
  #capacity = 0;
  /** Keeps the native memory behind `#handle` alive. */
  buffer: Handle | undefined;
  #queue: Waiting[] = [];
  #underWay: Waiting[] = [];
  /** Why a write failed: no other may follow it. */
  #failure: unknown;
  /** Keeps keys and values alive while native code reads them. */
  operations: readonly WriteOperation[] = [];
  readonly #onIdle: (() => void)[] = [];
  /** Only one native write runs, so one value serves all batches. */
  readonly #synced = Buffer.alloc(16);
  readonly syncedOperation: Operation;

  constructor(
    calls: NativeCalls,
    db: Handle,
    families: Readonly<Record<ColumnFamily, Handle>>,
    syncedFamily: Handle,
    durability: WalDurability,
  ) {
    this.calls = calls;
    this.families = families;
    this.#db = db;
    this.#durability = durability;
    this.#handle = calls.writeInit();
    this.syncedOperation = new Operation(calls.PUT, syncedFamily, Buffer.of(0), this.#synced, NONE, NONE);
  }

  write(batch: RocksBatch): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#queue.push({ batch, resolve, reject });
      if (this.#underWay.length === 0) this.#writeNext();
    });
  }

  /** Resolves when everything queued has been written. */
  idle(): Promise<void> {
    if (this.#underWay.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #writeNext(): void {
    const [first] = this.#queue;
    if (!first) {
      for (const resolve of this.#onIdle.splice(0)) resolve();
      return;
    }
    let operations = first.batch.operations;
    let taken = 1;
    if (this.#queue.length > 1) {
      let bytes = first.batch.bytes;
      operations = operations.slice();
      for (; taken < this.#queue.length && bytes < MERGED_BYTES; taken++) {
        const batch = this.#queue[taken]?.batch;
        if (!batch) break;
        bytes += batch.bytes;
        for (let i = 1; i < batch.operations.length; i++) operations.push(batch.operations[i] as Operation);
      }
    }
    this.#underWay = this.#queue.splice(0, taken);
    this.operations = operations;

    const { file, length } = this.#durability.durable;
    this.#synced.writeBigUInt64LE(BigInt(file), 0);
    this.#synced.writeBigUInt64LE(BigInt(length), 8);
    if (operations.length > this.#capacity) {
      this.#capacity = Math.max(256, 2 ** Math.ceil(Math.log2(operations.length)));
      this.buffer = this.calls.writeBuffer(this.#handle, this.#capacity);
    }
    this.#durability.writing();
    try {
      this.calls.write(this.#db, this.#handle, operations, this, this.#onWritten);
    } catch (error) {
      this.#onWritten(error as Error);
    }
  }

  #onWritten(refused: Error | undefined): void {
    let error: unknown = refused;
    const done = this.#underWay;
    this.#underWay = [];
    this.operations = [];
    try {
      this.#durability.written();
    } catch (cause) {
      error ??= cause;
    }
    if (error) {
      // What comes behind a failed write must not be written: the caller stops.
      this.#failure = error;
      for (const waiting of [...done, ...this.#queue.splice(0)]) waiting.reject(error);
    } else {
      for (const waiting of done) waiting.resolve();
    }
    this.#writeNext();
  }
}

/**
 * The only file that touches `rocksdb-native`.
 *
 * Its public classes make a promise for every key that is read and a stream for every scan (50 to 70 µs to position
 * one), so reads, writes and scans use the calls below them, which are not part of its public API. The version is
 * therefore pinned in package.json and asserted here: after an upgrade, compare `lib/batch.js`, `lib/iterator.js` and
 * `lib/state.js` with the calls in this file, then raise the number.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { StorageError } from './errors.js';

const BINDING_VERSION = '3.18.1';

/** Opaque native memory. It must stay referenced while a call that uses it is under way. */
export type Handle = ArrayBuffer;

export interface ReadOperation {
  readonly type: number;
  readonly key: Uint8Array;
  readonly columnFamily: Handle;
}

/** The binding looks at `type` first and then reads only the fields of that type. */
export interface WriteOperation {
  readonly type: number;
  readonly columnFamily: Handle;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

type Done = (error: Error | undefined) => void;

/** `this` of every callback is the `context` passed; callbacks must not throw. */
export interface NativeCalls {
  readonly GET: number;
  readonly PUT: number;
  readonly DELETE: number;
  readonly DELETE_RANGE: number;
  readInit(): Handle;
  /** Room for `capacity` operations; keep what it returns as long as the read handle. */
  readBuffer(read: Handle, capacity: number): Handle;
  read(
    db: Handle,
    read: Handle,
    operations: readonly ReadOperation[],
    snapshot: Handle | undefined,
    asyncIO: boolean,
    fillCache: boolean,
    context: object,
    done: (errors: (Error | undefined)[], values: (ArrayBuffer | null)[]) => void,
  ): void;
  writeInit(): Handle;
  writeBuffer(write: Handle, capacity: number): Handle;
  write(db: Handle, write: Handle, operations: readonly WriteOperation[], context: object, done: Done): void;
  iteratorInit(): Handle;
  iteratorBuffer(iterator: Handle, capacity: number): Handle;
  /** An empty bound is no bound. */
  iteratorOpen(
    db: Handle,
    iterator: Handle,
    columnFamily: Handle,
    gt: Uint8Array,
    gte: Uint8Array,
    lt: Uint8Array,
    lte: Uint8Array,
    reverse: boolean,
    keysOnly: boolean,
    snapshot: Handle | undefined,
    context: object,
    opened: Done,
    closed: Done,
    read: (error: Error | undefined, keys: ArrayBuffer[], values: ArrayBuffer[]) => void,
  ): void;
  iteratorRead(iterator: Handle, capacity: number): void;
  iteratorClose(iterator: Handle): void;
  snapshotCreate(db: Handle): Handle;
  snapshotDestroy(snapshot: Handle): void;
  /** The request that it returns must be kept until the callback. */
  currentWalFile(
    db: Handle,
    context: object,
    done: (error: Error | undefined, path: string, number: number) => void,
  ): Handle;
}

export interface ColumnFamilyOptions {
  writeBufferSize?: number;
  maxWriteBufferNumber?: number;
  tableBlockSize?: number;
  optimizeFiltersForMemory?: boolean;
}

export interface NativeColumnFamily {
  readonly name: string;
  readonly _handle: Handle;
}

export interface NativeDatabase {
  readonly _state: { readonly _handle: Handle };
  ready(): Promise<void>;
  close(): Promise<void>;
  session(options: { columnFamily: NativeColumnFamily }): NativeSession;
}

/** The database seen through one column family. */
export interface NativeSession {
  flush(): Promise<void>;
  approximateSize(
    start: Uint8Array,
    end: Uint8Array,
    options: { includeMemtables: boolean; includeFiles: boolean },
  ): Promise<number>;
  getProperty(name: string): Promise<string | undefined>;
  close(): Promise<void>;
}

interface NativeModule {
  new (
    path: string,
    options: {
      columnFamily: NativeColumnFamily;
      columnFamilies: NativeColumnFamily[];
      walRecoveryMode: number;
      maxBackgroundJobs: number;
      bytesPerSync: number;
      createIfMissing: boolean;
      createMissingColumnFamilies: boolean;
    },
  ): NativeDatabase;
  readonly ColumnFamily: new (name: string, options: ColumnFamilyOptions) => NativeColumnFamily;
  readonly constants: { readonly walRecoveryMode: { readonly ABSOLUTE_CONSISTENCY: number } };
}

export interface Binding {
  readonly RocksDB: NativeModule;
  readonly calls: NativeCalls;
}

let loaded: Binding | undefined;

/**
 * Loads the native library.
 * @throws StorageError when the installed version is not the one this file was written for, or cannot be loaded.
 */
export function loadBinding(): Binding {
  if (loaded) return loaded;
  const require = createRequire(import.meta.url);
  const entry = require.resolve('rocksdb-native');
  const folder = dirname(entry);
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version?: unknown };
  if (version !== BINDING_VERSION) {
    throw new StorageError(
      'format',
      `rocksdb-native ${String(version)} is installed, but ${BINDING_VERSION} is needed: run \`npm ci\`.`,
    );
  }
  try {
    loaded = {
      RocksDB: require(entry) as NativeModule,
      calls: require(join(folder, 'binding.js')) as NativeCalls,
    };
  } catch (cause) {
    throw new StorageError(
      'engine-failed',
      'The native library of rocksdb-native cannot be loaded. On Linux it needs libatomic1 (apt-get install libatomic1).',
      { cause },
    );
  }
  return loaded;
}

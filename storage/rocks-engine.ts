/** The engine on RocksDB: one database, one native write at a time, durability by `WalDurability`. */

import { join } from 'node:path';
import { DAMAGE_MARKER, readDamageMarker } from './damage-marker.js';
import { holderOf, releaseHolder, writeHolder } from './directory-holder.js';
import { createDurableDirectory, WalDurability, type WalPosition } from './durability.js';
import type {
  ColumnFamily,
  Engine,
  EngineSnapshot,
  EngineStatistics,
  KeyRange,
  ScanOptions,
  ScanResult,
  WriteBatch,
} from './engine.js';
import { DirectoryLockedError, EngineFailedError, StorageCorruptionError, StorageError } from './errors.js';
import { RocksReader } from './rocks-reader.js';
import { RocksBatch, RocksWriter } from './rocks-writer.js';
import {
  type Binding,
  type Handle,
  loadBinding,
  type NativeColumnFamily,
  type NativeDatabase,
  type NativeSession,
} from './rocksdb-binding.js';
import { DirectoryFiles } from './side-files.js';
import { checkWalFiles, type WalCheckLogger } from './wal-check.js';
import { WalLimit } from './wal-limit.js';

const MIB = 1024 * 1024;

/**
 * Holds one key: how far the write-ahead files were durable when a batch was written. Every batch carries it, so that
 * the check before the next start can tell damage from bytes that were never synced. Not visible through `Engine`.
 */
export const SYNCED_FAMILY = 'synced';
type Family = ColumnFamily | typeof SYNCED_FAMILY;
type Families = Readonly<Record<Family, NativeColumnFamily>>;

/** Bytes of one memtable; RocksDB keeps at most two a family. */
const WRITE_BUFFERS: Readonly<Record<Family, number>> = {
  default: 32 * MIB,
  lock: 8 * MIB,
  write: 16 * MIB,
  log: 32 * MIB,
  raft: 8 * MIB,
  [SYNCED_FAMILY]: 2 * MIB,
};

/** The families that fill up slowly and so keep old write-ahead files alive. */
const COLD_FAMILIES = ['raft', 'lock', 'write', SYNCED_FAMILY] as const;
const ALL_FAMILIES = [...COLD_FAMILIES, 'log', 'default'] as const;

/** Where the files beside the database are, in the data directory. */
const FILES_DIRECTORY = 'snapshots';

/** What a change takes in the write-ahead file besides its key and value, roughly. */
const CHANGE_BYTES = 16;

/** Where the data lies, and how much memory and disk it may take. */
export interface RocksEngineOptions {
  /** The data directory; created when absent. */
  readonly path: string;
  readonly logger?: WalCheckLogger;
  /** Bytes of one memtable, per family. */
  readonly writeBuffers?: Partial<Record<ColumnFamily, number>>;
  /** Live write-ahead files are held below this by flushing. Default 256 MiB. */
  readonly walLimitBytes?: number;
  /** Threads for flushes and compactions. Default 4. */
  readonly backgroundJobs?: number;
  /** Told after each sync what survives a power loss; for specs that pull the plug. */
  readonly onSynced?: (position: WalPosition) => void;
}

/**
 * Opens or creates a data directory: checks its write-ahead files, trims what a power loss tore off, and replays them.
 * @throws DirectoryLockedError when it is in use.
 * @throws StorageCorruptionError when acknowledged data may be missing.
 * @throws EngineFailedError when the disk refuses.
 */
export async function openRocksEngine(options: RocksEngineOptions): Promise<Engine> {
  const binding = loadBinding();
  await createDurableDirectory(options.path);
  const found = await readDamageMarker(options.path);
  if (found !== undefined) {
    throw new StorageCorruptionError(join(options.path, DAMAGE_MARKER), undefined, found);
  }
  await checkWalFiles(options.path, {
    syncedFamily: SYNCED_FAMILY,
    logger: options.logger,
    assertUnlocked: () => assertUnlocked(binding, options.path),
  });

  const family = (name: Family): NativeColumnFamily =>
    new binding.RocksDB.ColumnFamily(name, {
      writeBufferSize:
        (name === SYNCED_FAMILY ? undefined : options.writeBuffers?.[name]) ?? WRITE_BUFFERS[name],
    });
  const families: Families = {
    default: family('default'),
    lock: family('lock'),
    write: family('write'),
    log: family('log'),
    raft: family('raft'),
    [SYNCED_FAMILY]: family(SYNCED_FAMILY),
  };
  const { default: first, ...others } = families;
  const db = new binding.RocksDB(options.path, {
    columnFamily: first,
    columnFamilies: Object.values(others),
    // What a power loss can tear has been trimmed: whatever is still odd is damage.
    walRecoveryMode: binding.RocksDB.constants.walRecoveryMode.ABSOLUTE_CONSISTENCY,
    maxBackgroundJobs: options.backgroundJobs ?? 4,
    bytesPerSync: MIB,
    createIfMissing: true,
    createMissingColumnFamilies: true,
  });
  try {
    await db.ready();
  } catch (cause) {
    throw await openError(options.path, cause as Error);
  }
  try {
    await writeHolder(options.path);
    const durability = await WalDurability.open(options.path, currentWal(binding, db), options.onSynced);
    return new RocksEngine(options, binding, db, families, durability);
  } catch (cause) {
    await db.close();
    throw cause instanceof StorageError ? cause : diskRefused(`Opening ${options.path} failed`, cause);
  }
}

class RocksEngine implements Engine {
  readonly files: DirectoryFiles;
  readonly #path: string;
  readonly #walLimit: WalLimit;
  readonly #db: NativeDatabase;
  readonly #families: Families;
  readonly #sessions = new Map<string, NativeSession>();
  readonly #durability: WalDurability;
  readonly #writer: RocksWriter;
  readonly #reader: RocksReader;
  #failure: StorageError | undefined;
  #tellFailure: (error: Error) => void = () => {};
  readonly failed = new Promise<Error>((resolve) => {
    this.#tellFailure = resolve;
  });
  #closing: Promise<void> | undefined;
  /** Calls under way besides the reader's and the writer's. */
  readonly #calls = new Set<Promise<unknown>>();

  constructor(
    options: RocksEngineOptions,
    binding: Binding,
    db: NativeDatabase,
    families: Families,
    durability: WalDurability,
  ) {
    this.#path = options.path;
    this.#walLimit = new WalLimit({
      directory: options.path,
      limit: options.walLimitBytes ?? 256 * MIB,
      flush: (which) => this.#flush(which),
      onFailure: (cause) => this.#fail('Flushing failed', cause),
    });
    this.#db = db;
    this.#families = families;
    this.#durability = durability;
    const handles = Object.fromEntries(
      Object.entries(families).map(([name, f]) => [name, f._handle]),
    ) as Record<Family, Handle>;
    this.#writer = new RocksWriter(
      binding.calls,
      db._state._handle,
      handles,
      handles[SYNCED_FAMILY],
      durability,
    );
    this.#reader = new RocksReader(binding.calls, db._state._handle, handles);
    this.files = new DirectoryFiles(join(options.path, FILES_DIRECTORY), {
      refusal: () => this.#refusal(),
      fail: (what, cause) => this.#fail(what, cause),
    });
  }

  batch(): WriteBatch {
    return new RocksBatch(this.#writer);
  }

  async write(batch: WriteBatch): Promise<void> {
    this.#assertUsable();
    if (!(batch instanceof RocksBatch)) throw new TypeError('The batch belongs to another engine.');
    if (batch.count === 0) return;
    try {
      await this.#writer.write(batch);
    } catch (cause) {
      throw this.#fail('RocksDB refused a write', cause);
    }
    await this.#walLimit.written(batch.bytes + batch.count * CHANGE_BYTES);
  }

  async sync(): Promise<void> {
    this.#assertUsable();
    try {
      await this.#durability.sync();
    } catch (cause) {
      throw this.#fail('Syncing the write-ahead files failed', cause);
    }
    // A failure of an earlier call means that what this one covers is in doubt.
    if (this.#failure) throw this.#failure;
  }

  async multiGet(
    cf: ColumnFamily,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<(Uint8Array | undefined)[]> {
    this.#assertUsable();
    if (keys.length === 0) return [];
    try {
      return await this.#reader.multiGet(cf, keys, snapshot);
    } catch (cause) {
      throw this.#readFailed(cause);
    }
  }

  async get(cf: ColumnFamily, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    return (await this.multiGet(cf, [key], snapshot))[0];
  }

  async scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    this.#assertUsable();
    try {
      return await this.#reader.scan(cf, options);
    } catch (cause) {
      throw this.#readFailed(cause);
    }
  }

  snapshot(): EngineSnapshot {
    this.#assertUsable();
    return this.#reader.snapshot();
  }

  async approximateSize(cf: ColumnFamily, range: KeyRange): Promise<number> {
    this.#assertUsable();
    const start = range.start ?? new Uint8Array(0);
    const end = range.end?.length ? range.end : AFTER_EVERY_KEY;
    const session = this.#session(cf);
    return this.#tracked(session.approximateSize(start, end, { includeMemtables: true, includeFiles: true }));
  }

  async statistics(): Promise<EngineStatistics> {
    this.#assertUsable();
    const sum = async (property: string): Promise<number> => {
      const values = await Promise.all(
        ALL_FAMILIES.map((name) => this.#session(name).getProperty(`rocksdb.${property}`)),
      );
      return values.reduce((total, value) => total + Number(value ?? 0), 0);
    };
    // These two are of the whole database, whichever family is asked.
    const one = async (property: string): Promise<number> =>
      Number((await this.#session('default').getProperty(`rocksdb.${property}`)) ?? 0);
    return this.#tracked(
      (async () => ({
        memtableBytes: await sum('cur-size-all-mem-tables'),
        tableBytes: await sum('live-sst-files-size'),
        pendingCompactionBytes: await sum('estimate-pending-compaction-bytes'),
        runningCompactions: await one('num-running-compactions'),
        runningFlushes: await one('num-running-flushes'),
        writesStopped: (await one('is-write-stopped')) > 0,
      }))(),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writer.idle();
    await this.#reader.idle();
    await this.#walLimit.idle();
    await this.files.close();
    await Promise.allSettled([...this.#calls]);
    this.#reader.releaseSnapshots();
    try {
      if (this.#failure) {
        await this.#durability.abandon();
      } else {
        await this.#durability.sync();
        await this.#durability.close();
      }
    } catch (cause) {
      throw this.#fail('Syncing the write-ahead files failed', cause);
    } finally {
      for (const session of this.#sessions.values()) await session.close();
      await this.#db.close();
      await releaseHolder(this.#path);
    }
  }

  #assertUsable(): void {
    const refusal = this.#refusal();
    if (refusal) throw refusal;
  }

  #refusal(): StorageError | undefined {
    if (this.#failure) return this.#failure;
    if (this.#closing) return new StorageError('closed', `The engine of ${this.#path} is closed.`);
    return undefined;
  }

  #fail(what: string, cause: unknown): StorageError {
    if (this.#failure !== undefined) return this.#failure;
    // Compactions meet damaged blocks too, and then RocksDB refuses writes.
    const damaged = cause instanceof Error && DAMAGE_MESSAGE.test(cause.message.replaceAll(this.#path, ''));
    this.#failure = damaged
      ? new StorageCorruptionError(this.#path, undefined, cause.message, { cause })
      : diskRefused(`${what} in ${this.#path}`, cause);
    this.#tellFailure(this.#failure);
    return this.#failure;
  }

  #readFailed(cause: unknown): StorageError {
    return cause instanceof StorageError ? cause : this.#fail('RocksDB could not read', cause);
  }

  #session(cf: Family): NativeSession {
    let session = this.#sessions.get(cf);
    if (!session) {
      session = this.#db.session({ columnFamily: this.#families[cf] });
      this.#sessions.set(cf, session);
    }
    return session;
  }

  async #tracked<T>(call: Promise<T>): Promise<T> {
    this.#calls.add(call);
    try {
      return await call;
    } catch (cause) {
      throw this.#readFailed(cause);
    } finally {
      this.#calls.delete(call);
    }
  }

  async #flush(which: 'cold' | 'all'): Promise<void> {
    for (const name of which === 'cold' ? COLD_FAMILIES : ALL_FAMILIES) await this.#session(name).flush();
  }
}

/** No stored key begins with it. */
const AFTER_EVERY_KEY = Uint8Array.of(0xff);

const DAMAGE_MESSAGE = /checksum mismatch|corrupt/i;

function diskRefused(what: string, cause: unknown): EngineFailedError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EngineFailedError(
    `${what}: ${reason}. Nothing after it was acknowledged; free or repair the disk, then start the node again.`,
    { cause },
  );
}

function currentWal(binding: Binding, db: NativeDatabase) {
  return (done: (error: Error | undefined, file: number) => void): void => {
    const request: { done: typeof done; handle: Handle | undefined } = { done, handle: undefined };
    // The request holds its own native memory until the callback.
    request.handle = binding.calls.currentWalFile(db._state._handle, request, onCurrentWal);
  };
}

function onCurrentWal(
  this: { done: (error: Error | undefined, file: number) => void; handle: Handle | undefined },
  error: Error | undefined,
  _path: string,
  file: number,
): void {
  this.handle = undefined;
  this.done(error, file);
}

const LOCK_MESSAGE = /lock hold by current process|while lock file/i;

/** What is in the way of an open, and says nothing about the data. */
const REFUSED_MESSAGE =
  /No space left|Permission denied|Too many open files|Cannot allocate memory|Read-only file system|Input\/output error|Column families not opened/;

async function openError(path: string, cause: Error): Promise<StorageError> {
  if (LOCK_MESSAGE.test(cause.message)) return locked(path, cause);
  if (REFUSED_MESSAGE.test(cause.message)) {
    return diskRefused(`Opening ${path} failed`, cause);
  }
  return new StorageCorruptionError(path, undefined, cause.message, { cause });
}

async function locked(path: string, cause: Error): Promise<DirectoryLockedError> {
  const pid = /lock hold by current process/i.test(cause.message) ? process.pid : await holderOf(path);
  return new DirectoryLockedError(path, pid, { cause });
}

/**
 * Tells whether somebody has the directory open, without opening it: RocksDB takes its lock first, and then refuses an
 * open that does not name the column families.
 */
async function assertUnlocked(binding: Binding, path: string): Promise<void> {
  const probe = new binding.RocksDB(path, {
    columnFamily: new binding.RocksDB.ColumnFamily('default', {}),
    columnFamilies: [],
    walRecoveryMode: binding.RocksDB.constants.walRecoveryMode.ABSOLUTE_CONSISTENCY,
    maxBackgroundJobs: 1,
    bytesPerSync: 0,
    createIfMissing: false,
    createMissingColumnFamilies: false,
  });
  try {
    await probe.ready();
  } catch (cause) {
    if (LOCK_MESSAGE.test((cause as Error).message)) throw await locked(path, cause as Error);
    return;
  }
  await probe.close();
}

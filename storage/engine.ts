/**
 * The engine: an ordered, durable map in five column families, behind the smallest interface that the house needs.
 *
 * Anything that passes `spec/storage/engine-compliance.ts` may stand behind it: RocksDB on real disks, and the
 * simulated disk of the specs.
 */

/** `log` and `raft` hold the Raft logs and states of all peers; the others hold user data as in TiKV. */
export const COLUMN_FAMILIES = ['default', 'lock', 'write', 'log', 'raft'] as const;
/** The families of a store: `log` and `raft` are of Raft, the others of data. */
export type ColumnFamily = (typeof COLUMN_FAMILIES)[number];

/** Changes that become visible together, and survive a power loss together or not at all. Not reusable once written. */
export interface WriteBatch {
  /** The batch keeps references: neither array may be changed before `Engine.write` resolves. */
  put(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void;
  /** Removes a key, whether it is there or not. */
  delete(cf: ColumnFamily, key: Uint8Array): void;
  /** Removes every key in [start, end); nothing when start is not below end. `end` must not be empty. */
  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void;
  /** Takes back every change after the first `count`: for a caller whose part of a shared batch went wrong. */
  truncate(count: number): void;
  /** Number of changes. */
  readonly count: number;
  /** Bytes of keys and values. */
  readonly bytes: number;
}

/** A view of the engine at one moment. Must be released. */
export interface EngineSnapshot {
  /** Lets go of it: what it has kept may be compacted away. */
  release(): void;
}

/** `start` inclusive, `end` exclusive. Absent and empty bounds are open, as in regions. */
export interface KeyRange {
  readonly start?: Uint8Array;
  readonly end?: Uint8Array;
}

export interface ScanOptions extends KeyRange {
  /** Descending from `end` when true. */
  readonly reverse?: boolean;
  /** At most this many keys. */
  readonly limit: number;
  /** Stops after the key that reaches this many bytes of keys and values. */
  readonly maxBytes?: number;
  /** Leaves values out (they come back empty). */
  readonly keysOnly?: boolean;
  readonly snapshot?: EngineSnapshot;
}

/** A page of a range: `keys[i]` has the value `values[i]`. */
export interface ScanResult {
  readonly keys: Uint8Array[];
  readonly values: Uint8Array[];
  /** `limit` or `maxBytes` was reached and the range holds further keys: continue after (or before) the last key. */
  readonly more: boolean;
}

/**
 * Files beside the database, on the same disk: what is too large for a batch (snapshots on their way in).
 *
 * Names are plain (`[A-Za-z0-9._-]+`). Like everything on a disk, bytes are durable only after a sync: a power loss may
 * leave a file shorter, or without its last writes.
 */
export interface SideFiles {
  /**
   * Opens for appending; made when absent. `length` is where the next append goes.
   * @throws StorageError `locked` while it is open already
   */
  open(name: string): Promise<SideFile>;
  /** Up to `length` bytes from `offset` on; fewer at the end of the file. @throws StorageError `not-found` */
  read(name: string, offset: number, length: number): Promise<Uint8Array>;
  /** Names and lengths in bytes, in order of the names. */
  list(): Promise<readonly { readonly name: string; readonly length: number }[]>;
  /** Durable when it resolves. Nothing happens when there is no such file. @throws StorageError `locked` while it is open */
  remove(name: string): Promise<void>;
}

/** One file open for appending, by one writer. */
export interface SideFile {
  readonly length: number;
  /** Writes at the end; durable only after a sync. */
  append(bytes: Uint8Array): Promise<void>;
  /** Cuts the file off, before what is there is continued. */
  truncate(length: number): Promise<void>;
  /** Makes all bytes, and the file's name, durable. */
  sync(): Promise<void>;
  /** Closes the file; it stays. */
  close(): Promise<void>;
}

/** What the engine says about itself, of all families together. */
export interface EngineStatistics {
  /** Bytes in memory that are in no table yet. */
  readonly memtableBytes: number;
  /** Bytes of the tables that are in use. */
  readonly tableBytes: number;
  /** Bytes that compactions have yet to rewrite; RocksDB holds writes back when they are very many. */
  readonly pendingCompactionBytes: number;
  readonly runningCompactions: number;
  readonly runningFlushes: number;
  /** It takes no writes until compactions have caught up. */
  readonly writesStopped: boolean;
}

/** An ordered store of bytes in column families: RocksDB on a disk, or a simulated one in specs. */
export interface Engine {
  readonly files: SideFiles;
  /**
   * Resolves with the reason when the disk has refused a call, or what it holds is damaged: no later call succeeds. Whoever
   * began that call is told too, but may be a task that nobody waits for.
   */
  readonly failed: Promise<Error>;
  /** A batch of changes that happen together or not at all. */
  batch(): WriteBatch;
  /**
   * Applies the batch. When it resolves, reads see it; it is not yet durable. Writes take effect in call order.
   * @throws EngineFailedError when the disk refused; the engine takes no more writes then.
   */
  write(batch: WriteBatch): Promise<void>;
  /**
   * Makes everything whose `write` had resolved before this call durable (survives power loss).
   * @throws EngineFailedError
   */
  sync(): Promise<void>;
  /** One value per key, in order; `undefined` for absent. One native call for all of them. */
  multiGet(
    cf: ColumnFamily,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<(Uint8Array | undefined)[]>;
  /** The value of a key, now or in the snapshot; `undefined` when it has none. */
  get(cf: ColumnFamily, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined>;
  /** A page of a range, in the order of the keys. */
  scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult>;
  /** A view of this moment that no later write changes. Release it. */
  snapshot(): EngineSnapshot;
  /**
   * Bytes of a range, roughly; cheap. RocksDB counts tables by their blocks, where keys share prefixes and old versions
   * and deletions stand until a compaction, and extrapolates memtables from a few links: see `approximateRegionSize`.
   */
  approximateSize(cf: ColumnFamily, range: KeyRange): Promise<number>;
  /** Cheap: nothing is read from disk. */
  statistics(): Promise<EngineStatistics>;
  /** Idempotent. Waits for what is under way. */
  close(): Promise<void>;
}

/**
 * The simulated disk: an engine in memory that forgets like a real one.
 *
 * A write is visible when it resolves and durable when a later sync resolves. `crash()` keeps every synced batch and a
 * prefix, drawn from the seed, of the batches after it, each whole or not at all. Time passes only through the clock
 * that is handed in, so a simulation decides when a disk is slow; without a clock everything completes at once.
 */
import {
  COLUMN_FAMILIES,
  type ColumnFamily,
  type Engine,
  type EngineSnapshot,
  type EngineStatistics,
  type KeyRange,
  type ScanOptions,
  type ScanResult,
  type WriteBatch,
} from './engine.js';
import { DirectoryLockedError, EngineFailedError, StorageError } from './errors.js';
import { compareBytes } from './keys.js';
import { OrderedMap } from './ordered-map.js';
import { FileContents, SimulatedFiles } from './simulated-files.js';

/** Chance, time and latency of a simulated disk. */
export interface SimulatedDiskOptions {
  /** Source of every choice that the disk makes; numbers in [0, 1). */
  readonly random: () => number;
  /** Where completions are scheduled; at once without it. */
  readonly clock?: {
    /** Calls back once, so much later. */
    setTimeout(callback: () => void, milliseconds: number): unknown;
  };
  /** Milliseconds that a write, sync or read takes; drawn anew for each. Default 0. */
  readonly latency?: (call: 'write' | 'sync' | 'read') => number;
}

type Families = Record<ColumnFamily, OrderedMap<Uint8Array>>;

function emptyFamilies(): Families {
  return Object.fromEntries(COLUMN_FAMILIES.map((name) => [name, new OrderedMap<Uint8Array>()])) as Families;
}

function cloneFamilies(families: Families): Families {
  return Object.fromEntries(COLUMN_FAMILIES.map((name) => [name, families[name].clone()])) as Families;
}

/** States after single batches that a crash may fall back to. More would cost memory where nobody ever syncs. */
const MAX_UNSYNCED_STATES = 64;

interface DiskState {
  /** Number of batches applied. */
  readonly batches: number;
  readonly families: Families;
}

/** A disk in memory that loses power: what was not synced may be there afterwards or not, as the random source says. */
export class SimulatedDisk {
  readonly #options: SimulatedDiskOptions;
  /** States that a power loss may leave: the durable one first, then one per unsynced batch. */
  #states: DiskState[] = [{ batches: 0, families: emptyFamilies() }];
  /** @internal */
  readonly files = new FileContents();
  #engine: SimulatedEngine | undefined;
  #faults: { call: 'write' | 'sync'; after: number; message: string }[] = [];

  constructor(options: SimulatedDiskOptions) {
    this.#options = options;
  }

  /** @throws DirectoryLockedError while an earlier engine on this disk is open. */
  async open(): Promise<Engine> {
    if (this.#engine) throw new DirectoryLockedError('(simulated)', process.pid);
    const last = this.#states[this.#states.length - 1] as DiskState;
    this.#engine = new SimulatedEngine(this, this.#options, cloneFamilies(last.families), last.batches);
    return this.#engine;
  }

  /**
   * The power goes: what is under way never completes, and of the batches after the last completed sync only a prefix
   * is left; of the unsynced bytes of files, some. The disk can be opened again at once.
   * @returns how many unsynced batches were lost.
   */
  crash(): number {
    const kept = Math.floor(this.#options.random() * this.#states.length);
    const before = (this.#states[this.#states.length - 1] as DiskState).batches;
    const survivor = this.#states[kept] as DiskState;
    this.#engine?.stop();
    this.#engine = undefined;
    this.#states = [survivor];
    this.files.crash(this.#options.random);
    return before - survivor.batches;
  }

  /** Lets the next such call fail, of the engine or of a file, or the one after `after` more, as a broken disk would. */
  failNext(call: 'write' | 'sync', { after = 0, message = 'Input/output error' } = {}): void {
    this.#faults.push({ call, after, message });
  }

  /** @internal The planned fault of this call, if its turn has come. */
  takeFault(call: 'write' | 'sync'): string | undefined {
    const fault = this.#faults.find((planned) => planned.call === call);
    if (!fault) return undefined;
    if (fault.after-- > 0) return undefined;
    this.#faults = this.#faults.filter((planned) => planned !== fault);
    return fault.message;
  }

  /** @internal A batch took effect. */
  applied(batches: number, families: Families): void {
    this.#states.push({ batches, families: cloneFamilies(families) });
    if (this.#states.length > MAX_UNSYNCED_STATES) this.#states.splice(1, 1);
  }

  /** @internal Everything up to this batch is durable. */
  synced(batches: number): void {
    let durable = 0;
    while ((this.#states[durable + 1]?.batches ?? Number.POSITIVE_INFINITY) <= batches) durable++;
    this.#states.splice(0, durable);
  }

  /** @internal Closing syncs, as the real engine does, unless it failed. */
  closed(durable: boolean): void {
    if (durable) this.#states = this.#states.slice(-1);
    this.#engine = undefined;
  }
}

type Change =
  | { readonly kind: 'put'; readonly cf: ColumnFamily; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly cf: ColumnFamily; readonly key: Uint8Array }
  | {
      readonly kind: 'deleteRange';
      readonly cf: ColumnFamily;
      readonly start: Uint8Array;
      readonly end: Uint8Array;
    };

class SimulatedBatch implements WriteBatch {
  readonly changes: Change[] = [];
  bytes = 0;

  get count(): number {
    return this.changes.length;
  }

  put(cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void {
    this.changes.push({ kind: 'put', cf, key, value });
    this.bytes += key.length + value.length;
  }

  delete(cf: ColumnFamily, key: Uint8Array): void {
    this.changes.push({ kind: 'delete', cf, key });
    this.bytes += key.length;
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    if (end.length === 0) throw new RangeError('deleteRange needs an end.');
    if (compareBytes(start, end) >= 0) return;
    this.changes.push({ kind: 'deleteRange', cf, start, end });
    this.bytes += start.length + end.length;
  }

  truncate(count: number): void {
    for (const change of this.changes.splice(count)) {
      if (change.kind === 'deleteRange') this.bytes -= change.start.length + change.end.length;
      else this.bytes -= change.key.length + (change.kind === 'put' ? change.value.length : 0);
    }
  }
}

class SimulatedSnapshot implements EngineSnapshot {
  constructor(
    readonly engine: SimulatedEngine,
    public families: Families | undefined,
  ) {}

  release(): void {
    this.families = undefined;
  }
}

/** The caller may reuse its arrays once a write has resolved, and a reader may change what it was given. */
function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

class SimulatedEngine implements Engine {
  readonly files: SimulatedFiles;
  readonly #disk: SimulatedDisk;
  readonly #options: SimulatedDiskOptions;
  readonly #families: Families;
  #batches: number;
  #failure: StorageError | undefined;
  #tellFailure: (error: Error) => void = () => {};
  readonly failed = new Promise<Error>((resolve) => {
    this.#tellFailure = resolve;
  });
  #crashed = false;
  #closing: Promise<void> | undefined;
  /** Writes, and syncs, complete one after the other; reads do not wait. */
  #lastWrite: Promise<unknown> = Promise.resolve();
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(disk: SimulatedDisk, options: SimulatedDiskOptions, families: Families, batches: number) {
    this.#disk = disk;
    this.#options = options;
    this.#families = families;
    this.#batches = batches;
    this.files = new SimulatedFiles(disk.files, {
      refusal: () => this.#refusal(),
      complete: (call, effect) => this.#complete(call, effect),
    });
  }

  /** The power went: nothing under way ever completes. */
  stop(): void {
    this.#crashed = true;
  }

  batch(): WriteBatch {
    return new SimulatedBatch();
  }

  write(batch: WriteBatch): Promise<void> {
    if (!(batch instanceof SimulatedBatch))
      return Promise.reject(new TypeError('The batch belongs to another engine.'));
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    if (batch.count === 0) return Promise.resolve();
    const write = this.#lastWrite.then(() => this.#complete('write', () => this.#apply(batch)));
    this.#lastWrite = write.catch(() => {});
    return write;
  }

  sync(): Promise<void> {
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    if (this.#next) return this.#next;
    if (!this.#running) {
      this.#running = this.#syncNow();
      return this.#running;
    }
    this.#next = this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#syncNow();
      return this.#running;
    });
    return this.#next;
  }

  multiGet(
    cf: ColumnFamily,
    keys: readonly Uint8Array[],
    snapshot?: EngineSnapshot,
  ): Promise<(Uint8Array | undefined)[]> {
    return this.#read(snapshot, (families) =>
      keys.map((key) => {
        const value = families[cf].get(key);
        return value && copy(value);
      }),
    );
  }

  async get(cf: ColumnFamily, key: Uint8Array, snapshot?: EngineSnapshot): Promise<Uint8Array | undefined> {
    return (await this.multiGet(cf, [key], snapshot))[0];
  }

  scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    return this.#read(options.snapshot, (families) => scanFamily(families[cf], options));
  }

  snapshot(): EngineSnapshot {
    const refusal = this.#refusal();
    if (refusal) throw refusal;
    return new SimulatedSnapshot(this, cloneFamilies(this.#families));
  }

  approximateSize(cf: ColumnFamily, range: KeyRange): Promise<number> {
    return this.#read(undefined, (families) => {
      let bytes = 0;
      families[cf].walk(bound(range.start), bound(range.end), false, (key, value) => {
        bytes += key.length + value.length;
        return true;
      });
      return bytes;
    });
  }

  /** All of it is in memory, and nothing is ever compacted. */
  statistics(): Promise<EngineStatistics> {
    return this.#read(undefined, (families) => {
      let memtableBytes = 0;
      for (const family of Object.values(families)) {
        family.walk(bound(undefined), bound(undefined), false, (key, value) => {
          memtableBytes += key.length + value.length;
          return true;
        });
      }
      const none = { pendingCompactionBytes: 0, runningCompactions: 0, runningFlushes: 0 };
      return { memtableBytes, tableBytes: 0, ...none, writesStopped: false };
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#lastWrite;
    await (this.#next ?? this.#running)?.catch(() => {});
    await this.files.idle();
    if (!this.#crashed) this.#disk.closed(this.#failure === undefined);
  }

  #refusal(): StorageError | undefined {
    if (this.#failure) return this.#failure;
    if (this.#crashed) return new EngineFailedError('The simulated disk has crashed.');
    if (this.#closing) return new StorageError('closed', 'The engine is closed.');
    return undefined;
  }

  /** Runs `effect` when the call's time has passed, unless a fault is planned or the power went. */
  #complete<T>(call: 'write' | 'sync' | 'read', effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        if (this.#crashed) return;
        const fault = this.#failure || call === 'read' ? undefined : this.#disk.takeFault(call);
        if (fault) this.#failure = new EngineFailedError(`The simulated disk refused a ${call}: ${fault}.`);
        if (this.#failure) {
          this.#tellFailure(this.#failure);
          reject(this.#failure);
          return;
        }
        resolve(effect());
      };
      this.#after(call, finish);
    });
  }

  #after(call: 'write' | 'sync' | 'read', finish: () => void): void {
    const { clock, latency } = this.#options;
    const milliseconds = latency?.(call) ?? 0;
    if (clock && milliseconds > 0) clock.setTimeout(finish, milliseconds);
    else finish();
  }

  #syncNow(): Promise<void> {
    const batches = this.#batches;
    return this.#complete('sync', () => {
      this.#running = undefined;
      this.#disk.synced(batches);
    });
  }

  #read<T>(snapshot: EngineSnapshot | undefined, read: (families: Families) => T): Promise<T> {
    const refusal = this.#refusal();
    if (refusal) return Promise.reject(refusal);
    let families = this.#families;
    if (snapshot) {
      if (!(snapshot instanceof SimulatedSnapshot) || snapshot.engine !== this) {
        return Promise.reject(new TypeError('The snapshot belongs to another engine.'));
      }
      if (!snapshot.families) return Promise.reject(new StorageError('closed', 'The snapshot was released.'));
      families = snapshot.families;
    }
    return new Promise((resolve) => {
      this.#after('read', () => {
        if (!this.#crashed) resolve(read(families));
      });
    });
  }

  #apply(batch: SimulatedBatch): void {
    for (const change of batch.changes) {
      const family = this.#families[change.cf];
      if (change.kind === 'put') family.set(copy(change.key), copy(change.value));
      else if (change.kind === 'delete') family.delete(change.key);
      else {
        const doomed: Uint8Array[] = [];
        family.walk(change.start, change.end, false, (key) => doomed.push(key) > 0);
        for (const key of doomed) family.delete(key);
      }
    }
    this.#batches++;
    this.#disk.applied(this.#batches, this.#families);
  }
}

/** An empty bound is open. */
function bound(key: Uint8Array | undefined): Uint8Array | undefined {
  return key?.length ? key : undefined;
}

const NONE = new Uint8Array(0);

function scanFamily(family: OrderedMap<Uint8Array>, options: ScanOptions): ScanResult {
  const { limit, maxBytes = Number.POSITIVE_INFINITY, keysOnly = false, reverse = false } = options;
  const keys: Uint8Array[] = [];
  const values: Uint8Array[] = [];
  let bytes = 0;
  let more = false;
  family.walk(bound(options.start), bound(options.end), reverse, (key, value) => {
    if (keys.length >= limit || bytes >= maxBytes) {
      more = true;
      return false;
    }
    keys.push(copy(key));
    values.push(keysOnly ? NONE : copy(value));
    bytes += key.length + (keysOnly ? 0 : value.length);
    return true;
  });
  return { keys, values, more };
}

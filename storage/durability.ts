/**
 * Durability: turns "written" into "survives a power loss".
 *
 * RocksDB appends every batch to a write-ahead file before a write resolves, so the bytes are in the page cache; the
 * binding cannot ask it to sync. So a sync here is an `fdatasync` of every write-ahead file that may hold unsynced
 * bytes, oldest first, by descriptors of its own.
 *
 * A new write-ahead file appears in the middle of somebody's write (when a memtable is full or flushed). RocksDB never
 * appends to an older file again, file numbers only grow, and every write makes exactly one file longer: its own. Only
 * one write is under way at a time. Therefore the newest file known is looked at after each write: if it has grown, that
 * write is in it; if not, RocksDB has moved on, and the next sync asks which file is current. Then the files between are
 * listed and synced too, then the directory, and then the marker says that everything older than the current file is
 * complete, so that the check before the next start can tell a file that lost its tail from one that was never synced
 * (`wal-check.ts`).
 */
import { close, fdatasync, fstatSync, fsync, open } from 'node:fs';
import { mkdir, open as openFile, readdir, readFile, rename } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { StorageCorruptionError } from './errors.js';

const fdatasyncFile = promisify(fdatasync);
const fsyncFile = promisify(fsync);
const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

/** A place in the sequence of write-ahead files: everything before it is durable. */
export interface WalPosition {
  /** Number in the file's name. */
  readonly file: number;
  /** Bytes of that file. */
  readonly length: number;
}

const WAL_NAME = /^(\d{6,})\.log$/;

export function walFileName(number: number): string {
  return `${String(number).padStart(6, '0')}.log`;
}

/** Numbers of the write-ahead files in a data directory, ascending. */
export async function listWalFiles(directory: string): Promise<number[]> {
  const numbers: number[] = [];
  for (const name of await readdir(directory)) {
    const match = WAL_NAME.exec(name);
    if (match) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}

const MARKER = 'WAL-SYNCED';
const MARKER_TEXT = /^troupe wal marker 1\nfile (\d+)\nlength (\d+)\nolder((?: \d+)*)\n$/;

/** What is known to be durable since the last change of files, or the last clean stop. */
export interface Marker extends WalPosition {
  /** The older files that were there; each is complete. RocksDB deletes one only when it needs it no more. */
  readonly older: readonly number[];
}

/**
 * The marker of a data directory; `undefined` when the directory never took a write.
 * @throws StorageCorruptionError when it is unreadable.
 */
export async function readMarker(directory: string): Promise<Marker | undefined> {
  const path = join(directory, MARKER);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
  const match = MARKER_TEXT.exec(text);
  if (!match) throw new StorageCorruptionError(path, 0, 'the marker of the write-ahead files is unreadable');
  const older = match[3]?.split(' ').filter(Boolean).map(Number) ?? [];
  return { file: Number(match[1]), length: Number(match[2]), older };
}

/** Makes the marker durable; the sync of the directory makes new files in it durable as well. */
async function writeMarker(directory: string, { file, length, older }: Marker): Promise<void> {
  const path = join(directory, MARKER);
  const temporary = await openFile(`${path}.tmp`, 'w');
  try {
    await temporary.writeFile(
      `troupe wal marker 1\nfile ${file}\nlength ${length}\nolder${older.map((number) => ` ${number}`).join('')}\n`,
    );
    await temporary.sync();
  } finally {
    await temporary.close();
  }
  await rename(`${path}.tmp`, path);
  await syncDirectory(directory);
}

/** Makes the names in a directory durable. Windows does so with each file and refuses to open a directory. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const descriptor = await openDescriptor(directory, 'r');
  try {
    await fsyncFile(descriptor);
  } finally {
    await closeDescriptor(descriptor);
  }
}

/** Creates a directory with its missing parents, and makes every new name durable. */
export async function createDurableDirectory(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined) return;
  const top = dirname(resolve(first));
  for (let path = resolve(directory); path !== top && path !== dirname(path); path = dirname(path)) {
    await syncDirectory(dirname(path));
  }
}

/** Asks the database for the number of the write-ahead file that it appends to. */
export type CurrentWal = (done: (error: Error | undefined, file: number) => void) => void;

export class WalDurability {
  readonly #directory: string;
  readonly #currentWal: CurrentWal;
  readonly #onSynced: ((position: WalPosition) => void) | undefined;
  /** The newest write-ahead file known, and the descriptor kept for it. */
  #file: number;
  #descriptor: number;
  #durable: WalPosition;
  /** Where the last finished write that went to `#file` ended; never inside a record. */
  #written = 0;
  /** Length of `#file` when it was last looked at. */
  #seen = 0;
  /** A write has not made `#file` longer: the database appends to another one now. */
  #movedOn = false;
  #writeUnderWay = false;
  #onWritten: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor(
    directory: string,
    currentWal: CurrentWal,
    onSynced: ((position: WalPosition) => void) | undefined,
    file: number,
    descriptor: number,
  ) {
    this.#directory = directory;
    this.#currentWal = currentWal;
    this.#onSynced = onSynced;
    this.#file = file;
    this.#descriptor = descriptor;
    this.#durable = { file, length: 0 };
  }

  /**
   * Syncs what is there and writes the marker, so that no write is taken before there is one.
   * @param onSynced told after each sync what is durable; for specs that pull the plug.
   */
  static async open(
    directory: string,
    currentWal: CurrentWal,
    onSynced?: (position: WalPosition) => void,
  ): Promise<WalDurability> {
    const { file, descriptor } = await openCurrentFile(directory, currentWal);
    const durability = new WalDurability(directory, currentWal, onSynced, file, descriptor);
    durability.#seen = fstatSync(descriptor).size;
    await fdatasyncFile(descriptor);
    await durability.#mark(durability.#durable);
    return durability;
  }

  /** Everything before it survives a power loss. */
  get durable(): WalPosition {
    return this.#durable;
  }

  /** To be called before every write; only one may be under way. */
  writing(): void {
    this.#writeUnderWay = true;
  }

  /** To be called when the write has finished, well or not: the file ends with a whole record now. */
  written(): void {
    this.#writeUnderWay = false;
    this.#written = fstatSync(this.#descriptor).size;
    if (this.#written === this.#seen) this.#movedOn = true;
    this.#seen = this.#written;
    this.#onWritten?.();
    this.#onWritten = undefined;
  }

  /**
   * Makes durable what was written before the call. Calls that arrive while a sync runs share the next one.
   * After a rejection the page cache may have dropped what it could not write: never call it again.
   */
  sync(): Promise<void> {
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

  /** Leaves a marker that tells exactly what is durable. The database must take no more writes. */
  async close(): Promise<void> {
    await closeDescriptor(this.#descriptor);
    await this.#mark(this.#durable);
  }

  /** Frees the descriptor without a word about what is durable. */
  async abandon(): Promise<void> {
    await closeDescriptor(this.#descriptor);
  }

  /** Every write makes the file longer that it goes to, so the database need not be asked which one that was. */
  #syncNow(): Promise<void> {
    const position = { file: this.#file, length: this.#written };
    return new Promise((resolve, reject) => {
      if (this.#movedOn) {
        this.#adopt().then(resolve, reject);
        return;
      }
      fdatasync(this.#descriptor, (error) => {
        if (error) {
          reject(error);
          return;
        }
        this.#finish(position);
        resolve();
      });
    });
  }

  #finish(position: WalPosition): void {
    this.#durable = position;
    this.#running = undefined;
    this.#onSynced?.(position);
  }

  /** The database has moved on to another file: completes the older ones, then makes the new one durable. */
  async #adopt(): Promise<void> {
    const old = this.#descriptor;
    // What writes before the one that moved on have put there may not be synced yet.
    await fdatasyncFile(old);
    // Before the question: a write that moves on again while it is answered leaves its mark for the next sync.
    this.#movedOn = false;
    const { file: current, descriptor } = await openCurrentFile(this.#directory, this.#currentWal);
    for (const file of await listWalFiles(this.#directory)) {
      if (file > this.#file && file < current) await this.#syncClosedFile(file);
    }
    this.#file = current;
    this.#descriptor = descriptor;
    this.#seen = fstatSync(descriptor).size;
    this.#written = this.#seen;
    // A write may be half way into the new file: what is told to be durable ends with a whole record. (One that is all
    // the way in looks as if it had gone elsewhere; then the next sync asks in vain.)
    if (this.#writeUnderWay) await new Promise<void>((done) => (this.#onWritten = done));
    const position = { file: current, length: this.#written };
    await fdatasyncFile(descriptor);
    await this.#mark(position);
    await closeDescriptor(old);
    this.#finish(position);
  }

  async #mark(position: WalPosition): Promise<void> {
    const older = (await listWalFiles(this.#directory)).filter((file) => file < position.file);
    await writeMarker(this.#directory, { ...position, older });
  }

  async #syncClosedFile(file: number): Promise<void> {
    const descriptor = await openUnlessDeleted(join(this.#directory, walFileName(file)));
    if (descriptor === undefined) return;
    await fdatasyncFile(descriptor);
    await closeDescriptor(descriptor);
  }
}

/** Opens the file that the database appends to; asks again when it has moved on and deleted that one meanwhile. */
async function openCurrentFile(
  directory: string,
  currentWal: CurrentWal,
): Promise<{ readonly file: number; readonly descriptor: number }> {
  let before = -1;
  for (;;) {
    const file = await new Promise<number>((done, reject) =>
      currentWal((error, number) => (error ? reject(error) : done(number))),
    );
    const path = join(directory, walFileName(file));
    const descriptor = await openUnlessDeleted(path);
    if (descriptor !== undefined) return { file, descriptor };
    if (file === before) throw new Error(`${path} is missing while it is being written`);
    before = file;
  }
}

/** `undefined` when it is gone: RocksDB deletes a write-ahead file when its contents are in synced table files. */
async function openUnlessDeleted(path: string): Promise<number | undefined> {
  try {
    return await openDescriptor(path, 'r+');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

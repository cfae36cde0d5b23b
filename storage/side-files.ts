/** Files beside the database on a real disk: one directory, made when the first file is. */
import { close, fstat, open as openCallback, read } from 'node:fs';
import { type FileHandle, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createDurableDirectory, syncDirectory } from './durability.js';
import type { SideFile, SideFiles } from './engine.js';
import { StorageError } from './errors.js';

const openDescriptor = promisify(openCallback);
const closeDescriptor = promisify(close);
const readDescriptor = promisify(read);
const statDescriptor = promisify(fstat);

const NAME = /^[A-Za-z0-9._-]{1,200}$/;

/** @throws StorageError `invalid-name` */
export function checkFileName(name: string): void {
  if (isFileName(name)) return;
  throw new StorageError(
    'invalid-name',
    `"${name}" cannot name a file: use 1 to 200 letters, digits, dots, underscores and hyphens, and not dots alone.`,
  );
}

function isFileName(name: string): boolean {
  return NAME.test(name) && name !== '.' && name !== '..';
}

/** The answer to a read of a file that is not there. */
export function noSuchFile(name: string): StorageError {
  return new StorageError('not-found', `There is no file ${name}: it was never written, or was removed.`);
}

/** The answer to a second writer, and to who removes a file under its writer. */
export function fileInUse(name: string): StorageError {
  return new StorageError('locked', `The file ${name} is open for appending: close it first.`);
}

/** The answer to calls on a file that its writer has closed. */
export function fileClosed(name: string): StorageError {
  return new StorageError('closed', `The file ${name} was closed: open it again.`);
}

/** @throws RangeError when the bytes asked for cannot be those of a file. */
export function checkExtent(offset: number, length: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0) return;
  throw new RangeError(`${length} bytes from ${offset} on are no part of a file.`);
}

/** @throws RangeError when the file is shorter than that, or `length` is no length. */
export function checkTruncation(name: string, length: number, present: number): void {
  if (Number.isSafeInteger(length) && length >= 0 && length <= present) return;
  throw new RangeError(`The file ${name} of ${present} bytes cannot be cut off at ${length}.`);
}

/** The engine whose disk the files are on: what fails them fails it. */
export interface FilesHost {
  /** Why no call is taken any more. */
  refusal(): StorageError | undefined;
  /** The disk refused: the engine takes no more calls. Returns the engine's error. */
  fail(what: string, cause: unknown): StorageError;
}

export class DirectoryFiles implements SideFiles {
  readonly #directory: string;
  readonly #host: FilesHost;
  readonly #open = new Map<string, OpenFile | undefined>();
  readonly #calls = new Set<Promise<unknown>>();
  #made: Promise<void> | undefined;

  /** @param directory is created with the first file. */
  constructor(directory: string, host: FilesHost) {
    this.#directory = directory;
    this.#host = host;
  }

  async open(name: string): Promise<SideFile> {
    checkFileName(name);
    this.#assertUsable();
    if (this.#open.has(name)) throw fileInUse(name);
    this.#open.set(name, undefined);
    try {
      return await this.run(`Opening ${name} failed`, async () => {
        const file = await this.#openFile(name);
        this.#open.set(name, file);
        return file;
      });
    } catch (cause) {
      this.#open.delete(name);
      throw cause;
    }
  }

  async read(name: string, offset: number, length: number): Promise<Uint8Array> {
    checkFileName(name);
    checkExtent(offset, length);
    this.#assertUsable();
    const bytes = await this.run(`Reading ${name} failed`, () => readPart(this.#path(name), offset, length));
    if (bytes === undefined) throw noSuchFile(name);
    return bytes;
  }

  async list(): Promise<readonly { readonly name: string; readonly length: number }[]> {
    this.#assertUsable();
    return this.run(`Listing ${this.#directory} failed`, async () => {
      const names = (await unlessMissing(readdir(this.#directory))) ?? [];
      const files: { name: string; length: number }[] = [];
      for (const name of names.filter(isFileName).sort()) {
        const found = await unlessMissing(stat(this.#path(name)));
        if (found?.isFile()) files.push({ name, length: found.size });
      }
      return files;
    });
  }

  async remove(name: string): Promise<void> {
    checkFileName(name);
    this.#assertUsable();
    if (this.#open.has(name)) throw fileInUse(name);
    // Nobody may open it while it goes.
    this.#open.set(name, undefined);
    try {
      await this.run(`Removing ${name} failed`, () => unlessMissing(this.#unlink(name)));
    } finally {
      this.#open.delete(name);
    }
  }

  /** Waits for what is under way and gives the descriptors back. The host takes no calls any more. */
  async close(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled([...this.#calls]);
    await Promise.allSettled([...this.#open.values()].map((file) => file?.close()));
  }

  /** @internal Runs a call on the disk; whatever it rejects with fails the engine. */
  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    const call = work();
    this.#calls.add(call);
    try {
      return await call;
    } catch (cause) {
      throw this.#host.fail(what, cause);
    } finally {
      this.#calls.delete(call);
    }
  }

  /** @internal */
  refusal(): StorageError | undefined {
    return this.#host.refusal();
  }

  /** @internal Makes the names of the files durable. */
  syncNames(): Promise<void> {
    return syncDirectory(this.#directory);
  }

  /** @internal */
  closed(name: string): void {
    this.#open.delete(name);
  }

  async #openFile(name: string): Promise<OpenFile> {
    this.#made ??= createDurableDirectory(this.#directory);
    await this.#made;
    const path = this.#path(name);
    const handle = (await unlessMissing(open(path, 'r+'))) ?? (await open(path, 'wx+'));
    try {
      return new OpenFile(this, name, handle, (await handle.stat()).size);
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  async #unlink(name: string): Promise<void> {
    await unlink(this.#path(name));
    await this.syncNames();
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  #assertUsable(): void {
    const refusal = this.#host.refusal();
    if (refusal) throw refusal;
  }
}

class OpenFile implements SideFile {
  readonly #files: DirectoryFiles;
  readonly #name: string;
  readonly #handle: FileHandle;
  #length: number;
  /** The directory was synced since the file was opened, so its name survives. */
  #named = false;
  /** Calls take effect in their order, one at a time. */
  #last: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(files: DirectoryFiles, name: string, handle: FileHandle, length: number) {
    this.#files = files;
    this.#name = name;
    this.#handle = handle;
    this.#length = length;
  }

  get length(): number {
    return this.#length;
  }

  append(bytes: Uint8Array): Promise<void> {
    return this.#inTurn(`Writing ${this.#name} failed`, async () => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(
          bytes,
          done,
          bytes.length - done,
          this.#length + done,
        );
        done += bytesWritten;
      }
      this.#length += bytes.length;
    });
  }

  async truncate(length: number): Promise<void> {
    // Judged when its turn has come: appends before it count.
    let refused: unknown;
    await this.#inTurn(`Cutting off ${this.#name} failed`, async () => {
      try {
        checkTruncation(this.#name, length, this.#length);
      } catch (cause) {
        refused = cause;
        return;
      }
      await this.#handle.truncate(length);
      this.#length = length;
    });
    if (refused !== undefined) throw refused;
  }

  sync(): Promise<void> {
    return this.#inTurn(`Syncing ${this.#name} failed`, async () => {
      await this.#handle.datasync();
      if (this.#named) return;
      await this.#files.syncNames();
      this.#named = true;
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#last.catch(() => {});
    await this.#files.run(`Closing ${this.#name} failed`, () => this.#handle.close());
    this.#files.closed(this.#name);
  }

  async #inTurn(what: string, work: () => Promise<void>): Promise<void> {
    const refusal = this.#files.refusal() ?? (this.#closing && fileClosed(this.#name));
    if (refusal) throw refusal;
    const turn = this.#last.then(() => this.#files.run(what, work));
    // A call that fails is the last: those behind it fail with it.
    this.#last = turn;
    turn.catch(() => {});
    await turn;
  }
}

/**
 * `undefined` when there is no such file; a part at or behind the end is shorter than asked for. By descriptor: a handle
 * costs the event loop more than the read.
 */
async function readPart(path: string, offset: number, length: number): Promise<Uint8Array | undefined> {
  const descriptor = await unlessMissing(openDescriptor(path, 'r'));
  if (descriptor === undefined) return undefined;
  try {
    const { size } = await statDescriptor(descriptor);
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, size - offset)));
    let done = 0;
    while (done < bytes.length) {
      const { bytesRead } = await readDescriptor(descriptor, bytes, done, bytes.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return bytes.subarray(0, done);
  } finally {
    await closeDescriptor(descriptor);
  }
}

async function unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

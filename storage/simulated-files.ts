/**
 * Files beside the database on the simulated disk: bytes are durable after a sync. A power loss leaves some of the
 * others, drawn from the seed: a prefix, zeros in their place, or holes; it may undo a truncation and take back a name.
 */
import type { SideFile, SideFiles } from './engine.js';
import type { StorageError } from './errors.js';
import {
  checkExtent,
  checkFileName,
  checkTruncation,
  fileClosed,
  fileInUse,
  noSuchFile,
} from './side-files.js';

/** What a power loss takes or leaves as a whole, in bytes. */
const SECTOR = 512;
const NONE = new Uint8Array(0);

/** The bytes of one file: what a reader sees, and what a power loss may make of it. */
class Content {
  #bytes: Uint8Array = NONE;
  #length = 0;
  /** This many bytes are as the last sync left them. */
  #durable = 0;
  /** Durable bytes that stood behind those and were cut off since. */
  #cutOff: Uint8Array = NONE;
  #named = false;

  get length(): number {
    return this.#length;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#bytes.slice(Math.min(offset, this.#length), Math.min(offset + length, this.#length));
  }

  append(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  truncate(length: number): void {
    this.#length = length;
    if (length >= this.#durable) return;
    const cutOff = new Uint8Array(this.#durable - length + this.#cutOff.length);
    cutOff.set(this.#bytes.subarray(length, this.#durable));
    cutOff.set(this.#cutOff, this.#durable - length);
    this.#cutOff = cutOff;
    this.#durable = length;
  }

  sync(): void {
    this.#durable = this.#length;
    this.#cutOff = NONE;
    this.#named = true;
  }

  /** @returns false when the file is gone. */
  crash(random: () => number): boolean {
    if (!this.#named && random() < 0.5) return false;
    if (this.#cutOff.length > 0 && random() < 0.5) {
      this.#length = this.#durable;
      this.append(this.#cutOff);
    } else if (this.#length > this.#durable) {
      this.#damageUnsynced(random);
    }
    this.sync();
    return true;
  }

  #damageUnsynced(random: () => number): void {
    const end = this.#durable + Math.floor(random() * (this.#length - this.#durable + 1));
    const fate = random();
    if (fate < 0.5) {
      this.#length = end;
    } else if (fate < 0.75) {
      this.#bytes.fill(0, end, this.#length);
    } else {
      for (let at = this.#durable; at < this.#length; at = at - (at % SECTOR) + SECTOR) {
        if (random() < 0.3) this.#bytes.fill(0, at, Math.min(at - (at % SECTOR) + SECTOR, this.#length));
      }
    }
  }
}

/** The files of a simulated disk; they outlive the engines that are opened on it. */
export class FileContents {
  readonly #files = new Map<string, Content>();

  get(name: string): Content | undefined {
    return this.#files.get(name);
  }

  /** Made when absent. */
  take(name: string): Content {
    const present = this.#files.get(name);
    if (present) return present;
    const made = new Content();
    this.#files.set(name, made);
    return made;
  }

  delete(name: string): void {
    this.#files.delete(name);
  }

  list(): { readonly name: string; readonly length: number }[] {
    return [...this.#files.keys()]
      .sort()
      .map((name) => ({ name, length: this.#files.get(name)?.length ?? 0 }));
  }

  crash(random: () => number): void {
    for (const [name, content] of [...this.#files]) if (!content.crash(random)) this.#files.delete(name);
  }
}

/** The simulated engine, as its files see it. */
export interface SimulatedCalls {
  /** Why no call is taken any more. */
  refusal(): StorageError | undefined;
  /** Runs `effect` when the call's time has passed; rejects when the disk refuses, never settles after a crash. */
  complete<T>(call: 'write' | 'sync' | 'read', effect: () => T): Promise<T>;
}

export class SimulatedFiles implements SideFiles {
  readonly #contents: FileContents;
  readonly #calls: SimulatedCalls;
  readonly #open = new Set<string>();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(contents: FileContents, calls: SimulatedCalls) {
    this.#contents = contents;
    this.#calls = calls;
  }

  async open(name: string): Promise<SideFile> {
    this.#claim(name);
    try {
      const content = await this.run('write', () => this.#contents.take(name));
      return new SimulatedFile(this, name, content);
    } catch (cause) {
      this.#open.delete(name);
      throw cause;
    }
  }

  async read(name: string, offset: number, length: number): Promise<Uint8Array> {
    checkFileName(name);
    checkExtent(offset, length);
    this.assertUsable();
    const bytes = await this.run('read', () => this.#contents.get(name)?.read(offset, length));
    if (bytes === undefined) throw noSuchFile(name);
    return bytes;
  }

  async list(): Promise<readonly { readonly name: string; readonly length: number }[]> {
    this.assertUsable();
    return this.run('read', () => this.#contents.list());
  }

  async remove(name: string): Promise<void> {
    this.#claim(name);
    try {
      if (this.#contents.get(name)) await this.run('write', () => this.#contents.delete(name));
    } finally {
      this.#open.delete(name);
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled([...this.#underWay]);
  }

  /** @internal */
  async run<T>(call: 'write' | 'sync' | 'read', effect: () => T): Promise<T> {
    return this.tracked(this.#calls.complete(call, effect));
  }

  /** @internal The close waits for it. */
  async tracked<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    try {
      return await call;
    } finally {
      this.#underWay.delete(call);
    }
  }

  /** @internal */
  assertUsable(): void {
    const refusal = this.#calls.refusal();
    if (refusal) throw refusal;
  }

  /** @internal */
  closed(name: string): void {
    this.#open.delete(name);
  }

  #claim(name: string): void {
    checkFileName(name);
    this.assertUsable();
    if (this.#open.has(name)) throw fileInUse(name);
    this.#open.add(name);
  }
}

class SimulatedFile implements SideFile {
  readonly #files: SimulatedFiles;
  readonly #name: string;
  readonly #content: Content;
  /** Calls take effect in their order, one at a time. */
  #last: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(files: SimulatedFiles, name: string, content: Content) {
    this.#files = files;
    this.#name = name;
    this.#content = content;
  }

  get length(): number {
    return this.#content.length;
  }

  append(bytes: Uint8Array): Promise<void> {
    return this.#inTurn('write', () => this.#content.append(bytes));
  }

  async truncate(length: number): Promise<void> {
    let refused: unknown;
    await this.#inTurn('write', () => {
      try {
        checkTruncation(this.#name, length, this.#content.length);
      } catch (cause) {
        refused = cause;
        return;
      }
      this.#content.truncate(length);
    });
    if (refused !== undefined) throw refused;
  }

  sync(): Promise<void> {
    return this.#inTurn('sync', () => this.#content.sync());
  }

  close(): Promise<void> {
    this.#closing ??= this.#last.catch(() => {}).then(() => this.#files.closed(this.#name));
    return this.#closing;
  }

  async #inTurn(call: 'write' | 'sync', effect: () => void): Promise<void> {
    this.#files.assertUsable();
    if (this.#closing) throw fileClosed(this.#name);
    const turn = this.#last.then(() => this.#files.run(call, effect));
    this.#last = turn;
    turn.catch(() => {});
    await this.#files.tracked(turn);
  }
}

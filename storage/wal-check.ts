/**
 * The check of the write-ahead files before RocksDB opens them: what a power loss tore off is trimmed, anything else
 * that is not as it was written is damage, and refused.
 *
 * RocksDB's own modes cannot tell the two apart: one opens a log with a flipped bit in the middle and silently drops
 * everything after it, another refuses a tail that the file system filled with zeros. What decides here is whether the
 * bad bytes had been durable:
 *
 * - Every batch carries how far the log was durable when it was written (its first change, in the family `synced`). A
 *   batch behind the bad place that says the log was durable beyond it proves damage.
 * - The marker (`durability.ts`) says which files were complete, and after a clean stop how long the last one was.
 * - The MANIFEST tells which files RocksDB itself closed and synced before it flushed a table.
 * - Bytes that were never synced are missing or zeros, by whole sectors. A record whose checksum is wrong for another
 *   reason was changed afterwards (`torn-record.ts`).
 *
 * Without such proof nothing at or behind the bad place was ever acknowledged, and it is cut off: a batch whole, as
 * RocksDB replays it whole. Bytes of a record are never repaired.
 */
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  listWalFiles,
  type Marker,
  readMarker,
  syncDirectory,
  type WalPosition,
  walFileName,
} from './durability.js';
import { StorageCorruptionError } from './errors.js';
import { type Manifest, readManifest } from './manifest.js';
import { couldBeTorn } from './torn-record.js';
import { type BadPlace, type LogRecord, readBeyond, readLog } from './wal-format.js';

/** Where an engine says what it has found in its write-ahead files. */
export interface WalCheckLogger {
  /** Fields first, then the sentence. */
  warn(details: object, message: string): void;
}

export interface WalCheckOptions {
  /** The family in which each batch says how far the log was durable. */
  readonly syncedFamily: string;
  readonly logger?: WalCheckLogger | undefined;
  /** Called before anything is refused or trimmed. @throws DirectoryLockedError while somebody writes the files. */
  assertUnlocked(): Promise<void>;
}

/** Bytes of a record that are looked at: sequence number, count, and the first change. */
const HEAD_BYTES = 64;
const BATCH_HEADER_BYTES = 12;
/** RocksDB's tag of a put into a family other than the default one. */
const PUT_IN_FAMILY = 5;

/**
 * Checks the files that RocksDB will replay and trims what a power loss may have torn.
 * @throws StorageCorruptionError with file and offset when data that was durable is not whole.
 */
export async function checkWalFiles(directory: string, options: WalCheckOptions): Promise<void> {
  await new WalCheck(directory, options).run();
}

/** A bad place in a write-ahead file, and what is wrong there. */
interface Suspect extends BadPlace {
  readonly file: number;
  /** A record stands there that is bad in itself; otherwise something is missing. */
  readonly isRecord: boolean;
}

class WalCheck {
  readonly #directory: string;
  readonly #options: WalCheckOptions;
  #marker: Marker | undefined;
  #syncedFamilyId = -1;

  constructor(directory: string, options: WalCheckOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  async run(): Promise<void> {
    try {
      await this.#check();
    } catch (error) {
      // Files that somebody writes and deletes meanwhile look damaged.
      await this.#options.assertUnlocked();
      throw error;
    }
  }

  async #check(): Promise<void> {
    this.#marker = await readMarker(this.#directory);
    const manifest = await readManifest(this.#directory);
    if (!manifest) {
      if (!this.#marker) return;
      throw new StorageCorruptionError(
        this.#path('CURRENT'),
        undefined,
        'the file is missing beside its data',
      );
    }
    if (manifest.torn) await this.#trimManifest(manifest, manifest.torn);
    this.#syncedFamilyId = manifest.families.get(this.#options.syncedFamily) ?? -1;

    const files = (await listWalFiles(this.#directory)).filter((file) => file >= manifest.oldestWal);
    this.#assertMarkedFiles(manifest, files);
    const suspect = await this.#firstSuspect(manifest, files);
    if (!suspect) return;
    await this.#assertNotDurable(manifest, files, suspect);
    await this.#options.assertUnlocked();
    await this.#trim(files, suspect);
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  #assertMarkedFiles(manifest: Manifest, files: readonly number[]): void {
    if (!this.#marker) return;
    for (const file of [...this.#marker.older, this.#marker.file]) {
      if (file < manifest.oldestWal || files.includes(file)) continue;
      throw new StorageCorruptionError(this.#path(walFileName(file)), undefined, 'the file is missing');
    }
  }

  /** The first record that is bad, or does not continue the one before. */
  async #firstSuspect(manifest: Manifest, files: readonly number[]): Promise<Suspect | undefined> {
    let expected: bigint | undefined;
    let previous = { file: files[0] ?? 0, end: 0 };
    for (const file of files) {
      let suspect: Suspect | undefined;
      let end = 0;
      const bad = await readLog(this.#path(walFileName(file)), HEAD_BYTES, (record) => {
        const { sequence, count } = batchHeader(record.payload);
        if (sequence === undefined) {
          suspect = { ...place(record), file, isRecord: true, reason: 'a record is too short for a batch' };
        } else if (expected === undefined ? sequence > manifest.lastSequence + 1n : sequence !== expected) {
          suspect = {
            // What is missing belongs behind the last good record, perhaps in the file before.
            ...(end > 0 ? { file, offset: end } : { file: previous.file, offset: previous.end }),
            fragment: record.offset,
            isRecord: false,
            reason: `batches are missing before sequence number ${sequence}`,
          };
        } else {
          expected = sequence + BigInt(count);
          end = record.end;
        }
        return suspect === undefined;
      });
      if (suspect) return suspect;
      if (bad) return { ...bad, file, isRecord: true };
      if (this.#marker?.file === file && end < this.#marker.length) {
        return {
          file,
          offset: end,
          fragment: end,
          isRecord: false,
          reason: 'the file has lost its end',
        };
      }
      previous = { file, end };
    }
    return undefined;
  }

  /** @throws StorageCorruptionError when something proves that the place had been durable. */
  async #assertNotDurable(manifest: Manifest, files: readonly number[], suspect: Suspect): Promise<void> {
    const refuse = (proof: string): never => {
      throw new StorageCorruptionError(
        this.#path(walFileName(suspect.file)),
        suspect.fragment,
        `${suspect.reason}, and ${proof}`,
      );
    };
    const covers = ({ file, length }: WalPosition): boolean =>
      file > suspect.file || (file === suspect.file && length > suspect.offset);

    if (this.#marker && covers(this.#marker)) refuse('the marker says that it was durable');
    if (suspect.file < manifest.syncedBelow) refuse('RocksDB had synced this file');
    if (suspect.isRecord && !(await couldBeTorn(this.#path(walFileName(suspect.file)), suspect))) {
      refuse('no power loss leaves a record so');
    }
    for (const file of files.filter((file) => file >= suspect.file)) {
      const from = file === suspect.file ? suspect.offset : 0;
      let proven = false;
      await readBeyond(this.#path(walFileName(file)), from, ({ payload }) => {
        const claim = this.#claimOf(payload);
        proven = claim !== undefined && covers(claim);
        return !proven;
      });
      if (proven) refuse('a later batch was written after it had become durable');
    }
  }

  /** How far the log was durable when this batch was written; `undefined` for a batch of somebody else's. */
  #claimOf(payload: Uint8Array): WalPosition | undefined {
    const at = BATCH_HEADER_BYTES;
    // Tag, family, key length, one byte of key, value length, 16 bytes of value; all small numbers.
    if (payload.length < at + 21) return undefined;
    if (payload[at] !== PUT_IN_FAMILY || payload[at + 1] !== this.#syncedFamilyId) return undefined;
    if (payload[at + 2] !== 1 || payload[at + 4] !== 16) return undefined;
    const value = new DataView(payload.buffer, payload.byteOffset + at + 5, 16);
    return { file: Number(value.getBigUint64(0, true)), length: Number(value.getBigUint64(8, true)) };
  }

  /** Cuts the file off before the suspect and removes the files after it, of which nothing was acknowledged. */
  async #trim(files: readonly number[], suspect: Suspect): Promise<void> {
    const name = walFileName(suspect.file);
    const removed = files.filter((file) => file > suspect.file).map(walFileName);
    const { size } = await stat(this.#path(name));
    this.#options.logger?.warn(
      { file: name, offset: suspect.offset, bytes: size - suspect.offset, removed, reason: suspect.reason },
      'trimmed what a power loss tore off the write-ahead files; none of it was acknowledged',
    );
    // Newest first, so that a crash in between leaves a state that this check judges in the same way.
    for (const file of removed.reverse()) await rm(this.#path(file));
    await truncateDurably(this.#path(name), suspect.offset);
    await syncDirectory(this.#directory);
  }

  /** RocksDB acts on an edit only when it is synced, so a torn one at the end never took effect. */
  async #trimManifest(manifest: Manifest, torn: BadPlace): Promise<void> {
    let follows = false;
    await readBeyond(manifest.path, torn.offset, () => {
      follows = true;
      return false;
    });
    if (follows || !(await couldBeTorn(manifest.path, torn))) {
      throw new StorageCorruptionError(manifest.path, torn.fragment, torn.reason);
    }
    await this.#options.assertUnlocked();
    this.#options.logger?.warn(
      { file: manifest.path, offset: torn.offset, reason: torn.reason },
      'trimmed a torn edit at the end of the MANIFEST',
    );
    await truncateDurably(manifest.path, torn.offset);
  }
}

async function truncateDurably(path: string, length: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.truncate(length);
    await file.sync();
  } finally {
    await file.close();
  }
}

function place(record: LogRecord): Omit<BadPlace, 'reason'> {
  return { offset: record.offset, fragment: record.offset };
}

function batchHeader(payload: Uint8Array): { readonly sequence: bigint | undefined; readonly count: number } {
  if (payload.length < BATCH_HEADER_BYTES) return { sequence: undefined, count: 0 };
  const view = new DataView(payload.buffer, payload.byteOffset, BATCH_HEADER_BYTES);
  return { sequence: view.getBigUint64(0, true), count: view.getUint32(8, true) };
}

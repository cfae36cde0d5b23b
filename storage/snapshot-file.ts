/** Snapshots on their way in: written aside, record by record, until they are whole. */
import type { SideFile, SideFiles } from './engine.js';
import { StorageError } from './errors.js';
import { corruptSnapshot } from './snapshot-chunk.js';
import {
  encodeFileHeader,
  FILE_HEADER_BYTES,
  RecordEncoder,
  RecordReader,
  type SnapshotIdentity,
  type SnapshotTotals,
  sameIdentity,
} from './snapshot-records.js';
import { SnapshotTally } from './snapshot-tally.js';

/** Synced every so many bytes: one sync of a whole snapshot would hold up those of the write-ahead files. */
const SYNC_BYTES = 8 * 1024 * 1024;

/**
 * A snapshot file that is being written. A write that was interrupted, by whatever, is taken up again where its last
 * whole chunk ends; the sender then goes on with chunk number `chunks`, of the same data.
 */
export class SnapshotFile {
  readonly #file: SideFile;
  readonly #name: string;
  readonly #tally: SnapshotTally;
  readonly #encoder = new RecordEncoder();
  #finished: boolean;
  #unsynced = 0;
  /** Calls take effect in their order, one at a time. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(file: SideFile, name: string, tally: SnapshotTally, finished: boolean) {
    this.#file = file;
    this.#name = name;
    this.#tally = tally;
    this.#finished = finished;
  }

  /**
   * Opens a file to be written, made when absent: keeps the whole chunks that it holds of this snapshot and cuts off the
   * rest. A file of another snapshot is started over.
   * @throws StorageError `locked` while it is open, `invalid-name`
   * @throws EngineFailedError
   */
  static async open(files: SideFiles, name: string, identity: SnapshotIdentity): Promise<SnapshotFile> {
    const file = await files.open(name);
    try {
      const { end, tally, finished } = await scan(files, name, identity);
      if (end < file.length) await file.truncate(end);
      if (end === 0) await file.append(encodeFileHeader(identity));
      // Its end may be known to the page cache alone: whoever finds it finished counts on it.
      if (finished) await file.sync();
      return new SnapshotFile(file, name, tally, finished);
    } catch (cause) {
      await file.close();
      throw cause;
    }
  }

  /** Whole chunks so far. */
  get chunks(): number {
    return this.#tally.chunks;
  }

  /** Bytes of them. */
  get bytes(): number {
    return this.#tally.bytes;
  }

  /** The totals were right and are written: nothing more belongs to it. */
  get finished(): boolean {
    return this.#finished;
  }

  /**
   * Adds the next chunk. It need not survive a power loss before `finish`.
   * @param chunk must not change before this resolves.
   * @throws StorageError `corrupt-snapshot` when it is no chunk, or does not belong behind the one before; the file is
   * as it was.
   * @throws EngineFailedError
   */
  append(chunk: Uint8Array): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#finished) throw corruptSnapshot(this.#name, 'a chunk follows the announced end');
      this.#tally.add(chunk, `${this.#name}, chunk ${this.#tally.chunks}`);
      await this.#file.append(this.#encoder.chunk(chunk));
      this.#unsynced += chunk.length;
      if (this.#unsynced < SYNC_BYTES) return;
      this.#unsynced = 0;
      await this.#file.sync();
    });
  }

  /**
   * Ends the file, durably. Harmless when repeated with the same totals.
   * @throws StorageError `corrupt-snapshot` when the chunks are not those that the totals announce; the file is as it was.
   * @throws EngineFailedError
   */
  finish(totals: SnapshotTotals): Promise<void> {
    return this.#inTurn(async () => {
      this.#tally.check(totals, this.#name);
      if (!this.#finished) await this.#file.append(this.#encoder.totals(totals));
      this.#finished = true;
      await this.#file.sync();
    });
  }

  /** Waits for what is under way. Idempotent. */
  async close(): Promise<void> {
    await this.#last;
    await this.#file.close();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

interface Scanned {
  /** Where what is whole ends; 0 when not even the header is, or it is another snapshot's. */
  readonly end: number;
  readonly tally: SnapshotTally;
  readonly finished: boolean;
}

async function scan(files: SideFiles, name: string, identity: SnapshotIdentity): Promise<Scanned> {
  const reader = new RecordReader(files, name);
  const tally = new SnapshotTally();
  const found = await reader.identity();
  if (!found || !sameIdentity(found, identity)) return { end: 0, tally, finished: false };
  let end = FILE_HEADER_BYTES;
  try {
    for (let record = await reader.next(); record; record = await reader.next()) {
      if (record.kind === 'chunk') tally.add(record.chunk, name);
      else tally.check(record.totals, name);
      end = reader.end;
      if (record.kind === 'totals') return { end, tally, finished: true };
    }
  } catch (cause) {
    // Cut short, or torn by a power loss: to be sent again from there on.
    if (!(cause instanceof StorageError) || cause.code !== 'corrupt-snapshot') throw cause;
  }
  return { end, tally, finished: false };
}

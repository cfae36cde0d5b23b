/** Where an export goes: standard output, or a file that an interrupted export can go on with. */

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { resolve } from 'node:path';
import { TroupeError } from '../errors.js';
import { Checkpoint } from './checkpoint.js';
import { printAll } from './terminal.js';

export interface ExportSink {
  /** Where to go on; `undefined` to begin. */
  readonly lastKey: Uint8Array | undefined;
  /** Records that an earlier run wrote. */
  readonly records: number;
  /** Takes a segment: whole lines (or a whole gzip member of them) that end with the record of `lastKey`. */
  write(segment: Uint8Array, lastKey: Uint8Array, records: number): Promise<void>;
  /** All was written. */
  finish(): void;
  /** What to tell after an interruption. */
  hint(): string;
}

export class StandardOutput implements ExportSink {
  readonly lastKey = undefined;
  readonly records = 0;

  write(segment: Uint8Array): Promise<void> {
    return printAll(segment);
  }

  finish(): void {}

  hint(): string {
    return 'the output is not complete';
  }
}

/**
 * Writes `<file>.partial` and gives it its name at the end. After each segment a checkpoint says how long the partial
 * file is and which key it ends with, so a later run cuts off what came after and goes on.
 */
export class ExportFile implements ExportSink {
  readonly lastKey: Uint8Array | undefined;
  readonly records: number;
  readonly #path: string;
  readonly #partial: string;
  readonly #checkpoint: Checkpoint;
  readonly #descriptor: number;
  #bytes: number;
  #resumable = false;

  /**
   * @param identity what else tells this export from others to the same file
   * @throws TroupeError `usage` when the file cannot be written
   */
  constructor(path: string, identity: readonly string[], resume: boolean) {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
      throw new TroupeError('usage', `${path} cannot be written: it is a directory; name a file in it`);
    }
    this.#path = path;
    this.#partial = `${path}.partial`;
    this.#checkpoint = new Checkpoint(['export', resolve(path), ...identity]);
    const state = resume && existsSync(this.#partial) ? this.#checkpoint.read() : undefined;
    const { bytes, records, lastKey } = state ?? {};
    const known = typeof bytes === 'number' && typeof records === 'number' && typeof lastKey === 'string';
    this.#bytes = known ? bytes : 0;
    this.records = known ? records : 0;
    this.lastKey = known ? Buffer.from(lastKey, 'base64') : undefined;
    try {
      this.#descriptor = openSync(this.#partial, known ? 'r+' : 'w');
      ftruncateSync(this.#descriptor, this.#bytes);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new TroupeError('usage', `${path} cannot be written: ${reason}`, { cause });
    }
  }

  async write(segment: Uint8Array, lastKey: Uint8Array, records: number): Promise<void> {
    for (let done = 0; done < segment.length; ) {
      done += writeSync(this.#descriptor, segment, done, segment.length - done, this.#bytes + done);
    }
    this.#bytes += segment.length;
    fsyncSync(this.#descriptor);
    this.#resumable = this.#checkpoint.write({
      bytes: this.#bytes,
      records,
      lastKey: Buffer.from(lastKey).toString('base64'),
    });
  }

  finish(): void {
    closeSync(this.#descriptor);
    renameSync(this.#partial, this.#path);
    this.#checkpoint.remove();
  }

  hint(): string {
    const rest = this.#resumable || this.lastKey !== undefined ? `: go on with --resume` : '';
    return `what was exported is in ${this.#partial}${rest}`;
  }
}

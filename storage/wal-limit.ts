/**
 * Holds the live write-ahead files below a limit. RocksDB keeps a file as long as any family has unflushed changes in
 * it, so one that is written rarely keeps them all: such families are flushed at half the limit, all at three quarters.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { listWalFiles, walFileName } from './durability.js';

export interface WalLimitOptions {
  readonly directory: string;
  /** Bytes of all files together. */
  readonly limit: number;
  /** Flushes the families that are written rarely, or all. */
  readonly flush: (which: 'cold' | 'all') => Promise<void>;
  readonly onFailure: (cause: unknown) => void;
}

export class WalLimit {
  readonly #options: WalLimitOptions;
  /** Bytes written since the files were last measured. */
  #unmeasured = 0;
  #measuring: Promise<void> | undefined;

  constructor(options: WalLimitOptions) {
    this.#options = options;
  }

  /**
   * To be told of every write.
   * @returns what a writer must wait for that outruns the flush; `undefined` nearly always.
   */
  written(bytes: number): Promise<void> | undefined {
    const { limit } = this.#options;
    this.#unmeasured += bytes;
    if (this.#unmeasured > limit / 16 && !this.#measuring) {
      this.#unmeasured = 0;
      this.#measuring = this.#measure();
    }
    return this.#unmeasured > limit / 8 ? this.#measuring : undefined;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#measuring;
  }

  async #measure(): Promise<void> {
    const { directory, limit, flush, onFailure } = this.#options;
    try {
      let bytes = 0;
      for (const file of await listWalFiles(directory)) {
        bytes += await stat(join(directory, walFileName(file))).then(
          ({ size }) => size,
          // Deleted since it was listed.
          () => 0,
        );
      }
      if (bytes >= limit / 2) await flush(bytes < (limit * 3) / 4 ? 'cold' : 'all');
    } catch (cause) {
      onFailure(cause);
    } finally {
      this.#measuring = undefined;
    }
  }
}

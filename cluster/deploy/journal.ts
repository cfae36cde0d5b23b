/** One batch and one sync for everything that the actors of a host did in a turn. */

import type { ActorSystem } from '../../actors/index.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import type { DiskObserver } from '../raft/host.js';

/** Something whose changes are to become durable. */
export interface JournalSource {
  /**
   * Puts what has changed since the last call into the batch.
   * @returns what to do when it is durable
   */
  collect(batch: WriteBatch): () => void;
}

/** Before the frames of the turn leave. */
const ORDER = 100;
/** One batch takes no more sources when it has so many bytes; the rest has the next one. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Gathers at the end of a turn, and while the disk is busy for the next turns: one native write and one sync after the other,
 * whatever the number of actors and events.
 */
export class Journal {
  #changed = new Set<JournalSource>();
  #writing = false;
  #failure: Error | undefined;
  readonly #unhook: () => void;
  #tellBroken: (error: Error) => void = () => {};
  /** Resolves when the disk has refused: nothing is acknowledged any more, and what is not durable will never be. */
  readonly broken = new Promise<Error>((resolve) => {
    this.#tellBroken = resolve;
  });
  #waiting: (() => void)[] = [];
  /** How many were made durable. */
  batches = 0;

  constructor(
    private readonly engine: Engine,
    private readonly system: ActorSystem,
    private readonly disk?: DiskObserver,
  ) {
    this.#unhook = system.onTurnEnd(ORDER, () => this.#write());
  }

  /** Its changes will be written soon. */
  changed(source: JournalSource): void {
    this.#changed.add(source);
    this.system.requestTurn();
  }

  /** Resolves when nothing is left to write, or nothing can be written. @returns whether all is durable */
  async idle(): Promise<boolean> {
    if (!this.#isIdle()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#failure === undefined;
  }

  close(): void {
    this.#unhook();
  }

  #isIdle(): boolean {
    return this.#failure !== undefined || (!this.#writing && this.#changed.size === 0);
  }

  #write(): void {
    if (this.#writing || this.#changed.size === 0 || this.#failure !== undefined) return;
    const batch = this.engine.batch();
    const durable: (() => void)[] = [];
    for (const source of this.#changed) {
      if (batch.bytes >= MAX_BATCH_BYTES) break;
      this.#changed.delete(source);
      durable.push(source.collect(batch));
    }
    this.#writing = true;
    const { clock } = this.system;
    const began = clock.now();
    let written = began;
    this.engine
      .write(batch)
      .then(() => {
        written = clock.now();
        this.disk?.written(written - began, batch.bytes);
        return this.engine.sync();
      })
      .then(() => this.disk?.synced(clock.now() - written))
      .then(
        () => this.#written(durable),
        (error: Error) => this.#refused(error),
      );
  }

  #written(durable: readonly (() => void)[]): void {
    this.#writing = false;
    this.batches++;
    for (const tell of durable) {
      try {
        tell();
      } catch (error) {
        this.system.logger.error({ err: error }, 'what follows a write met an unexpected error');
      }
    }
    if (this.#changed.size > 0) this.system.requestTurn();
    this.#tellIdle();
  }

  #refused(error: Error): void {
    this.#failure = error;
    this.#tellBroken(error);
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (!this.#isIdle()) return;
    for (const tell of this.#waiting.splice(0)) tell();
  }
}

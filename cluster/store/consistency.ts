import type { Engine, KeyRange } from '../../storage/index.js';
import { hashRegion } from '../../storage/index.js';
import type { TaskQueue } from '../tasks.js';

/** What one replica's data amounts to, at one index of its log. */
export interface RegionHash {
  readonly index: number;
  /** `undefined` while it is being computed, and when that failed. */
  readonly hash: Uint8Array | undefined;
  readonly error?: Error;
}

/** This replica's data is not what the majority of its region has at the same index. */
export class InconsistentReplicaError extends Error {
  override readonly name = 'InconsistentReplicaError';
  readonly code = 'inconsistent';

  constructor(region: number, index: number) {
    super(
      `The data of region ${region} at log index ${index} differs from what the other replicas agree on: this store's disk is damaged. Repair the store with "troupe store repair".`,
    );
  }
}

/**
 * A replica's part in consistency checks: the hash of its data as one entry of the log finds it, which is the same on
 * every replica, or a disk (or this program) is at fault.
 */
export class ConsistencyCheck {
  readonly #engine: Engine;
  readonly #tasks: TaskQueue;
  readonly #region: number;
  #latest: RegionHash | undefined;
  #abort: AbortController | undefined;
  #waiting: Waiting[] = [];

  constructor(region: number, engine: Engine, tasks: TaskQueue) {
    this.#region = region;
    this.#engine = engine;
    this.#tasks = tasks;
  }

  get latest(): RegionHash | undefined {
    return this.#latest;
  }

  /** Called where everything before `index` is visible, and nothing behind it. A newer check takes an older one's place. */
  compute(index: number, range: KeyRange): void {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#latest = { index, hash: undefined };
    const view = this.#engine.snapshot();
    this.#tasks
      .run(
        `hash of region ${this.#region}`,
        ({ pause }) => hashRegion(this.#engine, view, range, pause),
        abort.signal,
      )
      .then(
        (hash) => this.#note({ index, hash }),
        (error: unknown) =>
          this.#note({
            index,
            hash: undefined,
            error: error instanceof Error ? error : new Error(String(error)),
          }),
      )
      .finally(() => view.release());
  }

  /**
   * Calls back when the check at `index` has a result, which may be long after: this replica may have to catch up first.
   * At once with `undefined` when it can have none any more. Where too many wait, the oldest goes without.
   */
  whenComputed(index: number, done: (result: RegionHash | undefined) => void): void {
    const latest = this.#latest;
    if (latest !== undefined && latest.index > index) return done(undefined);
    if (latest?.index === index && isComputed(latest)) return done(latest);
    this.#waiting.push({ index, done });
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()?.done(undefined);
  }

  /** @throws InconsistentReplicaError when this replica's hash at `index` is known and is another. */
  verify(index: number, hash: Uint8Array): void {
    const own = this.#latest;
    if (own?.index !== index || own.hash === undefined) return;
    if (Buffer.compare(own.hash, hash) !== 0) throw new InconsistentReplicaError(this.#region, index);
  }

  stop(): void {
    this.#abort?.abort();
    for (const { done } of this.#waiting.splice(0)) done(undefined);
  }

  #note(result: RegionHash): void {
    if (this.#latest?.index !== result.index) return;
    this.#latest = result;
    const over = this.#waiting.filter(({ index }) => index <= result.index);
    this.#waiting = this.#waiting.filter(({ index }) => index > result.index);
    for (const { index, done } of over) done(index === result.index ? result : undefined);
  }
}

interface Waiting {
  readonly index: number;
  readonly done: (result: RegionHash | undefined) => void;
}

/** Callers that may wait for hashes of one region. */
const MAX_WAITING = 64;

function isComputed({ hash, error }: RegionHash): boolean {
  return hash !== undefined || error !== undefined;
}

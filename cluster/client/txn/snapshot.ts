import type { TimerHandle } from '../../../actors/index.js';
import { nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import type { ClientTracing } from '../../tracing/client-tracing.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import { type Bytes, checkedKey, listOf, type RangeOptions, scanBounds } from '../raw.js';
import type { ScanEntry } from '../scan.js';
import { belowSafePointError } from './key-errors.js';
import type { SnapshotReads } from './snapshot-reads.js';

/** Keeps garbage collection from what somebody reads: a service safe point at the scheduler. */
export interface SafePointHolder {
  /**
   * Holds back whatever is older than `timestamp` from being collected, for `ttl` milliseconds from now.
   * @param service who holds it: a later call of the same name takes the place of the one before
   * @returns the oldest timestamp that can still be read: above `timestamp` when that came too late
   */
  hold(service: string, timestamp: bigint, ttl: number, deadline: Deadline): Promise<bigint>;
  release(service: string, deadline: Deadline): Promise<void>;
}

/** What every read of a transaction or a snapshot takes last. */
export interface ReadOptions {
  /** Milliseconds until the read fails; the database's where nothing is said. */
  readonly timeout?: number;
  /** Aborting rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface SnapshotParts {
  readonly reads: SnapshotReads;
  readonly waiting: WaitingParts;
  readonly tracing: ClientTracing;
  /** Milliseconds of a read that says nothing else. */
  readonly timeout: number;
  readonly holder: SafePointHolder;
  /** This snapshot's name at the holder. */
  readonly service: string;
  /** Milliseconds that the safe point outlives this client. */
  readonly ttl: number;
  readonly closed: (snapshot: Snapshot) => void;
}

/**
 * All keys as they were at one timestamp: reads of one snapshot never contradict each other. What they need is kept from garbage
 * collection until `close`, or until the client has been gone for the time to live. All reads reject with a `TroupeError`:
 * `invalid-argument`, `unavailable`, `timeout`, `closed`, and `failed` with the reason `below-safe-point` when the timestamp was
 * collected after all.
 */
export class Snapshot {
  readonly timestamp: bigint;
  readonly #parts: SnapshotParts;
  #renewal: TimerHandle | undefined;
  readonly #stop = new AbortController();
  /** A renewal under way. */
  #renewing: Promise<void> = Promise.resolve();
  #state: 'open' | 'collected' | 'closed' = 'open';

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
    this.timestamp = parts.reads.timestamp;
    this.#renewLater();
  }

  /** The value of `key`, `undefined` when it had none. */
  async get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    this.#check();
    return this.#parts.reads.get(checkedKey(key), this.#deadline(options));
  }

  /** The values of `keys`, in their order. */
  async batchGet(keys: Iterable<Bytes>, options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    this.#check();
    const asked = [...listOf(keys)].map(checkedKey);
    const unique = new Map(asked.map((key) => [nameOfKey(key), key]));
    const found = await this.#parts.reads.batchGet([...unique.values()], this.#deadline(options));
    return asked.map((key) => found.get(nameOfKey(key)));
  }

  /** The pairs of a range in the order of their keys, fetched page by page. `timeout` is that of a page. */
  scan(options: RangeOptions & ReadOptions = {}): AsyncIterableIterator<ScanEntry> {
    this.#check();
    this.#deadline(options);
    return this.#parts.reads.scan(scanBounds(options, ['timeout', 'signal']), () => {
      this.#check();
      return this.#deadline(options);
    });
  }

  /** Lets go of what it read; later reads reject with `closed`. Idempotent. */
  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    const { waiting, timeout, holder, service, closed } = this.#parts;
    if (this.#renewal !== undefined) waiting.clock.clearTimeout(this.#renewal);
    closed(this);
    // One that is sent again by and by would come after the release, and hold it for the whole time to live.
    this.#stop.abort();
    await this.#renewing;
    // A scheduler that is not there will let go by itself.
    await holder.release(service, new Deadline(waiting, timeout)).catch(() => undefined);
  }

  /** `await using view = await db.snapshot()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #renewLater(): void {
    const { waiting, ttl } = this.#parts;
    this.#renewal = waiting.clock.setTimeout(() => {
      this.#renewing = this.#renew();
    }, ttl / 3);
  }

  async #renew(): Promise<void> {
    const { waiting, ttl, holder, service } = this.#parts;
    try {
      const oldest = await holder.hold(
        service,
        this.timestamp,
        ttl,
        new Deadline(waiting, ttl / 3, this.#stop.signal),
      );
      if (this.#state === 'open' && oldest > this.timestamp) this.#state = 'collected';
    } catch {
      // Two more renewals fit into the time to live.
    }
    if (this.#state === 'open') this.#renewLater();
  }

  #deadline(options: ReadOptions | undefined): Deadline {
    const { waiting, timeout, tracing } = this.#parts;
    const deadline = new Deadline(waiting, options?.timeout ?? timeout, options?.signal);
    if (tracing.on) deadline.trace = tracing.ambient();
    return deadline;
  }

  #check(): void {
    if (this.#state === 'closed') throw new TroupeError('closed', 'The snapshot was closed: take another.');
    if (this.#state === 'collected') throw collectedError(this.timestamp);
  }
}

/** What could be read at the timestamp is being removed. */
export function collectedError(timestamp: bigint): TroupeError {
  return belowSafePointError(
    `What could be read at ${timestamp} is garbage by now: take a new snapshot, with a longer ttl where this one was lost to silence.`,
  );
}

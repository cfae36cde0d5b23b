import { context, SpanKind } from '@opentelemetry/api';
import { TroupeError } from '../../errors.js';
import type { ClientTrace } from '../../tracing/client-tracing.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import type { Dispatcher } from '../dispatcher.js';
import { type Bytes, checkedKey } from '../raw.js';
import { BackgroundTasks } from './background.js';
import { Committer } from './committer.js';
import { isWriteConflict } from './key-errors.js';
import { type KeyVersions, keyVersions } from './key-versions.js';
import { LockResolver } from './lock-resolver.js';
import { type Timestamps, takeTimestamp } from './oracle.js';
import { RegionBatches } from './region-batches.js';
import { collectedError, type ReadOptions, type SafePointHolder, Snapshot } from './snapshot.js';
import { SnapshotReads } from './snapshot-reads.js';
import { Transaction } from './transaction.js';
import { TxnRequests } from './txn-requests.js';
import { WriteBuffer } from './write-buffer.js';

/** How a transaction is committed, and how large it may be. */
export interface BeginOptions {
  /**
   * Milliseconds from its beginning to its end; the database's where nothing is said. Where its commit is in doubt then,
   * up to two seconds more are spent on finding out.
   */
  readonly timeout?: number;
  /**
   * Aborting rejects with the signal's reason, and nothing is written; with `undetermined` when what commits it has left.
   */
  readonly signal?: AbortSignal;
  /** Commits in one message where all its keys lie in one region (true). */
  readonly onePc?: boolean;
  /** Is committed as soon as its keys are locked, where they are few (true). */
  readonly asyncCommit?: boolean;
  /** Keys that it writes or locks at most (100,000). */
  readonly maxKeys?: number;
  /** Bytes of its keys and values at most (64 MiB). */
  readonly maxBytes?: number;
}

/** How often and how long a transaction is tried. */
export interface TransactionOptions extends BeginOptions {
  /** How often it is begun anew after a conflict, at most, and within `timeout`, which is that of all tries together (64). */
  readonly retries?: number;
}

/** Of which moment a snapshot is, and how long it is kept for a client that is gone. */
export interface SnapshotOptions extends ReadOptions {
  /** Milliseconds that what it reads is kept when this client has gone (60 s). */
  readonly ttl?: number;
  /** A timestamp of the oracle in the past; where nothing is said, now. */
  readonly at?: bigint;
}

/** Which versions of a key are wanted. */
export interface VersionsOptions extends ReadOptions {
  /** Only versions committed before this timestamp: goes on where an answer with `more` ended. */
  readonly before?: bigint;
}

export interface TransactionsOptions {
  readonly dispatcher: Dispatcher;
  readonly timestamps: Timestamps;
  readonly waiting: WaitingParts;
  /** Milliseconds of what says nothing else. */
  readonly timeout: number;
  readonly maxEntryBytes: number;
  readonly holder: SafePointHolder;
  /** This client's name: its safe points carry it. */
  readonly client: string;
}

const DEFAULT_RETRIES = 64;
const DEFAULT_MAX_KEYS = 100_000;
const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
const DEFAULT_SNAPSHOT_TTL_MS = 60_000;
const MIN_SNAPSHOT_TTL_MS = 1_000;
/** A scheduler holds no safe point for longer without being told again. */
const MAX_SNAPSHOT_TTL_MS = 86_400_000;
/** Open at once at most: each renews its safe point. */
const MAX_SNAPSHOTS = 10_000;
/** Of one prewrite or commit: it is evaluated in one turn of a store, and proposed as one entry. */
const MAX_BATCH_KEYS = 1_024;
const MAX_BATCH_BYTES = 256 * 1024;
/** What an entry holds beside the keys and values of a prewrite: the primary in every lock, an async commit's secondaries. */
const PREWRITE_OVERHEAD_BYTES = 16 * 1024;
/** How long a closing client commits secondaries and removes locks, which others would otherwise have to do. */
const FAREWELL_MS = 1_000;

/** The transactional keys of a cluster. */
export class Transactions {
  readonly #options: TransactionsOptions;
  readonly #requests: TxnRequests;
  readonly #batches: RegionBatches;
  readonly #resolver: LockResolver;
  readonly #background = new BackgroundTasks();
  readonly #snapshots = new Set<Snapshot>();
  #snapshotCount = 0;

  constructor(options: TransactionsOptions) {
    const { dispatcher, timestamps, waiting, maxEntryBytes } = options;
    this.#options = options;
    this.#requests = new TxnRequests({ dispatcher, clock: waiting.clock });
    this.#batches = new RegionBatches(this.#requests, {
      maxKeys: MAX_BATCH_KEYS,
      maxBytes: Math.min(MAX_BATCH_BYTES, (maxEntryBytes - PREWRITE_OVERHEAD_BYTES) / 2),
    });
    this.#resolver = new LockResolver({
      requests: this.#requests,
      batches: this.#batches,
      timestamps,
      background: this.#background,
      waiting,
    });
  }

  /** Begins a transaction, which its caller commits or rolls back. */
  begin(options: BeginOptions = {}): Promise<Transaction> {
    const deadline = this.#deadline(options);
    const { tracing } = this.#options.dispatcher;
    if (!tracing.on) return this.#begin(deadline, options);
    const span = tracing.begin('transaction', { kind: SpanKind.INTERNAL });
    deadline.trace = span;
    const begun = this.#begin(deadline, options, span);
    begun.catch((reason: unknown) => span.fail(reason));
    return begun;
  }

  /**
   * Runs `work` in a transaction and commits it. After a conflict both are done anew, so `work` should do nothing
   * but read and write the transaction. What `work` throws rolls it back, and is thrown.
   */
  async run<T>(
    work: (transaction: Transaction) => T | Promise<T>,
    options: TransactionOptions = {},
  ): Promise<T> {
    const { retries = DEFAULT_RETRIES } = options;
    if (!(Number.isSafeInteger(retries) && retries >= 0))
      throw new TroupeError('invalid-argument', `retries is ${retries}: give a whole number, 0 or more.`);
    const deadline = this.#deadline(options);
    const { tracing } = this.#options.dispatcher;
    if (!tracing.on) return deadline.explaining(() => this.#run(work, options, retries, deadline));
    const span = tracing.begin('transaction', { kind: SpanKind.INTERNAL });
    deadline.trace = span;
    const inside = (transaction: Transaction) => context.with(span.context, work, undefined, transaction);
    const running = deadline.explaining(() => this.#run(inside, options, retries, deadline));
    void span.until(running);
    return running;
  }

  async #run<T>(
    work: (transaction: Transaction) => T | Promise<T>,
    options: TransactionOptions,
    retries: number,
    deadline: Deadline,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const transaction = await this.#begin(deadline, options);
      let value: T;
      try {
        value = await deadline.race((async () => work(transaction))(), "the transaction's work");
      } catch (error) {
        transaction.rollback();
        throw error;
      }
      try {
        if (transaction.isActive) await transaction.commit();
        return value;
      } catch (error) {
        if (!isWriteConflict(error) || attempt > retries) throw error;
        deadline.trace?.event('retry');
        await deadline.pause(attempt);
        if (deadline.passed) throw error;
      }
    }
  }

  /** What is committed now, or at a timestamp of the past, for as long as it is not closed. */
  async snapshot(options: SnapshotOptions = {}): Promise<Snapshot> {
    const { ttl = DEFAULT_SNAPSHOT_TTL_MS, at } = options;
    if (!(ttl >= MIN_SNAPSHOT_TTL_MS && ttl <= MAX_SNAPSHOT_TTL_MS))
      throw new TroupeError(
        'invalid-argument',
        `ttl is ${ttl}: give milliseconds from ${MIN_SNAPSHOT_TTL_MS} to ${MAX_SNAPSHOT_TTL_MS}.`,
      );
    if (at !== undefined && typeof at !== 'bigint')
      throw new TroupeError(
        'invalid-argument',
        `at is a ${typeof at}: give a timestamp as a bigint, for example that of another snapshot.`,
      );
    if (this.#snapshots.size >= MAX_SNAPSHOTS)
      throw new TroupeError(
        'unavailable',
        `A client may hold ${MAX_SNAPSHOTS} snapshots at once: close some of them before you take more.`,
      );
    const { timestamps, waiting, holder, client } = this.#options;
    const deadline = this.#deadline(options);
    const now = await takeTimestamp(timestamps, deadline);
    if (at !== undefined && !(at > 0n && at <= now)) {
      throw new TroupeError(
        'invalid-argument',
        `at is ${at}: give a timestamp of this cluster's past; it is ${now} now.`,
      );
    }
    const timestamp = at ?? now;
    const service = `${client}/snapshot-${++this.#snapshotCount}`;
    const oldest = await holder.hold(service, timestamp, ttl, deadline);
    if (oldest > timestamp) throw collectedError(timestamp);
    const snapshot = new Snapshot({
      reads: this.#reads(timestamp),
      waiting,
      tracing: this.#options.dispatcher.tracing,
      timeout: options.timeout ?? this.#options.timeout,
      holder,
      service,
      ttl,
      closed: (one) => this.#snapshots.delete(one),
    });
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  /** Every version, lock and rollback of `key`, the newest first, as the store has them. */
  async versions(key: Bytes, options: VersionsOptions = {}): Promise<KeyVersions> {
    const { before = 0n } = options;
    if (typeof before !== 'bigint' || before < 0n || before >= 2n ** 64n)
      throw new TroupeError(
        'invalid-argument',
        `before is ${String(before)}: give a timestamp as a bigint, for example that of the oldest version shown.`,
      );
    const { tracing } = this.#options.dispatcher;
    const deadline = this.#deadline(options);
    if (tracing.on) deadline.trace = tracing.ambient();
    const reply = await this.#requests.mvccByKey(checkedKey(key), before, deadline);
    if (reply.error !== '') throw new TroupeError('failed', reply.error);
    return keyVersions(reply);
  }

  /** Lets go of snapshots, and ends what goes on in the background, for a while. */
  async close(): Promise<void> {
    await Promise.all([...this.#snapshots].map((snapshot) => snapshot.close()));
    if (this.#background.size === 0) return;
    const farewell = new Deadline(this.#options.waiting, FAREWELL_MS);
    await farewell.race(this.#background.finished(), 'the end of what is under way').catch(() => undefined);
  }

  /** @param span ends with the transaction */
  async #begin(deadline: Deadline, options: BeginOptions, span?: ClientTrace): Promise<Transaction> {
    const { timestamps, waiting, maxEntryBytes } = this.#options;
    const { onePc = true, asyncCommit = true } = options;
    const { maxKeys = DEFAULT_MAX_KEYS, maxBytes = DEFAULT_MAX_BYTES } = options;
    if (!(maxKeys > 0 && maxBytes > 0))
      throw new TroupeError('invalid-argument', 'maxKeys and maxBytes are numbers above 0.');
    const startTs = await takeTimestamp(timestamps, deadline);
    const reads = this.#reads(startTs);
    const committer = new Committer(
      {
        requests: this.#requests,
        batches: this.#batches,
        resolver: this.#resolver,
        timestamps,
        background: this.#background,
        waiting,
      },
      { startTs, reads, startedAt: waiting.clock.now(), deadline, onePc, asyncCommit, span },
    );
    return new Transaction({
      reads,
      buffer: new WriteBuffer({ maxKeys, maxBytes }),
      committer,
      deadline,
      maxPairBytes: maxEntryBytes - PREWRITE_OVERHEAD_BYTES,
    });
  }

  #reads(timestamp: bigint): SnapshotReads {
    return new SnapshotReads(timestamp, {
      requests: this.#requests,
      batches: this.#batches,
      resolver: this.#resolver,
    });
  }

  #deadline({ timeout = this.#options.timeout, signal }: ReadOptions): Deadline {
    return new Deadline(this.#options.waiting, timeout, signal);
  }
}

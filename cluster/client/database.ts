import type { ActorSystem } from '../../actors/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { ClusterAdmin } from './cluster-admin.js';
import type { Dispatcher } from './dispatcher.js';
import type { Pauses } from './pauses.js';
import type { Bytes, RawSpace } from './raw.js';
import type { TimestampClient } from './timestamps.js';
import type { KeyVersions } from './txn/key-versions.js';
import type { Snapshot } from './txn/snapshot.js';
import type { Transaction } from './txn/transaction.js';
import type {
  BeginOptions,
  SnapshotOptions,
  TransactionOptions,
  Transactions,
  VersionsOptions,
} from './txn/transactions.js';

interface DatabaseParts {
  readonly system: ActorSystem;
  /** Of each space. */
  readonly dispatchers: readonly Dispatcher[];
  /** Single operations on raw keys. */
  readonly raw: RawSpace;
  readonly transactions: Transactions;
  /** Regions, stores, schedulers and the collector, to see and to steer. */
  readonly cluster: ClusterAdmin;
  readonly scheduler: SchedulerClient;
  readonly timestamps: TimestampClient;
  /** The waits of `cluster` and `transactions`. */
  readonly pauses: Pauses;
}

/** A connection to a cluster. Made by `connect`. */
export class Database {
  readonly raw: RawSpace;
  readonly cluster: ClusterAdmin;
  readonly #system: ActorSystem;
  readonly #dispatchers: readonly Dispatcher[];
  readonly #transactions: Transactions;
  readonly #scheduler: SchedulerClient;
  readonly #timestamps: TimestampClient;
  readonly #pauses: Pauses;
  #closing: Promise<void> | undefined;

  constructor(parts: DatabaseParts) {
    const { system, dispatchers, raw, transactions, cluster, scheduler, timestamps, pauses } = parts;
    this.#scheduler = scheduler;
    this.#timestamps = timestamps;
    this.#pauses = pauses;
    this.raw = raw;
    this.cluster = cluster;
    this.#transactions = transactions;
    this.#system = system;
    this.#dispatchers = dispatchers;
  }

  /**
   * Runs `work` in a transaction and commits it: all of its writes happen, or none, and nobody sees some of them.
   *
   * After a conflict it is run anew, so it should do nothing but read and write the transaction. What it throws rolls back,
   * and is thrown.
   * @throws TroupeError `conflict` (reason `write-conflict`, after all retries, or `already-exists`), `undetermined` when
   * nobody could tell in time whether it is committed, `timeout` (reason `key-is-locked` where a lock was in the way), `failed`
   * (reason `below-safe-point` where it took longer than old versions are kept), `unavailable`, `invalid-argument`, `closed`
   */
  transaction<T>(
    work: (transaction: Transaction) => T | Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    return this.#transactions.run(work, options);
  }

  /** Begins a transaction that its caller commits or rolls back. */
  begin(options?: BeginOptions): Promise<Transaction> {
    return this.#transactions.begin(options);
  }

  /** Transactional keys as they are now, for reads that belong together; to be closed. */
  snapshot(options?: SnapshotOptions): Promise<Snapshot> {
    return this.#transactions.snapshot(options);
  }

  /** Every version, lock and rollback of a transactional key that its store has. */
  versions(key: Bytes, options?: VersionsOptions): Promise<KeyVersions> {
    return this.#transactions.versions(key, options);
  }

  /**
   * Rejects what is under way with `closed`, and disconnects. Transactions that are committed get a second for what others
   * would have to do for them. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#transactions.close();
    for (const dispatcher of this.#dispatchers) dispatcher.close();
    this.#timestamps.close();
    this.#scheduler.close();
    this.#pauses.close();
    await this.#system.close();
  }
}

/** What the benches use of a client's transactions. */

import { TroupeError } from '../errors.js';

export interface BenchEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Keys from `start` up to, not including, `end`; at most `limit` of them. */
export interface BenchRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly limit?: number;
}

export interface BenchReads {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  batchGet(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  scan(range: BenchRange): AsyncIterable<BenchEntry>;
}

export interface BenchTransaction extends BenchReads {
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
}

export interface BenchSnapshot extends BenchReads {
  close(): Promise<unknown>;
}

export interface TransactionalTarget {
  /** Runs `work`, anew after a conflict, until its changes are committed. */
  transaction<T>(work: (txn: BenchTransaction) => Promise<T>): Promise<T>;
  snapshot(): Promise<BenchSnapshot>;
}

/** The transactions of a database. @throws TroupeError `failed` when its client has none */
export function transactionsOf(db: object): TransactionalTarget {
  if (!hasTransactions(db)) {
    throw new TroupeError(
      'failed',
      'This client knows no transactions: measure with --mode raw, or update it.',
    );
  }
  return db;
}

function hasTransactions(db: object): db is TransactionalTarget {
  const has = (name: 'transaction' | 'snapshot'): boolean =>
    name in db && typeof Reflect.get(db, name) === 'function';
  return has('transaction') && has('snapshot');
}

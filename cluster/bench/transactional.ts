/** What the benches use of a client's transactions: a `Database` is one, and so is what specs have in memory. */

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

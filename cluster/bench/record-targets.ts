/** Where the records of YCSB's workloads lie: in the raw space, or in the transactional one. */

import type { Database } from '../index.js';
import type { BenchRange, BenchTransaction, TransactionalTarget } from './transactional.js';

export const MODES = ['raw', 'txn'] as const;
export type Mode = (typeof MODES)[number];

/** What a scan came to. */
export interface Scanned {
  readonly first: Uint8Array | undefined;
  readonly count: number;
}

export interface RecordTarget {
  read(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Whether the record is there or not. */
  write(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  scan(range: BenchRange): Promise<Scanned>;
  /** @returns what was there before */
  readModifyWrite(key: Uint8Array, value: Uint8Array): Promise<Uint8Array | undefined>;
  remove(keys: readonly Uint8Array[]): Promise<unknown>;
  /** Attempts so far beyond the first of each transaction. */
  readonly retries: number;
}

/** Each request is one or two calls, and nothing holds them together, as in YCSB's own bindings. */
export function rawRecords({ raw }: Pick<Database, 'raw'>): RecordTarget {
  return {
    read: (key) => raw.get(key),
    write: (key, value) => raw.put(key, value),
    scan: (range) => scanned(raw.scan(range)),
    readModifyWrite: async (key, value) => {
      const before = await raw.get(key);
      await raw.put(key, value);
      return before;
    },
    remove: (keys) => raw.batchDelete(keys),
    retries: 0,
  };
}

/** Each request is a transaction. */
export class TransactionalRecords implements RecordTarget {
  readonly #target: TransactionalTarget;
  #retries = 0;

  constructor(target: TransactionalTarget) {
    this.#target = target;
  }

  get retries(): number {
    return this.#retries;
  }

  read(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#run((txn) => txn.get(key));
  }

  write(key: Uint8Array, value: Uint8Array): Promise<void> {
    return this.#run(async (txn) => txn.put(key, value));
  }

  scan(range: BenchRange): Promise<Scanned> {
    return this.#run((txn) => scanned(txn.scan(range)));
  }

  readModifyWrite(key: Uint8Array, value: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#run(async (txn) => {
      const before = await txn.get(key);
      txn.put(key, value);
      return before;
    });
  }

  remove(keys: readonly Uint8Array[]): Promise<void> {
    return this.#run(async (txn) => {
      for (const key of keys) txn.delete(key);
    });
  }

  #run<T>(work: (txn: BenchTransaction) => Promise<T>): Promise<T> {
    let attempts = 0;
    return this.#target.transaction((txn) => {
      if (attempts++ > 0) this.#retries++;
      return work(txn);
    });
  }
}

async function scanned(entries: AsyncIterable<{ readonly key: Uint8Array }>): Promise<Scanned> {
  let first: Uint8Array | undefined;
  let count = 0;
  for await (const { key } of entries) {
    first ??= key;
    count++;
  }
  return { first, count };
}

/**
 * The load of two keys a transaction: each reads a counter below the middle of the keys and one above it, and writes both,
 * one higher. What the counters come to in the end tells whether an update was lost.
 */

import type { BenchKey } from './driver.js';
import { type LoadResult, type LoadTerms, type PhaseMarks, type Requests, runLoad } from './load-loop.js';
import { seededRandom } from './random.js';
import type { BenchTransaction, TransactionalTarget } from './transactional.js';
import { benchValue } from './workload.js';

/** Keys that are loaded or read in one transaction; etcd takes 128 operations. */
const TOGETHER = 100;
const LOADERS = 8;
const COUNTER_BYTES = 8;

/** A system that reads and writes several keys in one transaction, for which it may need several tries. */
export interface PairTarget {
  read(keys: readonly BenchKey[]): Promise<(Uint8Array | undefined)[]>;
  write(pairs: readonly (readonly [BenchKey, Uint8Array])[]): Promise<unknown>;
  /** Reads the keys and writes what `change` makes of each value; nobody else writes them between. */
  update(keys: readonly BenchKey[], change: (value: Uint8Array | undefined) => Uint8Array): Promise<unknown>;
  /** Tries so far beyond the first of each update. */
  readonly retries: number;
  close(): Promise<unknown>;
}

export interface PairsResult extends Omit<LoadResult<string>, 'kinds'> {
  /** Tries beyond the first of each transaction, between the marks. */
  readonly retries: number;
}

/** Counters under `keys`, of which the first half pairs with the second. */
export class Pairs {
  readonly #target: PairTarget;
  readonly #keys: readonly BenchKey[];
  readonly #valueBytes: number;
  #updated = 0;
  /** Updates that failed: they may have happened. */
  #doubtful = 0;

  /** @param valueBytes at least 8 */
  constructor(target: PairTarget, keys: readonly BenchKey[], valueBytes: number) {
    this.#target = target;
    this.#keys = keys;
    this.#valueBytes = valueBytes;
  }

  /** The index of the first key of the upper half. */
  static middle(keys: number): number {
    return Math.floor(keys / 2);
  }

  /** Writes every counter as 0. */
  load(): Promise<void> {
    return this.#inChunks(async (keys, first) => {
      const zero = (index: number): Uint8Array => withCount(benchValue(index, this.#valueBytes), 0n);
      await this.#target.write(keys.map((key, index) => [key, zero(first + index)] as const));
    });
  }

  /** Runs a phase over the counters, which must have been loaded. */
  async run(terms: LoadTerms, marks: PhaseMarks): Promise<PairsResult> {
    const random = seededRandom(terms.clients);
    const middle = Pairs.middle(this.#keys.length);
    const drawn = (from: number, to: number): BenchKey => {
      const key = this.#keys[from + Math.floor(random() * (to - from))];
      if (key === undefined) throw new Error('two keys at least must have been loaded');
      return key;
    };
    const requests: Requests<'update'> = {
      choose: () => 'update',
      make: async () => {
        const pair = [drawn(0, middle), drawn(middle, this.#keys.length)];
        try {
          await this.#target.update(pair, (value) => this.#oneMore(value));
        } catch (error) {
          this.#doubtful++;
          throw error;
        }
        this.#updated++;
      },
    };
    let [first, last] = [0, 0];
    const { kinds: _, ...result } = await runLoad(terms, requests, {
      began: () => {
        first = this.#target.retries;
        marks.began();
      },
      ended: () => {
        last = this.#target.retries;
        marks.ended();
      },
    });
    return { ...result, retries: last - first };
  }

  /**
   * Adds all counters up, when nothing is under way.
   * @throws Error when an update was lost, happened twice, or wrote one of its keys only
   */
  async check(): Promise<void> {
    const middle = Pairs.middle(this.#keys.length);
    let [lower, upper] = [0n, 0n];
    await this.#inChunks(async (keys, first) => {
      const values = await this.#target.read(keys);
      for (const [index, value] of values.entries()) {
        const count = this.#countOf(value);
        if (first + index < middle) lower += count;
        else upper += count;
      }
    });
    const [least, most] = [BigInt(this.#updated), BigInt(this.#updated + this.#doubtful)];
    if (
      lower < least ||
      upper < least ||
      lower > most ||
      upper > most ||
      (lower !== upper && least === most)
    ) {
      throw new Error(
        `${least} to ${most} transactions wrote two counters each, but their sums are ${lower} and ${upper}: updates were lost or torn`,
      );
    }
  }

  #oneMore(value: Uint8Array | undefined): Uint8Array {
    const count = this.#countOf(value);
    return withCount(value ?? new Uint8Array(this.#valueBytes), count + 1n);
  }

  #countOf(value: Uint8Array | undefined): bigint {
    if (value?.length !== this.#valueBytes) throw new Error('a counter came back wrong');
    return view(value).getBigUint64(0);
  }

  async #inChunks(work: (keys: readonly BenchKey[], first: number) => Promise<void>): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < this.#keys.length) {
        const first = next;
        next += TOGETHER;
        await work(this.#keys.slice(first, first + TOGETHER), first);
      }
    };
    await Promise.all(Array.from({ length: LOADERS }, worker));
  }
}

/** The same in transactions of Troupe's client. */
export class TransactionalPairs implements PairTarget {
  readonly #target: TransactionalTarget;
  readonly #close: () => Promise<unknown>;
  #retries = 0;

  constructor(target: TransactionalTarget, close: () => Promise<unknown>) {
    this.#target = target;
    this.#close = close;
  }

  get retries(): number {
    return this.#retries;
  }

  read(keys: readonly BenchKey[]): Promise<(Uint8Array | undefined)[]> {
    return this.#target.transaction((txn) => valuesOf(txn, keys));
  }

  write(pairs: readonly (readonly [BenchKey, Uint8Array])[]): Promise<void> {
    return this.#target.transaction(async (txn) => {
      for (const [key, value] of pairs) txn.put(key.bytes, value);
    });
  }

  update(keys: readonly BenchKey[], change: (value: Uint8Array | undefined) => Uint8Array): Promise<void> {
    let tries = 0;
    return this.#target.transaction(async (txn) => {
      if (tries++ > 0) this.#retries++;
      const values = await valuesOf(txn, keys);
      for (const [index, key] of keys.entries()) txn.put(key.bytes, change(values[index]));
    });
  }

  close(): Promise<unknown> {
    return this.#close();
  }
}

function valuesOf(txn: BenchTransaction, keys: readonly BenchKey[]): Promise<(Uint8Array | undefined)[]> {
  return txn.batchGet(keys.map(({ bytes }) => bytes));
}

function withCount(value: Uint8Array, count: bigint): Uint8Array {
  const counted = value.slice();
  view(counted).setBigUint64(0, count);
  return counted;
}

function view(value: Uint8Array): DataView {
  return new DataView(value.buffer, value.byteOffset, COUNTER_BYTES);
}

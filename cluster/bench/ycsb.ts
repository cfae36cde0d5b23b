/**
 * The core workloads of YCSB, A to F (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", SoCC 2010, and the
 * files `workloads/workload[a-f]` of its distribution). A record is one value here, not ten fields: an update writes it whole.
 */

import { hashText } from './fnv.js';
import { type LoadResult, type LoadTerms, NO_MARKS, type Requests, runLoad } from './load-loop.js';
import { seededRandom } from './random.js';
import { type Distribution, type RecordChooser, RecordNumbers, recordChooser } from './record-choosers.js';
import type { RecordTarget } from './record-targets.js';
import { benchValue } from './workload.js';

export const YCSB_OPERATIONS = ['read', 'update', 'insert', 'scan', 'read-modify-write'] as const;
export type YcsbOperation = (typeof YCSB_OPERATIONS)[number];

interface Mix {
  /** Shares of the requests; together 1. */
  readonly shares: Readonly<Partial<Record<YcsbOperation, number>>>;
  readonly distribution: Distribution;
}

export const WORKLOADS = ['A', 'B', 'C', 'D', 'E', 'F'] as const;
export type Workload = (typeof WORKLOADS)[number];

export const MIXES: Readonly<Record<Workload, Mix>> = {
  A: { shares: { read: 0.5, update: 0.5 }, distribution: 'zipfian' },
  B: { shares: { read: 0.95, update: 0.05 }, distribution: 'zipfian' },
  C: { shares: { read: 1 }, distribution: 'zipfian' },
  D: { shares: { read: 0.95, insert: 0.05 }, distribution: 'latest' },
  E: { shares: { scan: 0.95, insert: 0.05 }, distribution: 'zipfian' },
  F: { shares: { read: 0.5, 'read-modify-write': 0.5 }, distribution: 'zipfian' },
};

/** Ten fields of a hundred bytes. */
export const RECORD_BYTES = 1000;
/** A scan takes from one to so many records, each length as often as any other. */
const SCAN_RECORDS = 100;
const VALUES = 64;
const LOADERS = 64;
const LOAD_SECONDS = 86_400;
const REMOVERS = 8;
const REMOVED_TOGETHER = 256;

/** The records of a run, that grow by inserts from one workload to the next. */
export class YcsbRecords {
  readonly valueBytes: number;
  readonly #prefix: string;
  readonly #numbers = new RecordNumbers(0);
  readonly #keys: Uint8Array[] = [];
  /** Of inserts that failed: fewer than there are clients. */
  readonly #unwritten: number[] = [];
  readonly #values: readonly Uint8Array[];
  #value = 0;

  /** @param prefix of every key; hashes follow, so that records do not lie in the order in which they come */
  constructor(prefix: string, valueBytes: number) {
    this.#prefix = prefix;
    this.valueBytes = valueBytes;
    this.#values = Array.from({ length: VALUES }, (_, index) => benchValue(index, valueBytes));
  }

  /** Records 0 up to, not including, this are there. */
  get present(): number {
    return this.#numbers.present;
  }

  key(record: number): Uint8Array {
    let key = this.#keys[record];
    if (key === undefined) {
      key = new TextEncoder().encode(`${this.#prefix}user${hashText(record)}`);
      this.#keys[record] = key;
    }
    return key;
  }

  /** Behind every key. */
  get end(): Uint8Array {
    return new TextEncoder().encode(`${this.#prefix}v`);
  }

  value(): Uint8Array {
    return this.#values[this.#value++ % VALUES] ?? new Uint8Array(this.valueBytes);
  }

  /** Writes a new record; when that fails, the next insert writes it. */
  async insert(target: RecordTarget): Promise<void> {
    const record = this.#unwritten.pop() ?? this.#numbers.take();
    try {
      await target.write(this.key(record), this.value());
    } catch (error) {
      this.#unwritten.push(record);
      throw error;
    }
    this.#numbers.acknowledge(record);
  }

  /** Removes every record, and what a failed insert may have left. */
  async removeFrom(target: RecordTarget): Promise<void> {
    let next = 0;
    const remover = async (): Promise<void> => {
      while (next < this.#keys.length) {
        const from = next;
        next += REMOVED_TOGETHER;
        await target.remove(this.#keys.slice(from, from + REMOVED_TOGETHER));
      }
    };
    await Promise.all(Array.from({ length: REMOVERS }, remover));
  }
}

/** The load phase: inserts the first `count` records. Rejects with what the first insert that fails rejects with. */
export async function loadRecords(
  target: RecordTarget,
  records: YcsbRecords,
  count: number,
): Promise<LoadResult<YcsbOperation>> {
  const failures: unknown[] = [];
  const load: Requests<YcsbOperation> = {
    choose: () => 'insert',
    make: async () => {
      if (failures.length === 0) await records.insert(target).catch((error) => failures.push(error));
    },
  };
  const clients = Math.min(LOADERS, count);
  const terms = { clients, warmupSeconds: 0, seconds: LOAD_SECONDS, limit: count };
  const result = await runLoad(terms, load, NO_MARKS);
  if (failures.length > 0) throw failures[0];
  return result;
}

export interface YcsbRun extends LoadTerms {
  readonly workload: Workload;
  /** Instead of the workload's own. */
  readonly distribution?: Distribution;
  readonly seed: number;
}

export interface YcsbResult extends LoadResult<YcsbOperation> {
  /** Attempts beyond the first of each transaction, in the warm-up too. */
  readonly retries: number;
}

/** The run phase of one workload, over records that have been loaded. */
export async function runWorkload(
  target: RecordTarget,
  records: YcsbRecords,
  run: YcsbRun,
): Promise<YcsbResult> {
  const before = target.retries;
  const result = await runLoad(run, new YcsbRequests(target, records, run), NO_MARKS);
  return { ...result, retries: target.retries - before };
}

class YcsbRequests implements Requests<YcsbOperation> {
  readonly #target: RecordTarget;
  readonly #records: YcsbRecords;
  readonly #random: () => number;
  readonly #shares: readonly (readonly [YcsbOperation, number])[];
  readonly #record: RecordChooser;

  constructor(
    target: RecordTarget,
    records: YcsbRecords,
    { workload, distribution = MIXES[workload].distribution, seed, limit }: YcsbRun,
  ) {
    const { shares } = MIXES[workload];
    this.#target = target;
    this.#records = records;
    this.#random = seededRandom(seed);
    this.#shares = YCSB_OPERATIONS.flatMap((operation) => {
      const share = shares[operation];
      return share === undefined ? [] : [[operation, share] as const];
    });
    // As YCSB does: room for twice the records that the inserts are expected to bring, or for as many as there are.
    const inserts = shares.insert ?? 0;
    const coming = inserts === 0 ? 0 : limit === undefined ? records.present : Math.ceil(limit * inserts * 2);
    this.#record = recordChooser(distribution, this.#random, records.present + coming, () => records.present);
  }

  choose(): YcsbOperation {
    let left = this.#random();
    let chosen: YcsbOperation = 'read';
    for (const [operation, share] of this.#shares) {
      chosen = operation;
      left -= share;
      if (left < 0) break;
    }
    return chosen;
  }

  async make(operation: YcsbOperation): Promise<void> {
    const [target, records] = [this.#target, this.#records];
    if (operation === 'insert') return records.insert(target);
    const key = records.key(this.#record());
    switch (operation) {
      case 'read':
        return this.#check(key, await target.read(key));
      case 'update':
        await target.write(key, records.value());
        return;
      case 'read-modify-write':
        return this.#check(key, await target.readModifyWrite(key, records.value()));
      case 'scan': {
        const limit = 1 + Math.floor(this.#random() * SCAN_RECORDS);
        const { first, count } = await target.scan({ start: key, end: records.end, limit });
        if (first === undefined || Buffer.compare(first, key) !== 0 || count > limit) {
          throw new Error(`a scan from ${Buffer.from(key)} came back wrong`);
        }
      }
    }
  }

  #check(key: Uint8Array, value: Uint8Array | undefined): void {
    if (value?.length !== this.#records.valueBytes) throw new Error(`${Buffer.from(key)} came back wrong`);
  }
}

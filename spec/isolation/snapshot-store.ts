import type { Random } from '../../actors/index.js';

/**
 * Ways to be wrong, each of which the checker must notice.
 *
 * - `skipsConflictCheck`: a transaction commits over what another committed since it began
 * - `ignoresLocks`: a read goes past the lock of a transaction that may have committed
 * - `oldSnapshot`: a transaction begins with a timestamp of some time ago
 * - `mixedSnapshot`: a read takes another timestamp than its transaction's
 * - `losesWrite`: of a transaction that was acknowledged, a key is not written
 * - `dirtyRead`: a read sees what is still locked
 * - `keepsAborted`: a transaction that is rolled back leaves a key written
 */
export type Fault =
  | 'skipsConflictCheck'
  | 'ignoresLocks'
  | 'oldSnapshot'
  | 'mixedSnapshot'
  | 'losesWrite'
  | 'dirtyRead'
  | 'keepsAborted';

/** Of each fault the share of the occasions on which it is made. */
export type Faults = Partial<Readonly<Record<Fault, number>>>;

/** A transaction of the store. */
export interface StoreTransaction<Value> {
  /** Names it, and is the timestamp of its snapshot when all is well. */
  readonly startTs: number;
  readonly snapshotTs: number;
  /** `undefined` deletes. */
  readonly writes: Map<string, Value | undefined>;
}

/** Timestamps by which a fault is wrong, at most. */
const LONGEST_BACK = 40;

interface Version<Value> {
  readonly commitTs: number;
  readonly value: Value | undefined;
}

interface Lock<Value> {
  readonly startTs: number;
  readonly value: Value | undefined;
  /** The latest snapshot whose read went past it. */
  ignoredBy: number;
}

interface VersionedKey<Value> {
  /** Ascending. */
  readonly versions: Version<Value>[];
  lock: Lock<Value> | undefined;
}

/**
 * Versions of keys in memory under snapshot isolation, in the steps of Percolator: lock all that is written, take a
 * timestamp, write key by key. Nothing waits here; callers come again.
 */
export class SnapshotStore<Value> {
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #records = new Map<string, VersionedKey<Value>>();
  #ts = 0;
  /** How often a fault has made a difference: to the answer of a read, or to what became of a key. */
  faulted = 0;

  constructor(random: Random, faults: Faults = {}) {
    this.#random = random;
    this.#faults = faults;
  }

  begin(): StoreTransaction<Value> {
    const startTs = ++this.#ts;
    if (!this.#strikes('oldSnapshot')) return { startTs, snapshotTs: startTs, writes: new Map() };
    this.faulted++;
    return { startTs, snapshotTs: this.#earlier(startTs), writes: new Map() };
  }

  /** @returns `locked` when it cannot be told yet */
  read(transaction: StoreTransaction<Value>, key: string): { readonly value: Value | undefined } | 'locked' {
    if (transaction.writes.has(key)) return { value: transaction.writes.get(key) };
    const record = this.#records.get(key);
    const { snapshotTs } = transaction;
    if (record === undefined) return { value: undefined };
    const { lock } = record;
    if (lock !== undefined && lock.startTs <= snapshotTs) {
      if (this.#strikes('dirtyRead')) {
        this.faulted++;
        return { value: lock.value };
      }
      if (!this.#strikes('ignoresLocks')) return 'locked';
      lock.ignoredBy = Math.max(lock.ignoredBy, snapshotTs);
    }
    const right = versionAt(record, snapshotTs);
    if (!this.#strikes('mixedSnapshot')) return { value: right?.value };
    const other = versionAt(record, this.#earlier(snapshotTs));
    if (other !== right) this.faulted++;
    return { value: other?.value };
  }

  /** Every key with this prefix that was ever written, whatever is there now. */
  keysWith(prefix: string): string[] {
    return [...this.#records.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  /** Locks a key. @returns whether it did: otherwise the transaction has to be rolled back */
  prewrite(transaction: StoreTransaction<Value>, key: string): boolean {
    let record = this.#records.get(key);
    if (record === undefined) {
      record = { versions: [], lock: undefined };
      this.#records.set(key, record);
    }
    if (record.lock !== undefined) return false;
    // Against its own name: an old snapshot is a fault of reads, and is not to be found out here.
    const newest = record.versions.at(-1)?.commitTs ?? 0;
    if (newest > transaction.startTs) {
      if (!this.#strikes('skipsConflictCheck')) return false;
      this.faulted++;
    }
    record.lock = { startTs: transaction.startTs, value: transaction.writes.get(key), ignoredBy: 0 };
    return true;
  }

  /** From here on the transaction can commit at this timestamp. */
  timestamp(): number {
    return ++this.#ts;
  }

  commit({ startTs }: StoreTransaction<Value>, key: string, commitTs: number): void {
    const record = this.#records.get(key);
    if (record?.lock?.startTs !== startTs) throw new Error(`${key} is not locked by ${startTs}`);
    if (record.lock.ignoredBy >= commitTs) this.faulted++;
    if (this.#strikes('losesWrite')) this.faulted++;
    else record.versions.push({ commitTs, value: record.lock.value });
    record.lock = undefined;
  }

  rollback({ startTs }: StoreTransaction<Value>, key: string): void {
    const record = this.#records.get(key);
    if (record?.lock?.startTs !== startTs) return;
    if (this.#strikes('keepsAborted')) {
      this.faulted++;
      record.versions.push({ commitTs: ++this.#ts, value: record.lock.value });
    }
    record.lock = undefined;
  }

  #earlier(ts: number): number {
    return Math.max(0, ts - 1 - Math.floor(this.#random() * LONGEST_BACK));
  }

  #strikes(fault: Fault): boolean {
    const share = this.#faults[fault];
    return share !== undefined && this.#random() < share;
  }
}

function versionAt<Value>({ versions }: VersionedKey<Value>, ts: number): Version<Value> | undefined {
  return versions.findLast(({ commitTs }) => commitTs <= ts);
}

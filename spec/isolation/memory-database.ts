import type { Clock, Random } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import type { Reads, Snapshot, Transaction, TransactionalDatabase } from './database.js';
import { type Faults, SnapshotStore, type StoreTransaction } from './snapshot-store.js';

/**
 * Ways to be wrong beside those of the store, as shares of calls.
 *
 * - `deniesCommit`: what is committed is called a conflict
 * - `hangs`: a call never ends
 * - `strange`: a call ends with an error that is not documented
 */
export interface DatabaseFaults extends Faults {
  readonly deniesCommit?: number;
  readonly hangs?: number;
  readonly strange?: number;
}

const LONGEST_DELAY_MS = 4;
/** Share of transactions that end without an answer, and of those that are refused. */
const HONEST_TROUBLE = 0.03;
const ATTEMPTS = 8;

/** A database in memory with strong snapshot isolation: it takes its time, fails now and then, and says so honestly. */
export class MemoryDatabase implements TransactionalDatabase {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #faults: DatabaseFaults;
  readonly #store: SnapshotStore<string>;

  constructor(clock: Clock, random: Random, faults: DatabaseFaults = {}) {
    this.#clock = clock;
    this.#random = random;
    this.#faults = faults;
    this.#store = new SnapshotStore(random, faults);
  }

  async transaction<T>(fn: (transaction: Transaction) => Promise<T>): Promise<T> {
    await this.#delay();
    if (this.#chance(this.#faults.hangs)) await new Promise(() => {});
    if (this.#chance(this.#faults.strange)) throw new TypeError('what was that?');
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const transaction = this.#store.begin();
      const result = await fn({
        ...this.#readsOf(transaction),
        put: (key, value) => void transaction.writes.set(key, value),
        delete: (key) => void transaction.writes.set(key, undefined),
      });
      if (transaction.writes.size === 0) return result;
      if (this.#chance(HONEST_TROUBLE)) throw new TroupeError('unavailable', 'nobody was there to commit');
      if (this.#chance(HONEST_TROUBLE)) {
        void this.#commit(transaction);
        throw new TroupeError('undetermined', 'no answer');
      }
      if (await this.#commit(transaction)) {
        if (this.#chance(this.#faults.deniesCommit)) break;
        return result;
      }
      await this.#delay();
    }
    throw new TroupeError('conflict', 'others were faster');
  }

  async snapshot(): Promise<Snapshot> {
    await this.#delay();
    return { ...this.#readsOf(this.#store.begin()), close: () => Promise.resolve() };
  }

  #readsOf(transaction: StoreTransaction<string>): Reads {
    const get = async (key: string): Promise<Uint8Array | undefined> => {
      let answer: ReturnType<SnapshotStore<string>['read']> = 'locked';
      while (answer === 'locked') {
        await this.#delay();
        answer = this.#store.read(transaction, key);
      }
      return answer.value === undefined ? undefined : Buffer.from(answer.value);
    };
    const scan = async function* (
      this: MemoryDatabase,
      prefix: string,
    ): AsyncGenerator<{ key: Uint8Array; value: Uint8Array }> {
      const keys = new Set([...this.#store.keysWith(prefix), ...transaction.writes.keys()]);
      for (const key of [...keys].sort()) {
        const value = key.startsWith(prefix) ? await get(key) : undefined;
        if (value !== undefined) yield { key: Buffer.from(key), value };
      }
    };
    return { get, scan: ({ prefix }) => scan.call(this, prefix) };
  }

  /** Two phases. @returns whether it is committed: otherwise it is rolled back */
  async #commit(transaction: StoreTransaction<string>): Promise<boolean> {
    const keys = [...transaction.writes.keys()];
    let locked = true;
    for (const key of keys) {
      await this.#delay();
      locked &&= this.#store.prewrite(transaction, key);
    }
    await this.#delay();
    if (!locked) {
      for (const key of keys) this.#store.rollback(transaction, key);
      return false;
    }
    const commitTs = this.#store.timestamp();
    await this.#delay();
    const [primary, ...secondaries] = keys;
    if (primary !== undefined) this.#store.commit(transaction, primary, commitTs);
    void this.#commitLater(transaction, secondaries, commitTs);
    return true;
  }

  async #commitLater(
    transaction: StoreTransaction<string>,
    keys: readonly string[],
    commitTs: number,
  ): Promise<void> {
    for (const key of keys) {
      await this.#delay();
      this.#store.commit(transaction, key, commitTs);
    }
  }

  #chance(share = 0): boolean {
    return this.#random() < share;
  }

  #delay(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, LONGEST_DELAY_MS * this.#random());
    });
  }
}

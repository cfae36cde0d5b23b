import type {
  BenchEntry,
  BenchRange,
  BenchReads,
  BenchSnapshot,
  BenchTransaction,
  TransactionalTarget,
} from '../../cluster/bench/transactional.js';

interface Version {
  readonly at: number;
  /** `undefined` is a deletion. */
  readonly value: Uint8Array | undefined;
}

const ATTEMPTS = 1_000;

/** Snapshot isolation in memory, optimistic: the first to commit a key wins, the others begin anew. */
export class MemoryTransactions implements TransactionalTarget {
  readonly #versions = new Map<string, Version[]>();
  /** Its keys, as long as there are no more. */
  #sorted: string[] = [];
  #clock = 0;
  commits = 0;
  conflicts = 0;
  /** Snapshots that nobody has closed. */
  open = 0;

  async transaction<T>(work: (txn: BenchTransaction) => Promise<T>): Promise<T> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const began = this.#clock;
      const written = new Map<string, Uint8Array | undefined>();
      const reads = this.#readsAt(began);
      const result = await work({
        ...reads,
        put: (key, value) => written.set(name(key), value),
        delete: (key) => written.set(name(key), undefined),
      });
      await turn();
      if ([...written.keys()].some((key) => (this.#versions.get(key)?.at(-1)?.at ?? 0) > began)) {
        this.conflicts++;
        continue;
      }
      const at = ++this.#clock;
      for (const [key, value] of written) {
        const versions = this.#versions.get(key) ?? [];
        versions.push({ at, value });
        this.#versions.set(key, versions);
      }
      this.commits++;
      return result;
    }
    throw new Error('too many conflicts');
  }

  async snapshot(): Promise<BenchSnapshot> {
    this.open++;
    return {
      ...this.#readsAt(this.#clock),
      close: async () => {
        this.open--;
      },
    };
  }

  /** Keys that have a value now. */
  get size(): number {
    return [...this.#versions.values()].filter((versions) => versions.at(-1)?.value !== undefined).length;
  }

  #readsAt(at: number): BenchReads {
    const seen = (versions: readonly Version[] | undefined): Uint8Array | undefined =>
      versions?.findLast((version) => version.at <= at)?.value;
    const all = this.#versions;
    const sorted = (start: string, end: string): string[] => {
      if (this.#sorted.length !== all.size) this.#sorted = [...all.keys()].sort();
      const keys = this.#sorted;
      return keys.slice(firstFrom(keys, start), firstFrom(keys, end));
    };
    return {
      get: async (key) => {
        await turn();
        return seen(all.get(name(key)));
      },
      batchGet: async (keys) => {
        await turn();
        return keys.map((key) => seen(all.get(name(key))));
      },
      async *scan({ start, end, limit = Number.POSITIVE_INFINITY }: BenchRange): AsyncGenerator<BenchEntry> {
        await turn();
        let left = limit;
        for (const key of sorted(name(start), name(end))) {
          const value = seen(all.get(key));
          if (value === undefined) continue;
          if (left-- <= 0) return;
          yield { key: Buffer.from(key, 'latin1'), value };
        }
      },
    };
  }
}

/** Sorts as the bytes do. */
function name(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The place of the first of the sorted keys that is not below `key`. */
function firstFrom(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

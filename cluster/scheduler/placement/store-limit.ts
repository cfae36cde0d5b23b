/** What a region costs of a store's limit, in thousandths of a peer: a small one is made quickly (PD's store limit). */
const LARGE_COST = 1_000;
const SMALL_COST = 200;
const SMALL_REGION = 20 * 1024 * 1024;
/** How long an idle store saves its tokens, in seconds. */
const SAVED_SECONDS = 10;
const SECONDS_A_MINUTE = 60;

interface Bucket {
  tokens: number;
  filledAt: number;
}

/** How many peers may be added to, and removed from, each store in a minute: a token bucket for each. */
export class StoreLimits {
  readonly #limitOf: (storeId: number) => number;
  readonly #added = new Map<number, Bucket>();
  readonly #removed = new Map<number, Bucket>();

  /** @param limitOf peers a minute */
  constructor(limitOf: (storeId: number) => number) {
    this.#limitOf = limitOf;
  }

  /** @param change peers: positive for added ones @param size bytes of the region @param now milliseconds */
  allows(storeId: number, change: number, size: number, now: number): boolean {
    const cost = costOf(change, size);
    return cost === 0 || this.#bucket(storeId, change, now).tokens >= cost;
  }

  take(storeId: number, change: number, size: number, now: number): void {
    const cost = costOf(change, size);
    if (cost > 0) this.#bucket(storeId, change, now).tokens -= cost;
  }

  clear(): void {
    this.#added.clear();
    this.#removed.clear();
  }

  #bucket(storeId: number, change: number, now: number): Bucket {
    const buckets = change > 0 ? this.#added : this.#removed;
    const rate = (this.#limitOf(storeId) * LARGE_COST) / SECONDS_A_MINUTE;
    const most = rate === 0 ? 0 : Math.max(LARGE_COST, rate * SAVED_SECONDS);
    let bucket = buckets.get(storeId);
    if (bucket === undefined) {
      bucket = { tokens: most, filledAt: now };
      buckets.set(storeId, bucket);
    }
    bucket.tokens = Math.min(most, bucket.tokens + ((now - bucket.filledAt) / 1_000) * rate);
    bucket.filledAt = now;
    return bucket;
  }
}

function costOf(change: number, size: number): number {
  if (change === 0) return 0;
  return Math.abs(change) * (size < SMALL_REGION ? SMALL_COST : LARGE_COST);
}

/**
 * Latencies in log-linear buckets, as HdrHistogram keeps them: 64 buckets to each doubling, so any percentile is within
 * 1.6 % of the truth, whatever the range, and recording allocates nothing.
 */

const SUB_BITS = 6;
const SUB_BUCKETS = 1 << SUB_BITS;
/** Up to 2^37 µs, about 38 hours. */
const DOUBLINGS = 32;

export class Histogram {
  readonly #counts = new Float64Array((DOUBLINGS + 1) * SUB_BUCKETS);
  #count = 0;
  #sum = 0;
  #max = 0;

  /** @param micros microseconds; fractions and negatives are rounded to the nearest whole from 0 up */
  record(micros: number): void {
    const value = Math.max(0, Math.round(micros));
    const bucket = bucketOf(value);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count++;
    this.#sum += value;
    if (value > this.#max) this.#max = value;
  }

  get count(): number {
    return this.#count;
  }

  /** Microseconds; 0 when nothing was recorded. */
  get max(): number {
    return this.#max;
  }

  /** Microseconds; 0 when nothing was recorded. */
  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /**
   * The latency in microseconds that a share of all records did not exceed (upper edge of its bucket).
   * @param percent 0 to 100
   */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil((percent / 100) * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket] ?? 0;
      if (seen >= wanted) return Math.min(upperEdge(bucket), this.#max);
    }
    return this.#max;
  }
}

function bucketOf(value: number): number {
  if (value < SUB_BUCKETS) return value;
  const doubling = Math.min(Math.floor(Math.log2(value)) - SUB_BITS + 1, DOUBLINGS);
  // Above the first linear range each doubling is cut into its upper half of sub-buckets, twice as fine.
  const within = Math.floor(value / 2 ** (doubling - 1)) - SUB_BUCKETS;
  return doubling * SUB_BUCKETS + Math.min(within, SUB_BUCKETS - 1);
}

function upperEdge(bucket: number): number {
  if (bucket < SUB_BUCKETS) return bucket;
  const doubling = Math.floor(bucket / SUB_BUCKETS);
  return ((bucket % SUB_BUCKETS) + SUB_BUCKETS + 1) * 2 ** (doubling - 1) - 1;
}

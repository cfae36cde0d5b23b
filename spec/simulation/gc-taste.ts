import type { Random } from '../../actors/index.js';
import type { SafePointRecord } from '../../cluster/scheduler/safe-point-record.js';

/** How a seed collects old versions; all in milliseconds. */
export interface GcTaste {
  readonly gcLifeTime: number;
  readonly gcInterval: number;
  /** How long a store trusts what it was told. */
  readonly safePointLease: number;
  /** How long the collector waits for one that says nothing. */
  readonly safePointWait: number;
}

/** Share of seeds in which old versions live for seconds; in the others nothing is collected. */
const COLLECTING = 0.7;
/** As by default: clocks that differ by a tenth are no danger. */
const WAIT_PER_LEASE = 1.25;

/** @param always whatever the seed likes */
export function gcTasteOf(random: Random, always: boolean): GcTaste | undefined {
  const [share, life, interval, lease] = [random(), random(), random(), random()];
  if (share >= COLLECTING && !always) return undefined;
  const safePointLease = 1_500 + 4_000 * lease;
  return {
    gcLifeTime: Math.floor(500 + 5_000 * life * life),
    gcInterval: 200 + 3_000 * interval,
    safePointLease,
    safePointWait: WAIT_PER_LEASE * safePointLease,
  };
}

/** The highest safe points that the scheduler has ever had, whatever became of it since. */
export class SafePointsSeen {
  transaction = 0n;
  gc = 0n;
  /** How often the GC safe point was raised. */
  raises = 0;
  #record: SafePointRecord | undefined;

  /** A scheduler has started. */
  follow(record: SafePointRecord): void {
    this.#record = record;
    const advance = record.advance.bind(record);
    const look = (): void => {
      if (record.transaction > this.transaction) this.transaction = record.transaction;
      if (record.gc <= this.gc) return;
      this.gc = record.gc;
      this.raises++;
    };
    record.advance = (points, batch) => {
      advance(points, batch);
      look();
    };
    look();
  }

  /** Whether somebody keeps the safe points below a timestamp: perhaps somebody who is dead, or was not heard when he let go. */
  areHeldBelow(timestamp: bigint): boolean {
    return [...(this.#record?.services ?? [])].some(({ safePoint }) => safePoint < timestamp);
  }
}

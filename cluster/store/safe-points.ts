import type { Clock } from '../../actors/index.js';
import type { Timestamp } from '../../storage/index.js';
import { SAFE_POINT_LEASE_MS } from '../safe-point-lease.js';

/** What a heartbeat's reply says of them. */
export interface ToldSafePoints {
  readonly transaction: Timestamp;
  readonly gc: Timestamp;
}

/**
 * The safe points as this store heeds them: learned from replies to its heartbeats, kept in memory. They are not written down,
 * because what was written would be as old as the last run: a store that has just started knows none, trusts nothing, and
 * serves no snapshot before its first heartbeat is answered; see `SAFE_POINT_LEASE_MS` for why it is the same with one that
 * is cut off.
 */
export class StoreSafePoints {
  readonly #clock: Clock;
  readonly #lease: number;
  #transaction: Timestamp = 0n;
  #gc: Timestamp = 0n;
  #trustedUntil = Number.NEGATIVE_INFINITY;

  /** @param lease milliseconds for which an answer is trusted */
  constructor(clock: Clock, lease = SAFE_POINT_LEASE_MS) {
    this.#clock = clock;
    this.#lease = lease;
  }

  /** Reads below it are refused, and prewrites of transactions that began at or below it. */
  get transaction(): Timestamp {
    return this.#transaction;
  }

  /** What no read at or above it sees may be removed. */
  get gc(): Timestamp {
    return this.#gc;
  }

  /** Whether nothing that this store holds can have been removed by others above `transaction`. */
  get trusted(): boolean {
    return this.#clock.now() < this.#trustedUntil;
  }

  /**
   * Takes in a reply.
   * @param askedAt when the heartbeat was sent at the earliest
   * @returns whether the GC safe point has grown
   */
  heard({ transaction, gc }: ToldSafePoints, askedAt: number): boolean {
    const grown = gc > this.#gc;
    if (grown) this.#gc = gc;
    if (transaction > this.#transaction) this.#transaction = transaction;
    this.#trustedUntil = Math.max(this.#trustedUntil, askedAt + this.#lease);
    return grown;
  }
}

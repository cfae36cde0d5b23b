/** A leader's lease ends well before the earliest moment at which its followers may vote again: their ticks may be late. */
const LEASE_SHARE = 0.8;

/**
 * The time in which a leader may serve reads without asking: no quorum can have elected another yet (Raft thesis 6.4.1).
 *
 * A confirmed round shows that a quorum has heard from this leader after the round was *sent*; each of them votes for
 * nobody for one base election timeout from then on. Counted from when the answers came, the lease would outlive that.
 */
export class LeaderLease {
  /** Milliseconds. */
  readonly duration: number;
  #term = 0;
  #until = Number.NEGATIVE_INFINITY;
  /** Leadership was offered to somebody in this term: a delayed word of it may still unseat this leader at any time. */
  #givenUpIn = 0;

  /** @param electionTimeout milliseconds of the base election timeout */
  constructor(electionTimeout: number) {
    this.duration = LEASE_SHARE * electionTimeout;
  }

  /** A quorum answered a round of heartbeats that went out at `sentAt`. */
  confirm(term: number, sentAt: number): void {
    this.#term = term;
    this.#until = Math.max(this.#until, sentAt + this.duration);
  }

  /** No lease in the rest of this term. */
  giveUp(term: number): void {
    this.#givenUpIn = term;
  }

  /** Leadership ended. */
  end(): void {
    this.#until = Number.NEGATIVE_INFINITY;
  }

  holds(term: number, now: number): boolean {
    return this.#term === term && this.#givenUpIn !== term && now < this.#until;
  }
}

/** Why a message reached nobody. */
export type DeadLetterReason =
  | 'no-such-actor'
  | 'mailbox-full'
  | 'stopped'
  /** The bytes are not what they should be: a frame, or a body that its codec refused. */
  | 'malformed'
  | 'unknown-kind'
  /** A kind, or a stop, on a lane where it may not travel. */
  | 'lane'
  /** From, or for, an incarnation that is gone. */
  | 'stale'
  | 'too-large'
  /** The codec could not encode the event. */
  | 'not-encodable'
  /** There is no way to the node at this moment. */
  | 'unreachable'
  /** A reply that nobody waits for any more. */
  | 'late-reply'
  /** A second answer to the same ask. */
  | 'second-reply';

/** A message that reached nobody. */
export interface DeadLetter {
  readonly reason: DeadLetterReason;
  /** The address, or what is known of it. */
  readonly to: string;
  /** Node that sent it. */
  readonly from: string;
  /** `event.type`; empty where it could not be read. */
  readonly kind: string;
  /** The clock's time. */
  readonly at: number;
  readonly detail: string;
}

/** Counts every message that reached nobody, and keeps the last ones for people. */
export class DeadLetters {
  /** How many, by reason. */
  readonly counts: Record<DeadLetterReason, number> = {
    'no-such-actor': 0,
    'mailbox-full': 0,
    stopped: 0,
    malformed: 0,
    'unknown-kind': 0,
    lane: 0,
    stale: 0,
    'too-large': 0,
    'not-encodable': 0,
    unreachable: 0,
    'late-reply': 0,
    'second-reply': 0,
  };
  readonly #last: DeadLetter[] = [];
  #next = 0;
  readonly #listeners = new Set<(letter: DeadLetter) => void>();

  constructor(private readonly keep: number) {}

  /**
   * Counts a letter, keeps it among the last ones, and tells who listens.
   * @param count messages that this letter stands for
   */
  add(letter: DeadLetter, count = 1): void {
    this.counts[letter.reason] += count;
    if (this.#last.length < this.keep) this.#last.push(letter);
    else if (this.keep > 0) this.#last[this.#next] = letter;
    this.#next = (this.#next + 1) % Math.max(1, this.keep);
    for (const listener of this.#listeners) listener(letter);
  }

  get total(): number {
    let sum = 0;
    for (const count of Object.values(this.counts)) sum += count;
    return sum;
  }

  /** The last ones, oldest first. */
  last(): DeadLetter[] {
    return this.#last.length < this.keep
      ? [...this.#last]
      : [...this.#last.slice(this.#next), ...this.#last.slice(0, this.#next)];
  }

  /** @returns how to stop listening */
  listen(listener: (letter: DeadLetter) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

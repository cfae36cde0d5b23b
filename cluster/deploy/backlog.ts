/** The effects of all actors of a host that have not left: how many, and a word in the log for whom they wait. */

import type { Clock, Logger } from '../../actors/index.js';

/** Milliseconds in vain before it is worth a line: a host that restarts is back by then. */
const QUIET_MS = 5000;
/** Milliseconds to the next line about the same addressee, doubled with each up to the longest. */
const FIRST_SILENCE_MS = 60_000;
const LONGEST_SILENCE_MS = 3_600_000;
/** Addressees that are remembered; machines may make names up. */
const MAX_ADDRESSEES = 1000;

interface Told {
  at: number;
  silence: number;
}

export class Backlog {
  /** By addressee, whatever the number of actors that write to it. */
  readonly #told = new Map<string, Told>();
  #pending = 0;

  constructor(
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Effects that are durable and have not left. */
  get pending(): number {
    return this.#pending;
  }

  /** @param count how many more wait; negative: they are in memory no longer */
  added(count: number): void {
    this.#pending += count;
  }

  /** One has arrived. */
  left(to: string | undefined): void {
    this.#pending--;
    this.#told.delete(to ?? '');
  }

  /**
   * One was tried in vain.
   * @param effects how many of this actor wait for the addressee
   * @param forMs how long it has been in vain
   */
  refused(actor: string, to: string | undefined, effects: number, forMs: number): void {
    if (forMs < QUIET_MS) return;
    const now = this.clock.now();
    const name = to ?? '';
    let told = this.#told.get(name);
    if (told !== undefined && now - told.at < told.silence) return;
    if (told === undefined && this.#told.size >= MAX_ADDRESSEES) {
      const [first] = this.#told.keys();
      this.#told.delete(first ?? '');
    }
    told = { at: now, silence: Math.min(LONGEST_SILENCE_MS, told ? 2 * told.silence : FIRST_SILENCE_MS) };
    this.#told.set(name, told);
    const whom = to === undefined ? 'the NATS server' : to;
    this.logger.warn(
      { actor, to, effects },
      to === undefined
        ? `effects of ${actor} wait for ${whom}, which does not take them`
        : `effects of ${actor} wait for ${whom}, which does not acknowledge them: is an actor of that name deployed?`,
    );
  }
}

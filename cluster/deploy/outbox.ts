/** The effects of one actor on their way out: in order, one at a time, until the other side has them. */

import type { Clock, Random, TimerHandle } from '../../actors/index.js';
import type { StoredEffect } from './records.js';

/** Takes an effect where it belongs: to a subject, or to another deployed actor. */
export interface Courier {
  /**
   * Tries once.
   * @param failures how often it was tried before
   * @returns whether it has arrived, or never will; false: to be tried again, with the same id. It does not reject.
   */
  carry(name: string, effect: StoredEffect, failures: number): Promise<boolean>;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

export interface OutboxParts {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly courier: Courier;
  /** It has left: it need not be kept. */
  readonly left: (effect: StoredEffect) => void;
}

export class Outbox {
  readonly #waiting: StoredEffect[] = [];
  #carrying = false;
  #failures = 0;
  #pause: TimerHandle | undefined;
  #closed = false;

  constructor(private readonly parts: OutboxParts) {}

  get size(): number {
    return this.#waiting.length;
  }

  /** Effects whose cause is durable. */
  add(effects: readonly StoredEffect[]): void {
    this.#waiting.push(...effects);
    this.#next();
  }

  /** What has not left stays on the disk. */
  close(): void {
    this.#closed = true;
    if (this.#pause !== undefined) this.parts.clock.clearTimeout(this.#pause);
  }

  #next(): void {
    const effect = this.#waiting[0];
    if (effect === undefined || this.#carrying || this.#closed) return;
    this.#carrying = true;
    this.parts.courier.carry(this.parts.name, effect, this.#failures).then(
      (arrived) => this.#carried(effect, arrived),
      () => this.#carried(effect, false),
    );
  }

  #carried(effect: StoredEffect, arrived: boolean): void {
    if (this.#closed) return;
    if (arrived) {
      this.#carrying = false;
      this.#failures = 0;
      this.#waiting.shift();
      this.parts.left(effect);
      this.#next();
      return;
    }
    const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures++, 30));
    this.#pause = this.parts.clock.setTimeout(
      () => {
        this.#carrying = false;
        this.#next();
      },
      full * (1 - 0.2 * this.parts.random()),
    );
  }
}

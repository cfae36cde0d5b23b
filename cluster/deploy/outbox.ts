/**
 * The effects of one actor on their way out: for each addressee in order and one at a time, until it has them. One that
 * takes nothing keeps none of the others waiting.
 */

import type { Clock, Random, TimerHandle } from '../../actors/index.js';
import type { Backlog } from './backlog.js';
import type { WaitingEffects } from './protocol.js';
import { addresseeOf, type StoredEffect } from './records.js';

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
  readonly backlog: Backlog;
  /** It has left: it need not be kept. */
  readonly left: (effect: StoredEffect) => void;
}

/** What waits for one addressee. */
interface Lane {
  readonly to: string | undefined;
  readonly effects: StoredEffect[];
  failures: number;
  /** When the first of them was tried in vain first, on the system's clock. */
  since: number;
  pause: TimerHandle | undefined;
}

export class Outbox {
  /** By addressee; without one, what is published for everybody. Only those for whom something waits. */
  readonly #lanes = new Map<string | undefined, Lane>();
  #size = 0;
  #closed = false;

  constructor(private readonly parts: OutboxParts) {}

  get size(): number {
    return this.#size;
  }

  /** For whom effects wait that were tried in vain. */
  waiting(wallNow: number): readonly WaitingEffects[] {
    const now = this.parts.clock.now();
    return [...this.#lanes.values()]
      .filter(({ failures }) => failures > 0)
      .map(({ to, effects, since }) => ({
        ...(to === undefined ? {} : { to }),
        effects: effects.length,
        since: new Date(Math.round(effects[0]?.at ?? wallNow - (now - since))).toISOString(),
      }));
  }

  /** Effects whose cause is durable. */
  add(effects: readonly StoredEffect[]): void {
    if (this.#closed) return;
    this.#size += effects.length;
    this.parts.backlog.added(effects.length);
    for (const effect of effects) {
      const to = addresseeOf(effect);
      const lane = this.#lanes.get(to);
      if (lane !== undefined) {
        lane.effects.push(effect);
        continue;
      }
      const opened: Lane = { to, effects: [effect], failures: 0, since: 0, pause: undefined };
      this.#lanes.set(to, opened);
      this.#carry(opened, effect);
    }
  }

  /** What has not left stays on the disk. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.parts.backlog.added(-this.#size);
    for (const { pause } of this.#lanes.values())
      if (pause !== undefined) this.parts.clock.clearTimeout(pause);
    this.#lanes.clear();
  }

  #carry(lane: Lane, effect: StoredEffect): void {
    this.parts.courier.carry(this.parts.name, effect, lane.failures).then(
      (arrived) => this.#carried(lane, effect, arrived),
      () => this.#carried(lane, effect, false),
    );
  }

  #carried(lane: Lane, effect: StoredEffect, arrived: boolean): void {
    if (this.#closed) return;
    if (!arrived) return this.#later(lane, effect);
    lane.failures = 0;
    lane.effects.shift();
    this.#size--;
    this.parts.backlog.left(lane.to);
    this.parts.left(effect);
    const next = lane.effects[0];
    if (next === undefined) this.#lanes.delete(lane.to);
    else this.#carry(lane, next);
  }

  #later(lane: Lane, effect: StoredEffect): void {
    const { clock, random, backlog, name } = this.parts;
    if (lane.failures === 0) lane.since = clock.now();
    backlog.refused(name, lane.to, lane.effects.length, clock.now() - lane.since);
    const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(lane.failures++, 30));
    lane.pause = clock.setTimeout(() => this.#carry(lane, effect), full * (1 - 0.2 * random()));
  }
}

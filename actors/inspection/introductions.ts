/** Actors and guests that are told of whole, a few at a time: those that were there before somebody looked, and those that come. */

import type { AnyActorRef } from 'xstate';
import type { Clock } from '../clock.js';
import type { HeldLease } from './lease.js';
import type { InspectionRecord } from './records.js';
import { definitionOf } from './stately.js';
import { namesOf, type Showing, snapshotOf } from './steps.js';

export interface IntroductionsParts {
  readonly clock: Clock;
  readonly leases: ReadonlyMap<string, HeldLease>;
  readonly showing: Showing;
  /** A machine's definition as plain data, for those who know it by name only. */
  readonly chart: ((logic: unknown) => unknown) | undefined;
  /** What is at a path now; `queued` is absent for what has no mailbox. */
  readonly find: (path: string) => {
    readonly actor: AnyActorRef | undefined;
    readonly queued: number | undefined;
  };
  readonly tell: (record: InspectionRecord) => void;
}

/** Actors that are introduced in a tick, and milliseconds that this may take. */
const HELLOS_A_TICK = 250;
const HELLO_MS = 5;

export class Introductions {
  readonly #parts: IntroductionsParts;
  readonly #paths = new Set<string>();

  constructor(parts: IntroductionsParts) {
    this.#parts = parts;
  }

  /** Some are still to come. */
  get pending(): boolean {
    return this.#paths.size > 0;
  }

  add(path: string): void {
    this.#paths.add(path);
  }

  clear(): void {
    this.#paths.clear();
  }

  /** Introduces as many as one tick may. */
  tell(now: number): void {
    if (this.#paths.size === 0) return;
    const { clock, leases, showing, find, tell } = this.#parts;
    const until = clock.now() + HELLO_MS;
    let left = HELLOS_A_TICK;
    for (const path of this.#paths) {
      if (left-- === 0 || clock.now() >= until) break;
      this.#paths.delete(path);
      const { actor, queued } = find(path);
      if (actor === undefined) continue;
      if (![...leases.values()].some((held) => held.seesKind('@xstate.actor'))) continue;
      const names = namesOf(actor);
      tell({
        kind: '@xstate.actor',
        at: now,
        path,
        ...names,
        snapshot: snapshotOf(actor.getSnapshot(), names.machine, showing),
        ...(queued === undefined ? {} : { queued }),
        ...this.#chartOf(path, actor),
        ...this.#definitionOf(path, actor),
      });
    }
  }

  /** For a watcher that has named this one: definitions are large. */
  #chartOf(path: string, actor: AnyActorRef): { readonly chart?: unknown } {
    const { chart, leases } = this.#parts;
    if (chart === undefined) return {};
    const asked = [...leases.values()].some(({ lease }) => lease.paths.includes(path));
    if (!asked) return {};
    try {
      return { chart: chart((actor as { readonly logic?: unknown }).logic) };
    } catch {
      return {};
    }
  }

  #definitionOf(path: string, actor: AnyActorRef): { readonly definition?: string } {
    const asked = [...this.#parts.leases.values()].some((held) => held.lease.stately && held.seesPath(path));
    const definition = asked ? definitionOf((actor as { readonly logic?: unknown }).logic) : undefined;
    return definition === undefined ? {} : { definition };
  }
}

/** The actors of one deployment: one, or one for each key. */

import type { AnyStateMachine } from 'xstate';
import type { TimerHandle } from '../../actors/index.js';
import { DeployedActor, type DeployedActorParts } from './deployed-actor.js';
import { type Delivery, MAX_KEY_BYTES, refusal } from './protocol.js';
import { afterPrefix, effectsPrefix, readEffectOwner, readWakeKey, wakePrefix } from './records.js';
import { loadState, rows } from './stored-actor.js';

export interface Instances {
  /** The member of an event that says whose it is. */
  readonly member: string;
  /** Milliseconds without an event after which an instance leaves the memory. */
  readonly idleMs: number;
  /** How many may be in memory. */
  readonly most: number;
}

/** What all actors of a host share. */
export type SharedParts = Pick<
  DeployedActorParts,
  'system' | 'engine' | 'journal' | 'courier' | 'backlog' | 'counts' | 'wall' | 'newLife'
>;

export interface FamilyParts extends SharedParts {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly input: unknown;
  /** Absent: there is one actor, with no key. */
  readonly instances: Instances | undefined;
}

/** Longest wait before the next look at timers on the disk. */
const LONGEST_WAIT_MS = 60_000;
/** Instances that are woken at once; the rest soon after. */
const WAKE_AT_ONCE = 100;
const SOON_MS = 10;

export class ActorFamily {
  readonly #parts: FamilyParts;
  /** In the order of their last use. */
  readonly #actors = new Map<string, DeployedActor>();
  #sweep: TimerHandle | undefined;
  #wake: TimerHandle | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;
  #waking = false;
  #closed = false;

  constructor(parts: FamilyParts) {
    this.#parts = parts;
  }

  /** How many are in memory. */
  get size(): number {
    return this.#actors.size;
  }

  /**
   * Brings to memory what has to be there: the one actor, or the instances with something left to do.
   * @throws TroupeError `failed` when the one actor cannot take its first step
   */
  async start(): Promise<void> {
    const { instances, engine, name } = this.#parts;
    if (instances === undefined) {
      await this.#actor('').begun;
      return;
    }
    for await (const [key] of rows(engine, effectsPrefix(name))) this.#actor(readEffectOwner(name, key));
    this.#sweepLater(instances);
    this.#wakeBy(0);
  }

  /** Effects of those in memory that have not left, and how many of them stand as failed. */
  get troubles(): { readonly effects: number; readonly failed: number } {
    let [effects, failed] = [0, 0];
    for (const actor of this.#actors.values()) {
      effects += actor.effects;
      if (actor.state === 'failed') failed++;
    }
    return { effects, failed };
  }

  deliver(delivery: Delivery): void {
    if (this.#closed) return delivery.answer(refusal('unavailable', `${this.#parts.name} is being stopped`));
    const { instances } = this.#parts;
    if (instances === undefined) return this.#actor('').deliver(delivery);
    const key = keyOf(delivery.event[instances.member]);
    if (key === undefined) {
      const sentence = `events for ${this.#parts.name} say whose they are in "${instances.member}": a text of at most ${MAX_KEY_BYTES} bytes, or a whole number`;
      return delivery.answer(refusal('bad-event', sentence));
    }
    if (!this.#actors.has(key) && !this.#makeRoom(instances)) {
      const sentence = `${instances.most} instances of ${this.#parts.name} are busy: try again later`;
      return delivery.answer(refusal('overloaded', sentence));
    }
    this.#actor(key).deliver(delivery);
  }

  /** The state of an actor, as stored; it is not woken for that. @returns `undefined` for one that was never there */
  async stateOf(key: string): Promise<{ text: string | undefined; actor: DeployedActor | undefined }> {
    const actor = this.#actors.get(key);
    const text = actor?.text ?? (await loadState(this.#parts.engine, { name: this.#parts.name, key }));
    return { text, actor };
  }

  /** Stops all of them; resolves when all that they have done is durable. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of [this.#sweep, this.#wake]) {
      if (timer !== undefined) this.#parts.system.clock.clearTimeout(timer);
    }
    await Promise.all([...this.#actors.values()].map((actor) => actor.stop()));
  }

  /** The actor of a key, in memory from now on. */
  #actor(key: string): DeployedActor {
    const known = this.#actors.get(key);
    const { name, instances } = this.#parts;
    const actor =
      known ??
      new DeployedActor({
        ...this.#parts,
        owner: { name, key },
        path: instances === undefined ? `deployed/${name}` : `deployed/${name}/${encodeURIComponent(key)}`,
        wakes: instances !== undefined,
        forgotten: (gone) => this.#forgotten(key, gone),
      });
    this.#actors.delete(key);
    this.#actors.set(key, actor);
    return actor;
  }

  #forgotten(key: string, actor: DeployedActor): void {
    if (this.#actors.get(key) === actor) this.#actors.delete(key);
    if (!this.#closed && actor.deadline !== undefined) this.#wakeBy(actor.deadline - this.#parts.wall());
  }

  #makeRoom({ most }: Instances): boolean {
    if (this.#actors.size < most) return true;
    const now = this.#parts.system.clock.now();
    let looked = 0;
    for (const actor of this.#actors.values()) {
      // One that leaves needs a moment: it counts until it has left, up to as many again.
      if (actor.passivate(now, true)) return this.#actors.size < 2 * most;
      if (++looked >= WAKE_AT_ONCE) break;
    }
    return false;
  }

  #sweepLater(instances: Instances): void {
    const { clock } = this.#parts.system;
    this.#sweep = clock.setTimeout(
      () => {
        const before = clock.now() - instances.idleMs;
        for (const actor of [...this.#actors.values()]) actor.passivate(before);
        this.#sweepLater(instances);
      },
      Math.min(LONGEST_WAIT_MS, Math.max(SOON_MS, instances.idleMs / 4)),
    );
  }

  /** Looks at the timers on the disk within so many milliseconds. */
  #wakeBy(ms: number): void {
    const { clock } = this.#parts.system;
    const at = clock.now() + Math.min(LONGEST_WAIT_MS, Math.max(0, ms));
    if (this.#closed || at >= this.#wakeAt) return;
    if (this.#wake !== undefined) clock.clearTimeout(this.#wake);
    this.#wakeAt = at;
    this.#wake = clock.setTimeout(() => {
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#wakeDue().catch((error: unknown) =>
        this.#parts.system.logger.error({ err: error, actor: this.#parts.name }, 'timers cannot be read'),
      );
    }, at - clock.now());
  }

  /** Brings to memory the instances whose first timer is due: it comes as soon as they are restored. */
  async #wakeDue(): Promise<void> {
    if (this.#waking || this.#closed) return;
    this.#waking = true;
    let next = LONGEST_WAIT_MS;
    try {
      const { engine, name, wall } = this.#parts;
      const start = wakePrefix(name);
      const page = await engine.scan('default', {
        start,
        end: afterPrefix(start),
        limit: 2 * WAKE_AT_ONCE,
        keysOnly: true,
      });
      if (this.#closed) return;
      const due = page.keys.map((row) => readWakeKey(name, row));
      // Those in memory have the timer themselves.
      const asleep = due.filter(({ key }) => !this.#actors.has(key));
      for (const { key } of asleep.filter(({ at }) => at <= wall()).slice(0, WAKE_AT_ONCE)) this.#actor(key);
      // Who stands on the next page has to be woken later than the last of this one.
      const first = asleep.find(({ key }) => !this.#actors.has(key)) ?? (page.more ? due.at(-1) : undefined);
      if (first !== undefined) next = Math.max(SOON_MS, first.at - wall());
    } finally {
      this.#waking = false;
      this.#wakeBy(next);
    }
  }
}

/** The key that an event names; `undefined` when it names none. */
export function keyOf(value: unknown): string | undefined {
  const key = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof key !== 'string' || key === '' || key.includes('\0') || !key.isWellFormed()) return undefined;
  return Buffer.byteLength(key) <= MAX_KEY_BYTES ? key : undefined;
}

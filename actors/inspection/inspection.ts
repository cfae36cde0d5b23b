/**
 * A node's side of the inspection protocol (docs/decisions/inspection.md): who looks, and what they are told. While nobody does
 * it holds one subscription and nothing else.
 */

import type { AnyActorRef, InspectionEvent as XStateInspectionEvent } from 'xstate';
import type { Clock, TimerHandle } from '../clock.js';
import type { DeadLetter } from '../dead-letters.js';
import type { Logger } from '../logger.js';
import type { Transport } from '../transport.js';
import type { ActorInfo, InspectionEvent, Inspector } from './events.js';
import { type Guest, Guests } from './guests.js';
import { Introductions } from './introductions.js';
import { HeldLease, type InspectionKind, readLease } from './lease.js';
import { Outbox } from './outbox.js';
import { Pace, TICK_MS } from './pace.js';
import { plainOf, type RedactionRule } from './plain.js';
import { Roll, type StateItem } from './roll.js';
import { type Looked, recordsOf, type Showing, type Step, StepGatherer } from './steps.js';

/** What of a node may be shown, and how. */
export interface InspectionOptions {
  /** What nobody should see of events and contexts, before the rule that hides what is called like a secret. */
  readonly redact?: readonly RedactionRule[];
  /** By a machine's id: what is shown instead of its context. */
  readonly contexts?: ReadonlyMap<string, (context: unknown) => unknown>;
  /** A machine's definition as plain data, for those who know it by name only. */
  readonly chart?: (logic: unknown) => unknown;
  /** Unix milliseconds (`Date.now`). */
  readonly wallClock?: () => number;
}

/** What the inspection needs of its node. */
export interface InspectionHost {
  readonly node: string;
  readonly incarnation: number;
  readonly clock: Clock;
  readonly logger: Logger;
  actors(): Iterable<ActorInfo>;
  actor(path: string): (ActorInfo & { readonly ref: AnyActorRef | undefined }) | undefined;
  /** @param depth how much of the actor at a path is shown: one in so many quiet events, 0 for none of them, `undefined` for nothing */
  inspect(inspector: Inspector, depth: (path: string) => number | undefined): () => void;
  listen(listener: (letter: DeadLetter) => void): () => void;
  /** Tells of each actor of which events were not shown since the last call, and how many. */
  unshown(told: (path: string, events: number) => void): void;
}

const MAX_WATCHERS = 16;

/** What a node tells of itself while somebody looks, and only then. */
export class Inspection {
  readonly #host: InspectionHost;
  readonly #options: InspectionOptions;
  readonly #leases = new Map<string, HeldLease>();
  readonly #cells = new Map<string, Looked>();
  readonly #guests: Guests;
  readonly #introductions: Introductions;
  readonly #showing: Showing;
  readonly #rolls: Roll[];
  readonly #outbox: Outbox;
  #detach: (() => void) | undefined;
  #tick: TimerHandle | undefined;
  readonly #pace = new Pace();
  #closed = false;

  constructor(host: InspectionHost, options: InspectionOptions) {
    this.#host = host;
    this.#options = options;
    const { wallClock = Date.now, redact = [], contexts = NO_CONTEXTS, chart } = options;
    this.#showing = { rules: redact, contexts };
    this.#outbox = new Outbox({ ...host, wallClock, leases: () => this.#leases });
    this.#guests = new Guests({
      depthOf: (path) => this.#depthOf(path),
      came: (path) => this.#introductions.add(path),
      forgotten: (path) => this.#cells.delete(path),
      went: (path) => this.#life(path, 'stopped'),
      machine: (path, looked, event) => this.#machine(path, looked, event),
    });
    this.#introductions = new Introductions({
      clock: host.clock,
      leases: this.#leases,
      showing: this.#showing,
      chart,
      find: (path) => {
        const info = host.actor(path);
        return { actor: this.#guests.actor(path) ?? info?.ref, queued: info?.queued };
      },
      tell: (record) => this.#outbox.gather(record),
    });
    this.#rolls = [new Roll('actors', () => this.#actorItems())];
  }

  /** Somebody looks. */
  get attached(): boolean {
    return this.#leases.size > 0;
  }

  /** Listens for who wants to look. @throws ActorSystemError what the transport says */
  async open(transport: Transport): Promise<void> {
    this.#outbox.channel = await transport.openInspection?.((bytes) => this.#announced(bytes));
  }

  /** Shows machines that are not actors of the node. `guests` is asked only while somebody looks. */
  addGuests(guests: () => Iterable<Guest>): void {
    this.#guests.add(guests);
  }

  /** Tells of a part of the node's state, by items that are sent when they are new or changed. Asked only while somebody looks. */
  addState(topic: string, items: () => Iterable<StateItem>): void {
    this.#rolls.push(new Roll(topic, items));
  }

  /** Something worth a remark has happened. @param detail made only when somebody looks */
  note(topic: string, detail: () => unknown): void {
    if (this.#leases.size === 0) return;
    const at = this.#host.clock.now();
    if (!this.#taken('note', at, this.#leases.values())) return;
    this.#outbox.add({ kind: 'note', at, topic, detail: plainOf(detail(), this.#options.redact) });
  }

  /** Tells nobody anything any more. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.attached) this.#outbox.send();
    this.#leases.clear();
    this.#stop();
    await this.#outbox.channel?.close();
  }

  /** From the transport, on whose stack nothing may be thrown. */
  #announced(bytes: Uint8Array): void {
    if (this.#closed) return;
    const { clock, logger, node } = this.#host;
    const lease = readLease(bytes);
    if (lease === undefined) {
      logger.warn({ bytes: bytes.length }, 'an inspector announced what is no lease');
      return;
    }
    const { watcher, ttl, nodes } = lease;
    const held = this.#leases.get(watcher);
    if (ttl === 0 || nodes?.includes(node) === false) {
      if (this.#leases.delete(watcher)) this.#leasesChanged();
      return;
    }
    if (held !== undefined) {
      if (held.renew(lease, clock.now())) this.#leasesChanged(held);
      return;
    }
    if (this.#leases.size >= MAX_WATCHERS) {
      logger.warn({ watcher }, `an inspector was refused: ${MAX_WATCHERS} look already`);
      return;
    }
    const made = new HeldLease(lease, clock.now());
    this.#leases.set(watcher, made);
    logger.info({ watcher }, 'an inspector has attached');
    this.#leasesChanged(made);
  }

  /** @param fresh has to be told of everything that it may see */
  #leasesChanged(fresh?: HeldLease): void {
    if (this.#leases.size === 0) return this.#stop();
    const { clock, actors, inspect, listen } = this.#host;
    // Attached anew, so that each actor asks how much of it is shown.
    const before = this.#detach;
    const stops = [
      inspect(
        (event) => this.#told(event),
        (path) => this.#depthOf(path),
      ),
      listen((letter) => this.#letter(letter)),
    ];
    this.#detach = () => {
      for (const stop of stops) stop();
    };
    before?.();
    for (const [path, looked] of [...this.#cells]) {
      const depth = this.#depthOf(path);
      if (depth === undefined) this.#cells.delete(path);
      else looked.depth = depth;
    }
    this.#guests.depthsChanged();
    if (fresh !== undefined) {
      this.#pace.reset();
      if (this.#tick !== undefined) clock.clearTimeout(this.#tick);
      this.#tick = undefined;
      for (const roll of this.#rolls) roll.forget();
      for (const { path } of actors()) if (fresh.seesPath(path)) this.#introductions.add(path);
      for (const path of this.#guests.paths) if (fresh.seesPath(path)) this.#introductions.add(path);
    }
    this.#tick ??= clock.setTimeout(this.#look, 0);
  }

  #stop(): void {
    const { clock } = this.#host;
    if (this.#tick !== undefined) clock.clearTimeout(this.#tick);
    this.#tick = undefined;
    this.#detach?.();
    this.#detach = undefined;
    this.#guests.clear();
    this.#cells.clear();
    this.#introductions.clear();
    this.#outbox.clear();
    for (const roll of this.#rolls) roll.forget();
  }

  #depthOf(path: string): number | undefined {
    let depth: number | undefined;
    for (const held of this.#leases.values()) {
      if (!held.seesPath(path)) continue;
      const { every } = held.lease;
      if (depth === undefined || depth === 0) depth = every;
      else if (every > 0) depth = Math.min(depth, every);
    }
    return depth;
  }

  readonly #look = (): void => {
    const { clock } = this.#host;
    const now = clock.now();
    this.#tick = undefined;
    let ended = false;
    for (const [watcher, held] of this.#leases) {
      if (held.until > now) continue;
      this.#leases.delete(watcher);
      ended = true;
    }
    if (ended) this.#leasesChanged();
    if (this.#leases.size === 0) return;
    this.#host.unshown((path, events) => {
      for (const held of this.#leases.values()) if (held.seesPath(path)) held.leaves('@xstate.event', events);
    });
    this.#guarded(() => this.#introductions.tell(now));
    const began = clock.now();
    const isDue = this.#pace.isDue(began);
    if (isDue) this.#guarded(() => this.#survey(now));
    this.#outbox.send();
    if (isDue) this.#pace.looked(began, clock.now());
    this.#tick ??= clock.setTimeout(
      this.#look,
      this.#introductions.pending ? TICK_MS : this.#pace.tick(clock.now()),
    );
  };

  /** What is shown must never take down what is looked at. */
  #guarded(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#host.logger.error({ err: error }, 'the inspection could not tell what there is');
    }
  }

  /** What there is now, as far as it is new or has changed. */
  #survey(now: number): void {
    this.#guests.find();
    if (!this.#wants('state')) return;
    for (const roll of this.#rolls) {
      const told = roll.changes();
      if (told !== undefined) this.#outbox.gather({ kind: 'state', at: now, ...told });
    }
  }

  #told(event: InspectionEvent): void {
    const path = event.address.slice(this.#host.node.length + 1);
    if (event.type === 'machine') {
      const looked = this.#cell(path);
      if (looked !== undefined) this.#machine(path, looked, event.event);
      return;
    }
    if (event.type !== 'spawned') this.#cells.delete(path);
    const detail =
      event.type === 'failed' ? String(event.error) : event.type === 'stopped' ? event.reason : undefined;
    this.#life(path, event.type, detail);
  }

  #cell(path: string): Looked | undefined {
    const known = this.#cells.get(path);
    if (known !== undefined) return known;
    const depth = this.#depthOf(path);
    if (depth === undefined) return undefined;
    const made = { gatherer: new StepGatherer(), depth, sampled: true };
    // As it was before the step whose first event this is.
    const actor = this.#host.actor(path)?.ref;
    if (actor !== undefined) made.gatherer.begin(actor, actor.getSnapshot());
    this.#cells.set(path, made);
    return made;
  }

  /** On the stack of the machine itself: what is shown must never take down what is looked at. */
  #machine(path: string, looked: Looked, event: XStateInspectionEvent): void {
    try {
      this.#gather(path, looked, event);
    } catch (error) {
      this.#host.logger.warn({ actor: path, err: error }, 'an event of an actor cannot be shown');
    }
  }

  #gather(path: string, looked: Looked, event: XStateInspectionEvent): void {
    const step = looked.gatherer.add(event);
    if (step === undefined) return;
    if (step === 'quiet') {
      for (const held of this.#leases.values()) if (held.seesPath(path)) held.leaves('@xstate.event', 1);
      return;
    }
    this.#step(path, looked, step);
  }

  #step(path: string, { depth, sampled }: Looked, step: Step): void {
    const watchers: HeldLease[] = [];
    // An actor's cell sends the events that are samples by way of XState, and the others past it.
    const offered = !sampled || step.events.some(({ type }) => type === '@xstate.event');
    for (const held of this.#leases.values()) {
      if (!held.seesPath(path)) continue;
      if (step.changed || (offered && held.samples(sampled ? depth : 1))) watchers.push(held);
      else held.leaves('@xstate.event', 1);
    }
    if (watchers.length === 0) return;
    const now = this.#host.clock.now();
    const takes = (kind: InspectionKind): boolean => this.#taken(kind, now, watchers);
    for (const record of recordsOf(step, now, path, this.#showing, takes)) {
      const queued = record.kind === '@xstate.snapshot' ? this.#host.actor(path)?.queued : undefined;
      this.#outbox.add(queued === undefined ? record : { ...record, queued });
    }
  }

  #life(path: string, what: 'spawned' | 'restarted' | 'failed' | 'stopped', detail?: string): void {
    const at = this.#host.clock.now();
    const watchers = [...this.#leases.values()].filter((held) => held.seesPath(path));
    if (!this.#taken('life', at, watchers)) return;
    this.#outbox.add({ kind: 'life', at, path, what, ...(detail === undefined ? {} : { detail }) });
    if (what === 'spawned') this.#introductions.add(path);
  }

  #letter({ at, reason, from, to, kind, detail }: DeadLetter): void {
    if (!this.#taken('letter', this.#host.clock.now(), this.#leases.values())) return;
    this.#outbox.add({ kind: 'letter', at, reason, from, to, event: kind, detail: detail.slice(0, 256) });
  }

  #wants(kind: InspectionKind): boolean {
    for (const held of this.#leases.values()) if (held.seesKind(kind)) return true;
    return false;
  }

  /** Whether one of them takes a record; each pays for it. Asked before the record is made. */
  #taken(kind: InspectionKind, now: number, watchers: Iterable<HeldLease>): boolean {
    let taken = false;
    for (const held of watchers) if (held.seesKind(kind) && held.takes(kind, now)) taken = true;
    return taken;
  }

  *#actorItems(): Iterable<StateItem> {
    for (const { path, status, queued, restarts, logic } of this.#host.actors()) {
      if (this.#depthOf(path) === undefined) continue;
      yield {
        key: path,
        seen: `${status} ${queued} ${restarts}`,
        item: () => ({ path, status, queued, restarts, logic }),
      };
    }
  }
}

const NO_CONTEXTS: ReadonlyMap<string, (context: unknown) => unknown> = new Map();

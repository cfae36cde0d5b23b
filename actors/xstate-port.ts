/**
 * The only file here, with `quiet-transitions.ts`, that knows XState's inside. Everything else sees a `Machine`: it takes events, has
 * snapshots, fails or ends. A new major version of XState is a change in these two.
 */

import {
  type AnyActor,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyEventObject,
  type AnyStateMachine,
  createActor,
  type InspectionEvent,
  type Snapshot,
} from 'xstate';
import type { Clock, TimerHandle } from './clock.js';
import { QuietTransitions } from './quiet-transitions.js';

/** Eventless transitions that one event may cause before the machine counts as looping. */
export const MAX_ITERATIONS = 10_000;

export interface MachineHost {
  readonly clock: Clock;
  /** Whether it wants to be told of every step (`advanced`), and of what the machine emits. */
  readonly keepsSteps: boolean;
  /** Runs `fn` in the actor's own turn, in order with its messages. */
  enqueue(fn: () => void): void;
  /** The machine has handled an event to its end, or has started. Called from inside `Machine.start` and `Machine.send`. */
  advanced(): void;
  /** The machine threw; it is stopped. May be called from inside `Machine.start` and `Machine.send`. */
  failed(error: unknown): void;
  /** The machine reached its end; it is stopped. */
  done(): void;
  /** Somebody looks, and was shown nothing of an event. */
  unshown?(): void;
}

/** What a machine needs to go on where another one of the same logic failed, or was stopped. */
export interface Restorable {
  /** As XState persists it: plain data, if the context is. */
  readonly snapshot: Snapshot<unknown>;
  readonly timers: readonly RestorableTimer[];
}

/** A delayed event (`after`, delayed `raise` or `sendTo`) that has not been sent yet. */
export interface RestorableTimer {
  /** Ids of the children that lead from the actor to the one that set it; empty: the actor itself. */
  readonly from: readonly string[];
  /** Likewise, to the one that gets the event. */
  readonly to: readonly string[];
  /** How XState cancels it. */
  readonly id: string;
  readonly event: AnyEventObject;
  /** On the system's clock. */
  readonly dueAt: number;
}

/** One run of an actor's logic, from its start to its end or failure. */
export class Machine {
  readonly #actor: AnyActor;
  readonly #mailbox: Mailbox;
  readonly #timers: Timers;
  readonly #logic: AnyActorLogic;
  #started = false;
  #good: Snapshot<unknown> | undefined;
  #ended = false;
  /** Somebody looks. */
  #look: Look | undefined;
  /** What it has emitted since somebody took it; nothing is kept where nobody would. */
  #emitted: AnyEventObject[] = [];

  /**
   * @param input ignored when `from` is given
   * @throws whatever the logic throws while it makes its first snapshot
   */
  constructor(
    logic: AnyActorLogic,
    id: string,
    input: unknown,
    private readonly host: MachineHost,
    private readonly from?: Restorable,
  ) {
    this.#logic = bounded(logic);
    this.#actor = createActor(this.#logic, {
      id,
      input,
      ...(from === undefined ? {} : { snapshot: from.snapshot }),
    });
    this.#mailbox = (this.#actor as unknown as { mailbox: Mailbox }).mailbox;
    this.#timers = new Timers(this.#actor, host);
    (this.#actor.system as unknown as { scheduler: Scheduler }).scheduler = this.#timers;
    this.#actor.subscribe({
      next: (snapshot) => {
        this.#good = snapshot as Snapshot<unknown>;
        this.#timers.mark();
        if (host.keepsSteps && !this.#ended) host.advanced();
      },
      error: (error) => {
        if (this.#ended) return;
        this.#ended = true;
        host.failed(error);
      },
      complete: () => {
        if (this.#ended) return;
        this.#ended = true;
        host.done();
      },
    });
    if (host.keepsSteps) this.#actor.on('*', (event) => this.#emitted.push(event));
  }

  /** Runs the entry actions, or goes on with the restored snapshot and what is left of its timers. */
  start(): void {
    // First, so that a start which leaves their state cancels them. What is overdue comes in the order of its deadlines.
    const timers = [...(this.from?.timers ?? [])].sort((a, b) => a.dueAt - b.dueAt);
    for (const timer of timers) this.#timers.resume(timer);
    this.#look?.arm();
    this.#actor.start();
    this.#look?.disarm();
    this.#started = true;
  }

  /** Handles one event to its end, effects included. */
  send(event: AnyEventObject): void {
    // What XState does on the way from `send` to the mailbox is for those who look.
    if (!this.#started || this.#ended) this.#actor.send(event);
    else if (this.#look !== undefined) this.#look.send(event);
    else this.#mailbox.enqueue(event);
  }

  /** XState's own actor, for those who look. */
  get actor(): AnyActorRef {
    return this.#actor;
  }

  get snapshot(): unknown {
    return this.#actor.getSnapshot();
  }

  /**
   * The state after the last event that did not fail, as far as snapshots carry it: what actions changed in place inside the
   * context stays changed. `undefined` when there was none, when it cannot be persisted, or when it needs children that
   * are gone.
   */
  restorable(): Restorable | undefined {
    if (this.#good === undefined) return undefined;
    try {
      const snapshot = this.#persisted(this.#good);
      // Children are persisted as they are now: one that failed would never run again.
      const whole = Object.values(snapshot.children ?? {}).every(
        (child) => child.snapshot.status === 'active',
      );
      return whole ? { snapshot, timers: this.#timers.marked() } : undefined;
    } catch {
      return undefined;
    }
  }

  /**
   * The state after the last step, children as they are.
   * @throws what stands in the way of persisting it
   */
  persist(): Restorable {
    return {
      snapshot: this.#persisted(this.#good ?? this.#actor.getSnapshot()),
      timers: this.#timers.marked(),
    };
  }

  /** What the machine has emitted since this was called before. */
  takeEmitted(): readonly AnyEventObject[] {
    const emitted = this.#emitted;
    if (emitted.length > 0) this.#emitted = [];
    return emitted;
  }

  #persisted(snapshot: Snapshot<unknown>): PersistedSnapshot {
    return this.#logic.getPersistedSnapshot(snapshot) as PersistedSnapshot;
  }

  /** Stops the machine and its children. */
  stop(): void {
    this.#ended = true;
    // XState leaves the children of a failed machine running.
    const { status, children } = this.#actor.getSnapshot() as {
      status: string;
      children?: Record<string, { _stop?(): void } | undefined>;
    };
    if (status === 'error') for (const child of Object.values(children ?? {})) child?._stop?.();
    this.#actor.stop();
    this.#timers.clear();
  }

  /**
   * Shows what XState does, in place of whoever was shown it before.
   * @param every one in so many of the events that leave the machine as it is: 1 for all, 0 for none. Those that do more
   * are always shown
   * @returns how to stop looking
   */
  inspect(observer: (event: InspectionEvent) => void, every = 1): () => void {
    this.#look?.end();
    const look = new Look(this.#actor, this.#mailbox, clones.has(this.#logic), observer, every, () =>
      this.host.unshown?.(),
    );
    this.#look = look;
    return () => {
      look.end();
      if (this.#look === look) this.#look = undefined;
    };
  }
}

/**
 * Somebody looks at a machine. XState tells its observers of every event, whatever it does; so where a machine has a short
 * way for those that change nothing, it has an observer only for the others, and for the samples.
 */
class Look {
  readonly #system: AnyActor['system'];
  #stop: (() => void) | undefined;
  #sinceSample = 0;

  constructor(
    private readonly actor: AnyActor,
    private readonly mailbox: Mailbox,
    /** It takes the short way where there is one. */
    private readonly quick: boolean,
    private readonly observer: (event: InspectionEvent) => void,
    private readonly every: number,
    /** An event was handled of which nothing was shown. */
    private readonly unshown: () => void,
  ) {
    this.#system = actor.system;
    if (every === 1) shown.add(this.#system);
    if (every === 1 || !quick) this.arm();
    else looks.set(this.#system, this);
  }

  send(event: AnyEventObject): void {
    if (this.every === 1) return this.actor.send(event);
    this.#sinceSample = this.every === 0 ? 1 : (this.#sinceSample + 1) % this.every;
    if (this.#sinceSample === 0) return this.#sample(event);
    this.mailbox.enqueue(event);
    if (!this.quick) return;
    if (this.#stop === undefined) this.unshown();
    else this.disarm();
  }

  /** Whatever it does, this one is shown. */
  #sample(event: AnyEventObject): void {
    this.arm();
    shown.add(this.#system);
    try {
      this.actor.send(event);
    } finally {
      shown.delete(this.#system);
      this.disarm();
    }
  }

  /** XState is about to do more than the short way could. */
  arm(): void {
    this.#stop ??= observe(this.actor, this.observer);
  }

  disarm(): void {
    if (this.every === 1 || !this.quick) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  end(): void {
    this.#stop?.();
    this.#stop = undefined;
    shown.delete(this.#system);
    if (looks.get(this.#system) === this) looks.delete(this.#system);
  }
}

/** Shows what XState does with an actor and those that it runs. @returns how to stop */
export function observe(actor: AnyActorRef, observer: (event: InspectionEvent) => void): () => void {
  const subscription = actor.system.inspect(observer);
  return () => subscription.unsubscribe();
}

type PersistedSnapshot = Snapshot<unknown> & {
  readonly children?: Readonly<Record<string, { readonly snapshot: Snapshot<unknown> }>>;
};

/** The interface behind XState's delayed events and `after`. */
interface Scheduler {
  schedule(source: AnyActorRef, target: AnyActorRef, event: AnyEventObject, delay: number, id?: string): void;
  cancel(source: AnyActorRef, id: string): void;
  cancelAll(actor: AnyActorRef): void;
}

interface Mailbox {
  enqueue(event: AnyEventObject): void;
}

interface Relay {
  _relay(source: AnyActorRef, target: AnyActorRef, event: AnyEventObject): void;
}

interface PendingTimer {
  readonly source: AnyActorRef;
  readonly target: AnyActorRef;
  readonly event: AnyEventObject;
  readonly id: string;
  readonly dueAt: number;
  handle: TimerHandle;
}

/** Milliseconds that the clock's own timers reach; Node fires later ones at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/**
 * XState's scheduler on the system's clock, with two differences: what falls due waits in the actor's own mailbox and
 * is still cancelled while it waits there; and the timers at the last good snapshot are known after a failure.
 */
class Timers implements Scheduler {
  #pending = new Map<string, PendingTimer>();
  /** The timers at the last good snapshot; absent while nothing has changed since. */
  #marked: Map<string, PendingTimer> | undefined;
  #anonymous = 0;

  constructor(
    private readonly root: AnyActorRef,
    private readonly host: MachineHost,
  ) {}

  mark(): void {
    this.#marked = undefined;
  }

  /** Those within the actor's own family: an actor elsewhere cannot be named by what is restored. */
  marked(): Restorable['timers'] {
    const timers: RestorableTimer[] = [];
    for (const { source, target, id, event, dueAt } of (this.#marked ?? this.#pending).values()) {
      const from = this.#pathTo(source);
      const to = this.#pathTo(target);
      if (from !== undefined && to !== undefined) timers.push({ from, to, id, event, dueAt });
    }
    return timers;
  }

  /** Goes on with a timer of an earlier run, at its first deadline, unless one of the two is no more. */
  resume({ from, to, id, event, dueAt }: RestorableTimer): void {
    const source = this.#actorAt(from);
    const target = this.#actorAt(to);
    if (source === undefined || target === undefined) return;
    this.schedule(source, target, event, Math.max(0, dueAt - this.host.clock.now()), id);
  }

  #pathTo(actor: AnyActorRef): readonly string[] | undefined {
    const path: string[] = [];
    for (let at: AnyActorRef | undefined = actor; at !== this.root; at = parentOf(at)) {
      if (at === undefined) return undefined;
      path.unshift(at.id);
    }
    return path;
  }

  #actorAt(path: readonly string[]): AnyActorRef | undefined {
    let at: AnyActorRef | undefined = this.root;
    for (const id of path) at = childrenOf(at)?.[id];
    return at;
  }

  schedule(
    source: AnyActorRef,
    target: AnyActorRef,
    event: AnyEventObject,
    delay: number,
    id = `unnamed.${this.#anonymous++}`,
  ): void {
    const key = keyOf(source, id);
    this.#remove(key);
    const timer: PendingTimer = {
      source,
      target,
      event,
      id,
      dueAt: this.host.clock.now() + delay,
      handle: 0,
    };
    this.#arm(key, timer, delay);
    this.#changing();
    this.#pending.set(key, timer);
  }

  #arm(key: string, timer: PendingTimer, delay: number): void {
    const { clock } = this.host;
    timer.handle =
      delay > MAX_TIMEOUT
        ? clock.setTimeout(() => this.#arm(key, timer, timer.dueAt - clock.now()), MAX_TIMEOUT)
        : clock.setTimeout(() => this.host.enqueue(() => this.#fire(key, timer)), delay);
  }

  cancel(source: AnyActorRef, id: string): void {
    this.#remove(keyOf(source, id));
  }

  cancelAll(actor: AnyActorRef): void {
    for (const [key, timer] of [...this.#pending]) if (timer.source === actor) this.#remove(key);
  }

  clear(): void {
    for (const key of [...this.#pending.keys()]) this.#remove(key);
  }

  #fire(key: string, timer: PendingTimer): void {
    if (this.#pending.get(key) !== timer) return;
    this.#pending.delete(key);
    (this.root as unknown as { system: Relay }).system._relay(timer.source, timer.target, timer.event);
    looks.get(this.root.system)?.disarm();
  }

  #remove(key: string): void {
    const timer = this.#pending.get(key);
    if (timer === undefined) return;
    this.#changing();
    this.#pending.delete(key);
    this.host.clock.clearTimeout(timer.handle);
  }

  #changing(): void {
    this.#marked ??= new Map(this.#pending);
  }
}

function parentOf(actor: AnyActorRef): AnyActorRef | undefined {
  return (actor as { _parent?: AnyActorRef })._parent;
}

function childrenOf(
  actor: AnyActorRef | undefined,
): Readonly<Record<string, AnyActorRef | undefined>> | undefined {
  return (actor?.getSnapshot() as { children?: Record<string, AnyActorRef | undefined> } | undefined)
    ?.children;
}

function keyOf(source: AnyActorRef, id: string): string {
  return `${source.sessionId}.${id}`;
}

/** Systems whose every step is shown, or this one: nothing takes a short way there. */
const shown = new WeakSet<AnyActor['system']>();
/** Those who are to be shown what does not go the short way. */
const looks = new WeakMap<AnyActor['system'], Look>();
/** Machines that have one. */
const clones = new WeakSet<AnyActorLogic>();
const boundedMachines = new WeakMap<AnyStateMachine, AnyStateMachine>();

/**
 * XState lets a machine loop for ever unless it is told otherwise; a clone is told, and so are the clones of the
 * machines that it may invoke. The user's own stay as they are. What leaves the clone's state as it is goes the short way.
 */
function bounded(logic: AnyActorLogic): AnyActorLogic {
  const machine = logic as AnyStateMachine;
  if (typeof machine.provide !== 'function' || machine.options?.maxIterations !== Number.POSITIVE_INFINITY) {
    return logic;
  }
  let clone = boundedMachines.get(machine);
  if (clone === undefined) {
    const actors = Object.entries(machine.implementations.actors as Record<string, AnyActorLogic>);
    clone = machine.provide({
      actors: Object.fromEntries(actors.map(([name, child]) => [name, bounded(child)])),
    });
    clone.options = { ...clone.options, maxIterations: MAX_ITERATIONS };
    const quiet = new QuietTransitions(clone);
    const interpret = clone.transition.bind(clone);
    clone.transition = (snapshot, event, scope) => {
      const { system } = scope;
      if (!shown.has(system) && quiet.take(snapshot, event, scope)) return snapshot;
      looks.get(system)?.arm();
      return interpret(snapshot, event, scope);
    };
    clones.add(clone);
    boundedMachines.set(machine, clone);
  }
  return clone;
}

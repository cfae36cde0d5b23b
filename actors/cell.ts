import type {
  AnyActorLogic,
  AnyActorRef,
  AnyEventObject,
  InspectionEvent as XStateInspectionEvent,
} from 'xstate';
import type { Clock } from './clock.js';
import type { DeadLetterReason } from './dead-letters.js';
import type { ActorInfo, InspectionEvent } from './inspection/events.js';
import type { Logger } from './logger.js';
import { type MailboxOptions, RingQueue } from './mailbox.js';
import type { Persistence } from './persistence.js';
import type { Random } from './random.js';
import { Reply } from './reply.js';
import { type Supervision, Supervisor } from './supervision.js';
import type { Runnable } from './turns.js';
import { Machine, type MachineHost, type Restorable } from './xstate-port.js';

/** Why an actor is no more. */
export type StopReason = 'stopped' | 'done' | 'failed';

/** What a cell needs of its system. */
export interface CellHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  ready(cell: Cell): void;
  deadLetter(reason: DeadLetterReason, cell: Cell, event: AnyEventObject, detail: string): void;
  failed(cell: Cell): void;
  restarted(cell: Cell): void;
  stopped(cell: Cell, reason: StopReason): void;
  /** The cell's own supervision hands the failure on; the cell has stopped. */
  escalate(cell: Cell, error: unknown): void;
  /** Where inspection goes; `undefined` while nobody looks. */
  readonly inspector: ((event: InspectionEvent) => void) | undefined;
  /** How much of an actor is shown: one in so many quiet events, 0 for none of these, `undefined` for nothing. */
  shows(path: string): number | undefined;
  /** Cells of which events were not shown since somebody asked: see `takeUnshown`. */
  readonly unshown: Set<Cell>;
}

export interface CellOptions {
  readonly path: string;
  readonly address: string;
  /** Distinguishes the lives of actors at one path. */
  readonly uid: number;
  readonly logic: AnyActorLogic;
  /** Evaluated at every start that is not a restart from a snapshot. */
  readonly input: () => unknown;
  readonly mailbox: MailboxOptions;
  readonly supervision: Supervision;
  readonly parent: Cell | undefined;
  /** Whether a client may stop it. */
  readonly stoppableByClients: boolean;
  /** Where its state outlives it; absent: nowhere. */
  readonly persistence: Persistence | undefined;
}

/** A message, or something that the actor's own machine has to do in its turn. */
type Item = AnyEventObject | (() => void);

/** One local actor: its mailbox, its machine, and what happens when that fails. */
export class Cell implements Runnable, MachineHost {
  readonly children = new Set<Cell>();
  /** Nodes that watch it, each with the time when it last said so. */
  readonly remoteWatchers = new Map<string, number>();
  readonly localWatchers = new Set<(reason: StopReason) => void>();
  readonly #items = new RingQueue<Item>();
  readonly #supervisor: Supervisor;
  #status: ActorInfo['status'] = 'starting';
  #machine: Machine | undefined;
  #restorable: Restorable | undefined;
  #queued = false;
  /** Entries of the mailbox that are messages: the others do not count towards its capacity. */
  #messages = 0;
  #handling: AnyEventObject | undefined;
  #restarts = 0;
  #uninspect: (() => void) | undefined;
  #unshown = 0;

  constructor(
    private readonly host: CellHost,
    readonly options: CellOptions,
  ) {
    this.#supervisor = new Supervisor(options.supervision, host.random);
    options.parent?.children.add(this);
    this.#enterQueue();
  }

  get clock(): Clock {
    return this.host.clock;
  }

  get keepsSteps(): boolean {
    return this.options.persistence !== undefined;
  }

  get alive(): boolean {
    return this.#status !== 'stopped';
  }

  info(): ActorInfo {
    return {
      path: this.options.path,
      status: this.#status,
      queued: this.#messages,
      restarts: this.#restarts,
      logic: logicName(this.options.logic),
      snapshot: this.#machine?.snapshot,
    };
  }

  /**
   * Puts an event into the mailbox, to be handled in a turn.
   * @returns false when it was refused
   */
  deliver(event: AnyEventObject): boolean {
    if (this.#status === 'stopped') {
      this.#refuse(event, 'stopped', 'stopped', 'the actor has stopped');
      return false;
    }
    const { capacity, overflow } = this.options.mailbox;
    if (this.#messages >= capacity) {
      const victim = overflow === 'dropOldest' ? this.#oldest() : event;
      this.#refuse(victim, 'mailbox-full', 'overloaded', `its mailbox is full (${capacity} messages wait)`);
      if (victim === event) return overflow === 'dropNewest';
    }
    this.#messages++;
    this.enqueue(event);
    return true;
  }

  /** Puts something among the messages; `deliver` minds the bound, what the actor owes itself has none. */
  enqueue(item: Item): void {
    this.#items.push(item);
    if (this.#status !== 'restarting') this.#enterQueue();
  }

  run(limit: number): number {
    if (this.#status === 'starting') this.#start();
    let handled = 0;
    while (handled < limit && this.#status === 'active') {
      const item = this.#items.shift();
      if (item === undefined) break;
      handled++;
      if (typeof item === 'function') {
        this.#handling = undefined;
        item();
      } else {
        this.#messages--;
        if (this.options.persistence?.admit(item) === false) continue;
        this.#handling = item;
        this.#machine?.send(item);
      }
    }
    this.#handling = undefined;
    return handled;
  }

  requeue(): boolean {
    this.#queued = this.#status === 'active' && this.#items.length > 0;
    return this.#queued;
  }

  /** Stops it in its own turn, after the messages that it already has. */
  requestStop(): void {
    if (this.#status === 'restarting') this.stop('stopped');
    else this.enqueue(() => this.stop('stopped'));
  }

  stop(reason: StopReason): void {
    if (this.#status === 'stopped') return;
    this.#status = 'stopped';
    for (const child of this.children) child.stop('stopped');
    this.options.parent?.children.delete(this);
    this.#stopMachine();
    for (let item = this.#items.shift(); item !== undefined; item = this.#items.shift()) {
      if (typeof item !== 'function')
        this.#refuse(item, 'stopped', 'stopped', 'the actor stopped before it was handled');
    }
    this.#messages = 0;
    this.#tell({ type: 'stopped', address: this.options.address, at: this.clock.now(), reason });
    this.host.stopped(this, reason);
  }

  /** XState's own actor; `undefined` before its first start, and while it restarts. */
  get actor(): AnyActorRef | undefined {
    return this.#machine?.actor;
  }

  /** Shows of the machine's inside what the host wants to see from now on. */
  inspect(): void {
    this.uninspect();
    const every = this.host.shows(this.options.path);
    if (every === undefined) return;
    this.#uninspect = this.#machine?.inspect(
      (event: XStateInspectionEvent) =>
        this.#tell({ type: 'machine', address: this.options.address, at: this.clock.now(), event }),
      every,
    );
  }

  /** Stops showing it. */
  uninspect(): void {
    this.#uninspect?.();
    this.#uninspect = undefined;
  }

  /** Somebody looks, and was shown nothing of an event. */
  unshown(): void {
    if (this.#unshown++ === 0) this.host.unshown.add(this);
  }

  /** @returns how many events were not shown since the last call */
  takeUnshown(): number {
    const count = this.#unshown;
    this.#unshown = 0;
    return count;
  }

  advanced(): void {
    const machine = this.#machine;
    if (machine === undefined || this.#status !== 'active') return;
    try {
      this.options.persistence?.advanced(machine);
    } catch (error) {
      this.failed(error);
    }
  }

  done(): void {
    this.stop('done');
  }

  failed(error: unknown): void {
    if (this.#status === 'stopped' || this.#status === 'restarting') return;
    const { address, supervision } = this.options;
    this.#abandonHandled(error);
    this.#tell({ type: 'failed', address, at: this.clock.now(), error });
    this.host.failed(this);
    const verdict = this.#supervisor.judge(this.clock.now());
    this.host.logger.error({ actor: address, err: error, verdict: verdict.directive }, 'an actor failed');
    this.options.persistence?.failed(error, 'delay' in verdict ? verdict.delay : undefined);
    if (!('delay' in verdict)) {
      this.stop('failed');
      if (verdict.directive === 'escalate') this.host.escalate(this, error);
      return;
    }
    this.#status = 'restarting';
    for (const child of this.children) child.stop('stopped');
    const inMemory = supervision.onFailure === 'restart' && !this.keepsSteps;
    this.#restorable = inMemory ? this.#machine?.restorable() : undefined;
    this.#stopMachine();
    this.clock.setTimeout(() => this.#restart(), verdict.delay);
  }

  #restart(): void {
    if (this.#status !== 'restarting') return;
    this.#status = 'starting';
    this.#restarts++;
    this.host.restarted(this);
    this.#tell({ type: 'restarted', address: this.options.address, at: this.clock.now() });
    this.#enterQueue();
  }

  #enterQueue(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.host.ready(this);
  }

  #start(): void {
    const kept = this.#restorable;
    this.#restorable = undefined;
    try {
      const { logic, address, input, persistence } = this.options;
      const restored = persistence === undefined ? kept : persistence.restore();
      this.#machine = new Machine(
        logic,
        address,
        restored === undefined ? input() : undefined,
        this,
        restored,
      );
      this.#status = 'active';
      if (this.host.inspector !== undefined) this.inspect();
      this.#machine.start();
    } catch (error) {
      this.failed(error);
    }
  }

  #stopMachine(): void {
    this.uninspect();
    this.#machine?.stop();
    this.#machine = undefined;
  }

  #abandonHandled(error: unknown): void {
    const { replyTo } = (this.#handling ?? {}) as { replyTo?: unknown };
    if (replyTo instanceof Reply) {
      replyTo.abandon('stopped', `the actor failed while it handled the message: ${String(error)}`);
    }
    this.#handling = undefined;
  }

  #oldest(): AnyEventObject {
    for (;;) {
      const item = this.#items.shift();
      if (item === undefined) throw new Error('a full mailbox holds messages');
      if (typeof item === 'function') {
        this.#items.push(item);
        continue;
      }
      this.#messages--;
      return item;
    }
  }

  #refuse(
    event: AnyEventObject,
    reason: DeadLetterReason,
    code: 'overloaded' | 'stopped',
    detail: string,
  ): void {
    this.host.deadLetter(reason, this, event, detail);
    if (event.replyTo instanceof Reply) event.replyTo.abandon(code, `${this.options.address}: ${detail}`);
  }

  #tell(event: InspectionEvent): void {
    this.host.inspector?.(event);
  }
}

function logicName(logic: AnyActorLogic): string | undefined {
  const { id } = logic as { readonly id?: unknown };
  return typeof id === 'string' ? id : undefined;
}

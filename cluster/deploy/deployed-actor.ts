/** One deployed actor in its host's memory: its life, and the events that wait for it. */

import { type Actor, type AnyStateMachine, createActor } from 'xstate';
import type { ActorRef, ActorSystem } from '../../actors/index.js';
import {
  type DeployedActorDuties,
  type DeployedActorState,
  deployedActorMachine,
} from '../../machines/index.js';
import type { Engine } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import type { Backlog } from './backlog.js';
import type { Journal } from './journal.js';
import { type DeployCounts, Ledger } from './ledger.js';
import type { Courier } from './outbox.js';
import { type Delivery, MAX_WAITING, type Refusal, refusal, type WaitingEffects } from './protocol.js';
import type { Owner } from './records.js';
import { loadPast } from './stored-actor.js';

export interface DeployedActorParts {
  readonly owner: Owner;
  /** Its path in the host's actor system. */
  readonly path: string;
  readonly machine: AnyStateMachine;
  readonly input: unknown;
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly courier: Courier;
  readonly backlog: Backlog;
  readonly counts: DeployCounts;
  /** Milliseconds of the wall clock. */
  readonly wall: () => number;
  /** A word that no other life has. */
  readonly newLife: () => string;
  /** Whether it may leave the memory, and has to be woken for its timers then. */
  readonly wakes: boolean;
  /** It need not be in memory any more. */
  readonly forgotten: (actor: DeployedActor) => void;
}

/** The machine is never given up: its sender is told what it threw on, and what waits is kept. */
const SUPERVISION = {
  minBackoff: 100,
  maxBackoff: 10_000,
  window: 60_000,
  limit: Number.MAX_SAFE_INTEGER,
} as const;

/** For who meets one that stands as failed. */
export const HOW_TO_GO_ON = 'it is tried again with the next event, and when its machine is deployed again';
/** Failures in a row without an event after which it is left standing: with the pauses between them about a minute. */
const MAX_ATTEMPTS = 12;
/** Milliseconds without a failure after which the row begins anew. */
const STEADY_MS = 60_000;

export class DeployedActor {
  readonly #parts: DeployedActorParts;
  readonly #life: Actor<typeof deployedActorMachine>;
  #ledger: Ledger | undefined;
  #ref: ActorRef | undefined;
  #machineGone = true;
  /** Events that wait for it to be in memory. */
  readonly #queue: Delivery[] = [];
  #usedAt: number;
  #failures = 0;
  #lastFailure = '';
  /** Failures without an event, in a row. */
  #attempts = 0;
  #failedAt = 0;
  #begin: { resolve(): void; reject(error: Error): void } = { resolve: () => {}, reject: () => {} };
  /** It has taken its first step, or has a past; rejects when it cannot. */
  readonly begun: Promise<void> = new Promise((resolve, reject) => {
    this.#begin = { resolve, reject };
  });
  /** What keeps it from being restored. */
  #obstacle = '';
  readonly #whenForgotten: (() => void)[] = [];

  constructor(parts: DeployedActorParts) {
    this.#parts = parts;
    this.#usedAt = parts.system.clock.now();
    // Who does not ask is not told.
    this.begun.catch(() => {});
    const duties: DeployedActorDuties = {
      restore: () => this.#restore(),
      startMachine: () => this.#startMachine(),
      stopMachine: () => this.#stopMachine(),
      refuseEvents: () => this.#refuseEvents(),
      giveUp: () => this.#giveUp(),
      forget: () => this.#forget(),
    };
    this.#life = createActor(deployedActorMachine, { input: { duties } });
    this.#life.subscribe({
      error: (error) => parts.system.logger.error({ err: error, actor: parts.path }, 'its life broke off'),
    });
    this.#life.start();
  }

  get owner(): Owner {
    return this.#parts.owner;
  }

  get state(): DeployedActorState {
    const { value } = this.#life.getSnapshot();
    return typeof value === 'string' ? value : value.active;
  }

  /** How often it failed since it came to memory, and on what last. */
  get failures(): { readonly count: number; readonly last: string } {
    return { count: this.#failures, last: this.#lastFailure };
  }

  /** Effects that have not left. */
  get effects(): number {
    return this.#ledger?.effects ?? 0;
  }

  /** For whom effects wait that were tried in vain. */
  get waitingEffects(): readonly WaitingEffects[] {
    return this.#ledger?.waitingEffects ?? [];
  }

  /** Its state after the last step, as stored; `undefined` before the first. */
  get text(): string | undefined {
    return this.#ledger?.text;
  }

  /** When its first timer is due, on the wall clock. */
  get deadline(): number | undefined {
    return this.#ledger?.deadline;
  }

  /** Takes an event, or answers why not. */
  deliver(delivery: Delivery): void {
    this.#usedAt = this.#parts.system.clock.now();
    switch (this.state) {
      case 'running':
      case 'backingOff':
        return this.#hand(delivery);
      case 'finished':
        return this.#refuse(delivery);
      case 'failed':
        // An event is worth another try.
        if (this.#queue.length >= MAX_WAITING) return delivery.answer(this.#overloaded());
        this.#queue.push(delivery);
        if (this.#machineGone) this.#life.send({ type: 'retry' });
        return;
      case 'stopping':
      case 'stopped':
        return delivery.answer(this.#stopped());
      default:
        if (this.#queue.length < MAX_WAITING) this.#queue.push(delivery);
        else delivery.answer(this.#overloaded());
    }
  }

  /**
   * Lets it leave the memory when nobody has needed it since `before` (system clock).
   * @param failedToo also where it stands as failed: its timer would have it tried again
   * @returns whether it does
   */
  passivate(before: number, failedToo = false): boolean {
    const { state } = this;
    const failed = failedToo && state === 'failed' && this.#ledger?.isSettled === true && this.effects === 0;
    const resting = state === 'running' || state === 'finished';
    const may = failed || (resting && this.#ledger?.isQuiet === true);
    if (this.#usedAt > before || !may) return false;
    this.#life.send({ type: 'idle' });
    return true;
  }

  /** Stops it; resolves when all that it has done is durable. */
  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#life.getSnapshot().status !== 'active') return resolve();
      this.#whenForgotten.push(resolve);
      this.#life.send({ type: 'stop' });
    });
  }

  #restore(): void {
    const { engine, owner } = this.#parts;
    loadPast(engine, owner)
      .then((past) => {
        if (this.state !== 'restoring') return;
        this.#ledger = new Ledger(
          {
            ...this.#parts,
            called: this.#called,
            stepped: (finished, onEvent) => this.#stepped(finished, onEvent),
            failed: (reason, onEvent) => this.#failed(reason, onEvent),
            settled: () => this.#perhapsReleased(),
          },
          past,
        );
        if (past.text !== undefined) this.#begin.resolve();
        this.#life.send({ type: 'restored', finished: this.#ledger.finished });
      })
      .catch((error: Error) => {
        this.#parts.system.logger.error(
          { err: error, actor: this.#parts.path },
          'an actor cannot be restored',
        );
        this.#obstacle = error.message;
        this.#begin.reject(error);
        this.#life.send({ type: 'stop' });
      });
  }

  #startMachine(): void {
    const { system, machine, path, input } = this.#parts;
    const ledger = this.#ledger;
    if (ledger === undefined) return;
    this.#machineGone = false;
    this.#ref = system.spawn(machine, {
      path,
      input: () => input as never,
      mailbox: { capacity: MAX_WAITING, overflow: 'reject' },
      supervision: SUPERVISION,
      persistence: ledger,
    });
    this.#ref.watch(() => {
      this.#machineGone = true;
      // Stopped by somebody else: the next event brings it back.
      if (this.state === 'running' || this.state === 'backingOff') this.#life.send({ type: 'stop' });
      this.#perhapsReleased();
      if (this.state === 'failed' && this.#queue.length > 0) this.#life.send({ type: 'retry' });
    });
    for (const delivery of this.#queue.splice(0)) this.#hand(delivery);
  }

  #stopMachine(): void {
    if (this.#machineGone) this.#perhapsReleased();
    else this.#ref?.stop();
  }

  /** Only where the chart waits for it does it count. */
  #perhapsReleased(): void {
    if (!this.#machineGone || this.#ledger?.isSettled === false) return;
    this.#life.send({ type: 'released', wanted: this.#queue.length > 0 });
  }

  #refuseEvents(): void {
    const waiting = [...(this.#ledger?.withdrawAll() ?? []), ...this.#queue.splice(0)];
    for (const delivery of waiting) this.#refuse(delivery);
  }

  /** Its machine takes no events, but a repeated one is answered as it was. */
  #refuse(delivery: Delivery): void {
    if (this.#ledger?.repeat(delivery)) return;
    delivery.answer(refusal('done', `${this.#called} has reached its final state and takes no more events`));
  }

  /** It is left as it is; what waits is told. */
  #giveUp(): void {
    const waiting = [...(this.#ledger?.withdrawAll() ?? []), ...this.#queue.splice(0)];
    for (const delivery of waiting) {
      if (this.#ledger?.repeat(delivery)) continue;
      delivery.answer(
        refusal('failed', `${this.#called} cannot go on (${this.#lastFailure}): the event was not applied`),
      );
    }
    const ref = this.#ref;
    // It is in the middle of telling its failure.
    queueMicrotask(() => ref?.stop());
  }

  #forget(): void {
    this.#begin.reject(new TroupeError('unavailable', `${this.#called} was stopped`));
    this.#ledger?.close();
    const waiting = [...(this.#ledger?.withdrawAll() ?? []), ...this.#queue.splice(0)];
    for (const delivery of waiting) delivery.answer(this.#stopped());
    this.#parts.forgotten(this);
    for (const tell of this.#whenForgotten.splice(0)) tell();
  }

  #hand(delivery: Delivery): void {
    const { system, path } = this.#parts;
    const ledger = this.#ledger;
    if (ledger === undefined) return delivery.answer(this.#stopped());
    if (ledger.waiting < MAX_WAITING && system.deliver(path, ledger.expect(delivery))) return;
    ledger.withdraw(delivery);
    delivery.answer(this.#overloaded());
  }

  #stepped(finished: boolean, onEvent: boolean): void {
    if (onEvent) this.#attempts = 0;
    this.#begin.resolve();
    this.#usedAt = this.#parts.system.clock.now();
    if (finished) this.#life.send({ type: 'finished' });
    else if (this.state === 'backingOff') this.#life.send({ type: 'restarted' });
  }

  #failed(reason: string, onEvent: boolean): void {
    this.#failures++;
    this.#lastFailure = reason;
    const now = this.#parts.system.clock.now();
    if (now - this.#failedAt > STEADY_MS) this.#attempts = 0;
    this.#failedAt = now;
    if (onEvent) {
      this.#life.send({ type: 'failed' });
      return;
    }
    this.#attempts++;
    const unborn = this.text === undefined;
    if (unborn) this.#begin.reject(new TroupeError('failed', reason));
    if (!unborn && this.#attempts < MAX_ATTEMPTS) {
      this.#life.send({ type: 'failed' });
      return;
    }
    // Of a first step its caller, or the sender of its event, is told.
    const log = this.#parts.system.logger[unborn ? 'debug' : 'error'];
    log.call(
      this.#parts.system.logger,
      { actor: this.#parts.path, attempts: this.#attempts, reason },
      `an actor stands as failed: ${HOW_TO_GO_ON}`,
    );
    this.#life.send({ type: 'gaveUp' });
  }

  get #called(): string {
    const { name, key } = this.owner;
    return key === '' ? name : `${name} ${key}`;
  }

  #stopped(): Refusal {
    const sentence =
      this.#obstacle === ''
        ? `${this.#called} is being stopped: try again later`
        : `${this.#called} cannot be restored: ${this.#obstacle}`;
    return refusal('unavailable', sentence);
  }

  #overloaded(): Refusal {
    return refusal('overloaded', `${MAX_WAITING} events wait for ${this.#called}: try again later`);
  }
}

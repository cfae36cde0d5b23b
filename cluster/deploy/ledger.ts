/** What a deployed actor has applied and what it owes: state, ids and effects, from its machine's steps to the disk. */

import type { AnyEventObject, AnyMachineSnapshot } from 'xstate';
import type { ActorSystem, Persistence, Restorable, Step } from '../../actors/index.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import type { Backlog } from './backlog.js';
import type { Journal, JournalSource } from './journal.js';
import { KnownIds, type Said } from './known-ids.js';
import { type Courier, Outbox } from './outbox.js';
import { encodePlain, NotPlainError } from './plain-data.js';
import {
  type Answer,
  type Delivery,
  KNOWN_IDS,
  MAX_BYTES,
  MAX_EFFECTS,
  MOST_EFFECTS,
  refusal,
  type WaitingEffects,
} from './protocol.js';
import {
  decodeState,
  effectKey,
  firstDeadline,
  idKey,
  type Moment,
  type Owner,
  restorableOf,
  type StoredEffect,
  type StoredId,
  stateKey,
  storedState,
  wakeKey,
} from './records.js';
import { AnswerBox } from './reply.js';
import { encoded, persisted } from './step-state.js';
import { type ActorPast, actorStateOf, loadSaid } from './stored-actor.js';

export interface LedgerParts {
  readonly owner: Owner;
  /** How the actor is called in sentences. */
  readonly called: string;
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
  /** Whether it has to be found on the disk when a timer of it falls due. */
  readonly wakes: boolean;
  /** The machine has taken a step. */
  readonly stepped: (finished: boolean, onEvent: boolean) => void;
  /** @param onEvent whether it was the event: without one it would fail again */
  readonly failed: (message: string, onEvent: boolean) => void;
  /** All that it has done is durable. */
  readonly settled: () => void;
}

/** What the actors of a host have done since it started. */
export interface DeployCounts {
  eventsApplied: number;
  eventsRepeated: number;
  effectsLeft: number;
}

/** Characters of what a machine threw that are kept. */
const MAX_REASON = 500;

interface Unwritten {
  state: boolean;
  readonly ids: { readonly row: StoredId; readonly said: Said }[];
  readonly forgotten: number[];
  readonly effects: StoredEffect[];
  readonly left: StoredEffect[];
  readonly answers: (() => void)[];
}

export class Ledger implements Persistence, JournalSource {
  readonly #parts: LedgerParts;
  readonly #outbox: Outbox;
  readonly #ids = new KnownIds(KNOWN_IDS);
  /** The state after the last step; `undefined` before the first. */
  #text: string | undefined;
  #seq = 0;
  /** XState's, after the last step of this run. */
  #snapshot: unknown;
  #life: string;
  #deadline: number | undefined;
  /** What the disk says about when it has to be woken. */
  #wakeAt: number | undefined;
  #busy = false;
  /** Events on their way to the machine, by the object that it will get. */
  readonly #waiting = new Map<AnyEventObject, Delivery>();
  #current: { readonly delivery: Delivery; readonly box: AnswerBox } | undefined;
  #unwritten = nothingUnwritten();
  #changed = false;
  #writing = false;
  /** Effects that the batch being written holds. */
  #effectsInWriting = 0;

  constructor(parts: LedgerParts, { text, ids, effects }: ActorPast) {
    this.#parts = parts;
    const { system, courier, backlog, owner } = parts;
    this.#outbox = new Outbox({
      name: owner.name,
      clock: system.clock,
      random: system.random,
      courier,
      backlog,
      left: (effect) => {
        parts.counts.effectsLeft++;
        this.#unwritten.left.push(effect);
        this.#change();
      },
    });
    for (const id of ids) this.#ids.restore(id);
    this.#life = parts.newLife();
    if (text !== undefined) {
      const stored = decodeState(text);
      this.#text = text;
      this.#seq = stored.seq;
      this.#life = stored.life;
      this.#deadline = firstDeadline(stored);
      this.#wakeAt = parts.wakes ? this.#deadline : undefined;
    }
    this.#outbox.add(effects);
  }

  get text(): string | undefined {
    return this.#text;
  }

  /** Whether its machine has come to its end. */
  get finished(): boolean {
    return this.#text !== undefined && actorStateOf(this.#text).status !== 'active';
  }

  /** When its first timer is due, on the wall clock. */
  get deadline(): number | undefined {
    return this.#deadline;
  }

  /** Effects that have not left. */
  get effects(): number {
    return this.#outbox.size + this.#effectsInWriting + this.#unwritten.effects.length;
  }

  /** For whom effects wait that were tried in vain. */
  get waitingEffects(): readonly WaitingEffects[] {
    return this.#outbox.waiting(this.#parts.wall());
  }

  /** Events that wait for the machine. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether everything that was done is durable. */
  get isSettled(): boolean {
    return !this.#changed && !this.#writing;
  }

  /** Whether it has nothing to do: no effect on its way, no child at work. */
  get isQuiet(): boolean {
    return this.isSettled && this.#outbox.size === 0 && !this.#busy && this.#waiting.size === 0;
  }

  /** The event is on its way to the machine: it will be answered for. @returns the object that the machine is to get */
  expect(delivery: Delivery): AnyEventObject {
    const { event } = delivery;
    // Not a member like others: a machine that keeps the event keeps data.
    Object.defineProperty(event, 'replyTo', {
      value: new AnswerBox(),
      enumerable: false,
      configurable: true,
    });
    this.#waiting.set(event, delivery);
    return event;
  }

  /** It did not get there. */
  withdraw({ event }: Delivery): void {
    this.#waiting.delete(event);
  }

  /** Takes back all that the machine has not taken. */
  withdrawAll(): readonly Delivery[] {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    return waiting;
  }

  /** Answers an event that was applied before, as it was answered then. @returns false for one that is new */
  repeat(delivery: Delivery): boolean {
    const known = delivery.id === undefined ? undefined : this.#ids.find(delivery.id);
    if (known === undefined) return false;
    this.#parts.counts.eventsRepeated++;
    if (known.pending !== undefined) {
      known.pending.repeats.push(delivery);
      return true;
    }
    const { engine, owner } = this.#parts;
    loadSaid(engine, owner, known.seq).then(
      (said) => this.#answer(delivery, known.seq, said, true),
      (error: Error) => delivery.answer(refusal('unavailable', error.message)),
    );
    return true;
  }

  close(): void {
    this.#outbox.close();
  }

  // Persistence: what the machine's cell asks and tells.

  restore(): Restorable | undefined {
    this.#snapshot = undefined;
    return this.#text === undefined ? undefined : restorableOf(decodeState(this.#text), this.#now());
  }

  admit(event: AnyEventObject): boolean {
    const delivery = this.#waiting.get(event);
    if (delivery === undefined) return true;
    this.#waiting.delete(event);
    if (this.repeat(delivery)) return false;
    if (this.effects >= MAX_EFFECTS) {
      const [first] = [...this.waitingEffects].sort((a, b) => b.effects - a.effects);
      const most =
        first === undefined ? '' : `, ${first.effects} of them for ${first.to ?? 'the NATS server'}`;
      const sentence = `${MAX_EFFECTS} effects of ${this.#parts.called} have not left yet${most}: try again later`;
      delivery.answer(refusal('overloaded', sentence));
      return false;
    }
    this.#current = { delivery, box: event.replyTo };
    return true;
  }

  advanced(step: Step): void {
    const seq = this.#seq + 1;
    const restorable = persisted(step);
    const stored = storedState(this.#life, seq, restorable, this.#now());
    const text = encoded(stored);
    const effects = this.#effectsOf(step, seq);
    if (effects.length > 0 && this.effects + effects.length > MOST_EFFECTS) {
      throw new TooManyEffectsError(`${this.effects} effects have not left yet, and it emits more`);
    }
    const taken = this.#tookEvent(step.snapshot);
    // Nothing throws from here on.
    const { status, children = {} } = restorable.snapshot as unknown as PersistedMachine;
    this.#text = text;
    this.#seq = seq;
    this.#snapshot = step.snapshot;
    this.#busy = Object.values(children).some(({ snapshot }) => snapshot.status === 'active');
    this.#deadline = firstDeadline(stored);
    this.#unwritten.state = true;
    this.#unwritten.effects.push(...effects);
    const onEvent = this.#current !== undefined;
    this.#take(seq, taken);
    this.#change();
    this.#parts.stepped(status !== 'active', onEvent);
  }

  failed(error: unknown, restartIn: number | undefined): void {
    const reason = short(error instanceof Error ? error.message : String(error));
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) {
      const { type } = current.delivery.event;
      const goesOn = restartIn === undefined ? 'it has stopped' : 'it goes on as it was before';
      current.box.close();
      current.delivery.answer(
        refusal(
          'failed',
          `${this.#parts.called} failed on ${type} (${reason}): the event was not applied, ${goesOn}`,
        ),
      );
    }
    this.#parts.failed(reason, current !== undefined);
  }

  // JournalSource.

  collect(batch: WriteBatch): () => void {
    const { owner } = this.#parts;
    const { state, ids, forgotten, effects, left, answers } = this.#unwritten;
    this.#unwritten = nothingUnwritten();
    this.#changed = false;
    this.#writing = true;
    this.#effectsInWriting = effects.length;
    if (state) this.#putState(batch);
    for (const { row, said } of ids) batch.put('default', idKey(owner, row.seq), json({ ...row, ...said }));
    for (const seq of forgotten) batch.delete('default', idKey(owner, seq));
    for (const effect of effects) batch.put('default', effectKey(owner, effect.seq, effect.n), json(effect));
    for (const { seq, n } of left) batch.delete('default', effectKey(owner, seq, n));
    return () => {
      this.#writing = false;
      this.#effectsInWriting = 0;
      for (const answer of answers) answer();
      for (const { row, said } of ids) {
        for (const repeat of this.#ids.durable(row.id)) this.#answer(repeat, row.seq, said, true);
      }
      this.#outbox.add(effects);
      if (this.isSettled) this.#parts.settled();
    };
  }

  #putState(batch: WriteBatch): void {
    const { owner, wakes } = this.#parts;
    batch.put('default', stateKey(owner), Buffer.from(this.#text ?? ''));
    const wakeAt = wakes ? this.#deadline : undefined;
    if (wakeAt === this.#wakeAt) return;
    if (this.#wakeAt !== undefined) batch.delete('default', wakeKey(owner, this.#wakeAt));
    if (wakeAt !== undefined) batch.put('default', wakeKey(owner, wakeAt), Buffer.alloc(0));
    this.#wakeAt = wakeAt;
  }

  #effectsOf(step: Step, seq: number): StoredEffect[] {
    const emitted = step.takeEmitted();
    if (emitted.length > MAX_EFFECTS) {
      throw new TooManyEffectsError(`it emitted ${emitted.length} effects at once, more than ${MAX_EFFECTS}`);
    }
    return emitted.map((event, n) => {
      const text = encodePlain(`the effect ${event.type}`, event);
      if (Buffer.byteLength(text) > MAX_BYTES) {
        throw new NotPlainError(`the effect ${event.type} has more than ${MAX_BYTES} bytes`);
      }
      return {
        seq,
        n,
        id: `${this.#parts.owner.name}.${this.#life}.${seq}.${n}`,
        event: JSON.parse(text),
        at: this.#parts.wall(),
      };
    });
  }

  /** Whether a transition took the event that is being handled. */
  #tookEvent(snapshot: unknown): boolean {
    const current = this.#current;
    if (current === undefined || snapshot !== this.#snapshot || current.box.answered) return true;
    // Nothing is new: no transition, or one whose actions have left no trace.
    const same = snapshot as AnyMachineSnapshot;
    return same.machine.getTransitionData(same, current.delivery.event).length > 0;
  }

  /** The step took the event that was being handled, if one was. */
  #take(seq: number, taken: boolean): void {
    const current = this.#current;
    this.#current = undefined;
    if (current === undefined) return;
    const { delivery, box } = current;
    const said: Said = { ...box.close(), ...(taken ? {} : { untaken: true }) };
    this.#parts.counts.eventsApplied++;
    if (delivery.id !== undefined) {
      this.#unwritten.ids.push({ row: { id: delivery.id, seq }, said });
      this.#unwritten.forgotten.push(...this.#ids.add(delivery.id, seq, said));
    }
    const text = this.#text;
    this.#unwritten.answers.push(() => this.#answer(delivery, seq, said, false, text));
  }

  #answer(delivery: Delivery, seq: number, said: Said, duplicate: boolean, text = this.#text): void {
    delivery.answer(this.#answerOf(delivery, seq, said, duplicate, text));
  }

  #answerOf({ id, wants }: Delivery, seq: number, said: Said, duplicate: boolean, text = ''): Answer {
    if (said.refused !== undefined) return refusal('refused', said.refused);
    const acknowledgement = {
      ok: true,
      ...(id === undefined ? {} : { id }),
      seq,
      duplicate,
      taken: said.untaken !== true,
    } as const;
    if (wants === 'acknowledgement') return acknowledgement;
    return 'reply' in said
      ? { ...acknowledgement, reply: said.reply }
      : { ...acknowledgement, state: actorStateOf(text) };
  }

  #change(): void {
    this.#changed = true;
    this.#parts.journal.changed(this);
  }

  #now(): Moment {
    return { clock: this.#parts.system.clock.now(), wall: this.#parts.wall() };
  }
}

/** The step would owe more than an actor may; the machine fails then. */
class TooManyEffectsError extends Error {
  override readonly name = 'TooManyEffectsError';
}

interface PersistedMachine {
  readonly status: string;
  readonly children?: Readonly<Record<string, { readonly snapshot: { readonly status: string } }>>;
}

/** What stands in tables and answers. */
function short(reason: string): string {
  return reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON - 1)}…` : reason;
}

function nothingUnwritten(): Unwritten {
  return { state: false, ids: [], forgotten: [], effects: [], left: [], answers: [] };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

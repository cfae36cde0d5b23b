/** The last steps of one actor, each with what led to it: what time travel goes back through. */

import type { MachineRecord, ShownTransition } from '../../actors/index.js';
import { Ring } from './ring.js';

export interface TraceStep {
  /** Counts the steps of the trace. */
  readonly number: number;
  /** Unix milliseconds. */
  readonly at: number;
  readonly event: string;
  readonly detail: unknown;
  readonly source: string | undefined;
  readonly actions: readonly string[];
  readonly transitions: readonly ShownTransition[];
  readonly refused: readonly ShownTransition[];
  readonly value: unknown;
  readonly status: string;
  readonly context: unknown;
  /** Which of the actor's own children it is a step of; `undefined` for its own. */
  readonly child: string | undefined;
}

const STEPS = 300;
/** Children whose steps are not complete; one that is stopped in the middle leaves some. */
const MOST_CHILDREN = 64;

type Pending = Partial<Record<MachineRecord['kind'], MachineRecord[]>>;

export class ActorTrace {
  readonly #steps = new Ring<TraceStep>(STEPS);
  /** Of the actor itself (under its empty name), and of each that it has invoked or spawned. */
  readonly #pending = new Map<string, Pending>();
  /** What the actor itself was last. */
  #own: TraceStep | undefined;
  #number = 0;
  /** The machine's definition, where the node sent it. */
  chart: unknown;
  machine = '';

  get steps(): readonly TraceStep[] {
    return this.#steps.all;
  }

  get length(): number {
    return this.#number;
  }

  add(at: number, record: MachineRecord): void {
    const { child } = record;
    if (record.chart !== undefined && child === undefined) this.chart = record.chart;
    if (record.machine !== undefined && child === undefined) this.machine = record.machine;
    if (record.kind === '@xstate.actor' && record.snapshot !== undefined) {
      // A newcomer is introduced to everybody: nothing has happened to it.
      // After a restart it says as what the actor begins again.
      if (child !== undefined) return;
      if (this.#own === undefined) this.#push(at, record, 'begin to look', record.snapshot);
      else if (this.#own.value === undefined) this.#push(at, record, 'begin', record.snapshot);
      return;
    }
    if (record.kind !== '@xstate.snapshot') {
      if (!this.#pending.has(child ?? '')) this.#dropOldestChild();
      const pending = this.#pending.get(child ?? '') ?? {};
      const list = pending[record.kind] ?? [];
      if (list.length < 32) list.push(record);
      pending[record.kind] = list;
      this.#pending.set(child ?? '', pending);
      return;
    }
    this.#push(
      at,
      record,
      record.event?.type ?? '',
      record.snapshot ?? { value: undefined, status: 'active' },
    );
  }

  life(at: number, what: string, detail: string | undefined): void {
    this.#push(at, undefined, `${what}${detail === undefined ? '' : `: ${detail}`}`, {
      value: undefined,
      status: what,
    });
  }

  /** Makes room for one more; what the actor's own step has so far stays. */
  #dropOldestChild(): void {
    const children = [...this.#pending.keys()].filter((name) => name !== '');
    const [oldest] = children;
    if (children.length >= MOST_CHILDREN && oldest !== undefined) this.#pending.delete(oldest);
  }

  #push(
    at: number,
    record: MachineRecord | undefined,
    event: string,
    snapshot: { readonly value: unknown; readonly status: string; readonly context?: unknown },
  ): void {
    const child = record?.child;
    const pending = this.#pending.get(child ?? '') ?? {};
    this.#pending.delete(child ?? '');
    const step = pending['@xstate.transition']?.at(-1);
    const sent = pending['@xstate.event']?.at(-1);
    const made: TraceStep = {
      number: ++this.#number,
      at,
      event,
      detail: sent?.event ?? record?.event,
      source: sent?.source,
      actions: (pending['@xstate.action'] ?? []).map(({ action }) => action?.type ?? ''),
      transitions: step?.transitions ?? [],
      refused: step?.refused ?? [],
      value: snapshot.value,
      status: snapshot.status,
      context: snapshot.context,
      child,
    };
    this.#steps.push(made);
    if (child === undefined) this.#own = made;
  }
}

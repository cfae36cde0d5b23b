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
  readonly child: string | undefined;
}

const STEPS = 300;

export class ActorTrace {
  readonly #steps = new Ring<TraceStep>(STEPS);
  #pending: Partial<Record<MachineRecord['kind'], MachineRecord[]>> = {};
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
    if (record.chart !== undefined) this.chart = record.chart;
    if (record.machine !== undefined && record.child === undefined) this.machine = record.machine;
    if (record.kind === '@xstate.actor' && record.snapshot !== undefined) {
      // A newcomer is introduced to everybody: nothing has happened to it.
      if (this.#number === 0) this.#push(at, record, 'begin to look', record.snapshot);
      return;
    }
    if (record.kind !== '@xstate.snapshot') {
      const list = this.#pending[record.kind] ?? [];
      if (list.length < 32) list.push(record);
      this.#pending[record.kind] = list;
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

  #push(
    at: number,
    record: MachineRecord | undefined,
    event: string,
    snapshot: { readonly value: unknown; readonly status: string; readonly context?: unknown },
  ): void {
    const pending = this.#pending;
    this.#pending = {};
    const step = pending['@xstate.transition']?.at(-1);
    const sent = pending['@xstate.event']?.at(-1);
    this.#steps.push({
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
      child: record?.child,
    });
  }
}

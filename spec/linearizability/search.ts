import { Configuration } from './configuration.js';
import type { Operation } from './history.js';
import type { Model } from './model.js';

export interface SearchLimits {
  /** Steps of the model that the search may take. */
  readonly maxSteps: number;
  /** Looked at now and then: whether the time is up. */
  readonly expired: () => boolean;
}

export interface SearchResult<State> {
  readonly verdict: 'ok' | 'illegal' | 'unknown';
  readonly steps: number;
  /** How the longest order that was found ends, if asked for: places in the given operations, the states after them. */
  readonly explained: readonly { readonly index: number; readonly state: State }[];
}

/** Steps between two looks at the time. */
const STEPS_PER_LOOK = 4096;
/** Steps kept of the longest order. */
const EXPLAINED = 16;
const NONE = -1;

/** Beginnings and ends of operations in their order, as a doubly linked list from which operations are lifted out. */
class Events {
  /** Operation of each event. */
  readonly operation: Int32Array;
  /** Event of the operation's end; `NONE` for ends, and for beginnings of operations that have none. */
  readonly end: Int32Array;
  readonly isCall: Uint8Array;
  readonly next: Int32Array;
  readonly previous: Int32Array;
  first: number;

  constructor(operations: readonly Operation<unknown, unknown>[]) {
    const all: { at: number; index: number; call: boolean }[] = [];
    operations.forEach(({ call, return: end }, index) => {
      all.push({ at: call, index, call: true });
      if (Number.isFinite(end)) all.push({ at: end, index, call: false });
    });
    // What begins at the very moment at which something else ends may have come before it.
    all.sort((a, b) => a.at - b.at || Number(b.call) - Number(a.call));
    const count = all.length;
    this.operation = new Int32Array(count);
    this.end = new Int32Array(count).fill(NONE);
    this.isCall = new Uint8Array(count);
    this.next = new Int32Array(count);
    this.previous = new Int32Array(count);
    const calls = new Int32Array(operations.length);
    all.forEach(({ index, call }, event) => {
      this.operation[event] = index;
      this.next[event] = event + 1 < count ? event + 1 : NONE;
      this.previous[event] = event - 1;
      if (call) {
        this.isCall[event] = 1;
        calls[index] = event;
      } else {
        this.end[calls[index] ?? 0] = event;
      }
    });
    this.first = count > 0 ? 0 : NONE;
  }

  /** Takes an operation's events out. */
  lift(call: number): void {
    this.#unlink(call);
    const end = this.end[call] ?? NONE;
    if (end !== NONE) this.#unlink(end);
  }

  /** Puts them back where they were; in the opposite order of lifting. */
  unlift(call: number): void {
    const end = this.end[call] ?? NONE;
    if (end !== NONE) this.#link(end);
    this.#link(call);
  }

  #unlink(event: number): void {
    const next = this.next[event] ?? NONE;
    const previous = this.previous[event] ?? NONE;
    if (previous === NONE) this.first = next;
    else this.next[previous] = next;
    if (next !== NONE) this.previous[next] = previous;
  }

  #link(event: number): void {
    const next = this.next[event] ?? NONE;
    const previous = this.previous[event] ?? NONE;
    if (previous === NONE) this.first = event;
    else this.next[previous] = event;
    if (next !== NONE) this.previous[next] = event;
  }
}

/**
 * Searches depth first for an order of the operations of one object that respects their times and the model.
 *
 * It walks along the events: an operation that has begun and fits the state takes effect and is lifted out; at the end of
 * one that has not, the last effect is taken back. A set of operations that have taken effect, with the state that
 * they led to, is looked at once. What only reads takes effect as soon as it fits: no order is lost by that, so it
 * is taken back only together with the change before it.
 *
 * Operations without an end may take effect or not. Those without an output count only where they change the state.
 */
export function search<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  limits: SearchLimits,
  explain = false,
): SearchResult<State> {
  const one = new Search(model, operations, limits, explain);
  const verdict = one.run();
  return { verdict, steps: one.steps, explained: one.explained };
}

class Search<State, Input, Output> {
  steps = 0;
  explained: SearchResult<State>['explained'] = [];
  readonly #model: Model<State, Input, Output>;
  readonly #operations: readonly Operation<Input, Output>[];
  readonly #limits: SearchLimits;
  readonly #explain: boolean;
  readonly #events: Events;
  readonly #readOnly: Uint8Array;
  readonly #done: Configuration;
  readonly #seen = new Set<string>();
  /** Beginnings of the operations that took effect, in their order. */
  readonly #lifted: number[] = [];
  /** States before each of them. */
  readonly #before: { readonly state: State; readonly key: string }[] = [];
  #now: { readonly state: State; readonly key: string };
  /** Operations with an end that have not taken effect. */
  #waiting: number;
  #longest = 0;

  constructor(
    model: Model<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    limits: SearchLimits,
    explain: boolean,
  ) {
    this.#model = model;
    this.#operations = operations;
    this.#limits = limits;
    this.#explain = explain;
    this.#events = new Events(operations);
    this.#readOnly = Uint8Array.from(operations, ({ input, output }) =>
      output !== undefined && model.readsOnly?.(input, output) === true ? 1 : 0,
    );
    this.#done = new Configuration(operations);
    this.#now = { state: model.initial, key: model.key(model.initial) };
    this.#waiting = operations.filter(({ return: end }) => Number.isFinite(end)).length;
  }

  run(): SearchResult<State>['verdict'] {
    const events = this.#events;
    this.#read();
    let event = events.first;
    while (this.#waiting > 0) {
      if (this.steps > this.#limits.maxSteps) return 'unknown';
      if (events.isCall[event] === 1) {
        if (this.#change(event)) {
          this.#read();
          event = events.first;
        } else {
          event = events.next[event] ?? NONE;
        }
        continue;
      }
      const last = this.#takeBack();
      if (last === NONE) return 'illegal';
      event = events.next[last] ?? NONE;
    }
    return 'ok';
  }

  /** Everything under way that only reads, and fits, takes effect. */
  #read(): void {
    const events = this.#events;
    for (let event = events.first; event !== NONE && events.isCall[event] === 1; ) {
      const reads = this.#readOnly[events.operation[event] ?? 0] === 1;
      const next = reads ? this.#step(event) : undefined;
      if (next !== undefined) this.#lift(event, next);
      const following = events.next[event] ?? NONE;
      // Its own end may have been the next event, and went with it.
      const gone = next !== undefined && following === events.end[event];
      event = gone ? (events.next[following] ?? NONE) : following;
    }
  }

  /** Lets an operation take effect, unless what that leads to has been looked at. */
  #change(event: number): boolean {
    const index = this.#events.operation[event] ?? 0;
    const next = this.#readOnly[index] === 1 ? undefined : this.#step(event);
    if (next === undefined) return false;
    this.#done.add(index);
    const configuration = `${this.#done.key()} ${next.key}`;
    this.#done.remove(index);
    if (this.#seen.has(configuration)) return false;
    this.#seen.add(configuration);
    this.#lift(event, next);
    return true;
  }

  /** The state after the operation; `undefined` when it does not fit. */
  #step(event: number): { readonly state: State; readonly key: string } | undefined {
    const operation = this.#operations[this.#events.operation[event] ?? 0];
    if (operation === undefined) return undefined;
    if (++this.steps % STEPS_PER_LOOK === 0 && this.#limits.expired()) this.steps = Number.POSITIVE_INFINITY;
    const { state, key } = this.#now;
    const [fits, next] = this.#model.step(state, operation.input, operation.output);
    if (!fits) return undefined;
    const nextKey = next === state ? key : this.#model.key(next);
    return operation.output === undefined && nextKey === key ? undefined : { state: next, key: nextKey };
  }

  #lift(event: number, next: { readonly state: State; readonly key: string }): void {
    this.#lifted.push(event);
    this.#before.push(this.#now);
    this.#now = next;
    this.#done.add(this.#events.operation[event] ?? 0);
    if (this.#events.end[event] !== NONE) this.#waiting--;
    this.#events.lift(event);
    if (this.#explain && this.#lifted.length > this.#longest) this.#remember();
  }

  /** Takes back the last change and the reads after it. @returns its beginning, `NONE` when there is none */
  #takeBack(): number {
    for (;;) {
      const event = this.#lifted.pop();
      const before = this.#before.pop();
      if (event === undefined || before === undefined) return NONE;
      const index = this.#events.operation[event] ?? 0;
      this.#now = before;
      this.#done.remove(index);
      if (this.#events.end[event] !== NONE) this.#waiting++;
      this.#events.unlift(event);
      if (this.#readOnly[index] === 0) return event;
    }
  }

  #remember(): void {
    this.#longest = this.#lifted.length;
    const from = Math.max(0, this.#longest - EXPLAINED);
    this.explained = this.#lifted.slice(from).map((event, place) => ({
      index: this.#events.operation[event] ?? 0,
      state: (this.#before[from + place + 1] ?? this.#now).state,
    }));
  }
}

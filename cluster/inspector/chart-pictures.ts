/** Charts for the page: drawn once for each machine, and which of their states a value means. */

import { Worker } from 'node:worker_threads';

import { houseMachine } from '../charts/house.js';
import type { Chart, ChartState } from '../charts/model.js';
import { chartOf } from '../charts/read-machine.js';
import { outlineOf } from './chart-outline.js';
import type { Drawing, DrawingOrder } from './chart-worker.js';

const MOST_CHARTS = 64;

interface Picture {
  readonly chart: Chart;
  whole?: Promise<string | undefined>;
  outline?: Promise<string | undefined>;
}

export class ChartPictures {
  readonly #known = new Map<string, Picture>();
  #worker: Worker | undefined;
  #number = 0;
  readonly #ordered = new Map<number, (svg: string | undefined) => void>();

  /** Whether there is a chart of the machine. */
  knows(machine: string): boolean {
    return this.#picture(machine) !== undefined;
  }

  /**
   * The picture of a machine of the house, or of one that was told of; `undefined` for another.
   * @param outline its states and events alone
   */
  svg(machine: string, outline = false): Promise<string | undefined> | undefined {
    const picture = this.#picture(machine);
    if (picture === undefined) return undefined;
    if (!outline) {
      picture.whole ??= this.#draw(picture.chart);
      return picture.whole;
    }
    picture.outline ??= this.#draw(outlineOf(picture.chart));
    return picture.outline;
  }

  async close(): Promise<void> {
    for (const settle of this.#ordered.values()) settle(undefined);
    this.#ordered.clear();
    await this.#worker?.terminate();
  }

  #draw(chart: Chart): Promise<string | undefined> {
    const worker = this.#begin();
    const order: DrawingOrder = { number: ++this.#number, chart };
    return new Promise((resolve) => {
      this.#ordered.set(order.number, resolve);
      worker.postMessage(order);
    });
  }

  #begin(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL('./chart-worker.js', import.meta.url));
    worker.unref();
    worker.on('message', ({ number, svg }: Drawing) => {
      this.#ordered.get(number)?.(svg);
      this.#ordered.delete(number);
    });
    worker.on('error', () => {
      this.#worker = undefined;
      for (const settle of this.#ordered.values()) settle(undefined);
      this.#ordered.clear();
    });
    this.#worker = worker;
    return worker;
  }

  /** Takes in the definition of a machine that is none of the house's. */
  learn(machine: string, told: unknown): void {
    if (houseMachine(machine) !== undefined || this.#known.has(machine) || !isChart(told)) return;
    if (this.#known.size >= MOST_CHARTS) return;
    this.#known.set(machine, { chart: told });
  }

  /** The ids of the states that are active. */
  active(machine: string, value: unknown): string[] {
    const chart = this.#picture(machine)?.chart;
    return chart === undefined ? [] : [...activeIn(chart.root, value)];
  }

  #picture(machine: string): Picture | undefined {
    const known = this.#known.get(machine);
    if (known !== undefined) return known;
    const house = houseMachine(machine);
    if (house === undefined) return undefined;
    const made: Picture = { chart: chartOf(house.machine) };
    this.#known.set(machine, made);
    return made;
  }
}

function* activeIn(state: ChartState, value: unknown): Generator<string> {
  yield state.id;
  if (typeof value === 'string') {
    const child = state.states.find(({ key }) => key === value);
    if (child !== undefined) yield child.id;
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const child of state.states)
    if (Object.hasOwn(value, child.key)) yield* activeIn(child, Reflect.get(value, child.key));
}

const MOST_STATES = 500;

/** A chart from another node: every part that is drawn is what it should be. */
function isChart(told: unknown): told is Chart {
  if (typeof told !== 'object' || told === null) return false;
  const { version, id, root } = told as Record<string, unknown>;
  const count = { left: MOST_STATES };
  return version === 1 && typeof id === 'string' && isState(root, count);
}

function isState(told: unknown, count: { left: number }): told is ChartState {
  if (typeof told !== 'object' || told === null || count.left-- <= 0) return false;
  const { id, key, kind, tags, entry, exit, invokes, transitions, states, initial } = told as Record<
    string,
    unknown
  >;
  return (
    typeof id === 'string' &&
    typeof key === 'string' &&
    ['atomic', 'compound', 'parallel', 'final', 'history'].includes(String(kind)) &&
    isList(tags, (one) => typeof one === 'string') &&
    isList(entry, isNamedPart) &&
    isList(exit, isNamedPart) &&
    isList(invokes, (one) => isObject(one) && typeof one.id === 'string') &&
    (initial === undefined ||
      (isObject(initial) &&
        isList(initial.targets, (one) => typeof one === 'string') &&
        isList(initial.actions, isNamedPart))) &&
    isList(transitions, isTransition) &&
    isList(states, (one) => isState(one, count))
  );
}

function isTransition(told: unknown): boolean {
  if (!isObject(told)) return false;
  const { trigger, guard, actions, targets, otherwise, reenter } = told;
  return (
    isObject(trigger) &&
    typeof trigger.kind === 'string' &&
    (trigger.kind !== 'event' || typeof trigger.event === 'string') &&
    (trigger.invoke === undefined || (isObject(trigger.invoke) && typeof trigger.invoke.id === 'string')) &&
    (guard === undefined || isGuard(guard, 8)) &&
    isList(actions, isNamedPart) &&
    isList(targets, (one) => typeof one === 'string') &&
    typeof otherwise === 'boolean' &&
    typeof reenter === 'boolean'
  );
}

function isGuard(told: unknown, depth: number): boolean {
  if (!isNamedPart(told) || depth === 0) return false;
  const { guard, guards } = told as Record<string, unknown>;
  return (
    (guard === undefined || isGuard(guard, depth - 1)) &&
    (guards === undefined || isList(guards, (one) => isGuard(one, depth - 1)))
  );
}

/** An action or a guard. */
function isNamedPart(told: unknown): boolean {
  return (
    isObject(told) &&
    typeof told.kind === 'string' &&
    (told.name === undefined || typeof told.name === 'string')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(value: unknown, is: (one: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= 1000 && value.every(is);
}

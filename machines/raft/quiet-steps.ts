import type { StateValue } from 'xstate';
import { type RaftContext, type RaftEvent, raftMachine } from './role.machine.js';

interface Step {
  readonly context: RaftContext;
  readonly event: RaftEvent;
}
type Guard = (step: Step, parameters: undefined) => boolean;
type Act = (step: Step, parameters: undefined) => void;

/** One of the chart's transitions for an event. `acts` is `undefined` where the state moves or another event follows. */
interface Branch {
  readonly guard: Guard | undefined;
  readonly acts: readonly Act[] | undefined;
}

const NOTHING: readonly Act[] = [];

/**
 * What the chart does with an event while it stays in its state: read from the chart itself, and done without the
 * interpreter, whose work for one event is many times that of the rule behind it. A store with a thousand regions has
 * some ten thousand such events a second: ticks, heartbeats, appends and their answers.
 */
export class QuietSteps {
  static readonly #states = new Map<string, QuietSteps>();
  readonly #path: readonly string[];
  /** The chart may leave the state by itself after any event. */
  readonly #restless: boolean;
  readonly #branches = new Map<RaftEvent['type'], readonly Branch[]>();

  private constructor(path: readonly string[]) {
    this.#path = path;
    this.#restless = nodesOf(path).some(({ always }) => (always?.length ?? 0) > 0);
  }

  /** Of the state that the machine is in. */
  static of(value: StateValue): QuietSteps {
    const path = pathOf(value);
    const name = path.join('.');
    const known = QuietSteps.#states.get(name) ?? new QuietSteps(path);
    QuietSteps.#states.set(name, known);
    return known;
  }

  /** Does what the chart would, when the state stays as it is. @returns false when the chart has to: nothing is done then */
  take(context: RaftContext, event: RaftEvent): boolean {
    if (this.#restless) return false;
    const step = { context, event };
    const acts = this.#actsFor(step);
    if (acts === undefined) return false;
    for (const act of acts) act(step, undefined);
    return true;
  }

  #actsFor(step: Step): readonly Act[] | undefined {
    const { type } = step.event;
    let branches = this.#branches.get(type);
    if (branches === undefined) {
      branches = nodesOf(this.#path)
        .reverse()
        .flatMap((node) => (node.transitions.get(type) ?? []).map(branchOf));
      this.#branches.set(type, branches);
    }
    for (const { guard, acts } of branches) if (guard === undefined || guard(step, undefined)) return acts;
    // Nobody listens.
    return NOTHING;
  }
}

type Node = typeof raftMachine.root;

/** From the root to the state. */
function nodesOf(path: readonly string[]): Node[] {
  const nodes = [raftMachine.root];
  for (const key of path) {
    const next = nodes.at(-1)?.states[key];
    if (next === undefined) throw new Error(`the role machine has no state ${path.join('.')}`);
    nodes.push(next);
  }
  return nodes;
}

function pathOf(value: StateValue): string[] {
  if (typeof value === 'string') return [value];
  return Object.entries(value).flatMap(([key, inner]) =>
    inner === undefined ? [key] : [key, ...pathOf(inner)],
  );
}

function branchOf({
  guard,
  target,
  actions,
}: ReturnType<Node['transitions']['get']> extends readonly (infer T)[] | undefined ? T : never): Branch {
  const { guards, actions: named } = raftMachine.implementations;
  return {
    guard:
      guard === undefined ? undefined : (guards[String(guard) as keyof typeof guards] as unknown as Guard),
    acts:
      target === undefined
        ? plain(actions.map((name) => named[String(name) as keyof typeof named]))
        : undefined,
  };
}

/** `undefined` when one of them is more than a function: it raises an event. */
function plain(actions: readonly unknown[]): readonly Act[] | undefined {
  return actions.every((action) => typeof action === 'function' && !('resolve' in action))
    ? (actions as Act[])
    : undefined;
}

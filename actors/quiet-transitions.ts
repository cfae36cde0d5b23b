import type {
  AnyActorScope,
  AnyEventObject,
  AnyMachineSnapshot,
  AnyStateMachine,
  AnyStateNode,
} from 'xstate';

type Act = (args: object, params: undefined) => void;
type Guard = (args: object, params: undefined) => boolean;

/** One of a chart's transitions for an event; `acts` is `undefined` where only the interpreter can take it. */
interface Branch {
  readonly guard: Guard | undefined;
  readonly acts: readonly Act[] | undefined;
}

/** What an event may do in a state; `undefined` where only the interpreter knows. */
type Branches = readonly Branch[] | undefined;

/**
 * A machine's transitions that leave its state and context as they are, done without the interpreter, whose work for one event is
 * many times that of the action behind it. They are read from the chart; whatever does more than to call functions (a
 * target, `assign` and its like, parallel states, `always`, actions and guards with parameters, wildcards) is left to XState.
 */
export class QuietTransitions {
  readonly #machine: AnyStateMachine;
  readonly #types: ReadonlySet<string>;
  /** By the nodes of a configuration, which XState keeps from snapshot to snapshot while the state stays. */
  readonly #configurations = new WeakMap<readonly AnyStateNode[], Map<string, Branches>>();
  readonly #states = new Map<string, Map<string, Branches>>();

  constructor(machine: AnyStateMachine) {
    this.#machine = machine;
    this.#types = new Set(machine.events);
  }

  /** Does what the chart would. @returns false when the interpreter has to: nothing is done then. @throws what an action throws */
  take(snapshot: AnyMachineSnapshot, event: AnyEventObject, scope: AnyActorScope): boolean {
    if (snapshot.status !== 'active') return false;
    const branches = this.#branchesOf(snapshot._nodes, event.type);
    if (branches === undefined) return false;
    const { context } = snapshot;
    const args = { context, event, self: scope.self, system: scope.system };
    const branch = chosen(branches, args);
    if (branch === undefined) return false;
    for (const act of branch) act(args, undefined);
    return true;
  }

  #branchesOf(nodes: readonly AnyStateNode[], type: string): Branches {
    let known = this.#configurations.get(nodes);
    if (known === undefined) {
      const name = nodes.map(({ id }) => id).join(' ');
      known = this.#states.get(name) ?? new Map();
      this.#states.set(name, known);
      this.#configurations.set(nodes, known);
    }
    if (known.has(type)) return known.get(type);
    const branches = this.#read(nodes, type);
    // Types come from outside, and nobody may fill the memory with them.
    if (this.#types.has(type)) known.set(type, branches);
    return branches;
  }

  #read(nodes: readonly AnyStateNode[], type: string): Branches {
    if (type.startsWith('xstate.')) return undefined;
    const restless = nodes.some(({ always = [], type: kind }) => always.length > 0 || kind === 'parallel');
    if (restless) return undefined;
    const innerFirst = [...nodes].sort((a, b) => b.path.length - a.path.length);
    const wild = innerFirst.some(({ transitions }) =>
      [...transitions.keys()].some((key) => key.includes('*')),
    );
    if (wild) return undefined;
    return innerFirst.flatMap(({ transitions }) =>
      (transitions.get(type) ?? []).map(({ guard, target, reenter, actions }) => {
        const check = guard === undefined ? undefined : this.#plain(guard, 'guards', 'check');
        const acts = actions.map((action) => this.#plain(action, 'actions', 'resolve'));
        const simple = target === undefined && !reenter && acts.every((act) => act !== undefined);
        return {
          // What cannot be judged here counts as true, and the interpreter judges.
          guard: check as Guard | undefined,
          acts: simple && (guard === undefined || check !== undefined) ? (acts as Act[]) : undefined,
        };
      }),
    );
  }

  /** The function behind an action or a guard, when it is no more than that. */
  #plain(given: unknown, kind: 'actions' | 'guards', mark: string): unknown {
    const found = typeof given === 'string' ? this.#machine.implementations[kind][given] : given;
    return typeof found === 'function' && !(mark in found) ? found : undefined;
  }
}

const NOTHING: readonly Act[] = [];

/** What the first branch whose guard lets it does; nothing when nobody listens, and `undefined` for the interpreter to find out. */
function chosen(branches: readonly Branch[], args: object): readonly Act[] | undefined {
  try {
    for (const { guard, acts } of branches) if (guard === undefined || guard(args, undefined)) return acts;
    return NOTHING;
  } catch {
    // A guard failed: so it will there, with all that is to be said of it.
    return undefined;
  }
}

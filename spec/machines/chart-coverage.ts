import {
  type AnyStateMachine,
  type AnyStateNode,
  createActor,
  type EventFromLogic,
  type InputFrom,
} from 'xstate';

/** A machine that a script is run on, and what became of it. */
export interface ScriptRun {
  /** The state as a path: `underWay.streaming`. */
  readonly state: string;
}

/** Runs event scripts on a machine and remembers which of its arrows were taken. */
export class ChartCoverage<M extends AnyStateMachine> {
  readonly #machine: M;
  readonly #taken = new Set<unknown>();
  readonly #entered = new Set<string>();

  constructor(machine: M) {
    this.#machine = machine;
  }

  run(input: InputFrom<M>, events: readonly EventFromLogic<M>[]): ScriptRun {
    const actor = createActor(this.#machine, {
      input: input as never,
      inspect: (inspected) => {
        if (inspected.type !== '@xstate.microstep') return;
        const { _transitions, snapshot } = inspected as unknown as {
          _transitions: readonly unknown[];
          snapshot: { value: unknown };
        };
        for (const transition of _transitions) this.#taken.add(transition);
        this.#entered.add(pathOf(snapshot.value));
      },
    });
    actor.start();
    this.#entered.add(stateOf(actor));
    for (const event of events) {
      actor.send(event);
      this.#entered.add(stateOf(actor));
    }
    return { state: stateOf(actor) };
  }

  /** Arrows of the chart that no script has taken, as `state: event (place among the arrows of the event)`. */
  missing(): string[] {
    const missing: string[] = [];
    const visit = (node: AnyStateNode): void => {
      for (const [event, arrows] of node.transitions) {
        arrows.forEach((arrow, i) => {
          if (!this.#taken.has(arrow)) missing.push(`${node.path.join('.')}: ${event} (${i})`);
        });
      }
      node.always?.forEach((arrow, i) => {
        if (!this.#taken.has(arrow)) missing.push(`${node.path.join('.')}: always (${i})`);
      });
      for (const child of Object.values(node.states)) visit(child);
    };
    visit(this.#machine.root);
    return missing;
  }

  /** States that no script has come to; a state counts with those inside it. */
  unvisited(): string[] {
    const leaves: string[] = [];
    const visit = (node: AnyStateNode): void => {
      const children = Object.values(node.states);
      if (children.length === 0) leaves.push(node.path.join('.'));
      for (const child of children) visit(child);
    };
    visit(this.#machine.root);
    return leaves.filter((leaf) => !this.#entered.has(leaf));
  }
}

function stateOf(actor: { getSnapshot(): unknown }): string {
  return pathOf((actor.getSnapshot() as { readonly value: unknown }).value);
}

function pathOf(value: unknown): string {
  if (typeof value === 'string') return value;
  const [name, inner] = Object.entries(value as object)[0] as [string, unknown];
  return `${name}.${pathOf(inner)}`;
}

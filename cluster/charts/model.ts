/**
 * A statechart as plain data: what a machine's definition says, without what it does. Every picture is drawn from it,
 * and `troupe chart --format json` prints it.
 *
 * The words are those of SCXML and of XState 5. A state is named everywhere by its XState id, which is unique in a machine.
 */
export interface Chart {
  /** Grows when a reader of older charts would misread a newer one. */
  readonly version: 1;
  readonly id: string;
  readonly description?: string;
  /** The machine itself is its outermost state. */
  readonly root: ChartState;
}

export type ChartStateKind = 'atomic' | 'compound' | 'parallel' | 'final' | 'history';

export interface ChartState {
  readonly id: string;
  /** The state's name among its siblings. */
  readonly key: string;
  readonly kind: ChartStateKind;
  /** Of a history state only. */
  readonly history?: 'shallow' | 'deep';
  readonly description?: string;
  readonly tags: readonly string[];
  /** Where a compound state begins; where a history state leads that has nothing to remember. */
  readonly initial?: ChartInitial;
  readonly entry: readonly ChartAction[];
  readonly exit: readonly ChartAction[];
  readonly invokes: readonly ChartInvoke[];
  /** In the order in which they are tried. */
  readonly transitions: readonly ChartTransition[];
  readonly states: readonly ChartState[];
}

export interface ChartInitial {
  readonly targets: readonly string[];
  readonly actions: readonly ChartAction[];
}

export interface ChartInvoke {
  readonly id: string;
  /** The name of the actor logic; absent where the definition holds the logic itself. */
  readonly source?: string;
}

export interface ChartTransition {
  readonly trigger: ChartTrigger;
  readonly guard?: ChartGuard;
  /** It has no guard and stands behind others of its trigger that have one. */
  readonly otherwise: boolean;
  readonly actions: readonly ChartAction[];
  /** None: the transition is internal and leaves the state as it is. */
  readonly targets: readonly string[];
  /** The source is left and entered again even where the target is the source or within it. */
  readonly reenter: boolean;
  readonly description?: string;
}

export type ChartTrigger =
  /** `*` and `prefix.*` take what nothing more exact takes. */
  | { readonly kind: 'event'; readonly event: string }
  | { readonly kind: 'always' }
  /** Milliseconds, or the name of a delay. */
  | { readonly kind: 'after'; readonly delay: number | string }
  /** A final state within has been reached. */
  | { readonly kind: 'done' }
  | { readonly kind: 'invokeDone' | 'invokeError' | 'invokeSnapshot'; readonly invoke: ChartInvoke };

export type ChartGuard =
  | { readonly kind: 'named'; readonly name: string; readonly params?: unknown }
  | { readonly kind: 'inline'; readonly name?: string }
  | { readonly kind: 'and' | 'or'; readonly guards: readonly ChartGuard[] }
  | { readonly kind: 'not'; readonly guard: ChartGuard }
  | { readonly kind: 'stateIn'; readonly state: string };

export type ChartAction =
  | { readonly kind: 'named'; readonly name: string; readonly params?: unknown }
  | { readonly kind: 'inline'; readonly name?: string }
  /** One of XState's own. `subject` is what it is about, where the definition tells: an event's type, an actor, the keys. */
  | {
      readonly kind:
        | 'assign'
        | 'raise'
        | 'sendTo'
        | 'emit'
        | 'log'
        | 'cancel'
        | 'spawnChild'
        | 'stopChild'
        | 'enqueueActions';
      readonly subject?: string;
      /** The addressee of `sendTo`. */
      readonly to?: string;
    };

/** Every state of a chart with the one that holds it, outermost first. */
export function* statesOf(
  chart: Chart,
): Generator<{ readonly state: ChartState; readonly parent?: ChartState }> {
  yield { state: chart.root };
  yield* within(chart.root);
}

function* within(parent: ChartState): Generator<{ readonly state: ChartState; readonly parent: ChartState }> {
  for (const state of parent.states) {
    yield { state, parent };
    yield* within(state);
  }
}

/** A definition that no chart can be made of: its message is a sentence that names the state. */
export class ChartError extends Error {
  override readonly name = 'ChartError';
}

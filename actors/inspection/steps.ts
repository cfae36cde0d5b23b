/** XState's inspection events, gathered into steps and described as records. */

import type { AnyActorRef, AnyEventObject, InspectionEvent as XStateInspectionEvent } from 'xstate';
import type { MachineKind } from './lease.js';
import { plainOf, type RedactionRule } from './plain.js';
import type { MachineRecord, ShownSnapshot, ShownTransition } from './records.js';

/** One actor, or guest, that somebody looks at. */
export interface Looked {
  readonly gatherer: StepGatherer;
  /** One in so many of its quiet events is shown, and none for 0. */
  depth: number;
  /** It shows a part of its quiet events already. */
  readonly sampled: boolean;
}

/** How what a machine holds is shown. */
export interface Showing {
  readonly rules: readonly RedactionRule[];
  /** By the machine's id: what is shown instead of its context, for one that holds live parts. */
  readonly contexts: ReadonlyMap<string, (context: unknown) => unknown>;
}

/** Everything that one event did to one actor. */
export interface Step {
  readonly events: readonly XStateInspectionEvent[];
  /** Whether the actor is in another state than before, or is new, or has ended. */
  readonly changed: boolean;
  readonly before: unknown;
  readonly after: unknown;
  readonly event: AnyEventObject;
  readonly actor: object;
}

interface Gathering {
  events: XStateInspectionEvent[];
  last: unknown;
}

/** Events of one step that are kept; a machine that loops has more. */
const MAX_STEP_EVENTS = 64;

/** Puts the events of an actor and of those that it runs together: a step ends with a snapshot. */
export class StepGatherer {
  readonly #gathered = new WeakMap<object, Gathering>();

  /** The actor as it is when somebody begins to look. */
  begin(actor: object, snapshot: unknown): void {
    this.#gathered.set(actor, { events: [], last: snapshot });
  }

  /** @returns the step that this event ends; `quiet` where it left no trace but the same snapshot again */
  add(event: XStateInspectionEvent): Step | 'quiet' | undefined {
    const actor = event.actorRef as object;
    let gathering = this.#gathered.get(actor);
    if (gathering === undefined) {
      gathering = { events: [], last: undefined };
      this.#gathered.set(actor, gathering);
    }
    if (event.type !== '@xstate.snapshot') {
      if (gathering.events.length < MAX_STEP_EVENTS) gathering.events.push(event);
      return undefined;
    }
    const { events, last } = gathering;
    const after: unknown = event.snapshot;
    if (events.length === 0 && after === last) return 'quiet';
    gathering.events = [];
    gathering.last = after;
    const changed = last === undefined || configurationOf(last) !== configurationOf(after);
    return { events: [...events, event], changed, before: last, after, event: event.event, actor };
  }
}

interface Configured {
  readonly status?: unknown;
  readonly _nodes?: readonly ChartNode[];
}

/** XState keeps the list of active nodes while the state stays. */
function configurationOf(snapshot: unknown): unknown {
  const { status, _nodes } = (snapshot ?? {}) as Configured;
  return status === 'active' ? (_nodes ?? status) : status;
}

/** A state node, as far as it is read here. */
interface ChartNode {
  readonly id: string;
  readonly path: readonly string[];
  readonly transitions: ReadonlyMap<string, readonly Definition[]>;
}

interface Definition {
  readonly source: { readonly id: string };
  readonly eventType: string;
  readonly target?: readonly { readonly id: string }[] | undefined;
  readonly guard?: unknown;
}

/**
 * The records of a step, in XState's order.
 * @param takes is asked once for each, before it is described: what nobody takes is not made
 */
export function recordsOf(
  step: Step,
  at: number,
  path: string,
  showing: Showing,
  takes: (kind: MachineKind) => boolean,
): MachineRecord[] {
  const base = { at, path, ...namesOf(step.actor) };
  const records: MachineRecord[] = [];
  const record = (kind: MachineKind, more: () => Partial<MachineRecord>): void => {
    if (takes(kind)) records.push({ kind, ...base, ...more() });
  };
  let described: ShownEvent | undefined;
  const event = (): ShownEvent => {
    described ??= eventOf(step.event, showing);
    return described;
  };
  // What goes to a machine without XState's own way to its mailbox is told of here.
  if (step.events.every(({ type }) => type !== '@xstate.event'))
    record('@xstate.event', () => ({ event: event() }));
  const taken: Definition[] = [];
  for (const told of step.events) {
    switch (told.type) {
      case '@xstate.actor':
        record(told.type, () => ({}));
        break;
      case '@xstate.event':
        record(told.type, () => ({ event: eventOf(told.event, showing), ...sourceOf(told.sourceRef) }));
        break;
      case '@xstate.microstep': {
        const definitions = (told._transitions ?? []) as readonly Definition[];
        taken.push(...definitions);
        record(told.type, () => ({
          event: eventOf(told.event, showing),
          transitions: definitions.map(transitionOf),
        }));
        break;
      }
      case '@xstate.action': {
        const { type, params } = told.action;
        record(told.type, () => {
          const shown = params === undefined ? {} : { params: plainOf(params, showing.rules) };
          return { action: { type, ...shown } };
        });
        break;
      }
      default:
        break;
    }
  }
  // XState's types know the kind and 5.33 does not send it: the whole of a step, after its parts.
  record('@xstate.transition', () => {
    const refused = refusedBy(step, taken);
    return {
      event: event(),
      transitions: taken.map(transitionOf),
      ...(refused.length === 0 ? {} : { refused }),
    };
  });
  record('@xstate.snapshot', () => ({
    event: event(),
    snapshot: snapshotOf(step.after, base.machine, showing),
  }));
  return records;
}

/** The guards that kept an event from transitions which were tried before the one that was taken. */
function refusedBy({ before, event }: Step, taken: readonly Definition[]): ShownTransition[] {
  const nodes = ((before ?? {}) as Configured)._nodes ?? [];
  const refused: ShownTransition[] = [];
  for (const node of [...nodes].sort((a, b) => b.path.length - a.path.length)) {
    for (const definition of node.transitions.get(event.type) ?? []) {
      if (taken.includes(definition)) return refused;
      if (definition.guard !== undefined) refused.push(transitionOf(definition));
    }
  }
  return refused;
}

function transitionOf({ source, eventType, target, guard }: Definition): ShownTransition {
  return {
    source: source.id,
    event: eventType,
    targets: (target ?? []).map(({ id }) => id),
    ...(guard === undefined ? {} : { guard: guardName(guard) }),
  };
}

function guardName(guard: unknown): string {
  if (typeof guard === 'string') return guard;
  if (typeof guard === 'function') return guard.name || 'inline';
  if (typeof guard === 'object' && guard !== null && 'type' in guard) return String(guard.type);
  return 'inline';
}

/** What is shown of an actor as it is. */
export function snapshotOf(snapshot: unknown, machine: string | undefined, showing: Showing): ShownSnapshot {
  const { value, status, context, error } = (snapshot ?? {}) as Record<string, unknown>;
  const reader = machine === undefined ? undefined : showing.contexts.get(machine);
  return {
    value: plainOf(value),
    status: typeof status === 'string' ? status : 'active',
    ...(context === undefined ? {} : { context: contextOf(context, reader, showing) }),
    ...(error === undefined ? {} : { error: error instanceof Error ? error.message : String(error) }),
  };
}

function contextOf(
  context: unknown,
  reader: ((context: unknown) => unknown) | undefined,
  { rules }: Showing,
): unknown {
  try {
    return plainOf(reader === undefined ? context : reader(context), rules);
  } catch (error) {
    return `<unreadable: ${error instanceof Error ? error.message : String(error)}>`;
  }
}

type ShownEvent = NonNullable<MachineRecord['event']>;

function eventOf(event: AnyEventObject, { rules }: Showing): ShownEvent {
  const shown = plainOf(event, rules);
  const fields = typeof shown === 'object' && shown !== null ? shown : {};
  return { ...fields, type: event.type };
}

function sourceOf(source: unknown): { readonly source?: string } {
  const id = (source as { readonly id?: unknown } | undefined)?.id;
  return typeof id === 'string' ? { source: id } : {};
}

/** The machine's id, and the actor's own where another one runs it. */
export function namesOf(actor: object): { readonly machine?: string; readonly child?: string } {
  const { logic, _parent, id } = actor as Partial<AnyActorRef> & {
    readonly logic?: { readonly id?: unknown };
  };
  return {
    ...(typeof logic?.id === 'string' ? { machine: logic.id } : {}),
    ...(_parent === undefined || id === undefined ? {} : { child: id }),
  };
}

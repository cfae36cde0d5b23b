/** From an XState 5 machine to its chart. */

import type { AnyStateMachine, AnyStateNode } from 'xstate';
import {
  type Chart,
  type ChartAction,
  ChartError,
  type ChartInvoke,
  type ChartState,
  type ChartTransition,
  type ChartTrigger,
} from './model.js';
import { readAction, readGuard } from './read-parts.js';

/**
 * Whether a value is a machine of XState 5. It is known by its parts, not by its class: a user's file brings its own copy
 * of XState.
 */
export function isMachine(value: unknown): value is AnyStateMachine {
  return (
    typeof value === 'object' &&
    value !== null &&
    'root' in value &&
    isStateNode(value.root) &&
    'implementations' in value &&
    typeof value.implementations === 'object'
  );
}

/** Whether a value is a machine of XState 4, which looks like one and is built otherwise. */
export function isOldMachine(value: unknown): boolean {
  return typeof value === 'object' && value !== null && '__xstatenode' in value && !isMachine(value);
}

function isStateNode(value: unknown): boolean {
  return (
    typeof value === 'object' && value !== null && 'transitions' in value && value.transitions instanceof Map
  );
}

/**
 * Reads a machine's definition; nothing of it is run.
 * @throws ChartError when the definition contradicts itself in a way that XState finds only when it runs
 */
export function chartOf(machine: AnyStateMachine): Chart {
  const { root } = machine;
  return {
    version: 1,
    id: machine.id,
    ...described(root.description),
    root: readState(root),
  };
}

function readState(node: AnyStateNode): ChartState {
  const initial = initialOf(node);
  return {
    id: node.id,
    key: node.key,
    kind: node.type,
    ...(node.type === 'history' ? { history: node.history === 'deep' ? 'deep' : 'shallow' } : {}),
    ...described(node.description),
    tags: [...node.tags],
    ...(initial === undefined ? {} : { initial }),
    entry: readActions(node.entry),
    exit: readActions(node.exit),
    invokes: node.invoke.map(readInvoke),
    transitions: transitionsOf(node),
    states: Object.values<AnyStateNode>(node.states)
      .sort((a, b) => a.order - b.order)
      .map(readState),
  };
}

function initialOf(node: AnyStateNode): ChartState['initial'] {
  if (node.type === 'history') return historyDefault(node);
  if (node.type !== 'compound') return undefined;
  try {
    const { target, actions } = node.initial;
    return { targets: idsOf(target), actions: readActions(actions) };
  } catch (cause) {
    throw new ChartError(firstLine(cause), { cause });
  }
}

/** XState resolves the default of a history state only when it is needed. */
function historyDefault(node: AnyStateNode): ChartState['initial'] {
  const { target } = node.config;
  const { parent } = node;
  if (typeof target !== 'string' || parent === undefined) return undefined;
  try {
    const found: AnyStateNode = target.startsWith('#')
      ? node.machine.getStateNodeById(target)
      : target
          .replace(/^\./, '')
          .split('.')
          .reduce((at: AnyStateNode, key) => childOf(at, key), parent);
    return { targets: [found.id], actions: [] };
  } catch (cause) {
    throw new ChartError(`history state ${node.id}: ${firstLine(cause)}`, { cause });
  }
}

function childOf(node: AnyStateNode, key: string): AnyStateNode {
  const child: AnyStateNode | undefined = node.states[key];
  if (child === undefined) throw new ChartError(`child state '${key}' does not exist on '${node.id}'`);
  return child;
}

function transitionsOf(node: AnyStateNode): ChartTransition[] {
  const groups: (readonly [ChartTrigger, readonly Candidate[]])[] = [...node.transitions].map(
    ([event, candidates]) => [triggerOf(event, node), candidates],
  );
  if (node.always) groups.push([{ kind: 'always' }, node.always]);
  return groups.flatMap(([trigger, candidates]) => readBranches(trigger, candidates));
}

/** What is read of XState's TransitionDefinition. */
interface Candidate {
  readonly target: readonly AnyStateNode[] | undefined;
  readonly guard?: unknown;
  readonly actions: readonly unknown[];
  readonly reenter: boolean;
  readonly description?: string | undefined;
}

function readBranches(trigger: ChartTrigger, candidates: readonly Candidate[]): ChartTransition[] {
  let guarded = false;
  return candidates.map(({ target, guard, actions, reenter, description }) => {
    const otherwise = guarded && guard === undefined;
    guarded ||= guard !== undefined;
    return {
      trigger,
      ...(guard === undefined ? {} : { guard: readGuard(guard) }),
      otherwise,
      actions: readActions(actions),
      targets: idsOf(target),
      reenter,
      ...described(description),
    };
  });
}

/** XState turns what is no event of the user's into events with names of its own. */
function triggerOf(event: string, node: AnyStateNode): ChartTrigger {
  const after = node.after.find(({ eventType }) => eventType === event);
  if (after !== undefined) {
    const { delay } = after;
    return { kind: 'after', delay: typeof delay === 'function' ? 'computed delay' : delay };
  }
  if (event === `xstate.done.state.${node.id}`) return { kind: 'done' };
  for (const invoke of node.invoke.map(readInvoke)) {
    const { id } = invoke;
    if (event === `xstate.done.actor.${id}`) return { kind: 'invokeDone', invoke };
    if (event === `xstate.error.actor.${id}`) return { kind: 'invokeError', invoke };
    if (event === `xstate.snapshot.${id}`) return { kind: 'invokeSnapshot', invoke };
  }
  return { kind: 'event', event };
}

function readInvoke({ id, src }: { readonly id: string; readonly src: unknown }): ChartInvoke {
  // XState names logic that stands in the definition itself after the place where it stands.
  const named = typeof src === 'string' && !src.startsWith('xstate.invoke.');
  return named ? { id, source: src } : { id };
}

function readActions(actions: readonly unknown[]): ChartAction[] {
  return actions.flatMap((action) => readAction(action) ?? []);
}

function idsOf(nodes: readonly AnyStateNode[] | undefined): string[] {
  return (nodes ?? []).map(({ id }) => id);
}

function described(description: string | undefined): { readonly description?: string } {
  const text = description?.trim().replace(/\s+/g, ' ');
  return text === undefined || text === '' ? {} : { description: text };
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).replace(/\s*\n\s*/g, ' ');
}

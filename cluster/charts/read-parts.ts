/**
 * Guards and actions of an XState definition. A name stands as a string or an object; XState's own (`and`, `assign`, …) are
 * functions that carry what they were made of, which XState does not declare: so each is read as a value from outside.
 */
import type { ChartAction, ChartGuard } from './model.js';

/** What a guard says. */
export function readGuard(guard: unknown): ChartGuard {
  if (typeof guard === 'string') return { kind: 'named', name: guard };
  if (typeof guard !== 'function') return named(guard);
  const parts = member(guard, 'guards');
  if (Array.isArray(parts)) {
    const guards = parts.map(readGuard);
    const [only] = guards;
    if (guard.name === 'not' && only !== undefined) return { kind: 'not', guard: only };
    if (guard.name === 'and' || guard.name === 'or') return { kind: guard.name, guards };
  }
  const state = member(guard, 'stateValue');
  if (state !== undefined) return { kind: 'stateIn', state: stateText(state) };
  return inline(guard);
}

/** What an action says; `undefined` for those that XState adds to keep `after` going. */
export function readAction(action: unknown): ChartAction | undefined {
  if (typeof action === 'string') return { kind: 'named', name: action };
  if (typeof action !== 'function') return named(action);
  const subject = (value: unknown): { subject?: string } => {
    const text = textOf(value);
    return text === undefined ? {} : { subject: text };
  };
  switch (member(action, 'type')) {
    case 'xstate.assign':
      return { kind: 'assign', ...subject(keysOf(member(action, 'assignment'))) };
    case 'xstate.raise':
      return isOfAfter(member(member(action, 'event'), 'type'))
        ? undefined
        : { kind: 'raise', ...subject(member(action, 'event')) };
    case 'xstate.cancel':
      return isOfAfter(member(action, 'sendId'))
        ? undefined
        : { kind: 'cancel', ...subject(member(action, 'sendId')) };
    case 'xstate.sendTo': {
      const to = addressee(member(action, 'to'));
      return {
        kind: 'sendTo',
        ...subject(member(action, 'event')),
        ...(to === undefined ? {} : { to }),
      };
    }
    case 'xstate.emit':
      return { kind: 'emit', ...subject(member(action, 'event')) };
    case 'xstate.log':
      return { kind: 'log', ...subject(member(action, 'label') ?? member(action, 'value')) };
    case 'xstate.spawnChild':
      return { kind: 'spawnChild', ...subject(member(action, 'src')) };
    case 'xstate.stopChild':
      return { kind: 'stopChild', ...subject(member(action, 'actorRef')) };
    case 'xstate.enqueueActions':
      return { kind: 'enqueueActions' };
    default:
      return inline(action);
  }
}

function named(value: unknown): { kind: 'named'; name: string; params?: unknown } {
  const params = member(value, 'params');
  const name = String(member(value, 'type'));
  // Parameters that are computed have no value yet.
  return params === undefined || typeof params === 'function'
    ? { kind: 'named', name }
    : { kind: 'named', name, params };
}

function inline(value: { readonly name: string }): { kind: 'inline'; name?: string } {
  // A function in a property is called after the property by the language.
  const said = value.name !== '' && !['guard', 'actions', 'entry', 'exit'].includes(value.name);
  return said ? { kind: 'inline', name: value.name } : { kind: 'inline' };
}

function member(value: unknown, key: string): unknown {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return undefined;
  return Reflect.get(value, key);
}

/** An event by its type, a name as it is; nothing of what is computed when it is needed. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const type = typeof value === 'object' ? member(value, 'type') : undefined;
  return typeof type === 'string' ? type : undefined;
}

function addressee(to: unknown): string | undefined {
  return to === '#_parent' ? 'parent' : textOf(to);
}

function keysOf(assignment: unknown): string | undefined {
  if (typeof assignment !== 'object' || assignment === null) return undefined;
  const keys = Object.keys(assignment);
  return keys.length === 0 ? undefined : keys.join(', ');
}

function isOfAfter(name: unknown): boolean {
  return typeof name === 'string' && name.startsWith('xstate.after.');
}

/** `{ a: 'b' }` as `a.b`; several at once are divided by commas. */
function stateText(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.entries(value)
    .map(([key, inner]) => {
      const rest = stateText(inner);
      return rest === '' ? key : `${key}.${rest}`;
    })
    .join(', ');
}

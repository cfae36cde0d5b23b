/** The words of a chart: how triggers, guards and actions are written in every picture of it. */

import type {
  ChartAction,
  ChartGuard,
  ChartInvoke,
  ChartState,
  ChartTransition,
  ChartTrigger,
} from './model.js';

/** `tick`, `after 5 s`, `done: fetch`. */
export function triggerText(trigger: ChartTrigger): string {
  switch (trigger.kind) {
    case 'event':
      return trigger.event === '*' ? 'any other event' : trigger.event;
    case 'always':
      return 'always';
    case 'after':
      return `after ${delayText(trigger.delay)}`;
    case 'done':
      return 'done';
    case 'invokeDone':
      return `done: ${shortName(trigger.invoke)}`;
    case 'invokeError':
      return `error: ${shortName(trigger.invoke)}`;
    case 'invokeSnapshot':
      return `snapshot: ${shortName(trigger.invoke)}`;
  }
}

function delayText(delay: number | string): string {
  if (typeof delay === 'string') return delay;
  return delay < 1000 ? `${delay} ms` : `${delay / 1000} s`;
}

/** Without the brackets. */
export function guardText(guard: ChartGuard): string {
  switch (guard.kind) {
    case 'named':
      return `${guard.name}${paramsText(guard.params)}`;
    case 'inline':
      return guard.name ?? 'inline guard';
    case 'and':
    case 'or':
      return guard.guards.map((part) => innerText(part, guard.kind)).join(` ${guard.kind} `);
    case 'not':
      return `not ${innerText(guard.guard, 'not')}`;
    case 'stateIn':
      return `in ${guard.state}`;
  }
}

/** In parentheses where the words would else bind otherwise. */
function innerText(guard: ChartGuard, outer: 'and' | 'or' | 'not'): string {
  const text = guardText(guard);
  const composed = guard.kind === 'and' || guard.kind === 'or';
  return composed && guard.kind !== outer ? `(${text})` : text;
}

/** `[guard]`, `[else]`, or nothing. */
export function conditionText({ guard, otherwise }: ChartTransition): string {
  if (guard !== undefined) return `[${guardText(guard)}]`;
  return otherwise ? '[else]' : '';
}

export function actionText(action: ChartAction): string {
  if (action.kind === 'named') return `${action.name}${paramsText(action.params)}`;
  if (action.kind === 'inline') return action.name ?? 'inline action';
  const { kind, subject, to } = action;
  const about = [subject, to === undefined ? undefined : `to ${to}`].filter((part) => part !== undefined);
  return about.length === 0 ? kind : `${kind} ${about.join(' ')}`;
}

/** `fetchUser`, and its id too where that says more. */
function invokeText(invoke: ChartInvoke): string {
  const { id, source } = invoke;
  const name = shortName(invoke);
  return source === undefined || name === source || isMadeUp(id) ? name : `${source} as ${id}`;
}

/** What an invoked actor is called where it ends. */
function shortName({ id, source }: ChartInvoke): string {
  if (!isMadeUp(id)) return id;
  return source ?? `inline actor ${id.slice(0, id.indexOf('.'))}`;
}

/** XState makes an id of number and place where none is given. */
function isMadeUp(id: string): boolean {
  return /^\d+\./.test(id);
}

/** ` (wait: answer)`; nothing for no parameters. */
function paramsText(params: unknown): string {
  if (params === undefined || params === null) return '';
  if (typeof params !== 'object') return `(${String(params)})`;
  const pairs = Object.entries(params).map(([key, value]) => `${key}: ${valueText(value)}`);
  return pairs.length === 0 ? '' : `(${pairs.join(', ')})`;
}

function valueText(value: unknown): string {
  if (typeof value === 'object' && value !== null) return JSON.stringify(value) ?? '…';
  return typeof value === 'function' ? '…' : String(value);
}

/** A line of a state's box: a word in front, what it happens on, and what is done. */
export interface ChartLine {
  readonly head: string;
  readonly condition: string;
  /** Written behind a slash. */
  readonly actions: readonly string[];
  /** Said of a transition that takes an event and does nothing with it. */
  readonly note: string;
}

/** What happens within a state without leaving it: entry, exit, invoked actors, internal transitions. */
export function linesOf(state: ChartState): ChartLine[] {
  const plain = (head: string, actions: readonly ChartAction[]): ChartLine[] =>
    actions.length === 0 ? [] : [{ head, condition: '', actions: actions.map(actionText), note: '' }];
  return [
    ...plain('entry', state.entry),
    ...plain('exit', state.exit),
    ...state.invokes.map((invoke) => ({
      head: `invoke ${invokeText(invoke)}`,
      condition: '',
      actions: [],
      note: '',
    })),
    ...state.transitions.filter(({ targets }) => targets.length === 0).map(transitionLine),
  ];
}

/** One transition in words. */
export function transitionLine(transition: ChartTransition): ChartLine {
  const { trigger, actions, targets, reenter } = transition;
  const ignored = targets.length === 0 && actions.length === 0;
  return {
    head: triggerText(trigger),
    condition: conditionText(transition),
    actions: actions.map(actionText),
    note: ignored ? 'ignored' : reenter && targets.length > 0 ? 're-enters' : '',
  };
}

/** A line as one text. */
export function lineText({ head, condition, actions, note }: ChartLine): string {
  return [
    head,
    condition,
    actions.length === 0 ? '' : `/ ${actions.join(', ')}`,
    note === '' ? '' : `(${note})`,
  ]
    .filter((part) => part !== '')
    .join(' ');
}

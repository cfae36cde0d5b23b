/** How the page writes what it is told: pure, so that it can be tried without a page. */

import type { ShownKey } from './wire.js';

/** A text, or the name of a key space, which is set apart. */
export interface Word {
  readonly text: string;
  readonly space: boolean;
}

/** `raw a … m`: the space once where both ends are in it. */
export function rangeWords(start: ShownKey, end: ShownKey): readonly Word[] {
  const same = start.space === end.space;
  return [
    ...boundWords(start, '−∞', true),
    plain('…'),
    ...boundWords(end, same ? '+∞' : openEnd(end), !same),
  ];
}

export function rangeText(start: ShownKey, end: ShownKey): string {
  return rangeWords(start, end)
    .map(({ text }) => text)
    .join(' ');
}

/** Where something begins: `raw m`, `−∞`. */
export function startText(start: ShownKey): string {
  return boundWords(start, '−∞', true)
    .map(({ text }) => text)
    .join(' ');
}

/** A range that ends where a space begins has nothing of that space. */
function openEnd({ space }: ShownKey): string {
  return space === '' ? '+∞' : '−∞';
}

function boundWords({ space, key }: ShownKey, open: string, labelled: boolean): Word[] {
  return [
    ...(space !== '' && labelled ? [{ text: space, space: true }] : []),
    plain(key === '' ? open : key),
  ];
}

function plain(text: string): Word {
  return { text, space: false };
}

/** An event as the charts call it: XState's own names say where it comes from, which the chart shows better. */
export function eventText(type: string): string {
  const [, kind = '', rest = ''] =
    /^xstate\.(after|init|stop|done\.actor|error\.actor|done\.state|snapshot|promise\.resolve|promise\.reject)(?:\.(.*))?$/.exec(
      type,
    ) ?? [];
  switch (kind) {
    case 'after': {
      const delay = rest.split('.', 1)[0] ?? '';
      return `after ${/^\d+$/.test(delay) ? durationText(Number(delay)) : delay}`;
    }
    case 'init':
      return 'begin';
    case 'stop':
      return 'stop';
    case 'done.actor':
      return `done: ${childText(rest)}`;
    case 'error.actor':
      return `error: ${childText(rest)}`;
    case 'done.state':
      return `done: ${rest.slice(rest.indexOf('.') + 1)}`;
    case 'snapshot':
      return `snapshot: ${childText(rest)}`;
    case 'promise.resolve':
      return 'resolved';
    case 'promise.reject':
      return 'rejected';
    default:
      return type;
  }
}

/** An actor that another one runs: without an id of its own XState names it after the place (`0.door.sensor.fetching`). */
export function childText(id: string): string {
  return /^\d+\./.test(id) ? id.slice(id.lastIndexOf('.') + 1) : id;
}

export function durationText(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${milliseconds / 1000} s`;
}

/** `1 record`, `2 records`. */
export function many(count: number, one: string, more = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : more}`;
}

interface Numbered {
  readonly number: number;
  readonly child?: string | undefined;
}

/**
 * What is shown when a step of the list is chosen (0: the newest): the step itself, whose event and context are shown, and
 * where its actor stood then. The steps of its children are in the list too, and say nothing of its own state.
 */
export function shownSteps<T extends Numbered>(
  steps: readonly T[],
  pinned: number,
): { readonly own: T | undefined; readonly chosen: T | undefined } {
  const own = steps.filter(({ child }) => child === undefined);
  if (pinned === 0) return { own: own.at(-1), chosen: own.at(-1) };
  const chosen = steps.find(({ number }) => number === pinned) ?? steps[0];
  const before = own.filter(({ number }) => number <= (chosen?.number ?? 0)).at(-1);
  return { own: before ?? own[0], chosen };
}

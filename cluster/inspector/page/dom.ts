/** The little that the views need of a framework: making elements, and keeping lists without tearing them down. */

import type { Word } from './words.js';

export type Child = Node | string | undefined;
type Attributes = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>;

/** An element; attributes that are functions listen to the event of their name (`onclick`). */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** The same for SVG. */
export function s(tag: string, attributes: Attributes = {}, ...children: readonly Child[]): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  setAttributes(element, attributes);
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
}

/** The same, with the names of key spaces set apart. */
export function setWords(element: Element, words: readonly Word[]): void {
  const text = words.map((word) => word.text).join(' ');
  if (element.textContent === text) return;
  element.replaceChildren(
    ...words.flatMap((word, index) => [
      ...(index > 0 ? [' '] : []),
      word.space ? h('i', { class: 'space' }, word.text) : word.text,
    ]),
  );
}

/** Sets the text only when it is another: selections and screen readers are left alone. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string | undefined): void {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function toggle(element: Element, name: string, on: boolean): void {
  if (element.classList.contains(name) !== on) element.classList.toggle(name, on);
}

interface Kept<E extends Element> {
  readonly elements: Map<string, E>;
}
const kept = new WeakMap<Element, Kept<Element>>();

/** Makes the parent's children those of the items, in order: elements of items that stay stay too. */
export function keyed<T, E extends Element>(
  parent: Element,
  items: readonly T[],
  keyOf: (item: T) => string,
  make: (item: T) => E,
  update: (element: E, item: T) => void,
): void {
  const known = (kept.get(parent) ?? { elements: new Map() }) as Kept<E>;
  kept.set(parent, known);
  const next = new Map<string, E>();
  let at: Element | null = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (next.has(key)) continue;
    const element = known.elements.get(key) ?? make(item);
    update(element, item);
    if (at === element) at = element.nextElementSibling;
    else parent.insertBefore(element, at);
    next.set(key, element);
  }
  for (const [key, element] of known.elements) if (!next.has(key)) element.remove();
  (known.elements as Map<string, E>).clear();
  for (const [key, element] of next) known.elements.set(key, element);
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < BYTES.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTES[unit]}`;
}

const numbers = new Intl.NumberFormat('en');

export function count(value: number): string {
  return numbers.format(value);
}

/** `14:03:07.250` */
export function clock(at: number): string {
  const date = new Date(at);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** A state's value in one line. */
export function valueText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return value === undefined ? '' : String(value);
  return Object.entries(value)
    .map(([key, inner]) => {
      const text = valueText(inner);
      return text === '' ? key : `${key}.${text}`;
    })
    .join(', ');
}

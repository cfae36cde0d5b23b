/** A list of any length: only the rows on the screen are there, and the server is asked for those alone. */

import { h, keyed } from './dom.js';

export interface RowsOptions<T> {
  readonly label: string;
  /** Class of the list. */
  readonly kind?: string;
  readonly keyOf: (item: T) => string;
  readonly make: (item: T) => HTMLElement;
  readonly update: (element: HTMLElement, item: T) => void;
  /** The rows from `offset` on are wanted. */
  readonly want: (offset: number, limit: number) => void;
}

/** Rows before and behind those on the screen. */
const SPARE = 10;

export class Rows<T> {
  readonly element: HTMLElement;
  readonly #options: RowsOptions<T>;
  readonly #space = h('div', { class: 'rows-space', role: 'presentation' });
  #timer: number | undefined;
  #offset = 0;

  constructor(options: RowsOptions<T>) {
    this.#options = options;
    this.element = h(
      'div',
      { class: `rows ${options.kind ?? ''}`.trim(), tabindex: 0, role: 'list', 'aria-label': options.label },
      this.#space,
    );
    this.element.addEventListener('scroll', () => {
      window.clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#wanted(), 80);
    });
  }

  /** How many rows are asked for at once. */
  get limit(): number {
    return Math.min(200, Math.ceil((this.element.clientHeight || 900) / this.#height) + 2 * SPARE);
  }

  get offset(): number {
    return this.#offset;
  }

  /** Scrolls so far that a row is on the screen. */
  reveal(place: number): void {
    const height = this.#height;
    const { scrollTop, clientHeight } = this.element;
    const top = place * height;
    if (top >= scrollTop && top + height <= scrollTop + clientHeight) return;
    this.element.scrollTop = Math.max(0, top - clientHeight / 3);
  }

  /** From the first row on: another list is shown. */
  rewind(): void {
    this.#offset = 0;
    this.element.scrollTop = 0;
  }

  show(items: readonly T[], offset: number, total: number): void {
    const height = this.#height;
    this.#space.style.height = `${total * height}px`;
    this.element.style.setProperty('--total', String(total));
    const { keyOf, make, update } = this.#options;
    const placed = items.map((item, index) => ({ item, top: (offset + index) * height }));
    keyed(
      this.#space,
      placed,
      ({ item }) => keyOf(item),
      ({ item }) => make(item),
      (element, { item, top }) => {
        element.style.transform = `translateY(${top}px)`;
        update(element, item);
      },
    );
  }

  #wanted(): void {
    const first = Math.max(0, Math.floor(this.element.scrollTop / this.#height) - SPARE);
    // Steps of ten, so that a little scrolling asks for nothing.
    const offset = Math.floor(first / 10) * 10;
    if (offset === this.#offset) return;
    this.#offset = offset;
    this.#options.want(offset, this.limit);
  }

  get #height(): number {
    const value = Number.parseFloat(getComputedStyle(this.element).getPropertyValue('--row'));
    return Number.isFinite(value) && value > 0 ? value : 34;
  }
}

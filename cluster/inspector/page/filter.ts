/** A field above a list that narrows it. */

import { h } from './dom.js';

/** Milliseconds after the last key. */
const PAUSE_MS = 150;

export class Filter {
  readonly element: HTMLInputElement;
  #timer: number | undefined;

  constructor(label: string, changed: () => void) {
    this.element = h('input', {
      class: 'filter',
      type: 'search',
      placeholder: label,
      'aria-label': label,
      autocomplete: 'off',
      spellcheck: 'false',
      oninput: () => {
        window.clearTimeout(this.#timer);
        this.#timer = window.setTimeout(changed, PAUSE_MS);
      },
    });
  }

  get text(): string {
    return this.element.value.trim();
  }
}

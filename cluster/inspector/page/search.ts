/** The search at the top: one list of whatever has that name, wherever on the page it is. */

import { count, h } from './dom.js';
import type { Found, SearchView } from './wire.js';

/** Milliseconds after the last key. */
const PAUSE_MS = 120;
/** Milliseconds until it is asked again for what was not found. */
const AGAIN_MS = 1_000;

export class Search {
  readonly #field: HTMLInputElement;
  readonly #list: HTMLElement;
  readonly #go: (hash: string) => void;
  #timer: number | undefined;
  /** Answers may overtake one another: the last question's counts. */
  #asked = 0;
  #options: readonly Found[] = [];
  #at = 0;
  /** Enter came before the answer. */
  #goFirst = false;

  constructor(form: HTMLElement, field: HTMLInputElement, go: (hash: string) => void) {
    this.#field = field;
    this.#go = go;
    this.#list = h('div', { id: 'results', role: 'listbox', 'aria-label': 'What was found', hidden: true });
    form.append(this.#list);
    for (const [name, value] of Object.entries({
      role: 'combobox',
      'aria-controls': 'results',
      'aria-expanded': 'false',
      'aria-autocomplete': 'list',
    }))
      field.setAttribute(name, value);
    field.addEventListener('input', () => {
      window.clearTimeout(this.#timer);
      this.#goFirst = false;
      // What is listed still answers another question: it is not gone to.
      this.#asked++;
      this.#options = [];
      this.#at = 0;
      this.#timer = window.setTimeout(() => void this.#ask(), PAUSE_MS);
    });
    field.addEventListener('focus', () => {
      if (this.#list.hidden && field.value.trim() !== '') void this.#ask();
    });
    form.addEventListener('focusout', (event) => {
      if (!(event.relatedTarget instanceof Node) || !form.contains(event.relatedTarget)) this.close();
    });
    // A press on a result must not take the focus away before it is a click.
    this.#list.addEventListener('mousedown', (event) => event.preventDefault());
    field.addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
      event.preventDefault();
      this.#mark(this.#at + (event.key === 'ArrowDown' ? 1 : -1));
    });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const chosen = this.#options[this.#at];
      if (chosen !== undefined) this.#choose(chosen);
      else this.#goFirst = this.#field.value.trim() !== '';
    });
  }

  close(): void {
    window.clearTimeout(this.#timer);
    this.#asked++;
    this.#goFirst = false;
    this.#list.hidden = true;
    this.#field.setAttribute('aria-expanded', 'false');
    this.#field.removeAttribute('aria-activedescendant');
  }

  async #ask(): Promise<void> {
    const text = this.#field.value.trim();
    const asked = ++this.#asked;
    if (text === '') return this.close();
    let told: SearchView | undefined;
    try {
      const answer = await fetch(`/api/search?text=${encodeURIComponent(text)}`);
      if (answer.ok) told = (await answer.json()) as SearchView;
    } catch {
      // It is said below.
    }
    if (asked !== this.#asked) return;
    this.#show(text, told);
    // Who has only begun to look is still being told of what there is.
    if (told?.found.length === 0) this.#timer = window.setTimeout(() => void this.#ask(), AGAIN_MS);
    const [first] = this.#options;
    if (this.#goFirst && first !== undefined) this.#choose(first);
  }

  #show(text: string, told: SearchView | undefined): void {
    const { found = [], places = [], total = 0 } = told ?? {};
    this.#options = [...found, ...places];
    const option = (one: Found, index: number, detail: string): HTMLElement =>
      h(
        'a',
        { role: 'option', id: `result-${index}`, href: one.hash, tabindex: -1, onclick: () => this.#leave() },
        h('b', {}, one.name),
        h('span', {}, detail),
      );
    const more = total - found.length;
    this.#list.replaceChildren(
      ...(told === undefined ? [note('The inspector does not answer.')] : []),
      ...(told !== undefined && found.length === 0 ? [note(`Nothing found that is called “${text}”.`)] : []),
      ...found.map((one, index) => option(one, index, one.detail)),
      ...(more > 0 ? [note(`and ${count(more)} more: type more of the name`)] : []),
      ...(places.length > 0 ? [note('As a key it lies in')] : []),
      ...places.map((one, index) => option(one, found.length + index, `${one.space} key · ${one.detail}`)),
    );
    this.#list.hidden = false;
    this.#field.setAttribute('aria-expanded', 'true');
    this.#mark(this.#at);
  }

  #mark(at: number): void {
    this.#at = Math.max(0, Math.min(this.#options.length - 1, at));
    for (const one of this.#list.querySelectorAll('[role="option"]')) {
      const on = one.id === `result-${this.#at}`;
      one.setAttribute('aria-selected', String(on));
      if (!on) continue;
      this.#field.setAttribute('aria-activedescendant', one.id);
      one.scrollIntoView({ block: 'nearest' });
    }
  }

  #choose({ hash }: Found): void {
    this.#leave();
    this.#go(hash);
  }

  #leave(): void {
    this.close();
    this.#field.value = '';
    this.#field.blur();
  }
}

function note(text: string): HTMLElement {
  return h('p', { class: 'note', role: 'presentation' }, text);
}

/** Live charts: the picture comes from the server once for each machine; which states are active is shown by classes. */

import { h, toggle } from './dom.js';
import type { Transition } from './wire.js';

const pictures = new Map<string, Promise<Element | undefined>>();

async function load(machine: string, outline: boolean): Promise<Element | undefined> {
  const answer = await fetch(
    `/api/chart?machine=${encodeURIComponent(machine)}${outline ? '&outline=1' : ''}`,
  );
  if (!answer.ok) return undefined;
  const parsed = new DOMParser().parseFromString(await answer.text(), 'image/svg+xml');
  return parsed.documentElement.nodeName === 'svg' ? parsed.documentElement : undefined;
}

export interface Shown {
  readonly active: readonly string[];
  readonly taken?: readonly Transition[];
  readonly refused?: readonly Transition[];
}

export class LiveChart {
  readonly element = h('div', { class: 'chart', tabindex: 0, role: 'group', 'aria-label': 'Statechart' });
  readonly #outline: boolean;
  #machine = '';
  #svg: Element | undefined;
  #shown: Shown = { active: [] };

  /** @param outline states and events alone */
  constructor(outline = false) {
    this.#outline = outline;
  }

  show(machine: string, shown: Shown): void {
    this.#shown = shown;
    if (machine === this.#machine) return this.#mark();
    this.#machine = machine;
    this.#svg = undefined;
    this.element.replaceChildren(h('p', { class: 'empty' }, 'The chart is being drawn …'));
    const name = `${machine} ${this.#outline}`;
    let picture = pictures.get(name);
    if (picture === undefined) {
      picture = load(machine, this.#outline).catch(() => undefined);
      pictures.set(name, picture);
    }
    void picture.then((found) => {
      if (this.#machine !== machine) return;
      if (found === undefined) {
        pictures.delete(name);
        this.#machine = '';
        this.element.replaceChildren(
          h('p', { class: 'empty' }, `There is no chart of ${machine || 'this actor'}.`),
        );
        return;
      }
      this.#svg = document.importNode(found, true);
      this.element.replaceChildren(this.#svg);
      this.element.setAttribute('aria-label', `Statechart ${machine}`);
      this.#mark();
    });
  }

  #mark(): void {
    const svg = this.#svg;
    if (svg === undefined) return;
    const active = new Set(this.#shown.active);
    for (const one of svg.querySelectorAll('[data-state],[data-words]'))
      toggle(
        one,
        'active',
        active.has(one.getAttribute('data-state') ?? one.getAttribute('data-words') ?? ''),
      );
    const { taken = [], refused = [] } = this.#shown;
    for (const arrow of svg.querySelectorAll('[data-source]')) {
      toggle(
        arrow,
        'taken',
        taken.some((one) => isArrow(arrow, one)),
      );
      toggle(
        arrow,
        'refused',
        refused.some((one) => isArrow(arrow, one)),
      );
    }
  }
}

function isArrow(arrow: Element, { source, targets }: Transition): boolean {
  return (
    arrow.getAttribute('data-source') === source && arrow.getAttribute('data-targets') === targets.join(' ')
  );
}

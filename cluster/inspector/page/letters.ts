/** Messages that reached nobody. */

import { clock, count, h, keyed, setText } from './dom.js';
import { Filter } from './filter.js';
import type { Page, View } from './view.js';
import type { LettersView } from './wire.js';

export function lettersView(_page: Page): View {
  let told: LettersView['letters'] = [];
  const filter = new Filter('narrow the list', () => draw());
  const total = h('p', { class: 'facts' });
  const body = h('tbody', {});
  const columns = ['time', 'node', 'reason', 'event', 'to', 'from', 'detail'];
  const element = h(
    'div',
    { class: 'letters' },
    h('div', { class: 'head' }, h('h2', {}, 'Dead letters'), filter.element),
    total,
    h(
      'div',
      { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Dead letters' },
      h(
        'table',
        {},
        h('thead', {}, h('tr', {}, ...columns.map((text) => h('th', { scope: 'col' }, text)))),
        body,
      ),
    ),
  );
  const draw = (): void => {
    const wanted = filter.text.toLowerCase();
    const found = told.filter(
      (letter) => wanted === '' || Object.values(letter).join(' ').toLowerCase().includes(wanted),
    );
    setText(
      total,
      told.length === 0
        ? 'None since somebody looks: every message reached somebody.'
        : found.length === 0
          ? 'None of them has that in it.'
          : `${count(found.length)}, the newest first`,
    );
    keyed(
      body,
      found.map((letter, index) => ({
        letter,
        key: `${letter.at} ${letter.to} ${letter.event} ${found.length - index}`,
      })),
      ({ key }) => key,
      ({ letter: { at, node, reason, event, to, from, detail } }) =>
        h('tr', {}, ...[clock(at), node, reason, event, to, from, detail].map((text) => h('td', {}, text))),
      () => {},
    );
  };
  return {
    element,
    query: () => ({ view: 'letters' }),
    show(data) {
      told = (data as LettersView).letters;
      draw();
    },
  };
}

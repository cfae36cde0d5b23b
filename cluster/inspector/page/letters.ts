/** Messages that reached nobody. */

import { clock, count, h, keyed, setText } from './dom.js';
import type { Page, View } from './view.js';
import type { LettersView } from './wire.js';

export function lettersView(page: Page): View {
  const total = h('p', { class: 'facts' });
  const body = h('tbody', {});
  const columns = ['time', 'node', 'reason', 'event', 'to', 'from', 'detail'];
  const element = h(
    'div',
    { class: 'letters' },
    h('h2', {}, 'Dead letters'),
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
  return {
    element,
    query: () => ({ view: 'letters' }),
    show(data) {
      const wanted = page.search().toLowerCase();
      const { letters } = data as LettersView;
      const found = letters.filter(
        (letter) => wanted === '' || Object.values(letter).join(' ').toLowerCase().includes(wanted),
      );
      setText(
        total,
        found.length === 0
          ? 'None since somebody looks: every message reached somebody.'
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
    },
  };
}

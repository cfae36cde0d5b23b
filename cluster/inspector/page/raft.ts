/** A Raft group: its members' charts side by side, on one axis of terms, with log, commit and applied. */

import { LiveChart } from './chart.js';
import { count, h, keyed, setAttribute, setText, setWords, toggle, valueText } from './dom.js';
import type { Page, View } from './view.js';
import type { Member, RaftView } from './wire.js';
import { rangeWords } from './words.js';

interface Card {
  readonly element: HTMLElement;
  readonly chart: LiveChart;
}

const NO_REGION = -1;
/** Terms that the axis shows. */
const TERMS = 14;

export function raftView(page: Page, argument: string): View {
  const wrong = argument !== '' && !/^\d{1,15}$/.test(argument);
  const asked = wrong ? 0 : Number(argument);
  const title = h('h2', { id: 'raft-title' }, 'Raft group');
  const range = h('p', { class: 'range' });
  const list = h('select', {
    'aria-label': 'Region',
    onchange: () => page.go(`#/raft/${list.value}`),
  });
  const axis = h('div', { class: 'axis', role: 'img', tabindex: 0 });
  const cards = h('div', { class: 'members' });
  const known = new Map<string, Card>();
  const element = h(
    'div',
    { class: 'raft' },
    h('div', { class: 'head' }, title, list, range),
    h('section', { 'aria-label': 'Terms' }, h('h3', {}, 'Who was what, term by term'), axis),
    cards,
  );
  return {
    element,
    query: () => ({
      view: 'raft',
      region: asked,
    }),
    show(data) {
      const view = data as RaftView;
      const none = view.missing || wrong;
      toggle(element, 'none', none);
      setText(
        title,
        none
          ? `There is no region ${argument}`
          : view.region === 0
            ? 'No region is known yet'
            : `Region ${view.region}`,
      );
      setWords(
        range,
        none
          ? [{ text: 'It may have been merged with a neighbour. Choose one that is there.', space: false }]
          : view.region === 0
            ? []
            : [
                ...rangeWords(view.start, view.end),
                ...(view.epoch === '' ? [] : [{ text: ` ·  epoch ${view.epoch}`, space: false }]),
              ],
      );
      const chosen = none ? NO_REGION : view.region;
      const options = view.regions.includes(chosen) ? view.regions : [chosen, ...view.regions];
      keyed(
        list,
        options,
        String,
        (id) => h('option', { value: id }, id === NO_REGION ? 'choose …' : `region ${id}`),
        () => {},
      );
      if (document.activeElement !== list) list.value = String(chosen);
      const members = (none ? [] : [...view.members]).sort((a, b) => (a.node < b.node ? -1 : 1));
      showAxis(axis, members);
      keyed(
        cards,
        members,
        ({ node }) => node,
        ({ node }) => {
          const card = makeCard(node);
          known.set(node, card);
          return card.element;
        },
        (_, member) => updateCard(known.get(member.node), member, members, view.region),
      );
    },
    key(event) {
      const step =
        event.key === 'ArrowRight' || event.key === 'j'
          ? 1
          : event.key === 'ArrowLeft' || event.key === 'k'
            ? -1
            : 0;
      const next = list.options[list.selectedIndex + step];
      if (step === 0 || next === undefined) return false;
      page.go(`#/raft/${next.value}`);
      return true;
    },
  };
}

function makeCard(node: string): Card {
  const chart = new LiveChart(true);
  const element = h(
    'article',
    { class: 'member', 'data-node': node },
    h(
      'header',
      {},
      h('a', { class: 'name' }, node),
      h('span', { class: 'role' }),
      h('span', { class: 'term' }),
    ),
    h('p', { class: 'value' }),
    h('dl', { class: 'log' }),
    h(
      'div',
      { class: 'bar' },
      h('span', { class: 'applied' }),
      h('span', { class: 'commit' }),
      h('span', { class: 'last' }),
    ),
    chart.element,
  );
  return { element, chart };
}

function updateCard(
  card: Card | undefined,
  member: Member,
  members: readonly Member[],
  region: number,
): void {
  if (card === undefined) return;
  const { element, chart } = card;
  const { node, peer, role, term, first, last, commit, applied, silent, asleep, active, value } = member;
  const [header, state, log, bar] = element.children;
  const [name, roleText, termText] = header?.children ?? [];
  if (
    name === undefined ||
    roleText === undefined ||
    termText === undefined ||
    state === undefined ||
    log === undefined ||
    bar === undefined
  )
    return;
  setAttribute(name, 'href', `#/actors/${encodeURIComponent(`${node}/region/${region}/peer/${peer}/raft`)}`);
  setText(roleText, silent ? 'silent' : asleep ? `${role}, asleep` : role);
  setAttribute(element, 'data-role', silent ? 'silent' : role);
  setText(termText, `term ${term}`);
  setText(state, valueText(value ?? role));
  const figures: readonly (readonly [string, number])[] = [
    ['first', first],
    ['last', last],
    ['commit', commit],
    ['applied', applied],
  ];
  keyed(
    log,
    figures,
    ([key]) => key,
    ([key]) => h('div', {}, h('dt', {}, key), h('dd', {})),
    (entry, [, figure]) => {
      const shown = entry.lastElementChild;
      if (shown !== null) setText(shown, count(figure));
    },
  );
  // All members share one axis: from the shortest log's beginning to the longest one's end.
  const from = Math.min(...members.map((one) => one.first));
  const to = Math.max(from + 1, ...members.map((one) => one.last));
  const part = (index: number): string =>
    `${Math.max(0, Math.min(100, ((index - from) / (to - from)) * 100)).toFixed(2)}%`;
  for (const [index, figure] of [applied, commit, last].entries()) {
    const mark = bar.children[index];
    if (mark instanceof HTMLElement) mark.style.width = part(figure);
  }
  toggle(element, 'silent', silent);
  chart.show('raft', { active: silent ? [] : active });
}

function showAxis(axis: HTMLElement, members: readonly Member[]): void {
  const newest = Math.max(0, ...members.map(({ term }) => term));
  const known = members.flatMap(({ history }) => history.map(({ term }) => term));
  const oldest = Math.max(0, newest - TERMS + 1, Math.min(newest, ...known));
  const terms = Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i);
  const rows = [
    { node: 'term', cells: terms.map((term) => ({ key: String(term), text: String(term), kind: 'head' })) },
  ].concat(
    members.map(({ node, history }) => ({
      node,
      cells: terms.map((term) => {
        const roles = history.filter((change) => change.term === term).map(({ role }) => role);
        return { key: String(term), text: roles.map(shortRole).join('→'), kind: roles.at(-1) ?? 'none' };
      }),
    })),
  );
  axis.style.setProperty('--terms', String(terms.length));
  setAttribute(
    axis,
    'aria-label',
    members.map(({ node, role, term }) => `${node} is ${role} in term ${term}`).join(', ') || 'no members',
  );
  keyed(
    axis,
    rows,
    ({ node }) => node,
    ({ node }) =>
      h(
        'div',
        { class: 'axis-row' },
        h('span', { class: 'axis-name' }, node),
        h('span', { class: 'axis-cells' }),
      ),
    (row, { cells }) => {
      const holder = row.lastElementChild;
      if (holder === null) return;
      keyed(
        holder,
        cells,
        ({ key }) => key,
        () => h('span'),
        (cell, { text, kind }) => {
          setAttribute(cell, 'class', `axis-cell ${kind}`);
          setText(cell, text);
        },
      );
    },
  );
}

function shortRole(role: string): string {
  return { leader: 'L', follower: 'F', candidate: 'C', preCandidate: 'P' }[role] ?? role;
}

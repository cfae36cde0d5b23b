/** The page: tabs, search, the stream of the view that is shown. */

import { actorsView } from './actors.js';
import { clusterView } from './cluster.js';
import { count, h, keyed, setAttribute, setText, toggle } from './dom.js';
import { heatView } from './heat.js';
import { lettersView } from './letters.js';
import { raftView } from './raft.js';
import { transactionsView } from './transactions.js';
import type { Page, View } from './view.js';
import type { Query, Summary } from './wire.js';

const TABS = [
  { name: 'cluster', title: 'Cluster', make: clusterView },
  { name: 'raft', title: 'Raft', make: raftView },
  { name: 'actors', title: 'Actors', make: actorsView },
  { name: 'transactions', title: 'Transactions', make: transactionsView },
  { name: 'heat', title: 'Heat', make: heatView },
  { name: 'letters', title: 'Dead letters', make: lettersView },
] as const;

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
};
const main = element('view');
const search = element('search') as HTMLInputElement;
let summary: Summary | undefined;
let view: View | undefined;
let tab = '';
let stream: EventSource | undefined;
let asked = '';
let searching: number | undefined;

const page: Page = {
  summary: () => summary,
  search: () => search.value.trim(),
  ask: (query) => connect(query),
  go: (hash) => {
    location.hash = hash;
  },
};

function connect(query: Query): void {
  const parameters = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const address = `/api/stream?${parameters}`;
  if (address === asked) return;
  asked = address;
  stream?.close();
  const opened = new EventSource(address);
  stream = opened;
  opened.addEventListener('view', (event) => {
    if (stream === opened) view?.show(JSON.parse((event as MessageEvent<string>).data));
  });
  opened.addEventListener('summary', (event) => {
    if (stream === opened) showSummary(JSON.parse((event as MessageEvent<string>).data) as Summary);
  });
  opened.addEventListener('error', () => {
    if (stream === opened) toggle(document.body, 'lost', true);
  });
  opened.addEventListener('open', () => toggle(document.body, 'lost', false));
}

function route(): void {
  const [, name = 'cluster', rest = ''] = /^#\/([a-z]+)\/?(.*)$/.exec(location.hash) ?? [];
  const found = TABS.find((one) => one.name === name) ?? TABS[0];
  const argument = decodeURIComponent(rest);
  tab = found.name;
  view = found.make(page, argument);
  main.replaceChildren(view.element);
  document.title = `${found.title} · Troupe inspector`;
  for (const link of element('tabs').children) {
    const current = link.getAttribute('href') === `#/${tab}`;
    setAttribute(link, 'aria-current', current ? 'page' : undefined);
  }
  connect(view.query());
}

const status = element('status');
const nodes = h('span', { class: 'nodes' });
const rate = h('span', { class: 'rate' });
const sampled = h('span', { class: 'sampled' });
const lost = h('span', { class: 'lost-note' }, 'the inspector does not answer: trying on');
status.append(nodes, rate, sampled, lost);

function showSummary(told: Summary): void {
  summary = told;
  setText(element('cluster-name'), told.cluster);
  const sorted = [...told.nodes].sort((a, b) => (a.node < b.node ? -1 : 1));
  keyed(
    nodes,
    sorted,
    ({ node }) => node,
    ({ node }) => h('span', { class: 'node' }, node),
    (dot, { node, silent }) => {
      toggle(dot, 'silent', silent);
      setText(dot, silent ? `${node} (silent)` : node);
    },
  );
  const parts = [
    `${count(told.regions)} ${told.regions === 1 ? 'region' : 'regions'}`,
    `${count(told.actors)} actors`,
    `${count(told.perSecond)} records/s`,
  ];
  setText(rate, parts.join(' · '));
  setText(sampled, told.leftOutPerSecond > 0 ? `sampled: ${count(told.leftOutPerSecond)}/s not shown` : '');
  const letters = element('tabs').querySelector('[href="#/letters"]');
  if (letters !== null)
    setAttribute(letters, 'data-count', told.letters > 0 ? String(told.letters) : undefined);
}

for (const { name, title } of TABS) element('tabs').append(h('a', { href: `#/${name}` }, title));

search.addEventListener('input', () => {
  window.clearTimeout(searching);
  searching = window.setTimeout(() => view && connect(view.query()), 150);
});
element('search-form').addEventListener('submit', (event) => {
  event.preventDefault();
  if (view) connect(view.query());
});

/** Keys: `/` searches, 1 to 6 change the view, Escape leaves a field; a view has keys of its own. */
document.addEventListener('keydown', (event) => {
  const { target } = event;
  const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (event.key === 'Escape' && target === search) {
    search.value = '';
    search.blur();
    if (view) connect(view.query());
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]') !== null)
    return;
  if (typing && !(target instanceof HTMLInputElement && target.type === 'range')) return;
  if (event.key === '/') {
    event.preventDefault();
    search.focus();
    return;
  }
  const wanted = TABS[Number(event.key) - 1];
  if (wanted !== undefined) page.go(`#/${wanted.name}`);
  else if (view?.key?.(event) === true) event.preventDefault();
});

window.addEventListener('hashchange', route);
route();

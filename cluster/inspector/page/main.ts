/** The page: tabs, search, the stream of the view that is shown. */

import { actorsView } from './actors.js';
import { clusterView } from './cluster.js';
import { h, keyed, setAttribute, setText, toggle } from './dom.js';
import { heatView } from './heat.js';
import { lettersView } from './letters.js';
import { raftView } from './raft.js';
import { Search } from './search.js';
import { transactionsView } from './transactions.js';
import type { Page, View } from './view.js';
import type { Query, Summary } from './wire.js';
import { many } from './words.js';

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
const field = element('search') as HTMLInputElement;
let summary: Summary | undefined;
/** Milliseconds until a stream that was refused is asked for again. */
const RETRY_MS = 2_000;
let view: View | undefined;
/** What is shown: name and argument. */
let shown = '';
let stream: EventSource | undefined;
let asked = '';
let lost = false;

const page: Page = {
  summary: () => summary,
  lost: () => lost,
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
    if (stream !== opened) return;
    setLost(true);
    // A server that refuses for good (503, 401) is not asked again by the browser itself.
    if (opened.readyState === EventSource.CLOSED)
      window.setTimeout(() => {
        if (stream !== opened) return;
        asked = '';
        connect(query);
      }, RETRY_MS);
  });
  opened.addEventListener('open', () => setLost(false));
}

/** What cannot be done while nobody answers is not offered; when somebody does, the view says anew what can. */
function setLost(now: boolean): void {
  lost = now;
  toggle(document.body, 'lost', now);
  if (now)
    for (const button of main.querySelectorAll<HTMLButtonElement>('[data-steers]')) button.disabled = true;
}

function route(): void {
  const [, name = '', rest = ''] = /^#\/([a-z]+)\/?(.*)$/.exec(location.hash) ?? [];
  const known = TABS.find((one) => one.name === name);
  // An address that is none is corrected: what is shown and what is read there are one.
  if (known === undefined) history.replaceState(null, '', '#/cluster');
  const found = known ?? TABS[0];
  const argument = known === undefined ? '' : decoded(rest);
  const { name: tab } = found;
  if (shown === `${tab}/${argument}`) return;
  shown = `${tab}/${argument}`;
  search.close();
  view = found.make(page, argument);
  main.replaceChildren(view.element);
  document.title = `${found.title} · Troupe inspector`;
  for (const link of element('tabs').children) {
    const current = link.getAttribute('href') === `#/${tab}`;
    setAttribute(link, 'aria-current', current ? 'page' : undefined);
    if (current && link instanceof HTMLElement) bringIntoView(link);
  }
  // A new view has nothing to show yet, even where it asks for the same.
  asked = '';
  connect(view.query());
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Where the tabs do not fit, they scroll sideways. */
function bringIntoView(link: HTMLElement): void {
  const row = element('tabs');
  const [left, right] = [
    link.offsetLeft - row.offsetLeft,
    link.offsetLeft - row.offsetLeft + link.offsetWidth,
  ];
  if (left < row.scrollLeft) row.scrollLeft = left;
  else if (right > row.scrollLeft + row.clientWidth) row.scrollLeft = right - row.clientWidth;
}

const status = element('status');
const nodes = h('span', { class: 'nodes' });
const rate = h('span', { class: 'rate' });
const sampled = h('span', {
  class: 'sampled',
  title:
    'Every change of state is shown. Of the events that leave a machine as it is (ticks, heartbeats) nodes tell of a sample; an actor that is opened is shown whole.',
});
const away = h('span', { class: 'away-note' }, 'NATS does not answer: nothing is heard of any node');
const lostNote = h('span', { class: 'lost-note' }, 'the inspector does not answer: trying on');
status.append(lostNote, away, nodes, rate, sampled);

function showSummary(told: Summary): void {
  summary = told;
  setText(element('cluster-name'), told.cluster);
  toggle(document.body, 'away', told.away);
  const sorted = [...told.nodes].sort((a, b) => (a.node < b.node ? -1 : 1));
  keyed(
    nodes,
    sorted,
    ({ node }) => node,
    ({ node }) => h('span', { class: 'node' }, node),
    (dot, { node, silent }) => {
      toggle(dot, 'silent', silent);
      // Without NATS all of them are, and it is not their doing.
      setText(dot, silent && !told.away ? `${node} (silent)` : node);
    },
  );
  const parts = [
    many(told.regions, 'region'),
    many(told.actors, 'actor'),
    many(told.perSecond, 'record/s', 'records/s'),
  ];
  setText(rate, parts.join(' · '));
  setText(
    sampled,
    told.leftOutPerSecond > 0
      ? `sampled: ${many(told.leftOutPerSecond, 'quiet event/s', 'quiet events/s')} not shown`
      : '',
  );
  const letters = element('tabs').querySelector('[href="#/letters"]');
  if (letters !== null)
    setAttribute(letters, 'data-count', told.letters > 0 ? String(told.letters) : undefined);
}

for (const { name, title } of TABS) element('tabs').append(h('a', { href: `#/${name}` }, title));

const search = new Search(element('search-form'), field, page.go);

/** Keys: `/` searches, 1 to 6 change the view, Escape leaves a field; a view has keys of its own. */
document.addEventListener('keydown', (event) => {
  const { target } = event;
  const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
  if (event.key === 'Escape' && target instanceof HTMLInputElement && target.type === 'search') {
    if (target.value !== '') {
      target.value = '';
      target.dispatchEvent(new Event('input'));
    }
    search.close();
    target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]') !== null)
    return;
  if (typing && !(target instanceof HTMLInputElement && target.type === 'range')) return;
  if (event.key === '/') {
    event.preventDefault();
    field.focus();
    return;
  }
  const wanted = TABS[Number(event.key) - 1];
  if (wanted !== undefined) page.go(`#/${wanted.name}`);
  else if (view?.key?.(event) === true) event.preventDefault();
});

window.addEventListener('hashchange', route);
route();

/** Stores as columns, regions by range as rows: who has what, who leads, and what is under way. */

import { bytes, clock, count, h, keyed, s, setAttribute, setText, setWords, toggle } from './dom.js';
import { Filter } from './filter.js';
import { regionDialog } from './region-dialog.js';
import { Rows } from './rows.js';
import { confirmed } from './steer.js';
import type { Page, View } from './view.js';
import type { ClusterView, Peer, Region, Store } from './wire.js';
import { rangeText, rangeWords } from './words.js';

export function clusterView(page: Page): View {
  let stores: readonly Store[] = [];
  let shown: readonly Region[] = [];
  const heads = h('div', { class: 'stores', role: 'list', 'aria-label': 'Stores' });
  const strip = s('svg', {
    class: 'strip',
    role: 'img',
    'aria-label': 'The key space by leader',
    preserveAspectRatio: 'none',
  });
  const total = h('p', { class: 'total' });
  const filter = new Filter('id, key, state, store 2', () => {
    rows.rewind();
    page.ask(query());
  });
  filter.element.setAttribute('aria-label', 'Narrow the list of regions');
  const rows = new Rows<Region>({
    label: 'Regions by key',
    keyOf: ({ id }) => String(id),
    make: (region) => makeRow(region.id),
    update: (row, region) => updateRow(row, region),
    want: () => page.ask(query()),
  });
  const operators = h('ul', { class: 'plain', id: 'operators' });
  const moments = h('ol', { class: 'plain moments' });
  const schedulers = h('ul', { class: 'plain' });
  const element = h(
    'div',
    { class: 'cluster' },
    h(
      'section',
      { class: 'map', 'aria-label': 'Regions' },
      heads,
      strip as unknown as HTMLElement,
      h('div', { class: 'narrow' }, filter.element, total),
      rows.element,
    ),
    h(
      'aside',
      {},
      h('h2', {}, 'Under way'),
      operators,
      h('h2', {}, 'Schedulers'),
      schedulers,
      h('h2', {}, 'What happened'),
      moments,
    ),
  );
  const query = () => ({ view: 'cluster', search: filter.text, offset: rows.offset, limit: rows.limit });

  function makeRow(id: number): HTMLElement {
    const row = h('div', { class: 'row region', role: 'listitem', 'data-region': id });
    row.append(
      h('a', { class: 'id', href: `#/raft/${id}`, title: 'its Raft group' }, String(id)),
      h('span', { class: 'range' }),
      h('span', { class: 'size' }),
      h('span', { class: 'cells' }),
      h('span', { class: 'note' }),
      h(
        'button',
        {
          type: 'button',
          class: 'more',
          'aria-label': `Steer region ${id}`,
          'data-steers': true,
          onclick: () => {
            const region = shown.find((one) => one.id === id);
            if (region !== undefined) regionDialog(region, stores);
          },
        },
        '⋯',
      ),
    );
    return row;
  }

  function updateRow(row: HTMLElement, region: Region): void {
    const [, range, size, cells, note] = row.children;
    if (range === undefined || size === undefined || cells === undefined || note === undefined) return;
    setWords(range, rangeWords(region.start, region.end));
    setAttribute(range, 'title', rangeText(region.start, region.end));
    setText(size, region.size === 0 ? '' : bytes(region.size));
    keyed(
      cells,
      stores,
      ({ id }) => String(id),
      () => h('span', { class: 'cell' }),
      (cell, store) => {
        const peer = region.peers.find((one) => one.store === store.id);
        const what = peerText(peer, region);
        setAttribute(cell, 'class', `cell ${what}`);
        setAttribute(
          cell,
          'title',
          peer === undefined ? undefined : `${store.node}: ${what.replaceAll('-', ' ')}`,
        );
        setText(cell, MARKS[what] ?? '');
      },
    );
    const trouble = troubleOf(region);
    setText(note, region.operator ?? trouble);
    setAttribute(note, 'title', region.operator ?? (trouble || undefined));
    toggle(row, 'busy', region.operator !== undefined);
    toggle(row, 'trouble', region.operator === undefined && trouble !== '');
    const { lastElementChild: steer } = row;
    if (steer instanceof HTMLButtonElement) steer.disabled = page.lost();
  }

  return {
    element,
    query,
    show(data) {
      const view = data as ClusterView;
      stores = view.stores;
      shown = view.regions;
      element.style.setProperty('--stores', String(Math.max(1, stores.length)));
      keyed(
        heads,
        stores,
        ({ id }) => String(id),
        makeStore,
        (head, store) => updateStore(head, store, stores.indexOf(store), page),
      );
      showStrip(strip, view, stores);
      setText(
        total,
        filter.text === '' ? '' : view.total === 0 ? 'No region is found.' : `${count(view.total)} found`,
      );
      rows.show(view.regions, view.offset, view.total);
      const { operators: list } = view;
      keyed(
        operators,
        list.length > 0 ? list : [undefined],
        (one) => (one === undefined ? 'none' : String(one.region)),
        () => h('li'),
        (item, one) => {
          const text =
            one === undefined
              ? 'nothing'
              : `region ${one.region}: ${one.steps[one.step] ?? 'done'} (${one.step + 1} of ${one.steps.length}, ${one.by})`;
          setText(item, text);
        },
      );
      showSchedulers(schedulers, page);
      keyed(
        moments,
        view.moments,
        ({ at, text }) => `${at} ${text}`,
        ({ at, text }) => h('li', {}, h('time', {}, clock(at).slice(0, 8)), ` ${text}`),
        () => {},
      );
    },
  };
}

const MARKS: Readonly<Record<string, string>> = {
  leader: '●',
  follower: '○',
  learner: '◌',
  pending: '◔',
  down: '×',
  joining: '◑',
  leaving: '◐',
};

function peerText(peer: Peer | undefined, region: Region): string {
  if (peer === undefined) return 'none';
  if (peer.down) return 'down';
  if (peer.pending) return 'pending';
  if (peer.role === 'learner') return 'learner';
  if (peer.role === 'incomingVoter') return 'joining';
  if (peer.role === 'demotingVoter') return 'leaving';
  return region.leader === peer.store ? 'leader' : 'follower';
}

function troubleOf({ leader, state, peers }: Region): string {
  if (leader === 0) return 'no leader known';
  if (peers.some(({ down }) => down)) return 'a peer is down';
  const { replication = '' } = state;
  return ['whole', 'unknown', ''].includes(replication) ? '' : replication;
}

function makeStore(store: Store): HTMLElement {
  return h(
    'div',
    { class: 'store', role: 'listitem', 'data-store': store.id },
    h('strong', {}, h('i', { class: 'swatch' }), store.node),
    h('span', { class: 'state' }),
    h('span', { class: 'load' }),
    h('button', { type: 'button', class: 'kill', hidden: true, 'data-steers': true }, 'Kill'),
  );
}

function updateStore(head: HTMLElement, store: Store, place: number, page: Page): void {
  const [name, state, load, kill] = head.children;
  const swatch = name?.firstElementChild;
  if (state === undefined || load === undefined || !(kill instanceof HTMLButtonElement)) return;
  const summary = page.summary();
  const away = summary?.away === true;
  const seen =
    store.silent && away ? 'unknown' : store.silent && store.state === 'up' ? 'silent' : store.state;
  setText(state, `#${store.id} · ${seen}`);
  toggle(head, 'bad', seen !== 'up' && seen !== 'unknown');
  if (swatch) setAttribute(swatch, 'class', `swatch hue-${place % 8}`);
  setText(load, `${count(store.leaders)} of ${count(store.regions)} led`);
  setAttribute(
    load,
    'title',
    store.capacity > 0 ? `${bytes(store.used)} of ${bytes(store.capacity)} used` : undefined,
  );
  kill.hidden = summary?.canKill !== true;
  // Without NATS nobody knows who runs.
  const gone = store.silent && !away;
  kill.disabled = gone || page.lost();
  setAttribute(kill, 'title', gone ? 'it does not run at the moment' : undefined);
  setAttribute(kill, 'aria-label', `Kill ${store.node}`);
  kill.onclick = () => {
    const { node } = store;
    confirmed(
      `Kill the process of ${node}? It is started again; what it led is led by others meanwhile.`,
      `Kill ${node}`,
      { action: 'kill', node },
      true,
    );
  };
}

function showStrip(strip: SVGElement, { strip: parts }: ClusterView, stores: readonly Store[]): void {
  setAttribute(strip, 'viewBox', `0 0 ${Math.max(1, parts.length)} 1`);
  const busiest = Math.max(1, ...parts.map(({ busy }) => busy));
  keyed(
    strip,
    parts.map((part, index) => ({ ...part, index })),
    ({ index }) => String(index),
    ({ index }) => s('rect', { x: index, y: 0, width: 1, height: 1 }),
    (rect, { leader, trouble, busy }) => {
      const place = stores.findIndex(({ id }) => id === leader);
      setAttribute(rect, 'class', trouble ? 'trouble' : `hue-${place < 0 ? 'none' : place % 8}`);
      setAttribute(rect, 'fill-opacity', (0.45 + (0.55 * busy) / busiest).toFixed(2));
    },
  );
}

function showSchedulers(list: HTMLElement, page: Page): void {
  const summary = page.summary();
  keyed(
    list,
    summary?.schedulers ?? [],
    ({ name }) => name,
    ({ name }) =>
      h(
        'li',
        { class: 'scheduler' },
        h('span', {}, name),
        h('button', { type: 'button', class: 'small', 'data-steers': true }),
      ),
    (item, { name, pausedUntil }) => {
      const button = item.lastElementChild;
      if (!(button instanceof HTMLButtonElement)) return;
      button.disabled = page.lost();
      const rests = pausedUntil > Date.now();
      setText(button, rests ? 'Resume' : 'Pause');
      setAttribute(button, 'aria-label', `${rests ? 'Resume' : 'Pause'} ${name}`);
      button.onclick = () =>
        rests
          ? confirmed(`Let the scheduler ${name} work again?`, 'Resume', {
              action: 'resume',
              scheduler: name,
            })
          : confirmed(`Pause the scheduler ${name} until it is resumed?`, 'Pause', {
              action: 'pause',
              scheduler: name,
            });
    },
  );
}

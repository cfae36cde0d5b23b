/** A transaction's life across regions, as stores were asked for it. */

import { clock, count, h, keyed, setAttribute, setText, toggle } from './dom.js';
import { Filter } from './filter.js';
import type { Page, View } from './view.js';
import type { TransactionsView, TxnStep } from './wire.js';
import { many } from './words.js';

export function transactionsView(page: Page, argument: string): View {
  const found = h('p', { class: 'total' });
  const list = h('ul', { class: 'plain found', 'aria-label': 'Transactions' });
  /** The newest that was told of, and what the list shows: it does not move under a pointer, nor while it is paused. */
  let latest: TransactionsView | undefined;
  let paused = false;
  let pointed = false;
  let listed = '';
  const filter = new Filter('narrow the list', () => {
    listed = '';
    page.ask(query());
  });
  const pause = h(
    'button',
    { type: 'button', class: 'small', title: 'key p', onclick: () => setPaused(!paused) },
    'Pause',
  );
  list.addEventListener('pointerenter', () => setPointed(true));
  list.addEventListener('pointerleave', () => setPointed(false));
  const title = h('h2', {}, argument === '' ? 'No transaction is chosen' : `Transaction ${argument}`);
  const facts = h(
    'p',
    { class: 'facts' },
    argument === '' ? 'Choose one of the list: it fills while transactions run.' : '',
  );
  const lanes = h('div', { class: 'lanes', tabindex: 0, role: 'img' });
  const table = h('tbody', {});
  const element = h(
    'div',
    { class: `actors transactions${argument === '' ? ' none' : ''}` },
    h('aside', { class: 'finder' }, filter.element, h('div', { class: 'over' }, found, pause), list),
    h(
      'section',
      { class: 'selected', 'aria-label': 'Transaction' },
      title,
      facts,
      lanes,
      h(
        'div',
        { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Steps' },
        h(
          'table',
          {},
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              ...['time', 'region', 'store', 'asked', 'keys', 'first key', 'outcome'].map((text) =>
                h('th', { scope: 'col' }, text),
              ),
            ),
          ),
          table,
        ),
      ),
    ),
  );
  const query = () => ({
    view: 'transactions',
    search: filter.text,
    limit: 100,
    ...(argument === '' ? {} : { txn: argument }),
  });

  function setPaused(now: boolean): void {
    paused = now;
    setText(pause, now ? 'Go on' : 'Pause');
    toggle(pause, 'on', now);
    showList();
  }

  function setPointed(now: boolean): void {
    pointed = now;
    showList();
  }

  function showList(): void {
    if (latest === undefined) return;
    const { total, transactions } = latest;
    const held = (paused || pointed) && listed === filter.text && list.childElementCount > 0;
    setText(
      found,
      total === 0 && filter.text !== ''
        ? 'None of them has that in it.'
        : `${count(total)} seen lately${held ? (paused ? ', paused' : ', held') : ''}`,
    );
    if (held) return;
    listed = filter.text;
    keyed(
      list,
      transactions,
      ({ startTs }) => startTs,
      ({ startTs, began }) =>
        h(
          'li',
          {},
          h(
            'a',
            { href: `#/transactions/${startTs}` },
            h('b', {}, `${clock(began)}  ${startTs}`),
            h('span', {}),
          ),
        ),
      (item, one) => {
        const text = item.querySelector('span');
        if (text !== null)
          setText(
            text,
            [one.outcome, many(one.regions, 'region'), one.key].filter((part) => part !== '').join(' · '),
          );
        setAttribute(item, 'aria-current', one.startTs === argument ? 'true' : undefined);
        setAttribute(item, 'data-outcome', one.outcome.replace(/ .*/, ''));
      },
    );
  }

  return {
    element,
    query,
    key(event) {
      if (event.key !== 'p') return false;
      setPaused(!paused);
      return true;
    },
    show(data) {
      const view = data as TransactionsView;
      latest = view;
      showList();
      const { selected } = view;
      if (selected === undefined) {
        if (argument !== '') setText(facts, 'It was not seen, or too many came after it.');
        return;
      }
      const took = selected.last - selected.began;
      setText(
        facts,
        [
          selected.outcome,
          many(selected.regions.length, 'region'),
          timeText(selected.steps.length, took),
        ].join('  ·  '),
      );
      showLanes(lanes, selected.regions, selected.steps, selected.began, Math.max(1, took));
      keyed(
        table,
        selected.steps.map((step, index) => ({ step, index })),
        ({ index }) => String(index),
        ({ step }) =>
          h(
            'tr',
            {},
            ...[
              clock(step.at),
              String(step.region),
              step.node,
              step.what,
              count(step.keys),
              step.key + (step.primary ? ' (primary)' : ''),
              step.outcome,
            ].map((text) => h('td', {}, text)),
          ),
        () => {},
      );
    },
  };
}

/** Stores tell when they were asked: of a single request there is no time between. */
function timeText(steps: number, took: number): string {
  if (steps === 1) return 'in one request';
  return took < 0.1 ? 'less than 0.1 ms' : `${took.toFixed(1)} ms from the first request to the last`;
}

function showLanes(
  lanes: HTMLElement,
  regions: readonly number[],
  steps: readonly TxnStep[],
  began: number,
  took: number,
): void {
  setAttribute(
    lanes,
    'aria-label',
    steps.map((step) => `region ${step.region}: ${step.what}, ${step.outcome}`).join('; '),
  );
  keyed(
    lanes,
    regions,
    String,
    (region) =>
      h(
        'div',
        { class: 'lane', 'data-region': region },
        h('span', { class: 'lane-name' }, `region ${region}`),
        h('span', { class: 'lane-line' }),
      ),
    (lane, region) => {
      const holder = lane.lastElementChild;
      if (holder === null) return;
      keyed(
        holder,
        steps.map((step, index) => ({ step, index })).filter(({ step }) => step.region === region),
        ({ index }) => String(index),
        ({ step }) =>
          h(
            'span',
            {
              class: `mark ${step.outcome === 'ok' || step.outcome.startsWith('committed') ? 'good' : 'bad'}${step.primary ? ' primary' : ''}`,
              title: `${step.what}: ${step.outcome}`,
            },
            step.what,
          ),
        (mark, { step }) => {
          mark.style.left = `${(((step.at - began) / took) * 80).toFixed(2)}%`;
        },
      );
    },
  );
}

/** A transaction's life across regions, as stores were asked for it. */

import { clock, count, h, keyed, setAttribute, setText } from './dom.js';
import type { Page, View } from './view.js';
import type { TransactionsView, TxnStep } from './wire.js';

export function transactionsView(page: Page, argument: string): View {
  const found = h('p', { class: 'total' });
  const list = h('ul', { class: 'plain found', 'aria-label': 'Transactions' });
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
    h('aside', { class: 'finder' }, found, list),
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
  return {
    element,
    query: () => ({
      view: 'transactions',
      search: page.search(),
      limit: 100,
      ...(argument === '' ? {} : { txn: argument }),
    }),
    show(data) {
      const view = data as TransactionsView;
      setText(found, `${count(view.total)} seen lately`);
      keyed(
        list,
        view.transactions,
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
              `${one.outcome} · ${one.regions} ${one.regions === 1 ? 'region' : 'regions'} · ${one.key}`,
            );
          setAttribute(item, 'aria-current', one.startTs === argument ? 'true' : undefined);
          setAttribute(item, 'data-outcome', one.outcome.replace(/ .*/, ''));
        },
      );
      const { selected } = view;
      if (selected === undefined) {
        if (argument !== '') setText(facts, 'It was not seen, or too many came after it.');
        return;
      }
      const took = selected.last - selected.began;
      setText(
        facts,
        `${selected.outcome}  ·  ${selected.regions.length} ${selected.regions.length === 1 ? 'region' : 'regions'}  ·  ${took.toFixed(1)} ms`,
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

/** What can be done to a region. */

import { h } from './dom.js';
import { choices, confirmed } from './steer.js';
import type { Region, Store } from './wire.js';

export function regionDialog(region: Region, stores: readonly Store[], shown: readonly Region[]): void {
  const { id, peers, leader } = region;
  const has = (store: Store): boolean => peers.some((peer) => peer.store === store.id);
  const key = h('input', {
    id: 'split-key',
    placeholder: 'key; empty for the middle',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const neighbours = shown.filter(
    (one) => one.id !== id && (one.start === region.end || one.end === region.start),
  );
  const target = select(
    'merge-target',
    neighbours.map((one) => [one.id, `region ${one.id}`]),
  );
  const next = select(
    'transfer-store',
    stores.filter((store) => has(store) && store.id !== leader).map(named),
  );
  const from = select('move-from', stores.filter(has).map(named));
  const to = select('move-to', stores.filter((store) => !has(store) && store.state === 'up').map(named));
  choices(
    `Region ${id}`,
    line('Split at', [key], 'Split …', () => {
      const at = key.value.trim();
      const where = at === '' ? 'in the middle of its data' : `at “${at}”`;
      const space = region.start.startsWith('x') ? 'txn' : 'raw';
      confirmed(`Split region ${id} ${where}?`, 'Split', {
        action: 'split',
        region: id,
        ...(at === '' ? {} : { key: at, space }),
      });
    }),
    line('Merge into', [target], 'Merge …', () => {
      confirmed(`Merge region ${id} into region ${target.value}?`, 'Merge', {
        action: 'merge',
        region: id,
        source: id,
        target: Number(target.value),
      });
    }),
    line('Lead by', [next], 'Transfer …', () => {
      confirmed(`Make the peer on ${nameOf(next)} the leader of region ${id}?`, 'Transfer', {
        action: 'transfer',
        region: id,
        store: Number(next.value),
      });
    }),
    line('Move from', [from, h('span', {}, 'to'), to], 'Move …', () => {
      confirmed(`Move the peer of region ${id} from ${nameOf(from)} to ${nameOf(to)}?`, 'Move', {
        action: 'move',
        region: id,
        from: Number(from.value),
        to: Number(to.value),
      });
    }),
  );
}

function named({ id, node }: Store): [number, string] {
  return [id, node];
}

function select(id: string, options: readonly (readonly [number, string])[]): HTMLSelectElement {
  return h('select', { id }, ...options.map(([value, text]) => h('option', { value }, text)));
}

function nameOf(list: HTMLSelectElement): string {
  return list.selectedOptions[0]?.textContent ?? list.value;
}

function line(label: string, fields: readonly HTMLElement[], verb: string, act: () => void): HTMLElement {
  const [first] = fields;
  const impossible = fields.some((field) => field instanceof HTMLSelectElement && field.options.length === 0);
  for (const field of fields.slice(1))
    if (field instanceof HTMLSelectElement) field.setAttribute('aria-label', 'to');
  return h(
    'div',
    { class: 'line' },
    h('label', { for: first?.id }, label),
    h('span', { class: 'fields' }, ...fields),
    h('button', { type: 'button', disabled: impossible, onclick: act }, verb),
  );
}

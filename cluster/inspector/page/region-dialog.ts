/** What can be done to a region. */

import { h } from './dom.js';
import { choices, confirmed } from './steer.js';
import type { Region, Store } from './wire.js';

export function regionDialog(region: Region, stores: readonly Store[]): void {
  const { id, peers, leader, spaces, neighbours } = region;
  const has = (store: Store): boolean => peers.some((peer) => peer.store === store.id);
  const key = h('input', {
    id: 'split-key',
    placeholder: 'key; empty for the middle',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const space = h(
    'select',
    { id: 'split-space', 'aria-label': 'Key space' },
    ...spaces.map((one) => h('option', { value: one }, one)),
  );
  const target = select(
    'merge-target',
    neighbours.map((one) => [one, `region ${one}`]),
  );
  const next = select(
    'transfer-store',
    stores.filter((store) => has(store) && store.id !== leader).map(named),
  );
  const from = select('move-from', stores.filter(has).map(named));
  const to = select('move-to', stores.filter((store) => !has(store) && store.state === 'up').map(named));
  choices(
    `Region ${id}`,
    line('Split at', [space, key], 'Split …', () => {
      const at = key.value.trim();
      const where = at === '' ? 'in the middle of its data' : `at the ${space.value} key “${at}”`;
      confirmed(`Split region ${id} ${where}?`, 'Split', {
        action: 'split',
        region: id,
        ...(at === '' ? {} : { key: at, space: space.value }),
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
  key.focus();
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
  const impossible = fields.some((field) => field instanceof HTMLSelectElement && field.options.length === 0);
  const named = fields.find((field) => field.id !== '' && !field.hasAttribute('aria-label'));
  for (const field of fields)
    if (field !== named && field instanceof HTMLSelectElement && !field.hasAttribute('aria-label'))
      field.setAttribute('aria-label', 'to');
  return h(
    'form',
    {
      class: 'line',
      onsubmit: (event: Event) => {
        event.preventDefault();
        act();
      },
    },
    h('label', impossible ? {} : { for: named?.id }, label),
    h(
      'span',
      { class: 'fields' },
      ...(impossible ? [h('span', { class: 'none' }, IMPOSSIBLE[label])] : fields),
    ),
    h('button', { type: 'submit', disabled: impossible }, verb),
  );
}

/** Why there is nothing to choose from. */
const IMPOSSIBLE: Readonly<Record<string, string>> = {
  'Merge into': 'it has no neighbour',
  'Lead by': 'it has no other peer',
  'Move from': 'no other store is up without one',
};

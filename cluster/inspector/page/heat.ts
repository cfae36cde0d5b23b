/** Where the traffic is: keys downwards, time to the right. */

import { bytes, clock, h, keyed, setAttribute, setText } from './dom.js';
import type { Page, View } from './view.js';
import type { HeatView, ShownKey } from './wire.js';
import { startText } from './words.js';

const COLUMNS = 120;
const FIRST: ShownKey = { space: '', key: '' };

export function heatView(_page: Page): View {
  let what: 'written' | 'read' = 'written';
  let last: HeatView | undefined;
  const canvas = h('canvas', {
    class: 'heat',
    role: 'img',
    tabindex: 0,
    'aria-label': 'Heat map of the key space over time',
  });
  const under = h('p', { class: 'facts', role: 'status' });
  const scale = h('p', { class: 'facts' });
  const keys = h('ol', { class: 'plain keys', 'aria-hidden': 'true' });
  const hottest = h('ol', { class: 'plain hottest' });
  const choice = (value: typeof what, text: string): HTMLElement =>
    h(
      'button',
      {
        type: 'button',
        class: 'small',
        'data-what': value,
        onclick: () => {
          what = value;
          draw();
        },
      },
      text,
    );
  const buttons = h(
    'div',
    { class: 'choice', role: 'group', 'aria-label': 'What is shown' },
    choice('written', 'Written'),
    choice('read', 'Read'),
  );
  const element = h(
    'div',
    { class: 'heat-view' },
    h('div', { class: 'head' }, h('h2', {}, 'Heat'), buttons, scale),
    h('div', { class: 'heat-box' }, keys, canvas),
    under,
    h('h3', {}, 'Hottest now'),
    hottest,
  );
  canvas.addEventListener('mousemove', (event) =>
    point(event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight),
  );

  function point(x: number, y: number): void {
    const column = last?.columns[Math.floor(x * COLUMNS) - (COLUMNS - last.columns.length)];
    const values = column?.[what];
    if (column === undefined || values === undefined || last === undefined) return setText(under, '');
    const at = Math.min(values.length - 1, Math.max(0, Math.floor(y * values.length)));
    setText(
      under,
      `${clock(column.at).slice(0, 8)}  ·  from ${startText(last.rows[at]?.start ?? FIRST)}  ·  ${bytes(values[at] ?? 0)}/s`,
    );
  }

  function draw(): void {
    for (const button of buttons.children)
      setAttribute(button, 'aria-pressed', String(button.getAttribute('data-what') === what));
    const context = canvas.getContext('2d');
    if (context === null || last === undefined) return;
    const { columns, rows } = last;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    context.clearRect(0, 0, width, height);
    const most = Math.max(1, ...columns.map((column) => Math.max(0, ...column[what])));
    const style = getComputedStyle(element);
    const colour = style.getPropertyValue('--heat').trim();
    const base = style.getPropertyValue('--soft').trim();
    const step = width / COLUMNS;
    context.fillStyle = base;
    context.globalAlpha = 0.25;
    context.fillRect(0, 0, width, height);
    context.fillStyle = colour;
    for (const [index, column] of columns.entries()) {
      const values = column[what];
      // Whole pixels: where two squares shared one, it would shine.
      const left = Math.round((COLUMNS - columns.length + index) * step);
      const right = Math.round((COLUMNS - columns.length + index + 1) * step);
      const tall = height / Math.max(1, values.length);
      for (const [row, value] of values.entries()) {
        if (value <= 0) continue;
        context.globalAlpha = 0.12 + 0.88 * (Math.log1p(value) / Math.log1p(most));
        const top = Math.round(row * tall);
        context.fillRect(left, top, right - left, Math.round((row + 1) * tall) - top);
      }
    }
    context.globalAlpha = 1;
    setText(scale, `the brightest is ${bytes(most)}/s; the last ${COLUMNS * 2} seconds`);
    const shown = rows.filter((_, index) => index % Math.max(1, Math.ceil(rows.length / 12)) === 0);
    keyed(
      keys,
      shown,
      ({ firstRegion }) => String(firstRegion),
      () => h('li'),
      (item, { start }) => setText(item, startText(start)),
    );
    const now = columns.at(-1)?.[what] ?? [];
    const hot = rows
      .map((row, index) => ({ ...row, value: now[index] ?? 0 }))
      .filter(({ value }) => value > 0)
      .sort((a, b) => b.value - a.value)
      .slice(0, 8);
    keyed(
      hottest,
      hot.length > 0 ? hot : [undefined],
      (one) => (one === undefined ? 'none' : String(one.firstRegion)),
      (one) =>
        one === undefined
          ? h('li', {}, 'nothing; regions tell of their traffic with their heartbeats')
          : h('li', {}, h('a', { href: `#/raft/${one.firstRegion}` })),
      (item, one) => {
        const link = item.firstElementChild;
        if (one === undefined || link === null) return;
        setText(
          link,
          `region ${one.firstRegion}${one.regions > 1 ? ` and ${one.regions - 1} more` : ''}, from ${startText(one.start)}: ${bytes(one.value)}/s`,
        );
      },
    );
  }

  return {
    element,
    query: () => ({ view: 'heat' }),
    show(data) {
      last = data as HeatView;
      draw();
    },
    key(event) {
      if (event.key !== 'w' && event.key !== 'r') return false;
      what = event.key === 'w' ? 'written' : 'read';
      draw();
      return true;
    },
  };
}

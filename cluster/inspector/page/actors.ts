/** Any actor: its live chart, its context, its last events, and time travel over them. */

import { LiveChart } from './chart.js';
import { clock, count, h, keyed, setAttribute, setText, toggle, valueText } from './dom.js';
import type { Page, View } from './view.js';
import type { ActorsView, Step } from './wire.js';

/** Steps that the page keeps. */
const MOST_STEPS = 300;
const FOUND = 80;

export function actorsView(page: Page, argument: string): View {
  const address = argument;
  let steps: Step[] = [];
  /** The number of the step that is shown; 0 for the newest. */
  let pinned = 0;
  let last: ActorsView['selected'];
  const found = h('p', { class: 'total' });
  const list = h('ul', { class: 'plain found', 'aria-label': 'Actors' });
  const chart = new LiveChart();
  const title = h('h2', {}, address || 'No actor is chosen');
  const facts = h('p', { class: 'facts' });
  const slider = h('input', {
    type: 'range',
    min: 1,
    max: 1,
    value: 1,
    'aria-label': 'Time travel: step',
    oninput: () => pin(Number(slider.value)),
  });
  const live = h('button', { type: 'button', class: 'small', onclick: () => pin(0) }, 'Live');
  const zoom = (): void => {
    const whole = chart.element.classList.toggle('whole');
    setText(size, whole ? 'Fit the chart' : 'Full size');
  };
  const size = h('button', { type: 'button', class: 'small', onclick: zoom }, 'Full size');
  const when = h('span', { class: 'when' });
  const events = h('ol', { class: 'plain events', tabindex: 0, 'aria-label': 'Last events' });
  const detail = h('pre', { class: 'json', tabindex: 0, 'aria-label': 'Event and context' });
  const guards = h('ul', { class: 'plain guards' });
  const selected = h(
    'section',
    { class: 'selected', 'aria-label': 'Actor' },
    title,
    facts,
    h('div', { class: 'travel' }, live, slider, when),
    h(
      'div',
      { class: 'split' },
      h('div', { class: 'picture' }, chart.element, size, guards),
      h('div', { class: 'side' }, h('h3', {}, 'Events'), events, h('h3', {}, 'Event and context'), detail),
    ),
  );
  const element = h(
    'div',
    { class: `actors${address === '' ? ' none' : ''}` },
    h('aside', { class: 'finder' }, found, list),
    selected,
  );

  function pin(number: number): void {
    const newest = steps.at(-1)?.number ?? 0;
    pinned = number >= newest ? 0 : number;
    draw();
  }

  function move(by: number): void {
    const index = pinned === 0 ? steps.length - 1 : steps.findIndex(({ number }) => number === pinned);
    const next = steps[Math.max(0, index + by)];
    if (next !== undefined) pin(next.number);
  }

  function draw(): void {
    const newest = steps.at(-1);
    const step = pinned === 0 ? newest : (steps.find(({ number }) => number === pinned) ?? steps[0]);
    slider.min = String(steps[0]?.number ?? 1);
    slider.max = String(newest?.number ?? 1);
    slider.value = String(step?.number ?? 1);
    toggle(live, 'on', pinned === 0);
    setText(live, pinned === 0 ? 'Live' : 'Back to live');
    setText(when, step === undefined ? '' : `${clock(step.at)}  ·  step ${count(step.number)}`);
    if (last !== undefined) {
      const parts = [
        last.machine || 'not a machine',
        last.known ? valueText(step?.value ?? step?.status) : 'gone',
        `${count(last.queued)} in the mailbox`,
        `${count(last.restarts)} ${last.restarts === 1 ? 'restart' : 'restarts'}`,
      ];
      setText(facts, parts.join('  ·  '));
      if (step !== undefined)
        chart.show(last.machine, { active: step.active, taken: step.transitions, refused: step.refused });
    }
    keyed(
      events,
      [...steps].reverse(),
      ({ number }) => String(number),
      (one) =>
        h(
          'li',
          {},
          h(
            'button',
            { type: 'button', onclick: () => pin(one.number) },
            h('time', {}, clock(one.at)),
            h('b', {}, one.child === undefined ? one.event : `${one.child}: ${one.event}`),
            h('span', {}, stepText(one)),
          ),
        ),
      (item, one) => toggle(item, 'on', one.number === step?.number),
    );
    setText(
      detail,
      step === undefined ? '' : JSON.stringify({ event: step.detail, context: step.context }, null, 2),
    );
    keyed(
      guards,
      step?.refused ?? [],
      ({ source, guard, targets }) => `${source} ${guard ?? ''} ${targets.join()}`,
      ({ guard, targets }) =>
        h(
          'li',
          {},
          `${guard ?? 'guard'} said no${targets.length === 0 ? '' : `: not to ${targets.map(short).join(', ')}`}`,
        ),
      () => {},
    );
  }

  return {
    element,
    query: () => ({
      view: 'actors',
      search: page.search(),
      limit: FOUND,
      ...(address === '' ? {} : { address }),
    }),
    show(data) {
      const view = data as ActorsView;
      const more =
        view.total > view.actors.length
          ? `, the first ${view.actors.length} shown: search for the others`
          : '';
      setText(found, `${count(view.total)} actors${more}`);
      keyed(
        list,
        view.actors,
        (one) => one.address,
        (one) =>
          h(
            'li',
            {},
            h(
              'a',
              { href: `#/actors/${encodeURIComponent(one.address)}` },
              h('b', {}, one.address),
              h('span', {}),
            ),
          ),
        (item, one) => {
          const value = item.querySelector('span');
          if (value !== null)
            setText(
              value,
              [one.machine, valueText(one.value), one.queued > 0 ? `${one.queued} waiting` : '']
                .filter((part) => part !== '')
                .join(' · '),
            );
          setAttribute(item, 'aria-current', one.address === address ? 'true' : undefined);
        },
      );
      if (view.selected === undefined) return;
      last = view.selected;
      const newest = steps.at(-1)?.number ?? 0;
      // After a reconnection the server begins anew.
      const fresh = view.selected.steps.filter(({ number }) => number > newest);
      const [first] = view.selected.steps;
      if (first !== undefined && first.number === 1 && newest > 0 && fresh.length === 0)
        steps = [...view.selected.steps];
      else steps = [...steps, ...fresh].slice(-MOST_STEPS);
      draw();
    },
    key(event) {
      if (event.key === 'ArrowLeft') move(-1);
      else if (event.key === 'ArrowRight') move(1);
      else if (event.key === 'l') pin(0);
      else if (event.key === 'z') zoom();
      else return false;
      return true;
    },
  };
}

function stepText({ transitions, refused, value, actions }: Step): string {
  const taken = transitions.flatMap(({ targets }) => targets.map(short));
  if (taken.length > 0) return `→ ${taken.join(', ')}`;
  if (transitions.length > 0) return actions.length > 0 ? actions.join(', ') : 'stays';
  return refused.length > 0 ? 'refused' : valueText(value);
}

function short(id: string): string {
  const dot = id.indexOf('.');
  return dot < 0 ? id : id.slice(dot + 1);
}

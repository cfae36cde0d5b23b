/** Any actor: its live chart, its context, its last events, and time travel over them. */

import { LiveChart } from './chart.js';
import { clock, count, h, keyed, setAttribute, setText, toggle, valueText } from './dom.js';
import { Filter } from './filter.js';
import { Rows } from './rows.js';
import type { Page, View } from './view.js';
import type { ActorsView, Step } from './wire.js';
import { childText, eventText, many, shownSteps } from './words.js';

type Actor = ActorsView['actors'][number];

/** Steps that the page keeps. */
const MOST_STEPS = 300;

export function actorsView(page: Page, argument: string): View {
  const address = argument;
  let steps: Step[] = [];
  /** The number of the step that is shown; 0 for the newest. */
  let pinned = 0;
  let last: ActorsView['selected'];
  const found = h('p', { class: 'total' });
  let revealed = false;
  const filter = new Filter('narrow the list', () => {
    rows.rewind();
    page.ask(query());
  });
  const rows = new Rows<Actor>({
    label: 'Actors',
    kind: 'found',
    keyOf: (one) => one.address,
    make: (one) =>
      h(
        'div',
        { class: 'row', role: 'listitem' },
        h(
          'a',
          { href: `#/actors/${encodeURIComponent(one.address)}`, title: one.address },
          h('b', {}, one.address),
          h('span', {}),
        ),
      ),
    update: (item, one) => {
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
    want: () => page.ask(query()),
  });
  const query = () => ({
    view: 'actors',
    search: filter.text,
    offset: rows.offset,
    limit: rows.limit,
    ...(address === '' ? {} : { address }),
  });
  const chart = new LiveChart();
  const title = h('h2', {}, address || 'No actor is chosen');
  const facts = h('p', { class: 'facts' }, address === '' ? 'Choose one of the list.' : '');
  const slider = h('input', {
    type: 'range',
    min: 1,
    max: 1,
    value: 1,
    'aria-label': 'Time travel: step',
    oninput: () => pin(own()[Number(slider.value) - 1]?.number ?? 0),
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
    h('aside', { class: 'finder' }, filter.element, found, rows.element),
    selected,
  );

  /** The slider and the arrows go over the actor's own steps; those of its children are chosen in the list. */
  const own = (): Step[] => steps.filter(({ child }) => child === undefined);

  function pin(number: number): void {
    const newest = own().at(-1)?.number ?? 0;
    pinned = number === newest ? 0 : number;
    draw();
  }

  function move(by: number): void {
    const all = own();
    const at = shownSteps(steps, pinned).own;
    const next = all[Math.max(0, (at === undefined ? 0 : all.indexOf(at)) + by)];
    if (next !== undefined) pin(next.number);
  }

  function draw(): void {
    const all = own();
    const { own: step, chosen } = shownSteps(steps, pinned);
    slider.min = '1';
    slider.max = String(Math.max(1, all.length));
    slider.value = String(step === undefined ? 1 : all.indexOf(step) + 1);
    toggle(live, 'on', pinned === 0);
    setText(live, pinned === 0 ? 'Live' : 'Back to live');
    setText(
      when,
      step === undefined
        ? ''
        : `${clock(step.at)}  ·  ${all.indexOf(step) + 1} of ${many(all.length, 'step')}`,
    );
    const nobody = last !== undefined && !last.known && steps.length === 0;
    toggle(element, 'missing', nobody);
    if (nobody && last !== undefined) {
      setText(title, `There is no actor ${address}`);
      setText(facts, 'It may have stopped, or its node is not heard of. Choose one of the list.');
      return;
    }
    setText(title, address || 'No actor is chosen');
    if (last !== undefined) {
      const parts = [
        last.machine || 'not a machine',
        last.known ? valueText(step?.value ?? step?.status) : 'gone',
        `${count(last.queued)} in the mailbox`,
        many(last.restarts, 'restart'),
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
            h(
              'b',
              { title: one.event },
              ...(one.child === undefined
                ? []
                : [
                    h(
                      'i',
                      { class: 'child', title: `a child of the actor: ${one.child}` },
                      childText(one.child),
                    ),
                    ' ',
                  ]),
              eventText(one.event),
            ),
            h('span', {}, stepText(one)),
          ),
        ),
      (item, one) => {
        toggle(item, 'of-child', one.child !== undefined);
        toggle(item, 'on', one.number === chosen?.number);
      },
    );
    setText(
      detail,
      chosen === undefined
        ? ''
        : JSON.stringify(
            {
              ...(chosen.child === undefined ? {} : { child: chosen.child }),
              event: chosen.detail,
              context: chosen.context,
            },
            null,
            2,
          ),
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
    query,
    show(data) {
      const view = data as ActorsView;
      setText(
        found,
        view.total === 0 && filter.text !== '' ? 'No actor has that in it.' : many(view.total, 'actor'),
      );
      rows.show(view.actors, view.offset, view.total);
      const { place = -1 } = view.selected ?? {};
      if (!revealed && place >= 0) {
        revealed = true;
        rows.reveal(place);
      }
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

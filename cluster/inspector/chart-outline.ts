/** A chart without its small print: states, and arrows with the names of their events. For several charts side by side. */

import { triggerText } from '../charts/labels.js';
import type { Chart, ChartState, ChartTransition } from '../charts/model.js';

/** Names on one arrow. */
const NAMES = 2;

export function outlineOf(chart: Chart): Chart {
  return { version: 1, id: chart.id, root: outlined(chart.root) };
}

function outlined(state: ChartState): ChartState {
  const { id, key, kind, history, initial, states } = state;
  return {
    id,
    key,
    kind,
    ...(history === undefined ? {} : { history }),
    ...(initial === undefined ? {} : { initial: { targets: initial.targets, actions: [] } }),
    tags: [],
    entry: [],
    exit: [],
    invokes: [],
    transitions: arrows(state),
    states: states.map(outlined),
  };
}

/** One for each target that is not the state itself. */
function arrows({ id, transitions }: ChartState): ChartTransition[] {
  const together = new Map<string, ChartTransition[]>();
  for (const transition of transitions) {
    const { targets } = transition;
    if (targets.length === 0 || targets.every((target) => target === id)) continue;
    const key = targets.join(' ');
    together.set(key, [...(together.get(key) ?? []), transition]);
  }
  return [...together.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const names = [...new Set(group.map(nameOf))];
    const shown = names.slice(0, NAMES).join(', ');
    const event = names.length > NAMES ? `${shown}, …` : shown;
    return {
      trigger: { kind: 'event', event },
      otherwise: false,
      actions: [],
      targets: first.targets,
      reenter: false,
    };
  });
}

function nameOf({ trigger }: ChartTransition): string {
  if (trigger.kind === 'event') return trigger.event;
  return trigger.kind === 'after' ? triggerText(trigger) : trigger.kind;
}

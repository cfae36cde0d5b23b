/** What is drawn as an arrow: transitions with a target, those of one source and target on one arrow. */

import { type ChartLine, transitionLine } from './labels.js';
import { type Chart, type ChartTransition, statesOf } from './model.js';

export interface Arrow {
  /** Unique in the chart, the same each time. */
  readonly id: string;
  readonly source: string;
  /** More than one: the regions of a parallel state that are entered at once. */
  readonly targets: readonly string[];
  /** In the order in which the source tries them. */
  readonly lines: readonly ChartLine[];
}

/** Every arrow between states of the chart, in the order of their sources. */
export function arrowsOf(chart: Chart): Arrow[] {
  const arrows: Arrow[] = [];
  for (const { state } of statesOf(chart)) {
    const together = new Map<string, { targets: readonly string[]; transitions: ChartTransition[] }>();
    for (const transition of state.transitions) {
      const { targets } = transition;
      if (targets.length === 0) continue;
      const key = targets.join('\n');
      const group = together.get(key) ?? { targets, transitions: [] };
      together.set(key, group);
      group.transitions.push(transition);
    }
    for (const { targets, transitions } of together.values()) {
      arrows.push({
        id: `arrow-${arrows.length + 1}`,
        source: state.id,
        targets,
        lines: transitions.map(transitionLine),
      });
    }
  }
  return arrows;
}

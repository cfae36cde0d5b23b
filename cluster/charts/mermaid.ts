/**
 * A chart as a Mermaid `stateDiagram-v2`, for pages that draw such a text themselves.
 *
 * Mermaid draws no arrow between a state and one within it, so such a transition stands in the outer state's note; and it
 * knows no history, which becomes a state called H.
 */
import { type Arrow, arrowsOf } from './arrows.js';
import { linesOf, lineText, transitionLine } from './labels.js';
import { type Chart, type ChartState, statesOf } from './model.js';

export function mermaidOf(chart: Chart): string {
  return new MermaidWriter(chart).write();
}

class MermaidWriter {
  readonly #chart: Chart;
  readonly #lines: string[] = ['stateDiagram-v2'];
  /** Short names: Mermaid's may hold letters, digits and the underscore only. */
  readonly #names = new Map<string, string>();
  readonly #parents = new Map<string, string>();

  constructor(chart: Chart) {
    this.#chart = chart;
    for (const { state, parent } of statesOf(chart)) {
      this.#names.set(state.id, `s${this.#names.size}`);
      if (parent !== undefined) this.#parents.set(state.id, parent.id);
    }
  }

  write(): string {
    this.#state(this.#chart.root, this.#chart.id, 1);
    for (const arrow of arrowsOf(this.#chart)) this.#arrow(arrow);
    return `${this.#lines.join('\n')}\n`;
  }

  #state(state: ChartState, title: string, depth: number): void {
    const name = this.#name(state.id);
    const shown = state.kind === 'history' ? (state.history === 'deep' ? 'H*' : 'H') : title;
    if (state.states.length === 0) {
      this.#line(depth, `state "${escaped(shown)}" as ${name}`);
      for (const line of this.#inside(state)) this.#line(depth, `${name} : ${escaped(line)}`);
      if (state.kind === 'final') this.#line(depth, `${name} --> [*]`);
      if (state.kind === 'history') this.#initial(state, name, depth);
      return;
    }
    this.#line(depth, `state "${escaped(shown)}" as ${name} {`);
    if (state.kind === 'compound') this.#initial(state, '[*]', depth + 1);
    for (const [index, child] of state.states.entries()) {
      if (state.kind === 'parallel' && index > 0) this.#line(depth + 1, '--');
      this.#state(child, child.key, depth + 1);
    }
    this.#line(depth, '}');
    const inside = this.#inside(state);
    if (inside.length === 0) return;
    this.#line(depth, `note right of ${name}`);
    for (const line of inside) this.#line(depth + 1, escaped(line));
    this.#line(depth, 'end note');
  }

  #initial(state: ChartState, from: string, depth: number): void {
    for (const target of state.initial?.targets ?? []) this.#line(depth, `${from} --> ${this.#name(target)}`);
  }

  /** What is written into a state because no arrow shows it. */
  #inside(state: ChartState): string[] {
    const about = [state.description, state.tags.map((tag) => `#${tag}`).join(' ')];
    const kept = state.transitions.flatMap((transition) => {
      const targets = transition.targets.filter((target) => this.#nested(state.id, target));
      return targets.map((target) => `${lineText(transitionLine(transition))} → ${this.#title(target)}`);
    });
    return [...about, ...linesOf(state).map(lineText), ...kept].filter(
      (line): line is string => line !== undefined && line !== '',
    );
  }

  #arrow({ source, targets, lines }: Arrow): void {
    const label = lines.map((line) => escaped(lineText(line))).join('<br/>');
    for (const target of targets) {
      if (this.#nested(source, target)) continue;
      this.#line(1, `${this.#name(source)} --> ${this.#name(target)} : ${label}`);
    }
  }

  /** Whether one of two states is within the other. */
  #nested(a: string, b: string): boolean {
    return this.#holds(a, b) || this.#holds(b, a);
  }

  #holds(outer: string, inner: string): boolean {
    for (let at = this.#parents.get(inner); at !== undefined; at = this.#parents.get(at)) {
      if (at === outer) return true;
    }
    return false;
  }

  #title(id: string): string {
    return id.startsWith(`${this.#chart.id}.`) ? id.slice(this.#chart.id.length + 1) : id;
  }

  #name(id: string): string {
    return this.#names.get(id) ?? id;
  }

  #line(depth: number, text: string): void {
    this.#lines.push(`${'  '.repeat(depth)}${text}`);
  }
}

/** Mermaid reads `#58;` as the character of that code; what has a meaning of its own to it is written so. */
function escaped(text: string): string {
  return text.replace(/[^\p{L}\p{N} _.,/()[\]*→+=-]|--/gu, (part) =>
    [...part].map((character) => `#${character.codePointAt(0)};`).join(''),
  );
}

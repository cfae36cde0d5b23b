/** A chart in Graphviz's language: `dot -Tsvg` draws it. Nested states are clusters. */

import { type Arrow, arrowsOf } from './arrows.js';
import { linesOf, lineText } from './labels.js';
import { type Chart, type ChartState, statesOf } from './model.js';

export function dotOf(chart: Chart): string {
  return new DotWriter(chart).write();
}

class DotWriter {
  readonly #chart: Chart;
  readonly #lines: string[] = [];
  readonly #states = new Map<string, ChartState>();

  constructor(chart: Chart) {
    this.#chart = chart;
    for (const { state } of statesOf(chart)) this.#states.set(state.id, state);
  }

  write(): string {
    this.#line(0, `digraph ${quoted(this.#chart.id)} {`);
    this.#line(1, 'compound=true; fontname="Helvetica"; fontsize=12; labeljust=l;');
    this.#line(1, 'node [shape=box, style=rounded, fontname="Helvetica", fontsize=11];');
    this.#line(1, 'edge [fontname="Helvetica", fontsize=10];');
    this.#state(this.#chart.root, this.#chart.id, 1);
    for (const state of this.#states.values()) this.#begin(state);
    for (const arrow of arrowsOf(this.#chart)) this.#arrow(arrow);
    this.#line(0, '}');
    return `${this.#lines.join('\n')}\n`;
  }

  #state(state: ChartState, title: string, depth: number): void {
    if (state.kind === 'history') {
      this.#line(
        depth,
        `${quoted(state.id)} [shape=circle, label="${state.history === 'deep' ? 'H*' : 'H'}"];`,
      );
      return;
    }
    const label = labelled([title, ...this.#inside(state)]);
    if (state.states.length === 0) {
      const border = state.kind === 'final' ? ', peripheries=2' : '';
      this.#line(depth, `${quoted(state.id)} [label=${label}${border}];`);
      return;
    }
    this.#line(depth, `subgraph ${quoted(cluster(state.id))} {`);
    this.#line(depth + 1, `label=${label}; style="rounded${state.kind === 'parallel' ? '' : ',solid'}";`);
    // An arrow ends at a node: this one stands for the whole, and is where a compound state begins.
    const look = state.kind === 'compound' ? 'shape=point, width=0.12' : 'shape=point, style=invis';
    this.#line(depth + 1, `${quoted(anchor(state.id))} [${look}];`);
    for (const child of state.states) this.#state(child, child.key, depth + 1);
    this.#line(depth, '}');
  }

  #inside(state: ChartState): string[] {
    const tags = state.tags.map((tag) => `#${tag}`).join(' ');
    return [state.description ?? '', tags, ...linesOf(state).map(lineText)].filter((line) => line !== '');
  }

  #begin(state: ChartState): void {
    const from = state.kind === 'history' ? state.id : anchor(state.id);
    for (const target of state.initial?.targets ?? []) this.#edge(from, target, []);
  }

  #arrow({ source, targets, lines }: Arrow): void {
    const state = this.#states.get(source);
    if (state === undefined) return;
    const label = `label="${lines.map((line) => escaped(lineText(line))).join('\\n')}"`;
    for (const target of targets) {
      const leaves = this.#holdsStates(source) && !isWithin(target, state);
      const tail = leaves ? [`ltail=${quoted(cluster(source))}`] : [];
      this.#edge(this.#nodeOf(source), target, [...tail, label], state);
    }
  }

  #edge(from: string, target: string, attributes: readonly string[], source?: ChartState): void {
    const state = this.#states.get(target);
    // Graphviz cuts an arrow off at a cluster's border only when its other end is outside.
    const enters = state !== undefined && state.states.length > 0 && !(source && isWithin(source.id, state));
    const all = enters ? [...attributes, `lhead=${quoted(cluster(target))}`] : attributes;
    const text = all.length === 0 ? '' : ` [${all.join(', ')}]`;
    this.#line(1, `${quoted(from)} -> ${quoted(this.#nodeOf(target))}${text};`);
  }

  #nodeOf(id: string): string {
    return this.#holdsStates(id) ? anchor(id) : id;
  }

  #holdsStates(id: string): boolean {
    return (this.#states.get(id)?.states.length ?? 0) > 0;
  }

  #line(depth: number, text: string): void {
    this.#lines.push(`${'  '.repeat(depth)}${text}`);
  }
}

function isWithin(id: string, state: ChartState): boolean {
  return state.id === id || state.states.some((child) => isWithin(id, child));
}

function cluster(id: string): string {
  return `cluster ${id}`;
}

function anchor(id: string): string {
  return `${id} (begin)`;
}

function labelled(lines: readonly string[]): string {
  return `"${lines.map((line) => `${escaped(line)}\\l`).join('')}"`;
}

function quoted(text: string): string {
  return `"${escaped(text)}"`;
}

function escaped(text: string): string {
  return text.replace(/["\\]/g, '\\$&').replace(/\r?\n/g, ' ');
}

/** A chart as the graph that ELK lays out: boxes with the sizes of their text, arrows with the sizes of their labels. */

import type { ElkExtendedEdge, ElkNode } from 'elkjs/lib/elk-api.js';
import type { Arrow } from './arrows.js';
import { actionText } from './labels.js';
import type { ChartState } from './model.js';
import { inColumns, insideBlocks, labelBlock, type TextBlock, titleBlock } from './text-block.js';

/** The text of a box. */
export interface BoxText {
  readonly title: TextBlock;
  readonly inside: TextBlock;
  /** From the box's top to the lower edge of its text. */
  readonly textBottom: number;
}

export interface LayoutGraph {
  readonly root: ElkNode;
  readonly texts: ReadonlyMap<string, BoxText>;
  /** Labels by the id of their arrow. */
  readonly labels: ReadonlyMap<string, TextBlock>;
}

export type Direction = 'DOWN' | 'RIGHT';

/** What is to be laid out together. */
export interface LayoutTask {
  readonly state: ChartState;
  readonly name: string;
  readonly arrows: readonly Arrow[];
  readonly direction: Direction;
  /** States whose inside is laid out already, with its size. */
  readonly settled: ReadonlyMap<string, { readonly width: number; readonly height: number }>;
}

export const BOX_PADDING = 10;
/** From the text of a box to the line below it, where the states in it have their room. */
export const HEADER_GAP = 4;
const RULE_GAP = 8;
const CHILD_GAP = 18;
const DOT = 12;
const HISTORY = 24;
const BAR = { long: 48, short: 5 };
/** Words are broken into rows at this width, in pixels. */
const BREADTH = { atomic: 290, compound: 340, label: 230 };
const MANY_LINES = 6;
const VERY_MANY_LINES = 14;
const COLUMN_GAP = 24;

export function layoutGraph(task: LayoutTask): LayoutGraph {
  return new GraphMaker(task).make();
}

class GraphMaker {
  readonly #task: LayoutTask;
  readonly #texts = new Map<string, BoxText>();
  readonly #labels = new Map<string, TextBlock>();
  readonly #parents = new Map<string, ElkNode>();
  readonly #nodes = new Map<string, ElkNode>();
  readonly #edges: ElkExtendedEdge[] = [];

  constructor(task: LayoutTask) {
    this.#task = task;
  }

  make(): LayoutGraph {
    const { state, name, arrows, direction } = this.#task;
    const outermost = this.#node(state, name);
    for (const arrow of arrows) this.#arrow(arrow);
    const root: ElkNode = {
      id: '(page)',
      children: [outermost],
      edges: this.#edges,
      layoutOptions: {
        'elk.algorithm': 'layered',
        'elk.direction': direction,
        'elk.hierarchyHandling': 'INCLUDE_CHILDREN',
        'elk.randomSeed': '1',
        'elk.json.shapeCoords': 'ROOT',
        'elk.json.edgeCoords': 'ROOT',
        'elk.padding': '[top=0,left=0,bottom=0,right=0]',
        ...SPACING,
      },
    };
    return { root, texts: this.#texts, labels: this.#labels };
  }

  #node(state: ChartState, name: string): ElkNode {
    const node = state.kind === 'history' ? this.#history(state) : this.#box(state, name);
    this.#nodes.set(state.id, node);
    return node;
  }

  #history(state: ChartState): ElkNode {
    if (state.initial !== undefined) this.#connect(`history ${state.id}`, state.id, state.initial.targets);
    return { id: state.id, width: HISTORY, height: HISTORY };
  }

  #box(state: ChartState, name: string): ElkNode {
    const holds = state.states.length > 0;
    const title = titleBlock(state, name, holds ? BREADTH.compound : BREADTH.atomic);
    const lines = insideBlocks(state, holds ? BREADTH.compound : BREADTH.atomic);
    const columns = !holds || lines.length <= MANY_LINES ? 1 : lines.length <= VERY_MANY_LINES ? 2 : 3;
    const inside = inColumns(lines, columns, COLUMN_GAP);
    const text = BOX_PADDING + title.height + (inside.height > 0 ? RULE_GAP + inside.height : 0);
    const header = text + (holds ? CHILD_GAP : BOX_PADDING - 2);
    this.#texts.set(state.id, { title, inside, textBottom: text });
    const width = Math.ceil(Math.max(title.width, inside.width, 40) + 2 * BOX_PADDING);
    const height = Math.ceil(header);
    if (!holds) return { id: state.id, width, height };
    const settled = this.#task.settled.get(state.id);
    if (settled !== undefined) {
      return { id: state.id, width: Math.max(width, settled.width), height: height + settled.height };
    }
    // ELK turns a graph that runs down on its side, and forgets that of the least size of inner nodes.
    const least = this.#task.direction === 'DOWN' ? `(${height},${width})` : `(${width},${height})`;
    const node: ElkNode = {
      id: state.id,
      layoutOptions: {
        'elk.padding': `[top=${height},left=${CHILD_GAP},bottom=${CHILD_GAP},right=${CHILD_GAP}]`,
        'elk.nodeSize.constraints': 'MINIMUM_SIZE',
        'elk.nodeSize.minimum': least,
        ...SPACING,
      },
    };
    node.children = state.states.map((child) => {
      const made = this.#node(child, child.key);
      this.#parents.set(child.id, node);
      return made;
    });
    this.#initial(state, node);
    return node;
  }

  /** The dot from which a compound state begins. */
  #initial(state: ChartState, node: ElkNode): void {
    const { initial } = state;
    if (initial === undefined || state.kind !== 'compound') return;
    const dot = `initial ${state.id}`;
    node.children?.unshift({
      id: dot,
      width: DOT,
      height: DOT,
      layoutOptions: { 'elk.layered.layering.layerConstraint': 'FIRST' },
    });
    const actions = initial.actions.map(actionText);
    const label = actions.length === 0 ? undefined : [{ head: '', condition: '', actions, note: '' }];
    this.#connect(`${dot} arrow`, dot, initial.targets, label && labelBlock(label, BREADTH.label));
  }

  #arrow({ id, source, targets, lines }: Arrow): void {
    const label = labelBlock(lines, BREADTH.label);
    if (targets.length < 2) {
      this.#connect(id, source, targets, label);
      return;
    }
    const bar = `fork ${id}`;
    const down = this.#task.direction === 'DOWN';
    this.#home([source, ...targets])?.children?.push({
      id: bar,
      width: down ? BAR.long : BAR.short,
      height: down ? BAR.short : BAR.long,
    });
    this.#connect(id, source, [bar], label);
    for (const [index, target] of targets.entries()) this.#connect(`${id}-${index + 1}`, bar, [target]);
  }

  /** The innermost state that holds them all, itself none of them. */
  #home(ids: readonly string[]): ElkNode | undefined {
    const [first, ...others] = ids.map((id) => this.#holders(id));
    return first?.find((holder) => others.every((line) => line.includes(holder)));
  }

  #holders(id: string): ElkNode[] {
    const line: ElkNode[] = [];
    for (let at = this.#parents.get(id); at !== undefined; at = this.#parents.get(at.id)) line.push(at);
    return line;
  }

  #connect(id: string, source: string, targets: readonly string[], label?: TextBlock): void {
    for (const target of targets) {
      const edge: ElkExtendedEdge = { id, sources: [source], targets: [target] };
      if (label !== undefined) {
        this.#labels.set(id, label);
        edge.labels = [
          {
            id: `label ${id}`,
            text: id,
            width: Math.ceil(label.width) + 8,
            height: label.height + 4,
            layoutOptions: { 'elk.edgeLabels.inline': 'true' },
          },
        ];
      }
      this.#edges.push(edge);
    }
  }
}

const SPACING = {
  'elk.spacing.nodeNode': '28',
  'elk.spacing.edgeNode': '16',
  'elk.spacing.edgeEdge': '12',
  'elk.spacing.edgeLabel': '4',
  'elk.spacing.labelLabel': '8',
  'elk.spacing.labelNode': '10',
  'elk.layered.spacing.nodeNodeBetweenLayers': '28',
  'elk.layered.spacing.edgeNodeBetweenLayers': '16',
  'elk.layered.spacing.edgeEdgeBetweenLayers': '12',
  'elk.layered.nodePlacement.strategy': 'NETWORK_SIMPLEX',
  'elk.layered.cycleBreaking.strategy': 'DEPTH_FIRST',
};

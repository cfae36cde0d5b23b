/** Where everything stands: a chart, laid out by ELK (Eclipse Layout Kernel) as nested layers. */

import ElkConstructor from 'elkjs/lib/elk.bundled.js';
import type { ElkExtendedEdge, ElkNode } from 'elkjs/lib/elk-api.js';
import { type Arrow, arrowsOf } from './arrows.js';
import { type Direction, HEADER_GAP, layoutGraph } from './layout-graph.js';
import { type Chart, ChartError, type ChartState } from './model.js';
import {
  movedBy,
  type Picture,
  type PlacedArrow,
  type PlacedBox,
  type PlacedMark,
  type Rectangle,
  unease,
} from './picture.js';
import { type Packed, packRegions, regionsStandAlone } from './regions.js';
import type { TextBlock } from './text-block.js';

const elk = new ElkConstructor.default();
const PAGE_MARGIN = 16;
/** A chart with more runs down: to the right it would be wider than any page, and take its time to be laid out. */
const MANY_ARROWS = 20;

/**
 * A picture of the chart, with coordinates in pixels from its left upper corner. The same chart gives the same picture.
 * @throws ChartError when ELK finds no place for everything
 */
export async function layOut(chart: Chart): Promise<Picture> {
  const picture = await layOutState(chart.root, chart.id, arrowsOf(chart));
  const { boxes, marks, arrows, dividers } = movedBy(picture, PAGE_MARGIN, PAGE_MARGIN);
  const width = picture.width + 2 * PAGE_MARGIN;
  return { width, height: picture.height + 2 * PAGE_MARGIN, boxes, marks, arrows, dividers };
}

/**
 * A state with all that is in it. Parallel regions that no arrow joins are pictures of their own, which are set side by
 * side like tiles.
 */
async function layOutState(state: ChartState, name: string, arrows: readonly Arrow[]): Promise<Picture> {
  const settled = new Map<string, Packed>();
  let rest = arrows;
  for (const parallel of outermostParallels(state, arrows)) {
    const pictures: Picture[] = [];
    for (const region of parallel.states) {
      const inside = new Set(idsWithin(region));
      const own = rest.filter(({ source }) => inside.has(source));
      rest = rest.filter(({ source }) => !inside.has(source));
      pictures.push(await layOutState(region, region.key, own));
    }
    settled.set(parallel.id, packRegions(parallel, pictures));
  }
  const tries: Picture[] = [];
  let failure: unknown;
  for (const direction of ['DOWN', 'RIGHT'] as const) {
    if (tries.length > 0 && rest.length > MANY_ARROWS) break;
    try {
      tries.push(await layOutIn(direction, state, name, rest, settled));
    } catch (error) {
      failure = error;
    }
  }
  const [best] = tries.sort((a, b) => unease(a) - unease(b));
  if (best === undefined) {
    throw new ChartError(`no layout was found for ${state.id}: draw it with --format dot and Graphviz`, {
      cause: failure,
    });
  }
  return best;
}

/** Those whose regions can be laid out alone, outer ones first and nothing within these. */
function outermostParallels(state: ChartState, arrows: readonly Arrow[]): ChartState[] {
  if (state.kind === 'parallel' && regionsStandAlone(state, arrows)) return [state];
  return state.states.flatMap((child) => outermostParallels(child, arrows));
}

function* idsWithin(state: ChartState): Generator<string> {
  yield state.id;
  for (const child of state.states) yield* idsWithin(child);
}

async function layOutIn(
  direction: Direction,
  state: ChartState,
  name: string,
  arrows: readonly Arrow[],
  settled: ReadonlyMap<string, Packed>,
): Promise<Picture> {
  const { root, texts, labels } = layoutGraph({ state, name, arrows, direction, settled });
  const placed = await elk.layout(root);
  const nodes = new Map<string, ElkNode>();
  const collect = (node: ElkNode): void => {
    nodes.set(node.id, node);
    for (const child of node.children ?? []) collect(child);
  };
  collect(placed);
  const inner: Picture[] = [];
  const boxes: PlacedBox[] = [];
  const place = (at: ChartState, parent: ChartState | undefined): void => {
    const node = nodes.get(at.id);
    if (node === undefined) return;
    const box: PlacedBox = { ...rectangle(node), state: at, parent, text: texts.get(at.id), tile: false };
    boxes.push(box);
    const packed = settled.get(at.id);
    if (packed === undefined) for (const child of at.states) place(child, at);
    else inner.push(packed.into(box));
  };
  place(state, undefined);
  const marks: PlacedMark[] = [];
  for (const [id, node] of nodes) {
    if (id.startsWith('initial ')) marks.push({ ...rectangle(node), kind: 'initial' });
    else if (id.startsWith('fork ')) marks.push({ ...rectangle(node), kind: 'fork' });
  }
  const byId = new Map(boxes.map((box) => [box.state.id, box]));
  return {
    width: Math.ceil(placed.width ?? 0),
    height: Math.ceil(placed.height ?? 0),
    boxes: [...boxes, ...inner.flatMap((picture) => picture.boxes)],
    marks: [...marks, ...inner.flatMap((picture) => picture.marks)],
    arrows: [
      ...(placed.edges ?? []).map((edge) => arrowOf(edge, labels.get(edge.id), byId)),
      ...inner.flatMap((picture) => picture.arrows),
    ],
    dividers: inner.flatMap((picture) => picture.dividers),
  };
}

function arrowOf(
  edge: ElkExtendedEdge,
  block: TextBlock | undefined,
  boxes: ReadonlyMap<string, PlacedBox>,
): PlacedArrow {
  const points = (edge.sections ?? []).flatMap(({ startPoint, bendPoints, endPoint }) => [
    startPoint,
    ...(bendPoints ?? []),
    endPoint,
  ]);
  const [source = '', target = ''] = [edge.sources[0], edge.targets[0]];
  const [label] = edge.labels ?? [];
  return {
    id: edge.id,
    source,
    target,
    points: belowHeader(belowHeader(points, boxes.get(source)).reverse(), boxes.get(target)).reverse(),
    label: label === undefined || block === undefined ? undefined : { ...rectangle(label), block },
  };
}

type Points = PlacedArrow['points'][number][];

/** An arrow from a state to one within it begins below the text of the outer one, not above. */
function belowHeader(points: Points, box: PlacedBox | undefined): Points {
  const [first, second, ...rest] = points;
  if (box?.text === undefined || first === undefined || second === undefined) return points;
  const inwards = Math.abs(first.y - box.y) < 1 && second.y > first.y && first.x === second.x;
  if (!inwards) return points;
  return [{ x: first.x, y: Math.min(box.y + box.text.textBottom + HEADER_GAP, second.y) }, second, ...rest];
}

function rectangle({ x = 0, y = 0, width = 0, height = 0 }: Partial<Rectangle>): Rectangle {
  return { x, y, width, height };
}

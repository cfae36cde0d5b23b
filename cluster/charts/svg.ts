/** A chart as an SVG that stands alone: no script, no font and no request, light or dark as its reader is. */

import { type Arrow, arrowsOf } from './arrows.js';
import { layOut } from './layout.js';
import { BOX_PADDING, HEADER_GAP } from './layout-graph.js';
import type { Chart } from './model.js';
import type { Divider, Picture, PlacedArrow, PlacedBox, PlacedMark, Point } from './picture.js';
import { FONT_SIZE, type TextBlock } from './text-block.js';

/** The picture of a chart, as the text of an SVG file. */
export async function svgOf(chart: Chart): Promise<string> {
  return draw(chart, await layOut(chart));
}

/**
 * The picture for a page that shows which states are active: what is a state or an arrow says of which, and how all looks is the
 * page's business.
 */
export async function liveSvgOf(chart: Chart): Promise<string> {
  const picture = await layOut(chart);
  const { width, height, boxes, marks, arrows, dividers } = picture;
  const arrowsById = new Map(arrowsOf(chart).map((arrow) => [arrow.id, arrow]));
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(`Statechart ${chart.id}. ${described(chart)}`)}">`,
    '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="solid" d="M0 1L10 5L0 9z"/></marker></defs>',
    ...boxes.map(
      (box) => `<g data-state="${escaped(box.state.id)}">${box.tile ? tile(box) : shape(box)}</g>`,
    ),
    ...dividers.map(divider),
    ...arrows.map((arrow) => grouped(arrow, arrowsById, line(arrow))),
    ...marks.map(mark),
    ...boxes.map((box) => `<g data-words="${escaped(box.state.id)}">${words(box)}</g>`),
    ...arrows.map((arrow) => grouped(arrow, arrowsById, label(arrow))),
    '</svg>',
  ];
  return `${parts.filter((part) => part !== '').join('\n')}\n`;
}

/** A region has no border of its own; one that is active is tinted. */
function tile({ x, y, width, height }: PlacedBox): string {
  return `<rect class="tile" x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}"/>`;
}

function grouped({ id }: PlacedArrow, arrows: ReadonlyMap<string, Arrow>, inner: string): string {
  const arrow = arrows.get(id);
  if (arrow === undefined || inner === '') return inner;
  return `<g data-source="${escaped(arrow.source)}" data-targets="${escaped(arrow.targets.join(' '))}">${inner}</g>`;
}

function draw(chart: Chart, picture: Picture): string {
  const { width, height, boxes, marks, arrows, dividers } = picture;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">`,
    `<title id="title">${escaped(`Statechart ${chart.id}`)}</title>`,
    `<desc id="desc">${escaped(described(chart))}</desc>`,
    `<style>${STYLE}</style>`,
    '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path class="solid" d="M0 1L10 5L0 9z"/></marker></defs>',
    `<rect class="page" width="${width}" height="${height}"/>`,
    ...boxes.map(shape),
    ...dividers.map(divider),
    ...arrows.map(line),
    ...marks.map(mark),
    ...boxes.map(words),
    ...arrows.map(label),
    '</svg>',
  ];
  return `${parts.filter((part) => part !== '').join('\n')}\n`;
}

/** For those who cannot see the picture. */
function described({ description, root }: Chart): string {
  const names = root.states.map(({ key }) => key).join(', ');
  const states = root.states.length === 0 ? '' : `States: ${names}.`;
  return [description, states].filter((part) => part !== undefined && part !== '').join(' ');
}

function shape({ state, parent, tile, x, y, width, height }: PlacedBox): string {
  if (tile) return '';
  if (state.kind === 'history') {
    const r = width / 2;
    return `<circle class="box" cx="${n(x + r)}" cy="${n(y + r)}" r="${r}"/>`;
  }
  const rect = (kind: string, inset: number): string =>
    `<rect class="${kind}" x="${n(x + inset)}" y="${n(y + inset)}" width="${n(width - 2 * inset)}" height="${n(height - 2 * inset)}" rx="${8 - inset}"/>`;
  if (parent?.kind === 'parallel') return rect('box region', 0);
  if (state.states.length > 0) return rect('box holds', 0);
  return state.kind === 'final' ? `${rect('box', 0)}${rect('box', 3)}` : rect('box', 0);
}

/** The text of a box, in front of what passes behind it. */
function words({ state, text, x, y, width }: PlacedBox): string {
  if (text === undefined) {
    const r = width / 2;
    const letter = state.history === 'deep' ? 'H*' : 'H';
    return `<text class="name" text-anchor="middle" x="${n(x + r)}" y="${n(y + r + 5)}">${letter}</text>`;
  }
  const left = x + BOX_PADDING;
  const top = y + BOX_PADDING - 2;
  const parts = [veil(state.states.length > 0, text.title, left, top), block(text.title, left, top)];
  if (text.inside.height > 0) {
    const ruled = top + text.title.height + 3;
    parts.push(rule(x, ruled, width));
    parts.push(
      veil(state.states.length > 0, text.inside, left, ruled + 5),
      block(text.inside, left, ruled + 5),
    );
  }
  // Arrows that begin in this state and end within it begin here.
  if (state.kind === 'compound') parts.push(rule(x, y + text.textBottom + HEADER_GAP, width));
  return parts.filter((part) => part !== '').join('\n');
}

function rule(x: number, y: number, width: number): string {
  return `<path class="rule" d="M${n(x)} ${n(y)}h${n(width)}"/>`;
}

/** Arrows to inner states pass behind the outer one's text. */
function veil(holds: boolean, { width, height }: TextBlock, x: number, y: number): string {
  if (!holds) return '';
  return `<rect class="veil" x="${n(x - 3)}" y="${n(y)}" width="${n(width + 6)}" height="${n(height)}"/>`;
}

function divider({ from, to }: Divider): string {
  return `<path class="divider" d="M${n(from.x)} ${n(from.y)}L${n(to.x)} ${n(to.y)}"/>`;
}

function block(text: TextBlock, x: number, y: number): string {
  return text.rows
    .map(({ baseline, pieces }) => {
      const spans = pieces.map(
        (piece) =>
          `<tspan class="${piece.style}" x="${n(x + piece.x)}" textLength="${n(piece.width)}" lengthAdjust="spacingAndGlyphs">${escaped(piece.text)}</tspan>`,
      );
      return `<text y="${n(y + baseline)}">${spans.join('')}</text>`;
    })
    .join('\n');
}

function line({ points }: PlacedArrow): string {
  return points.length < 2 ? '' : `<path class="arrow" d="${path(points)}" marker-end="url(#head)"/>`;
}

/** Corners are rounded, so that the eye follows one arrow through a crossing. */
function path(points: readonly Point[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return '';
  let text = `M${n(first.x)} ${n(first.y)}`;
  let from = first;
  for (const [index, corner] of rest.entries()) {
    const next = rest[index + 1];
    if (next === undefined) {
      text += `L${n(corner.x)} ${n(corner.y)}`;
      break;
    }
    const r = Math.min(6, distance(from, corner) / 2, distance(corner, next) / 2);
    const a = towards(corner, from, r);
    const b = towards(corner, next, r);
    text += `L${n(a.x)} ${n(a.y)}Q${n(corner.x)} ${n(corner.y)} ${n(b.x)} ${n(b.y)}`;
    from = corner;
  }
  return text;
}

function distance(a: Point, b: Point): number {
  return Math.abs(a.x - b.x) + Math.abs(a.y - b.y);
}

function towards(from: Point, to: Point, length: number): Point {
  const whole = distance(from, to);
  if (whole === 0) return from;
  return { x: from.x + ((to.x - from.x) * length) / whole, y: from.y + ((to.y - from.y) * length) / whole };
}

function mark({ kind, x, y, width, height }: PlacedMark): string {
  if (kind === 'initial')
    return `<circle class="dot" cx="${n(x + width / 2)}" cy="${n(y + height / 2)}" r="${width / 2 - 1}"/>`;
  return `<rect class="dot" x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="2"/>`;
}

function label({ label: placed }: PlacedArrow): string {
  if (placed === undefined) return '';
  const { x, y, width, height, block: text } = placed;
  return [
    `<rect class="label" x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}" rx="4"/>`,
    block(text, x + 4, y + 2),
  ].join('\n');
}

/** Tenths of a pixel. */
function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE = `
:root{--page:#fff;--box:#fff;--holds:#f6f8fa;--edge:#57606a;--soft:#d0d7de;--name:#1f2328;--head:#0550ae;--guard:#953800;--action:#116329;--note:#656d76}
@media (prefers-color-scheme:dark){:root{--page:#0d1117;--box:#161b22;--holds:#0f141b;--edge:#8b949e;--soft:#30363d;--name:#e6edf3;--head:#79c0ff;--guard:#ffa657;--action:#7ee787;--note:#8b949e}}
text{font-family:Helvetica,Arial,"Liberation Sans",sans-serif;white-space:pre}
.page{fill:var(--page)}
.box{fill:var(--box);stroke:var(--edge);stroke-width:1.25}
.holds{fill:var(--holds)}
.region{fill:none;stroke-dasharray:5 4}
.rule{stroke:var(--soft);fill:none}
.arrow{fill:none;stroke:var(--edge);stroke-width:1.25}
.solid,.dot{fill:var(--edge)}
.divider{stroke:var(--edge);stroke-dasharray:5 4}
.veil{fill:var(--holds);fill-opacity:.9}
.label{fill:var(--holds)}
.name{font-size:${FONT_SIZE.name}px;font-weight:bold;fill:var(--name)}
.head{font-size:${FONT_SIZE.head}px;font-weight:bold;fill:var(--head)}
.guard{font-size:${FONT_SIZE.guard}px;fill:var(--guard)}
.action{font-size:${FONT_SIZE.action}px;fill:var(--action)}
.note{font-size:${FONT_SIZE.note}px;fill:var(--note)}
.tag{font-size:${FONT_SIZE.tag}px;fill:var(--note)}
`;

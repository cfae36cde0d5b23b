/** Parallel regions as tiles: rows of them fill the state that holds them, with dashed lines between. */

import type { Arrow } from './arrows.js';
import type { ChartState } from './model.js';
import { type Divider, movedBy, type Picture, type Rectangle, unease } from './picture.js';

/** Whether no arrow leads into, out of, or around any region of a parallel state. */
export function regionsStandAlone(parallel: ChartState, arrows: readonly Arrow[]): boolean {
  return parallel.states.every((region) => {
    const inside = new Set(idsOf(region));
    return arrows.every(({ source, targets }) => {
      const within = [source, ...targets].filter((id) => inside.has(id));
      if (within.length === 0) return true;
      const crosses = within.length <= targets.length;
      const around = source === region.id && targets.includes(region.id);
      return !crosses && !around;
    });
  });
}

function idsOf(state: ChartState): string[] {
  return [state.id, ...state.states.flatMap(idsOf)];
}

/** Regions that know their places among each other. */
export interface Packed {
  readonly width: number;
  readonly height: number;
  /** All that is in the regions, in a state's box that is at least as large; they lie at its lower edge and fill its width. */
  into(box: Rectangle): Picture;
}

/** @param pictures one for each region, in their order */
export function packRegions(parallel: ChartState, pictures: readonly Picture[]): Packed {
  const plans = pictures.map((_, index) => planned(pictures, index + 1));
  const [plan] = plans.sort((a, b) => unease(a) - unease(b));
  const { rows = [], width = 0, height = 0 } = plan ?? {};
  return { width, height, into: (box) => tiled(parallel, rows, height, box) };
}

interface Plan {
  readonly rows: readonly (readonly Picture[])[];
  readonly width: number;
  readonly height: number;
}

function planned(pictures: readonly Picture[], columns: number): Plan {
  const rows: Picture[][] = [];
  for (let at = 0; at < pictures.length; at += columns) rows.push(pictures.slice(at, at + columns));
  return {
    rows,
    width: Math.max(0, ...rows.map((row) => row.reduce((sum, { width }) => sum + width, 0))),
    height: rows.reduce((sum, row) => sum + heightOf(row), 0),
  };
}

function heightOf(row: readonly Picture[]): number {
  return Math.max(0, ...row.map(({ height }) => height));
}

function tiled(parallel: ChartState, rows: Plan['rows'], height: number, box: Rectangle): Picture {
  const parts: Picture[] = [];
  const dividers: Divider[] = [];
  let y = box.y + box.height - height;
  for (const row of rows) {
    dividers.push({ from: { x: box.x, y }, to: { x: box.x + box.width, y } });
    const high = heightOf(row);
    const spare = (box.width - row.reduce((sum, { width }) => sum + width, 0)) / row.length;
    let { x } = box;
    for (const [index, picture] of row.entries()) {
      if (index > 0) dividers.push({ from: { x, y }, to: { x, y: y + high } });
      const wide = picture.width + spare;
      parts.push(movedBy(stretched(picture, parallel, wide, high), x, y));
      x += wide;
    }
    y += high;
  }
  return {
    width: box.width,
    height,
    boxes: parts.flatMap((part) => part.boxes),
    marks: parts.flatMap((part) => part.marks),
    arrows: parts.flatMap((part) => part.arrows),
    dividers: [...dividers, ...parts.flatMap((part) => part.dividers)],
  };
}

/** The region's own box, the first of its picture, becomes the tile. */
function stretched(picture: Picture, parent: ChartState, width: number, height: number): Picture {
  const [region, ...rest] = picture.boxes;
  if (region === undefined) return picture;
  return { ...picture, width, height, boxes: [{ ...region, parent, width, height, tile: true }, ...rest] };
}

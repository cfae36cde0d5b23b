/** A chart with the place of everything in it, in pixels from the left upper corner. */

import type { BoxText } from './layout-graph.js';
import type { ChartState } from './model.js';
import type { TextBlock } from './text-block.js';

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Rectangle extends Point {
  readonly width: number;
  readonly height: number;
}

export interface PlacedBox extends Rectangle {
  readonly state: ChartState;
  readonly parent: ChartState | undefined;
  /** History states have none. */
  readonly text: BoxText | undefined;
  /** A region whose border is the dividers and the border of the state around it. */
  readonly tile: boolean;
}

export interface PlacedLabel extends Rectangle {
  readonly block: TextBlock;
}

export interface PlacedArrow {
  readonly id: string;
  /** Ids of states, or of marks. */
  readonly source: string;
  readonly target: string;
  /** From the source's border to the target's. */
  readonly points: readonly Point[];
  readonly label: PlacedLabel | undefined;
}

/** What is no state: where a compound state begins, where one arrow becomes several. */
export interface PlacedMark extends Rectangle {
  readonly kind: 'initial' | 'fork';
}

/** Between two regions. */
export interface Divider {
  readonly from: Point;
  readonly to: Point;
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Outer ones before inner ones. */
  readonly boxes: readonly PlacedBox[];
  readonly marks: readonly PlacedMark[];
  readonly arrows: readonly PlacedArrow[];
  readonly dividers: readonly Divider[];
}

/** What fits on a page of a browser at once: beyond it a reader scrolls, sideways worse than down. */
const COMFORT = { width: 1100, height: 1500 };

/** How hard a picture of this size is to read; of two the one with less is taken. */
export function unease({ width, height }: { readonly width: number; readonly height: number }): number {
  return Math.max(width / COMFORT.width, height / COMFORT.height);
}

/** The picture, moved right and down. */
export function movedBy(picture: Picture, dx: number, dy: number): Picture {
  const moved = <Place extends Point>(place: Place): Place => ({
    ...place,
    x: place.x + dx,
    y: place.y + dy,
  });
  return {
    ...picture,
    boxes: picture.boxes.map(moved),
    marks: picture.marks.map(moved),
    arrows: picture.arrows.map((arrow) => ({
      ...arrow,
      points: arrow.points.map(moved),
      label: arrow.label && moved(arrow.label),
    })),
    dividers: picture.dividers.map(({ from, to }) => ({ from: moved(from), to: moved(to) })),
  };
}

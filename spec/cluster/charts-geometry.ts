/** What a reader would call a bad picture, said of coordinates. */

import type { Picture, PlacedArrow, PlacedBox, Point, Rectangle } from '../../cluster/charts/picture.js';

/** Rounding, and borders that touch. */
const SLACK = 0.5;

/** A sentence for each fault of a picture. */
export function faultsOf(picture: Picture): string[] {
  return [
    ...boxFaults(picture.boxes),
    ...labelFaults(picture),
    ...arrowFaults(picture),
    ...textFaults(picture.boxes),
    ...pageFaults(picture),
  ];
}

function boxFaults(boxes: readonly PlacedBox[]): string[] {
  const faults: string[] = [];
  const byId = new Map(boxes.map((box) => [box.state.id, box]));
  for (const [index, box] of boxes.entries()) {
    const outer = box.parent && byId.get(box.parent.id);
    if (outer && !contains(outer, box)) faults.push(`${box.state.id} is not within ${outer.state.id}`);
    for (const other of boxes.slice(index + 1)) {
      if (isAround(box, other) || isAround(other, box)) continue;
      if (overlap(box, other)) faults.push(`${box.state.id} covers ${other.state.id}`);
    }
  }
  return faults;
}

function labelFaults({ boxes, arrows, marks }: Picture): string[] {
  const faults: string[] = [];
  const labelled = arrows.filter(({ label }) => label !== undefined);
  for (const [index, { id, label }] of labelled.entries()) {
    if (label === undefined) continue;
    for (const other of labelled.slice(index + 1)) {
      if (other.label && overlap(label, other.label))
        faults.push(`the labels of ${id} and ${other.id} cover each other`);
    }
    for (const mark of marks) if (overlap(label, mark)) faults.push(`the label of ${id} covers a mark`);
    for (const box of boxes) {
      const solid = box.state.states.length === 0;
      if (solid && overlap(label, box)) faults.push(`the label of ${id} covers ${box.state.id}`);
      if (!solid && overlap(label, box) && !contains(box, label)) {
        faults.push(`the label of ${id} lies across the border of ${box.state.id}`);
      }
      for (const text of textsOf(box))
        if (overlap(label, text)) faults.push(`the label of ${id} covers text of ${box.state.id}`);
    }
  }
  return faults;
}

/** Arrows begin and end at the border of what they join, and lead through no state without states of its own. */
function arrowFaults({ boxes, arrows }: Picture): string[] {
  const faults: string[] = [];
  const solid = boxes.filter(({ state }) => state.states.length === 0);
  for (const arrow of arrows) {
    if (arrow.points.length < 2) faults.push(`${arrow.id} leads nowhere`);
    for (const [from, to] of segments(arrow)) {
      for (const box of solid)
        if (crosses(from, to, box)) faults.push(`${arrow.id} leads through ${box.state.id}`);
      for (const { id, label } of arrows) {
        if (id !== arrow.id && label && crosses(from, to, label))
          faults.push(`${arrow.id} leads through the label of ${id}`);
      }
    }
  }
  return faults;
}

/** Text stays in its box, and above the states in it. */
function textFaults(boxes: readonly PlacedBox[]): string[] {
  return boxes.flatMap((box) =>
    textsOf(box).flatMap((text) => [
      ...(contains(box, text) ? [] : [`text of ${box.state.id} leaves its box`]),
      ...boxes
        .filter(({ parent }) => parent?.id === box.state.id)
        .filter((child) => overlap(child, text))
        .map((child) => `${child.state.id} covers text of ${box.state.id}`),
    ]),
  );
}

function pageFaults({ width, height, boxes, arrows }: Picture): string[] {
  const page = { x: 0, y: 0, width, height };
  const labels = arrows.flatMap(({ label }) => label ?? []);
  return [...boxes, ...labels].every((part) => contains(page, part)) ? [] : ['something leaves the page'];
}

/** The rows of a box, as one rectangle. */
function textsOf({ text, x, y }: PlacedBox): Rectangle[] {
  if (text === undefined) return [];
  const width = Math.max(text.title.width, text.inside.width);
  return [{ x: x + 10, y: y + 8, width, height: text.textBottom - 10 }];
}

function isAround(outer: PlacedBox, inner: PlacedBox): boolean {
  const within = (state: PlacedBox['state']): boolean =>
    state.states.some((child) => child.id === inner.state.id || within(child));
  return within(outer.state);
}

function segments({ points }: PlacedArrow): (readonly [Point, Point])[] {
  return points.slice(1).flatMap((to, index) => {
    const from = points[index];
    return from === undefined ? [] : [[from, to] as const];
  });
}

function crosses(from: Point, to: Point, box: Rectangle): boolean {
  const span = {
    x: Math.min(from.x, to.x),
    y: Math.min(from.y, to.y),
    width: Math.abs(from.x - to.x),
    height: Math.abs(from.y - to.y),
  };
  return overlap(span, { x: box.x + 1, y: box.y + 1, width: box.width - 2, height: box.height - 2 });
}

function overlap(a: Rectangle, b: Rectangle): boolean {
  return (
    a.x + a.width > b.x + SLACK &&
    b.x + b.width > a.x + SLACK &&
    a.y + a.height > b.y + SLACK &&
    b.y + b.height > a.y + SLACK
  );
}

function contains(outer: Rectangle, inner: Rectangle): boolean {
  return (
    inner.x >= outer.x - SLACK &&
    inner.y >= outer.y - SLACK &&
    inner.x + inner.width <= outer.x + outer.width + SLACK &&
    inner.y + inner.height <= outer.y + outer.height + SLACK
  );
}

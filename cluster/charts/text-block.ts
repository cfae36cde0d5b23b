/** Text that is measured and broken into rows before anything is placed. */

import { textWidth } from './font-widths.js';
import { type ChartLine, linesOf } from './labels.js';
import type { ChartState } from './model.js';

/** What a piece of text is; the picture gives each a look. */
export type TextStyle = 'name' | 'note' | 'head' | 'guard' | 'action' | 'tag';

export interface TextPiece {
  readonly text: string;
  readonly style: TextStyle;
  /** From the block's left edge, in pixels. */
  readonly x: number;
  readonly width: number;
}

export interface TextBlock {
  /** Each row with its baseline from the block's top. */
  readonly rows: readonly { readonly baseline: number; readonly pieces: readonly TextPiece[] }[];
  readonly width: number;
  readonly height: number;
}

export const FONT_SIZE: Readonly<Record<TextStyle, number>> = {
  name: 14,
  note: 11,
  head: 12,
  guard: 12,
  action: 12,
  tag: 10,
};
const BOLD: ReadonlySet<TextStyle> = new Set(['name', 'head']);

const ROW_HEIGHT = 16;
const NAME_HEIGHT = 20;
const BASELINE = 12;
const NAME_BASELINE = 15;
const INDENT = 12;

export function pieceWidth(text: string, style: TextStyle): number {
  return textWidth(text, FONT_SIZE[style], BOLD.has(style) ? 'bold' : 'regular');
}

interface Word {
  readonly text: string;
  readonly style: TextStyle;
}

/** A state's name, what is said of it, and its tags. */
export function titleBlock(state: ChartState, name: string, breadth: number): TextBlock {
  const block = new Rows();
  block.add([{ text: name, style: 'name' }], breadth, 0, NAME_HEIGHT, NAME_BASELINE);
  if (state.description !== undefined) block.add(wordsOf(state.description, 'note'), Math.max(breadth, 220));
  if (state.tags.length > 0) block.add(wordsOf(state.tags.map((tag) => `#${tag}`).join(' '), 'tag'), breadth);
  return block.done();
}

/** What happens in a state, a block for each event; empty for a state in which nothing happens. */
export function insideBlocks(state: ChartState, breadth: number): readonly TextBlock[] {
  return eventBlocks(linesOf(state), breadth);
}

/** Several transitions that share an arrow. */
export function labelBlock(lines: readonly ChartLine[], breadth: number): TextBlock {
  return stacked(eventBlocks(lines, breadth));
}

/** Branches of one event name it once. */
function eventBlocks(lines: readonly ChartLine[], breadth: number): TextBlock[] {
  const blocks: Rows[] = [];
  for (const [index, line] of lines.entries()) {
    const again = line.head !== '' && line.head === lines[index - 1]?.head;
    const block = again ? blocks.at(-1) : undefined;
    if (block === undefined) {
      const fresh = new Rows();
      fresh.add(lineWords(line), breadth);
      blocks.push(fresh);
    } else {
      block.add(lineWords({ ...line, head: '' }), breadth, INDENT);
    }
  }
  return blocks.map((block) => block.done());
}

function lineWords({ head, condition, actions, note }: ChartLine): Word[] {
  return [
    ...wordsOf(head, 'head'),
    ...wordsOf(condition, 'guard'),
    ...actions.flatMap((action, index) => [
      ...(index === 0 ? [{ text: '/', style: 'action' as const }] : []),
      ...wordsOf(index === actions.length - 1 ? action : `${action},`, 'action'),
    ]),
    ...(note === '' ? [] : wordsOf(note, 'note')),
  ];
}

function wordsOf(text: string, style: TextStyle): Word[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => ({ text: word, style }));
}

/** Blocks one below the other. */
export function stacked(blocks: readonly TextBlock[], gap = 0): TextBlock {
  let height = 0;
  const rows: TextBlock['rows'][number][] = [];
  for (const [index, block] of blocks.entries()) {
    if (index > 0) height += gap;
    for (const { baseline, pieces } of block.rows) rows.push({ baseline: baseline + height, pieces });
    height += block.height;
  }
  return { rows, width: Math.max(0, ...blocks.map(({ width }) => width)), height };
}

/** Blocks in columns of about the same height, in reading order from top to bottom. */
export function inColumns(blocks: readonly TextBlock[], columns: number, gap: number): TextBlock {
  const total = blocks.reduce((sum, { height }) => sum + height, 0);
  const parts: TextBlock[][] = Array.from({ length: columns }, () => []);
  let [column, filled] = [0, 0];
  for (const block of blocks) {
    if (filled > 0 && filled + block.height / 2 > total / columns && column < columns - 1) {
      column++;
      filled = 0;
    }
    parts[column]?.push(block);
    filled += block.height;
  }
  let x = 0;
  const rows: TextBlock['rows'][number][] = [];
  let height = 0;
  for (const part of parts.filter(({ length }) => length > 0)) {
    const block = stacked(part);
    for (const row of block.rows) {
      rows.push({ ...row, pieces: row.pieces.map((piece) => ({ ...piece, x: piece.x + x })) });
    }
    x += block.width + gap;
    height = Math.max(height, block.height);
  }
  return { rows, width: Math.max(0, x - gap), height };
}

/** Rows as they are filled; a line that is broken goes on with an indent. */
class Rows {
  readonly #rows: { baseline: number; pieces: TextPiece[] }[] = [];
  #height = 0;
  #width = 0;

  /** @param left where its first row begins */
  add(words: readonly Word[], breadth: number, left = 0, height = ROW_HEIGHT, base = BASELINE): void {
    let pieces: TextPiece[] = [];
    let x = left;
    const close = (): void => {
      if (pieces.length === 0) return;
      this.#rows.push({ baseline: this.#height + base, pieces });
      this.#height += height;
      this.#width = Math.max(this.#width, x);
      pieces = [];
      x = left + INDENT;
    };
    for (const { text, style } of words) {
      const last = pieces.at(-1);
      const space = last === undefined ? 0 : pieceWidth(' ', style);
      const width = pieceWidth(text, style);
      if (last !== undefined && x + space + width > breadth) {
        close();
        pieces.push({ text, style, x, width });
        x += width;
      } else if (last !== undefined && last.style === style) {
        // One piece a run of words: the renderer sets the spaces.
        pieces[pieces.length - 1] = {
          ...last,
          text: `${last.text} ${text}`,
          width: last.width + space + width,
        };
        x += space + width;
      } else {
        pieces.push({ text, style, x: x + space, width });
        x += space + width;
      }
    }
    close();
  }

  done(): TextBlock {
    return { rows: this.#rows, width: this.#width, height: this.#height };
  }
}

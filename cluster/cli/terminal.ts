/** What people see: data on standard output, everything else on standard error, colour where it is wanted. */

import { createInterface } from 'node:readline';
import type { WriteStream } from 'node:tty';

type Paint = (text: string) => string;

export interface Palette {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly red: Paint;
  readonly green: Paint;
  readonly yellow: Paint;
  readonly cyan: Paint;
  /** A colour of its own for each of a few things. */
  readonly distinct: (index: number) => Paint;
}

const RING = [36, 35, 33, 32, 34, 96, 95, 93];

/** Colours for a stream: none when NO_COLOR is set or nobody looks, unless FORCE_COLOR is. */
export function paletteFor(stream: { isTTY?: boolean }, env = process.env): Palette {
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0';
  const refused = env.NO_COLOR !== undefined && env.NO_COLOR !== '';
  const on = !refused && (forced || (stream.isTTY === true && env.TERM !== 'dumb'));
  const paint = (code: number): Paint => (on ? (text) => `\u001b[${code}m${text}\u001b[0m` : (text) => text);
  return {
    bold: paint(1),
    dim: paint(2),
    red: paint(31),
    green: paint(32),
    yellow: paint(33),
    cyan: paint(36),
    distinct: (index) => paint(RING[index % RING.length] ?? 36),
  };
}

/** Writes a line of data. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Writes a line for people. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Asks a person; only `y` and `yes` are yes. To be called with a terminal on standard input. */
export async function confirmed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // The terminal hands Ctrl-C to whoever reads lines.
  lines.once('SIGINT', () => {
    lines.close();
    process.kill(process.pid, 'SIGINT');
  });
  try {
    const answer = await new Promise<string>((resolve) => {
      // The end of the input is no answer.
      lines.once('close', () => resolve(''));
      lines.question(`${question} [y/N] `, resolve);
    });
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

/**
 * Writes data and waits while the reader is behind.
 */
export async function printAll(data: string | Uint8Array): Promise<void> {
  if (lost.signal.aborted || process.stdout.write(data)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      process.stdout.off('drain', go);
      lost.signal.removeEventListener('abort', go);
      resolve();
    };
    process.stdout.on('drain', go);
    lost.signal.addEventListener('abort', go);
  });
}

/** Aborts when the reader has gone away. */
const lost = new AbortController();
let readerLost = (): void => process.exit();

/** A reader that went away (`| head`, a closed terminal) is no failure: the process ends quietly. */
export function endQuietlyWithoutReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
      lost.abort();
      readerLost();
    });
  }
}

/** For a command that has more to do than to be read. */
export function goOnWithoutReader(): void {
  readerLost = () => {};
}

const LEFTOVER_MS = 1000;

/** For a command that has something to put in order first: it ends by itself, soon after the signal aborts. */
export function untilReaderIsLost(): AbortSignal {
  goOnWithoutReader();
  return lost.signal;
}

/** The work is done: whatever is still open (a wait, a connection that comes back) keeps the process a second at most. */
export function endSoon(): void {
  setTimeout(() => process.exit(), LEFTOVER_MS).unref();
}

/** Columns, each as wide as its widest cell; the first row is the heading. */
export function table(rows: readonly (readonly string[])[], palette: Palette): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows
    .map((row, index) => {
      const line = row.map((cell, column) =>
        column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
      );
      return index === 0 ? palette.dim(line.join('  ')) : line.join('  ');
    })
    .join('\n');
}

/** 1234567 as `1,234,567`. */
export function grouped(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

const BYTE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

/** 1536 as `1.5 KiB`. */
export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  let [value, unit] = [count / 1024, 0];
  for (; value >= 1023.95 && unit < BYTE_UNITS.length - 1; unit++) value /= 1024;
  return `${value.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

/** Milliseconds as `0.8 s`, `12.3 s` or `2 min 5 s`. */
export function elapsed(milliseconds: number): string {
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const REDRAW_MS = 80;

/**
 * One line on standard error that changes in place while something is under way; without a terminal it says nothing
 * until `done`.
 */
export class LiveLine {
  readonly #stream: WriteStream | undefined;
  readonly #palette: Palette;
  readonly #draw: () => string;
  readonly #timer: NodeJS.Timeout | undefined;
  #frame = 0;

  /** @param draw the text now, without a line end */
  constructor(draw: () => string) {
    this.#draw = draw;
    this.#palette = paletteFor(process.stderr);
    if (process.stderr.isTTY !== true) return;
    this.#stream = process.stderr;
    this.#timer = setInterval(() => this.#render(), REDRAW_MS);
    this.#timer.unref();
    this.#render();
  }

  /** Puts a line above the live one. */
  above(line: string): void {
    this.#clear();
    say(line);
    this.#render();
  }

  /** Ends it, leaving `line` in its place. */
  done(line?: string): void {
    clearInterval(this.#timer);
    this.#clear();
    if (line !== undefined) say(line);
  }

  #render(): void {
    if (!this.#stream) return;
    this.#frame = (this.#frame + 1) % FRAMES.length;
    const text = this.#draw().slice(0, Math.max(10, (this.#stream.columns || 80) - 3));
    this.#stream.write(`\r\u001b[2K${this.#palette.cyan(FRAMES[this.#frame] ?? '')} ${text}`);
  }

  #clear(): void {
    this.#stream?.write('\r\u001b[2K');
  }
}

const BAR_CELLS = 24;

/** A bar for a share from 0 to 1. */
export function bar(share: number): string {
  const cells = Math.round(Math.min(1, Math.max(0, share)) * BAR_CELLS);
  return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${String(Math.floor(share * 100)).padStart(3)} %`;
}

/** The nodes log JSON lines (pino's); people get them as text. */

import { pino } from 'pino';
import type { Palette } from './terminal.js';
import { paletteFor } from './terminal.js';

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};
const HIDDEN = new Set(['level', 'time', 'pid', 'hostname', 'name', 'node', 'msg', 'err', 'stack', 'v']);

/** The level and the text of one logged line; what is not JSON comes back as it is. */
export function readLogLine(
  line: string,
  palette: Palette,
): { readonly level: number; readonly text: string } {
  const fields = parse(line);
  if (fields === undefined) return { level: 30, text: line };
  const level = typeof fields.level === 'number' ? fields.level : 30;
  const time = typeof fields.time === 'number' ? new Date(fields.time).toISOString().slice(11, 23) : '';
  const name = (LEVELS[level] ?? String(level)).padEnd(5);
  const colour = level >= 50 ? palette.red : level >= 40 ? palette.yellow : palette.dim;
  const details = Object.entries(fields)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) =>
      palette.dim(`${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`),
    );
  const message = [fields.msg, errorMessage(fields.err)]
    .filter((part) => typeof part === 'string')
    .join(': ');
  return { level, text: [palette.dim(time), colour(name), message, ...details].join(' ') };
}

function errorMessage(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('message' in error)) return undefined;
  return typeof error.message === 'string' ? error.message : undefined;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const fields: unknown = JSON.parse(line);
    return typeof fields === 'object' && fields !== null ? { ...fields } : undefined;
  } catch {
    return undefined;
  }
}

/** Where TypeScript is loaded as it is, a stack trace names the module by all of its text. */
const INLINE_MODULE =
  /data:text\/javascript,[^\s]*?(?:filePath=|__filename%3D%22)([^\s?]+?)(?:%22|\?|:\d)[^\s]*?(?=:\d+:\d+|\s|$)/g;
/** Characters of a stack that are logged; the first frames say it. */
const MAX_STACK = 4000;

/** A stack is text from anywhere: a lone `%` in it is no reason not to log. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readableError(error: Error): unknown {
  const { stack = '', ...rest } = pino.stdSerializers.err(error);
  const readable = stack.replace(INLINE_MODULE, (_, file: string) => decoded(file));
  return { ...rest, stack: readable.length > MAX_STACK ? `${readable.slice(0, MAX_STACK)} …` : readable };
}

/** A logger on standard error: text for a terminal, JSON lines for everything else. */
export function nodeLogger(node: string, level: string): pino.Logger {
  const options = { level, base: { node }, serializers: { err: readableError } };
  if (process.stderr.isTTY !== true) return pino(options, pino.destination({ dest: 2, sync: true }));
  const palette = paletteFor(process.stderr);
  return pino(options, {
    write: (line: string) => process.stderr.write(`${readLogLine(line.trimEnd(), palette).text}\n`),
  });
}

/** One case of a datadriven file: a directive, its input lines, and what must come out. */
export interface Case {
  /** Line of the directive, from 1. */
  readonly line: number;
  readonly command: string;
  readonly args: readonly Arg[];
  readonly input: string;
  readonly expected: string;
}

/** `key`, `key=value` or `key=(a, b)`. */
export interface Arg {
  readonly key: string;
  readonly values: readonly string[];
}

/** Parses a file of github.com/cockroachdb/datadriven's format. @throws Error naming the line that does not fit. */
export function parseCases(text: string): Case[] {
  const lines = text.split('\n');
  const cases: Case[] = [];
  let at = 0;
  const next = (): string => {
    const line = lines[at++];
    if (line === undefined) throw new Error(`line ${at}: the file ends within a case`);
    return line;
  };
  while (at < lines.length) {
    const start = at + 1;
    let directive = next().trim();
    if (directive === '' || directive.startsWith('#')) continue;
    while (directive.endsWith('\\')) directive = `${directive.slice(0, -1).trimEnd()} ${next().trim()}`;
    const input: string[] = [];
    for (let line = next(); line !== '----'; line = next()) input.push(line);
    const expected: string[] = [];
    if (lines[at] === '----') {
      at++;
      for (let line = next(); line !== '----' || lines[at] !== '----'; line = next()) expected.push(line);
      at++;
    } else {
      for (; at < lines.length && (lines[at] as string).trim() !== ''; at++)
        expected.push(lines[at] as string);
    }
    const { command, args } = parseDirective(directive, start);
    cases.push({
      line: start,
      command,
      args,
      input: input.join('\n').trim(),
      expected: expected.map((line) => `${line}\n`).join(''),
    });
  }
  return cases;
}

/** Splits a directive into its command and arguments. */
export function parseDirective(text: string, line = 1): { command: string; args: Arg[] } {
  const words: Arg[] = [];
  let at = 0;
  const rest = () => text.slice(at);
  while (at < text.length) {
    at += (/^\s*/.exec(rest()) as RegExpExecArray)[0].length;
    if (at >= text.length) break;
    const key = (/^[^\s=()]*/.exec(rest()) as RegExpExecArray)[0];
    if (key === '') throw new Error(`line ${line}: cannot read the arguments from "${rest()}"`);
    at += key.length;
    if (text[at] !== '=') {
      // Data of a proposal may hold any punctuation: a word ends at a space.
      const tail = (/^\S*/.exec(rest()) as RegExpExecArray)[0];
      at += tail.length;
      words.push({ key: key + tail, values: [] });
      continue;
    }
    at++;
    if (text[at] !== '(') {
      const value = (/^\S*/.exec(rest()) as RegExpExecArray)[0];
      at += value.length;
      words.push({ key, values: [value] });
      continue;
    }
    const open = at;
    let depth = 0;
    do {
      if (text[at] === '(') depth++;
      if (text[at] === ')') depth--;
      at++;
      if (at > text.length) throw new Error(`line ${line}: a parenthesis is not closed`);
    } while (depth > 0);
    words.push({ key, values: splitList(text.slice(open + 1, at - 1)) });
  }
  const [command, ...args] = words;
  if (command === undefined) throw new Error(`line ${line}: no command`);
  return { command: command.key, args };
}

function splitList(text: string): string[] {
  if (text.trim() === '') return [];
  // A list is separated by commas; where it has none, by spaces.
  return text.includes(',') ? text.split(',').map((part) => part.trim()) : text.trim().split(/\s+/);
}

/** The values of `key=...`; empty when it is not given. */
export function valuesOf(args: readonly Arg[], key: string): readonly string[] {
  return args.filter((arg) => arg.key === key).flatMap((arg) => arg.values);
}

/** Arguments without a value, as numbers. */
export function idsOf(args: readonly Arg[]): number[] {
  return args.filter((arg) => arg.values.length === 0).map((arg) => Number(arg.key));
}

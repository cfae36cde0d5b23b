import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/**
 * A fenced block of a document.
 *
 * `sh`, `ts` and `js` run, unless the fence says `checked` (` ```sh checked `): where it makes no sense to run a block, it is parsed,
 * and its commands and types are held against what there is. `json` and `conf` (nats-server's) are parsed. `text` is what the
 * block before it prints, or a drawing.
 */
export interface Block {
  /** The first word behind the fence. */
  readonly kind: string;
  /** What else stands behind it. */
  readonly mark: string;
  /** Named alone in the line before it, where the block is a file. */
  readonly file: string | undefined;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

/** A Markdown file. */
export interface Document {
  /** From the checkout's root. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

/** Documents whose blocks a spec of their own runs, because they need more than to be typed one after the other. */
export const RUN_ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['docs/actors.md', 'spec/actors/example.spec.ts'],
  ['docs/guides/first-actor.md', 'spec/integration/first-actor.spec.ts'],
]);

const FENCE = /^```(\S*) *(.*)$/;
const NAME = /^`([\w./-]+)`$/;

/** Every Markdown file of the repository, those not yet committed too. */
export function documents(): Document[] {
  const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return listed
    .split('\n')
    .filter((path) => path !== '')
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      return { path, text, blocks: blocksOf(text) };
    });
}

/** Whether the block is run, rather than looked at. */
export function runs({ kind, mark }: Block): boolean {
  return ['sh', 'ts', 'js'].includes(kind) && mark === '';
}

/** @throws Error when a block is not closed, or a fence is none that this reads */
export function blocksOf(markdown: string): Block[] {
  const lines = markdown.split('\n');
  const blocks: Block[] = [];
  let before = '';
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const [, kind, mark = ''] = FENCE.exec(line) ?? [];
    if (kind === undefined) {
      if (/^\s*(```|~~~)/.test(line)) throw new Error(`The fence of line ${at + 1} does not begin its line.`);
      if (line !== '') before = line;
      continue;
    }
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`The block of line ${at + 1} is not closed.`);
    const [, file] = NAME.exec(before) ?? [];
    blocks.push({ kind, mark, file, text: `${lines.slice(at + 1, end).join('\n')}\n`, line: at + 2 });
    before = '';
    at = end;
  }
  return blocks;
}

/** The document with its blocks, and their fences, left empty. */
export function outsideBlocks(markdown: string): string {
  const lines = markdown.split('\n');
  for (const { line, text } of blocksOf(markdown)) {
    const length = text.split('\n').length + 1;
    lines.fill('', line - 2, line - 2 + length);
  }
  return lines.join('\n');
}

/** Blocks as one script or program, in which each line has the number that it has in the document. */
export function joined(blocks: readonly Block[]): string {
  const lines: string[] = [];
  for (const { text, line } of blocks) {
    while (lines.length < line - 1) lines.push('');
    lines.push(...text.split('\n').slice(0, -1));
  }
  return `${lines.join('\n')}\n`;
}

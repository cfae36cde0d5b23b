/** A fenced block of a guide. */
export interface Block {
  /** What stands behind the fence: `sh` is run, `text` is what the block before it prints, `console` is for people alone. */
  readonly kind: string;
  /** Named in the paragraph before it, where the block is a file. */
  readonly file: string | undefined;
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

const FENCE = /^```(\w*)$/;
const NAME = /^`([\w./-]+)`$/;

/** @throws Error when a block is not closed */
export function blocksOf(guide: string): Block[] {
  const lines = guide.split('\n');
  const blocks: Block[] = [];
  let paragraph = '';
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    const [, kind] = FENCE.exec(line) ?? [];
    if (kind === undefined) {
      if (line !== '') paragraph = line;
      continue;
    }
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`The block of line ${at + 1} is not closed.`);
    const [, file] = NAME.exec(paragraph) ?? [];
    blocks.push({ kind, file, text: `${lines.slice(at + 1, end).join('\n')}\n`, line: at + 2 });
    paragraph = '';
    at = end;
  }
  return blocks;
}

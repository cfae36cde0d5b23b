import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Document, outsideBlocks, ROOT } from './markdown.js';

/** `[text](target "title")`, and the definition `[name]: target`. */
const LINK = /\]\(([^()\s]+)(?:\s+"[^"]*")?\)|^\[[^\]]+\]:\s+(\S+)/gm;
const CODE = /`[^`\n]*`/g;
const HEADING = /^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$/gm;
/** What is not read of a heading: code keeps its words, an image has none, a link its text, a tag none, emphasis what it is put on. */
const MARKUP = /`([^`]*)`|!\[[^\]]*\]\([^)]*\)|\[([^\]]*)\]\([^)]*\)|<[^>]*>|(?<!\w)_([^_]+)_(?!\w)/g;
const PUNCTUATION = /[^\p{L}\p{M}\p{Nd}\p{Pc}\- ]/gu;

/** Targets of a document's links that lead to no file of the checkout, or to no heading of it. */
export function brokenLinks({ path, text }: Pick<Document, 'path' | 'text'>): string[] {
  const prose = outsideBlocks(text).replaceAll(CODE, '');
  return [...prose.matchAll(LINK)]
    .map(([, inline, defined]) => inline ?? defined ?? '')
    .filter((target) => !/^[a-z]+:/.test(target) && !leadsSomewhere(path, text, target));
}

function leadsSomewhere(path: string, text: string, target: string): boolean {
  const [name = '', anchor] = target.split('#').map(decodeURIComponent);
  const file = join(ROOT, path, '..', name);
  if (name !== '' && !existsSync(file)) return false;
  if (anchor === undefined) return true;
  if (name === '') return anchorsOf(text).has(anchor);
  return name.endsWith('.md') && anchorsOf(readFileSync(file, 'utf8')).has(anchor);
}

/**
 * What GitHub gives the headings of a document (those with `#`) as anchors: lower case, without punctuation, hyphens for spaces,
 * and for one that is there already its number.
 */
export function anchorsOf(markdown: string): ReadonlySet<string> {
  const times = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ''] of outsideBlocks(markdown).matchAll(HEADING)) {
    const words = heading.replaceAll(MARKUP, (_, code, link, emphasis) => code ?? link ?? emphasis ?? '');
    const anchor = words.trim().toLowerCase().replaceAll(PUNCTUATION, '').replaceAll(' ', '-');
    const before = times.get(anchor) ?? 0;
    times.set(anchor, before + 1);
    anchors.add(before === 0 ? anchor : `${anchor}-${before}`);
  }
  return anchors;
}

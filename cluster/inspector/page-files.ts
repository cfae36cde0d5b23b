/** The files of the page, read once: nothing of it comes from anywhere else. */

import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';

/** Found from here, and from the folder of the command line, into whose files this one is built. */
const FOLDER = new URL('../inspector/page/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
}

/** By the path under which each is served. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>();
  for (const name of readdirSync(FOLDER)) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    files.set(name === 'index.html' ? '/' : `/${name}`, { type, bytes: readFileSync(new URL(name, FOLDER)) });
  }
  return files;
}

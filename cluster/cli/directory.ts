/** Making the directories that a user names. */

import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { TroupeError } from '../errors.js';

/**
 * Makes a directory with its missing parents, one at a time: node's own recursive way never ends on a file system that
 * answers "no such directory" to every try.
 * @param option whose value it is, for the sentence
 * @throws TroupeError `usage` when it cannot be made
 */
export function makeDirectory(option: string, directory: string): void {
  const missing: string[] = [];
  try {
    for (let path = resolve(directory); kindOf(path) !== 'directory'; path = dirname(path)) {
      if (kindOf(path) === 'file') throw new Error(`${path} is a file: name another place`);
      missing.push(path);
    }
    for (const path of missing.reverse()) {
      try {
        mkdirSync(path);
      } catch (cause) {
        // Somebody else was quicker.
        if (kindOf(path) !== 'directory') throw cause;
      }
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `${option}: ${directory} cannot be made: ${reason}`, { cause });
  }
}

function kindOf(path: string): 'directory' | 'file' | 'nothing' {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 'nothing';
  return stats.isDirectory() ? 'directory' : 'file';
}

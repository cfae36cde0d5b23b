/**
 * A file that says that what this directory holds is damaged. Damage that was found while a store ran need not show at its
 * next start: RocksDB opens with a bad block in a table, and a disk that lies may lie the other way. What was found is kept.
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const DAMAGE_MARKER = 'DAMAGED';

/**
 * Written at once and durably, though that holds up the loop: whoever calls this stops.
 * @param what a sentence about what was found
 */
export function writeDamageMarker(directory: string, what: string): void {
  const file = openSync(join(directory, DAMAGE_MARKER), 'w');
  try {
    writeSync(file, `${what}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  const folder = openSync(directory, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** What was found; `undefined` where nothing was. */
export async function readDamageMarker(directory: string): Promise<string | undefined> {
  try {
    return (await readFile(join(directory, DAMAGE_MARKER), 'utf8')).trim() || 'it was found damaged';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

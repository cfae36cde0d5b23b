/**
 * Pulls the plug: copies a data directory as a power loss would leave it. What was synced is kept; of the bytes behind
 * it a chosen part survives. Table files, MANIFEST and CURRENT are synced by RocksDB itself before it relies on them.
 */
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { listWalFiles, readMarker, type WalPosition, walFileName } from '../../storage/durability.js';
import { readManifest } from '../../storage/manifest.js';

const SECTOR = 512;

/**
 * What becomes of unsynced bytes.
 * - `lost`: all gone. `kept`: all there, as after a killed process.
 * - `cut`: a prefix is left. `holes`: some sectors are zeros, and the end may be cut.
 */
export type Fate = 'lost' | 'kept' | 'cut' | 'holes';
export const FATES: readonly Fate[] = ['lost', 'kept', 'cut', 'holes'];

/** The later of two positions. */
function later(a: WalPosition, b: WalPosition | undefined): WalPosition {
  if (!b) return a;
  return b.file > a.file || (b.file === a.file && b.length > a.length) ? b : a;
}

/**
 * @param synced what the durability component said last.
 * @param random chooses what survives; numbers in [0, 1).
 */
export async function pullPlug(
  from: string,
  to: string,
  synced: WalPosition,
  fate: Fate,
  random: () => number,
): Promise<void> {
  // A directory in use changes while it is copied: again, until it held still.
  for (;;) {
    const before = await listing(from);
    await copyAll(from, to);
    if ((await listing(from)) === before) break;
  }
  const durable = later(synced, await readMarker(to));
  const { syncedBelow } = (await readManifest(to)) ?? { syncedBelow: 0 };
  for (const file of await listWalFiles(to)) {
    if (file < durable.file || file < syncedBelow) continue;
    const path = join(to, walFileName(file));
    const bytes = await readFile(path);
    const safe = file === durable.file ? Math.min(durable.length, bytes.length) : 0;
    await writeFile(path, surviving(bytes, safe, fate, random));
  }
}

function surviving(bytes: Buffer, safe: number, fate: Fate, random: () => number): Buffer {
  if (fate === 'kept') return bytes;
  if (fate === 'lost') return bytes.subarray(0, safe);
  const end = safe + Math.floor(random() * (bytes.length - safe + 1));
  if (fate === 'cut') return bytes.subarray(0, end);
  const rest = random() < 0.5 ? bytes : bytes.subarray(0, end);
  for (let sector = Math.floor(safe / SECTOR); sector * SECTOR < rest.length; sector++) {
    if (random() < 0.3)
      rest.fill(0, Math.max(safe, sector * SECTOR), Math.min((sector + 1) * SECTOR, rest.length));
  }
  return rest;
}

async function copyAll(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) {
    // A file that vanishes meanwhile shows up in the second listing.
    await copyFile(join(from, name), join(to, name)).catch(() => {});
  }
}

async function listing(directory: string): Promise<string> {
  const lines: string[] = [];
  for (const name of (await readdir(directory)).sort()) {
    const size = await stat(join(directory, name)).then(
      (s) => s.size,
      () => -1,
    );
    if (!name.startsWith('LOG')) lines.push(`${name} ${size}`);
  }
  return lines.join('\n');
}

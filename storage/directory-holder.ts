/**
 * Who has a data directory open. RocksDB's own lock decides; this file only lets an error name the process.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const HOLDER = 'PID';

export async function writeHolder(directory: string): Promise<void> {
  await writeFile(join(directory, HOLDER), `${process.pid}\n`);
}

export async function releaseHolder(directory: string): Promise<void> {
  await rm(join(directory, HOLDER), { force: true });
}

/** The process that wrote its number there last, if it is still alive. */
export async function holderOf(directory: string): Promise<number | undefined> {
  const text = await readFile(join(directory, HOLDER), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (cause) {
    // Not permitted to signal it means that it exists.
    return (cause as NodeJS.ErrnoException).code === 'EPERM' ? pid : undefined;
  }
}

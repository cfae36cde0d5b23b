/**
 * How far an import or export has come, in a small file of the user's state directory, for `--resume`.
 *
 * It is not kept beside the data, for that directory may be read-only.
 */

import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from './directory.js';

/** Content of a checkpoint: names and numbers. */
export type CheckpointState = Readonly<Record<string, string | number>>;

export class Checkpoint {
  readonly #path: string;

  /** @param identity what tells this transfer from others: its kind, file and cluster */
  constructor(identity: readonly string[], env = process.env) {
    const directory = join(env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state'), 'troupe');
    const name = createHash('sha256').update(identity.join('\0')).digest('hex').slice(0, 24);
    this.#path = join(directory, `${identity[0]}-${name}.json`);
  }

  /** `undefined` when there is none, or it is damaged. */
  read(): CheckpointState | undefined {
    try {
      const content: unknown = JSON.parse(readFileSync(this.#path, 'utf8'));
      return typeof content === 'object' && content !== null ? { ...content } : undefined;
    } catch {
      return undefined;
    }
  }

  /** Replaces it atomically. @returns false when the directory cannot be written: then there will be no resuming */
  write(state: CheckpointState): boolean {
    try {
      makeDirectory('state', join(this.#path, '..'));
      writeFileSync(`${this.#path}.new`, JSON.stringify(state));
      renameSync(`${this.#path}.new`, this.#path);
      return true;
    } catch {
      return false;
    }
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}

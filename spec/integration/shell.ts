import { spawn } from 'node:child_process';
import type { Ended } from './command.js';

/** Groups of which something may still run; none outlives the process that runs the specs. */
const running = new Set<number>();
process.once('exit', () => killAll(running));

/** Bash, which runs each script in a process group of its own. */
export class Shell {
  readonly #env: NodeJS.ProcessEnv;
  /** Of scripts that have ended, and have left something behind. */
  readonly #left = new Set<number>();

  /** @param env all the variables that scripts have */
  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  /**
   * Runs a script to its end, and to that of everything that prints for it. When `limit` fires first, its whole group is killed.
   * @param directory where it runs, and its home
   * @returns how it ended; without a code when it was killed
   */
  async run(script: string, directory: string, limit: AbortSignal): Promise<Ended> {
    const child = spawn('bash', ['--norc', '-euo', 'pipefail', '-c', script], {
      cwd: directory,
      env: { ...this.#env, HOME: directory },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const group = child.pid ?? 0;
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    running.add(group);
    const kill = (): void => {
      killAll([group]);
      // Somebody who has left the group may hold the pipes.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    limit.addEventListener('abort', kill);
    if (limit.aborted) kill();
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('close', resolve);
      child.once('error', reject);
    });
    limit.removeEventListener('abort', kill);
    if (isThere(group)) this.#left.add(group);
    else running.delete(group);
    return { code, stdout, stderr };
  }

  /** Kills what scripts have left running. Idempotent. */
  close(): void {
    killAll(this.#left);
    for (const group of this.#left) running.delete(group);
    this.#left.clear();
  }
}

function killAll(groups: Iterable<number>): void {
  for (const group of groups) {
    if (isThere(group)) process.kill(-group, 'SIGKILL');
  }
}

function isThere(group: number): boolean {
  try {
    return process.kill(-group, 0);
  } catch {
    return false;
  }
}

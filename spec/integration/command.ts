import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../cluster/cli/main.js', import.meta.url));

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Directories of one spec: everything that its commands write is below one temporary directory. */
export class Workplace {
  readonly directory = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
  readonly #commands: RunningCommand[] = [];

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  /** Starts `troupe` with these words; no configuration or variables of the user reach it. */
  start(words: readonly string[], env: NodeJS.ProcessEnv = {}): RunningCommand {
    const command = new RunningCommand(words, {
      PATH: process.env.PATH,
      HOME: this.directory,
      TMPDIR: this.directory,
      ...env,
    });
    this.#commands.push(command);
    return command;
  }

  /** Runs `troupe` to its end. */
  run(words: readonly string[], input?: string | Uint8Array, env?: NodeJS.ProcessEnv): Promise<Ended> {
    const command = this.start(words, env);
    command.end(input);
    return command.ended;
  }

  /** Stops what runs, with SIGINT, and removes the directory. */
  async close(): Promise<void> {
    await Promise.all(
      this.#commands.map((command) => {
        command.signal('SIGINT');
        return command.ended;
      }),
    );
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A `troupe` process. */
export class RunningCommand {
  readonly #child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  #changed: () => void = () => {};

  constructor(words: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, [MAIN, ...words], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdin?.on('error', () => {});
    this.#child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
      this.#changed();
    });
    this.#child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
      this.#changed();
    });
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
        this.#changed();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** More of its standard input. */
  write(input: string): void {
    this.#child.stdin?.write(input);
  }

  end(input?: string | Uint8Array): void {
    this.#child.stdin?.end(input);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Waits until it has printed what the pattern asks. @throws Error with all it printed when it ends, or 30 s pass */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (found) return found;
      if (!this.running || Date.now() > deadline) {
        throw new Error(`${pattern} was not printed:\n${this.stdout}\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** How long `eventually` asks, in milliseconds: it bounds what hangs, and says nothing of how fast a loaded machine is. */
const PATIENCE_MS = 90_000;

/** Asks again until the answer is not `undefined`. @throws Error `what` after 90 s */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline)
      throw new Error(`Within ${PATIENCE_MS / 1000} s it did not come to this: ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether a process exists. */
export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NodeReport } from '../../cluster/cli/node-command.js';
import { ExitCode } from '../../cluster/errors.js';

const MAIN = fileURLToPath(new URL('../../cluster/cli/main.js', import.meta.url));
const STOP_LIMIT_MS = 15_000;
const RESTART_PAUSE_MS = 250;

interface Ended {
  readonly code: number | null;
  readonly how: string;
}

export interface ChaosNodeOptions {
  readonly role: 'scheduler' | 'store';
  readonly name: string;
  /** Arguments of its command. */
  readonly args: readonly string[];
  readonly logFile: string;
  /** It ended, and nobody here had ended it. */
  readonly died: (sentence: string) => void;
}

/** None outlives this process: one that is stopped by a signal would not notice that its launcher has gone. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A scheduler or a store in a process of its own, which is killed, stopped and continued from here. */
export class ChaosNode {
  readonly #options: ChaosNodeOptions;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #ending = false;

  constructor(options: ChaosNodeOptions) {
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
  }

  get name(): string {
    return this.#options.name;
  }

  /** `undefined` while it is dead. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts its process, and waits until it serves. A node that ends because nobody answers it is started again, as whatever
   * runs nodes in earnest would do.
   * @param limit milliseconds
   * @throws Error with the node's own sentence, or that it took longer
   */
  async start(limit: number): Promise<void> {
    const deadline = Date.now() + limit;
    for (;;) {
      const ended = await this.#launch(deadline);
      if (ended === undefined) return;
      if (ended.code !== ExitCode.unavailable || Date.now() > deadline) throw new Error(ended.how);
      await new Promise((resolve) => setTimeout(resolve, RESTART_PAUSE_MS));
    }
  }

  /** @returns how it ended, `undefined` when it serves */
  async #launch(deadline: number): Promise<Ended | undefined> {
    const { role, args, died } = this.#options;
    const { PATH, HOME, TROUPE_LOG_LEVEL } = process.env;
    this.#ending = false;
    this.#log.write(`--- ${new Date().toISOString()} start\n`);
    const child = fork(MAIN, [role, '--name', this.name, ...args], {
      env: { PATH, HOME, TROUPE_LOG_LEVEL, UV_THREADPOOL_SIZE: '16' },
      execArgv: ['--max-semi-space-size=16'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    running.add(child);
    child.stdout?.pipe(this.#log, { end: false });
    child.stderr?.pipe(this.#log, { end: false });
    let serving = false;
    let sentence = '';
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.name} has started and does not serve`)),
        deadline - Date.now(),
      );
      child.on('message', (report: NodeReport) => {
        if (report.kind === 'failed') sentence = `: ${report.message}`;
        if (report.kind !== 'serving') return;
        serving = true;
        clearTimeout(timer);
        resolve(undefined);
      });
      child.once('exit', (code, signal) => {
        running.delete(child);
        if (this.#child === child) this.#child = undefined;
        clearTimeout(timer);
        const how = `${this.name} ended with ${signal ?? `exit code ${code}`}${sentence}`;
        if (serving && !this.#ending) died(how);
        resolve({ code, how });
      });
    });
  }

  /** SIGKILL, and waits until the process is gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGSTOP: it keeps its connections and answers nothing. @returns how to let it go on */
  pause(): () => void {
    const child = this.#child;
    child?.kill('SIGSTOP');
    return () => child?.kill('SIGCONT');
  }

  /** Asks it to end, insists after a while, and closes its log. */
  async stop(): Promise<void> {
    this.#child?.kill('SIGCONT');
    const insist = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.#end('SIGTERM');
    clearTimeout(insist);
    this.#log.end();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#ending = true;
    const child = this.#child;
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    this.#log.write(`--- ${new Date().toISOString()} ended by ${signal}\n`);
  }
}

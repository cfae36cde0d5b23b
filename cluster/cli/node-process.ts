/** One node as a child process that is started again when it dies. */

import { type ChildProcess, fork } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ExitCode, TroupeError, type TroupeErrorCode } from '../errors.js';
import { forEachLine } from '../leash.js';
import type { NodeQuestion, NodeReport } from './node-command.js';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** A node that ran this long had started well: the next pause is short again. */
const STEADY_MS = 30_000;
const STOP_DEADLINE_MS = 10_000;
const COUNTERS_PATIENCE_MS = 200;
/** libuv's default of 4 lets compactions delay the syncs of the write-ahead log. */
const THREAD_POOL_SIZE = '16';
/**
 * Frames and entries are memory outside of the heap that lives for a turn. A small young generation is swept often
 * enough to free it; with V8's own size full collections do that, on every core (docs/decisions/garbage-collection.md).
 */
const V8_OPTIONS = ['--max-semi-space-size=16'];

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url));

export interface NodeProcessOptions {
  readonly role: 'scheduler' | 'store';
  readonly name: string;
  /** Arguments of its command. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Every line that it logs is appended here. */
  readonly logFile: string;
  readonly onLine: (line: string) => void;
  /** It died on its own and starts again after the pause. */
  readonly onDeath: (how: string, pauseMs: number) => void;
  /** It serves again after a death. */
  readonly onReturn: () => void;
  /** Its data is damaged, as it found while it ran: it is not started again. */
  readonly onDamage: (damage: NodeDamagedError) => void;
  /** The store was taken offline and is gone for good, as it was told while it ran: it is not started again. */
  readonly onGone: () => void;
}

/** The node does not start before its data is repaired. */
export class NodeDamagedError extends TroupeError {
  /** The command that repairs it. */
  readonly repair: string;

  constructor(sentence: string, repair: string) {
    super('failed', sentence);
    this.repair = repair;
  }
}

/** The store was taken offline and is gone for good. */
export class StoreGoneError extends TroupeError {}

export class NodeProcess {
  readonly #options: NodeProcessOptions;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #stopping = false;
  #pauseMs = FIRST_PAUSE_MS;
  #restart: NodeJS.Timeout | undefined;
  #gone: Promise<void> = Promise.resolve();
  /** Questions about its counters that it has not answered; it answers in their order. */
  #asked: ((counters: Readonly<Record<string, number>>) => void)[] = [];

  constructor(options: NodeProcessOptions) {
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
    this.#log.on('error', () => {});
  }

  get name(): string {
    return this.#options.name;
  }

  get role(): 'scheduler' | 'store' {
    return this.#options.role;
  }

  /** `undefined` while it is dead. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /**
   * Starts it and waits until it serves.
   * @throws NodeDamagedError when its data is damaged, StoreGoneError when it was taken offline before
   * @throws TroupeError with the node's own sentence and code
   */
  start(): Promise<void> {
    return this.#launch(false);
  }

  /** Asks it to stop, waits, and insists after 10 s. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    child?.kill('SIGTERM');
    const insist = setTimeout(() => child?.kill('SIGKILL'), STOP_DEADLINE_MS);
    await this.#gone;
    clearTimeout(insist);
    this.#log.end();
  }

  /** What the node counts about itself since it started; nothing while it is dead, or hangs. */
  counters(): Promise<Readonly<Record<string, number>>> {
    return new Promise((resolve) => {
      const child = this.#child;
      if (child?.connected !== true) return resolve({});
      const patience = setTimeout(() => resolve({}), COUNTERS_PATIENCE_MS);
      this.#asked.push((counters) => {
        clearTimeout(patience);
        resolve(counters);
      });
      const question: NodeQuestion = { kind: 'counters' };
      child.send(question, () => {});
    });
  }

  /** Ends it as a fault would: it is started again. @returns whether there was a process to end */
  crash(): boolean {
    return this.#child?.kill('SIGKILL') ?? false;
  }

  /** Ends it at once. */
  kill(): void {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #launch(again: boolean): Promise<void> {
    const { role, args, env } = this.#options;
    const startedAt = Date.now();
    const child = fork(MAIN, [role, ...args], {
      env: { ...process.env, ...env, UV_THREADPOOL_SIZE: THREAD_POOL_SIZE },
      execArgv: [...process.execArgv, ...V8_OPTIONS],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // In a group of its own, so that Ctrl-C reaches only the launcher, who stops its nodes in order. Should the
      // launcher die, the IPC channel closes and the node stops by itself.
      detached: process.platform !== 'win32',
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) {
        forEachLine(stream, (line) => {
          this.#log.write(`${line}\n`);
          this.#options.onLine(line);
        });
      }
    }
    let serving = false;
    let failure: TroupeError | undefined;
    let settle: (error?: TroupeError) => void = () => {};
    const started = new Promise<void>((resolve, reject) => {
      settle = (error) => (error ? reject(error) : resolve());
    });
    child.on('message', (report: NodeReport) => {
      switch (report.kind) {
        case 'failed':
          failure = failureOf(this.name, report);
          return;
        case 'counters':
          this.#asked.shift()?.(report.counters);
          return;
        case 'serving':
          serving = true;
          settle();
          if (again && !this.#stopping) this.#options.onReturn();
      }
    });
    this.#gone = new Promise((resolve) => {
      const end = (how: string): void => {
        if (this.#child !== child) return;
        this.#child = undefined;
        for (const answer of this.#asked.splice(0)) answer({});
        if (serving || again) this.#ended(failure, how, Date.now() - startedAt);
        settle(
          failure ??
            new TroupeError(
              'failed',
              `${this.name} ended while starting (${how}): see ${this.#options.logFile}`,
            ),
        );
        resolve();
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
    });
    return started;
  }

  #ended(failure: TroupeError | undefined, how: string, ranMs: number): void {
    if (this.#stopping) return;
    if (failure instanceof NodeDamagedError) this.#options.onDamage(failure);
    else if (failure instanceof StoreGoneError) this.#options.onGone();
    else this.#scheduleRestart(failure?.message ?? how, ranMs);
  }

  #scheduleRestart(how: string, ranMs: number): void {
    if (ranMs > STEADY_MS) this.#pauseMs = FIRST_PAUSE_MS;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    this.#options.onDeath(how, pauseMs);
    this.#restart = setTimeout(() => {
      // A failure comes back here through the child's exit.
      this.#launch(true).catch(() => {});
    }, pauseMs);
  }
}

function failureOf(
  name: string,
  { message, exitCode, repair, gone }: Extract<NodeReport, { kind: 'failed' }>,
): TroupeError {
  const sentence = `${name}: ${message}`;
  if (repair !== undefined) return new NodeDamagedError(sentence, repair);
  if (gone === true) return new StoreGoneError(codeOf(exitCode), sentence);
  return new TroupeError(codeOf(exitCode), sentence);
}

function codeOf(exitCode: number): TroupeErrorCode {
  switch (exitCode) {
    case ExitCode.usage:
      return 'usage';
    case ExitCode.notFound:
      return 'not-found';
    case ExitCode.conflict:
      return 'conflict';
    case ExitCode.unavailable:
      return 'unavailable';
    case ExitCode.timeout:
      return 'timeout';
    default:
      return 'failed';
  }
}

import type { Clock } from '../actors/index.js';
import { TroupeError } from './errors.js';

/** What a slow piece of work is given: it yields, and it ends when it is told to. */
export interface Task {
  /** Aborted when the work is no longer wanted or the node stops. */
  readonly signal: AbortSignal;
  /**
   * To be awaited between small steps (at most 64 KiB or 256 keys each): lets the loop have its turn when this task's
   * time budget is used up.
   * @throws the signal's reason, when it is aborted.
   */
  readonly pause: () => Promise<void>;
}

export interface TaskQueueOptions {
  readonly clock: Clock;
  /** Tasks that run side by side. */
  readonly atOnce: number;
  /** Tasks that may wait; more are refused. */
  readonly capacity: number;
}

interface Waiting {
  readonly start: () => void;
  readonly refuse: (error: Error) => void;
}

/** Milliseconds of the loop that a task may take before it yields. */
const TURN_BUDGET_MS = 5;

/**
 * A store's slow work (snapshots, hashes, deletion of log entries): a bounded queue of tasks that yield to the loop, each
 * with a result.
 */
export class TaskQueue {
  readonly #options: TaskQueueOptions;
  readonly #waiting: Waiting[] = [];
  readonly #stop = new AbortController();
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: TaskQueueOptions) {
    this.#options = options;
  }

  /**
   * Runs `work` when its turn has come.
   * @throws TroupeError `unavailable` when too many wait already, `closed` when the queue was closed; else what `work`
   * throws.
   */
  async run<T>(name: string, work: (task: Task) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    await this.#place(name, signal);
    try {
      return await work(this.#taskOf(signal));
    } finally {
      this.#leave();
    }
  }

  /** Aborts what runs, refuses what waits, and resolves when nothing runs any more. Idempotent. */
  async close(): Promise<void> {
    const closed = new TroupeError('closed', 'the node stops, and its tasks with it');
    this.#stop.abort(closed);
    for (const { refuse } of this.#waiting.splice(0)) refuse(closed);
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #place(name: string, signal: AbortSignal | undefined): Promise<void> | undefined {
    const { atOnce, capacity } = this.#options;
    this.#stop.signal.throwIfAborted();
    if (this.#running < atOnce) {
      this.#running++;
      return undefined;
    }
    if (this.#waiting.length >= capacity) {
      throw new TroupeError('unavailable', `${capacity} tasks wait already, ${name} cannot: try again later`);
    }
    return new Promise((start, refuse) => {
      const waiting = { start, refuse };
      this.#waiting.push(waiting);
      const leave = () => {
        const place = this.#waiting.indexOf(waiting);
        if (place < 0) return;
        this.#waiting.splice(place, 1);
        refuse(signal?.reason instanceof Error ? signal.reason : new Error('no longer wanted'));
      };
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  /** The place goes to the next in line, or becomes free. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next.start();
      return;
    }
    this.#running--;
    if (this.#running === 0) for (const wake of this.#idle.splice(0)) wake();
  }

  #taskOf(signal: AbortSignal | undefined): Task {
    const { clock } = this.#options;
    const stopping = this.#stop.signal;
    const either = signal === undefined ? stopping : AbortSignal.any([stopping, signal]);
    let since = clock.now();
    const pause = async (): Promise<void> => {
      either.throwIfAborted();
      if (clock.now() - since < TURN_BUDGET_MS) return;
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 0));
      since = clock.now();
      either.throwIfAborted();
    };
    return { signal: either, pause };
  }
}

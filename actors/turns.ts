import type { Clock } from './clock.js';
import { RingQueue } from './mailbox.js';
import type { Metrics } from './metrics.js';

/** Something with messages to handle: an actor's cell. */
export interface Runnable {
  /**
   * Handles up to `limit` messages.
   * @returns how many it handled
   */
  run(limit: number): number;
  /** Asked after each run: whether it goes back into the queue. It is out of the queue when it says no. */
  requeue(): boolean;
}

/** Messages of one actor before the next one has its turn, and the clock is read. */
const SLICE = 16;
/** Messages of one turn, whatever the clock says: on virtual time the budget never ends. */
const MAX_MESSAGES = 20_000;

interface Hook {
  readonly order: number;
  readonly run: () => void;
}

/**
 * The run queue. A turn handles messages until none are left or the time budget is spent, then runs the end-of-turn
 * hooks in their order. What is left waits for the next turn, after the event loop had its chance.
 */
export class Turns {
  readonly #tasks = new RingQueue<() => void>();
  readonly #ready = new RingQueue<Runnable>();
  #hooks: readonly Hook[] = [];
  #requested = false;
  #phase: 'idle' | 'messages' | 'hooks' = 'idle';
  #stopped = false;

  /** @param budget milliseconds of message handling in one turn */
  constructor(
    private readonly clock: Clock,
    private readonly budget: number,
    private readonly metrics: Metrics,
    /** A task, message or hook threw; it never stops the loop. */
    private readonly failed: (error: unknown) => void,
  ) {}

  /**
   * The hooks will run soon, even if there are no messages: at the end of the turn under way, or in one of their own
   * after what has already arrived.
   */
  request(): void {
    if (this.#requested || this.#stopped || this.#phase === 'messages') return;
    this.#requested = true;
    this.clock.immediate(this.#turn);
  }

  /** Like `request`, for the last hook alone: any turn under way is good enough. */
  requestFlush(): void {
    if (this.#phase === 'idle') this.request();
  }

  /** Puts an actor in the queue; the caller minds that it stands there once. */
  ready(runnable: Runnable): void {
    this.#ready.push(runnable);
    if (this.#phase === 'idle') this.request();
  }

  /** Runs `fn` in a turn, on nobody's stack. */
  task(fn: () => void): void {
    this.#tasks.push(fn);
    if (this.#phase === 'idle') this.request();
  }

  /** @returns how to remove the hook */
  onEnd(order: number, run: () => void): () => void {
    const hook: Hook = { order, run };
    this.#hooks = [...this.#hooks, hook].sort((a, b) => a.order - b.order);
    return () => {
      this.#hooks = this.#hooks.filter((other) => other !== hook);
    };
  }

  /** Runs one turn now; for the end of a system, not from inside a turn. */
  runNow(): void {
    this.#turn();
  }

  stop(): void {
    this.#stopped = true;
  }

  #turn = (): void => {
    this.#requested = false;
    if (this.#stopped || this.#phase !== 'idle') return;
    this.#phase = 'messages';
    const { clock, metrics, budget } = this;
    const start = clock.now();
    // Tasks of tasks wait for the next turn.
    for (let left = this.#tasks.length; left > 0; left--) this.#guarded(this.#tasks.shift() ?? nothing);
    let handled = 0;
    for (let actor = this.#ready.shift(); actor !== undefined; actor = this.#ready.shift()) {
      handled += this.#slice(actor);
      if (actor.requeue()) this.#ready.push(actor);
      if (handled >= MAX_MESSAGES || clock.now() - start >= budget) break;
    }
    metrics.messages += handled;
    metrics.turns++;
    this.#phase = 'hooks';
    for (const hook of this.#hooks) this.#guarded(hook.run);
    this.#phase = 'idle';
    const took = clock.now() - start;
    if (took > metrics.longestTurn) metrics.longestTurn = took;
    if (took > 2 * budget) metrics.slowTurns++;
    if (this.#ready.length > 0 || this.#tasks.length > 0) this.request();
  };

  #slice(actor: Runnable): number {
    try {
      return actor.run(SLICE);
    } catch (error) {
      this.failed(error);
      return 1;
    }
  }

  #guarded(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.failed(error);
    }
  }
}

function nothing(): void {}

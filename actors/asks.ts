import type { Clock, TimerHandle } from './clock.js';
import type { ResolvedCodec } from './codecs.js';
import { AskError } from './errors.js';

/** An ask without an answer yet. */
export interface PendingAsk {
  readonly id: number;
  readonly node: string;
  readonly path: string;
  readonly kind: string;
  /** Decodes the reply when it comes from another node. */
  readonly codec: ResolvedCodec | undefined;
  /** The clock's time. */
  readonly deadline: number;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: AskError) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: (() => void) | undefined;
}

/** Deadlines that lie closer together than this are served by one look through the table. */
const SWEEP_SPACING = 10;

/**
 * The asks of one system, by correlation id. One timer stands at the earliest deadline of all: where answers come in
 * time it fires about once per timeout, whatever the number of asks.
 */
export class Asks {
  readonly #pending = new Map<number, PendingAsk>();
  #lastId = 0;
  #timer: TimerHandle | undefined;
  #timerDue = Number.POSITIVE_INFINITY;

  constructor(private readonly clock: Clock) {}

  get size(): number {
    return this.#pending.size;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  add(ask: PendingAsk): void {
    this.#pending.set(ask.id, ask);
    if (ask.onAbort !== undefined) ask.signal?.addEventListener('abort', ask.onAbort);
    if (ask.deadline < this.#timerDue) this.#arm(ask.deadline);
  }

  /** Takes the ask out: whoever gets it settles it. */
  take(id: number): PendingAsk | undefined {
    const ask = this.#pending.get(id);
    if (ask === undefined) return undefined;
    this.#pending.delete(id);
    if (ask.onAbort !== undefined) ask.signal?.removeEventListener('abort', ask.onAbort);
    return ask;
  }

  peek(id: number): PendingAsk | undefined {
    return this.#pending.get(id);
  }

  fail(id: number, error: AskError): boolean {
    const ask = this.take(id);
    ask?.reject(error);
    return ask !== undefined;
  }

  /** Fails every ask with `first` <= id <= `last` that went to `node`. */
  failRange(node: string, first: number, last: number, error: (ask: PendingAsk) => AskError): void {
    // The range comes from the network: the loop is over what is known here.
    for (const ask of [...this.#pending.values()]) {
      if (ask.node === node && ask.id >= first && ask.id <= last) this.fail(ask.id, error(ask));
    }
  }

  failAll(error: (ask: PendingAsk) => AskError): void {
    for (const ask of [...this.#pending.values()]) this.fail(ask.id, error(ask));
  }

  stop(): void {
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(due: number): void {
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer);
    this.#timerDue = due;
    this.#timer = this.clock.setTimeout(() => this.#sweep(), due - this.clock.now());
  }

  #sweep(): void {
    this.#timer = undefined;
    this.#timerDue = Number.POSITIVE_INFINITY;
    const now = this.clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const ask of this.#pending.values()) {
      if (ask.deadline > now) {
        if (ask.deadline < next) next = ask.deadline;
        continue;
      }
      this.fail(ask.id, timeoutError(ask));
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(Math.max(next, now + SWEEP_SPACING));
  }
}

function timeoutError({ node, path, kind }: PendingAsk): AskError {
  return new AskError(
    'timeout',
    `no reply to ${kind} from ${node}/${path} in time: it may or may not have been handled`,
    'maybe',
  );
}

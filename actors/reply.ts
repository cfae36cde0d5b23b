import type { AskErrorCode } from './errors.js';

/**
 * The way back to whoever asked, at the event's `replyTo`. It may be kept and used later, from anywhere in this
 * process, once: what comes after the first answer is counted as a dead letter.
 */
export interface ReplyTo<R = unknown> {
  /** Answers; the first answer counts. */
  send(reply: R): void;
  /**
   * The asker gets an `AskError` `refused` with this reason and message.
   * @param reason a short word for programs
   */
  fail(reason: string, message: string): void;
  /** Milliseconds that the asker will still wait; 0 when it has given up. */
  remaining(): number;
  /** Whether it has been answered. */
  readonly answered: boolean;
}

/** Takes answers to their asker; the system, for local and remote askers. */
export interface ReplyRouter {
  reply(reply: Reply, value: unknown): void;
  failure(reply: Reply, code: AskErrorCode, reason: string, message: string): void;
  secondReply(reply: Reply): void;
  now(): number;
}

/** One ask's way back. */
export class Reply implements ReplyTo {
  #answered = false;

  constructor(
    private readonly router: ReplyRouter,
    /** Node of the asker. */
    readonly node: string,
    /** Incarnation of the asker's node: an answer to an earlier one goes nowhere. */
    readonly incarnation: number,
    readonly id: number,
    /** The event's kind, whose codec encodes the reply. */
    readonly kind: string,
    private readonly deadline: number,
  ) {}

  get answered(): boolean {
    return this.#answered;
  }

  send(reply: unknown): void {
    if (this.#first()) this.router.reply(this, reply);
  }

  fail(reason: string, message: string): void {
    if (this.#first()) this.router.failure(this, 'refused', reason, message);
  }

  /** A failure that the framework found; nothing when it has been answered. */
  abandon(code: AskErrorCode, message: string): void {
    if (this.#answered) return;
    this.#answered = true;
    this.router.failure(this, code, '', message);
  }

  remaining(): number {
    return Math.max(0, this.deadline - this.router.now());
  }

  #first(): boolean {
    if (this.#answered) this.router.secondReply(this);
    const first = !this.#answered;
    this.#answered = true;
    return first;
  }
}

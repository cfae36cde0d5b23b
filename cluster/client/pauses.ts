import type { Clock, TimerHandle } from '../../actors/index.js';
import { TroupeError } from '../errors.js';

/** The waits of one owner between its tries: on its clock, and over when it closes. */
export class Pauses {
  readonly #clock: Clock;
  readonly #waiting = new Map<TimerHandle, () => void>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Waits.
   * @param ms milliseconds
   * @throws the signal's reason as soon as it aborts; TroupeError `closed`
   */
  async wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    this.check(signal);
    await new Promise<void>((resolve) => this.begin(ms, signal, resolve));
    this.check(signal);
  }

  /**
   * Begins a wait that somebody else may end.
   * @param over is called when the time is over, the signal aborts or the owner closes; not after the stop
   * @returns stops it
   */
  begin(ms: number, signal: AbortSignal | undefined, over: () => void): () => void {
    const stop = () => {
      this.#clock.clearTimeout(timer);
      this.#waiting.delete(timer);
      signal?.removeEventListener('abort', resume);
    };
    const resume = () => {
      stop();
      over();
    };
    const timer = this.#clock.setTimeout(resume, ms);
    this.#waiting.set(timer, resume);
    signal?.addEventListener('abort', resume);
    return stop;
  }

  /** Ends every wait, and those to come, with `closed`. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const resume of [...this.#waiting.values()]) resume();
  }

  /** @throws the signal's reason when it has aborted; TroupeError `closed` */
  check(signal: AbortSignal | undefined): void {
    if (this.#closed) throw new TroupeError('closed', 'The connection was closed by this program.');
    if (signal?.aborted) throw signal.reason;
  }
}

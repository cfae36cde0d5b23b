import type { Span } from '@opentelemetry/api';
import type { Clock, TimerHandle } from '../../actors/index.js';

/** Spans that a node may have open at once; what is beyond that is not traced, and counted. */
const MAX_OPEN = 4096;
/** Milliseconds after which a span is ended that nobody has ended: its entry was lost with a leader, for example. */
const MAX_AGE_MS = 60_000;

/** The open spans of a node. */
export class SpanTable {
  /** Spans that were not begun because there was no room. */
  dropped = 0;
  readonly #clock: Clock;
  readonly #capacity: number;
  readonly #swept: () => void;
  /** With the time of their beginning, the oldest first. */
  readonly #open = new Map<Span, number>();
  #sweeper: TimerHandle | undefined;

  /** @param swept told after spans were ended that nobody had ended */
  constructor(clock: Clock, capacity = MAX_OPEN, swept: () => void = () => {}) {
    this.#clock = clock;
    this.#capacity = capacity;
    this.#swept = swept;
  }

  get size(): number {
    return this.#open.size;
  }

  /** @returns `undefined` for a span that is not recorded, and where there is no room */
  begin(start: () => Span): Span | undefined {
    if (this.#open.size >= this.#capacity) {
      this.dropped++;
      return undefined;
    }
    const span = start();
    if (!span.isRecording()) return undefined;
    this.#open.set(span, this.#clock.now());
    this.#sweepLater();
    return span;
  }

  isOpen(span: Span): boolean {
    return this.#open.has(span);
  }

  /** Once; what has been ended stays so. */
  end(span: Span): void {
    if (this.#open.delete(span)) span.end();
  }

  close(): void {
    if (this.#sweeper !== undefined) this.#clock.clearTimeout(this.#sweeper);
    for (const span of this.#open.keys()) this.end(span);
  }

  #sweepLater(): void {
    this.#sweeper ??= this.#clock.setTimeout(() => this.#sweep(), MAX_AGE_MS);
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const limit = this.#clock.now() - MAX_AGE_MS;
    for (const [span, at] of this.#open) {
      if (at > limit) break;
      span.addEvent('abandoned');
      this.end(span);
    }
    if (this.#open.size > 0) this.#sweepLater();
    this.#swept();
  }
}

import type { Clock, TimerHandle } from '../../actors/index.js';
import type { RawSpace } from '../../cluster/client/raw.js';

export interface ProberOptions {
  readonly raw: Pick<RawSpace, 'put'>;
  readonly clock: Clock;
  /** Is told of every acknowledged write, and when it began. */
  readonly written: (calledAt: number) => void;
}

/** What it writes. */
export const PROBED_KEY = 'probe';
/** Milliseconds between two writes, and those of each. */
const INTERVAL_MS = 20;
const TIMEOUT_MS = 3_000;
/** Writes under way; when so many are, none begins. */
const MOST_UNDER_WAY = 256;

/**
 * Writes all the time, whatever became of the writes before: so that it sees when the cluster takes writes again, where
 * clients who wait for the answers of a dead store would not.
 */
export class Prober {
  readonly #options: ProberOptions;
  #underWay = 0;
  #writes = 0;
  #timer: TimerHandle | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock } = this.#options;
    this.#timer = clock.setTimeout(() => {
      if (this.#underWay < MOST_UNDER_WAY) void this.#write();
      this.start();
    }, INTERVAL_MS);
  }

  stop(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
  }

  async #write(): Promise<void> {
    const { clock, raw, written } = this.#options;
    const calledAt = clock.now();
    this.#underWay++;
    try {
      await raw.put(PROBED_KEY, String(++this.#writes), { timeout: TIMEOUT_MS });
      written(calledAt);
    } catch {
      // Others check what clients are told; this one only waits for a write that works.
    } finally {
      this.#underWay--;
    }
  }
}

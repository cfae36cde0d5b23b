import type { Random, VirtualClock } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import type { SchedulerClient } from '../../cluster/pd-client.js';
import type { Trace } from './trace.js';

export interface GcActsParts {
  readonly scheduler: () => SchedulerClient | undefined;
  readonly world: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
}

const TIMEOUT = { timeout: 2_000 } as const;
/** Milliseconds between two tries to let the collector go on, once there is peace. */
const RETRY_MS = 200;

/** Somebody who lets the collector of old versions run now, pauses it and lets it go on, whenever he likes. */
export class GcActs {
  readonly counts = { gcRuns: 0, gcPauses: 0 };
  readonly #parts: GcActsParts;
  readonly #restlessness: number;
  /** Share of acts that pause the collector. */
  readonly #pauses: number;
  #running = false;
  /** Resolves when the last act was heard, or will not be. */
  #acting: Promise<void> = Promise.resolve();

  constructor(parts: GcActsParts) {
    this.#parts = parts;
    const { random } = parts;
    this.#restlessness = 1_000 + 8_000 * random();
    this.#pauses = 0.4 * random();
  }

  start(): void {
    this.#running = true;
    this.#next();
  }

  /** Peace: the collector goes on, whatever it was told last. */
  stop(): void {
    this.#running = false;
    // What was asked last may arrive late.
    void this.#acting.then(() => this.#resume());
  }

  #next(): void {
    const { world, random } = this.#parts;
    world.setTimeout(() => {
      if (!this.#running) return;
      this.#acting = this.#act(random());
      void this.#acting.finally(() => this.#next());
    }, this.#restlessness * random());
  }

  async #act(dice: number): Promise<void> {
    if (dice < this.#pauses) {
      this.counts.gcPauses++;
      await this.#ask('pause', (scheduler) => scheduler.steerPlacement(enabled(false), TIMEOUT));
      return;
    }
    this.counts.gcRuns++;
    await this.#ask('resume', (scheduler) => scheduler.steerPlacement(enabled(true), TIMEOUT));
    await this.#ask('run', (scheduler) => scheduler.runGc(TIMEOUT));
  }

  async #resume(): Promise<void> {
    const { world } = this.#parts;
    while (!(await this.#ask('resume', (scheduler) => scheduler.steerPlacement(enabled(true), TIMEOUT))))
      await new Promise<void>((resolve) => void world.setTimeout(resolve, RETRY_MS));
  }

  async #ask(what: string, ask: (scheduler: SchedulerClient) => Promise<void>): Promise<boolean> {
    const scheduler = this.#parts.scheduler();
    if (scheduler === undefined) return false;
    const { trace } = this.#parts;
    try {
      await ask(scheduler);
      trace.event(`gc ${what}: done`);
      return true;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      trace.event(`gc ${what}: ${error.code}`);
      return false;
    }
  }
}

function enabled(value: boolean) {
  return { setting: { name: 'gc-enabled', value: String(value) } };
}

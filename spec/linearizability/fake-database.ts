import type { Clock, Random } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import type { RawOperations } from './session.js';

/** Ways to be wrong, each of which a workload must notice. */
export interface Faults {
  /** Share of reads that are answered with what was there some time ago. */
  readonly stale?: number;
  /** Share of writes that are acknowledged and forgotten. */
  readonly forgotten?: number;
  /** Share of writes that take effect and are answered as if they had not. */
  readonly denied?: number;
  /** Share of swaps that win whatever the key has. */
  readonly blind?: number;
  /** Share of calls that never end. */
  readonly hanging?: number;
  /** Share of calls that end with an error that is not documented. */
  readonly strange?: number;
}

const LONGEST_DELAY_MS = 10;
/** Share of calls that end without an answer, and of those that are refused. */
const HONEST_TROUBLE = 0.03;
const STALENESS_MS = 200;

/** A database in memory that takes its time, fails now and then, and says so honestly, apart from the faults it is given. */
export class FakeDatabase {
  readonly raw: RawOperations;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #faults: Faults;
  readonly #values = new Map<string, string>();
  #old: { readonly since: number; readonly values: ReadonlyMap<string, string> };
  #older: ReadonlyMap<string, string> = new Map();

  constructor(clock: Clock, random: Random, faults: Faults = {}) {
    this.#clock = clock;
    this.#random = random;
    this.#faults = faults;
    this.#old = { since: clock.now(), values: new Map() };
    const text = (bytes: string | Uint8Array): string =>
      typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString();
    const bytesAt = (key: string, from: ReadonlyMap<string, string>): Uint8Array | undefined => {
      const value = from.get(key);
      return value === undefined ? undefined : Buffer.from(value);
    };
    this.raw = {
      get: (key) => this.#read((from) => bytesAt(text(key), from)),
      batchGet: (keys) => this.#read((from) => [...keys].map((key) => bytesAt(text(key), from))),
      put: (key, value) => this.#write(() => this.#values.set(text(key), text(value))),
      delete: (key) => this.#write(() => this.#values.delete(text(key))),
      batchPut: (pairs) =>
        this.#write(() => {
          for (const [key, value] of pairs) this.#values.set(text(key), text(value));
        }),
      compareAndSwap: async (key, expected, value) => {
        let previous: string | undefined;
        let swapped = false;
        await this.#write(() => {
          previous = this.#values.get(text(key));
          const wanted = expected === undefined ? undefined : text(expected);
          swapped = previous === wanted || this.#chance('blind');
          if (swapped) this.#values.set(text(key), text(value));
        });
        return { swapped, previous: previous === undefined ? undefined : Buffer.from(previous) };
      },
      scan: (options) => this.#scan(text(options?.prefix ?? '')),
    };
  }

  async *#scan(prefix: string): AsyncIterableIterator<{ key: Uint8Array; value: Uint8Array }> {
    const found = await this.#read((from) =>
      [...from].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)),
    );
    for (const [key, value] of found) yield { key: Buffer.from(key), value: Buffer.from(value) };
  }

  async #read<T>(look: (from: ReadonlyMap<string, string>) => T): Promise<T> {
    await this.#delay();
    await this.#misbehave();
    const result = look(this.#chance('stale') ? this.#older : this.#values);
    await this.#delay();
    return result;
  }

  async #write(effect: () => unknown): Promise<void> {
    await this.#delay();
    await this.#misbehave();
    this.#keepOld();
    if (this.#random() < HONEST_TROUBLE) throw new TroupeError('unavailable', 'refused');
    if (this.#random() < HONEST_TROUBLE) {
      if (this.#random() < 0.5) this.#clock.setTimeout(effect, LONGEST_DELAY_MS * 20 * this.#random());
      throw new TroupeError('undetermined', 'no answer');
    }
    if (!this.#chance('forgotten')) effect();
    if (this.#chance('denied')) throw new TroupeError('timeout', 'no answer');
    await this.#delay();
  }

  #keepOld(): void {
    const now = this.#clock.now();
    if (now - this.#old.since < STALENESS_MS) return;
    this.#older = this.#old.values;
    this.#old = { since: now, values: new Map(this.#values) };
  }

  async #misbehave(): Promise<void> {
    if (this.#chance('hanging')) await new Promise(() => {});
    if (this.#chance('strange')) throw new TypeError('what was that?');
  }

  #chance(fault: keyof Faults): boolean {
    return this.#random() < (this.#faults[fault] ?? 0);
  }

  #delay(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, LONGEST_DELAY_MS * this.#random());
    });
  }
}

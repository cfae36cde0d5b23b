import type { Clock, Random } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { TroupeError } from '../../cluster/errors.js';
import type { History, PendingOperation } from '../linearizability/history.js';
import { type KeyInput, type KeyOutput, keyModel } from '../linearizability/models.js';
import type { Trace } from './trace.js';

export type KeyHistory = History<KeyInput, KeyOutput>;

export interface ClientParts {
  readonly name: string;
  readonly database: Database;
  /** The client's own clock. */
  readonly clock: Clock;
  readonly random: Random;
  readonly history: KeyHistory;
  readonly trace: Trace;
  readonly broken: (sentence: string) => void;
  /** Longest pause between two operations, in milliseconds. */
  readonly pause: number;
  /** Operations that may be under way at once. */
  readonly sessions: number;
  /** Milliseconds for which nobody asks for anything. */
  readonly lull: () => number;
}

/** Keys of registers: put, deleted, swapped, scanned. */
const REGISTERS = 6;
/** Lists that grow beside each other, and milliseconds after which new ones are begun. */
const LISTS = 2;
const LIST_AGE_MS = 4_000;
/** Least and most milliseconds that an operation may take. */
const PATIENCE_MS = [200, 3_000] as const;
/** What one try may take when the operation must succeed. */
const MUST_PATIENCE_MS = 1_500;
const RETRY_PAUSE_MS = 50;

/** How often a client does what. */
const WEIGHTS = {
  get: 8,
  put: 5,
  delete: 1,
  compareAndSwap: 3,
  append: 4,
  batchPut: 2,
  batchGet: 1,
  scan: 2,
  deleteRange: 0.3,
} as const;

type Kind = keyof typeof WEIGHTS;
type Weights = Readonly<Record<Kind, number>>;

/** A session that only reads goes on with a leader that can no longer write. */
const READS_ONLY: Weights = {
  ...WEIGHTS,
  put: 0,
  delete: 0,
  compareAndSwap: 0,
  append: 0,
  batchPut: 0,
  deleteRange: 0,
};
/** Share of sessions that do nothing else. */
const READERS = 0.3;

/** One client of the real library: each of its sessions does one operation after the other, into the history with what it heard. */
export class SimulatedClient {
  readonly counts = { reads: 0, writes: 0, refused: 0, unknown: 0 };
  readonly #parts: ClientParts;
  readonly #seen = new Map<string, string | undefined>();
  #values = 0;
  #running = false;
  /** Resolves when no operation is under way any more. */
  #sessions: Promise<unknown> = Promise.resolve();

  constructor(parts: ClientParts) {
    this.#parts = parts;
  }

  get name(): string {
    return this.#parts.name;
  }

  start(): void {
    this.#running = true;
    this.#sessions = Promise.all(Array.from({ length: this.#parts.sessions }, () => this.#session()));
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#sessions;
  }

  async #session(): Promise<void> {
    const { random } = this.#parts;
    const weights = random() < READERS ? READS_ONLY : WEIGHTS;
    while (this.#running) {
      await this.#sleep(this.#parts.pause * random());
      for (let lull = this.#parts.lull(); lull > 0 && this.#running; lull = this.#parts.lull()) {
        await this.#sleep(lull);
      }
      if (this.#running) await this.#perform(pick(weights, random));
    }
  }

  /** A write and a read that are repeated until each was acknowledged. */
  async progress(): Promise<void> {
    const key = `p-${this.name}`;
    while (!(await this.#put(key, MUST_PATIENCE_MS))) await this.#sleep(RETRY_PAUSE_MS);
    while (!(await this.#get(key, MUST_PATIENCE_MS))) await this.#sleep(RETRY_PAUSE_MS);
  }

  /** Reads every key that the history is about, until each was read. */
  async readAll(): Promise<void> {
    const keys = new Set(this.#parts.history.operations().map(({ input }) => input.key));
    for (const key of keys) {
      while (!(await this.#get(key, MUST_PATIENCE_MS))) await this.#sleep(RETRY_PAUSE_MS);
    }
  }

  async #perform(kind: Kind): Promise<void> {
    const { random } = this.#parts;
    const [least, most] = PATIENCE_MS;
    const timeout = least + (most - least) * random();
    switch (kind) {
      case 'get':
        await this.#get(random() < 0.7 ? this.#register() : this.#list(), timeout);
        return;
      case 'put':
        await this.#put(this.#register(), timeout);
        return;
      case 'delete':
        return this.#delete(this.#register(), timeout);
      case 'compareAndSwap':
        return this.#compareAndSwap(this.#register(), timeout);
      case 'append':
        return this.#append(this.#list(), timeout);
      case 'batchPut':
        return this.#batchPut(this.#someRegisters(), timeout);
      case 'batchGet':
        return this.#batchGet(this.#someRegisters(), timeout);
      case 'scan':
        return this.#scan(timeout);
      case 'deleteRange':
        return this.#deleteRange(timeout);
    }
  }

  async #get(key: string, timeout: number): Promise<boolean> {
    const pending = this.#begin({ kind: 'get', key });
    return this.#reads([pending], async () => {
      const value = textOf(await this.#parts.database.raw.get(key, { timeout }));
      this.#saw(key, value);
      pending.returned(got(value));
    });
  }

  async #put(key: string, timeout: number): Promise<boolean> {
    const value = this.#value();
    const pending = this.#begin({ kind: 'put', key, value });
    return this.#writes([pending], async () => {
      await this.#parts.database.raw.put(key, value, { timeout });
      this.#saw(key, value);
      pending.returned(DONE);
    });
  }

  async #delete(key: string, timeout: number): Promise<void> {
    const pending = this.#begin({ kind: 'delete', key });
    await this.#writes([pending], async () => {
      await this.#parts.database.raw.delete(key, { timeout });
      this.#saw(key, undefined);
      pending.returned(DONE);
    });
  }

  async #compareAndSwap(key: string, timeout: number): Promise<void> {
    const expected = this.#seen.get(key);
    const value = this.#value();
    const input = { kind: 'compareAndSwap', key, value } as const;
    const pending = this.#begin(expected === undefined ? input : { ...input, expected });
    await this.#writes([pending], async () => {
      const { swapped, previous } = await this.#parts.database.raw.compareAndSwap(key, expected, value, {
        timeout,
      });
      const was = textOf(previous);
      this.#saw(key, swapped ? value : was);
      pending.returned({ kind: 'swapped', swapped, ...(was === undefined ? {} : { previous: was }) });
    });
  }

  /** Reads the list and swaps in one that is longer by an element. */
  async #append(key: string, timeout: number): Promise<void> {
    if (!(await this.#get(key, timeout))) return;
    const before = this.#seen.get(key);
    const element = this.#value();
    const pending = this.#begin({ kind: 'append', key, element });
    await this.#writes([pending], async () => {
      const after = before === undefined ? element : `${before} ${element}`;
      const { swapped } = await this.#parts.database.raw.compareAndSwap(key, before, after, { timeout });
      if (swapped) pending.returned(DONE);
      else pending.failed();
    });
  }

  async #batchPut(keys: readonly string[], timeout: number): Promise<void> {
    const pairs = keys.map((key) => [key, this.#value()] as const);
    const pending = pairs.map(([key, value]) => this.#begin({ kind: 'put', key, value }));
    await this.#writes(pending, async () => {
      await this.#parts.database.raw.batchPut(pairs, { timeout });
      for (const one of pending) one.returned(DONE);
    });
  }

  async #batchGet(keys: readonly string[], timeout: number): Promise<void> {
    const pending = keys.map((key) => this.#begin({ kind: 'get', key }));
    await this.#reads(pending, async () => {
      const values = await this.#parts.database.raw.batchGet(keys, { timeout });
      for (const [i, one] of pending.entries()) one.returned(got(textOf(values[i])));
    });
  }

  /** A scan is a read of every register, those without a value too. */
  async #scan(timeout: number): Promise<void> {
    const { database, random } = this.#parts;
    const keys = Array.from({ length: REGISTERS }, (_, i) => `r${i}`);
    const pending = keys.map((key) => this.#begin({ kind: 'get', key }));
    await this.#reads(pending, async () => {
      const found = new Map<string, string>();
      for await (const { key, value } of database.raw.scan({
        prefix: 'r',
        reverse: random() < 0.3,
        timeout,
      })) {
        found.set(Buffer.from(key).toString(), Buffer.from(value).toString());
      }
      for (const [i, one] of pending.entries()) one.returned(got(found.get(keys[i] ?? '')));
    });
  }

  async #deleteRange(timeout: number): Promise<void> {
    const from = Math.floor(this.#parts.random() * REGISTERS);
    const keys = [`r${from}`, `r${from + 1}`].slice(0, REGISTERS - from);
    const pending = keys.map((key) => this.#begin({ kind: 'delete', key }));
    await this.#writes(pending, async () => {
      await this.#parts.database.raw.deleteRange(`r${from}`, `r${from + 2}`, { timeout });
      for (const one of pending) one.returned(DONE);
    });
  }

  #begin(input: KeyInput): PendingOperation<KeyOutput> {
    const { history, name, trace } = this.#parts;
    const pending = history.begin(name, input);
    if (!trace.verbose) return pending;
    const what = keyModel.describe(input, undefined).replace(/ -> .*/, '');
    const tell = (how: string): void => trace.say(`${name} ${input.key} ${what}: ${how}`);
    tell('asked');
    return {
      returned: (output) => {
        tell(keyModel.describe(input, output).replace(/.* -> /, ''));
        pending.returned(output);
      },
      failed: () => {
        tell('had no effect');
        pending.failed();
      },
      unknown: () => {
        tell('unknown');
        pending.unknown();
      },
    };
  }

  /** @returns whether it was answered; a read that failed has told nothing */
  async #reads(pending: readonly PendingOperation<KeyOutput>[], ask: () => Promise<void>): Promise<boolean> {
    return this.#ends('read', pending, ask, () => {
      for (const one of pending) one.failed();
    });
  }

  /** An error says whether a write may have been done; of several writes, each may have been for all that is known. */
  async #writes(pending: readonly PendingOperation<KeyOutput>[], ask: () => Promise<void>): Promise<boolean> {
    return this.#ends('write', pending, ask, ({ code }) => {
      const unknown = code === 'undetermined' || pending.length > 1;
      if (unknown) this.counts.unknown++;
      for (const one of pending) unknown ? one.unknown() : one.failed();
    });
  }

  async #ends(
    what: 'read' | 'write',
    pending: readonly PendingOperation<KeyOutput>[],
    ask: () => Promise<void>,
    refused: (error: TroupeError) => void,
  ): Promise<boolean> {
    const { broken, name, trace } = this.#parts;
    try {
      await ask();
    } catch (error) {
      if (!(error instanceof TroupeError) || !EXPECTED.includes(error.code)) {
        broken(`${name} was refused a ${what} of ${pending.length} keys: ${String(error)}`);
        return false;
      }
      trace.event(`${name} ${what}: ${error.code}`);
      this.counts.refused++;
      refused(error);
      return false;
    }
    trace.event(`${name} ${what}: ok`);
    this.counts[what === 'read' ? 'reads' : 'writes'] += pending.length;
    return true;
  }

  #saw(key: string, value: string | undefined): void {
    this.#seen.set(key, value);
  }

  /** Never the same twice. */
  #value(): string {
    return `${this.name.slice('client-'.length)}.${++this.#values}`;
  }

  #register(): string {
    return `r${Math.floor(this.#parts.random() * REGISTERS)}`;
  }

  #someRegisters(): string[] {
    return Array.from({ length: REGISTERS }, (_, i) => `r${i}`).filter(() => this.#parts.random() < 0.5);
  }

  #list(): string {
    const { clock, random } = this.#parts;
    return `l${Math.floor(clock.now() / LIST_AGE_MS)}-${Math.floor(random() * LISTS)}`;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.clock.setTimeout(resolve, ms);
    });
  }
}

const DONE: KeyOutput = { kind: 'done' };
/** Whatever else a client is told breaks the contract of the library. */
const EXPECTED: readonly TroupeError['code'][] = ['unavailable', 'timeout', 'undetermined'];

function got(value: string | undefined): KeyOutput {
  return value === undefined ? { kind: 'got' } : { kind: 'got', value };
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes).toString();
}

/** Draws a name by its weight. */
export function pick<K extends string>(weights: Readonly<Record<K, number>>, random: Random): K {
  const names = Object.keys(weights) as K[];
  let left = names.reduce((sum, name) => sum + weights[name], 0) * random();
  for (const name of names) {
    left -= weights[name];
    if (left < 0) return name;
  }
  return names[names.length - 1] as K;
}

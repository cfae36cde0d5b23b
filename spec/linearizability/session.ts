import type { RawSpace } from '../../cluster/client/raw.js';
import { type Answer, type AskingOptions, ask, type Promises } from './asking.js';
import type { History, PendingOperation } from './history.js';
import { appended, type KeyInput, type KeyOutput } from './models.js';

/** What of the client library the workloads use: `database.raw`, or whatever a spec puts in its place. */
export type RawOperations = Pick<
  RawSpace,
  'get' | 'put' | 'delete' | 'compareAndSwap' | 'batchPut' | 'batchGet' | 'scan'
>;

export interface SessionOptions extends AskingOptions {
  readonly raw: RawOperations;
  readonly history: History<KeyInput, KeyOutput>;
  /** Is told of every write that was acknowledged, and when it began. */
  readonly written?: (calledAt: number) => void;
}

const RAW_PROMISES: Promises = { nothing: ['unavailable', 'timeout'], anything: ['undetermined', 'closed'] };
/** How often an append tries to get in between the others. */
const APPEND_ROUNDS = 8;

/** One client, which does one thing after the other and writes down what it asked and what it heard. */
export class Session {
  readonly #options: SessionOptions;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  async get(key: string): Promise<Answer<string | undefined>> {
    const pending = this.#begin({ kind: 'get', key });
    const answer = await this.#ask('get', (timeout) => this.#options.raw.get(key, { timeout }));
    if (answer.fate !== 'returned') {
      pending.failed();
      return answer;
    }
    const value = textOf(answer.value);
    pending.returned(got(value));
    return { fate: 'returned', value };
  }

  /** Each value counts as read for itself: the values need not be of one moment. */
  async batchGet(keys: readonly string[]): Promise<Answer<readonly (string | undefined)[]>> {
    const pending = keys.map((key) => this.#begin({ kind: 'get', key }));
    const answer = await this.#ask('batchGet', (timeout) => this.#options.raw.batchGet(keys, { timeout }));
    if (answer.fate !== 'returned') {
      for (const one of pending) one.failed();
      return answer;
    }
    const values = answer.value.map(textOf);
    for (const [i, one] of pending.entries()) one.returned(got(values[i]));
    return { fate: 'returned', value: values };
  }

  /** Reads these keys, all below `prefix`, by a scan; whatever else it finds there counts as read too. */
  async scan(prefix: string, keys: readonly string[]): Promise<Answer<void>> {
    const pending = new Map(keys.map((key) => [key, this.#begin({ kind: 'get', key })]));
    const answer = await this.#ask('scan', async (timeout) => {
      const found = new Map<string, string>();
      for await (const { key, value } of this.#options.raw.scan({ prefix, timeout })) {
        found.set(textOf(key), textOf(value));
      }
      return found;
    });
    if (answer.fate === 'returned') {
      for (const [key, value] of answer.value) {
        if (!pending.has(key)) this.#begin({ kind: 'get', key }).returned(got(value));
      }
      for (const [key, one] of pending) one.returned(got(answer.value.get(key)));
      return { fate: 'returned', value: undefined };
    }
    for (const one of pending.values()) one.failed();
    return answer;
  }

  put(key: string, value: string): Promise<Answer<void>> {
    return this.#write({ kind: 'put', key, value }, 'put', (raw, timeout) =>
      raw.put(key, value, { timeout }),
    );
  }

  delete(key: string): Promise<Answer<void>> {
    return this.#write({ kind: 'delete', key }, 'delete', (raw, timeout) => raw.delete(key, { timeout }));
  }

  async batchPut(pairs: readonly (readonly [string, string])[]): Promise<Answer<void>> {
    const calledAt = this.#options.clock.now();
    const pending = pairs.map(([key, value]) => this.#begin({ kind: 'put', key, value }));
    const answer = await this.#ask('batchPut', (timeout) => this.#options.raw.batchPut(pairs, { timeout }));
    for (const one of pending) settle(one, answer, () => ({ kind: 'done' }));
    if (answer.fate === 'returned') this.#options.written?.(calledAt);
    return answer;
  }

  async compareAndSwap(
    key: string,
    expected: string | undefined,
    value: string,
  ): Promise<Answer<{ readonly swapped: boolean; readonly previous: string | undefined }>> {
    const calledAt = this.#options.clock.now();
    const wanted = expected === undefined ? {} : { expected };
    const pending = this.#begin({ kind: 'compareAndSwap', key, value, ...wanted });
    const answer = await this.#swap(key, expected, value);
    settle(pending, answer, ({ swapped, previous }) => ({
      kind: 'swapped',
      swapped,
      ...(previous === undefined ? {} : { previous }),
    }));
    if (answer.fate === 'returned') this.#options.written?.(calledAt);
    return answer;
  }

  /** Adds an element to the list at `key`: reads it, and swaps it for a longer one until nobody comes between. */
  async append(key: string, element: string): Promise<Answer<void>> {
    const calledAt = this.#options.clock.now();
    const pending = this.#begin({ kind: 'append', key, element });
    const answer = await this.#appendInRounds(key, element);
    settle(pending, answer, () => ({ kind: 'done' }));
    if (answer.fate === 'returned') this.#options.written?.(calledAt);
    return answer;
  }

  async #appendInRounds(key: string, element: string): Promise<Answer<void>> {
    const read = await this.#ask('get', (timeout) => this.#options.raw.get(key, { timeout }));
    if (read.fate !== 'returned') return { fate: 'failed' };
    let list = textOf(read.value);
    for (let round = 0; round < APPEND_ROUNDS; round++) {
      const answer = await this.#swap(key, list, appended(list, element));
      if (answer.fate !== 'returned') return answer;
      if (answer.value.swapped) return { fate: 'returned', value: undefined };
      list = answer.value.previous;
    }
    return { fate: 'failed' };
  }

  async #swap(
    key: string,
    expected: string | undefined,
    value: string,
  ): Promise<Answer<{ readonly swapped: boolean; readonly previous: string | undefined }>> {
    const answer = await this.#ask('compareAndSwap', (timeout) =>
      this.#options.raw.compareAndSwap(key, expected, value, { timeout }),
    );
    if (answer.fate !== 'returned') return answer;
    const { swapped, previous } = answer.value;
    return { fate: 'returned', value: { swapped, previous: textOf(previous) } };
  }

  async #write(
    input: KeyInput,
    what: string,
    call: (raw: RawOperations, timeout: number) => Promise<void>,
  ): Promise<Answer<void>> {
    const calledAt = this.#options.clock.now();
    const pending = this.#begin(input);
    const answer = await this.#ask(what, (timeout) => call(this.#options.raw, timeout));
    settle(pending, answer, () => ({ kind: 'done' }));
    if (answer.fate === 'returned') this.#options.written?.(calledAt);
    return answer;
  }

  #begin(input: KeyInput): PendingOperation<KeyOutput> {
    return this.#options.history.begin(this.#options.name, input);
  }

  #ask<T>(what: string, call: (timeout: number) => Promise<T>): Promise<Answer<T>> {
    return ask(this.#options, RAW_PROMISES, what, call);
  }
}

function settle<T>(
  pending: PendingOperation<KeyOutput>,
  answer: Answer<T>,
  output: (value: T) => KeyOutput,
): void {
  if (answer.fate === 'returned') pending.returned(output(answer.value));
  else if (answer.fate === 'failed') pending.failed();
  else pending.unknown();
}

function got(value: string | undefined): KeyOutput {
  return { kind: 'got', ...(value === undefined ? {} : { value }) };
}

function textOf(bytes: Uint8Array): string;
function textOf(bytes: Uint8Array | undefined): string | undefined;
function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

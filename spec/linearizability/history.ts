import type { Clock } from '../../actors/index.js';

/** What one client asked, what it heard, and between which events of the whole history. */
export interface Operation<Input, Output> {
  readonly client: string;
  readonly input: Input;
  /** `undefined` when nobody knows whether it took effect: then it may have, at any moment after `call`, or never. */
  readonly output: Output | undefined;
  /** Place of its beginning in the one order of all beginnings and ends. */
  readonly call: number;
  /** Place of its end; infinite when its outcome is unknown. */
  readonly return: number;
  /** Milliseconds on the history's clock, for readers; the order is that of the places. */
  readonly calledAt: number;
  readonly endedAt: number;
}

/** An operation under way. It ends once, in one of three ways; one that never ends counts as unknown. */
export interface PendingOperation<Output> {
  returned(output: Output): void;
  /** For sure it had no effect, and never will. */
  failed(): void;
  /** Nobody knows. */
  unknown(): void;
}

interface Recorded<Input, Output> {
  readonly client: string;
  readonly input: Input;
  readonly call: number;
  readonly calledAt: number;
  fate: 'pending' | 'returned' | 'failed' | 'unknown';
  output: Output | undefined;
  return: number;
  endedAt: number;
}

/**
 * Everything that the clients of one process did. Beginnings and ends are numbered as they happen, so the order is exact
 * even where the clock stands still.
 */
export class History<Input, Output extends object> {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #from: number;
  readonly #recorded: Recorded<Input, Output>[] = [];
  #events = 0;
  readonly counts = { returned: 0, failed: 0, unknown: 0 };

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
    this.#from = clock.now();
  }

  begin(client: string, input: Input): PendingOperation<Output> {
    const one: Recorded<Input, Output> = {
      client,
      input,
      call: this.#events++,
      calledAt: this.#now(),
      fate: 'pending',
      output: undefined,
      return: Number.POSITIVE_INFINITY,
      endedAt: Number.POSITIVE_INFINITY,
    };
    this.#recorded.push(one);
    const end = (fate: 'returned' | 'failed' | 'unknown'): void => {
      if (one.fate !== 'pending') throw new Error(`an operation of ${client} ended twice`);
      one.fate = fate;
      one.endedAt = this.#now();
      this.counts[fate]++;
    };
    return {
      returned: (output) => {
        end('returned');
        one.output = output;
        one.return = this.#events++;
      },
      failed: () => end('failed'),
      unknown: () => end('unknown'),
    };
  }

  /** All that may have had an effect, in the order of their beginnings. */
  operations(): Operation<Input, Output>[] {
    return this.#recorded.filter(({ fate }) => fate !== 'failed');
  }

  #now(): number {
    return this.#clock.now() - this.#from;
  }
}

/** One operation a line, as JSON; infinities are left out. */
export function encodeHistory<Input, Output>(operations: readonly Operation<Input, Output>[]): string {
  return operations
    .map(({ client, input, output, call, return: end, calledAt, endedAt }) => {
      const ended = Number.isFinite(end) ? { return: end } : {};
      const at = Number.isFinite(endedAt) ? { endedAt } : {};
      return `${JSON.stringify({ client, input, output, call, ...ended, calledAt, ...at })}\n`;
    })
    .join('');
}

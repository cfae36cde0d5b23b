/** One step of a transaction, as its client saw it. Elements are unique within their key. */
export type ListOperation =
  | { readonly kind: 'append'; readonly key: string; readonly element: number }
  | { readonly kind: 'read'; readonly key: string; readonly list: readonly number[] };

/**
 * - `committed`: the client was told so
 * - `aborted`: nothing of it may ever show, the client was told
 * - `unknown`: nobody knows; it counts as committed once somebody has read what it wrote
 */
export type Outcome = 'committed' | 'aborted' | 'unknown';

/** What one transaction did, and between which events of the whole history. */
export interface ListTransaction {
  /** Who ran it; a process runs one transaction after the other. */
  readonly process: string;
  /** Place of its beginning in the one order of all beginnings and ends: its snapshot is not older. */
  readonly invoke: number;
  /** Place of its end; infinite when its client never heard of it again. */
  readonly complete: number;
  readonly operations: readonly ListOperation[];
  readonly outcome: Outcome;
}

/** A transaction under way. One that never ends has an unknown outcome. */
export interface PendingTransaction {
  read(key: string, list: readonly number[]): void;
  append(key: string, element: number): void;
  /** Everything that it reads has been read. */
  finished(): void;
  committed(): void;
  aborted(): void;
  unknown(): void;
  /**
   * It was aborted, and its client begins anew with another snapshot, some time after all was read.
   * @returns the new attempt
   */
  again(): PendingTransaction;
}

interface Recorded {
  readonly process: string;
  readonly invoke: number;
  complete: number;
  readonly operations: ListOperation[];
  outcome: Outcome | 'pending';
}

/**
 * What the clients of one process did. Beginnings and ends are numbered as they happen, so the order is exact even where
 * the clock stands still.
 */
export class TransactionHistory {
  readonly #recorded: Recorded[] = [];
  #events = 0;
  readonly counts = { committed: 0, aborted: 0, unknown: 0 };

  begin(process: string): PendingTransaction {
    return this.#begin(process, this.#events++);
  }

  #begin(process: string, invoke: number): PendingTransaction {
    const one: Recorded = {
      process,
      invoke,
      complete: Number.POSITIVE_INFINITY,
      operations: [],
      outcome: 'pending',
    };
    this.#recorded.push(one);
    /** Between these two places the last attempt has read everything and the next has no snapshot yet. */
    let between: { readonly end: number; readonly begin: number } | undefined;
    const end = (outcome: Outcome, place: number): void => {
      if (one.outcome !== 'pending') throw new Error(`a transaction of ${process} ended twice`);
      one.outcome = outcome;
      one.complete = place;
      this.counts[outcome]++;
    };
    return {
      read: (key, list) => one.operations.push({ kind: 'read', key, list }),
      append: (key, element) => one.operations.push({ kind: 'append', key, element }),
      finished: () => {
        between = { end: this.#events++, begin: this.#events++ };
      },
      committed: () => end('committed', this.#events++),
      aborted: () => end('aborted', this.#events++),
      unknown: () => end('unknown', this.#events++),
      again: () => {
        end('aborted', between?.end ?? this.#events++);
        return this.#begin(process, between?.begin ?? invoke);
      },
    };
  }

  transactions(): ListTransaction[] {
    return this.#recorded.map((one) => ({
      ...one,
      outcome: one.outcome === 'pending' ? 'unknown' : one.outcome,
    }));
  }
}

/** One transaction a line, as JSON; an infinite end is left out. */
export function encodeTransactions(transactions: readonly ListTransaction[]): string {
  return transactions
    .map(({ process, invoke, complete, operations, outcome }) => {
      const ended = Number.isFinite(complete) ? { complete } : {};
      return `${JSON.stringify({ process, invoke, ...ended, outcome, operations })}\n`;
    })
    .join('');
}

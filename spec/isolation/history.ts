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
  /**
   * Everything that it reads has been read: from here on another attempt may take its place, with a newer snapshot.
   * @returns the place of this moment
   */
  finished(): number;
  committed(): void;
  /** @param at its end, where that is known to have been earlier than now: what `finished` returned */
  aborted(at?: number): void;
  unknown(): void;
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

  /** @param since the place from which on its snapshot may have been taken; absent: now */
  begin(process: string, since?: number): PendingTransaction {
    const one: Recorded = {
      process,
      invoke: since ?? this.#events++,
      complete: Number.POSITIVE_INFINITY,
      operations: [],
      outcome: 'pending',
    };
    this.#recorded.push(one);
    const end = (outcome: Outcome, at = this.#events++): void => {
      if (one.outcome !== 'pending') throw new Error(`a transaction of ${process} ended twice`);
      one.outcome = outcome;
      one.complete = at;
      this.counts[outcome]++;
    };
    return {
      read: (key, list) => one.operations.push({ kind: 'read', key, list }),
      append: (key, element) => one.operations.push({ kind: 'append', key, element }),
      finished: () => this.#events++,
      committed: () => end('committed'),
      aborted: (at) => end('aborted', at),
      unknown: () => end('unknown'),
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

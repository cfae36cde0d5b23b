/** Transactions, put together from what stores were asked for them. */

import type { TxnNote } from '../inspection/items.js';

export interface TxnStep extends TxnNote {
  /** Unix milliseconds. */
  readonly at: number;
  readonly node: string;
}

export interface KnownTxn {
  readonly startTs: string;
  readonly began: number;
  last: number;
  readonly steps: TxnStep[];
  readonly regions: Set<number>;
  outcome: string;
}

const MOST = 500;
const MOST_STEPS = 200;

export class Transactions {
  readonly #known = new Map<string, KnownTxn>();

  /** The newest first. */
  get all(): readonly KnownTxn[] {
    return [...this.#known.values()].reverse();
  }

  get size(): number {
    return this.#known.size;
  }

  of(startTs: string): KnownTxn | undefined {
    return this.#known.get(startTs);
  }

  add(at: number, node: string, note: TxnNote): void {
    let txn = this.#known.get(note.startTs);
    if (txn === undefined) {
      txn = {
        startTs: note.startTs,
        began: at,
        last: at,
        steps: [],
        regions: new Set(),
        outcome: 'under way',
      };
      this.#known.set(note.startTs, txn);
      const [oldest] = this.#known.keys();
      if (this.#known.size > MOST && oldest !== undefined) this.#known.delete(oldest);
    }
    txn.last = Math.max(txn.last, at);
    txn.regions.add(note.region);
    if (txn.steps.length < MOST_STEPS) txn.steps.push({ ...note, at, node });
    txn.outcome = outcomeAfter(txn.outcome, note);
  }
}

function outcomeAfter(before: string, { what, outcome }: TxnNote): string {
  if (outcome.startsWith('committed')) return 'committed';
  if (outcome === 'ok' && (what === 'commit' || what === 'commit locks')) return 'committed';
  if (outcome === 'ok' && (what === 'rollback' || what === 'roll back locks') && before !== 'committed')
    return 'rolled back';
  if (outcome === 'conflict' && before === 'under way') return 'conflict';
  return before;
}

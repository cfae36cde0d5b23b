import type { ListTransaction } from './history.js';

/**
 * What a history can show that no history may, by the names of Adya and of Elle where they have one.
 *
 * - `internal`: a transaction does not see what it has itself appended, or sees one key in two states
 * - `duplicate`: a list has an element twice
 * - `garbage-read`: a list has an element that nobody appended to it
 * - `aborted-read` (G1a): a list has an element of a transaction that was aborted
 * - `intermediate-read` (G1b): a list ends amid what another transaction appended to it
 * - `dirty-update`: a transaction that is committed has appended to what one that was aborted had left
 * - `incompatible-order`: neither of two lists of a key begins with the other
 * - `lost-update`: two transactions changed the same state of a key, or one changed a state that it had not seen
 * - `write-cycle` (G0), `circular-information` (G1c): each transaction wrote, or saw, what follows another's, in a circle
 * - `read-skew` (G-single): somebody saw one part of a transaction and not the other
 * - `nonadjacent-skew` (G-nonadjacent): the same over several transactions, none of which was beside the next
 * - `stale-snapshot`: somebody did not see what had been committed before they began, or what a reader before them had seen
 * - `lost-append`: the same of an append that nobody ever saw
 * - `future-read`: what was written, or seen, belongs to a transaction that had not begun
 */
export type AnomalyKind =
  | 'internal'
  | 'duplicate'
  | 'garbage-read'
  | 'aborted-read'
  | 'intermediate-read'
  | 'dirty-update'
  | 'incompatible-order'
  | 'lost-update'
  | 'write-cycle'
  | 'circular-information'
  | 'read-skew'
  | 'nonadjacent-skew'
  | 'stale-snapshot'
  | 'lost-append'
  | 'future-read';

/** Allowed under snapshot isolation: two transactions side by side, neither of which saw what the other wrote (G2-item). */
export type AllowedKind = 'write-skew';

export interface Anomaly<Kind extends string = AnomalyKind> {
  readonly kind: Kind;
  /** Places in the history of those that took part, in the order of the sentences. */
  readonly transactions: readonly number[];
  /** Why it is one: of a cycle a sentence for each of its edges. */
  readonly sentences: readonly string[];
}

/** Of each kind that many are kept; more of them are counted. */
const KEPT_OF_A_KIND = 4;

/** Collects anomalies, each once, and of each kind a few. */
export class AnomalyList {
  readonly found: Anomaly[] = [];
  readonly counts = new Map<AnomalyKind, number>();
  readonly #seen = new Set<string>();

  add(kind: AnomalyKind, transactions: readonly number[], ...sentences: readonly string[]): void {
    const identity = `${kind} ${[...transactions].sort((a, b) => a - b).join(' ')}`;
    if (this.#seen.has(identity)) return;
    this.#seen.add(identity);
    const count = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, count);
    if (count <= KEPT_OF_A_KIND) this.found.push({ kind, transactions, sentences });
  }
}

/** Elements shown of a list: its end tells who read what. */
const SHOWN_ELEMENTS = 8;

/** How a transaction is called in sentences. */
export function nameOf(transaction: number): string {
  return `T${transaction}`;
}

export function listText(list: readonly number[]): string {
  const shown = list.slice(-SHOWN_ELEMENTS).join(' ');
  return list.length > SHOWN_ELEMENTS ? `[… ${shown}]` : `[${shown}]`;
}

/** A transaction in one line. */
export function transactionText(
  { process, invoke, complete, operations, outcome }: ListTransaction,
  index: number,
): string {
  const steps = operations.map((operation) =>
    operation.kind === 'read'
      ? `read ${operation.key} ${listText(operation.list)}`
      : `append ${operation.element} to ${operation.key}`,
  );
  const end = Number.isFinite(complete) ? `${complete}` : 'open';
  return `${nameOf(index)} of ${process}, ${invoke} .. ${end}, ${outcome}: ${steps.join(', ')}`;
}

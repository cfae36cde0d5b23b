import { type AllowedKind, type Anomaly, type AnomalyKind, AnomalyList } from './anomalies.js';
import { findForbiddenCycles, findWriteSkew } from './cycles.js';
import { dependenciesOf, dependencyText, effectiveTransactions } from './dependencies.js';
import type { ListTransaction } from './history.js';
import { keyHistories } from './observations.js';
import { versionOrderOf } from './version-orders.js';

export interface IsolationResult {
  /** `ok`: some execution under strong snapshot isolation looks like this to its clients. */
  readonly verdict: 'ok' | 'broken';
  /** A few of each kind. */
  readonly anomalies: readonly Anomaly[];
  /** How many there are of each kind. */
  readonly counts: ReadonlyMap<AnomalyKind, number>;
  /** What serializability would refuse and snapshot isolation does not. */
  readonly allowed: readonly Anomaly<AllowedKind>[];
  /** Dependencies over data that were found; a history with few of them proves little. */
  readonly dependencies: number;
}

/**
 * Whether a history of appends and reads of lists can be that of a database with strong snapshot isolation: each transaction
 * reads from one state, not older than its beginning, and of two that write one key side by side only one commits.
 *
 * The order in which a list took its elements shows in the longest read of it; from it follow the dependencies between
 * transactions, and what contradicts itself is a cycle of them (Kingsbury and Alvaro, Elle: Inferring Isolation Anomalies
 * from Experimental Observations; Adya, Weak Consistency, for the names). It misses what no read shows, and refuses nothing
 * that snapshot isolation could do.
 * @param history elements are unique within their key
 * @throws Error when they are not
 */
export function checkIsolation(history: readonly ListTransaction[]): IsolationResult {
  const anomalies = new AnomalyList();
  const orders = [...keyHistories(history, anomalies).values()].map((about) =>
    versionOrderOf(history, about, anomalies),
  );
  const effective = effectiveTransactions(history, orders);
  const dependencies = orders.flatMap((order) => dependenciesOf(order, effective, anomalies));
  findForbiddenCycles(history, dependencies, anomalies);
  const { examples } = findWriteSkew(history, dependencies);
  return {
    verdict: anomalies.found.length === 0 ? 'ok' : 'broken',
    anomalies: anomalies.found,
    counts: anomalies.counts,
    allowed: examples.map((cycle) => ({
      kind: 'write-skew',
      transactions: cycle.map(({ from }) => from),
      sentences: cycle.map(dependencyText),
    })),
    dependencies: dependencies.length,
  };
}

import { type Anomaly, transactionText } from './anomalies.js';
import type { IsolationResult } from './checker.js';
import type { ListTransaction } from './history.js';

/** Anomalies shown in full. */
const SHOWN = 6;

/** What is wrong with a history, for a person: who took part, and why it cannot be. */
export function explainIsolation(history: readonly ListTransaction[], result: IsolationResult): string {
  if (result.verdict === 'ok') {
    const skew = result.allowed.length === 0 ? 'no' : 'some';
    return `snapshot isolation holds (${history.length} transactions, ${result.dependencies} dependencies, ${skew} write skew, which it allows)`;
  }
  const counts = [...result.counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
  return [
    `snapshot isolation is broken: ${counts}`,
    ...result.anomalies.slice(0, SHOWN).map((anomaly) => explainAnomaly(history, anomaly)),
  ].join('\n');
}

/** One anomaly with those who took part. */
export function explainAnomaly(history: readonly ListTransaction[], anomaly: Anomaly<string>): string {
  const lines = [...new Set(anomaly.transactions)].flatMap((index) => {
    const transaction = history[index];
    return transaction === undefined ? [] : [`    ${transactionText(transaction, index)}`];
  });
  return [
    `  ${anomaly.kind}:`,
    ...lines,
    '  because',
    ...anomaly.sentences.map((sentence) => `    ${sentence}`),
  ].join('\n');
}

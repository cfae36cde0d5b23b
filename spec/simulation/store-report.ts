import type { StoreBugName } from './store-bugs.js';

export interface StoreSimulationOptions {
  /** Decides everything. */
  readonly seed: number;
  /** Virtual milliseconds of trouble, before the recovery that is checked too. */
  readonly trouble?: number;
  readonly bug?: StoreBugName | undefined;
  /** Clients with transactions work beside the others. */
  readonly txn?: boolean;
  /** Gets every event as a line. */
  readonly print?: (line: string) => void;
}

export interface StoreSimulationReport {
  readonly seed: number;
  readonly bug: StoreBugName | undefined;
  readonly txn: boolean;
  /** Equal for equal runs, and hardly ever otherwise. */
  readonly hash: string;
  /** What was broken; `undefined` when nothing was. The first line says it, others explain. */
  readonly violation: string | undefined;
  readonly figures: Readonly<Record<string, number>>;
}

/** What was broken, and the command that shows how it came about. */
export function replayStores({ seed, violation, bug, txn }: StoreSimulationReport): string {
  const planted = bug === undefined ? '' : ` --bug ${bug}`;
  const [first = ''] = (violation ?? 'nothing').split('\n');
  return `seed ${seed}: ${first} Replay: npm run -s sim -- --seed ${seed}${txn ? ' --txn' : ''}${planted}`;
}

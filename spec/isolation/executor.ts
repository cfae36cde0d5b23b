import type { Random } from '../../actors/index.js';
import { type ListTransaction, type PendingTransaction, TransactionHistory } from './history.js';
import { ListLoad, type ListStep } from './list-load.js';
import { type Faults, SnapshotStore, type StoreTransaction } from './snapshot-store.js';

export interface Execution {
  readonly random: Random;
  readonly clients: number;
  readonly transactions: number;
  /** Probability that a client never hears how its transaction ended. */
  readonly unknown: number;
  /** Probability that a client gives up before it commits. */
  readonly givesUp: number;
  readonly lists?: number;
  readonly faults?: Faults;
}

type List = readonly number[];
/** Work in steps: between two of them others may do theirs. */
type Steps = Generator<void, void, void>;

/**
 * A history under strong snapshot isolation because it was made so: clients whose steps come in any order at one store; in
 * the end one transaction reads everything. With faults it is one of a store that is wrong.
 * @returns the history, and how often a fault made a difference
 */
export function executedHistory(execution: Execution): {
  readonly history: ListTransaction[];
  readonly faulted: number;
} {
  const { random, clients, transactions, faults = {}, lists = 6 } = execution;
  const load = new ListLoad({ random, lists });
  const store = new SnapshotStore<List>(random, faults);
  const history = new TransactionHistory();
  const world = { execution, load, store };
  const running: { readonly process: string | undefined; readonly steps: Steps }[] = [];
  let begun = 0;
  const begin = (process: string): void => {
    if (begun++ >= transactions) return;
    const pending = history.begin(process);
    const background = (steps: Steps): void => void running.push({ process: undefined, steps });
    running.push({ process, steps: transact(world, load.next(), pending, background) });
  };
  for (let client = 0; client < clients; client++) begin(`client-${client}`);
  while (running.length > 0) {
    const index = Math.floor(random() * running.length);
    const task = running[index];
    if (task?.steps.next().done !== true) continue;
    running.splice(index, 1);
    if (task.process !== undefined) begin(task.process);
  }
  const everything = load.keys().map((key): ListStep => ({ kind: 'read', key }));
  const last = transact(world, everything, history.begin('reader'), () => {});
  while (last.next().done !== true);
  return { history: history.transactions(), faulted: store.faulted };
}

interface World {
  readonly execution: Execution;
  readonly load: ListLoad;
  readonly store: SnapshotStore<List>;
}

function* transact(
  world: World,
  plan: readonly ListStep[],
  pending: PendingTransaction,
  background: (steps: Steps) => void,
): Steps {
  const { execution, load, store } = world;
  const { random, unknown, givesUp } = execution;
  const transaction = store.begin();
  for (const step of plan) {
    yield;
    const keys = step.kind === 'scan' ? step.keys : [step.key];
    for (const key of keys) {
      let answer = store.read(transaction, key);
      for (; answer === 'locked'; answer = store.read(transaction, key)) yield;
      const list = answer.value ?? [];
      if (step.kind !== 'append') {
        pending.read(key, list);
        continue;
      }
      // A database with appends of its own would not tell what it appended to.
      if (random() < 0.5) pending.read(key, list);
      const element = load.element();
      pending.append(key, element);
      transaction.writes.set(key, [...list, element]);
    }
  }
  yield;
  if (transaction.writes.size > 0 && random() < givesUp) {
    pending.aborted();
    return;
  }
  if (random() < unknown) {
    pending.unknown();
    background(finish(world, transaction, undefined));
    return;
  }
  yield* finish(world, transaction, pending);
}

/** Two phases. @param pending is told how it ended; absent: nobody is */
function* finish(
  { execution, store }: World,
  transaction: StoreTransaction<List>,
  pending: PendingTransaction | undefined,
): Steps {
  const { random, givesUp } = execution;
  const keys = [...transaction.writes.keys()];
  let locked = true;
  for (const key of keys) {
    locked &&= store.prewrite(transaction, key);
    yield;
  }
  if (!locked || random() < givesUp * Math.sign(keys.length)) {
    for (const key of keys) store.rollback(transaction, key);
    pending?.aborted();
    return;
  }
  const commitTs = store.timestamp();
  // The first decides; those who meet the locks of the others wait for them.
  for (const [i, key] of keys.entries()) {
    store.commit(transaction, key, commitTs);
    if (i === 0 && random() < 0.5) {
      pending?.committed();
      pending = undefined;
    }
    yield;
  }
  pending?.committed();
}

import { type Answer, type AskingOptions, ask, type Promises } from '../linearizability/asking.js';
import type { Reads, Transaction, TransactionalDatabase } from './database.js';
import type { PendingTransaction, TransactionHistory } from './history.js';
import type { ListLoad, ListStep } from './list-load.js';

export interface TransactionSessionOptions extends AskingOptions {
  readonly database: TransactionalDatabase;
  readonly history: TransactionHistory;
}

const TRANSACTION_PROMISES: Promises = {
  nothing: ['conflict', 'unavailable', 'timeout'],
  nothingFor: ['below-safe-point'],
  anything: ['undetermined', 'closed'],
};

/** Of one snapshot, with what is needed to take and to close it. */
const MAX_SNAPSHOT_READS = 40;

/** One client, which runs one transaction after the other and writes down those on lists. */
export class TransactionSession {
  readonly #options: TransactionSessionOptions;

  constructor(options: TransactionSessionOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Runs these steps as one transaction. Each attempt at it stands in the history by itself, with elements of its own. */
  async run(steps: readonly ListStep[], load: ListLoad): Promise<Answer<void>> {
    const { history, name } = this.#options;
    let pending = history.begin(name);
    let attempts = 0;
    const answer = await this.transaction(async (transaction) => {
      if (attempts++ > 0) pending = pending.again();
      const attempt = pending;
      for (const step of steps) {
        if (step.kind === 'append') {
          const list = await readList(transaction, step.key, attempt);
          const element = load.element();
          attempt.append(step.key, element);
          transaction.put(step.key, [...list, element].join(' '));
        } else {
          await readStep(transaction, step, attempt);
        }
      }
      attempt.finished();
    });
    settle(pending, answer);
    return answer;
  }

  /** Reads all of it at one timestamp. */
  async look(steps: readonly ListStep[]): Promise<Answer<void>> {
    const pending = this.#options.history.begin(this.name);
    const answer = await this.snapshot(async (snapshot) => {
      for (const step of steps) await readStep(snapshot, step, pending);
    });
    settle(pending, answer);
    return answer;
  }

  /** A transaction that the history says nothing of. */
  transaction<T>(fn: (transaction: Transaction) => Promise<T>): Promise<Answer<T>> {
    const { database } = this.#options;
    return ask(this.#options, TRANSACTION_PROMISES, 'transaction', (timeout) =>
      database.transaction(fn, { timeout }),
    );
  }

  /** A snapshot that the history says nothing of. */
  snapshot<T>(fn: (snapshot: Reads) => Promise<T>): Promise<Answer<T>> {
    const { database, timeout } = this.#options;
    // Each of its reads may take the time of a transaction.
    const patience = { ...this.#options, timeout: timeout * MAX_SNAPSHOT_READS };
    return ask(patience, TRANSACTION_PROMISES, 'snapshot', async () => {
      const snapshot = await database.snapshot({ timeout });
      try {
        return await fn(snapshot);
      } finally {
        await snapshot.close();
      }
    });
  }
}

function settle(pending: PendingTransaction, { fate }: Answer<void>): void {
  if (fate === 'returned') pending.committed();
  else if (fate === 'failed') pending.aborted();
  else pending.unknown();
}

async function readStep(reads: Reads, step: ListStep, pending: PendingTransaction): Promise<void> {
  if (step.kind !== 'scan') {
    await readList(reads, step.key, pending);
    return;
  }
  const found = new Map<string, Uint8Array>();
  for await (const { key, value } of reads.scan({ prefix: step.prefix })) found.set(textOf(key), value);
  for (const key of new Set([...step.keys, ...found.keys()])) pending.read(key, listIn(found.get(key)));
}

async function readList(reads: Reads, key: string, pending: PendingTransaction): Promise<readonly number[]> {
  const list = listIn(await reads.get(key));
  pending.read(key, list);
  return list;
}

/** Lists are stored as their elements with spaces between. What is no list shows as elements that nobody appended. */
function listIn(value: Uint8Array | undefined): number[] {
  return value === undefined ? [] : textOf(value).split(' ').map(Number);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

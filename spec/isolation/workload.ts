import type { Clock, Random } from '../../actors/index.js';
import { Bank } from './bank.js';
import { checkIsolation, type IsolationResult } from './checker.js';
import type { TransactionalDatabase } from './database.js';
import { explainIsolation } from './explanation.js';
import { encodeTransactions, TransactionHistory } from './history.js';
import { ListLoad, type ListStep } from './list-load.js';
import { TransactionSession } from './transaction-session.js';

export interface IsolationWorkloadOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Connections to the cluster; clients take them in turns. */
  readonly databases: readonly TransactionalDatabase[];
  /** Clients that each run one transaction after the other (6). */
  readonly clients?: number;
  /** Lists in use at a time (6): few, so that clients meet. */
  readonly lists?: number;
  /** Milliseconds of a transaction (3000). */
  readonly timeout?: number;
  /** Milliseconds after that until a call counts as hanging (2000). */
  readonly grace?: number;
  /** Longest pause between two transactions of a client, in milliseconds (20). */
  readonly pause?: number;
  /** Is told of every transaction that was acknowledged. */
  readonly committed?: () => void;
  /** What all keys begin with (nothing). */
  readonly prefix?: string;
}

/** What came out of a run. */
export interface IsolationVerdict {
  /** Sentences about what is wrong; none when all is well. */
  readonly violations: readonly string[];
  /** The history of the lists, as JSON lines; empty when all is well. */
  readonly evidence: string;
  readonly isolation: IsolationResult;
}

/** Lists of one snapshot when everything is read at the end. */
const READ_BATCH = 32;
const RETRY_PAUSE_MS = 100;
/** Share of a client's steps that go to the bank. */
const BANK_SHARE = 0.4;

/**
 * Clients whose transactions meet: they append to lists and read them, in transactions and by snapshots, and transfer money
 * between accounts. On virtual and on real time alike: clock, chance and connections come from outside.
 */
export class IsolationWorkload {
  readonly history = new TransactionHistory();
  /** What no cluster may do: calls that hang, errors that are not documented, totals that are wrong. */
  readonly misbehaviour: string[] = [];
  /** Acknowledged steps at the bank. */
  banked = 0;
  readonly #options: IsolationWorkloadOptions;
  readonly #sessions: readonly TransactionSession[];
  readonly #lists: ListLoad;
  readonly #bank: Bank;
  #bankIsOpen = false;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: IsolationWorkloadOptions) {
    const { clock, random, clients = 6, databases, lists = 6, timeout = 3_000, grace = 2_000 } = options;
    const { prefix = '' } = options;
    const misbehaved = (sentence: string): void => void this.misbehaviour.push(sentence);
    this.#options = options;
    this.#lists = new ListLoad({ random, lists, prefix: `${prefix}list/` });
    this.#bank = new Bank({ random, misbehaved, prefix: `${prefix}bank/` });
    this.#sessions = Array.from({ length: clients }, (_, i) => {
      const database = databases[i % databases.length];
      if (database === undefined) throw new Error('a workload needs a database');
      const name = `client-${i + 1}`;
      return new TransactionSession({
        name,
        database,
        history: this.history,
        clock,
        timeout,
        grace,
        misbehaved,
      });
    });
  }

  start(): void {
    this.#running = Promise.all(this.#sessions.map((session) => this.#run(session))).then(() => undefined);
  }

  /** Resolves when what is under way has ended, or counts as hanging. */
  stop(): Promise<void> {
    this.#stopped = true;
    return this.#running;
  }

  /**
   * Reads every list and counts the money, after the cluster is whole again and the workload has stopped: so that what is lost
   * shows, though nobody looked at it.
   * @param limit milliseconds that all of it may take
   */
  async readEverything(limit: number): Promise<void> {
    const deadline = this.#options.clock.now() + limit;
    const [session] = this.#sessions;
    if (session === undefined) return;
    const steps = this.#lists.keys().map((key): ListStep => ({ kind: 'read', key }));
    for (let from = 0; from < steps.length; from += READ_BATCH) {
      await this.#until(deadline, () => session.look(steps.slice(from, from + READ_BATCH)));
    }
    if (!this.#bankIsOpen) return;
    await this.#until(deadline, () => this.#bank.act(session, { kind: 'audit', in: 'snapshot', by: 'get' }));
    await this.#until(deadline, () =>
      this.#bank.act(session, { kind: 'audit', in: 'transaction', by: 'scan' }),
    );
  }

  /** Whether all that the clients were told can be under strong snapshot isolation. */
  verdict(): IsolationVerdict {
    const transactions = this.history.transactions();
    const isolation = checkIsolation(transactions);
    const violations = [...this.misbehaviour];
    if (isolation.verdict === 'broken') violations.push(explainIsolation(transactions, isolation));
    const evidence = isolation.verdict === 'broken' ? encodeTransactions(transactions) : '';
    return { violations, evidence, isolation };
  }

  async #run(session: TransactionSession): Promise<void> {
    const { random, pause = 20, committed } = this.#options;
    while (!this.#stopped) {
      if ((await this.#act(session)) === 'returned') committed?.();
      await this.#sleep(random() * pause);
    }
  }

  async #act(session: TransactionSession): Promise<string> {
    const { random } = this.#options;
    if (random() >= BANK_SHARE) {
      const steps = this.#lists.next();
      const reads = steps.every(({ kind }) => kind !== 'append') && random() < 0.5;
      return (await (reads ? session.look(steps) : session.run(steps, this.#lists))).fate;
    }
    if (!this.#bankIsOpen) {
      const { fate } = await this.#bank.open(session);
      this.#bankIsOpen ||= fate === 'returned';
      return fate;
    }
    const { fate } = await this.#bank.act(session, this.#bank.next());
    if (fate === 'returned') this.banked++;
    return fate;
  }

  async #until(deadline: number, call: () => Promise<{ readonly fate: string }>): Promise<void> {
    while ((await call()).fate !== 'returned') {
      if (this.#options.clock.now() >= deadline) {
        this.misbehaviour.push('not everything could be read in time when all was whole again');
        return;
      }
      await this.#sleep(RETRY_PAUSE_MS);
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimeout(resolve, ms);
    });
  }
}

/**
 * Lets the clients work for some time, then reads everything, and judges.
 * @param options with `duration` and `limit` in milliseconds: of the load, and of the reads at the end
 */
export async function runWorkload(
  options: IsolationWorkloadOptions & { readonly duration: number; readonly limit: number },
): Promise<{ readonly workload: IsolationWorkload; readonly verdict: IsolationVerdict }> {
  const { clock, duration, limit } = options;
  const workload = new IsolationWorkload(options);
  workload.start();
  await new Promise<void>((resolve) => {
    clock.setTimeout(resolve, duration);
  });
  await workload.stop();
  await workload.readEverything(limit);
  return { workload, verdict: workload.verdict() };
}

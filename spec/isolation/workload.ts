import type { Clock, Random } from '../../actors/index.js';
import type { Answer } from '../linearizability/asking.js';
import { Bank } from './bank.js';
import { checkIsolation, type IsolationResult } from './checker.js';
import type { TransactionalDatabase } from './database.js';
import { explainIsolation } from './explanation.js';
import { encodeTransactions, TransactionHistory } from './history.js';
import { ListLoad, type ListStep } from './list-load.js';
import { TransactionSession } from './transaction-session.js';

export interface IsolationWorkloadOptions {
  readonly random: Random;
  /** Lists in use at a time (6): few, so that clients meet. */
  readonly lists?: number;
  /** What all keys begin with (nothing). */
  readonly prefix?: string;
}

export interface WorkloadClientOptions {
  readonly name: string;
  readonly database: TransactionalDatabase;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds of a transaction (3000). */
  readonly timeout?: number;
  /** Milliseconds after that until a call counts as hanging (2000). */
  readonly grace?: number;
  /** Longest pause between two transactions, in milliseconds (20). */
  readonly pause?: number;
  /** Milliseconds for which nobody asks for anything. */
  readonly lull?: () => number;
  /** Is told how each transaction and each look by a snapshot ended. */
  readonly ended?: (fate: Answer<unknown>['fate']) => void;
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
 * What clients do whose transactions meet: they append to lists and read them, in transactions and by snapshots, and transfer
 * money between accounts. On virtual and on real time alike: clocks, chance and connections come from outside. Clients
 * may join at any time; of one that is killed, what was under way counts as unknown.
 */
export class IsolationWorkload {
  readonly history = new TransactionHistory();
  /** What no cluster may do: calls that hang, errors that are not documented, totals that are wrong. */
  readonly misbehaviour: string[] = [];
  readonly lists: ListLoad;
  readonly bank: Bank;
  bankIsOpen = false;
  /** Acknowledged steps at the bank. */
  banked = 0;

  constructor({ random, lists = 6, prefix = '' }: IsolationWorkloadOptions) {
    const misbehaved = (sentence: string): void => void this.misbehaviour.push(sentence);
    this.lists = new ListLoad({ random, lists, prefix: `${prefix}list/` });
    this.bank = new Bank({ random, misbehaved, prefix: `${prefix}bank/` });
  }

  /** A client, which works from now on. */
  join(options: WorkloadClientOptions): WorkloadClient {
    return new WorkloadClient(this, options);
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
}

/** A client that runs one transaction after the other. */
export class WorkloadClient {
  readonly #workload: IsolationWorkload;
  readonly #options: WorkloadClientOptions;
  readonly #session: TransactionSession;
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(workload: IsolationWorkload, options: WorkloadClientOptions) {
    const { name, database, clock, timeout = 3_000, grace = 2_000 } = options;
    const { history } = workload;
    const misbehaved = (sentence: string): void => void workload.misbehaviour.push(sentence);
    this.#workload = workload;
    this.#options = options;
    this.#session = new TransactionSession({ name, database, history, clock, timeout, grace, misbehaved });
    this.#running = this.#run();
  }

  /** Resolves when what is under way has ended, or counts as hanging. */
  stop(): Promise<void> {
    this.#stopped = true;
    return this.#running;
  }

  /** An append that is repeated until it was acknowledged; after `stop`. */
  async progress(): Promise<void> {
    const { lists } = this.#workload;
    await this.#until(Number.POSITIVE_INFINITY, () => this.#session.run([lists.append()], lists));
  }

  /**
   * Reads every list and counts the money, after the cluster is whole again and all have stopped: so that what is lost shows,
   * though nobody looked at it.
   * @param limit milliseconds that all of it may take
   */
  async readEverything(limit: number): Promise<void> {
    const { lists, bank, bankIsOpen } = this.#workload;
    const session = this.#session;
    const deadline = this.#options.clock.now() + limit;
    const steps = lists.keys().map((key): ListStep => ({ kind: 'read', key }));
    for (let from = 0; from < steps.length; from += READ_BATCH) {
      await this.#until(deadline, () => session.look(steps.slice(from, from + READ_BATCH)));
    }
    if (!bankIsOpen) return;
    await this.#until(deadline, () => bank.act(session, { kind: 'audit', in: 'snapshot', by: 'get' }));
    await this.#until(deadline, () => bank.act(session, { kind: 'audit', in: 'transaction', by: 'scan' }));
  }

  async #run(): Promise<void> {
    const { random, pause = 20, lull, ended } = this.#options;
    while (!this.#stopped) {
      const { fate } = await this.#act();
      ended?.(fate);
      await this.#sleep(random() * pause);
      for (let rest = lull?.() ?? 0; rest > 0 && !this.#stopped; rest = lull?.() ?? 0)
        await this.#sleep(rest);
    }
  }

  async #act(): Promise<Answer<unknown>> {
    const { random } = this.#options;
    const { lists, bank, bankIsOpen } = this.#workload;
    if (random() >= BANK_SHARE) {
      const steps = lists.next();
      const reads = steps.every(({ kind }) => kind !== 'append') && random() < 0.5;
      return reads ? this.#session.look(steps) : this.#session.run(steps, lists);
    }
    if (!bankIsOpen) {
      const answer = await bank.open(this.#session);
      this.#workload.bankIsOpen ||= answer.fate === 'returned';
      return answer;
    }
    const answer = await bank.act(this.#session, bank.next());
    if (answer.fate === 'returned') this.#workload.banked++;
    return answer;
  }

  async #until(deadline: number, call: () => Promise<Answer<unknown>>): Promise<void> {
    while ((await call()).fate !== 'returned') {
      if (this.#options.clock.now() >= deadline) {
        this.#workload.misbehaviour.push('not everything could be read in time when all was whole again');
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

export interface RunOptions extends IsolationWorkloadOptions, Pick<WorkloadClientOptions, 'clock' | 'pause'> {
  /** Milliseconds of the load. */
  readonly duration: number;
  /** Milliseconds of the reads at the end, at most. */
  readonly limit: number;
  /** Clients that each run one transaction after the other (6). */
  readonly clients?: number;
}

/** Lets clients work with a database for some time, then reads everything, and judges. */
export async function runWorkload(
  database: TransactionalDatabase,
  options: RunOptions,
): Promise<{ readonly workload: IsolationWorkload; readonly verdict: IsolationVerdict }> {
  const { clock, random, duration, limit, clients = 6, pause = 20 } = options;
  const workload = new IsolationWorkload(options);
  const all = Array.from({ length: clients }, (_, i) =>
    workload.join({ name: `client-${i + 1}`, database, clock, random, pause }),
  );
  await new Promise<void>((resolve) => {
    clock.setTimeout(resolve, duration);
  });
  await Promise.all(all.map((client) => client.stop()));
  await all[0]?.readEverything(limit);
  return { workload, verdict: workload.verdict() };
}

import type { Random } from '../../actors/index.js';
import type { Answer } from '../linearizability/asking.js';
import type { Reads, Transaction } from './database.js';
import type { TransactionSession } from './transaction-session.js';

/** What is to be done at the bank next. */
export type BankStep =
  | { readonly kind: 'transfer'; readonly from: number; readonly to: number; readonly amount: number }
  /** Count the money: in a transaction or by a snapshot, account by account or by a scan. */
  | { readonly kind: 'audit'; readonly in: 'transaction' | 'snapshot'; readonly by: 'get' | 'scan' };

export interface BankOptions {
  readonly random: Random;
  readonly accounts?: number;
  /** What each account has at the beginning. */
  readonly balance?: number;
  /** What the keys begin with (`bank/`). */
  readonly prefix?: string;
  /** Is told, in a sentence, when money has come from nowhere or is gone. */
  readonly misbehaved: (sentence: string) => void;
}

/** Share of steps that count the money. */
const AUDITS = 0.4;

/**
 * Accounts between which money is transferred: whatever happens, the total stays as it was and nobody has less than
 * nothing. An empty account has no key.
 */
export class Bank {
  readonly #options: Required<BankOptions>;
  readonly #keys: readonly string[];

  constructor(options: BankOptions) {
    this.#options = { accounts: 6, balance: 10, prefix: 'bank/', ...options };
    const { accounts, prefix } = this.#options;
    this.#keys = Array.from({ length: accounts }, (_, i) => `${prefix}${i}`);
  }

  get total(): number {
    return this.#options.accounts * this.#options.balance;
  }

  next(): BankStep {
    const { random, accounts, balance } = this.#options;
    const [dice, other] = [random(), random()];
    if (dice < AUDITS) {
      return {
        kind: 'audit',
        in: other < 0.3 ? 'transaction' : 'snapshot',
        by: random() < 0.5 ? 'get' : 'scan',
      };
    }
    const from = Math.floor(other * accounts);
    const to = (from + 1 + Math.floor(random() * (accounts - 1))) % accounts;
    return { kind: 'transfer', from, to, amount: 1 + Math.floor(random() * balance) };
  }

  /** Puts the money into the accounts, unless it is there: to be repeated until it returns. */
  open(session: TransactionSession): Promise<Answer<void>> {
    return session.transaction(async (transaction) => {
      const balances = await this.#balances(transaction, 'get');
      if (balances.some((balance) => balance !== 0)) return;
      for (const key of this.#keys) transaction.put(key, `${this.#options.balance}`);
    });
  }

  /** Does one step, and looks whether the total is right where it is counted. */
  async act(session: TransactionSession, step: BankStep): Promise<Answer<unknown>> {
    if (step.kind === 'transfer')
      return session.transaction((transaction) => this.#transfer(transaction, step));
    const count = (reads: Reads): Promise<number[]> => this.#balances(reads, step.by);
    const answer = await (step.in === 'snapshot' ? session.snapshot(count) : session.transaction(count));
    if (answer.fate === 'returned') this.#check(session.name, step, answer.value);
    return answer;
  }

  async #transfer(
    transaction: Transaction,
    { from, to, amount }: BankStep & { kind: 'transfer' },
  ): Promise<void> {
    const [source, target] = [this.#keys[from], this.#keys[to]];
    if (source === undefined || target === undefined) throw new Error(`there is no account ${from} or ${to}`);
    const [left, right] = [await balanceAt(transaction, source), await balanceAt(transaction, target)];
    if (left < amount) return;
    if (left === amount) transaction.delete(source);
    else transaction.put(source, `${left - amount}`);
    transaction.put(target, `${right + amount}`);
  }

  async #balances(reads: Reads, by: 'get' | 'scan'): Promise<number[]> {
    const balances = new Map<string, number>();
    if (by === 'get') {
      for (const key of this.#keys) balances.set(key, await balanceAt(reads, key));
    } else {
      for await (const { key, value } of reads.scan({ prefix: this.#options.prefix })) {
        balances.set(Buffer.from(key).toString(), balanceIn(value));
      }
    }
    return this.#keys.map((key) => balances.get(key) ?? 0);
  }

  #check(name: string, step: BankStep & { kind: 'audit' }, balances: readonly number[]): void {
    const total = balances.reduce((sum, balance) => sum + balance, 0);
    if (total === this.total && balances.every((balance) => balance >= 0)) return;
    this.#options.misbehaved(
      `${name} counted the money in a ${step.in} by ${step.by}: ${balances.join(' ')} make ${total}, and it is ${this.total}`,
    );
  }
}

async function balanceAt(reads: Reads, key: string): Promise<number> {
  return balanceIn(await reads.get(key));
}

function balanceIn(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : Number(Buffer.from(value).toString());
}

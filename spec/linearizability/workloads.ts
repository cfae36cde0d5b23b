import type { Clock, Random } from '../../actors/index.js';
import { checkLinearizable } from './checker.js';
import { explain } from './explanation.js';
import { encodeHistory, History } from './history.js';
import { type KeyInput, type KeyOutput, keyModel } from './models.js';
import { type RawOperations, Session } from './session.js';

export interface WorkloadOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Connections to the cluster, a `Database` or what stands in its place; clients take them in turns. */
  readonly databases: readonly { readonly raw: RawOperations }[];
  /** Clients that each do one thing after the other (6). */
  readonly clients?: number;
  /** Keys of each kind in use at a time (3): few, so that clients meet. */
  readonly keys?: number;
  /** Milliseconds of a call (3000). */
  readonly timeout?: number;
  /** Milliseconds after that until a call counts as hanging (2000). */
  readonly grace?: number;
  /** Longest pause between two operations of a client, in milliseconds (20). */
  readonly pause?: number;
  /** Is told of every acknowledged write, and when on the clock it began. */
  readonly written?: (calledAt: number) => void;
}

/** What came out of a run. */
export interface WorkloadVerdict {
  /** Sentences about what is wrong; none when all is well. */
  readonly violations: readonly string[];
  /** The histories of the keys that are wrong, as JSON lines; empty when all is well. */
  readonly evidence: string;
  readonly operations: number;
}

/** Operations on one key before another takes its place: so that no object's history, and no list, grows without bound. */
const OPERATIONS_PER_KEY = 150;
const BATCH_KEYS = 4;
/** Keys of one call when everything is read at the end. */
const READ_BATCH = 128;
const RETRY_PAUSE_MS = 100;
const KINDS = ['register', 'swap', 'list', 'batch', 'insert'] as const;
type Kind = (typeof KINDS)[number];

/**
 * Clients that work on few keys at once, all kinds mixed: registers (put, get, delete), compare-and-swap, lists that are
 * appended to, batches with scans, and inserts of keys that are never written again.
 *
 * Every value is written once. On virtual and on real time alike: clock, chance and connections come from outside.
 */
export class Workload {
  readonly history: History<KeyInput, KeyOutput>;
  /** What no cluster may do: calls that hang, errors that are not documented. */
  readonly misbehaviour: string[] = [];
  readonly #options: WorkloadOptions;
  readonly #sessions: readonly Session[];
  readonly #uses = new Map<string, number>();
  readonly #keys = new Set<string>();
  /** Values that were acknowledged and must be there for ever: of inserts, and elements of lists. */
  readonly #inserted = new Map<string, string>();
  readonly #appended = new Map<string, string[]>();
  /** Keys that have lost something. */
  readonly #lossy = new Set<string>();
  #values = 0;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: WorkloadOptions) {
    const { clock, clients = 6, databases, timeout = 3000, grace = 2000, written } = options;
    this.#options = options;
    this.history = new History(clock);
    this.#sessions = Array.from({ length: clients }, (_, i) => {
      const database = databases[i % databases.length];
      if (database === undefined) throw new Error('a workload needs a database');
      return new Session({
        name: `client-${i + 1}`,
        raw: database.raw,
        history: this.history,
        clock,
        timeout,
        grace,
        misbehaved: (sentence) => this.misbehaviour.push(sentence),
        ...(written === undefined ? {} : { written }),
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
   * Reads every key that was ever used, after the cluster is whole again and the workload has stopped: nothing is lost on
   * a key that nobody looks at.
   * @param limit milliseconds that all of it may take
   */
  async readEverything(limit: number): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.now() + limit;
    const [session] = this.#sessions;
    const keys = [...this.#keys, ...this.#inserted.keys()];
    for (let from = 0; session !== undefined && from < keys.length; from += READ_BATCH) {
      const batch = keys.slice(from, from + READ_BATCH);
      let answer = await session.batchGet(batch);
      while (answer.fate !== 'returned' && clock.now() < deadline) {
        await this.#sleep(RETRY_PAUSE_MS);
        answer = await session.batchGet(batch);
      }
      if (answer.fate !== 'returned') {
        this.misbehaviour.push(`keys could not be read within ${limit} ms when all was whole again`);
        return;
      }
      for (const [i, key] of batch.entries()) this.#checkKept(key, answer.value[i]);
    }
  }

  /** Whether all that the clients were told has an explanation. @param expired when to give up */
  verdict(expired: () => boolean = () => false): WorkloadVerdict {
    const operations = this.history.operations();
    const violations = [...this.misbehaviour];
    const result = checkLinearizable(keyModel, operations, { expired });
    const wrong = new Set(this.#lossy);
    if (result.verdict !== 'ok') {
      violations.push(explain(keyModel, result));
      wrong.add(result.partition);
    }
    const evidence = operations.filter(({ input }) => wrong.has(input.key));
    return { violations, evidence: encodeHistory(evidence), operations: operations.length };
  }

  #checkKept(key: string, value: string | undefined): void {
    const inserted = this.#inserted.get(key);
    const lost = inserted === undefined || value === inserted ? [] : [inserted];
    const elements = new Set(value?.split(' '));
    lost.push(...(this.#appended.get(key) ?? []).filter((element) => !elements.has(element)));
    if (lost.length === 0) return;
    this.#lossy.add(key);
    this.misbehaviour.push(
      `${key} has lost what was acknowledged, ${lost.join(' ')}: it has ${value ?? 'nothing'}`,
    );
  }

  async #run(session: Session): Promise<void> {
    const { random, pause = 20 } = this.#options;
    while (!this.#stopped) {
      await this.#act(session, KINDS[Math.floor(random() * KINDS.length)] ?? 'register');
      await this.#sleep(random() * pause);
    }
  }

  async #act(session: Session, kind: Kind): Promise<void> {
    const dice = this.#options.random();
    switch (kind) {
      case 'register': {
        const key = this.#key('r');
        if (dice < 0.5) await session.get(key);
        else if (dice < 0.95) await session.put(key, this.#value());
        else await session.delete(key);
        return;
      }
      case 'swap': {
        const key = this.#key('s');
        const read = await session.get(key);
        if (read.fate !== 'returned') return;
        // Sometimes it has been mistaken, and sometimes it swaps on what the first swap left.
        const expected = dice < 0.1 ? this.#value() : read.value;
        const value = this.#value();
        const first = await session.compareAndSwap(key, expected, value);
        if (dice > 0.7 && first.fate === 'returned') await session.compareAndSwap(key, value, this.#value());
        return;
      }
      case 'list': {
        const key = this.#key('l');
        const element = this.#value();
        if (dice < 0.3) await session.get(key);
        else if ((await session.append(key, element)).fate === 'returned') {
          const elements = this.#appended.get(key);
          if (elements === undefined) this.#appended.set(key, [element]);
          else elements.push(element);
        }
        return;
      }
      case 'batch': {
        const prefix = `${this.#key('b')}/`;
        const keys = Array.from({ length: BATCH_KEYS }, (_, i) => `${prefix}${i}`);
        for (const key of keys) this.#keys.add(key);
        if (dice < 0.3) await session.scan(prefix, keys);
        else if (dice < 0.6) await session.batchGet(keys);
        else await session.batchPut(keys.map((key) => [key, this.#value()]));
        return;
      }
      case 'insert': {
        const value = this.#value();
        const key = `i/${value}`;
        if ((await session.put(key, value)).fate === 'returned') this.#inserted.set(key, value);
      }
    }
  }

  /** One of the keys in use. */
  #key(kind: string): string {
    const { random, keys = 3 } = this.#options;
    const slot = `${kind}${Math.floor(random() * keys)}`;
    const uses = this.#uses.get(slot) ?? 0;
    this.#uses.set(slot, uses + 1);
    const key = `${slot}.${Math.floor(uses / OPERATIONS_PER_KEY)}`;
    if (kind !== 'b') this.#keys.add(key);
    return key;
  }

  #value(): string {
    return `v${++this.#values}`;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.clock.setTimeout(resolve, ms);
    });
  }
}

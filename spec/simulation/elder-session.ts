import type { Clock, Random } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { TroupeError, type TroupeErrorCode } from '../../cluster/errors.js';
import type { Reads } from '../isolation/database.js';
import type { SafePointsSeen } from './gc-taste.js';
import type { KeyPairs } from './key-pairs.js';
import { pick } from './store-load.js';
import type { Trace } from './trace.js';
import type { VersionReference } from './version-reference.js';

/** What all elders of a simulation share. */
export interface ElderWorld {
  readonly reference: VersionReference;
  readonly pairs: KeyPairs;
  readonly safePoints: SafePointsSeen;
  /** Milliseconds for which old versions are kept. */
  readonly lifeTime: number;
  readonly trace: Trace;
  readonly broken: (sentence: string) => void;
  /** Milliseconds for which nobody asks for anything. */
  readonly lull: () => number;
  readonly counts: ElderCounts;
}

export interface ElderCounts {
  /** Readings at a timestamp of the past: of a snapshot that is held, or taken for it. */
  elderReads: number;
  /** Calls that were told that their versions are collected. */
  elderCollected: number;
  elderRefused: number;
  /** Transactions that wrote pairs, and those committed. */
  pairsBegun: number;
  pairsCommitted: number;
}

export interface ElderParts extends ElderWorld {
  readonly name: string;
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
}

/** How often an elder does what. */
const WEIGHTS = { hold: 4, past: 3, linger: 2, pair: 1, touch: 2 } as const;
/** Of what it reads: everything is expensive, and ends what dead clients have left. */
const RANGES = { 'bank/': 4, 'list/': 3, 'a/': 2, '': 0.6 } as const;
const TIMEOUT_MS = 3_000;
/** A snapshot held for so long is not lost in the trouble of one seed, whoever is cut off from whom. */
const LONG_TTL_MS = 60_000;
/** Share of snapshots that are held for so long. */
const LONG_HOLDS = 0.2;
const LONGEST_HOLD_MS = 8_000;
const LONGEST_IN_PEACE_MS = 1_500;
/** Pairs that are written over at once. */
const TOUCHED = 0.5;
const PAUSE_MS = 400;
const EXPECTED: readonly TroupeErrorCode[] = ['unavailable', 'timeout'];

/**
 * A client that lives in the past: it holds snapshots for longer than old versions are kept, takes some at earlier timestamps,
 * and has transactions that are older than all of that. What it reads must be what was there, or be refused.
 */
export class ElderSession {
  readonly #parts: ElderParts;
  readonly #running: Promise<void>;
  /** Acts until it stops. */
  #left = Number.POSITIVE_INFINITY;

  constructor(parts: ElderParts) {
    this.#parts = parts;
    this.#running = this.#run();
  }

  /** Resolves when it has done so much more, and nothing is under way any more. */
  stop(acts: number): Promise<void> {
    this.#left = acts;
    return this.#running;
  }

  /** Milliseconds that something may go on: in peace all goes fast. */
  get #patience(): number {
    const most = this.#left === Number.POSITIVE_INFINITY ? LONGEST_HOLD_MS : LONGEST_IN_PEACE_MS;
    return Math.min(most, 3 * this.#parts.lifeTime);
  }

  /**
   * Reads everything, and at every timestamp that may be read and was read before: so that what is lost shows, though nobody looked at it.
   * @returns whether that was possible
   */
  async readEverything(): Promise<boolean> {
    const { pairs, reference, safePoints } = this.#parts;
    let isWhole = false;
    const known = pairs.committed();
    await this.#holding({ ttl: TIMEOUT_MS }, async (view, at) => {
      await this.#read(view, at, '', known);
      isWhole = true;
    });
    for (const at of reference.timestamps) {
      if (at <= safePoints.transaction) continue;
      for (const prefix of reference.at(at).keys())
        await this.#holding({ ttl: TIMEOUT_MS, at }, (view) => this.#read(view, at, prefix));
    }
    return isWhole;
  }

  async #run(): Promise<void> {
    const { lull, random } = this.#parts;
    for (; this.#left > 0; this.#left--) {
      await this.#sleep(PAUSE_MS * random());
      for (let rest = lull(); rest > 0; rest = lull()) await this.#sleep(rest);
      await this.#act(pick(WEIGHTS, random));
    }
  }

  async #act(act: keyof typeof WEIGHTS): Promise<void> {
    const { random } = this.#parts;
    switch (act) {
      case 'hold':
        return this.#hold();
      case 'past':
        return this.#past();
      case 'linger':
        return this.#write(this.#patience * random());
      case 'pair':
        return this.#write(0);
      case 'touch':
        return void (await this.touch(TOUCHED));
    }
  }

  /** Reads now, and again while time passes. */
  async #hold(): Promise<void> {
    const { clock, pairs, random } = this.#parts;
    const ttl = random() < LONG_HOLDS ? LONG_TTL_MS : 1_000 + 3_000 * random();
    const known = pairs.committed();
    await this.#holding({ ttl }, async (view, at) => {
      const until = clock.now() + this.#patience * random();
      do {
        await this.#read(view, at, pick(RANGES, random), known);
        if (random() < 0.5) await this.#readKey(view, at);
        await this.#sleep(0.3 * this.#patience * random());
      } while (clock.now() < until);
    });
  }

  /** Reads again what was read at a timestamp before. */
  async #past(): Promise<void> {
    const { random, reference } = this.#parts;
    const { timestamps } = reference;
    // Many of the oldest are collected, and are to be refused.
    const at = timestamps[Math.floor(timestamps.length * Math.sqrt(random()))];
    if (at === undefined) return;
    await this.#holding({ ttl: 1_000 + 3_000 * random(), at }, async (view) => {
      for (const prefix of [...reference.at(at).keys()]) await this.#read(view, at, prefix);
    });
  }

  /** A transaction of a pair, between whose first reads and whose commit time passes; nobody holds for it what it reads. */
  async #write(age: number): Promise<void> {
    const { counts, database, pairs, random } = this.#parts;
    const pair = pairs.begin();
    counts.pairsBegun++;
    let at = 0n;
    const failed = await this.#asking(
      () => at,
      false,
      async () => {
        const transaction = await database.begin({
          timeout: age + 4_000,
          onePc: random() < 0.5,
          asyncCommit: random() < 0.5,
        });
        at = transaction.startTimestamp;
        const prefix = pick(RANGES, random);
        await this.#read(transaction, at, prefix);
        if (age > 0) {
          await this.#sleep(age);
          await this.#read(transaction, at, prefix);
        }
        for (const key of pairs.keysOf(pair)) transaction.put(key, `by ${at}`);
        await transaction.commit();
      },
      ['conflict', 'undetermined'],
    );
    if (failed === undefined) {
      counts.pairsCommitted++;
      pairs.ended(pair, 'committed');
    } else if (failed.code !== 'undetermined') pairs.ended(pair, 'failed');
  }

  /**
   * Writes over the primaries of pairs, so that what said that they are committed becomes an old version.
   * @param share of all pairs
   * @returns the timestamp at which they are old; `undefined` when it did not succeed
   */
  async touch(share: number): Promise<bigint | undefined> {
    const { database, pairs, random, safePoints } = this.#parts;
    const keys = pairs.primaries().filter(() => random() < share);
    let at: bigint | undefined;
    const failed = await this.#asking(
      () => safePoints.transaction,
      false,
      async () => {
        const transaction = await database.begin({ timeout: TIMEOUT_MS });
        const values = await transaction.batchGet(keys);
        for (const [i, key] of keys.entries())
          if (values[i] !== undefined) transaction.put(key, `over ${transaction.startTimestamp}`);
        at = (await transaction.commit()) ?? transaction.startTimestamp;
      },
      ['conflict', 'undetermined'],
    );
    return failed === undefined ? at : undefined;
  }

  async #holding(
    { ttl, at }: { readonly ttl: number; readonly at?: bigint },
    work: (view: Reads, at: bigint) => Promise<void>,
  ): Promise<void> {
    const { database } = this.#parts;
    let timestamp = at ?? 0n;
    let isHeld = false;
    await this.#asking(
      () => timestamp,
      () => isHeld && ttl >= LONG_TTL_MS,
      async () => {
        const view = await database.snapshot({
          timeout: TIMEOUT_MS,
          ttl,
          ...(at === undefined ? {} : { at }),
        });
        timestamp = view.timestamp;
        isHeld = true;
        try {
          await work(view, timestamp);
        } finally {
          await view.close();
        }
      },
    );
  }

  async #read(reads: Reads, at: bigint, prefix: string, known: readonly number[] = []): Promise<void> {
    const { counts, pairs, reference } = this.#parts;
    const state = new Map<string, string>();
    for await (const { key, value } of reads.scan({ prefix })) state.set(textOf(key), textOf(value));
    counts.elderReads++;
    this.#tell(reference.read(at, prefix, state));
    if (prefix === '') this.#tell(pairs.check(state, known));
  }

  async #readKey(reads: Reads, at: bigint): Promise<void> {
    const { random, reference } = this.#parts;
    const keys = [...reference.at(at).values()].flatMap((state) => [...state.keys()]);
    const key = keys[Math.floor(keys.length * random())];
    if (key !== undefined) this.#tell(reference.readKey(at, key, textOf(await reads.get(key))));
  }

  /** @returns the error that it ended with, where that is one that may be */
  async #asking(
    at: () => bigint,
    isHeld: (() => boolean) | false,
    ask: () => Promise<unknown>,
    also: readonly TroupeErrorCode[] = [],
  ): Promise<TroupeError | undefined> {
    const { counts, name, safePoints, trace } = this.#parts;
    try {
      await ask();
      return undefined;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      const { code, reason = '' } = error;
      trace.event(`${name}: ${code} ${reason}`);
      counts.elderRefused++;
      if (reason === 'below-safe-point') {
        counts.elderCollected++;
        if (at() > safePoints.transaction)
          this.#tell(
            `${at()} is not below the safe point ${safePoints.transaction}, and was refused: ${error.message}`,
          );
        if (isHeld !== false && isHeld()) this.#tell(`what a snapshot holds was collected: ${error.message}`);
      } else if (![...EXPECTED, ...also].includes(code))
        this.#tell(`it ended with ${String(error)} (${code})`);
      return error;
    }
  }

  #tell(wrong: string | undefined): void {
    const { broken, name } = this.#parts;
    if (wrong !== undefined) broken(`${name}: ${wrong}`);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.clock.setTimeout(resolve, ms);
    });
  }
}

function textOf(bytes: Uint8Array): string;
function textOf(bytes: Uint8Array | undefined): string | undefined;
function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes).toString();
}

import { nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import { kvrpcpb } from '../../proto/index.js';
import { composeTimestamp, physicalOf } from '../../timestamp.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import type { BackgroundTasks } from './background.js';
import { type LockWait, lockedError } from './key-errors.js';
import { type Timestamps, takeTimestamp } from './oracle.js';
import type { RegionBatches } from './region-batches.js';
import { secondariesOf } from './secondaries.js';
import type { TxnRequests } from './txn-requests.js';

export interface LockResolverOptions {
  readonly requests: TxnRequests;
  readonly batches: RegionBatches;
  readonly timestamps: Timestamps;
  readonly background: BackgroundTasks;
  readonly waiting: WaitingParts;
}

/** The transaction of a lock, as its primary tells. */
export type Fate =
  | { readonly state: 'committed'; readonly commitTs: bigint }
  | { readonly state: 'rolledBack' }
  /** `pushed`: it will commit above the timestamp of the read that asked. */
  | ({ readonly state: 'alive'; readonly pushed: boolean } & Life);

type Ended = Exclude<Fate, { readonly state: 'alive' }>;
type Life = Required<Pick<LockWait, 'ageMs' | 'leftMs'>>;

/** Whose locks a read goes past, and whose it takes for committed. */
export interface LockVerdicts {
  readonly resolved: Set<bigint>;
  readonly committed: Set<bigint>;
}

/** Transactions remembered: ended ones, and as many that were seen alive. */
const MAX_FATES = 2_048;
/** Transactions in the verdicts of one snapshot: they travel with each of its requests. */
const MAX_VERDICTS = 256;
/** How long a check or a clean-up goes on, in milliseconds, whoever waits for it. */
const RESOLVE_MS = 5_000;
/** A lock that has outlived every time. */
const AFTER_ALL = 2n ** 64n - 1n;

/**
 * What becomes of locks that somebody meets (Percolator, section 2.2; TiKV's `CheckTxnStatus` and `ResolveLock`).
 *
 * The primary decides. A lock whose transaction has ended is committed or removed; one whose client may be alive is left
 * alone until its time is over, unless a read may go past it. Who meets the locks of one transaction at the same time shares
 * one check, and what has ended is remembered.
 *
 * The locks that were met are resolved, and no others: client-go passes over the whole region of a large transaction's lock.
 * Where many meet the locks of one transaction, that is the same work once for each of them, on the same keys.
 */
export class LockResolver {
  readonly #options: LockResolverOptions;
  readonly #ended = new Map<bigint, Ended>();
  readonly #checks = new Map<string, Promise<Fate>>();
  /** Times to live of transactions that were last seen alive, in milliseconds from their start. */
  readonly #ttls = new Map<bigint, number>();
  /** The oracle's milliseconds, when they were asked for, less the client's. */
  #oracleAhead: number | undefined;
  /** Locks that are being resolved in the background: as many as its tasks have. */
  readonly #cleaning = new Set<string>();

  constructor(options: LockResolverOptions) {
    this.#options = options;
  }

  /**
   * For a read at `readTs` that met `locks`.
   * @returns the lock that stays in its way for longest; `undefined` when it may read on with the verdicts
   */
  async pass(
    locks: readonly kvrpcpb.LockInfo[],
    readTs: bigint,
    verdicts: LockVerdicts,
    deadline: Deadline,
  ): Promise<LockWait | undefined> {
    let wait: LockWait | undefined;
    for (const same of byTransaction(locks)) {
      const [lock] = same;
      const fate = await this.#fate(lock, readTs, deadline);
      if (fate.state === 'alive') {
        if (fate.pushed || lock.minCommitTs > readTs) note(verdicts.resolved, lock.lockVersion);
        else wait = longer(wait, lock, fate);
        continue;
      }
      const below = fate.state === 'committed' && fate.commitTs <= readTs;
      note(below ? verdicts.committed : verdicts.resolved, lock.lockVersion);
      await this.#cleanLater(same, fate);
    }
    return wait;
  }

  /**
   * For a write that met `locks`: removes those whose transactions have ended.
   * @returns of the others the one that stays for longest; `undefined` when there are none
   */
  async clear(locks: readonly kvrpcpb.LockInfo[], deadline: Deadline): Promise<LockWait | undefined> {
    let wait: LockWait | undefined;
    for (const same of byTransaction(locks)) {
      const fate = await this.#fate(same[0], 0n, deadline);
      if (fate.state === 'alive') wait = longer(wait, same[0], fate);
      else await this.clean(same, fate, deadline);
    }
    return wait;
  }

  /**
   * Ends a transaction that nobody works on any more, and tells how: rolled back, unless it is committed.
   * @throws TroupeError when that could not be found out in time
   */
  async settle(primary: Uint8Array, startTs: bigint, deadline: Deadline): Promise<Ended> {
    const fate = await this.#check({ primary, startTs, ttl: 0 }, 0n, true, deadline);
    if (fate.state !== 'alive') return fate;
    throw new TroupeError('failed', `The transaction that began at ${startTs} could not be ended.`);
  }

  /**
   * Commits or removes locks of one transaction that has ended.
   * @throws TroupeError when a store refuses, or does not do it in time
   */
  async clean(locks: SameTransaction, fate: Ended, deadline: Deadline): Promise<void> {
    const { requests, batches } = this.#options;
    const [{ lockVersion }] = locks;
    const commitTs = fate.state === 'committed' ? fate.commitTs : 0n;
    await batches.sendAll(locks, deadline, async (batch) => {
      const { response, rest } = await requests.resolveKeys(batch, lockVersion, commitTs, deadline);
      if (response.error !== undefined) throw checkError(response.error, lockVersion);
      return rest;
    });
  }

  /** In the background: whoever reads goes past them meanwhile. */
  #cleanLater(locks: SameTransaction, fate: Ended): Promise<void> {
    const [first, ...others] = locks.filter((lock) => !this.#cleaning.has(nameOfLock(lock)));
    if (first === undefined) return Promise.resolve();
    const names = [first, ...others].map(nameOfLock);
    for (const name of names) this.#cleaning.add(name);
    return this.#options.background.run(() =>
      this.clean([first, ...others], fate, this.#ownTime()).finally(() => {
        for (const name of names) this.#cleaning.delete(name);
      }),
    );
  }

  /** Goes on until the deadline: what becomes of a lock is asked for again where nobody could tell. */
  async #fate(lock: kvrpcpb.LockInfo, callerTs: bigint, deadline: Deadline): Promise<Fate> {
    const known = this.#ended.get(lock.lockVersion);
    if (known !== undefined) return known;
    const gone = deadline.hinderedBy((cause) => lockedError(this.#asFarAsKnown(lock), cause));
    for (let attempt = 1; ; attempt++) {
      try {
        const fate = await deadline.race(this.#sharedCheck(lock, callerTs), 'the end of a transaction');
        gone();
        return fate;
      } catch (error) {
        if (deadline.passed) throw deadline.explained(error);
        if (!mayPass(error)) {
          gone();
          throw error;
        }
        await deadline.pause(attempt);
      }
    }
  }

  /** Nobody has answered in time: what is known of it from before. */
  #asFarAsKnown(lock: kvrpcpb.LockInfo): LockWait {
    if (this.#oracleAhead === undefined) return { lock };
    const now = composeTimestamp(Math.round(this.#options.waiting.clock.now() + this.#oracleAhead), 0);
    return { lock, ...lifeOf(lock.lockVersion, this.#ttls.get(lock.lockVersion) ?? lock.lockTtl, now) };
  }

  #sharedCheck(lock: kvrpcpb.LockInfo, callerTs: bigint): Promise<Fate> {
    const { lockVersion: startTs, primaryLock: primary, lockTtl: ttl } = lock;
    const name = `${startTs}/${callerTs}`;
    const shared = this.#checks.get(name);
    if (shared !== undefined) return shared;
    // It goes on for its own time: no caller's haste or signal ends it for the others.
    const check = this.#check({ primary, startTs, ttl }, callerTs, false, this.#ownTime());
    this.#checks.set(name, check);
    const forget = () => this.#checks.delete(name);
    check.then(forget, forget);
    return check;
  }

  async #check(
    transaction: { readonly primary: Uint8Array; readonly startTs: bigint; readonly ttl: number },
    callerTs: bigint,
    force: boolean,
    deadline: Deadline,
  ): Promise<Fate> {
    const { primary, startTs, ttl } = transaction;
    let forceSyncCommit = false;
    let rollbackIfNotExist = force;
    for (;;) {
      const now = await takeTimestamp(this.#options.timestamps, deadline);
      this.#oracleAhead = physicalOf(now) - this.#options.waiting.clock.now();
      const reply = await this.#options.requests.checkTxnStatus(
        {
          primaryKey: primary,
          lockTs: startTs,
          callerStartTs: callerTs,
          currentTs: force ? AFTER_ALL : now,
          rollbackIfNotExist,
          forceSyncCommit,
          verifyIsPrimary: false,
        },
        deadline,
      );
      if (reply.error !== undefined) {
        if (reply.error.txnNotFound === undefined) throw checkError(reply.error, startTs);
        // A secondary's lock may come before its primary's; when its time is over, none will come.
        const life = lifeOf(startTs, ttl, now);
        if (life.leftMs > 0) return { state: 'alive', pushed: false, ...life };
        rollbackIfNotExist = true;
        continue;
      }
      const { lockInfo, lockTtl, commitVersion, action } = reply;
      if (lockTtl === 0) {
        return this.#remember(
          startTs,
          commitVersion > 0n ? { state: 'committed', commitTs: commitVersion } : { state: 'rolledBack' },
        );
      }
      const life = lifeOf(startTs, lockTtl, now);
      const pushed =
        action === kvrpcpb.Action.MinCommitTSPushed ||
        (callerTs > 0n && (lockInfo?.minCommitTs ?? 0n) > callerTs);
      if ((!force && life.leftMs > 0) || lockInfo?.useAsyncCommit !== true || forceSyncCommit)
        return this.#seenAlive(startTs, lockTtl, { state: 'alive', pushed, ...life });
      const ended = await this.#endAsyncCommit(lockInfo, primary, deadline);
      if (ended !== undefined) return this.#remember(startTs, ended);
      forceSyncCommit = true;
    }
  }

  /** @returns `undefined` when it turns out to be a transaction of two phases */
  async #endAsyncCommit(
    lock: kvrpcpb.LockInfo,
    primary: Uint8Array,
    deadline: Deadline,
  ): Promise<Ended | undefined> {
    const { requests, batches } = this.#options;
    const ended = await secondariesOf(lock, requests, batches, deadline);
    if (ended === undefined) return undefined;
    const items = [primary, ...lock.secondaries].map((key) => ({ ...lock, key }));
    const [first, ...others] = items;
    if (first !== undefined) await this.clean([first, ...others], ended, deadline);
    return ended;
  }

  #remember(startTs: bigint, ended: Ended): Ended {
    this.#ttls.delete(startTs);
    makeRoom(this.#ended);
    this.#ended.set(startTs, ended);
    return ended;
  }

  #seenAlive(startTs: bigint, ttl: number, fate: Fate): Fate {
    this.#ttls.delete(startTs);
    makeRoom(this.#ttls);
    this.#ttls.set(startTs, ttl);
    return fate;
  }

  #ownTime(): Deadline {
    return new Deadline(this.#options.waiting, RESOLVE_MS);
  }
}

function makeRoom(remembered: Map<bigint, unknown>): void {
  if (remembered.size < MAX_FATES) return;
  const oldest = remembered.keys().next().value;
  if (oldest !== undefined) remembered.delete(oldest);
}

/** How old a lock's transaction is, and how long it lives. */
function lifeOf(startTs: bigint, ttl: number, now: bigint): Life {
  const ageMs = Math.max(0, physicalOf(now) - physicalOf(startTs));
  return { ageMs, leftMs: Math.max(0, ttl - ageMs) };
}

function longer(wait: LockWait | undefined, lock: kvrpcpb.LockInfo, { ageMs, leftMs }: Life): LockWait {
  return wait !== undefined && (wait.leftMs ?? 0) >= leftMs ? wait : { lock, ageMs, leftMs };
}

function nameOfLock({ lockVersion, key }: kvrpcpb.LockInfo): string {
  return `${lockVersion}/${nameOfKey(key)}`;
}

/** Asked again later, the cluster may know. */
function mayPass(error: unknown): boolean {
  return error instanceof TroupeError && (error.code === 'timeout' || error.code === 'unavailable');
}

/** Locks of one transaction, at least one. */
export type SameTransaction = readonly [kvrpcpb.LockInfo, ...kvrpcpb.LockInfo[]];

/** The locks of each transaction. */
export function byTransaction(locks: readonly kvrpcpb.LockInfo[]): SameTransaction[] {
  const transactions = new Map<bigint, [kvrpcpb.LockInfo, ...kvrpcpb.LockInfo[]]>();
  for (const lock of locks) {
    const others = transactions.get(lock.lockVersion);
    if (others === undefined) transactions.set(lock.lockVersion, [lock]);
    else others.push(lock);
  }
  return [...transactions.values()];
}

function note(verdicts: Set<bigint>, startTs: bigint): void {
  // Those that are forgotten are met again, and their fates are known.
  if (verdicts.size >= MAX_VERDICTS) verdicts.clear();
  verdicts.add(startTs);
}

function checkError(error: kvrpcpb.KeyError, startTs: bigint): TroupeError {
  const why =
    error.primaryMismatch !== undefined
      ? 'the key that it names as its primary is not'
      : error.abort || error.invalid || error.retryable || 'the store refuses';
  return new TroupeError(
    'failed',
    `A lock of the transaction that began at ${startTs} cannot be resolved: ${why}.`,
  );
}

import { TroupeError } from '../../errors.js';
import { kvrpcpb } from '../../proto/index.js';
import { physicalOf } from '../../timestamp.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import type { BackgroundTasks } from './background.js';
import { lockedError } from './key-errors.js';
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
  | { readonly state: 'alive'; readonly pushed: boolean; readonly leftMs: number };

type Ended = Exclude<Fate, { readonly state: 'alive' }>;

/** Whose locks a read goes past, and whose it takes for committed. */
export interface LockVerdicts {
  readonly resolved: Set<bigint>;
  readonly committed: Set<bigint>;
}

/** Ended transactions remembered. */
const MAX_FATES = 2_048;
/** Transactions in the verdicts of one snapshot: they travel with each of its requests. */
const MAX_VERDICTS = 256;
/** A transaction of fewer keys is resolved key by key, where one of them was met. */
const SMALL_TXN_KEYS = 16;
/** How long a check or a clean-up goes on, in milliseconds, whoever waits for it. */
const RESOLVE_MS = 5_000;
/** A lock that has outlived every time. */
const AFTER_ALL = 2n ** 64n - 1n;
/** Requests that clean one region at most: each of them removes a bounded number of locks. */
const MAX_STEPS = 1_024;

/**
 * What becomes of locks that somebody meets (Percolator, section 2.2; TiKV's `CheckTxnStatus` and `ResolveLock`).
 *
 * The primary decides. A lock whose transaction has ended is committed or removed; one whose client may be alive is left
 * alone until its time is over, unless a read may go past it. Who meets the locks of one transaction at the same time shares
 * one check, and what has ended is remembered.
 */
export class LockResolver {
  readonly #options: LockResolverOptions;
  readonly #ended = new Map<bigint, Ended>();
  readonly #checks = new Map<string, Promise<Fate>>();

  constructor(options: LockResolverOptions) {
    this.#options = options;
  }

  /**
   * For a read at `readTs` that met `locks`.
   * @returns milliseconds after which one that stays in its way may be gone; 0 when it may read on with the verdicts
   */
  async pass(
    locks: readonly kvrpcpb.LockInfo[],
    readTs: bigint,
    verdicts: LockVerdicts,
    deadline: Deadline,
  ): Promise<number> {
    let wait = 0;
    for (const [lock, ...others] of byTransaction(locks)) {
      const fate = await this.#fate(lock, readTs, deadline);
      if (fate.state === 'alive') {
        if (fate.pushed || lock.minCommitTs > readTs) note(verdicts.resolved, lock.lockVersion);
        else wait = Math.max(wait, fate.leftMs, 1);
        continue;
      }
      const below = fate.state === 'committed' && fate.commitTs <= readTs;
      note(below ? verdicts.committed : verdicts.resolved, lock.lockVersion);
      await this.#options.background.run(() => this.#clean(lock, others.length > 0, fate, this.#ownTime()));
    }
    return wait;
  }

  /**
   * For a write that met `locks`: removes those whose transactions have ended.
   * @returns milliseconds after which the others may be gone; 0 when there are none
   */
  async clear(locks: readonly kvrpcpb.LockInfo[], deadline: Deadline): Promise<number> {
    let wait = 0;
    for (const [lock, ...others] of byTransaction(locks)) {
      const fate = await this.#fate(lock, 0n, deadline);
      if (fate.state === 'alive') wait = Math.max(wait, fate.leftMs, 1);
      else await this.#clean(lock, others.length > 0, fate, deadline);
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

  async #fate(lock: kvrpcpb.LockInfo, callerTs: bigint, deadline: Deadline): Promise<Fate> {
    const known = this.#ended.get(lock.lockVersion);
    if (known !== undefined) return known;
    const { lockVersion: startTs, primaryLock: primary, lockTtl: ttl } = lock;
    const name = `${startTs}/${callerTs}`;
    const shared = this.#checks.get(name);
    // It goes on for its own time: no caller's haste or signal ends it for the others.
    const check = shared ?? this.#check({ primary, startTs, ttl }, callerTs, false, this.#ownTime());
    if (shared === undefined) {
      this.#checks.set(name, check);
      const forget = () => this.#checks.delete(name);
      check.then(forget, forget);
    }
    try {
      return await deadline.race(check);
    } catch (error) {
      throw deadline.passed ? lockedError(lock) : error;
    }
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
        if (reply.error.txnNotFound === undefined) throw checkError(reply.error);
        // A secondary's lock may come before its primary's; when its time is over, none will come.
        const left = leftMs(startTs, ttl, now);
        if (left > 0) return { state: 'alive', pushed: false, leftMs: left };
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
      const left = force ? 0 : leftMs(startTs, lockTtl, now);
      const pushed =
        action === kvrpcpb.Action.MinCommitTSPushed ||
        (callerTs > 0n && (lockInfo?.minCommitTs ?? 0n) > callerTs);
      if (left > 0 || lockInfo?.useAsyncCommit !== true || forceSyncCommit)
        return { state: 'alive', pushed, leftMs: left };
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
    const commitTs = ended.state === 'committed' ? ended.commitTs : 0n;
    const items = [primary, ...lock.secondaries].map((key) => ({ key }));
    await batches.sendAll(items, deadline, async (batch) => {
      const { response, rest } = await requests.resolveKeys(batch, lock.lockVersion, commitTs, deadline);
      if (response.error !== undefined) throw checkError(response.error);
      return rest;
    });
    return ended;
  }

  async #clean(lock: kvrpcpb.LockInfo, several: boolean, fate: Ended, deadline: Deadline): Promise<void> {
    const { requests } = this.#options;
    const { key, lockVersion } = lock;
    const commitTs = fate.state === 'committed' ? fate.commitTs : 0n;
    if (!several && lock.txnSize > 0 && lock.txnSize < SMALL_TXN_KEYS) {
      const { response } = await requests.resolveKeys([{ key }], lockVersion, commitTs, deadline);
      if (response.error !== undefined) throw checkError(response.error);
      return;
    }
    let [at, from]: [Uint8Array, 'beginning' | 'key'] = [key, 'beginning'];
    for (let step = 1; step <= MAX_STEPS; step++) {
      const { error, nextKey } = await requests.resolveRegion(at, from, lockVersion, commitTs, deadline);
      if (error !== undefined) throw checkError(error);
      if (nextKey.length === 0) return;
      [at, from] = [nextKey, 'key'];
    }
  }

  #remember(startTs: bigint, ended: Ended): Ended {
    if (this.#ended.size >= MAX_FATES) {
      const oldest = this.#ended.keys().next().value;
      if (oldest !== undefined) this.#ended.delete(oldest);
    }
    this.#ended.set(startTs, ended);
    return ended;
  }

  #ownTime(): Deadline {
    return new Deadline(this.#options.waiting, RESOLVE_MS);
  }
}

/** Milliseconds until a lock has outlived its time; 0 when it has. */
function leftMs(startTs: bigint, ttl: number, now: bigint): number {
  return Math.max(0, physicalOf(startTs) + ttl - physicalOf(now));
}

/** The locks of each transaction. */
export function byTransaction(
  locks: readonly kvrpcpb.LockInfo[],
): [kvrpcpb.LockInfo, ...kvrpcpb.LockInfo[]][] {
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

function checkError(error: kvrpcpb.KeyError): TroupeError {
  const why =
    error.primaryMismatch !== undefined
      ? 'the key that it names as its primary is not'
      : error.abort || error.invalid || error.retryable || 'the store refuses';
  return new TroupeError('failed', `A lock cannot be resolved: ${why}.`);
}

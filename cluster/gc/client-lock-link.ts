import type { ActorSystem, Clock } from '../../actors/index.js';
import { encodeBytes, keyAfter } from '../../storage/keys.js';
import { type AskedRegion, Call, type CallTerms, unexpected } from '../client/call.js';
import { Deadline, type WaitingParts } from '../client/deadline.js';
import { Dispatcher } from '../client/dispatcher.js';
import { Pauses } from '../client/pauses.js';
import { TXN_SPACE } from '../client/space.js';
import { TimestampClient } from '../client/timestamps.js';
import { BackgroundTasks } from '../client/txn/background.js';
import { byTransaction, LockResolver, type SameTransaction } from '../client/txn/lock-resolver.js';
import { RegionBatches } from '../client/txn/region-batches.js';
import { txnRangeOf } from '../client/txn/txn-call.js';
import { TxnRequests } from '../client/txn/txn-requests.js';
import { TroupeError } from '../errors.js';
import { SchedulerClient } from '../pd-client.js';
import type { kvrpcpb, troupepb } from '../proto/index.js';
import type { KeyRange, LockLink, SweepStep } from './lock-sweep.js';

export interface ClientLockLinkOptions {
  /** The node's own messaging. */
  readonly system: ActorSystem;
  readonly cluster: string;
  readonly schedulers: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly maxEntryBytes: number;
}

/** Locks of one page. */
const PAGE_LOCKS = 256;
/** Transactions whose fate is found out side by side. */
const TRANSACTIONS_AT_ONCE = 16;
/** Milliseconds that one page and the resolution of its locks may take. */
const PATIENCE_MS = 60_000;
/** Of one command that resolves locks. */
const BATCH = { maxKeys: PAGE_LOCKS, maxBytes: 256 * 1024 } as const;
const OPEN = new Uint8Array(0);

/** Reaches locks as any client does, on a scheduler's own messaging. */
export class ClientLockLink implements LockLink {
  readonly #scheduler: SchedulerClient;
  readonly #dispatcher: Dispatcher;
  readonly #timestamps: TimestampClient;
  readonly #requests: TxnRequests;
  readonly #resolver: LockResolver;
  readonly #waiting: WaitingParts & { readonly pauses: Pauses };

  constructor(options: ClientLockLinkOptions) {
    const { system, clock, random } = options;
    const scheduler = new SchedulerClient(options);
    this.#scheduler = scheduler;
    this.#dispatcher = new Dispatcher({
      ...options,
      space: TXN_SPACE,
      source: {
        scanRegions: (start, limit, timeout) => scheduler.scanRegions(start, OPEN, limit, { timeout }),
        getAllStores: (timeout) => scheduler.getAllStores({ timeout }),
      },
    });
    this.#timestamps = new TimestampClient({ system, source: scheduler, clock, timeout: PATIENCE_MS });
    this.#requests = new TxnRequests({ dispatcher: this.#dispatcher, clock });
    this.#waiting = { clock, random, pauses: new Pauses(clock) };
    this.#resolver = new LockResolver({
      requests: this.#requests,
      batches: new RegionBatches(this.#requests, BATCH),
      timestamps: this.#timestamps,
      background: new BackgroundTasks(),
      waiting: this.#waiting,
    });
  }

  async resolve(range: KeyRange, safePoint: bigint, signal: AbortSignal): Promise<SweepStep> {
    const deadline = new Deadline(this.#waiting, PATIENCE_MS, signal);
    const call = new ScanLockCall(this.#requests.terms(deadline), range, safePoint);
    this.#requests.submit(call);
    const { locks, next } = (await call.promise) as LockPage;
    const left = byTransaction(locks).values();
    const work = async (): Promise<void> => {
      for (const transaction of left) await this.#end(transaction, deadline);
    };
    await Promise.all(Array.from({ length: TRANSACTIONS_AT_ONCE }, work));
    return { locks: locks.length, next };
  }

  /** Its client has had the life time of old versions to end it: nobody waits for it any longer. */
  async #end(locks: SameTransaction, deadline: Deadline): Promise<void> {
    const [{ primaryLock, lockVersion }] = locks;
    const fate = await this.#resolver.settle(primaryLock, lockVersion, deadline);
    await this.#resolver.clean(locks, fate, deadline);
  }

  close(): void {
    this.#waiting.pauses.close();
    this.#timestamps.close();
    this.#dispatcher.close();
    this.#scheduler.close();
  }
}

interface LockPage {
  readonly locks: readonly kvrpcpb.LockInfo[];
  /** Where to go on; `undefined` when the range is done. */
  readonly next: Uint8Array | undefined;
}

/** One page of locks, as far as the region of the range's start reaches. */
class ScanLockCall extends Call {
  readonly write = false;
  readonly #range: KeyRange;
  readonly #safePoint: bigint;
  /** The region ends before the range does. */
  #border: Uint8Array | undefined;

  constructor(terms: CallTerms, range: KeyRange, safePoint: bigint) {
    super(terms, encodeBytes(range.start), range.start.length + range.end.length + 32);
    this.#range = range;
    this.#safePoint = safePoint;
  }

  request(region: AskedRegion): troupepb.RegionRequest {
    const { start: startKey, end } = this.#range;
    const regionEnd = txnRangeOf(region)?.end;
    const isShorter = regionEnd !== undefined && (end.length === 0 || Buffer.compare(regionEnd, end) < 0);
    this.#border = isShorter ? regionEnd : undefined;
    const endKey = this.#border ?? end;
    return { scanLock: { maxVersion: this.#safePoint, startKey, limit: PAGE_LOCKS, endKey } };
  }

  protected result({ scanLock }: troupepb.RegionResponse): LockPage {
    if (scanLock === undefined) throw unexpected();
    const { locks, more, lastKey, error } = scanLock;
    if (error !== undefined)
      throw new TroupeError(
        'failed',
        `Locks cannot be read: ${error.abort || error.invalid || 'no reason given'}.`,
      );
    // Among very many younger locks a page may hold none, and go on all the same.
    if (more && lastKey.length === 0) throw unexpected();
    return { locks, next: more ? keyAfter(lastKey) : this.#border };
  }
}

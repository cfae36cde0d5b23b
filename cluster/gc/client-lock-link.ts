import type { ActorSystem, Clock } from '../../actors/index.js';
import { decodeBytes, encodeBytes, keyAfter, spaceRange } from '../../storage/keys.js';
import { Call, type CallTerms } from '../client/call.js';
import { Dispatcher } from '../client/dispatcher.js';
import type { CachedRegion } from '../client/region-cache.js';
import { userRangeOf } from '../client/space.js';
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
/** Milliseconds that one page, or the resolution of one transaction, may take. */
const PATIENCE_MS = 30_000;

const TXN_SPACE = spaceRange('txn').start[0] ?? 0;
const OPEN = new Uint8Array(0);

/** Reaches locks as any client does, on a scheduler's own messaging. */
export class ClientLockLink implements LockLink {
  readonly #options: ClientLockLinkOptions;
  readonly #scheduler: SchedulerClient;
  readonly #dispatcher: Dispatcher;

  constructor(options: ClientLockLinkOptions) {
    this.#options = options;
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
  }

  async resolve(range: KeyRange, safePoint: bigint, signal: AbortSignal): Promise<SweepStep> {
    const { clock } = this.#options;
    const { calls } = this.#dispatcher;
    const terms = { owner: calls, deadline: clock.now() + PATIENCE_MS, signal, group: undefined };
    const call = new ScanLockCall(terms, range, safePoint);
    this.#dispatcher.submit(call);
    const { locks, next } = (await call.promise) as LockPage;
    if (locks.length > 0) throw new TroupeError('failed', 'Locks cannot be resolved yet.');
    return { locks: locks.length, next };
  }

  close(): void {
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

  request(region: CachedRegion): troupepb.RegionRequest {
    const { start: startKey, end } = this.#range;
    const bound = userRangeOf(TXN_SPACE, region.start, region.end)?.end;
    const regionEnd = bound === undefined || bound.length === 0 ? undefined : decodeBytes(bound).bytes;
    const isShorter = regionEnd !== undefined && (end.length === 0 || Buffer.compare(regionEnd, end) < 0);
    this.#border = isShorter ? regionEnd : undefined;
    const endKey = this.#border ?? end;
    return { scanLock: { maxVersion: this.#safePoint, startKey, limit: PAGE_LOCKS, endKey } };
  }

  protected result({ scanLock }: troupepb.RegionResponse): LockPage {
    if (scanLock === undefined) throw unexpected();
    const { locks, more, error } = scanLock;
    if (error !== undefined)
      throw new TroupeError(
        'failed',
        `Locks cannot be read: ${error.abort || error.invalid || 'no reason given'}.`,
      );
    const last = locks.at(-1)?.key;
    if (more && last === undefined) throw unexpected();
    return { locks, next: more && last !== undefined ? keyAfter(last) : this.#border };
  }
}

function unexpected(): TroupeError {
  return new TroupeError('failed', 'The store did not answer the question for locks; check its version.');
}

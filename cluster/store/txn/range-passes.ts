import {
  collectGarbage,
  type Engine,
  keyAfter,
  type MvccChange,
  MvccReader,
  scanLocks,
  type Timestamp,
  txnKeysWithin,
} from '../../../storage/index.js';
import type { troupepb } from '../../proto/index.js';
import { abort, isDamage } from './key-errors.js';
import { refused, statusesOf } from './messages.js';
import type { TxnCall } from './txn-call.js';
import type { TxnWrites } from './txn-writes.js';

/** Locks of a region that one request resolves. */
const LOCKS_AT_ONCE = 256;
/** Locks that it looks at for them. */
const LOCKS_LOOKED_AT = 4_096;
/** Keys that one request looks at for garbage. */
const GARBAGE_KEYS = 256;
/** Bytes of changes that one request makes, roughly. */
const GARBAGE_BYTES = 64 * 1024;
/** Passes that run side by side; more are refused as busy. */
const MAX_PASSES = 16;
const BUSY = { ok: false, code: 'busy', leader: 0 } as const;
const STOPPED = { ok: false, code: 'stopped', leader: 0 } as const;
const NO_BYTES = new Uint8Array(0);

/** What a pass found for its commands to do. */
interface Found {
  readonly keys: readonly Uint8Array[];
  /** Where it stopped at a limit; empty when it is done. */
  readonly nextKey: Uint8Array;
}

/** Commands that name no keys: what they are about is looked up first, in steps that yield, and then done as any other. */
export class RangePasses {
  readonly #engine: Engine;
  readonly #writes: TxnWrites;
  readonly #failed: (error: unknown) => void;
  /** Between their request and their end. */
  #count = 0;
  readonly #running = new Set<Promise<void>>();

  /** @param failed the engine could not read */
  constructor(engine: Engine, writes: TxnWrites, failed: (error: unknown) => void) {
    this.#engine = engine;
    this.#writes = writes;
    this.#failed = failed;
  }

  /** Resolves when no pass reads any more, where none is begun. */
  async idle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** Resolves locks that are of the request's transactions, from its key on to the region's end, and not too many at once. */
  resolve(owner: TxnCall, place: number, request: troupepb.RegionRequest): void {
    const { resolveLock } = request;
    if (resolveLock === undefined) return;
    const statuses = statusesOf(resolveLock);
    this.#pass(owner, place, request, async () => {
      const { keys, nextKey } = await this.#find(owner, statuses, resolveLock.startKey ?? NO_BYTES);
      const amend = () => ({ resolveLock: { nextKey } });
      if (keys.length === 0) owner.respond(place, amend());
      else
        this.#writes.add(owner, place, { kind: 'resolveLock', keys, statuses }, keys, (response) =>
          response.resolveLock?.error === undefined ? amend() : response,
        );
    });
  }

  async #find(owner: TxnCall, statuses: ReadonlyMap<Timestamp, Timestamp>, from: Uint8Array): Promise<Found> {
    const range = txnKeysWithin(owner.region.region);
    const keys: Uint8Array[] = [];
    if (range === undefined || statuses.size === 0) return { keys, nextKey: NO_BYTES };
    let maxTs: Timestamp = 0n;
    for (const startTs of statuses.keys()) if (startTs > maxTs) maxTs = startTs;
    const snapshot = this.#engine.snapshot();
    try {
      const reader = new MvccReader(this.#engine, snapshot);
      let start = Buffer.compare(from, range.start) > 0 ? from : range.start;
      if (range.end.length > 0 && Buffer.compare(start, range.end) >= 0) return { keys, nextKey: NO_BYTES };
      for (let looked = 0; ; ) {
        const page = await scanLocks({ start, end: range.end, maxTs, limit: LOCKS_AT_ONCE }, reader);
        for (const { key, startTs } of page.locks) {
          if (keys.length === LOCKS_AT_ONCE) return { keys, nextKey: key };
          if (statuses.has(startTs)) keys.push(key);
        }
        if (!page.more || page.lastKey === undefined) return { keys, nextKey: NO_BYTES };
        start = keyAfter(page.lastKey);
        looked += page.locks.length;
        // A page that is not full stopped at its own limit, among younger locks.
        const isCut = page.locks.length < LOCKS_AT_ONCE || looked >= LOCKS_LOOKED_AT;
        if (isCut || keys.length === LOCKS_AT_ONCE) return { keys, nextKey: start };
      }
    } finally {
      snapshot.release();
    }
  }

  /** Removes what nobody at or above the safe point sees, from the request's key on, as much as one entry may take. */
  collect(owner: TxnCall, place: number, request: troupepb.RegionRequest): void {
    const { gc } = request;
    if (gc === undefined) return;
    this.#pass(owner, place, request, async () => {
      const { term } = owner.region.group;
      const { changes, nextKey } = await this.#garbage(owner, gc.safePoint, gc.startKey);
      this.#writes.remove(owner, place, changes, term, { gc: { nextKey: nextKey ?? NO_BYTES } });
    });
  }

  async #garbage(
    owner: TxnCall,
    safePoint: Timestamp,
    from: Uint8Array,
  ): Promise<{ readonly changes: readonly MvccChange[]; readonly nextKey: Uint8Array | undefined }> {
    const range = txnKeysWithin(owner.region.region);
    if (range === undefined) return { changes: [], nextKey: undefined };
    const start = Buffer.compare(from, range.start) > 0 ? from : range.start;
    if (range.end.length > 0 && Buffer.compare(start, range.end) >= 0)
      return { changes: [], nextKey: undefined };
    const snapshot = this.#engine.snapshot();
    try {
      const reader = new MvccReader(this.#engine, snapshot);
      const bounds = { maxKeys: GARBAGE_KEYS, maxBytes: GARBAGE_BYTES };
      return await collectGarbage({ start, end: range.end, safePoint, ...bounds }, reader);
    } finally {
      snapshot.release();
    }
  }

  /** Runs when this store has confirmed that it leads, and everything that was acknowledged is visible. */
  #pass(owner: TxnCall, place: number, request: troupepb.RegionRequest, run: () => Promise<void>): void {
    if (this.#count >= MAX_PASSES) return owner.refuse(BUSY);
    this.#count++;
    const end = () => {
      this.#count--;
    };
    owner.region.group.read((outcome) => {
      if (!outcome.ok) {
        end();
        owner.refuse(outcome);
        return;
      }
      const error = owner.region.refusalOf(owner.call.event);
      if (error !== undefined) {
        end();
        owner.fail(error);
        return;
      }
      const running = run()
        .catch((error: unknown) => {
          if (isDamage(error)) return owner.respond(place, refused(request, abort(error.message)));
          owner.refuse(STOPPED);
          this.#failed(error);
        })
        .finally(() => {
          end();
          this.#running.delete(running);
        });
      this.#running.add(running);
    });
  }
}

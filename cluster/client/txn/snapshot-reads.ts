import { nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import type { kvrpcpb, troupepb } from '../../proto/index.js';
import { type AskedRegion, Call, type CallTerms, owned, unexpected } from '../call.js';
import type { Deadline } from '../deadline.js';
import type { AskedPage, PageSource, ScanBounds } from '../scan.js';
import { Scan } from '../scan.js';
import { type Page, type PageQuery, pageWithin } from '../scan-page.js';
import { keyError, lockedError } from './key-errors.js';
import type { LockResolver, LockVerdicts } from './lock-resolver.js';
import { keyBytes, type RegionBatches } from './region-batches.js';
import { type Keyed, routeBelow, routeOf, txnRangeOf } from './txn-call.js';
import type { ReadTerms, TxnRequests } from './txn-requests.js';

export interface SnapshotReadsOptions {
  readonly requests: TxnRequests;
  readonly batches: RegionBatches;
  readonly resolver: LockResolver;
}

/**
 * What is committed at or below one timestamp. Locks in the way are resolved, gone past, or waited for, until the
 * deadline of the read.
 */
export class SnapshotReads {
  readonly timestamp: bigint;
  readonly #options: SnapshotReadsOptions;
  readonly #verdicts: LockVerdicts = { resolved: new Set(), committed: new Set() };

  constructor(timestamp: bigint, options: SnapshotReadsOptions) {
    this.timestamp = timestamp;
    this.#options = options;
  }

  get(key: Uint8Array, deadline: Deadline): Promise<Uint8Array | undefined> {
    return deadline.explaining(() => this.#get(key, deadline));
  }

  async #get(key: Uint8Array, deadline: Deadline): Promise<Uint8Array | undefined> {
    let gone: (() => void) | undefined;
    for (let attempt = 1; ; attempt++) {
      const reply = await this.#options.requests.get(key, this.timestamp, this.#context(), deadline);
      gone?.();
      if (reply.error === undefined) return reply.notFound ? undefined : owned(reply.value);
      gone = await this.#pass(locksOf([reply.error]), attempt, deadline);
    }
  }

  /** Absent keys are left out. By the key's bytes as latin1. */
  batchGet(keys: readonly Uint8Array[], deadline: Deadline): Promise<Map<string, Uint8Array>> {
    return deadline.explaining(() => this.#batchGet(keys, deadline));
  }

  async #batchGet(keys: readonly Uint8Array[], deadline: Deadline): Promise<Map<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    const { batches, requests } = this.#options;
    const items = keys.map((key) => ({ key }));
    const groups = await batches.group(items, keyBytes, deadline);
    await batches.send(groups, keyBytes, deadline, async (batch) => {
      let asking: readonly [Keyed, ...Keyed[]] | undefined = batch;
      const rest: Keyed[] = [];
      let gone: (() => void) | undefined;
      for (let attempt = 1; asking !== undefined; ) {
        const answer = await requests.batchGet(asking, this.timestamp, this.#context(), deadline);
        gone?.();
        const { asked, batchGet } = answer.response;
        rest.push(...answer.rest);
        if (batchGet.error !== undefined) {
          gone = await this.#pass(locksOf([batchGet.error]), attempt++, deadline);
          asking = some(asked);
          continue;
        }
        const errors: kvrpcpb.KeyError[] = [];
        const locked: Keyed[] = [];
        for (const { key, value, error } of batchGet.pairs) {
          if (error === undefined) {
            found.set(nameOfKey(key), owned(value));
          } else {
            errors.push(error);
            locked.push({ key: owned(key) });
          }
        }
        // A reply holds what one message may carry; the others are asked again.
        if (batchGet.answered > 0) locked.push(...asked.slice(batchGet.answered));
        asking = some(locked);
        if (errors.length > 0) gone = await this.#pass(locksOf(errors), attempt++, deadline);
      }
      return rest;
    });
    return found;
  }

  /** @param deadline of each page */
  scan(bounds: ScanBounds, deadline: () => Deadline): Scan {
    const pages: PageSource = { ask: (query) => this.#page(query, deadline()) };
    return new Scan(pages, bounds);
  }

  #page(query: PageQuery, deadline: Deadline): AskedPage {
    const { requests } = this.#options;
    const call = new TxnPageCall(requests.terms(deadline), query, this.timestamp, this.#context());
    deadline.trace?.follow(call, 'scan');
    requests.submit(call);
    return {
      promise: (call.promise as Promise<TxnPage>).then((page) => this.#unlock(page, query, deadline)),
      sent: requests.flushed(),
      drop: () => {
        if (call.settled) return;
        requests.drop(call);
        call.fail(new TroupeError('closed', 'The scan was ended.'));
      },
    };
  }

  /** Reads what the page found locked, each in its place. */
  async #unlock({ pairs, last, border }: TxnPage, query: PageQuery, deadline: Deadline): Promise<Page> {
    if (!pairs.some(({ error }) => error !== undefined)) return { pairs, last, border };
    const locked = pairs.flatMap(({ key, error }) =>
      error === undefined ? [] : [{ key: owned(key), error }],
    );
    const gone = await this.#pass(locksOf(locked.map(({ error }) => error)), 1, deadline);
    const values = await this.batchGet(
      locked.map(({ key }) => key),
      deadline,
    );
    gone();
    const readable = pairs.flatMap(({ key, value, error }) => {
      if (error === undefined) return [{ key, value }];
      const later = values.get(nameOfKey(key));
      return later === undefined ? [] : [{ key, value: query.keysOnly ? new Uint8Array(0) : later }];
    });
    return { pairs: readable, last, border };
  }

  /** @returns to be called when the next reply is there: what is in the way then is told anew */
  async #pass(locks: readonly kvrpcpb.LockInfo[], attempt: number, deadline: Deadline): Promise<() => void> {
    const wait = await this.#options.resolver.pass(locks, this.timestamp, this.#verdicts, deadline);
    if (wait === undefined) return () => undefined;
    const gone = deadline.hinderedBy((cause) => lockedError(wait, cause));
    await deadline.pause(attempt);
    if (deadline.passed) throw lockedError(wait);
    return gone;
  }

  #context(): ReadTerms {
    const { resolved, committed } = this.#verdicts;
    return { resolvedLocks: [...resolved], committedLocks: [...committed] };
  }
}

/** @throws TroupeError for an error that is no lock */
function locksOf(errors: readonly kvrpcpb.KeyError[]): kvrpcpb.LockInfo[] {
  return errors.map((error) => {
    if (error.locked === undefined) throw keyError(error);
    return error.locked;
  });
}

function some<I>(items: readonly I[]): readonly [I, ...I[]] | undefined {
  const [first, ...others] = items;
  return first === undefined ? undefined : [first, ...others];
}

interface TxnPage {
  readonly pairs: readonly kvrpcpb.KvPair[];
  readonly last: Uint8Array | undefined;
  readonly border: Uint8Array | undefined;
}

/** One page of a scan, as far as its region reaches; locked keys stand in it with their errors. */
class TxnPageCall extends Call {
  readonly write = false;
  readonly #query: PageQuery;
  readonly #version: bigint;
  readonly #context: ReadTerms;
  #border: Uint8Array | undefined;

  constructor(terms: CallTerms, query: PageQuery, version: bigint, context: ReadTerms) {
    const { start, end, reverse } = query;
    super(terms, reverse ? routeBelow(end) : routeOf(start), start.length + (end?.length ?? 0) + 32);
    this.#query = query;
    this.#version = version;
    this.#context = context;
  }

  request(region: AskedRegion): troupepb.RegionRequest {
    const { reverse, limit, keysOnly: keyOnly } = this.#query;
    const { startKey, endKey, border } = pageWithin(this.#query, txnRangeOf(region));
    this.#border = border;
    return {
      scan: { context: this.#context, startKey, endKey, limit, keyOnly, reverse, version: this.#version },
    };
  }

  protected result({ scan }: troupepb.RegionResponse): TxnPage {
    if (scan === undefined) throw unexpected();
    if (scan.error !== undefined) throw keyError(scan.error);
    return { pairs: scan.pairs, last: scan.more ? scan.lastKey : undefined, border: this.#border };
  }
}

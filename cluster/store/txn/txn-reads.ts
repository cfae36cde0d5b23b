import {
  checkUserKey,
  describeKey,
  type Engine,
  type EngineSnapshot,
  type KeyDescription,
  type KnownLocks,
  keyAfter,
  type LockScanResult,
  MAX_TIMESTAMP,
  MvccReader,
  type PointRead,
  type PointResult,
  readPoints,
  type SnapshotScanResult,
  StorageError,
  scanLocks,
  scanSnapshot,
  type Timestamp,
  txnKey,
  txnRange,
} from '../../../storage/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import type { errorpb, kvrpcpb, troupepb } from '../../proto/index.js';
import { containsKey, containsRange } from '../region-check.js';
import { keyNotInRegion } from '../region-errors.js';
import {
  abort,
  errorBytes,
  isDamage,
  keyError,
  lockBytes,
  lockInfo,
  storedLock,
  writeOp,
} from './key-errors.js';
import type { MemoryLock, MemoryLocks } from './memory-locks.js';
import { isTxnRead, refused } from './messages.js';
import type { StoreTimestamps } from './store-timestamps.js';

type Request = troupepb.RegionRequest;
type Response = troupepb.RegionResponse;

/** Keys that one page of a scan may hold, whatever the client asks. */
const MAX_SCAN_KEYS = 4096;
/** Versions of a key that one description may hold. */
const MAX_VERSIONS = 256;
const NO_BYTES = new Uint8Array(0);

/** What a read found, and what counts of it. */
export interface ReadAnswer {
  readonly response: Response;
  /** Of keys and values in the response. */
  readonly bytes: number;
  readonly keys: number;
  /** Stored keys that were looked at one by one. */
  readonly points: readonly { readonly key: Uint8Array; readonly bytes: number }[];
  /** The range that was looked at, as far as the reading got. */
  readonly range: { readonly start: Uint8Array; readonly end: Uint8Array } | undefined;
}

/** One request on its way to its answer. */
export interface TxnRead {
  /** It reads for itself, and not with the turn's point reads. */
  readonly scans: boolean;
  fetch(reader: MvccReader, maxBytes: number): Promise<void>;
  answer(maxBytes: number): ReadAnswer;
}

/** What all transactional reads of a store heed. */
export interface ReadRules {
  readonly timestamps: StoreTimestamps;
  readonly memoryLocks: MemoryLocks;
  /** Why a request cannot be read, by its timestamps alone. */
  refusalOf(request: Request): kvrpcpb.KeyError | undefined;
}

/** The transactional reads of one turn, all from the turn's snapshot. */
export class TxnReads {
  readonly #rules: ReadRules;
  readonly #points: PointRead[] = [];
  #results: readonly (PointResult | StorageError)[] = [];

  constructor(rules: ReadRules) {
    this.#rules = rules;
  }

  /** Keys that are looked up one by one. */
  get size(): number {
    return this.#points.length;
  }

  /**
   * The prewrite that one of the requests has to wait for. Raises `max_ts`: what is prewritten from here on commits above these
   * reads.
   */
  blockedBy(requests: readonly Request[]): MemoryLock | undefined {
    const { timestamps, memoryLocks } = this.#rules;
    let found: MemoryLock | undefined;
    for (const request of requests) {
      if (request.rawGet !== undefined || !isTxnRead(request)) continue;
      if (this.#rules.refusalOf(request) !== undefined) continue;
      const { get, batchGet, scan, scanLock } = request;
      const ts = get?.version ?? batchGet?.version ?? scan?.version ?? scanLock?.maxVersion;
      if (ts === undefined) continue;
      if (ts !== MAX_TIMESTAMP) timestamps.raise(ts);
      if (get !== undefined) found ??= memoryLocks.onKey(get.key, ts);
      for (const key of batchGet?.keys ?? []) found ??= memoryLocks.onKey(key, ts);
      if (scan !== undefined) {
        const [start, end] = scan.reverse ? [scan.endKey, scan.startKey] : [scan.startKey, scan.endKey];
        found ??= memoryLocks.inRange(start, end, ({ commitFloor }) => commitFloor <= ts);
      }
      if (scanLock !== undefined)
        found ??= memoryLocks.inRange(scanLock.startKey, scanLock.endKey, ({ startTs }) => startTs <= ts);
    }
    return found;
  }

  /**
   * Finds out what to read for a request.
   * @returns why the region cannot serve it, where it cannot
   * @throws StorageError `invalid-key`
   */
  plan(request: Request, region: metapb.Region): { read: TxnRead } | { error: errorpb.Error } {
    const refusal = this.#rules.refusalOf(request);
    if (refusal !== undefined) return { read: new Answered(refused(request, refusal)) };
    const { get, batchGet, scan, scanLock, mvccGetByKey } = request;
    const asked = get === undefined ? (batchGet?.keys ?? []) : [get.key];
    const keys = mvccGetByKey === undefined ? asked : [mvccGetByKey.key];
    const stored = keys.map(txnKey);
    for (const key of stored) if (!containsKey(region, key)) return { error: keyNotInRegion(region, key) };
    if (get !== undefined || batchGet !== undefined) {
      const first = this.#points.length;
      const ts = get?.version ?? batchGet?.version ?? 0n;
      const known = knownLocks(get?.context ?? batchGet?.context);
      for (const key of keys) this.#points.push({ key, ts, ...known });
      const results = () => this.#results.slice(first, first + keys.length);
      return { read: new Points(request, keys, stored, results) };
    }
    const [only] = keys;
    if (only !== undefined) return { read: new Description(request, only, mvccGetByKey?.beforeTs ?? 0n) };
    const from = scan?.startKey ?? scanLock?.startKey ?? NO_BYTES;
    const to = scan?.endKey ?? scanLock?.endKey ?? NO_BYTES;
    const [start, end] = scan?.reverse ? [to, from] : [from, to];
    for (const bound of [start, end]) if (bound.length > 0) checkUserKey(bound);
    const range = txnRange(start, end);
    if (!containsRange(region, range.start, range.end)) return { error: keyNotInRegion(region, range.start) };
    if (scan !== undefined) return { read: new Scan(request, scan, start, end) };
    if (scanLock !== undefined) return { read: new LockScan(request, scanLock) };
    throw new Error('a transactional read of no kind');
  }

  /** All point reads at once. */
  async fetch(engine: Engine, snapshot: EngineSnapshot): Promise<void> {
    if (this.#points.length === 0) return;
    const reader = new MvccReader(engine, snapshot);
    try {
      this.#results = await readPoints(this.#points, reader);
    } catch (error) {
      if (!isDamage(error)) throw error;
      // One record that cannot be read is the trouble of those who ask for it.
      const results: (PointResult | StorageError)[] = [];
      for (const point of this.#points) results.push(await readAlone(point, reader));
      this.#results = results;
    }
  }
}

async function readAlone(point: PointRead, reader: MvccReader): Promise<PointResult | StorageError> {
  try {
    const [result] = await readPoints([point], reader);
    return result ?? { value: undefined };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return error;
  }
}

const NO_LOCKS: KnownLocks = {};

function knownLocks(context: kvrpcpb.ReadContext | undefined): KnownLocks {
  if (context === undefined) return NO_LOCKS;
  const { resolvedLocks, committedLocks } = context;
  if (resolvedLocks.length === 0 && committedLocks.length === 0) return NO_LOCKS;
  return { bypass: new Set(resolvedLocks), access: new Set(committedLocks) };
}

function uncounted(response: Response): ReadAnswer {
  return { response, bytes: 0, keys: 0, points: [], range: undefined };
}

class Answered implements TxnRead {
  readonly scans = false;

  constructor(readonly response: Response) {}

  async fetch(): Promise<void> {}

  answer(): ReadAnswer {
    return uncounted(this.response);
  }
}

class Points implements TxnRead {
  readonly scans = false;

  constructor(
    readonly request: Request,
    readonly keys: readonly Uint8Array[],
    readonly stored: readonly Uint8Array[],
    readonly results: () => readonly (PointResult | StorageError)[],
  ) {}

  async fetch(): Promise<void> {}

  /** As many keys as the reply has room for, and at least one. */
  answer(maxBytes: number): ReadAnswer {
    const pairs: kvrpcpb.KvPair[] = [];
    const points: { key: Uint8Array; bytes: number }[] = [];
    let bytes = 0;
    const results = this.results();
    for (const [i, key] of this.keys.entries()) {
      const result = results[i];
      if (result === undefined) throw new Error('a key that was not read');
      const error = errorOf(result);
      const value = 'value' in result ? result.value : undefined;
      const length = key.length + (value?.length ?? 0) + errorBytes(error);
      if (bytes + length > maxBytes && points.length > 0) break;
      bytes += length;
      points.push({ key: this.stored[i] ?? key, bytes: value?.length ?? 0 });
      if (error !== undefined) pairs.push({ error, key, value: NO_BYTES });
      else if (value !== undefined) pairs.push({ error: undefined, key, value });
    }
    const counted = { bytes, keys: points.length, points, range: undefined };
    if (this.request.get === undefined) {
      const answered = points.length === this.keys.length ? 0 : points.length;
      return { response: { batchGet: { pairs, answered } }, ...counted };
    }
    const [pair] = pairs;
    const { value = NO_BYTES, error } = pair ?? {};
    return { response: { get: { error, value, notFound: pair === undefined } }, ...counted };
  }
}

function errorOf(result: PointResult | StorageError): kvrpcpb.KeyError | undefined {
  if (result instanceof StorageError) return abort(result.message);
  return 'error' in result ? keyError(result.error) : undefined;
}

/** A read that goes through a range, or through all that is stored of a key. */
abstract class Pass implements TxnRead {
  readonly scans = true;
  /** The records cannot be read. */
  #damage: StorageError | undefined;

  constructor(readonly request: Request) {}

  async fetch(reader: MvccReader, maxBytes: number): Promise<void> {
    try {
      await this.read(reader, maxBytes);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#damage = error;
    }
  }

  answer(maxBytes: number): ReadAnswer {
    if (this.#damage !== undefined) return uncounted(refused(this.request, abort(this.#damage.message)));
    return this.found(maxBytes);
  }

  protected abstract read(reader: MvccReader, maxBytes: number): Promise<void>;
  protected abstract found(maxBytes: number): ReadAnswer;
}

class Scan extends Pass {
  #result: SnapshotScanResult = { pairs: [], more: false, lastKey: undefined };

  constructor(
    request: Request,
    readonly scan: kvrpcpb.ScanRequest,
    readonly start: Uint8Array,
    readonly end: Uint8Array,
  ) {
    super(request);
  }

  protected async read(reader: MvccReader, maxBytes: number): Promise<void> {
    const { limit, version: ts, reverse, keyOnly: keysOnly, context } = this.scan;
    if (limit === 0) return;
    const { start, end } = this;
    const bounds = { limit: Math.min(limit, MAX_SCAN_KEYS), maxBytes: maxBytes / 2 };
    this.#result = await scanSnapshot(
      { start, end, ts, ...bounds, reverse, keysOnly, ...knownLocks(context) },
      reader,
    );
  }

  protected found(maxBytes: number): ReadAnswer {
    const pairs: kvrpcpb.KvPair[] = [];
    let { more, lastKey } = this.#result;
    let bytes = 0;
    for (const pair of this.#result.pairs) {
      const error = 'error' in pair ? keyError(pair.error) : undefined;
      const value = 'value' in pair ? pair.value : NO_BYTES;
      const length = pair.key.length + value.length + errorBytes(error);
      if (bytes + length > maxBytes && pairs.length > 0) {
        more = true;
        lastKey = pairs.at(-1)?.key;
        break;
      }
      bytes += length;
      pairs.push({ error, key: pair.key, value });
    }
    const response = { scan: { pairs, more, lastKey: lastKey ?? NO_BYTES } };
    const range = passed(this.start, this.end, more ? lastKey : undefined, this.scan.reverse);
    return { response, bytes, keys: pairs.length, points: [], range };
  }
}

class LockScan extends Pass {
  #result: LockScanResult = { locks: [], more: false, lastKey: undefined };

  constructor(
    request: Request,
    readonly scan: kvrpcpb.ScanLockRequest,
  ) {
    super(request);
  }

  protected async read(reader: MvccReader): Promise<void> {
    const { startKey: start, endKey: end, maxVersion: maxTs, limit } = this.scan;
    // kvproto: without a limit there is none, but for the page's own.
    const keys = limit === 0 ? MAX_SCAN_KEYS : Math.min(limit, MAX_SCAN_KEYS);
    this.#result = await scanLocks({ start, end, maxTs, limit: keys }, reader);
  }

  protected found(maxBytes: number): ReadAnswer {
    const locks: kvrpcpb.LockInfo[] = [];
    let { more, lastKey } = this.#result;
    let bytes = 0;
    for (const one of this.#result.locks) {
      const lock = lockInfo(one);
      if (bytes + lockBytes(lock) > maxBytes && locks.length > 0) {
        more = true;
        lastKey = locks.at(-1)?.key;
        break;
      }
      bytes += lockBytes(lock);
      locks.push(lock);
    }
    const range = passed(this.scan.startKey, this.scan.endKey, more ? lastKey : undefined, false);
    const response = { scanLock: { locks, more, lastKey: lastKey ?? NO_BYTES } };
    return { response, bytes, keys: locks.length, points: [], range };
  }
}

class Description extends Pass {
  #result: KeyDescription = { lock: undefined, writes: [], values: [], more: false };

  constructor(
    request: Request,
    readonly key: Uint8Array,
    readonly before: Timestamp,
  ) {
    super(request);
  }

  protected async read(reader: MvccReader): Promise<void> {
    this.#result = await describeKey(this.key, reader, MAX_VERSIONS, this.before);
  }

  /** The newest versions that the reply has room for with their values, and at least one. */
  protected found(maxBytes: number): ReadAnswer {
    const { lock, writes: all } = this.#result;
    let { more } = this.#result;
    let bytes = 0;
    const left = new Map(this.#result.values.map(({ startTs, value }) => [startTs, value]));
    const values: kvrpcpb.MvccValue[] = [];
    const writes: kvrpcpb.MvccWrite[] = [];
    for (const { kind, startTs, commitTs, shortValue, hasOverlappedRollback } of all) {
      const value = kind === 'put' ? left.get(startTs) : undefined;
      const isMissing = kind === 'put' && shortValue === undefined && value === undefined && more;
      bytes += value?.length ?? 0;
      if (writes.length > 0 && (isMissing || bytes > maxBytes / 2)) {
        more = true;
        break;
      }
      if (value !== undefined) values.push({ startTs, value });
      left.delete(startTs);
      const type = writeOp(kind);
      writes.push({ type, startTs, commitTs, shortValue: shortValue ?? NO_BYTES, hasOverlappedRollback });
    }
    // That of a lock has no write record yet.
    const locked = lock === undefined ? undefined : left.get(lock.startTs);
    if (lock !== undefined && locked !== undefined && bytes + locked.length <= maxBytes) {
      bytes += locked.length;
      values.unshift({ startTs: lock.startTs, value: locked });
    }
    const info = { lock: lock && storedLock(lock), writes, values };
    const points = [{ key: txnKey(this.key), bytes }];
    return {
      response: { mvccGetByKey: { error: '', info, more } },
      bytes,
      keys: 1,
      points,
      range: undefined,
    };
  }
}

/** What of a range was looked at. @param last user key at which the pass stopped */
function passed(start: Uint8Array, end: Uint8Array, last: Uint8Array | undefined, reverse: boolean) {
  const whole = txnRange(start, end);
  if (last === undefined) return whole;
  const at = txnKey(last);
  return reverse ? { start: at, end: whole.end } : { start: whole.start, end: keyAfter(at) };
}

import type { ColumnFamily, Engine, EngineSnapshot, ScanResult } from '../../storage/index.js';
import {
  decodeRawValue,
  keyAfter,
  MvccReader,
  rawKey,
  rawRange,
  StorageError,
  userKey,
} from '../../storage/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { errorpb, kvrpcpb, troupepb } from '../proto/index.js';
import { dataFamily } from './evaluate.js';
import { PointReads } from './point-reads.js';
import type { RegionCall } from './region-call.js';
import { checkVersion, containsKey, containsRange } from './region-check.js';
import { keyNotInRegion } from './region-errors.js';
import type { FlowCount } from './region-flow.js';
import type { LoadSampler } from './split/index.js';
import {
  invalid,
  isTxnRead,
  isTxnWrite,
  type ReadAnswer,
  refused,
  type StoreTxn,
  type TxnRead,
  type TxnReads,
} from './txn/index.js';

/** A call whose replica has confirmed that its state is new enough to answer. */
interface ConfirmedRead {
  readonly call: RegionCall;
  readonly replica: ReadableReplica;
}

export interface ReadableReplica {
  readonly region: metapb.Region;
  readonly stopped: boolean;
  /** What is read counts there. */
  readonly flow: FlowCount;
  /** Confirms a call anew, which has waited since it was confirmed; then it is added again. */
  readAgain(call: RegionCall): void;
}

/** Keys one scan page may hold, whatever the client asks. */
const MAX_SCAN_KEYS = 4096;
/** Keys that one turn looks up one by one, about: what is asked beyond them comes in the next turn. */
const MAX_TURN_POINTS = 4096;
/** Calls that may wait for the disk, or for a prewrite; more are refused as busy. */
const MAX_CALLS_READING = 16_384;
const NO_BYTES = new Uint8Array(0);

/**
 * All reads that the turn confirmed, of all regions: one RocksDB snapshot, taken in the same tick as the checks of epoch
 * and range, and one native call for all point reads of a family.
 */
export class ReadTurn {
  readonly #engine: Engine;
  readonly #maxReplyBytes: number;
  readonly #requestTurn: () => void;
  readonly #failed: (error: unknown) => void;
  #load: LoadSampler | undefined;
  #txn: StoreTxn | undefined;
  #confirmed: ConfirmedRead[] = [];
  /** Calls between their snapshot and their answer, and those that wait for a prewrite. */
  #reading = 0;
  /** Turns whose reads are under way. */
  readonly #serving = new Set<Promise<void>>();

  /**
   * @param maxReplyBytes bytes of keys and values in one reply; a longer one answers only the first of its requests
   * @param requestTurn called when there is more to read than one turn takes
   * @param failed the engine could not read
   */
  constructor(
    engine: Engine,
    maxReplyBytes: number,
    requestTurn: () => void,
    failed: (error: unknown) => void,
  ) {
    this.#engine = engine;
    this.#maxReplyBytes = maxReplyBytes;
    this.#requestTurn = requestTurn;
    this.#failed = failed;
  }

  /** Every key that is read counts there. */
  observe(load: LoadSampler): void {
    this.#load = load;
  }

  /** Transactional reads are served by these rules; without them there are none. */
  serveTransactions(txn: StoreTxn): void {
    this.#txn = txn;
  }

  add(call: RegionCall, replica: ReadableReplica): void {
    this.#confirmed.push({ call, replica });
  }

  /**
   * At the end of a turn: checks, takes the snapshot and starts reading. What a turn does not take is confirmed anew: by the
   * next one this store may not lead any more, and know nothing of the prewrites that were under way.
   */
  flush(): void {
    this.#flush(MAX_TURN_POINTS);
  }

  /** The same of all that was confirmed: no turn will follow. */
  flushAll(): void {
    this.#flush(Number.POSITIVE_INFINITY);
  }

  #flush(maxPoints: number): void {
    if (this.#confirmed.length === 0) return;
    const confirmed = this.#confirmed;
    this.#confirmed = [];
    const points = new PointReads();
    const txn = this.#txn?.reads();
    const reads: CallRead[] = [];
    let isFull = false;
    for (const { call, replica } of confirmed) {
      if (replica.stopped) {
        call.refuse({ ok: false, code: 'stopped', leader: 0 });
        continue;
      }
      if (points.size + (txn?.size ?? 0) >= maxPoints) {
        isFull = true;
        replica.readAgain(call);
        continue;
      }
      if (this.#reading >= MAX_CALLS_READING) {
        call.refuse({ ok: false, code: 'busy', leader: 0 });
        continue;
      }
      if (txn !== undefined && this.#waits(call, replica, txn)) continue;
      const read = new CallRead(call, points, txn, replica.flow, this.#load);
      const regionError =
        checkVersion(replica.region, call.event.context.regionEpoch) ?? read.plan(replica.region);
      if (regionError !== undefined) {
        call.fail(regionError);
        continue;
      }
      this.#reading++;
      reads.push(read);
    }
    if (isFull) this.#requestTurn();
    if (reads.length === 0) return;
    const serving = this.#serve(reads, points, txn).finally(() => this.#serving.delete(serving));
    this.#serving.add(serving);
  }

  /** Resolves when nothing is read any more, where nothing new comes. */
  async idle(): Promise<void> {
    await Promise.all(this.#serving);
  }

  /**
   * Whether the call has to wait for a prewrite that may commit below it; then it comes again. What became of the prewrite is
   * known here only while this store leads: another one may have sent its outcome with a snapshot that is not in place yet.
   */
  #waits(call: RegionCall, replica: ReadableReplica, txn: TxnReads): boolean {
    const lock = txn.blockedBy(call.event.requests);
    if (lock === undefined) return false;
    this.#reading++;
    lock.waiting.push(() => {
      this.#reading--;
      replica.readAgain(call);
      this.#txn?.requestTurn();
    });
    return true;
  }

  /** Never rejects: whoever is not answered by the end of it is refused. */
  async #serve(reads: readonly CallRead[], points: PointReads, txn: TxnReads | undefined): Promise<void> {
    let snapshot: EngineSnapshot | undefined;
    try {
      snapshot = this.#engine.snapshot();
      await Promise.all([points.fetch(this.#engine, snapshot), txn?.fetch(this.#engine, snapshot)]);
      // Gets do not wait for scans, and a scan's page is held only until its own call is answered.
      for (const read of reads) if (!read.scanning) read.answer(points, this.#maxReplyBytes);
      for (const read of reads) {
        if (!read.scanning) continue;
        await read.scan(this.#engine, snapshot, this.#maxReplyBytes);
        read.answer(points, this.#maxReplyBytes);
      }
    } catch (error) {
      for (const read of reads) read.call.refuse({ ok: false, code: 'stopped', leader: 0 });
      this.#failed(error);
    } finally {
      this.#reading -= reads.length;
      snapshot?.release();
    }
  }
}

/** One page of a scan. */
class Scan {
  result: ScanResult = { keys: [], values: [], more: false };

  constructor(
    readonly cf: ColumnFamily,
    readonly start: Uint8Array,
    readonly end: Uint8Array,
    readonly request: kvrpcpb.RawScanRequest,
  ) {}

  async fetch(engine: Engine, snapshot: EngineSnapshot, maxBytes: number): Promise<void> {
    const { limit, reverse, keyOnly } = this.request;
    if (limit === 0) return;
    this.result = await engine.scan(this.cf, {
      start: this.start,
      end: this.end,
      reverse,
      keysOnly: keyOnly,
      limit: Math.min(limit, MAX_SCAN_KEYS),
      maxBytes: maxBytes / 2,
      snapshot,
    });
  }
}

/** Where the answer to one request will come from: a point read's place, a scan, or the sentence that refuses it. */
type Source =
  | { readonly kind: 'point'; readonly cf: ColumnFamily; readonly key: Uint8Array; readonly place: number }
  | { readonly kind: 'scan'; readonly scan: Scan }
  | { readonly kind: 'txn'; readonly read: TxnRead }
  | { readonly kind: 'refused'; readonly error: string };

class CallRead {
  readonly #sources: Source[] = [];
  readonly #scans: Scan[] = [];
  readonly #passes: TxnRead[] = [];

  constructor(
    readonly call: RegionCall,
    readonly points: PointReads,
    readonly txn: TxnReads | undefined,
    readonly flow: FlowCount,
    readonly load: LoadSampler | undefined,
  ) {}

  get scanning(): boolean {
    return this.#scans.length > 0 || this.#passes.length > 0;
  }

  async scan(engine: Engine, snapshot: EngineSnapshot, maxBytes: number): Promise<void> {
    const share = maxBytes / (this.#scans.length + this.#passes.length);
    for (const scan of this.#scans) await scan.fetch(engine, snapshot, share);
    if (this.#passes.length === 0) return;
    const reader = new MvccReader(engine, snapshot);
    for (const pass of this.#passes) await pass.fetch(reader, share);
  }

  /** Finds out what to read. @returns why the region cannot serve the call */
  plan(region: metapb.Region): errorpb.Error | undefined {
    for (const request of this.call.event.requests) {
      try {
        const error = this.#planOne(request, region);
        if (error !== undefined) return error;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.#refuse(`invalid-argument: ${error.message}`);
      }
    }
    return undefined;
  }

  #planOne(request: troupepb.RegionRequest, region: metapb.Region): errorpb.Error | undefined {
    const { rawGet, rawScan } = request;
    if (this.txn !== undefined && isTxnRead(request)) {
      const planned = this.txn.plan(request, region);
      if ('error' in planned) return planned.error;
      this.#sources.push({ kind: 'txn', read: planned.read });
      if (planned.read.scans) this.#passes.push(planned.read);
      return undefined;
    }
    const family = rawGet?.cf ?? rawScan?.cf;
    const cf = dataFamily(family ?? '');
    if (family === undefined) {
      this.#refuse('failed: This store does not know such a read; use a client of its version.');
    } else if (cf === undefined) {
      this.#refuse(`invalid-argument: There is no column family "${family}": use default, lock or write.`);
    } else if (rawGet !== undefined) {
      const key = rawKey(rawGet.key);
      if (!containsKey(region, key)) return keyNotInRegion(region, key);
      this.#sources.push({ kind: 'point', cf, key, place: this.points.add(cf, key) });
    } else if (rawScan !== undefined) {
      const { startKey, endKey, reverse } = rawScan;
      const { start, end } = reverse ? rawRange(endKey, startKey) : rawRange(startKey, endKey);
      if (!containsRange(region, start, end)) return keyNotInRegion(region, start);
      const scan = new Scan(cf, start, end, rawScan);
      this.#scans.push(scan);
      this.#sources.push({ kind: 'scan', scan });
    }
    return undefined;
  }

  #refuse(error: string): void {
    this.#sources.push({ kind: 'refused', error });
  }

  /** What counts is what was read: up to the page's last key. */
  #noteScan({ start, end, request, result: { keys, more } }: Scan, bytes: number): void {
    const last = keys.at(-1);
    const [low, high] =
      !more || last === undefined ? [start, end] : request.reverse ? [last, end] : [start, keyAfter(last)];
    this.load?.noteScan(this.call.event.context.regionId, low, high, bytes);
  }

  #noteTxn({ points, range, bytes }: ReadAnswer): void {
    if (this.load === undefined) return;
    const { regionId } = this.call.event.context;
    for (const point of points) this.load.noteRead(regionId, point.key, point.bytes);
    if (range !== undefined) this.load.noteScan(regionId, range.start, range.end, bytes);
  }

  /** Answers as many of the requests as one reply may carry, and at least one: the client asks for the rest again. */
  answer(points: PointReads, maxBytes: number): void {
    const responses: troupepb.RegionResponse[] = [];
    let bytes = 0;
    let keys = 0;
    let keyBytes = 0;
    for (const source of this.#sources) {
      let response: troupepb.RegionResponse;
      if (source.kind === 'point') {
        response = pointResponse(points, source.cf, source.place);
        const length = response.rawGet?.value?.length ?? 0;
        bytes += length;
        keys++;
        keyBytes += source.key.length;
        this.load?.noteRead(this.call.event.context.regionId, source.key, length);
      } else if (source.kind === 'scan') {
        const { keys: found, values, more } = source.scan.result;
        const kvs = found.map((key, i) => pair(key, values[i]));
        let length = 0;
        for (const { key, value } of kvs) length += key.length + value.length;
        bytes += length;
        keys += kvs.length;
        this.#noteScan(source.scan, length);
        response = { rawScan: { regionError: undefined, kvs, error: '', more } };
      } else if (source.kind === 'txn') {
        const answer = source.read.answer(Math.max(0, maxBytes - bytes));
        response = answer.response;
        bytes += answer.bytes;
        keys += answer.keys;
        this.#noteTxn(answer);
      } else {
        response = refusal(this.call.event.requests[responses.length], source.error);
      }
      if (bytes > maxBytes && responses.length > 0) break;
      responses.push(response);
    }
    this.flow.read(bytes + keyBytes, keys);
    this.call.answer(responses);
  }
}

/** A value that this version cannot read is the answer to its own request, and nobody else's trouble. */
function pointResponse(points: PointReads, cf: ColumnFamily, place: number): troupepb.RegionResponse {
  try {
    const value = points.value(cf, place);
    return {
      rawGet: { regionError: undefined, error: '', value: value ?? NO_BYTES, notFound: value === undefined },
    };
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return {
      rawGet: { regionError: undefined, error: `failed: ${error.message}`, value: NO_BYTES, notFound: true },
    };
  }
}

function pair(storedKey: Uint8Array, value: Uint8Array | undefined): kvrpcpb.KvPair {
  return {
    error: undefined,
    key: userKey(storedKey).key,
    value: value === undefined || value.length === 0 ? NO_BYTES : decodeRawValue(value).value,
  };
}

function refusal(request: troupepb.RegionRequest | undefined, error: string): troupepb.RegionResponse {
  if (request !== undefined && (isTxnRead(request) || isTxnWrite(request)))
    return refused(request, invalid(error));
  return request?.rawScan === undefined
    ? { rawGet: { regionError: undefined, error, value: NO_BYTES, notFound: true } }
    : { rawScan: { regionError: undefined, kvs: [], error, more: false } };
}

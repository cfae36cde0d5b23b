import type { Span } from '@opentelemetry/api';
import { encodeRawValue, rawKey, rawRange, StorageError } from '../../storage/index.js';
import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { errorpb, troupepb } from '../proto/index.js';
import type { Outcome } from '../raft/state-machine.js';
import { type CommandResult, checkKeys, dataFamily } from './evaluate.js';
import type { RegionCall } from './region-call.js';
import { errorOf } from './region-errors.js';

const { CmdType } = raft_cmdpb;

/** Bytes that a request costs in a command beside its keys and values, at most. */
const REQUEST_OVERHEAD_BYTES = 48;
/** Bytes of a command's header, at most. */
export const HEADER_BYTES = 128;

/** A client's request as the replicated command has it, or the sentence that refuses it. */
type Translation = raft_cmdpb.Request | string;

/** One call's run of requests inside a command. */
interface Member {
  readonly call: RegionCall;
  /** Per request of the call: its place in the command, or why it was refused. */
  readonly places: readonly (number | string)[];
}

/**
 * Gathers the writes that one turn brings for one region into as few log entries as the entry limit allows: a call's
 * requests always share an entry.
 */
export class WriteTurn {
  readonly #maxEntryBytes: number;
  #requests: raft_cmdpb.Request[] = [];
  #members: Member[] = [];
  #bytes = HEADER_BYTES;

  constructor(maxEntryBytes: number) {
    this.#maxEntryBytes = maxEntryBytes;
  }

  get isEmpty(): boolean {
    return this.#members.length === 0;
  }

  /**
   * Takes a call in. When it does not fit into the entry under way, `full` must propose that entry first.
   * @returns why the call is refused: a key is not in the region, or it alone exceeds the entry limit.
   */
  add(call: RegionCall, region: metapb.Region, full: () => void): errorpb.Error | undefined {
    const translated = call.event.requests.map(translateWrite);
    const requests = translated.filter((one) => typeof one !== 'string');
    const bytes = requests.reduce((sum, request) => sum + requestBytes(request), HEADER_BYTES);
    if (bytes > this.#maxEntryBytes) return tooLarge(region, bytes, this.#maxEntryBytes);
    const error = checkKeys(requests, region);
    if (error !== undefined) return error;
    if (this.#bytes + bytes - HEADER_BYTES > this.#maxEntryBytes) full();
    this.#bytes += bytes - HEADER_BYTES;
    const places = translated.map((one) => (typeof one === 'string' ? one : this.#requests.push(one) - 1));
    this.#members.push({ call, places });
    return undefined;
  }

  /** Ends the command under way: its requests, and who is to be answered with their outcome. */
  take(): { readonly requests: readonly raft_cmdpb.Request[]; readonly waiting: WaitingWrites } {
    const requests = this.#requests;
    const waiting = new WaitingWrites(this.#members);
    this.#requests = [];
    this.#members = [];
    this.#bytes = HEADER_BYTES;
    return { requests, waiting };
  }
}

/** The calls whose writes share an entry. */
export class WaitingWrites {
  readonly #members: readonly Member[];

  constructor(members: readonly Member[]) {
    this.#members = members;
  }

  /** Of the traced requests among them. */
  get spans(): readonly Span[] | undefined {
    let spans: Span[] | undefined;
    for (const { call } of this.#members) {
      if (call.spans === undefined) continue;
      spans ??= [];
      spans.push(...call.spans.all);
    }
    return spans;
  }

  /** Answers every call, once the entry has been applied or refused. */
  settle(outcome: Outcome<unknown>): void {
    for (const { call, places } of this.#members) {
      if (!outcome.ok) {
        call.refuse(outcome);
        continue;
      }
      const { regionError, swaps } = outcome.result as CommandResult;
      if (regionError !== undefined) call.fail(regionError);
      else call.answer(call.event.requests.map((request, i) => response(request, places[i], swaps)));
    }
  }
}

// Nearly every response is one of these.
const PUT: troupepb.RegionResponse = { rawPut: { regionError: undefined, error: '' } };
const DELETED: troupepb.RegionResponse = { rawDelete: { regionError: undefined, error: '' } };
const RANGE_DELETED: troupepb.RegionResponse = { rawDeleteRange: { regionError: undefined, error: '' } };
const NO_BYTES = new Uint8Array(0);

function response(
  request: troupepb.RegionRequest,
  place: number | string | undefined,
  swaps: CommandResult['swaps'],
): troupepb.RegionResponse {
  const error = typeof place === 'string' ? place : '';
  if (request.rawPut !== undefined) return error === '' ? PUT : { rawPut: { regionError: undefined, error } };
  if (request.rawDelete !== undefined) {
    return error === '' ? DELETED : { rawDelete: { regionError: undefined, error } };
  }
  if (request.rawDeleteRange !== undefined) {
    return error === '' ? RANGE_DELETED : { rawDeleteRange: { regionError: undefined, error } };
  }
  const swap = typeof place === 'number' ? swaps?.[place] : undefined;
  return {
    rawCompareAndSwap: {
      regionError: undefined,
      error,
      succeed: swap?.succeed ?? false,
      previousNotExist: swap?.previous === undefined,
      previousValue: swap?.previous ?? NO_BYTES,
    },
  };
}

export function tooLarge(region: metapb.Region, entrySize: number, maxEntryBytes: number): errorpb.Error {
  return errorOf(
    `the writes sent together take ${entrySize} bytes, the cluster's limit is ${maxEntryBytes} an entry: send fewer`,
    { raftEntryTooLarge: { regionId: region.id, entrySize, maxEntryBytes } },
  );
}

/** Bytes that a request takes in an entry, at most. */
export function requestBytes({
  put,
  delete: remove,
  deleteRange,
  compareAndSwap,
}: raft_cmdpb.Request): number {
  let bytes = REQUEST_OVERHEAD_BYTES;
  if (put !== undefined) bytes += put.key.length + put.value.length;
  else if (remove !== undefined) bytes += remove.key.length;
  else if (deleteRange !== undefined) bytes += deleteRange.startKey.length + deleteRange.endKey.length;
  else if (compareAndSwap !== undefined) {
    bytes += compareAndSwap.key.length + compareAndSwap.value.length + compareAndSwap.previousValue.length;
  }
  return bytes;
}

function translateWrite(request: troupepb.RegionRequest): Translation {
  try {
    return storedWrite(request);
  } catch (error) {
    if (error instanceof StorageError) return `invalid-argument: ${error.message}`;
    throw error;
  }
}

/** Stored keys and values for the user's. @throws StorageError for a key that may not be */
function storedWrite(request: troupepb.RegionRequest): Translation {
  const { rawPut, rawDelete, rawDeleteRange, rawCompareAndSwap } = request;
  const cf = rawPut?.cf ?? rawDelete?.cf ?? rawDeleteRange?.cf ?? rawCompareAndSwap?.cf;
  if (cf === undefined) return 'failed: This store does not know such a write; use a client of its version.';
  if (dataFamily(cf) === undefined) {
    return `invalid-argument: There is no column family "${cf}": use default, lock or write.`;
  }
  if (rawPut !== undefined) {
    const put = { cf, key: rawKey(rawPut.key), value: encodeRawValue(rawPut.value) };
    return {
      cmdType: CmdType.Put,
      put,
      delete: undefined,
      deleteRange: undefined,
      compareAndSwap: undefined,
    };
  }
  if (rawDelete !== undefined) {
    const remove = { cf, key: rawKey(rawDelete.key) };
    return {
      cmdType: CmdType.Delete,
      put: undefined,
      delete: remove,
      deleteRange: undefined,
      compareAndSwap: undefined,
    };
  }
  if (rawDeleteRange !== undefined) {
    const { start, end } = rawRange(rawDeleteRange.startKey, rawDeleteRange.endKey);
    const deleteRange = { cf, startKey: start, endKey: end };
    return {
      cmdType: CmdType.DeleteRange,
      put: undefined,
      delete: undefined,
      deleteRange,
      compareAndSwap: undefined,
    };
  }
  if (rawCompareAndSwap === undefined) return 'failed: an empty request';
  const { key, value, previousNotExist, previousValue } = rawCompareAndSwap;
  const compareAndSwap = { cf, key: rawKey(key), value, previousNotExist, previousValue };
  return {
    cmdType: CmdType.CompareAndSwap,
    put: undefined,
    delete: undefined,
    deleteRange: undefined,
    compareAndSwap,
  };
}

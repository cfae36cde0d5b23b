/**
 * troupepb.RegionRequests and RegionResponses: one client's turn for one region, up to thousands of small requests in a
 * message. Raw gets, puts and deletes, and answers of many pairs, are read and written by hand, the rest through the
 * generated codecs; the bytes are those of the schema.
 */
import { DecodeError, EncodeError } from '../../storage/proto/errors.js';
import {
  encodeWith,
  readEpoch,
  readNested,
  readPeer,
  writeEpoch,
  writePeer,
} from '../../storage/proto/meta-codec.js';
import { delimited, NO_BYTES, Reader, varint, Writer } from '../../storage/proto/wire.js';
import * as errorpb from './generated.errorpb.js';
import * as kvrpcpb from './generated.kvrpcpb.js';
import {
  type RegionRequest,
  type RegionRequests,
  type RegionResponse,
  type RegionResponses,
  RequestTrace,
} from './generated.troupepb.js';
import { readBatchGet, readScan, writeBatchGet, writeScan } from './pairs-codec.js';

const GET = delimited(13);
const PUT = delimited(15);
const DELETE = delimited(17);
const SCAN = delimited(2);
const BATCH_GET = delimited(7);
const TRACE = delimited(3);

/** A RegionRequests without an empty list where nothing is traced. */
export type RegionBatch = Pick<RegionRequests, 'context' | 'requests'> & {
  readonly traces?: readonly RequestTrace[] | undefined;
};

interface BodyCodec {
  encode(body: object): Uint8Array;
  decode(bytes: Uint8Array): object;
}

/** The kinds that are not worth a codec of their own: `key` on the wire, name, codec. */
type Rare<T> = readonly { readonly key: number; readonly name: keyof T; readonly codec: BodyCodec }[];

const rareRequests: Rare<RegionRequest> = [
  { key: delimited(1), name: 'get', codec: kvrpcpb.GetRequest },
  { key: delimited(2), name: 'scan', codec: kvrpcpb.ScanRequest },
  { key: delimited(3), name: 'prewrite', codec: kvrpcpb.PrewriteRequest },
  { key: delimited(4), name: 'commit', codec: kvrpcpb.CommitRequest },
  { key: delimited(7), name: 'batchGet', codec: kvrpcpb.BatchGetRequest },
  { key: delimited(8), name: 'batchRollback', codec: kvrpcpb.BatchRollbackRequest },
  { key: delimited(9), name: 'scanLock', codec: kvrpcpb.ScanLockRequest },
  { key: delimited(10), name: 'resolveLock', codec: kvrpcpb.ResolveLockRequest },
  { key: delimited(11), name: 'gc', codec: kvrpcpb.GCRequest },
  { key: delimited(14), name: 'rawBatchGet', codec: kvrpcpb.RawBatchGetRequest },
  { key: delimited(16), name: 'rawBatchPut', codec: kvrpcpb.RawBatchPutRequest },
  { key: delimited(18), name: 'rawBatchDelete', codec: kvrpcpb.RawBatchDeleteRequest },
  { key: delimited(19), name: 'rawScan', codec: kvrpcpb.RawScanRequest },
  { key: delimited(20), name: 'rawDeleteRange', codec: kvrpcpb.RawDeleteRangeRequest },
  { key: delimited(25), name: 'checkTxnStatus', codec: kvrpcpb.CheckTxnStatusRequest },
  { key: delimited(26), name: 'txnHeartBeat', codec: kvrpcpb.TxnHeartBeatRequest },
  { key: delimited(33), name: 'checkSecondaryLocks', codec: kvrpcpb.CheckSecondaryLocksRequest },
  { key: delimited(1001), name: 'rawCompareAndSwap', codec: kvrpcpb.RawCASRequest },
  { key: delimited(1002), name: 'mvccGetByKey', codec: kvrpcpb.MvccGetByKeyRequest },
];
const rareResponses: Rare<RegionResponse> = [
  { key: delimited(1), name: 'get', codec: kvrpcpb.GetResponse },
  { key: delimited(3), name: 'prewrite', codec: kvrpcpb.PrewriteResponse },
  { key: delimited(4), name: 'commit', codec: kvrpcpb.CommitResponse },
  { key: delimited(8), name: 'batchRollback', codec: kvrpcpb.BatchRollbackResponse },
  { key: delimited(9), name: 'scanLock', codec: kvrpcpb.ScanLockResponse },
  { key: delimited(10), name: 'resolveLock', codec: kvrpcpb.ResolveLockResponse },
  { key: delimited(11), name: 'gc', codec: kvrpcpb.GCResponse },
  { key: delimited(14), name: 'rawBatchGet', codec: kvrpcpb.RawBatchGetResponse },
  { key: delimited(16), name: 'rawBatchPut', codec: kvrpcpb.RawBatchPutResponse },
  { key: delimited(18), name: 'rawBatchDelete', codec: kvrpcpb.RawBatchDeleteResponse },
  { key: delimited(19), name: 'rawScan', codec: kvrpcpb.RawScanResponse },
  { key: delimited(20), name: 'rawDeleteRange', codec: kvrpcpb.RawDeleteRangeResponse },
  { key: delimited(25), name: 'checkTxnStatus', codec: kvrpcpb.CheckTxnStatusResponse },
  { key: delimited(26), name: 'txnHeartBeat', codec: kvrpcpb.TxnHeartBeatResponse },
  { key: delimited(33), name: 'checkSecondaryLocks', codec: kvrpcpb.CheckSecondaryLocksResponse },
  { key: delimited(1001), name: 'rawCompareAndSwap', codec: kvrpcpb.RawCASResponse },
  { key: delimited(1002), name: 'mvccGetByKey', codec: kvrpcpb.MvccGetByKeyResponse },
];

// A batch stands in it only until it is copied into its frame.
const regionWriter = new Writer(true);

/** The bytes stand until the next batch is encoded. @throws EncodeError when a request has no body. */
export function encodeRegionRequests(batch: RegionBatch): Uint8Array {
  return encodeWith(regionWriter, writeRequests, batch);
}

/**
 * Keys and values are views of `bytes`.
 *
 * @throws DecodeError also when a request is of no known kind, or of two.
 */
export function decodeRegionRequests(bytes: Uint8Array): RegionBatch {
  const reader = new Reader(bytes);
  let context: kvrpcpb.Context | undefined;
  const requests: RegionRequest[] = [];
  let traces: RequestTrace[] | undefined;
  while (reader.more()) {
    const key = reader.key();
    if (key === delimited(1)) context = readNested(reader, readContext);
    else if (key === delimited(2)) requests.push(readNested(reader, readRequest));
    else if (key === TRACE) {
      traces ??= [];
      traces.push(RequestTrace.decode(reader.bytes()));
    } else reader.skip(key);
  }
  return traces === undefined ? { context, requests } : { context, requests, traces };
}

/** The bytes stand until the next batch is encoded. @throws EncodeError when a response has no body. */
export function encodeRegionResponses(batch: RegionResponses): Uint8Array {
  return encodeWith(regionWriter, writeResponses, batch);
}

/** As `decodeRegionRequests`. @throws DecodeError */
export function decodeRegionResponses(bytes: Uint8Array): RegionResponses {
  const reader = new Reader(bytes);
  let regionError: errorpb.Error | undefined;
  const responses: RegionResponse[] = [];
  while (reader.more()) {
    const key = reader.key();
    if (key === delimited(1)) regionError = errorpb.Error.decode(reader.bytes());
    else if (key === delimited(2)) responses.push(readNested(reader, readResponse));
    else reader.skip(key);
  }
  return { regionError, responses };
}

function writeRequests(writer: Writer, batch: RegionBatch): void {
  if (batch.traces !== undefined) writeTraces(writer, batch.traces);
  for (let i = batch.requests.length - 1; i >= 0; i -= 1) {
    const mark = writer.written;
    writeRequest(writer, batch.requests[i] as RegionRequest);
    writer.nested(delimited(2), mark);
  }
  if (batch.context !== undefined) writeContext(writer, batch.context);
}

function writeTraces(writer: Writer, traces: readonly RequestTrace[]): void {
  for (let i = traces.length - 1; i >= 0; i -= 1)
    writer.bytesItem(TRACE, RequestTrace.encode(traces[i] as RequestTrace));
}

function writeContext(writer: Writer, context: kvrpcpb.Context): void {
  const mark = writer.written;
  writer.uint64(varint(5), context.term);
  if (context.peer !== undefined) writePeer(writer, 3, context.peer);
  if (context.regionEpoch !== undefined) writeEpoch(writer, 2, context.regionEpoch);
  writer.uint64(varint(1), context.regionId);
  writer.nested(delimited(1), mark);
}

function readContext(reader: Reader): kvrpcpb.Context {
  let regionId = 0;
  let regionEpoch: kvrpcpb.Context['regionEpoch'];
  let peer: kvrpcpb.Context['peer'];
  let term = 0;
  while (reader.more()) {
    const key = reader.key();
    if (key === varint(1)) regionId = reader.uint64();
    else if (key === delimited(2)) regionEpoch = readNested(reader, readEpoch);
    else if (key === delimited(3)) peer = readNested(reader, readPeer);
    else if (key === varint(5)) term = reader.uint64();
    else reader.skip(key);
  }
  return { regionId, regionEpoch, peer, term };
}

function writeRequest(writer: Writer, request: RegionRequest): void {
  const mark = writer.written;
  const { rawPut, rawGet, rawDelete } = request;
  if (rawPut !== undefined) {
    writer.string(delimited(4), rawPut.cf);
    writer.bytes(delimited(3), rawPut.value);
    writer.bytes(delimited(2), rawPut.key);
    if (rawPut.context !== undefined) writeContext(writer, rawPut.context);
    writer.nested(PUT, mark);
    return;
  }
  const keyed = rawGet ?? rawDelete;
  if (keyed === undefined) {
    writeRare(writer, rareRequests, request);
    return;
  }
  writer.string(delimited(3), keyed.cf);
  writer.bytes(delimited(2), keyed.key);
  if (keyed.context !== undefined) writeContext(writer, keyed.context);
  writer.nested(rawGet === undefined ? DELETE : GET, mark);
}

function readRequest(reader: Reader): RegionRequest {
  const key = reader.key();
  let request: RegionRequest;
  if (key === PUT) request = { rawPut: readNested(reader, readPut) };
  else if (key === GET) request = { rawGet: readNested(reader, readKeyed) };
  else if (key === DELETE) request = { rawDelete: readNested(reader, readKeyed) };
  else request = readRare(reader, rareRequests, key);
  if (reader.more()) throw new DecodeError('malformed', 'a request of two kinds');
  return request;
}

function readPut(reader: Reader): kvrpcpb.RawPutRequest {
  let context: kvrpcpb.Context | undefined;
  let key = NO_BYTES;
  let value = NO_BYTES;
  let cf = '';
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(2)) key = reader.bytes();
    else if (field === delimited(3)) value = reader.bytes();
    else if (field === delimited(4)) cf = reader.string();
    else if (field === delimited(1)) context = readNested(reader, readContext);
    else reader.skip(field);
  }
  return { context, key, value, cf };
}

function readKeyed(reader: Reader): kvrpcpb.RawGetRequest & kvrpcpb.RawDeleteRequest {
  let context: kvrpcpb.Context | undefined;
  let key = NO_BYTES;
  let cf = '';
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(2)) key = reader.bytes();
    else if (field === delimited(3)) cf = reader.string();
    else if (field === delimited(1)) context = readNested(reader, readContext);
    else reader.skip(field);
  }
  return { context, key, cf };
}

function writeResponses(writer: Writer, batch: RegionResponses): void {
  for (let i = batch.responses.length - 1; i >= 0; i -= 1) {
    const mark = writer.written;
    writeResponse(writer, batch.responses[i] as RegionResponse);
    writer.nested(delimited(2), mark);
  }
  writeRegionError(writer, batch.regionError);
}

function writeRegionError(writer: Writer, error: errorpb.Error | undefined): void {
  if (error !== undefined) writer.bytesItem(delimited(1), errorpb.Error.encode(error));
}

function writeResponse(writer: Writer, response: RegionResponse): void {
  const mark = writer.written;
  const { rawGet, rawPut, rawDelete, scan, batchGet } = response;
  if (rawGet !== undefined) {
    writer.bool(varint(4), rawGet.notFound);
    writer.bytes(delimited(3), rawGet.value);
    writer.string(delimited(2), rawGet.error);
    writeRegionError(writer, rawGet.regionError);
    writer.nested(GET, mark);
    return;
  }
  const done = rawPut ?? rawDelete;
  if (scan !== undefined) {
    writeScan(writer, scan);
    writer.nested(SCAN, mark);
    return;
  }
  if (batchGet !== undefined) {
    writeBatchGet(writer, batchGet);
    writer.nested(BATCH_GET, mark);
    return;
  }
  if (done === undefined) {
    writeRare(writer, rareResponses, response);
    return;
  }
  writer.string(delimited(2), done.error);
  writeRegionError(writer, done.regionError);
  writer.nested(rawPut === undefined ? DELETE : PUT, mark);
}

function readResponse(reader: Reader): RegionResponse {
  const key = reader.key();
  let response: RegionResponse;
  if (key === GET) response = { rawGet: readNested(reader, readValue) };
  else if (key === PUT) response = { rawPut: readNested(reader, readDone) };
  else if (key === DELETE) response = { rawDelete: readNested(reader, readDone) };
  else if (key === SCAN) response = { scan: readNested(reader, readScan) };
  else if (key === BATCH_GET) response = { batchGet: readNested(reader, readBatchGet) };
  else response = readRare(reader, rareResponses, key);
  if (reader.more()) throw new DecodeError('malformed', 'a response of two kinds');
  return response;
}

function readValue(reader: Reader): kvrpcpb.RawGetResponse {
  let regionError: errorpb.Error | undefined;
  let error = '';
  let value = NO_BYTES;
  let notFound = false;
  while (reader.more()) {
    const key = reader.key();
    if (key === delimited(3)) value = reader.bytes();
    else if (key === varint(4)) notFound = reader.bool();
    else if (key === delimited(2)) error = reader.string();
    else if (key === delimited(1)) regionError = errorpb.Error.decode(reader.bytes());
    else reader.skip(key);
  }
  return { regionError, error, value, notFound };
}

function readDone(reader: Reader): kvrpcpb.RawPutResponse & kvrpcpb.RawDeleteResponse {
  let regionError: errorpb.Error | undefined;
  let error = '';
  while (reader.more()) {
    const key = reader.key();
    if (key === delimited(2)) error = reader.string();
    else if (key === delimited(1)) regionError = errorpb.Error.decode(reader.bytes());
    else reader.skip(key);
  }
  return { regionError, error };
}

function writeRare<T>(writer: Writer, rare: Rare<T>, holder: T): void {
  for (const { key, name, codec } of rare) {
    const body = holder[name];
    if (body !== undefined) {
      writer.bytesItem(key, codec.encode(body as object));
      return;
    }
  }
  throw new EncodeError('a request or response without a body');
}

function readRare<T>(reader: Reader, rare: Rare<T>, key: number): T {
  for (const row of rare) {
    if (row.key === key) return { [row.name]: row.codec.decode(reader.bytes()) } as T;
  }
  throw new DecodeError('unknown-enum', `request kind ${key >>> 3} is unknown`);
}

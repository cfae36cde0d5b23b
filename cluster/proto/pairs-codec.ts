/** Scans and gets of many keys answer with pairs by the thousand: read and written by hand, in the schema's bytes. */
import { readNested } from '../../storage/proto/meta-codec.js';
import { delimited, NO_BYTES, type Reader, varint, type Writer } from '../../storage/proto/wire.js';
import * as errorpb from './generated.errorpb.js';
import * as kvrpcpb from './generated.kvrpcpb.js';

const REGION_ERROR = delimited(1);
const PAIRS = delimited(2);
const MORE = varint(1001);
const LAST_KEY = delimited(1002);
const ANSWERED = varint(1001);

export function writeScan(
  writer: Writer,
  { regionError, pairs, error, more, lastKey }: kvrpcpb.ScanResponse,
) {
  writer.bytes(LAST_KEY, lastKey);
  writer.bool(MORE, more);
  if (error !== undefined) writer.bytesItem(delimited(3), kvrpcpb.KeyError.encode(error));
  writePairs(writer, pairs);
  if (regionError !== undefined) writer.bytesItem(REGION_ERROR, errorpb.Error.encode(regionError));
}

/** Keys and values are views. */
export function readScan(reader: Reader): kvrpcpb.ScanResponse {
  let regionError: errorpb.Error | undefined;
  const pairs: kvrpcpb.KvPair[] = [];
  let error: kvrpcpb.KeyError | undefined;
  let more = false;
  let lastKey = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === PAIRS) pairs.push(readNested(reader, readPair));
    else if (field === MORE) more = reader.bool();
    else if (field === LAST_KEY) lastKey = reader.bytes();
    else if (field === delimited(3)) error = kvrpcpb.KeyError.decode(reader.bytes());
    else if (field === REGION_ERROR) regionError = errorpb.Error.decode(reader.bytes());
    else reader.skip(field);
  }
  return { regionError, pairs, error, more, lastKey };
}

export function writeBatchGet(
  writer: Writer,
  { regionError, pairs, error, answered }: kvrpcpb.BatchGetResponse,
) {
  writer.uint64(ANSWERED, answered);
  if (error !== undefined) writer.bytesItem(delimited(4), kvrpcpb.KeyError.encode(error));
  writePairs(writer, pairs);
  if (regionError !== undefined) writer.bytesItem(REGION_ERROR, errorpb.Error.encode(regionError));
}

/** Keys and values are views. */
export function readBatchGet(reader: Reader): kvrpcpb.BatchGetResponse {
  let regionError: errorpb.Error | undefined;
  const pairs: kvrpcpb.KvPair[] = [];
  let error: kvrpcpb.KeyError | undefined;
  let answered = 0;
  while (reader.more()) {
    const field = reader.key();
    if (field === PAIRS) pairs.push(readNested(reader, readPair));
    else if (field === ANSWERED) answered = reader.uint64();
    else if (field === delimited(4)) error = kvrpcpb.KeyError.decode(reader.bytes());
    else if (field === REGION_ERROR) regionError = errorpb.Error.decode(reader.bytes());
    else reader.skip(field);
  }
  return { regionError, pairs, error, answered };
}

/** The last one first, as the writer goes. */
function writePairs(writer: Writer, pairs: readonly kvrpcpb.KvPair[]): void {
  for (let i = pairs.length - 1; i >= 0; i -= 1) {
    const mark = writer.written;
    const { error, key, value } = pairs[i] as kvrpcpb.KvPair;
    writer.bytes(delimited(3), value);
    writer.bytes(delimited(2), key);
    if (error !== undefined) writer.bytesItem(delimited(1), kvrpcpb.KeyError.encode(error));
    writer.nested(PAIRS, mark);
  }
}

function readPair(reader: Reader): kvrpcpb.KvPair {
  let error: kvrpcpb.KeyError | undefined;
  let key = NO_BYTES;
  let value = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(2)) key = reader.bytes();
    else if (field === delimited(3)) value = reader.bytes();
    else if (field === delimited(1)) error = kvrpcpb.KeyError.decode(reader.bytes());
    else reader.skip(field);
  }
  return { error, key, value };
}

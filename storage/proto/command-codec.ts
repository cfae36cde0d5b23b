/**
 * The replicated command of a region, raft_cmdpb.RaftCmdRequest: what nearly every log entry carries. The bytes are
 * those of the schema.
 */
import { DecodeError, EncodeError } from './errors.js';
import {
  AdminRequest,
  CmdType,
  type CompareAndSwapRequest,
  type DeleteRangeRequest,
  type DeleteRequest,
  type PutRequest,
  type RaftCmdRequest,
  type RaftRequestHeader,
  type Request,
} from './generated.raft_cmdpb.js';
import {
  encodeWith,
  NO_EPOCH,
  NO_PEER,
  readEpoch,
  readNested,
  readPeer,
  writeEpoch,
  writePeer,
} from './meta-codec.js';
import { delimited, NO_BYTES, Reader, varint, Writer } from './wire.js';

/** The newest command version that this build writes and understands. */
export const COMMAND_VERSION = 1;

// Commands become the bodies of log entries and live as long as the log is cached.
const commandWriter = new Writer();

/** @throws EncodeError when a request's type and its body differ. */
export function encodeCommand(command: RaftCmdRequest): Uint8Array {
  return encodeWith(commandWriter, writeCommand, command);
}

/**
 * Keys and values are views of `bytes`.
 *
 * @throws DecodeError `unknown-version` for a command of a newer version, `unknown-enum` for a kind that is not known:
 * a peer that meets either in its log has to stop.
 */
export function decodeCommand(bytes: Uint8Array): RaftCmdRequest {
  const reader = new Reader(bytes);
  let header: RaftRequestHeader | undefined;
  const requests: Request[] = [];
  let adminRequest: AdminRequest | undefined;
  let version = 0;
  while (reader.more()) {
    const key = reader.key();
    switch (key) {
      case delimited(1):
        header = readNested(reader, readHeader);
        break;
      case delimited(2):
        requests.push(readNested(reader, readRequest));
        break;
      case delimited(3):
        adminRequest = AdminRequest.decode(reader.bytes());
        break;
      case varint(1001):
        version = reader.uint64();
        break;
      default:
        reader.skip(key);
    }
  }
  if (version === 0) throw new DecodeError('malformed', 'a command without a version');
  if (version > COMMAND_VERSION) {
    throw new DecodeError(
      'unknown-version',
      `command version ${version}; this node knows ${COMMAND_VERSION} at most`,
    );
  }
  return { header, requests, adminRequest, version };
}

function writeCommand(writer: Writer, command: RaftCmdRequest): void {
  writer.uint64(varint(1001), command.version);
  if (command.adminRequest !== undefined) {
    writer.bytesItem(delimited(3), AdminRequest.encode(command.adminRequest));
  }
  for (let i = command.requests.length - 1; i >= 0; i -= 1) {
    const mark = writer.written;
    writeRequest(writer, command.requests[i] as Request);
    writer.nested(delimited(2), mark);
  }
  if (command.header !== undefined) {
    const mark = writer.written;
    writeHeader(writer, command.header);
    writer.nested(delimited(1), mark);
  }
}

function writeHeader(writer: Writer, header: RaftRequestHeader): void {
  writer.uint64(varint(6), header.term);
  if (header.regionEpoch !== undefined) writeEpoch(writer, 5, header.regionEpoch);
  if (header.peer !== undefined) writePeer(writer, 2, header.peer);
  writer.uint64(varint(1), header.regionId);
}

function readHeader(reader: Reader): RaftRequestHeader {
  let regionId = 0;
  let peer = NO_PEER;
  let regionEpoch = NO_EPOCH;
  let term = 0;
  while (reader.more()) {
    const key = reader.key();
    if (key === varint(1)) regionId = reader.uint64();
    else if (key === delimited(2)) peer = readNested(reader, readPeer);
    else if (key === delimited(5)) regionEpoch = readNested(reader, readEpoch);
    else if (key === varint(6)) term = reader.uint64();
    else reader.skip(key);
  }
  return { regionId, peer, regionEpoch, term };
}

function writeRequest(writer: Writer, request: Request): void {
  const mark = writer.written;
  const { put, delete: remove, deleteRange, compareAndSwap } = request;
  if (request.cmdType === CmdType.Put && put !== undefined) {
    writer.bytes(delimited(3), put.value);
    writer.bytes(delimited(2), put.key);
    writer.string(delimited(1), put.cf);
    writer.nested(delimited(4), mark);
  } else if (request.cmdType === CmdType.Delete && remove !== undefined) {
    writer.bytes(delimited(2), remove.key);
    writer.string(delimited(1), remove.cf);
    writer.nested(delimited(5), mark);
  } else if (request.cmdType === CmdType.DeleteRange && deleteRange !== undefined) {
    writer.bytes(delimited(3), deleteRange.endKey);
    writer.bytes(delimited(2), deleteRange.startKey);
    writer.string(delimited(1), deleteRange.cf);
    writer.nested(delimited(8), mark);
  } else if (request.cmdType === CmdType.CompareAndSwap && compareAndSwap !== undefined) {
    writer.bytes(delimited(5), compareAndSwap.previousValue);
    writer.bool(varint(4), compareAndSwap.previousNotExist);
    writer.bytes(delimited(3), compareAndSwap.value);
    writer.bytes(delimited(2), compareAndSwap.key);
    writer.string(delimited(1), compareAndSwap.cf);
    writer.nested(delimited(1001), mark);
  } else {
    throw new EncodeError(`a request of type ${request.cmdType} without its body`);
  }
  writer.uint64(varint(1), request.cmdType);
}

const requestKeys: Readonly<Record<number, keyof Request>> = {
  [CmdType.Put]: 'put',
  [CmdType.Delete]: 'delete',
  [CmdType.DeleteRange]: 'deleteRange',
  [CmdType.CompareAndSwap]: 'compareAndSwap',
};

function readRequest(reader: Reader): Request {
  let cmdType = 0;
  let put: PutRequest | undefined;
  let remove: DeleteRequest | undefined;
  let deleteRange: DeleteRangeRequest | undefined;
  let compareAndSwap: CompareAndSwapRequest | undefined;
  while (reader.more()) {
    const key = reader.key();
    switch (key) {
      case varint(1):
        cmdType = reader.uint64();
        break;
      case delimited(4):
        put = readNested(reader, readPut);
        break;
      case delimited(5):
        remove = readNested(reader, readDelete);
        break;
      case delimited(8):
        deleteRange = readNested(reader, readDeleteRange);
        break;
      case delimited(1001):
        compareAndSwap = readNested(reader, readCompareAndSwap);
        break;
      default:
        reader.skip(key);
    }
  }
  const request: Request = { cmdType: cmdType as CmdType, put, delete: remove, deleteRange, compareAndSwap };
  const kind = requestKeys[cmdType];
  if (kind === undefined) throw new DecodeError('unknown-enum', `command kind ${cmdType} is unknown`);
  if (request[kind] === undefined)
    throw new DecodeError('malformed', `a command of kind ${kind} without its body`);
  return request;
}

function readPut(reader: Reader): PutRequest {
  let cf = '';
  let key = NO_BYTES;
  let value = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(1)) cf = reader.string();
    else if (field === delimited(2)) key = reader.bytes();
    else if (field === delimited(3)) value = reader.bytes();
    else reader.skip(field);
  }
  return { cf, key, value };
}

function readDelete(reader: Reader): DeleteRequest {
  let cf = '';
  let key = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(1)) cf = reader.string();
    else if (field === delimited(2)) key = reader.bytes();
    else reader.skip(field);
  }
  return { cf, key };
}

function readDeleteRange(reader: Reader): DeleteRangeRequest {
  let cf = '';
  let startKey = NO_BYTES;
  let endKey = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(1)) cf = reader.string();
    else if (field === delimited(2)) startKey = reader.bytes();
    else if (field === delimited(3)) endKey = reader.bytes();
    else reader.skip(field);
  }
  return { cf, startKey, endKey };
}

function readCompareAndSwap(reader: Reader): CompareAndSwapRequest {
  let cf = '';
  let key = NO_BYTES;
  let value = NO_BYTES;
  let previousNotExist = false;
  let previousValue = NO_BYTES;
  while (reader.more()) {
    const field = reader.key();
    if (field === delimited(1)) cf = reader.string();
    else if (field === delimited(2)) key = reader.bytes();
    else if (field === delimited(3)) value = reader.bytes();
    else if (field === varint(4)) previousNotExist = reader.bool();
    else if (field === delimited(5)) previousValue = reader.bytes();
    else reader.skip(field);
  }
  return { cf, key, value, previousNotExist, previousValue };
}

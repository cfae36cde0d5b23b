/**
 * eraftpb's entries and messages, and raft_serverpb's envelope, as the Raft core's own objects: what each turn of a
 * store encodes and decodes most. The bytes are those of the schema.
 */
import type {
  ConfState,
  Entry,
  EntryType,
  Message,
  MessageType,
  Snapshot,
} from '../../machines/raft/types.js';
import { DecodeError, EncodeError } from './errors.js';
import * as eraftpb from './generated.eraftpb.js';
import type { Peer, RegionEpoch } from './generated.metapb.js';
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

/** A Raft message on its way between two peers of a region, as an event. */
export interface RaftEvent {
  readonly type: 'raft';
  readonly regionId: number;
  readonly fromPeer: Peer;
  readonly toPeer: Peer;
  readonly message: Message;
  readonly regionEpoch: RegionEpoch;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  /** What the layers above Raft say beside the message; opaque here, and absent where they say nothing. */
  readonly extraCtx?: Uint8Array;
}

const wireTypes: { readonly [K in MessageType]: number | undefined } = {
  propose: eraftpb.MessageType.MsgPropose,
  appendEntries: eraftpb.MessageType.MsgAppend,
  appendEntriesResponse: eraftpb.MessageType.MsgAppendResponse,
  requestVote: eraftpb.MessageType.MsgRequestVote,
  requestVoteResponse: eraftpb.MessageType.MsgRequestVoteResponse,
  installSnapshot: eraftpb.MessageType.MsgSnapshot,
  heartbeat: eraftpb.MessageType.MsgHeartbeat,
  heartbeatResponse: eraftpb.MessageType.MsgHeartbeatResponse,
  transferLeader: eraftpb.MessageType.MsgTransferLeader,
  timeoutNow: eraftpb.MessageType.MsgTimeoutNow,
  readIndex: eraftpb.MessageType.MsgReadIndex,
  readIndexResponse: eraftpb.MessageType.MsgReadIndexResp,
  requestPreVote: eraftpb.MessageType.MsgRequestPreVote,
  requestPreVoteResponse: eraftpb.MessageType.MsgRequestPreVoteResponse,
  entriesPersisted: undefined,
  entriesApplied: undefined,
};
const names: (MessageType | undefined)[] = [];
for (const [name, number] of Object.entries(wireTypes)) {
  if (number !== undefined) names[number] = name as MessageType;
}

// Entries live until the turn's batch is written; messages only until they stand in their frame.
const entryWriter = new Writer();
const messageWriter = new Writer(true);

/** An entry as it stands in the log on disk. */
export function encodeEntry(entry: Entry): Uint8Array {
  return encodeWith(entryWriter, writeEntry, entry);
}

/** @throws DecodeError */
export function decodeEntry(bytes: Uint8Array): Entry {
  return readEntry(new Reader(bytes));
}

/** The bytes stand until the next message is encoded. @throws EncodeError for a message that a peer sends only to itself. */
export function encodeMessage(message: Message): Uint8Array {
  return encodeWith(messageWriter, writeMessage, message);
}

/** @throws DecodeError also when the message breaks Raft's own rules: entries with gaps, or terms that go back. */
export function decodeMessage(bytes: Uint8Array): Message {
  return readMessage(new Reader(bytes));
}

/** raft_serverpb.RaftMessage, as `encodeMessage` does it. @throws EncodeError for a message that a peer sends only to itself. */
export function encodeRaftEvent(event: RaftEvent): Uint8Array {
  return encodeWith(messageWriter, writeRaftEvent, event);
}

/** @throws DecodeError as `decodeMessage` does. */
export function decodeRaftEvent(bytes: Uint8Array): RaftEvent {
  const reader = new Reader(bytes);
  let regionId = 0;
  let fromPeer = NO_PEER;
  let toPeer = NO_PEER;
  let message: Message | undefined;
  let regionEpoch = NO_EPOCH;
  let startKey = NO_BYTES;
  let endKey = NO_BYTES;
  let extraCtx: Uint8Array | undefined;
  while (reader.more()) {
    const key = reader.key();
    switch (key) {
      case varint(1):
        regionId = reader.uint64();
        break;
      case delimited(2):
        fromPeer = readNested(reader, readPeer);
        break;
      case delimited(3):
        toPeer = readNested(reader, readPeer);
        break;
      case delimited(4):
        message = readNested(reader, readMessage);
        break;
      case delimited(5):
        regionEpoch = readNested(reader, readEpoch);
        break;
      case delimited(7):
        startKey = reader.bytes();
        break;
      case delimited(8):
        endKey = reader.bytes();
        break;
      case delimited(11):
        extraCtx = reader.bytes();
        break;
      default:
        reader.skip(key);
    }
  }
  if (message === undefined) throw new DecodeError('malformed', 'a RaftMessage carries no message');
  const event: RaftEvent = {
    type: 'raft',
    regionId,
    fromPeer,
    toPeer,
    message,
    regionEpoch,
    startKey,
    endKey,
  };
  return extraCtx === undefined ? event : { ...event, extraCtx };
}

function writeRaftEvent(writer: Writer, event: RaftEvent): void {
  if (event.extraCtx !== undefined) writer.bytes(delimited(11), event.extraCtx);
  writer.bytes(delimited(8), event.endKey);
  writer.bytes(delimited(7), event.startKey);
  writeEpoch(writer, 5, event.regionEpoch);
  const mark = writer.written;
  writeMessage(writer, event.message);
  writer.nested(delimited(4), mark);
  writePeer(writer, 3, event.toPeer);
  writePeer(writer, 2, event.fromPeer);
  writer.uint64(varint(1), event.regionId);
}

function writeMessage(writer: Writer, message: Message): void {
  const type = wireTypes[message.type];
  if (type === undefined)
    throw new EncodeError(`${message.type} is for the peer itself and has no form on the wire`);
  writer.bytes(delimited(12), message.context);
  writer.uint64(varint(11), message.rejectHint);
  writer.bool(varint(10), message.reject);
  if (message.snapshot !== undefined) {
    const mark = writer.written;
    writeSnapshot(writer, message.snapshot);
    writer.nested(delimited(9), mark);
  }
  writer.uint64(varint(8), message.commit);
  for (let i = message.entries.length - 1; i >= 0; i -= 1) {
    const mark = writer.written;
    writeEntry(writer, message.entries[i] as Entry);
    writer.nested(delimited(7), mark);
  }
  writer.uint64(varint(6), message.index);
  writer.uint64(varint(5), message.logTerm);
  writer.uint64(varint(4), message.term);
  writer.uint64(varint(3), message.from);
  writer.uint64(varint(2), message.to);
  writer.uint64(varint(1), type);
}

function readMessage(reader: Reader): Message {
  let wireType = 0;
  let to = 0;
  let from = 0;
  let term = 0;
  let logTerm = 0;
  let index = 0;
  const entries: Entry[] = [];
  let commit = 0;
  let snapshot: Snapshot | undefined;
  let reject = false;
  let rejectHint = 0;
  let context = NO_BYTES;
  while (reader.more()) {
    const key = reader.key();
    switch (key) {
      case varint(1):
        wireType = reader.uint64();
        break;
      case varint(2):
        to = reader.uint64();
        break;
      case varint(3):
        from = reader.uint64();
        break;
      case varint(4):
        term = reader.uint64();
        break;
      case varint(5):
        logTerm = reader.uint64();
        break;
      case varint(6):
        index = reader.uint64();
        break;
      case delimited(7):
        entries.push(readNested(reader, readEntry));
        break;
      case varint(8):
        commit = reader.uint64();
        break;
      case delimited(9):
        snapshot = readNested(reader, readSnapshot);
        break;
      case varint(10):
        reject = reader.bool();
        break;
      case varint(11):
        rejectHint = reader.uint64();
        break;
      case delimited(12):
        context = reader.bytes();
        break;
      default:
        reader.skip(key);
    }
  }
  const type = names[wireType];
  if (type === undefined) {
    throw new DecodeError('unknown-enum', `message type ${wireType} does not come from another peer`);
  }
  if (type === 'appendEntries') checkEntries(entries, index, logTerm, term);
  if ((type === 'installSnapshot') !== (snapshot !== undefined)) {
    throw new DecodeError('malformed', `${type} ${snapshot === undefined ? 'without' : 'with'} a snapshot`);
  }
  return {
    type,
    to,
    from,
    term,
    logTerm,
    index,
    entries,
    commit,
    vote: 0,
    reject,
    rejectHint,
    context,
    snapshot,
  };
}

/** What an append carries continues the log without a gap, and its terms never fall nor pass the sender's. */
function checkEntries(
  entries: readonly Entry[],
  previousIndex: number,
  previousTerm: number,
  senderTerm: number,
): void {
  let index = previousIndex;
  let term = previousTerm;
  for (const entry of entries) {
    index += 1;
    if (entry.index !== index) {
      throw new DecodeError('malformed', `entry ${entry.index} stands where ${index} should`);
    }
    if (entry.term < term || entry.term > senderTerm) {
      throw new DecodeError(
        'malformed',
        `entry ${index} has term ${entry.term}, not one of ${term} to ${senderTerm}`,
      );
    }
    term = entry.term;
  }
}

function writeEntry(writer: Writer, entry: Entry): void {
  writer.bytes(delimited(4), entry.data);
  writer.uint64(varint(3), entry.index);
  writer.uint64(varint(2), entry.term);
  writer.uint64(varint(1), entry.type);
}

function readEntry(reader: Reader): Entry {
  let type = 0;
  let term = 0;
  let index = 0;
  let data = NO_BYTES;
  while (reader.more()) {
    const key = reader.key();
    switch (key) {
      case varint(1):
        type = reader.uint64();
        break;
      case varint(2):
        term = reader.uint64();
        break;
      case varint(3):
        index = reader.uint64();
        break;
      case delimited(4):
        data = reader.bytes();
        break;
      default:
        reader.skip(key);
    }
  }
  if (type > eraftpb.EntryType.EntryConfChangeV2)
    throw new DecodeError('unknown-enum', `entry type ${type} is unknown`);
  return { term, index, type: type as EntryType, data };
}

function writeSnapshot(writer: Writer, snapshot: Snapshot): void {
  const mark = writer.written;
  writer.uint64(varint(3), snapshot.term);
  writer.uint64(varint(2), snapshot.index);
  writer.bytesItem(delimited(1), eraftpb.ConfState.encode(snapshot.confState));
  writer.nested(delimited(2), mark);
  writer.bytes(delimited(1), snapshot.data);
}

const NO_MEMBERS: ConfState = eraftpb.ConfState.from({});

function readSnapshot(reader: Reader): Snapshot {
  let data = NO_BYTES;
  let index = 0;
  let term = 0;
  let confState = NO_MEMBERS;
  while (reader.more()) {
    const key = reader.key();
    if (key === delimited(1)) data = reader.bytes();
    else if (key === delimited(2)) {
      const outer = reader.enter();
      while (reader.more()) {
        const inner = reader.key();
        if (inner === delimited(1)) confState = eraftpb.ConfState.decode(reader.bytes());
        else if (inner === varint(2)) index = reader.uint64();
        else if (inner === varint(3)) term = reader.uint64();
        else reader.skip(inner);
      }
      reader.leave(outer);
    } else reader.skip(key);
  }
  return { index, term, confState, data };
}

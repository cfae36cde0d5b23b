/** Hand-written parts that the hot codecs share: metapb's peer and epoch, and how a message is written and nested. */
import { DecodeError } from './errors.js';
import { type Peer, PeerRole, type RegionEpoch } from './generated.metapb.js';
import { delimited, type Reader, varint, type Writer } from './wire.js';

export const NO_PEER: Peer = { id: 0, storeId: 0, role: PeerRole.Voter };
export const NO_EPOCH: RegionEpoch = { confVer: 0, version: 0 };

/** Writes one whole message, and leaves the writer clean when it does not fit the schema. */
export function encodeWith<T>(
  writer: Writer,
  write: (writer: Writer, value: T) => void,
  value: T,
): Uint8Array {
  try {
    write(writer, value);
    return writer.finish();
  } catch (error) {
    writer.abandon();
    throw error;
  }
}

/** Reads a nested message; the reader stands at its length. */
export function readNested<T>(reader: Reader, read: (reader: Reader) => T): T {
  const outer = reader.enter();
  const value = read(reader);
  reader.leave(outer);
  return value;
}

export function writePeer(writer: Writer, field: number, peer: Peer): void {
  const mark = writer.written;
  writer.uint64(varint(3), peer.role);
  writer.uint64(varint(2), peer.storeId);
  writer.uint64(varint(1), peer.id);
  writer.nested(delimited(field), mark);
}

export function readPeer(reader: Reader): Peer {
  let id = 0;
  let storeId = 0;
  let role = 0;
  while (reader.more()) {
    const key = reader.key();
    if (key === varint(1)) id = reader.uint64();
    else if (key === varint(2)) storeId = reader.uint64();
    else if (key === varint(3)) role = reader.uint64();
    else reader.skip(key);
  }
  if (role > PeerRole.DemotingVoter) throw new DecodeError('unknown-enum', `peer role ${role} is unknown`);
  return { id, storeId, role: role as PeerRole };
}

export function writeEpoch(writer: Writer, field: number, epoch: RegionEpoch): void {
  const mark = writer.written;
  writer.uint64(varint(2), epoch.version);
  writer.uint64(varint(1), epoch.confVer);
  writer.nested(delimited(field), mark);
}

export function readEpoch(reader: Reader): RegionEpoch {
  let confVer = 0;
  let version = 0;
  while (reader.more()) {
    const key = reader.key();
    if (key === varint(1)) confVer = reader.uint64();
    else if (key === varint(2)) version = reader.uint64();
    else reader.skip(key);
  }
  return { confVer, version };
}

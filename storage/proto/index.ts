/** The schema of what is stored and of what peers send each other. */
export type { Codec } from './codec.js';
export { COMMAND_VERSION, decodeCommand, encodeCommand } from './command-codec.js';
export { DecodeError, type DecodeErrorCode, EncodeError } from './errors.js';
export * as eraftpb from './generated.eraftpb.js';
export * as metapb from './generated.metapb.js';
export * as raft_cmdpb from './generated.raft_cmdpb.js';
export * as raft_serverpb from './generated.raft_serverpb.js';
export {
  decodeEntry,
  decodeMessage,
  decodeRaftEvent,
  encodeEntry,
  encodeMessage,
  encodeRaftEvent,
  type RaftEvent,
} from './raft-codec.js';

// Raft as a statechart, to etcd-io/raft's semantics, order of messages and host contract.

export {
  type ConfChange,
  decodeConfChange,
  encodeConfChange,
  encodeConfChangeV1,
  type MemberChange,
} from './conf-change.js';
export { DEFAULT_RAFT_CONFIG, type RaftConfig, type RaftOptions } from './config.js';
export * from './configuration.js';
export type { RaftCore } from './core.js';
export { entriesSize, entrySize } from './entry-cache.js';
export { RaftError, type RaftErrorCode, RaftInvariantError } from './errors.js';
export { makeMessage } from './message.js';
export type { ProgressState } from './progress.js';
export * from './quorum.js';
export { type MemberProgress, type ProposeResult, RawNode } from './raw-node.js';
export {
  type MessageEvent,
  type RaftContext,
  type RaftEvent,
  type RaftInput,
  raftMachine,
} from './role.machine.js';
export type { ProgressStatus, Status } from './status.js';
export * from './types.js';

/**
 * The shapes that cross the edge of the Raft core: what a host feeds in, and what it finds in a Ready.
 *
 * Indexes, terms and ids are `number`s below 2^53; 0 means "none" only where a field says so.
 */

/** Kinds of log entries, with eraftpb's numbers. */
export const EntryType = { normal: 0, confChange: 1, confChangeV2: 2 } as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

/** One slot of the replicated log. An entry is never changed once made; `data` may be a view of a larger buffer. */
export interface Entry {
  readonly term: number;
  readonly index: number;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/** What must be on disk before any message that depends on it leaves (Raft, figure 2: persistent state). */
export interface HardState {
  readonly term: number;
  /** The candidate voted for in `term`; 0 for none. */
  readonly vote: number;
  readonly commit: number;
}

/** Membership as saved in snapshots and region state. */
export interface ConfState {
  readonly voters: readonly number[];
  readonly votersOutgoing: readonly number[];
  readonly learners: readonly number[];
  readonly learnersNext: readonly number[];
  readonly autoLeave: boolean;
}

/** A state of the applied commands in place of the log up to `index`, whose entry had `term`. */
export interface Snapshot {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  readonly data: Uint8Array;
}

/** Messages between peers. The name is both the wire message and the event that the role machine receives. */
export type MessageType =
  | 'propose'
  | 'appendEntries'
  | 'appendEntriesResponse'
  | 'requestVote'
  | 'requestVoteResponse'
  | 'installSnapshot'
  | 'heartbeat'
  | 'heartbeatResponse'
  | 'transferLeader'
  | 'timeoutNow'
  | 'readIndex'
  | 'readIndexResponse'
  | 'requestPreVote'
  | 'requestPreVoteResponse'
  /** To itself only: entries and hard state of the Ready with this term are durable up to (logTerm, index). */
  | 'entriesPersisted'
  /** To itself only: committed entries up to `index` have been applied. */
  | 'entriesApplied';

/** Every field is always present, so that all messages have one hidden class. */
export interface Message {
  readonly type: MessageType;
  readonly to: number;
  readonly from: number;
  readonly term: number;
  /** Term of the entry at `index` (for appends: the entry before the first one carried). */
  readonly logTerm: number;
  readonly index: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
  readonly vote: number;
  readonly reject: boolean;
  readonly rejectHint: number;
  /** Read count of a heartbeat (8 bytes, little endian), transfer marker of a vote, or a forwarded read's own context. */
  readonly context: Uint8Array;
  readonly snapshot: Snapshot | undefined;
}

/** The parts that a peer plays in its group (Raft 5.1; `preCandidate`: Raft thesis 9.6). */
export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** Volatile state, reported when it changes. */
export interface SoftState {
  /** The leader that this peer knows of; 0 for none. */
  readonly lead: number;
  readonly role: Role;
}

/** A read asked with `context` may be served from a state applied up to `index` (Raft thesis 6.4). */
export interface ReadState {
  readonly index: number;
  readonly context: Uint8Array;
}

/** Entries whose bodies the core no longer holds: answer with `RawNode.entriesFetched`. */
export interface FetchEntries {
  readonly kind: 'entries';
  /** The follower for whom they are wanted; this peer's own id when they are wanted for applying. */
  readonly peer: number;
  readonly low: number;
  /** Exclusive. */
  readonly high: number;
  readonly maxBytes: number;
}

/** A snapshot is needed for a follower: answer with `RawNode.snapshotFetched`. */
export interface FetchSnapshot {
  readonly kind: 'snapshot';
  readonly peer: number;
}

/** What the core wants to have read from storage: it never waits, and goes on when the answer arrives as an event. */
export type Fetch = FetchEntries | FetchSnapshot;

/** What must be made durable, in this order and in one atomic write: snapshot, entries, hard state. */
export interface StorageAppend {
  readonly snapshot: Snapshot | undefined;
  readonly entries: readonly Entry[];
  readonly hardState: HardState | undefined;
  /** Send to others, or step when addressed to this peer, once the write is durable; in this order. */
  readonly responses: readonly Message[];
}

/** What to apply, and what to step when it is applied. */
export interface StorageApply {
  readonly entries: readonly Entry[];
  readonly responses: readonly Message[];
}

/**
 * Effects gathered since the last Ready was taken (etcd-io/raft's Ready).
 *
 * Synchronous host: make `snapshot`, `entries` and `hardState` durable, send `messages`, apply `committedEntries`, then
 * `advance`. Asynchronous host (`asyncStorageWrites`): send `messages` at once, hand `append` and `apply` to the
 * disk in the order in which Readys were taken, never call `advance`.
 */
export interface Ready {
  readonly softState: SoftState | undefined;
  /** Only when it differs from the last one handed out. */
  readonly hardState: HardState | undefined;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot: Snapshot | undefined;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
  /** There are entries, or term or vote changed: the write needs an fsync. */
  readonly mustSync: boolean;
  /** Only with asynchronous storage writes. */
  readonly append: StorageAppend | undefined;
  readonly apply: StorageApply | undefined;
}

/** Where a run of entries that share a term begins: `terms` of a log is a short ascending list of these. */
export interface TermBoundary {
  readonly term: number;
  /** First index that carries the term. */
  readonly index: number;
}

/** What a peer knows at start, read from disk. */
export interface InitialState {
  readonly hardState: HardState;
  readonly confState: ConfState;
  /** The log begins after this position; (0, 0) for an empty start. */
  readonly truncated: { readonly index: number; readonly term: number };
  readonly lastIndex: number;
  /** Ascending; covers (truncated.index, lastIndex]. */
  readonly terms: readonly TermBoundary[];
  /** A suffix of the log that is already in memory; may be empty. */
  readonly entries: readonly Entry[];
  readonly applied: number;
}

import type { ConfChange, Snapshot, SoftState } from '../../machines/index.js';
import type { Entry, Message } from '../../machines/raft/types.js';
import type { Truncated, WriteBatch } from '../../storage/index.js';

/** What applying entries does beside changing the batch; the host carries it out when the batch is visible. */
export interface ApplyEffects {
  /** The log begins after this position from now on: decided in the log itself, so that all replicas cut alike. */
  truncateLog(position: Truncated): void;
  /** The membership changes with these entries; it is written with them. @throws RaftInvariantError */
  changeMembership(change: ConfChange): void;
  /** These entries end another group of this host, or this one: its log and states go in the same batch. */
  destroy(destruction: GroupDestruction): void;
  /**
   * These entries change more than data, and others are told of it: they are written without waiting for others, and are
   * durable before `applied` is called.
   */
  hurry(): void;
}

/** A replica on its way out. */
export interface GroupDestruction {
  readonly group: number;
  /** What else goes into the batch that removes its log and states. */
  readonly add: (batch: WriteBatch) => void;
  /** The batch is durable. */
  readonly done: () => void;
}

/** Entries that are evaluated together. */
export interface EntryRun {
  readonly entries: readonly Entry[];
  /** They look at the state as it stands before them: everything up to there must be visible. */
  readonly looksBack: boolean;
}

/** What came of removing entries from the disk, after the log was truncated. */
export interface LogDeletion {
  /** Everything up to this index was to go. */
  readonly through: number;
  /** Looked for afterwards, nothing was found. Absent when the removal failed. */
  readonly error?: Error;
}

/**
 * What a Raft group replicates. After rabbitmq/ra: entries in, results out; the effects go into the batch.
 */
export interface StateMachine {
  /**
   * Whether evaluating these entries has to read from the engine. Then `apply` is called when everything before them is
   * visible there, and may return a promise; else it is called as soon as they are committed. Must not throw.
   */
  needsReads?(entries: readonly Entry[]): boolean;
  /**
   * Cuts entries into runs where one of them has to wait for something, or looks at the state as its place in the log has
   * it. `undefined` when all may be evaluated together.
   */
  divide?(entries: readonly Entry[]): readonly EntryRun[] | undefined;
  /**
   * Asked when everything before these entries is evaluated: a promise for the moment from which they may be, where that
   * rests with another group. Until then this group's later entries wait, and other groups go on. Must not reject.
   */
  awaits?(entries: readonly Entry[]): Promise<void> | undefined;
  /**
   * Evaluates committed entries in log order; never called again before the last call has finished.
   *
   * All changes go into `batch`, in which the host also writes the applied index: so on disk they are one.
   * @returns one result per entry, handed to the proposer at once: the entry is durable on a majority.
   * @throws whatever means that this replica can no longer be trusted: the host stops the group.
   */
  apply(
    entries: readonly Entry[],
    batch: WriteBatch,
    effects: ApplyEffects,
  ): readonly unknown[] | Promise<readonly unknown[]>;
  /** The batch of the last `apply` is visible to reads; durable too, where its effects ask for that. */
  applied?(index: number): void;
  /** A received snapshot is going to take the place of the state. */
  restoring?(snapshot: Snapshot): void;
  /** A snapshot took the place of the state: what `apply` is called with next follows it. */
  restored?(snapshot: Snapshot): void;
  /** What came of the removal of entries that `truncateLog` asked for. */
  logDeleted?(deletion: LogDeletion): void;
  /** The leader or the role changed. */
  roleChanged?(soft: SoftState, term: number): void;
  /** The group can not go on: a broken invariant, or `apply` threw. */
  failed?(error: Error): void;
}

export type RefusalCode =
  /** This replica does not lead; `leader` may know who does. Nothing was proposed. */
  | 'not-leader'
  /** The entry lost its place in the log to another leader's: it was not applied and never will be. */
  | 'stale-command'
  /** The leader takes no more proposals for now (too much is uncommitted). Nothing was proposed. */
  | 'busy'
  /** The group stopped while the entry was under way: whether it will be applied is unknown. */
  | 'undetermined'
  /** The group stopped before it took the request. */
  | 'stopped';

export type Outcome<T> =
  | { readonly ok: true; readonly result: T }
  | { readonly ok: false; readonly code: RefusalCode; readonly leader: number };

/** What a region's replica needs of whatever orders its commands: a Raft group, or a node that stands alone. */
export interface CommandLog {
  /** The peer that leads as far as this one knows; 0 for none. */
  readonly leader: number;
  readonly isLeader: boolean;
  readonly term: number;
  readonly stopped: boolean;
  /**
   * Orders a command. `done` is called exactly once: with the result of applying it, or a refusal.
   * @param urgent every replica applies it as soon as it is committed, and not with what comes next
   * @param visible called once after a result, when reads see what the command did: `done` comes earlier, and what it tells is
   * hurried for that. Also when that is not to be waited for any more, because the group has stopped.
   */
  propose(
    data: Uint8Array,
    done: (outcome: Outcome<unknown>) => void,
    urgent?: boolean,
    visible?: () => void,
  ): void;
  /** Calls back when the applied state holds every write that was acknowledged before the call. */
  read(done: (outcome: Outcome<void>) => void): void;
  step(message: Message): void;
  campaign(): void;
  stop(): void;
}

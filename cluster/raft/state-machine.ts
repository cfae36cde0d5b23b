import type { SoftState } from '../../machines/index.js';
import type { Entry, Message } from '../../machines/raft/types.js';
import type { WriteBatch } from '../../storage/index.js';

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
   * Evaluates committed entries in log order; never called again before the last call has finished.
   *
   * All changes go into `batch`, in which the host also writes the applied index: so on disk they are one.
   * @returns one result per entry, handed to the proposer at once: the entry is durable on a majority.
   * @throws whatever means that this replica can no longer be trusted: the host stops the group.
   */
  apply(entries: readonly Entry[], batch: WriteBatch): readonly unknown[] | Promise<readonly unknown[]>;
  /** The batch of the last `apply` is visible to reads. */
  applied?(index: number): void;
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
  /** Orders a command. `done` is called exactly once: with the result of applying it, or a refusal. */
  propose(data: Uint8Array, done: (outcome: Outcome<unknown>) => void): void;
  /** Calls back when the applied state holds every write that was acknowledged before the call. */
  read(done: (outcome: Outcome<void>) => void): void;
  step(message: Message): void;
  campaign(): void;
  stop(): void;
}

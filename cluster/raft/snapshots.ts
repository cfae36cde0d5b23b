import type { Message, Snapshot } from '../../machines/index.js';
import type { WriteBatch } from '../../storage/index.js';
import type { RaftGroup } from './group.js';

/**
 * What a Raft host needs of whoever makes, carries and installs snapshots of its groups' data.
 *
 * Sending: the core wants one for a member (`prepare`), gets its metadata, and orders it to be sent (`send`). The outcome
 * goes to `RaftGroup.reportSnapshot`, always, so that a lost one is sent again.
 * Receiving: the data is written aside and verified before its message is stepped. When the core has taken it in,
 * `installing` adds to the batch that moves log and states behind the snapshot; once that is durable, `install` replaces
 * the data. Until it resolves, the host hands no later entry of the group to its state machine.
 */
export interface GroupSnapshots {
  /**
   * Takes a view of the group's data at its applied index, kept until `send` or a time limit.
   * @returns metadata as of that view; `undefined` when none can be made now (the core asks again).
   */
  prepare(group: RaftGroup, peer: number): Promise<Snapshot | undefined>;
  /** Sends what was prepared for `message.to`. */
  send(group: RaftGroup, message: Message): void;
  /**
   * The core restored `snapshot`: puts what a restart needs to finish the installation into `batch`.
   * @throws when its data is not here whole: the group fails, nothing was changed.
   */
  installing(group: RaftGroup, snapshot: Snapshot, batch: WriteBatch): void;
  /** Replaces the group's data, crash-safely. Resolves when the new data and the end of the installation are durable. */
  install(group: RaftGroup, snapshot: Snapshot): Promise<void>;
}

import type { ConfState, Entry, HardState, Snapshot } from '../../machines/index.js';
import type { Engine, RaftLog, StoredGroup, Truncated, WriteBatch } from '../../storage/index.js';
import type { TaskQueue } from '../tasks.js';
import type { RaftGroup } from './group.js';
import type { LogDeletion } from './state-machine.js';

/** Where a group's log on disk begins and ends, as of the last batch that was put together. */
interface LogExtent {
  truncated: Truncated;
  lastIndex: number;
  /** Bytes of the entries in it, about. */
  bytes: number;
  /** The truncated state that covers entries through here is written: they may go from the disk. */
  deletable: number;
}

/** Bytes that an entry takes beside its data. */
const ENTRY_OVERHEAD_BYTES = 32;
/** Entries that are left in a log after a deletion would show here. */
const LOOKED_FOR = 1;

/**
 * The logs of a host's groups on disk: appended to, cut off behind a replicated truncation, replaced by a snapshot.
 */
export class GroupLogs {
  readonly #log: RaftLog;
  readonly #engine: Engine;
  readonly #tasks: TaskQueue;
  readonly #extents = new WeakMap<RaftGroup, LogExtent>();
  /** Groups whose truncated entries are being deleted, or wait to be. */
  readonly #deleting = new WeakSet<RaftGroup>();

  constructor(log: RaftLog, engine: Engine, tasks: TaskQueue) {
    this.#log = log;
    this.#engine = engine;
    this.#tasks = tasks;
  }

  open(group: RaftGroup, { initial, logBytes: bytes, mayHoldOld }: StoredGroup): void {
    const { truncated, lastIndex } = initial;
    this.#extents.set(group, { truncated, lastIndex, bytes, deletable: truncated.index });
    // A crash may have come between a truncation and its deletion.
    if (mayHoldOld && truncated.index > 0) this.#clean(group, truncated.index);
  }

  /** Bytes of the group's log on disk, about. */
  bytes(group: RaftGroup): number {
    return this.#extents.get(group)?.bytes ?? 0;
  }

  append(batch: WriteBatch, group: RaftGroup, entries: readonly Entry[]): void {
    const extent = this.#extents.get(group);
    const last = entries.at(-1);
    if (extent === undefined || last === undefined) return;
    this.#log.append(batch, group.id, entries, extent.lastIndex);
    extent.lastIndex = last.index;
    for (const { data } of entries) extent.bytes += data.length + ENTRY_OVERHEAD_BYTES;
  }

  saveHardState(batch: WriteBatch, group: RaftGroup, hardState: HardState): void {
    this.#log.saveState(batch, group.id, { hardState });
  }

  saveConfState(batch: WriteBatch, group: RaftGroup, confState: ConfState): void {
    this.#log.saveState(batch, group.id, { confState });
  }

  /** Entries up to `applied` are in the same batch. */
  applied(batch: WriteBatch, group: RaftGroup, applied: number): void {
    const extent = this.#extents.get(group);
    if (extent === undefined) return;
    this.#log.saveState(batch, group.id, { apply: { applied, truncated: extent.truncated } });
  }

  /** The log begins behind `to` from now on. False when it does already: the beginning only moves forward. */
  truncate(group: RaftGroup, to: Truncated): boolean {
    const extent = this.#extents.get(group);
    if (extent === undefined || to.index <= extent.truncated.index) return false;
    const entries = extent.lastIndex - extent.truncated.index;
    const removed = to.index - extent.truncated.index;
    extent.bytes -= Math.round((extent.bytes * removed) / entries);
    extent.truncated = to;
    return true;
  }

  /** The log starts over behind a snapshot. */
  restart(batch: WriteBatch, group: RaftGroup, { index, term, confState }: Snapshot): void {
    const truncated = { index, term };
    this.#log.restart(batch, group.id, truncated, confState);
    const deletable = this.#extents.get(group)?.deletable ?? 0;
    this.#extents.set(group, { truncated, lastIndex: index, bytes: 0, deletable });
  }

  /**
   * Removes the entries through `through` from the disk, as a task, and looks whether they are gone; the group is told.
   * The truncated state that covers them is written: after a crash at any point no log seems to have a hole.
   */
  delete(group: RaftGroup, through: number): void {
    const extent = this.#extents.get(group);
    if (extent === undefined) return;
    extent.deletable = Math.max(extent.deletable, through);
    if (this.#deleting.has(group)) return;
    this.#deleting.add(group);
    this.#tasks
      .run(`deletion of log entries of group ${group.id}`, ({ pause }) => this.#delete(group, pause))
      .then(
        (deletion) => {
          group.logDeleted(deletion);
          return deletion.through;
        },
        (cause: unknown) => {
          const error = cause instanceof Error ? cause : new Error(String(cause));
          group.logDeleted({ through: extent.deletable, error });
          return extent.deletable;
        },
      )
      .then((done) => {
        this.#deleting.delete(group);
        // Truncated while this one looked: that has its own result.
        if (!group.stopped && done < extent.deletable) this.delete(group, extent.deletable);
      });
  }

  #clean(group: RaftGroup, through: number): void {
    this.#tasks
      .run(`search for old log entries of group ${group.id}`, () =>
        this.#log.indexes(group.id, 0, through + 1, LOOKED_FOR),
      )
      .then(
        (left) => {
          if (left.length > 0) this.delete(group, through);
        },
        // The next truncation deletes them.
        () => {},
      );
  }

  async #delete(group: RaftGroup, pause: () => Promise<void>): Promise<LogDeletion> {
    let through: number;
    // What was truncated meanwhile goes too.
    do {
      await pause();
      // What was removed altogether has nothing left to delete, and nothing more of it may be written.
      if (group.stopped) throw new Error(`group ${group.id} has stopped`);
      through = this.#extents.get(group)?.deletable ?? 0;
      const batch = this.#engine.batch();
      this.#log.removeEntries(batch, group.id, 0, through + 1);
      await this.#engine.write(batch);
    } while (through < (this.#extents.get(group)?.deletable ?? 0));
    const left = await this.#log.indexes(group.id, 0, through + 1, LOOKED_FOR);
    if (left.length > 0) {
      throw new Error(`entry ${left[0]} of group ${group.id} is still on disk after its deletion`);
    }
    return { through };
  }
}

import type { ActorSystem, Clock, Logger } from '../../actors/index.js';
import type { Entry, Fetch, InitialState, Message, Snapshot, StorageAppend } from '../../machines/index.js';
import {
  type Engine,
  RaftLog,
  StorageError,
  type StoredGroup,
  type WriteBatch,
} from '../../storage/index.js';
import type { TaskQueue } from '../tasks.js';
import { type Evaluated, Evaluation } from './evaluation.js';
import { RaftGroup } from './group.js';
import { GroupLogs } from './group-logs.js';
import { GroupTicks } from './group-ticks.js';
import type { MemberStores } from './resting-group.js';
import type { GroupSnapshots } from './snapshots.js';
import type { GroupDestruction, StateMachine } from './state-machine.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning, raftConfig } from './tuning.js';

/** Told how long the disk takes. */
export interface DiskObserver {
  /** A batch is visible. @param bytes of keys and values */
  written(milliseconds: number, bytes: number): void;
  synced(milliseconds: number): void;
}

/** Told of entries on their way, once for all of a group's that a turn or a write concerns. */
export interface EntryObserver {
  /** The log of the group is durable here through this index. */
  persisted(group: number, index: number): void;
  committed(group: number, entries: readonly Entry[]): void;
}

export interface RaftHostOptions {
  readonly engine: Engine;
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Where slow work runs: the deletion of log entries. */
  readonly tasks: TaskQueue;
  /** Absent where logs are never truncated, so that nobody needs one. */
  readonly snapshots?: GroupSnapshots;
  /** Puts a message on its way to another peer of the group; lost messages are Raft's business. */
  readonly send: (group: RaftGroup, message: Message) => void;
  /** What groups need to rest while nobody wants anything of them; absent where they never do. */
  readonly hibernation?: MemberStores;
  /** At the end of a turn, before the Readys are taken: what the turn has gathered is proposed. */
  readonly beforeReadys?: () => void;
  /** The disk refused: nothing more may be acknowledged by this node. */
  readonly failed: (error: Error) => void;
  readonly tuning?: RaftTuning;
  readonly disk?: DiskObserver | undefined;
  readonly entries?: EntryObserver | undefined;
}

/** Changes of evaluated entries that may wait in memory for something else that has to be written. */
const MAX_IDLE_BATCH_BYTES = 1024 * 1024;
/** Order of the host's hook among the end-of-turn hooks: after the peers have proposed what the turn brought. */
export const RAFT_TURN_ORDER = 100;

interface Append {
  readonly group: RaftGroup;
  readonly append: StorageAppend;
  readonly mustSync: boolean;
  /** Messages to others that wait for the sync though the core would let them go. */
  readonly afterSync: readonly Message[];
}

interface Destruction extends GroupDestruction {
  readonly failed: (error: Error) => void;
}

/** A snapshot on its way in, from the batch that makes it durable on. */
interface Installation {
  readonly ended: Promise<void>;
  readonly end: () => void;
}

const NO_MESSAGES: readonly Message[] = [];

/**
 * A candidate asks for votes only when its own is durable: else it could win by the votes of others, crash, forget the
 * term, and win the same term again.
 */
function waitsForSync(message: Message): boolean {
  return message.type === 'requestVote';
}

/**
 * A node's turn (docs/decisions/turn.md): the Readys of all groups that something happened to go into one batch, one sync.
 *
 * Messages that need no durable state leave in the turn that made them; the others when the sync is done. Committed
 * entries are evaluated, and their proposers answered, in the turn that learns of the commit; what they change goes
 * with the next batch. One serial chain writes: while it waits for the disk, further turns gather the next batch.
 */
export class RaftHost {
  readonly #options: RaftHostOptions;
  readonly #log: RaftLog;
  readonly #logs: GroupLogs;
  readonly #evaluation: Evaluation;
  readonly #groups = new Map<number, RaftGroup>();
  #touched = new Set<RaftGroup>();
  #appends: Append[] = [];
  #destructions: Destruction[] = [];
  /** Snapshots that are being brought in. */
  readonly #installs = new Map<RaftGroup, Installation>();
  /** Changes of evaluated entries are wanted on disk, though nothing else needs a write. */
  #applyNow = false;
  #chain: Promise<void> | undefined;
  readonly #ticks: GroupTicks;
  #phase: 'idle' | 'proposing' = 'idle';
  #closed = false;
  /** The disk refused a write: nothing may be written after it. */
  #failed = false;
  readonly #removeHook: () => void;
  readonly #counters = { batches: 0, syncs: 0, entries: 0, snapshots: 0, logsCut: 0 };

  constructor(options: RaftHostOptions) {
    this.#options = options;
    this.#log = new RaftLog(options.engine);
    this.#logs = new GroupLogs(this.#log, options.engine, options.tasks);
    this.#evaluation = new Evaluation(options.engine, this.#logs, {
      resumed: (group) => this.#touch(group),
      hurry: () => {
        this.#applyNow = true;
      },
      destroy: (destruction) => this.#end({ ...destruction, failed: () => {} }),
    });
    this.#removeHook = options.system.onTurnEnd(RAFT_TURN_ORDER, () => this.#turn());
    this.#ticks = new GroupTicks({
      clock: options.clock,
      tuning: options.tuning,
      hibernation: options.hibernation,
      ended: () => {
        this.#applyNow = true;
        this.#startChain();
      },
    });
  }

  get groups(): ReadonlyMap<number, RaftGroup> {
    return this.#groups;
  }

  /** What was written and evaluated so far. */
  get counters() {
    return { ...this.#counters, applied: this.#evaluation.applied };
  }

  /** Bytes of the group's log on disk, about. */
  logBytes(group: RaftGroup): number {
    return this.#logs.bytes(group);
  }

  get log(): RaftLog {
    return this.#log;
  }

  /**
   * Starts the replica whose state is on disk.
   * @throws StorageError when there is none, or its log and states contradict each other.
   */
  async open(groupId: number, peerId: number, machine: StateMachine): Promise<RaftGroup> {
    const stored = await this.#log.loadStored(groupId);
    if (stored === undefined) {
      throw new StorageError('invalid-log', `Raft group ${groupId} has no state in this data directory.`);
    }
    return this.#begin(groupId, peerId, machine, stored, true);
  }

  /** Starts a replica whose state was read from disk already. */
  resume(groupId: number, peerId: number, machine: StateMachine, stored: StoredGroup): RaftGroup {
    return this.#begin(groupId, peerId, machine, stored, true);
  }

  /** Starts a replica that has nothing on disk: what it becomes is written with its first entries or snapshot. */
  start(groupId: number, peerId: number, machine: StateMachine, initial: InitialState): RaftGroup {
    return this.#begin(groupId, peerId, machine, { initial, logBytes: 0, mayHoldOld: true }, false);
  }

  /** @param dormant it may wait for its turn to look for a leader */
  #begin(
    groupId: number,
    peerId: number,
    machine: StateMachine,
    stored: StoredGroup,
    dormant: boolean,
  ): RaftGroup {
    const { clock } = this.#options;
    const { tickInterval = DEFAULT_TICK_INTERVAL_MS, leaseReads = false } = this.#options.tuning ?? {};
    const config = raftConfig(groupId, peerId, this.#options);
    const group = new RaftGroup({
      id: groupId,
      peerId,
      config,
      initial: stored.initial,
      machine,
      clock,
      leaseTimeout: leaseReads ? config.electionTick * tickInterval : undefined,
      hibernation: this.#ticks.hibernationFor(dormant),
      touch: (touched) => this.#touch(touched),
    });
    this.#groups.set(groupId, group);
    this.#logs.open(group, stored);
    this.#touch(group);
    this.#ticks.join(group);
    return group;
  }

  /**
   * Everything that is on disk has started: groups that know no leader look for theirs from now on, a few at a time. Before, only
   * those do that somebody asks for: to start the others comes first.
   */
  lookForLeaders(): void {
    this.#ticks.callRoll();
  }

  /** How many groups are awake. */
  get awake(): number {
    return this.#ticks.awake;
  }

  /**
   * Something has happened that may concern many groups: a few of them at a time wake, or whatever else they have to do.
   * @param plan what a group has to do when its turn comes; `undefined` where it does not concern it
   */
  wakeAll(plan: (group: RaftGroup) => (() => void) | undefined): void {
    for (const group of this.#groups.values()) {
      const act = plan(group);
      if (act !== undefined) this.#ticks.later(group, act);
    }
  }

  /**
   * Removes a replica: its log, its states and whatever `add` puts in go in one durable batch. Nothing of it is written
   * after that.
   * @throws what the disk says
   */
  async destroy(group: RaftGroup, add: (batch: WriteBatch) => void): Promise<void> {
    if (this.#closed || this.#failed) throw new StorageError('closed', 'the Raft host writes no more');
    return new Promise((resolve, reject) => {
      this.#end({ group: group.id, add, done: resolve, failed: reject });
      this.#startChain();
    });
  }

  /** Stops the group at once. Its end goes into the next batch, where no installation is in the way. */
  #end(destruction: Destruction): void {
    const group = this.#groups.get(destruction.group);
    group?.stop();
    this.#groups.delete(destruction.group);
    const installation = group && this.#installs.get(group);
    if (installation === undefined) {
      if (group !== undefined) this.#evaluation.forget(group);
      this.#destructions.push(destruction);
      return;
    }
    void installation.ended.then(() => {
      this.#destructions.push(destruction);
      this.#startChain();
    });
  }

  /** Lets go of a group whose records are somebody else's to remove or to replace. */
  release(group: RaftGroup): void {
    group.stop();
    this.#evaluation.forget(group);
    if (this.#groups.get(group.id) === group) this.#groups.delete(group.id);
  }

  /** Its data is being replaced. */
  isInstalling(group: RaftGroup): boolean {
    return this.#installs.has(group);
  }

  /** Stops everything: what waits is answered, what the disk has begun is finished. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ticks.stop();
    this.#removeHook();
    for (const group of this.#groups.values()) group.stop();
    this.#groups.clear();
    this.#appends = [];
    this.#evaluation.clear();
    await this.#chain;
    for (const { failed } of this.#destructions.splice(0)) {
      failed(new StorageError('closed', 'the Raft host writes no more'));
    }
  }

  #touch(group: RaftGroup): void {
    if (this.#closed) return;
    this.#touched.add(group);
    this.#requestTurn();
  }

  /** What a turn does to groups before it takes their Readys is seen to by this turn. */
  #requestTurn(): void {
    if (this.#phase !== 'proposing') this.#options.system.requestTurn();
  }

  #turn(): void {
    this.#phase = 'proposing';
    try {
      this.#options.beforeReadys?.();
    } finally {
      this.#phase = 'idle';
    }
    if (this.#touched.size === 0) return;
    const touched = this.#touched;
    this.#touched = new Set();
    for (const group of touched) {
      try {
        this.#take(group);
      } catch (error) {
        group.fail(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#evaluation.evaluateReady();
    for (const group of touched) this.#applyNow ||= group.waitsForApplied;
    this.#startChain();
  }

  /** What must be written is noted before anything is sent. */
  #take(group: RaftGroup): void {
    const ready = group.takeReady();
    if (ready !== undefined) {
      const { append, apply, messages, mustSync, snapshot } = ready;
      const afterSync = append === undefined ? NO_MESSAGES : messages.filter(waitsForSync);
      if (snapshot !== undefined) this.#evaluation.hold(group);
      if (append !== undefined)
        this.#appends.push({ group, append, mustSync: mustSync || snapshot !== undefined, afterSync });
      if (apply !== undefined) {
        this.#options.entries?.committed(group.id, apply.entries);
        this.#evaluation.add(group, apply);
      }
      for (const message of messages) {
        if (append === undefined || !waitsForSync(message)) this.#send(group, message);
      }
    }
    for (const fetch of group.fetches()) this.#fetch(group, fetch);
  }

  #send(group: RaftGroup, message: Message): void {
    if (message.type === 'installSnapshot') this.#options.snapshots?.send(group, message);
    else this.#options.send(group, message);
  }

  /** Changes of evaluated entries alone are in no hurry: they go with the next entries, a read that waits, or a tick. */
  #somethingToWrite(): boolean {
    if (this.#closed || this.#failed) return false;
    if (this.#appends.length > 0 || this.#evaluation.hasWaiting || this.#destructions.length > 0) return true;
    if (!this.#evaluation.hasEvaluated) return false;
    return this.#applyNow || this.#evaluation.bytes > MAX_IDLE_BATCH_BYTES;
  }

  #startChain(): void {
    if (this.#chain !== undefined || !this.#somethingToWrite()) return;
    this.#chain = this.#writeAll().then(
      () => {
        this.#chain = undefined;
        this.#startChain();
      },
      (error: unknown) => {
        this.#chain = undefined;
        this.#failed = true;
        const cause = error instanceof Error ? error : new Error(String(error));
        for (const group of this.#groups.values()) group.stop();
        for (const { failed } of this.#destructions.splice(0)) failed(cause);
        this.#options.failed(cause);
      },
    );
  }

  async #writeAll(): Promise<void> {
    while (this.#somethingToWrite()) {
      // In turns: neither may new entries keep an evaluation that reads waiting, nor the other way round.
      if (!this.#evaluation.hasEvaluated && this.#evaluation.hasWaiting) await this.#evaluateNext();
      if (this.#appends.length > 0 || this.#evaluation.hasEvaluated || this.#destructions.length > 0)
        await this.#write();
    }
  }

  async #evaluateNext(): Promise<void> {
    await this.#evaluation.evaluateNext();
    this.#applyNow = true;
    this.#requestTurn();
  }

  /** One batch: new entries and hard states of all groups, and everything that is evaluated. */
  async #write(): Promise<void> {
    const { engine, clock, disk } = this.#options;
    const appends = this.#appends;
    const { batch, evaluated } = this.#evaluation.take();
    this.#appends = [];
    this.#applyNow = false;
    let mustSync = false;
    for (const { group, append, mustSync: sync } of appends) {
      this.#append(batch, group, append);
      mustSync ||= sync;
    }
    const destroyed = this.#destructions.length;
    for (const { group, add } of this.#destructions) {
      this.#log.destroy(batch, group);
      add(batch);
      mustSync = true;
    }
    if (batch.count > 0) {
      const { bytes } = batch;
      const from = clock.now();
      await engine.write(batch);
      disk?.written(clock.now() - from, bytes);
      this.#counters.batches++;
    }
    // What others are told of must not be taken back by a power loss.
    const durable = evaluated.some((one) => one.durable);
    if (!durable) this.#applied(evaluated);
    if (mustSync || durable) {
      const from = clock.now();
      await engine.sync();
      disk?.synced(clock.now() - from);
      this.#counters.syncs++;
    }
    if (durable) this.#applied(evaluated);
    for (const { done } of this.#destructions.splice(0, destroyed)) done();
    for (const { group, append, afterSync } of appends) {
      if (!group.stopped) {
        const last = append.entries.at(-1);
        if (last !== undefined) this.#options.entries?.persisted(group.id, last.index);
        for (const response of append.responses) this.#deliver(group, response);
        for (const message of afterSync) this.#send(group, message);
      }
      if (append.snapshot !== undefined) this.#install(group, append.snapshot);
      this.#touch(group);
    }
  }

  #applied(evaluated: readonly Evaluated[]): void {
    for (const { group, apply, truncated } of evaluated) {
      group.entriesApplied(apply);
      if (truncated === undefined || group.stopped) continue;
      group.logTruncated(truncated);
      this.#counters.logsCut++;
      this.#logs.delete(group, truncated.index);
    }
  }

  /** The snapshot goes first: what the Ready has beside it comes behind it in the log. */
  #append(batch: WriteBatch, group: RaftGroup, { snapshot, entries, hardState }: StorageAppend): void {
    if (group.stopped) return;
    const before = batch.count;
    try {
      if (snapshot !== undefined) {
        this.#snapshots.installing(group, snapshot, batch);
        this.#logs.restart(batch, group, snapshot);
        this.#counters.snapshots++;
      }
      this.#logs.append(batch, group, entries);
      this.#counters.entries += entries.length;
      if (hardState !== undefined) this.#logs.saveHardState(batch, group, hardState);
      if (snapshot !== undefined) this.#installs.set(group, installation());
    } catch (error) {
      batch.truncate(before);
      group.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  get #snapshots(): GroupSnapshots {
    const { snapshots } = this.#options;
    if (snapshots === undefined) throw new Error('a snapshot came to a host that takes none');
    return snapshots;
  }

  /**
   * Beside the chain: a large region takes its time, and the other groups go on. What a batch has begun is ended, also
   * where the group has stopped since: its end waits for that.
   */
  #install(group: RaftGroup, snapshot: Snapshot): void {
    const installation = this.#installs.get(group);
    // A restart finishes what stopping interrupted.
    if (installation === undefined || this.#closed) return;
    void this.#snapshots
      .install(group, snapshot)
      .then(
        () => group.snapshotInstalled(snapshot),
        (error: unknown) => {
          if (!this.#closed) group.fail(error instanceof Error ? error : new Error(String(error)));
        },
      )
      .finally(() => {
        this.#installs.delete(group);
        this.#evaluation.release(group);
        installation.end();
        this.#touch(group);
      });
  }

  #deliver(group: RaftGroup, message: Message): void {
    if (message.to === group.peerId) group.step(message);
    else this.#send(group, message);
  }

  #fetch(group: RaftGroup, fetch: Fetch): void {
    if (fetch.kind === 'snapshot') {
      this.#prepare(group, fetch);
      return;
    }
    this.#log
      .fetch(group.id, fetch.low, fetch.high, fetch.maxBytes)
      .then((entries) => group.fetched((raft) => raft.entriesFetched(fetch, entries)))
      .catch((error: unknown) => {
        if (group.stopped) return;
        const { firstIndex, lastIndex } = group.status();
        // The log was cut, or replaced, while the disk read: the core looks again what the member needs.
        if (fetch.low < firstIndex || fetch.low > lastIndex)
          group.fetched((raft) => raft.entriesFetched(fetch, []));
        else group.fail(error instanceof Error ? error : new Error(String(error)));
      });
  }

  /** Without one for now, the core asks again. */
  #prepare(group: RaftGroup, fetch: Fetch): void {
    const answer = (snapshot: Snapshot | undefined) =>
      group.fetched((raft) => raft.snapshotFetched(fetch, snapshot));
    const { snapshots, logger } = this.#options;
    if (snapshots === undefined) return answer(undefined);
    snapshots.prepare(group, fetch.peer).then(answer, (error: unknown) => {
      logger.warn({ err: error, group: group.id, peer: fetch.peer }, 'a snapshot could not be made');
      answer(undefined);
    });
  }
}

function installation(): Installation {
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { ended, end };
}

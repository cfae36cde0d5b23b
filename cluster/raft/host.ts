import type { ActorSystem, Clock, Logger, TimerHandle } from '../../actors/index.js';
import type { Fetch, Message, RaftConfig, StorageAppend, StorageApply } from '../../machines/index.js';
import { type Engine, RaftLog, StorageError, type Truncated, type WriteBatch } from '../../storage/index.js';
import { RaftGroup } from './group.js';
import type { StateMachine } from './state-machine.js';

export interface RaftHostOptions {
  readonly engine: Engine;
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Puts a message on its way to another peer of the group; lost messages are Raft's business. */
  readonly send: (group: RaftGroup, message: Message) => void;
  /** At the end of a turn, before the Readys are taken: what the turn has gathered is proposed. */
  readonly beforeReadys?: () => void;
  /** The disk refused: nothing more may be acknowledged by this node. */
  readonly failed: (error: Error) => void;
  readonly tuning?: RaftTuning;
}

/** What a deployment may set; the rest of the core's configuration is fixed by the design. */
export interface RaftTuning {
  /** Milliseconds of a tick (100). */
  readonly tickInterval?: number;
  /** Ticks between heartbeats (2). */
  readonly heartbeatTicks?: number;
  /** Base election timeout in ticks (10); the real one is drawn from [base, 2 × base - 1]. */
  readonly electionTicks?: number;
  /** Bytes of log entries that each peer keeps in memory (8 MiB). */
  readonly maxCachedBytes?: number;
}

export const DEFAULT_TICK_INTERVAL_MS = 100;
/** Bytes of entries in one append: a frame must carry it with room for all that surrounds them. */
const MAX_APPEND_BYTES = 512 * 1024;
/** Bytes that a leader may have proposed and not committed; more proposals are refused as busy. */
const MAX_UNCOMMITTED_BYTES = 16 * 1024 * 1024;
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

const NO_MESSAGES: readonly Message[] = [];

/**
 * A candidate asks for votes only when its own is durable: else it could win by the votes of others, crash, forget the
 * term, and win the same term again.
 */
function waitsForSync(message: Message): boolean {
  return message.type === 'requestVote';
}

interface Apply {
  readonly group: RaftGroup;
  readonly apply: StorageApply;
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
  readonly #groups = new Map<number, RaftGroup>();
  /** Last log index on disk, of each group. */
  readonly #lastIndexes = new WeakMap<RaftGroup, number>();
  readonly #truncated = new WeakMap<RaftGroup, Truncated>();
  #touched = new Set<RaftGroup>();
  #appends: Append[] = [];
  /** Committed entries that are not evaluated yet, in order. */
  #applies: Apply[] = [];
  /** Evaluated ones: their changes wait in `#batch` for the next write. */
  #evaluated: Apply[] = [];
  #batch: WriteBatch | undefined;
  /** An entry that reads is being evaluated: what comes after it waits. */
  #evaluating = false;
  /** Changes of evaluated entries are wanted on disk, though nothing else needs a write. */
  #applyNow = false;
  #chain: Promise<void> | undefined;
  #ticker: TimerHandle | undefined;
  #phase: 'idle' | 'proposing' = 'idle';
  #closed = false;
  /** The disk refused a write: nothing may be written after it. */
  #failed = false;
  readonly #removeHook: () => void;
  readonly counters = { batches: 0, syncs: 0, entries: 0, applied: 0 };

  constructor(options: RaftHostOptions) {
    this.#options = options;
    this.#log = new RaftLog(options.engine);
    this.#removeHook = options.system.onTurnEnd(RAFT_TURN_ORDER, () => this.#turn());
    this.#scheduleTick();
  }

  get groups(): ReadonlyMap<number, RaftGroup> {
    return this.#groups;
  }

  get log(): RaftLog {
    return this.#log;
  }

  /**
   * Starts the replica whose state is on disk.
   * @throws StorageError when there is none, or its log and states contradict each other.
   */
  async open(groupId: number, peerId: number, machine: StateMachine): Promise<RaftGroup> {
    const initial = await this.#log.load(groupId);
    if (initial === undefined) {
      throw new StorageError('invalid-log', `Raft group ${groupId} has no state in this data directory.`);
    }
    const { tuning = {}, random, logger } = this.#options;
    const config: Partial<RaftConfig> & { random: () => number } = {
      random,
      preVote: true,
      checkQuorum: true,
      stepDownOnRemoval: true,
      disableProposalForwarding: true,
      skipBroadcastCommit: true,
      maxSizePerMsg: MAX_APPEND_BYTES,
      maxUncommittedEntriesSize: MAX_UNCOMMITTED_BYTES,
      electionTick: tuning.electionTicks ?? 10,
      heartbeatTick: tuning.heartbeatTicks ?? 2,
      log: (level, text) =>
        logger[level === 'info' ? 'debug' : level]({ group: groupId, peer: peerId }, text),
      ...(tuning.maxCachedBytes === undefined ? {} : { maxCachedBytes: tuning.maxCachedBytes }),
    };
    const group = new RaftGroup(groupId, peerId, config, initial, machine, (touched) => this.#touch(touched));
    this.#groups.set(groupId, group);
    this.#lastIndexes.set(group, initial.lastIndex);
    this.#truncated.set(group, initial.truncated);
    this.#touch(group);
    return group;
  }

  /** Stops everything: what waits is answered, what the disk has begun is finished. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#ticker !== undefined) this.#options.clock.clearTimeout(this.#ticker);
    this.#removeHook();
    for (const group of this.#groups.values()) group.stop();
    this.#groups.clear();
    this.#appends = [];
    this.#applies = [];
    this.#evaluated = [];
    await this.#chain;
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

  /** A tick that comes late counts once and is never made up. */
  #scheduleTick(): void {
    const interval = this.#options.tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS;
    this.#ticker = this.#options.clock.setTimeout(() => {
      for (const group of this.#groups.values()) group.tick();
      this.#applyNow = true;
      this.#startChain();
      this.#scheduleTick();
    }, interval);
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
    this.#evaluateReady();
    for (const group of touched) this.#applyNow ||= group.waitsForApplied;
    this.#startChain();
  }

  /** What must be written is noted before anything is sent. */
  #take(group: RaftGroup): void {
    const ready = group.takeReady();
    if (ready !== undefined) {
      const { append, apply, messages, mustSync } = ready;
      const afterSync = append === undefined ? NO_MESSAGES : messages.filter(waitsForSync);
      if (append !== undefined) this.#appends.push({ group, append, mustSync, afterSync });
      if (apply !== undefined) this.#applies.push({ group, apply });
      for (const message of messages) {
        if (append === undefined || !waitsForSync(message)) this.#options.send(group, message);
      }
    }
    for (const fetch of group.fetches()) this.#fetch(group, fetch);
  }

  /** Evaluates what can be evaluated without reading: that does not have to wait for the disk. */
  #evaluateReady(): void {
    while (!this.#evaluating) {
      const next = this.#applies[0];
      if (next === undefined || (!next.group.stopped && next.group.needsReads(next.apply))) return;
      this.#applies.shift();
      const before = this.#openBatch().count;
      try {
        const results = next.group.stopped ? undefined : next.group.apply(next.apply, this.#openBatch());
        if (results instanceof Promise) throw new Error('a state machine read without having said so');
        if (results !== undefined) this.#evaluatedEntries(next, results);
      } catch (error) {
        this.#evaluationFailed(next.group, before, error);
      }
    }
  }

  /** Evaluates an entry that reads; everything before it is visible now. */
  async #evaluateNext(): Promise<void> {
    const next = this.#applies.shift();
    if (next === undefined) return;
    this.#evaluating = true;
    const before = this.#openBatch().count;
    try {
      const results = next.group.stopped ? undefined : await next.group.apply(next.apply, this.#openBatch());
      if (results !== undefined) this.#evaluatedEntries(next, results);
    } catch (error) {
      this.#evaluationFailed(next.group, before, error);
    } finally {
      this.#evaluating = false;
    }
    this.#evaluateReady();
    this.#applyNow = true;
    this.#requestTurn();
  }

  /**
   * A committed entry is on a majority of disks and its result is known, so its proposer is answered. A read has to wait
   * for the write, because it looks at what the batch makes visible.
   */
  #evaluatedEntries(one: Apply, results: readonly unknown[]): void {
    const { group, apply } = one;
    const last = apply.entries.at(-1);
    const truncated = this.#truncated.get(group);
    if (last !== undefined && truncated !== undefined) {
      this.#log.saveState(this.#openBatch(), group.id, { apply: { applied: last.index, truncated } });
    }
    this.#evaluated.push(one);
    this.counters.applied += apply.entries.length;
    group.answer(apply, results);
  }

  #evaluationFailed(group: RaftGroup, before: number, error: unknown): void {
    this.#openBatch().truncate(before);
    group.fail(error instanceof Error ? error : new Error(String(error)));
  }

  #openBatch(): WriteBatch {
    this.#batch ??= this.#options.engine.batch();
    return this.#batch;
  }

  /** Changes of evaluated entries alone are in no hurry: they go with the next entries, a read that waits, or a tick. */
  #somethingToWrite(): boolean {
    if (this.#closed || this.#failed) return false;
    if (this.#appends.length > 0 || this.#applies.length > 0) return true;
    return this.#evaluated.length > 0 && (this.#applyNow || this.#openBatch().bytes > MAX_IDLE_BATCH_BYTES);
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
        for (const group of this.#groups.values()) group.stop();
        this.#options.failed(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  async #writeAll(): Promise<void> {
    while (this.#somethingToWrite()) {
      // In turns: neither may new entries keep an evaluation that reads waiting, nor the other way round.
      if (this.#evaluated.length === 0 && this.#applies.length > 0) await this.#evaluateNext();
      if (this.#appends.length > 0 || this.#evaluated.length > 0) await this.#write();
    }
  }

  /** One batch: new entries and hard states of all groups, and everything that is evaluated. */
  async #write(): Promise<void> {
    const { engine } = this.#options;
    const appends = this.#appends;
    const evaluated = this.#evaluated;
    const batch = this.#openBatch();
    this.#appends = [];
    this.#evaluated = [];
    this.#batch = undefined;
    this.#applyNow = false;
    let mustSync = false;
    for (const { group, append, mustSync: sync } of appends) {
      this.#append(batch, group, append);
      mustSync ||= sync;
    }
    if (batch.count > 0) {
      await engine.write(batch);
      this.counters.batches++;
    }
    for (const { group, apply } of evaluated) {
      if (!group.stopped) group.entriesApplied(apply);
    }
    if (mustSync) {
      await engine.sync();
      this.counters.syncs++;
    }
    for (const { group, append, afterSync } of appends) {
      if (group.stopped) continue;
      for (const response of append.responses) this.#deliver(group, response);
      for (const message of afterSync) this.#options.send(group, message);
      this.#touch(group);
    }
  }

  #append(batch: WriteBatch, group: RaftGroup, { entries, hardState }: StorageAppend): void {
    const last = entries.at(-1);
    if (last !== undefined) {
      this.#log.append(batch, group.id, entries, this.#lastIndexes.get(group) ?? 0);
      this.#lastIndexes.set(group, last.index);
      this.counters.entries += entries.length;
    }
    if (hardState !== undefined) this.#log.saveState(batch, group.id, { hardState });
  }

  #deliver(group: RaftGroup, message: Message): void {
    if (message.to === group.peerId) group.step(message);
    else this.#options.send(group, message);
  }

  #fetch(group: RaftGroup, fetch: Fetch): void {
    if (fetch.kind === 'snapshot') {
      // Logs are not compacted, so nobody needs one.
      group.fetched((raft) => raft.snapshotFetched(fetch, undefined));
      return;
    }
    this.#log
      .fetch(group.id, fetch.low, fetch.high, fetch.maxBytes)
      .then((entries) => group.fetched((raft) => raft.entriesFetched(fetch, entries)))
      .catch((error: unknown) => group.fail(error instanceof Error ? error : new Error(String(error))));
  }
}

/** Where the log of a group made by bootstrap or split begins, so that later peers always start from a snapshot. */
export const INITIAL_LOG: Truncated = { index: 5, term: 5 };

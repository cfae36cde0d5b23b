import { type Actor, createActor, type SnapshotFrom } from 'xstate';
import { refuseMessage } from './admission.js';
import {
  type ConfChange,
  encodeConfChange,
  encodeConfChangeV1,
  leavesJoint,
  NO_BYTES,
} from './conf-change.js';
import { completeConfig, type RaftOptions } from './config.js';
import type { RaftCore } from './core.js';
import { type RaftError, RaftInvariantError } from './errors.js';
import { makeMessage } from './message.js';
import type { Progress } from './progress.js';
import { QuietSteps } from './quiet-steps.js';
import { isAtRest, isAtRestBehind, isQuorum } from './rest.js';
import { type MessageEvent, type RaftEvent, raftMachine } from './role.machine.js';
import { type Status, statusOf } from './status.js';
import {
  type ConfState,
  type Entry,
  EntryType,
  type Fetch,
  type HardState,
  type InitialState,
  type Message,
  type Ready,
  type Role,
  type Snapshot,
  type SoftState,
  type StorageAppend,
  type StorageApply,
} from './types.js';

/**
 * What became of a proposal. `index` and `term` are where it (of several, the last) stands in this leader's log; both
 * are 0 when it was handed on to the leader, whose answer nobody waits for.
 */
export type ProposeResult =
  | { readonly ok: true; readonly index: number; readonly term: number }
  | { readonly ok: false; readonly error: RaftError };

/** How a member does, as its leader sees it. */
export type MemberProgress = Readonly<Pick<Progress, 'match' | 'state' | 'recentActive' | 'wasActive'>>;

/**
 * A peer as its host sees it (etcd-io/raft's RawNode): events go in, Readys come out. Not reentrant; a throw of
 * `RaftInvariantError` from any method ends the peer.
 */
export class RawNode {
  /** The live role machine, for inspection. Its events come from here alone; those that change no state do not reach it, unless `showAll` says so. */
  readonly actor: Actor<typeof raftMachine>;
  private readonly core: RaftCore;
  private readonly asynchronous: boolean;
  private previousSoft: SoftState;
  private previousHard: HardState;
  private stepsOnAdvance: Message[] = [];
  private failure: unknown;
  private standing: SnapshotFrom<typeof raftMachine>;
  private quiet: QuietSteps;
  private showsAll = false;

  /** @throws RaftInvariantError for settings or a state on disk that contradict themselves. */
  constructor(options: RaftOptions, initial: InitialState) {
    const config = completeConfig(options);
    this.actor = createActor(raftMachine, { input: { config, initial } });
    const start = this.actor.getSnapshot();
    if (start.status === 'error') throw start.error;
    this.core = start.context.core;
    this.asynchronous = config.asyncStorageWrites;
    this.previousSoft = this.softState();
    this.previousHard = this.hardState();
    // Without an observer the failure of an action would be thrown on the global object, later.
    this.actor.subscribe({ error: (error) => this.fail(error) });
    this.actor.start();
    this.standing = this.actor.getSnapshot();
    this.quiet = QuietSteps.of(this.standing.value);
  }

  /** Sends every event through the role machine, for somebody who looks at it, or no longer. Nothing else differs. */
  showAll(all: boolean): void {
    this.showsAll = all;
  }

  /** Moves the logical clock by one. */
  tick(): void {
    this.deliver(TICK);
  }

  /** Starts an election now. */
  campaign(): RaftError | undefined {
    return this.deliver(CAMPAIGN);
  }

  /**
   * Takes a message of another peer, or a response that came with a Ready. The host must not let other peers use this
   * peer's own id as `from`.
   */
  step(message: Message): RaftError | undefined {
    const refusal = refuseMessage(this.core, message);
    return refusal ?? this.route(message);
  }

  /** Proposes one normal entry. */
  propose(data: Uint8Array): ProposeResult {
    return this.proposeEntries([{ term: 0, index: 0, type: EntryType.normal, data }]);
  }

  /** Proposes entries that are accepted, and travel, together. On success the last of them is at `index`. */
  proposeBatch(batch: readonly Uint8Array[]): ProposeResult {
    return this.proposeEntries(batch.map((data) => ({ term: 0, index: 0, type: EntryType.normal, data })));
  }

  /**
   * Proposes a membership change. A change that the leader refuses (`conf-change-…`) changes nothing, but leaves an empty
   * entry in the log as etcd does, and the error here; a follower hands it on, and nobody waits for the answer.
   * `form` is the entry's type: the older one holds a single step.
   */
  proposeConfChange(change: ConfChange, form: 'v1' | 'v2' = 'v2'): ProposeResult {
    const [step] = change.changes;
    if (form === 'v1' && step !== undefined) {
      const data = encodeConfChangeV1(step, change.context);
      return this.proposeEntries([{ term: 0, index: 0, type: EntryType.confChange, data }]);
    }
    const empty = leavesJoint(change) && change.context.length === 0;
    const data = empty ? NO_BYTES : encodeConfChange(change);
    return this.proposeEntries([{ term: 0, index: 0, type: EntryType.confChangeV2, data }]);
  }

  private proposeEntries(entries: readonly Entry[]): ProposeResult {
    const { core } = this;
    const error = this.deliver(
      makeMessage({ type: 'propose', from: core.id, to: core.id, entries }) as RaftEvent,
    );
    if (error !== undefined) return { ok: false, error };
    if (core.role !== 'leader') return { ok: true, index: 0, term: 0 };
    return { ok: true, index: core.log.lastIndex, term: core.term };
  }

  /**
   * Puts a committed membership change in force: called when its entry is applied, before that is reported.
   * @throws RaftInvariantError when it cannot follow from the configuration in force.
   */
  applyConfChange(change: ConfChange): ConfState {
    this.deliver({ type: 'confChangeApplied', change });
    return this.core.confState();
  }

  /**
   * Takes entries through `commit` that are known to be committed, from elsewhere than a leader: what a region that is
   * merged away lacks comes from its target. The log must equal the group's before the first of them.
   * @throws RaftInvariantError when this log has a gap before them, or this peer leads and lacks one.
   */
  adoptCommitted(entries: readonly Entry[], commit: number): void {
    this.deliver({ type: 'committedElsewhere', entries, commit });
  }

  /** Asks for an index from which on a read is linearizable; it comes as a ReadState with the same context. */
  readIndex(context: Uint8Array): RaftError | undefined {
    return this.deliver(makeMessage({ type: 'readIndex', to: this.core.id, context }) as RaftEvent);
  }

  /**
   * Asks the leader to make `to` the leader; a follower hands the question on, and nobody waits for the answer. Given up
   * after one election timeout, or when the leader itself is named meanwhile. Returns why it cannot be: `to` is a learner,
   * a stranger or the leader (`transfer-refused`), or no leader is known (`transfer-dropped`); then nothing has changed.
   */
  transferLeader(to: number): RaftError | undefined {
    return this.deliver(makeMessage({ type: 'transferLeader', from: to, to: this.core.id }) as RaftEvent);
  }

  /**
   * An entry that this leader has just proposed: when it is committed, everybody is told at once, where `skipBroadcastCommit` lets
   * a commit index wait for the next message. For what others wait for, such as a split; of several only the last one counts.
   */
  hurryCommit(index: number): void {
    this.core.hurriedIndex = Math.max(this.core.hurriedIndex, index);
  }

  /** Makes a follower forget its leader, so that it may grant votes; it does not campaign. Nothing to other roles. */
  forgetLeader(): RaftError | undefined {
    return this.deliver({ type: 'forgetLeader' });
  }

  /** The last message to the member was not delivered. */
  reportUnreachable(peer: number): void {
    this.deliver({ type: 'unreachable', peer });
  }

  /** The snapshot for the member was delivered, or it failed. */
  reportSnapshot(peer: number, delivered: boolean): void {
    this.deliver({ type: 'snapshotStatus', peer, delivered });
  }

  /**
   * The reads from disk that are wanted since the last call; each must be answered once, in whatever order. To be asked
   * after every batch of steps: entries that must be read before they can be applied show up here, not in a Ready.
   */
  fetches(): Fetch[] {
    const { core } = this;
    if (!core.fetchingForApply) {
      const wanted = core.log.wantedForApplying(!this.asynchronous);
      if (wanted !== undefined) {
        core.fetchingForApply = true;
        core.fetches.push({ kind: 'entries', peer: core.id, ...wanted });
      }
    }
    if (core.fetches.length === 0) return NO_FETCHES;
    const { fetches } = core;
    core.fetches = [];
    return fetches;
  }

  /** Entries from `fetch.low` on, as many as were found within its limits. */
  entriesFetched(fetch: Fetch, entries: readonly Entry[]): void {
    this.deliver({ type: 'entriesFetched', fetch, entries });
  }

  /** A snapshot at an applied index not below the log's beginning, or none for now. */
  snapshotFetched(fetch: Fetch, snapshot: Snapshot | undefined): void {
    this.deliver({ type: 'snapshotFetched', fetch, snapshot });
  }

  /** The host removed everything through `index`, of `term`, from disk. At most what is applied. */
  compact(index: number, term: number): void {
    const own = this.core.log.term(index);
    if (own >= 0 && own !== term) {
      throw new RaftInvariantError(
        `peer ${this.core.id} compacts (${index}, term ${term}) but holds term ${own}`,
      );
    }
    this.core.log.compact(index);
  }

  /**
   * The host ticks this peer again after it had stopped (hibernation). A follower has waited for its leader for `silence`
   * ticks, as far as a rest counts as waiting; a leader sends heartbeats with the next tick, and has a whole election
   * timeout before its quorum is checked.
   */
  wake(silence: number): void {
    this.deliver({ type: 'woken', silence });
  }

  /** Where this peer leads: sends a heartbeat to one member that asks whether it is led, and to nobody else. */
  answerCall(member: number): void {
    this.deliver({ type: 'memberCalls', member });
  }

  /**
   * This peer leads, and its group has nothing to do.
   * @param isAbsent members that are not to be waited for; the others must be a quorum
   */
  isAtRest(isAbsent: (member: number) => boolean): boolean {
    return isAtRest(this.core, isAbsent);
  }

  /** This peer follows `leader` in `term`, and has applied its whole log, which ends at `index`. */
  isAtRestBehind(leader: number, term: number, index: number): boolean {
    return isAtRestBehind(this.core, leader, term, index);
  }

  /** Whether these members can commit and elect. */
  isQuorum(includes: (member: number) => boolean): boolean {
    return isQuorum(this.core, includes);
  }

  /** Lets go of entry bodies that are on disk until at most `maxBytes` are held: for a peer that has gone quiet. */
  evictEntries(maxBytes: number): void {
    this.core.log.evict(maxBytes);
  }

  /** There is something for `ready` to hand out. */
  hasReady(): boolean {
    const { core } = this;
    const { log } = core;
    return (
      core.messages.length > 0 ||
      core.messagesAfterAppend.length > 0 ||
      log.hasNextUnstableEntries ||
      log.hasNextCommittedEntries(!this.asynchronous) ||
      core.readStates.length > 0 ||
      log.nextUnstableSnapshot() !== undefined ||
      core.term !== this.previousHard.term ||
      core.vote !== this.previousHard.vote ||
      log.committed !== this.previousHard.commit ||
      core.lead !== this.previousSoft.lead ||
      core.role !== this.previousSoft.role
    );
  }

  /**
   * Takes the effects gathered so far. They are the host's to carry out from now on, in this order of Readys; a
   * synchronous host calls `advance` before it asks again.
   */
  ready(): Ready {
    const { core } = this;
    const { log } = core;
    if (this.stepsOnAdvance.length > 0) {
      throw new RaftInvariantError(`peer ${core.id} was asked for a Ready before the last one was advanced`);
    }
    const entries = log.nextUnstableEntries();
    const committedEntries = log.nextCommittedEntries(!this.asynchronous);
    const snapshot = log.nextUnstableSnapshot();
    const softState = this.changedSoftState();
    const previousHard = this.previousHard;
    const hardState = this.changedHardState();
    const { messages, readStates } = core;
    const afterAppend = core.messagesAfterAppend;
    core.messages = [];
    core.messagesAfterAppend = [];
    if (readStates.length > 0) core.readStates = [];

    const acknowledgement = this.persistedResponse(snapshot);
    const application = this.appliedResponse(committedEntries);
    let append: StorageAppend | undefined;
    let apply: StorageApply | undefined;
    if (this.asynchronous) {
      if (entries.length > 0 || hardState !== undefined || snapshot !== undefined || afterAppend.length > 0) {
        if (acknowledgement !== undefined) afterAppend.push(acknowledgement);
        append = { snapshot, entries, hardState, responses: afterAppend };
      }
      if (application !== undefined) apply = { entries: committedEntries, responses: [application] };
    } else {
      for (const message of afterAppend) {
        if (message.to === core.id) this.stepsOnAdvance.push(message);
        else messages.push(message);
      }
      if (acknowledgement !== undefined) this.stepsOnAdvance.push(acknowledgement);
      if (application !== undefined) this.stepsOnAdvance.push(application);
    }
    log.acceptUnstable();
    log.acceptApplying(committedEntries, !this.asynchronous);
    return {
      softState,
      hardState,
      readStates,
      entries,
      snapshot,
      committedEntries,
      messages,
      mustSync: entries.length > 0 || core.term !== previousHard.term || core.vote !== previousHard.vote,
      append,
      apply,
    };
  }

  /** Synchronous hosts: everything that the last Ready asked for is done. */
  advance(): void {
    if (this.asynchronous) {
      throw new RaftInvariantError(
        `peer ${this.core.id} writes asynchronously: its responses take the place of advance`,
      );
    }
    const steps = this.stepsOnAdvance;
    this.stepsOnAdvance = [];
    for (const message of steps) this.route(message);
  }

  /** The entries [low, high), when all of them are in memory. */
  heldEntries(low: number, high: number): readonly Entry[] | undefined {
    const { log } = this.core;
    return log.holds(low) && high <= log.lastIndex + 1
      ? log.slice(low, high, Number.POSITIVE_INFINITY)
      : undefined;
  }

  /** A copy of what the peer knows, for people and for reports. */
  status(): Status {
    return statusOf(this.core);
  }

  // Cheap views for a host's hot path.

  get id(): number {
    return this.core.id;
  }

  get role(): Role {
    return this.core.role;
  }

  get term(): number {
    return this.core.term;
  }

  /** The leader that this peer knows of; 0 for none. */
  get lead(): number {
    return this.core.lead;
  }

  /** The last index that the host has applied. */
  get applied(): number {
    return this.core.log.applied;
  }

  /** A snapshot that was taken in and is not reported as installed. */
  get pendingSnapshot(): Snapshot | undefined {
    return this.core.log.snapshot;
  }

  /** The last index that is known to be committed. */
  get commit(): number {
    return this.core.log.committed;
  }

  /** The first index that the log still has. */
  get firstIndex(): number {
    return this.core.log.firstIndex;
  }

  /** The last index of the log, durable or not. */
  get lastIndex(): number {
    return this.core.log.lastIndex;
  }

  /** All members, voters and learners, in ascending order. */
  get members(): Iterable<number> {
    return this.core.progress.keys();
  }

  /** Whether the peer is a voter or a learner of the configuration in force. */
  isMember(peer: number): boolean {
    return this.core.progress.has(peer);
  }

  /** Not a copy, as `status` gives one: it changes with every step. `undefined` for strangers, and where this peer does not lead. */
  memberProgress(peer: number): MemberProgress | undefined {
    return this.core.role === 'leader' ? this.core.progress.get(peer) : undefined;
  }

  /** Whether a log that ends with this entry is at least as good as this peer's own (Raft 5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    return this.core.log.isUpToDate(index, term);
  }

  /** In ascending order; in joint membership those of the incoming half. */
  get voters(): readonly number[] {
    return this.core.configuration.voters;
  }

  /** Term of the entry at `index`; -1 where the log does not reach, or reaches no more. */
  termAt(index: number): number {
    return this.core.log.term(index);
  }

  /** The last moment of the machine; the node must not be used after it. */
  stop(): void {
    this.actor.stop();
  }

  /** What a message's term means is decided first, by the chart. */
  private route(message: Message): RaftError | undefined {
    const { term } = this.core;
    if (message.term === 0 || message.term === term) return this.deliver(message as MessageEvent);
    return this.deliver({ type: message.term > term ? 'higherTerm' : 'lowerTerm', message });
  }

  private deliver(event: RaftEvent): RaftError | undefined {
    if (this.failure !== undefined) throw this.failure;
    this.core.refusal = undefined;
    if (!this.showsAll && this.takesQuietly(event)) return this.core.refusal;
    this.actor.send(event);
    if (this.failure !== undefined) throw this.failure;
    return this.core.refusal;
  }

  private takesQuietly(event: RaftEvent): boolean {
    const snapshot = this.actor.getSnapshot();
    if (snapshot !== this.standing) {
      if (snapshot.status !== 'active') return false;
      this.standing = snapshot;
      this.quiet = QuietSteps.of(snapshot.value);
    }
    try {
      return this.quiet.take(snapshot.context, event);
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  private fail(error: unknown): void {
    this.failure = error ?? new RaftInvariantError('the role machine failed');
  }

  private softState(): SoftState {
    return { lead: this.core.lead, role: this.core.role };
  }

  private hardState(): HardState {
    return { term: this.core.term, vote: this.core.vote, commit: this.core.log.committed };
  }

  private changedSoftState(): SoftState | undefined {
    const { lead, role } = this.previousSoft;
    if (lead === this.core.lead && role === this.core.role) return undefined;
    this.previousSoft = this.softState();
    return this.previousSoft;
  }

  private changedHardState(): HardState | undefined {
    const { term, vote, commit } = this.previousHard;
    const { core } = this;
    if (term === core.term && vote === core.vote && commit === core.log.committed) return undefined;
    this.previousHard = this.hardState();
    return this.previousHard;
  }

  /**
   * The acknowledgement of everything unwritten, not only of this Ready's entries: an earlier one is void when the term
   * changed meanwhile, and then this one, of the new term, must speak for those entries too.
   */
  private persistedResponse(snapshot: Snapshot | undefined): Message | undefined {
    const { core } = this;
    const unstable = core.log.hasUnstableEntries;
    if (!unstable && snapshot === undefined) return undefined;
    const response = core.draft('entriesPersisted', core.id);
    if (unstable) {
      response.index = core.log.lastIndex;
      response.logTerm = core.log.lastTerm;
    }
    response.snapshot = snapshot;
    return response;
  }

  private appliedResponse(entries: readonly Entry[]): Message | undefined {
    const last = entries[entries.length - 1];
    if (last === undefined) return undefined;
    const response = this.core.draft('entriesApplied', this.core.id);
    response.term = 0;
    response.index = last.index;
    response.entries = entries;
    return response;
  }
}

const TICK: RaftEvent = { type: 'tick' };
const CAMPAIGN: RaftEvent = { type: 'campaign' };
const NO_FETCHES: Fetch[] = [];
